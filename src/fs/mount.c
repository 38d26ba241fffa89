/* SPDX-License-Identifier: MIT */
/*
 * The order of starting and stopping; every step depends on the ones before.
 *
 *   1  check the mountpoint
 *   2  fork the process that serves; the first one waits for its word
 *   3  fork the process that will unmount, then the engine: its zygote is
 *      forked from a process that has one thread, no secret and no /dev/fuse
 *   4  open and unlock the vault: asks for the passphrase on the terminal
 *   5  mount, then leave the terminal
 *   6  open what is needed outside of the vault, and be confined
 *   7  threads: supervisor of the workers, settling, trimming, seeking, control socket,
 *      receivers
 *
 * It ends the other way round: what the kernel still holds (it is written out
 * while requests are served), control socket, trimming (while they are, too),
 * receivers, settling of everything, workers, and last the vault's lock and keys.
 */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/limit.h"
#include "base/log.h"
#include "base/secmem.h"
#include "fs/answers.h"
#include "fs/backing.h"
#include "fs/bdi.h"
#include "fs/confine.h"
#include "fs/control.h"
#include "fs/exitcode.h"
#include "fs/expiry.h"
#include "fs/journal.h"
#include "fs/loop.h"
#include "fs/mountinfo.h"
#include "fs/notify.h"
#include "fs/seek.h"
#include "fs/settler.h"
#include "fs/trim.h"
#include "fs/unmounter.h"
#include "fs/vault.h"
#include "fs/vault_tree.h"
#include "fs/writeout.h"

enum {
	MIN_THREADS = 4,
	MAX_THREADS = DEVICE_MAX_THREADS,
	WRITE_OUT_SECONDS = 60, /* shorter than init systems are patient */
};

struct mount {
	const struct options *o;
	char mountpoint[PATH_MAX];
	char vault_path[PATH_MAX];
	int word;   /* pipe to the process that waits, or -1 */
	int notify; /* socket of whoever started us as a service, or -1 */
	int null;   /* takes the place of standard error, or -1 */
	bool read_only;
	struct vault *vault;
	struct store store;
	struct tree *tree;
	struct ops_context context;
	struct fuse_session *session;
	bool mounted;
	struct unmounter unmounter;
	struct trim *trim;
	struct loop *loop;
	dev_t dev; /* the mount's, once it is mounted */
	struct bdi bdi;
	struct confine_report confined;
	struct writeout *writeout;
	struct settler *settler;
	struct expiry expiry;
	struct answers answers;
	struct control *control;
};

/* ---- the mountpoint ------------------------------------------------------ */

static int unusable(const char *path, const char *why)
{
	log_error("cannot mount on %s: %s", path, why);
	return STATUS_MOUNTPOINT;
}

/* True if path is dir or below it. */
static bool is_below(const char *path, const char *dir)
{
	size_t size = strlen(dir);

	return !strncmp(path, dir, size) && (path[size] == '/' || path[size] == '\0');
}

/* What the kernel says of path; a dead mount's attributes may be cached, statfs is not. */
static int look_at(const char *path, struct stat *st)
{
	struct statvfs fs;

	return stat(path, st) || statvfs(path, &fs) ? -errno : 0;
}

static int check_mountpoint(struct mount *m)
{
	const char *path = m->o->mountpoint;
	struct stat st;
	int r = look_at(path, &st);

	/* The latter while it dies: our question was in the queue then. */
	if (r == -ENOTCONN || r == -ECONNABORTED) {
		log_warn("%s: an earlier mount died there; unmounting it", path);
		r = unmounter_run(path, true);
		if (r)
			return unusable(path, "a dead mount is there (unmount it first)");
		r = look_at(path, &st);
	}
	if (r == -ENOENT)
		return unusable(path, "no such directory (create it with mkdir)");
	if (r)
		return unusable(path, strerror(-r));
	if (!S_ISDIR(st.st_mode))
		return unusable(path, "not a directory (choose or create one)");
	if (!realpath(path, m->mountpoint))
		return unusable(path, strerror(errno));
	if (realpath(m->o->vault, m->vault_path) && is_below(m->mountpoint, m->vault_path))
		return unusable(path, "it is inside the vault (choose another place)");
	return 0;
}

/* ---- two processes ------------------------------------------------------- */

/* Tell the process that waits how it went, once. */
static void send_word(struct mount *m, uint8_t status)
{
	if (m->word < 0)
		return;
	(void)fdio_write_full(m->word, &status, 1); /* it may be gone */
	fdio_close(m->word);
	m->word = -1;
}

/* The first process: wait for the word, see for ourselves, and say so. */
static int wait_for_word(const struct mount *m, int pipe_fd, pid_t child)
{
	uint8_t status = STATUS_SYSTEM;
	struct statvfs st;
	int wstatus;
	ssize_t n;

	do
		n = read(pipe_fd, &status, 1);
	while (n < 0 && errno == EINTR);
	fdio_close(pipe_fd);
	if (n == 1 && status == STATUS_OK) {
		if (!statvfs(m->mountpoint, &st))
			return STATUS_OK;
		log_error("cannot mount on %s: it does not answer: %s", m->mountpoint,
			  strerror(errno));
		return STATUS_SYSTEM;
	}
	if (waitpid(child, &wstatus, 0) == child && n != 1 && WIFEXITED(wstatus))
		status = (uint8_t)WEXITSTATUS(wstatus);
	return status ? status : STATUS_SYSTEM;
}

/* Standard error stays until it is sure that we serve. */
static void leave_terminal(struct mount *m)
{
	m->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)setsid(); /* fails only for a group leader, which we are not */
	(void)!chdir("/");
	for (int fd = 0; m->null >= 0 && fd < 2; fd++)
		(void)dup3(m->null, fd, 0);
}

static void leave_stderr(struct mount *m)
{
	if (m->o->log == OPTIONS_LOG_SYSLOG ||
	    (m->o->log == OPTIONS_LOG_DEFAULT && !m->o->foreground))
		log_to_syslog();
	if (m->null >= 0 && m->o->log != OPTIONS_LOG_STDERR)
		(void)dup3(m->null, STDERR_FILENO, 0);
	fdio_close(m->null);
	m->null = -1;
}

/* ---- limits -------------------------------------------------------------- */

static uint32_t n_threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < MIN_THREADS ? MIN_THREADS : n > MAX_THREADS ? MAX_THREADS : (uint32_t)n;
}

/* ---- starting ------------------------------------------------------------ */

static int failed(const char *what, int r)
{
	log_error("cannot %s: %s", what, strerror(-r));
	return STATUS_SYSTEM;
}

static int start_engine(struct mount *m)
{
	const struct engine_options options = {
		.workers = m->o->workers,
		.strict = m->o->strict,
		.slots = n_threads() + 1, /* one for settling */
	};

	return engine_start(&options, &m->store.engine) ? STATUS_SYSTEM : 0; /* said already */
}

/* On a terminal, a vault that is not there may be made. */
static bool offers_to_create(const struct mount *m, int r)
{
	char line[16];

	if (r != VAULT_NOT_FOUND || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
	    m->o->read_only || vault_create_check(m->o->vault))
		return false;
	(void)fprintf(stderr, "There is no vault at %s. Create one? [y/N] ", m->o->vault);
	(void)fflush(stderr);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int create_vault(const struct mount *m, struct vault_secret *secret)
{
	const struct vault_create how = { .suite = cipher_default() };
	struct passphrase_source source = m->o->secret;
	int r;

	source.confirm = true;
	source.prompt = "New passphrase";
	r = passphrase_get(&source, secret);
	if (r)
		return passphrase_report(&source, r);
	r = vault_create(m->o->vault, &how, secret);
	return r ? exitcode_report_vault("create", m->o->vault, r) : 0;
}

/* What cannot be written, for this reason, can perhaps be read. */
static int open_read_only(struct mount *m, int why)
{
	const char *path = m->o->vault;
	int r = vault_open(path, VAULT_SHARED, &m->vault);

	if (r)
		return r;
	m->read_only = true;
	log_warn("%s: mounting read-only: %s", path,
		 why == -EROFS ? "it is on a read-only filesystem"
			       : "no permission to write there");
	return 0;
}

static int open_vault(struct mount *m)
{
	struct vault_secret secret = { 0 };
	const char *path = m->o->vault;
	int status = 0;
	int r;

	m->read_only = m->o->read_only;
	r = vault_open(path, m->read_only ? VAULT_SHARED : VAULT_EXCLUSIVE, &m->vault);
	if (r == -EROFS || r == -EACCES)
		r = open_read_only(m, r);
	if (offers_to_create(m, r)) {
		status = create_vault(m, &secret);
		if (!status)
			r = vault_open(path, VAULT_EXCLUSIVE, &m->vault);
	}
	if (!status && r)
		status = exitcode_report_vault("open", path, r);
	if (!status && secret.size) {
		r = vault_unlock(m->vault, &secret);
		if (r)
			status = exitcode_report_vault("open", path, r);
	} else if (!status) {
		status = passphrase_unlock(m->vault, path, &m->o->secret);
	}
	passphrase_free(&secret);
	return status;
}

static int load_tree(struct mount *m)
{
	m->store.read_only = m->read_only;
	m->store.alone = !m->o->allow_other && !m->o->acl;
	m->store.acl = m->o->acl;
	return vault_tree_open(m->o->vault, m->vault, vault_tree_fd(m->vault), &m->store, &m->tree);
}

__attribute__((format(printf, 2, 0))) static void fuse_says(enum fuse_log_level level,
							    const char *format, va_list args)
{
	char text[512];
	size_t size;

	(void)vsnprintf(text, sizeof(text), format, args);
	size = strlen(text);
	while (size && text[size - 1] == '\n')
		text[--size] = '\0';
	if (level <= FUSE_LOG_ERR)
		log_error("%s", text);
	else
		log_debug("%s", text);
}

/* A value for libfuse's option list, which is cut at commas. */
static void append_escaped(char *to, const char *value)
{
	to += strlen(to);
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			*to++ = '\\';
		*to++ = *value;
	}
	*to = '\0';
}

static int new_session(struct mount *m)
{
	const char *fsname = m->o->fsname ? m->o->fsname : m->vault_path;
	size_t size = 2 * strlen(fsname) + strlen(m->o->kernel) + 128;
	char *list = calloc(1, size);
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (!list)
		return -ENOMEM;
	strcpy(list, "subtype=cryptfs,fsname=");
	append_escaped(list, fsname);
	if (m->read_only)
		strcat(list, ",ro");
	if (m->o->allow_other)
		strcat(list, ",allow_other");
	if (m->o->allow_other || m->o->acl)
		strcat(list, ",default_permissions");
	if (*m->o->kernel) {
		strcat(list, ",");
		strcat(list, m->o->kernel);
	}
	if (!fuse_opt_add_arg(&args, "cryptfs-mount") && !fuse_opt_add_arg(&args, "-o") &&
	    !fuse_opt_add_arg(&args, list))
		m->session = fuse_session_new(&args, &ops_table, sizeof(ops_table), &m->context);
	fuse_opt_free_args(&args);
	free(list);
	return m->session ? 0 : -EINVAL;
}

static void ready(void *arg)
{
	struct mount *m = arg;

	m->context.ready = NULL;
	send_word(m, STATUS_OK);
	notify_say(m->notify, "READY=1");
}

static int do_mount(struct mount *m)
{
	int r;

	fuse_set_log_func(fuse_says);
	m->context.tree = m->tree;
	m->context.attr_timeout = m->o->attr_timeout;
	m->context.negative_timeout = m->o->attr_timeout < 5 ? m->o->attr_timeout : 5;
	m->context.caches_listings = m->o->attr_timeout > 0 &&
				     backing_keeps_positions(vault_tree_fd(m->vault));
	m->context.acl = m->o->acl;
	m->context.no_xattr = m->o->no_xattr;
	m->context.writeback = m->o->writeback && !m->read_only;
	m->context.ready = ready;
	m->context.ready_arg = m;
	if (new_session(m))
		return unusable(m->mountpoint, "libfuse does not take the options");
	if (fuse_session_mount(m->session, m->mountpoint))
		return unusable(m->mountpoint, "mounting failed (see the line above)");
	m->mounted = true;
	m->context.session = m->session;
	r = device_attach(&m->context.device, m->session, n_threads());
	return r ? failed("talk to /dev/fuse", r) : 0;
}

/* ---- being asked --------------------------------------------------------- */

static void open_control(struct mount *m)
{
	const struct control_name name = { .owner = geteuid(),
					   .major = major(m->dev),
					   .minor = minor(m->dev) };
	int r = control_open(&name, answers_give, &m->answers, &m->control);

	m->answers.status = (struct status){ .options = m->o,
					     .store = &m->store,
					     .device = &m->context.device,
					     .expiry = &m->expiry,
					     .suspended = &m->answers.suspension.suspended,
					     .confine = &m->confined };
	status_start(&m->answers.status);
	m->answers.vault_path = m->vault_path;
	m->answers.suspension.context = &m->context;
	if (r)
		log_warn("cryptfs status will not work: %s",
			 r < 0 ? strerror(-r) : "others may write where its socket would be");
}

/* From here on the mount may be suspended: all that takes is there. */
static void allow_suspension(struct mount *m)
{
	struct suspension *s = &m->answers.suspension;

	s->store = &m->store;
	s->vault = m->vault;
	s->trim = m->trim;
	s->settler = m->settler;
	s->loop = m->loop;
	s->mount = (struct writeout_mount){ .path = m->mountpoint,
					    .dev = m->dev,
					    .context = &m->context };
	s->read_only = m->read_only;
	atomic_store(&s->ready, true);
}

/* ---- being confined ------------------------------------------------------ */

/*
 * What will be needed outside of the vault, while it can be had.  Nobody
 * serves yet: the mount is looked for, not touched.
 */
static int open_the_rest(struct mount *m)
{
	struct mountinfo info;
	int r = mountinfo_find(m->mountpoint, &info);

	if (r)
		return r < 0 ? r : -ENODEV;
	m->dev = makedev(info.major, info.minor);
	bdi_open(m->dev, m->context.writeback, &m->bdi);
	open_control(m);
	tzset(); /* for syslog */
	return trim_new(&m->context, m->mountpoint, m->o->max_nodes, &m->trim);
}

static void give_place(struct confine_wishes *w, int fd, enum confine_access access)
{
	w->places[w->n_places++] = (struct confine_place){ .fd = fd, .access = access };
}

static void be_confined(struct mount *m)
{
	struct confine_wishes w = { .trusted_xattrs = !m->o->no_xattr };
	int root = open(m->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);

	give_place(&w, vault_tree_fd(m->vault), m->read_only ? CONFINE_READ : CONFINE_CHANGE);
	give_place(&w, root, CONFINE_LIST); /* for writeout */
	give_place(&w, journal_path_fd(m->store.journal), CONFINE_FILE);
	if (m->control) {
		give_place(&w, control_directory(m->control), CONFINE_UNLINK);
		give_place(&w, control_parent(m->control), CONFINE_RMDIR);
	}
	confine_enter(&w, &m->confined);
	fdio_close(root);
}

/* ---- serving ------------------------------------------------------------- */

/* The signals that end a mount, and the one that says it has ended. */
static void set_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGUSR2);
}

static void *look(void *arg)
{
	struct mount *m = arg;
	struct stat st;

	fdio_stand_apart();
	return stat(m->mountpoint, &st) ? NULL : m;
}

/* The first request of ours: its answer means that the kernel knows the mount. */
static void look_at_mount(struct mount *m)
{
	void *seen = NULL;
	pthread_t thread;

	/* Only where it matters: meanwhile the mount is busy, and may be unmounted by now. */
	if (m->bdi.read_ahead < 0)
		return;
	if (!pthread_create(&thread, NULL, look, m) && !pthread_join(thread, &seen) && seen)
		bdi_widen(&m->bdi);
}

/* Before the end: not longer than the limit, and not if a second signal comes. */
static void write_out(struct mount *m, const sigset_t *set)
{
	const struct writeout_mount what = { .path = m->mountpoint,
					     .dev = m->dev,
					     .context = &m->context };
	const struct timespec second = { 1, 0 };
	int left = WRITE_OUT_SECONDS;

	if (m->read_only || suspension_is_on(&m->answers.suspension) ||
	    writeout_start(&what, SIGUSR2, &m->writeout))
		return;
	while (left-- && sigtimedwait(set, NULL, &second) < 0 &&
	       !suspension_is_on(&m->answers.suspension))
		loop_tick(m->loop);
}

/* Also what passes while the machine sleeps. */
static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* When nobody has used the mount for long and nobody holds it: away with it. */
static void expire(struct mount *m)
{
	int r;

	if (!expiry_is_due(&m->expiry, device_uses(&m->context.device), now_ms()))
		return;
	r = unmounter_try(&m->unmounter, m->dev);
	if (r == -EBUSY) {
		expiry_refused(&m->expiry, now_ms());
		return;
	}
	m->expiry.after_ms = 0; /* once: it is done, or cannot be */
	if (r)
		log_warn("%s: cannot unmount when idle: %s", m->mountpoint, strerror(-r));
	else
		log_info("%s: unmounted, as nobody used it", m->mountpoint);
}

static int serve(struct mount *m)
{
	const struct timespec second = { 1, 0 };
	sigset_t set;
	int got;
	int r;

	set_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* What the kernel wants written must not wait for memory that only writing frees. */
	if (m->context.writeback)
		(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); /* root's right */
	r = open_the_rest(m);
	if (!r) {
		be_confined(m);
		r = engine_watch(m->store.engine);
	}
	if (!r)
		r = settler_start(&m->store, m->tree, &m->settler);
	if (!r)
		r = trim_start(m->trim);
	if (!r)
		r = seek_start(&m->context, &m->context.seek);
	if (!r && m->control)
		r = control_start(m->control);
	if (!r)
		r = loop_start(m->session, &m->context.device, &m->store, SIGUSR2, &m->loop);
	if (r)
		return failed("start serving", r);
	leave_stderr(m);
	io_forget(NULL); /* this thread has no use for keys until the end */
	allow_suspension(m);
	look_at_mount(m);
	expiry_init(&m->expiry, m->o->idle_ms, now_ms());
	while ((got = sigtimedwait(&set, NULL, &second)) < 0) {
		loop_tick(m->loop);
		trim_tick(m->trim);
		expire(m);
	}
	if (got != SIGUSR2)
		write_out(m, &set);
	return 0;
}

/* libfuse sees a mount that is gone, and does not try what is forbidden here. */
static void detach(struct mount *m)
{
	int r = unmounter_detach(&m->unmounter, fuse_session_fd(m->session), m->dev);

	if (r)
		log_error("cannot unmount %s: %s", m->mountpoint, strerror(-r));
	fuse_session_unmount(m->session);
}

static void stop(struct mount *m)
{
	notify_say(m->notify, "STOPPING=1");
	control_stop(m->control); /* now nobody suspends or resumes any more */
	if (suspension_is_on(&m->answers.suspension))
		park_refuse(&m->context.device.park);
	trim_stop(m->trim);
	seek_stop(m->context.seek);
	loop_stop(m->loop);
	seek_free(m->context.seek);
	trim_free(m->trim);
	if (m->mounted) {
		device_detach(&m->context.device);
		detach(m);
	}
	if (m->session)
		fuse_session_destroy(m->session);
	if (writeout_finish(m->writeout))
		log_warn("%s: ended before all of what was written had come in", m->mountpoint);
	if (m->vault)
		vault_ending(m->vault);
	settler_stop(m->settler);
	vault_tree_close(&m->store, m->tree);
	engine_stop(m->store.engine);
	vault_close(m->vault);
	unmounter_stop(&m->unmounter);
	bdi_close(&m->bdi);
	fdio_close(m->notify);
	cipher_thread_fini();
}

/* The process that serves. */
static int run(struct mount *m)
{
	int r = unmounter_start(m->mountpoint, &m->unmounter);
	int status = r ? failed("fork", r) : start_engine(m);

	if (!status)
		status = open_vault(m);
	if (!status)
		status = load_tree(m);
	if (!status)
		m->notify = notify_open();
	if (!status)
		status = do_mount(m);
	if (!status) {
		if (!m->o->foreground)
			leave_terminal(m);
		status = serve(m);
	}
	stop(m);
	send_word(m, (uint8_t)status);
	return status;
}

/* Descriptors 0 to 2 must exist, or /dev/fuse would become one of them. */
static int reserve_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	fdio_close(fd);
	return fd < 0 ? -errno : 0;
}

int mount_run(const struct options *o)
{
	struct mount m = { .o = o,
			   .word = -1,
			   .notify = -1,
			   .null = -1,
			   .unmounter = UNMOUNTER_NONE,
			   .bdi = BDI_NONE };
	int fds[2];
	pid_t child;
	int status = check_mountpoint(&m);

	if (status)
		return status;
	limit_raise(RLIMIT_NOFILE);
	limit_raise(RLIMIT_MEMLOCK);
	(void)umask(0);
	if (reserve_stdio() || secmem_harden_process())
		return failed("prepare the process", -errno);
	if (o->foreground)
		return run(&m);
	if (pipe2(fds, O_CLOEXEC))
		return failed("make a pipe", -errno);
	child = fork();
	if (child < 0)
		return failed("fork", -errno);
	if (child == 0) {
		fdio_close(fds[0]);
		m.word = fds[1];
		return run(&m);
	}
	fdio_close(fds[1]);
	return wait_for_word(&m, fds[0], child);
}
