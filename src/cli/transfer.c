/* SPDX-License-Identifier: MIT */
/* cryptfs import and export: trees into a vault and out of it, without a mount. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/limit.h"
#include "base/log.h"
#include "cli/patterns.h"
#include "cli/progress.h"
#include "cli/watch.h"
#include "cli/within.h"
#include "fs/copy.h"

struct request {
	const struct command *self;
	bool exports;
	struct within_options options;
	struct within vault;
	char **sources;	  /* import: NULL-ended */
	const char *dest; /* export */
	const char *list; /* import: a file of paths, or NULL */
	bool zero_ended;
	struct patterns patterns;
	bool force;
	bool resumes;
	uint64_t shard, n_shards;
	enum progress_style style;
};

/* One run, from the moment that the vault is open. */
struct run {
	const struct request *q;
	struct offline *vault;
	struct copy_rules rules;
	struct copy_counts counts;
	struct copy *copy;
	struct watch watch;
	struct progress *progress;
	pthread_t surveyor;
	bool surveys;
	atomic_bool survey_stop;
	_Atomic uint64_t adding_up;
	_Atomic uint64_t total;
	char *export_to;	    /* the place in the destination */
	struct confine_place other; /* than the vault: where files come from or go to */
	int status;		    /* of what failed */
};

/* ---- telling ------------------------------------------------------------- */

static const char *why(const struct copy_failure *f)
{
	switch (f->error) {
	case COPY_CHANGED:
		return "it changed while it was read";
	case COPY_LINK_FAILED:
		return "another name of the same file could not be copied";
	case -EEXIST:
		return "it is there already (--force replaces it, --resume skips what is the same)";
	case -EISDIR:
		return "a directory is in its place";
	case -EBADMSG:
		return f->is_source ? "it is damaged (cryptfs fsck says more)"
				    : "what is in its place is damaged";
	default:
		return strerror(-f->error);
	}
}

static void failed(void *arg, const struct copy_failure *f)
{
	struct run *run = arg;
	const char *verb = run->q->self->name;
	int status = f->error == -EEXIST ? STATUS_USAGE : STATUS_SYSTEM;

	if (f->error == -EBADMSG)
		status = STATUS_DAMAGED;
	if (f->error == COPY_LINK_FAILED && run->status)
		status = run->status; /* that of the name that failed */
	if (f->attribute)
		log_error("cannot %s all of %s: attribute %s: %s", verb, f->path, f->attribute,
			  why(f));
	else
		log_error("cannot %s %s: %s", verb, *f->path ? f->path : "/", why(f));
	run->status = !run->status || run->status == status ? status : STATUS_SYSTEM;
}

static bool wants(void *arg, const char *place, bool is_directory)
{
	const struct run *run = arg;

	return patterns_want(&run->q->patterns, place, is_directory);
}

static void ask(void *arg, struct progress_state *state)
{
	struct run *run = arg;

	*state = (struct progress_state){ .done = atomic_load(&run->counts.sized),
					  .total = atomic_load(&run->total),
					  .bytes = atomic_load(&run->counts.bytes),
					  .files = atomic_load(&run->counts.files) };
}

/* ---- what goes where ------------------------------------------------------------- */

/* Places of what is imported, from paths: `add` is called with each. */
typedef void add_fn(struct run *run, const char *path, const char *place);

static void add_joined(struct run *run, const char *path, const char *relative, add_fn *add)
{
	const char *base = run->q->vault.place;
	char *place;

	if (asprintf(&place, "%s%s%s", base, *base && *relative ? "/" : "", relative) < 0) {
		log_error("cannot import %s: %s", path, strerror(ENOMEM));
		run->status = STATUS_SYSTEM;
		return;
	}
	add(run, path, place);
	free(place);
}

/* A directory named with a slash at its end, or as ".", stands for what is in it. */
static void add_operand(struct run *run, const char *path, add_fn *add)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;

	if (!strcmp(last, ".") || !strcmp(last, ".."))
		last = "";
	add_joined(run, path, last, add);
}

static void add_listed(struct run *run, const char *path, add_fn *add)
{
	char *relative = within_tidy(path);

	if (relative) {
		add_joined(run, path, relative, add);
	} else {
		log_error("cannot import %s: %s", path,
			  errno == EINVAL ? "it leads out of the destination by .."
					  : strerror(errno));
		run->status = STATUS_SYSTEM;
	}
	free(relative);
}

static int add_list(struct run *run, add_fn *add)
{
	const struct request *q = run->q;
	FILE *list = strcmp(q->list, "-") ? fopen(q->list, "re") : stdin;
	char end = q->zero_ended ? '\0' : '\n';
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (!list)
		return -errno;
	while (!atomic_load(&run->watch.stop) && (n = getdelim(&line, &room, end, list)) > 0) {
		if (line[n - 1] == end)
			line[n - 1] = '\0';
		if (*line)
			add_listed(run, line, add);
	}
	n = ferror(list) ? -EIO : 0;
	free(line);
	if (list != stdin)
		(void)fclose(list); /* only read */
	return (int)n;
}

static void add_all(struct run *run, add_fn *add, bool is_survey)
{
	const struct request *q = run->q;
	int r = 0;

	if (q->exports) {
		add(run, q->vault.place, run->export_to);
		return;
	}
	for (char **source = q->sources; *source; source++)
		add_operand(run, *source, add);
	if (q->list)
		r = add_list(run, add);
	if (!r || is_survey)
		return;
	log_error("cannot read %s: %s", q->list, strerror(-r));
	run->status = STATUS_SYSTEM;
}

/* ---- how much there is ----------------------------------------------------------- */

static void survey_one(struct run *run, const char *path, const char *place)
{
	struct copy_rules rules = run->rules;

	rules.stop = &run->survey_stop;
	copy_survey(&rules, path, place, &run->adding_up);
}

static void *survey(void *arg)
{
	struct run *run = arg;

	add_all(run, survey_one, true);
	if (!atomic_load(&run->survey_stop))
		atomic_store(&run->total, atomic_load(&run->adding_up));
	cipher_thread_fini();
	return NULL;
}

static void hide(void *arg)
{
	progress_hide(arg);
}

static void show_again(void *arg)
{
	progress_show(arg);
}

/* Without it everything goes on, but silently. */
static void start_showing(struct run *run)
{
	const struct request *q = run->q;
	bool is_shown = q->style != PROGRESS_NONE && q->style != PROGRESS_QUIET;
	bool is_read_once = q->list && !strcmp(q->list, "-");

	if (progress_start(is_shown ? q->style : PROGRESS_QUIET, ask, run, &run->progress))
		return;
	watch_start(&run->watch, run->progress);
	if (!is_shown)
		return;
	log_around(hide, show_again, run->progress);
	run->surveys = !is_read_once && !pthread_create(&run->surveyor, NULL, survey, run);
}

static void stop_showing(struct run *run)
{
	atomic_store(&run->survey_stop, true);
	if (run->surveys)
		(void)pthread_join(run->surveyor, NULL);
	watch_stop(&run->watch);
	log_around(NULL, NULL, NULL);
	progress_stop(run->progress);
	run->progress = NULL;
}

/* ---- the run ------------------------------------------------------------- */

static void copy_one(struct run *run, const char *path, const char *place)
{
	copy_add(run->copy, path, place);
}

static int transfer(struct run *run, struct side *from, struct side *to)
{
	const struct request *q = run->q;
	int r;

	run->rules = (struct copy_rules){ .from = from,
					  .to = to,
					  .n_hands = within_hands(),
					  .replaces = q->force,
					  .resumes = q->resumes,
					  .shard = (uint32_t)(q->n_shards ? q->shard - 1 : 0),
					  .n_shards = (uint32_t)q->n_shards,
					  .stop = &run->watch.stop,
					  .wants = patterns_are_none(&q->patterns) ? NULL : wants,
					  .failed = failed,
					  .arg = run,
					  .counts = &run->counts };
	if (!q->exports) {
		struct stat st;

		if (!fstat(vault_fd(run->vault->vault), &st)) {
			run->rules.skip_dev = st.st_dev;
			run->rules.skip_ino = st.st_ino;
		}
	}
	r = offline_start(run->vault, &run->other, 1);
	if (r)
		return r;
	start_showing(run);
	r = copy_new(&run->rules, &run->copy);
	if (r) {
		log_error("cannot %s: %s", q->self->name, strerror(-r));
		run->status = STATUS_SYSTEM;
	} else {
		add_all(run, copy_one, false);
	}
	copy_free(run->copy);
	stop_showing(run);
	return run->status;
}

static int import(struct run *run)
{
	struct side *from;
	int r = side_plain_new(AT_FDCWD, &from);
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int status;

	if (r) {
		status = within_report("import into", run->q->vault.place, r);
	} else {
		run->other = (struct confine_place){ root, CONFINE_READ };
		status = transfer(run, from, run->vault->side);
	}
	side_free(from);
	fdio_close(root);
	return status;
}

/* What is to be exported: 0 and *is_dir, or -errno. */
static int kind_of_source(struct run *run, bool *is_dir)
{
	struct side_hand hand;
	struct side_node node;
	int r = side_hand_new(run->vault->side, &hand);

	if (r)
		return r;
	r = side_find_path(&hand, run->q->vault.place, &node);
	*is_dir = !r && S_ISDIR(node.st.st_mode);
	side_drop(&hand, &node);
	side_hand_free(&hand);
	return r;
}

/* path without its last name, in new memory. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strdup(slash ? slash + 1 : path);
}

/* Whether the directory at path, or the one that it would be in, is in the vault: 1, 0, -errno. */
static int is_in_vault(const struct run *run, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *parent = NULL;
	int r;

	if (fd < 0 && errno == ENOENT) {
		parent = parent_of(path);
		fd = parent ? open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	}
	r = fd < 0 ? -errno : fdio_lies_in(fd, vault_fd(run->vault->vault));
	free(parent);
	fdio_close(fd);
	return r;
}

/* Open what it goes into, and say under which name: a descriptor or -errno. */
static int open_dest(struct run *run, const char *dest, bool source_is_dir)
{
	char *parent = NULL;
	struct stat st;
	int fd;

	if (source_is_dir) {
		if (mkdir(dest, 0777) && errno != EEXIST)
			return -errno;
		run->export_to = strdup("");
	} else if (!stat(dest, &st) && S_ISDIR(st.st_mode)) {
		run->export_to = last_of(run->q->vault.place);
	} else {
		parent = parent_of(dest);
		run->export_to = last_of(dest);
		dest = parent;
	}
	fd = dest && run->export_to ? open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd < 0)
		fd = dest && run->export_to ? -errno : -ENOMEM;
	free(parent);
	return fd;
}

/* What was copied is to be on disk, as a vault's content is. */
static void sync_dest(const struct request *q, int fd)
{
	if (syncfs(fd))
		log_warn("cannot bring %s to disk: %s", q->dest, strerror(errno));
}

static int export_to(struct run *run, int fd)
{
	struct side *to;
	int r = side_plain_new(fd, &to);
	int status;

	if (r)
		return within_report("export to", run->q->dest, r);
	run->other = (struct confine_place){ fd, CONFINE_CHANGE };
	status = transfer(run, run->vault->side, to);
	side_free(to);
	sync_dest(run->q, fd);
	return status;
}

static int export(struct run *run)
{
	const struct request *q = run->q;
	char *dest = strdup(q->dest);
	bool is_dir = false;
	int status = STATUS_SYSTEM;
	int fd = -1;
	int r = kind_of_source(run, &is_dir);

	if (r || !dest) {
		status = within_report("export", q->vault.place, r ? r : -ENOMEM);
		goto out;
	}
	for (size_t n = strlen(dest); n > 1 && dest[n - 1] == '/'; n--)
		dest[n - 1] = '\0';
	r = is_in_vault(run, dest);
	if (r > 0) {
		log_error("cannot export to %s: it is in the vault (choose another place)", dest);
		status = STATUS_USAGE;
		goto out;
	}
	fd = r ? r : open_dest(run, dest, is_dir);
	status = fd < 0 ? within_report("export to", dest, fd) : export_to(run, fd);
out:
	fdio_close(fd);
	free(run->export_to);
	free(dest);
	return status;
}

static enum vault_lock lock_for(const struct request *q)
{
	if (q->exports)
		return VAULT_SHARED;
	return q->n_shards ? VAULT_ADDING : VAULT_EXCLUSIVE;
}

/* The engine starts before there is a secret or a thread: see engine_start. */
static int start(const struct request *q)
{
	struct offline vault = { .root_fd = -1 };
	struct run run = { .q = q, .vault = &vault };
	struct engine *engine;
	int status;

	watch_hold_questions();
	limit_raise(RLIMIT_NOFILE);
	/* One more for the survey. */
	status = offline_start_engine(q->options.workers, within_hands() + OFFLINE_SLOTS + 1,
				      &engine);
	if (status)
		return status;
	status = offline_open(engine, q->vault.vault, lock_for(q), &q->options.secrets.old, &vault);
	if (!status)
		status = q->exports ? export(&run) : import(&run);
	offline_close(&vault);
	engine_stop(engine);
	cipher_thread_fini();
	watch_pass_on(&run.watch);
	return status;
}

/* ---- the command line ------------------------------------------------------- */

static int choose_shard(const char *text, struct request *q)
{
	const char *slash = strchr(text, '/');
	char *first = slash ? strndup(text, (size_t)(slash - text)) : NULL;
	int status = STATUS_USAGE;

	if (!first) {
		log_error("--shard %s: not I/N, such as 1/4", text);
		return STATUS_USAGE;
	}
	if (!cli_number("--shard", slash + 1, 1, 1u << 20, &q->n_shards))
		status = cli_number("--shard", first, 1, q->n_shards, &q->shard);
	free(first);
	return status;
}

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'f':
		q->force = true;
		return STATUS_OK;
	case 'R':
		q->resumes = true;
		return STATUS_OK;
	case 'l':
		q->list = value;
		return STATUS_OK;
	case '0':
		q->zero_ended = true;
		return STATUS_OK;
	case 'I':
		return patterns_include(&q->patterns, value);
	case 'X':
		return patterns_exclude(&q->patterns, value);
	case 's':
		return choose_shard(value, q);
	case 'g':
		return cli_progress(value, &q->style);
	case 'q':
		q->style = PROGRESS_NONE;
		return STATUS_OK;
	default:
		return within_apply(option, value, &q->options);
	}
}

static int take_operands(struct request *q, int argc, char **operands)
{
	int n_least = q->list ? 1 : 2;

	if (argc < n_least) {
		log_error("%s: too few operands (see cryptfs %s --help)", q->self->name,
			  q->self->name);
		return STATUS_USAGE;
	}
	if (q->n_shards && q->force) {
		log_error(
			"import: --shard and --force exclude each other: nothing may be taken away "
			"beside others");
		return STATUS_USAGE;
	}
	if (q->exports && argc > 2) {
		log_error("export: one VAULT and one DEST are enough: what is %s?", operands[2]);
		return STATUS_USAGE;
	}
	if (q->list && !strcmp(q->list, "-") && q->options.secrets.old.passfile &&
	    !strcmp(q->options.secrets.old.passfile, "-")) {
		log_error("standard input cannot be both the passphrase and the list");
		return STATUS_USAGE;
	}
	if (q->exports) {
		q->dest = operands[1];
		return within_split(q->self, operands[0], &q->vault);
	}
	q->sources = operands;
	if (within_split(q->self, operands[argc - 1], &q->vault))
		return STATUS_USAGE;
	operands[argc - 1] = NULL;
	return STATUS_OK;
}

static int run_with(const struct command *self, int argc, char **argv, const struct option *options)
{
	struct request q = { .self = self,
			     .exports = self == &cli_export,
			     .style = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_QUIET };
	int status = STATUS_OK;
	int c;

	within_init(&q.options);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = take_operands(&q, argc - optind, argv + optind);
	if (!status)
		status = start(&q);
	within_free(&q.vault);
	return status;
}

/* clang-format off */
#define BOTH_OPTIONS \
	{ "force", no_argument, NULL, 'f' }, \
	{ "resume", no_argument, NULL, 'R' }, \
	{ "include", required_argument, NULL, 'I' }, \
	{ "exclude", required_argument, NULL, 'X' }, \
	{ "progress", required_argument, NULL, 'g' }, \
	{ "quiet", no_argument, NULL, 'q' }, \
	WITHIN_OPTIONS, \
	{ "help", no_argument, NULL, CLI_OPTIONS_HELP }
/* clang-format on */

static int run_import(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "files-from", required_argument, NULL, 'l' },
		{ "null", no_argument, NULL, '0' },
		{ "shard", required_argument, NULL, 's' },
		BOTH_OPTIONS,
		{ 0 },
	};

	return run_with(self, argc, argv, options);
}

static int run_export(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = { BOTH_OPTIONS, { 0 } };

	return run_with(self, argc, argv, options);
}

const struct command cli_import = {
	.name = "import",
	.summary = "copy files into a vault, without a mount",
	.help = "usage: cryptfs import [OPTIONS] SRC... VAULT[:PATH]\n"
		"\n"
		"Copy files and directories into the directory PATH of a vault that is not\n"
		"mounted, with all they have.  SRC/ stands for what is in SRC.  A file is there\n"
		"when it is complete; what fails is told, and the others go on.\n"
		"\n"
		"  --force            replace what is there; --resume: skip what is there with\n"
		"                     the same size and time\n"
		"  --files-from FILE  import what the lines of FILE name, too (-: stdin), as\n"
		"                     PATH/line; -0, --null: they end with zeros\n"
		"  --include PATTERN  only files like that; --exclude PATTERN: none like that\n"
		"  --shard I/N        only the Ith of N parts, beside the imports of others\n"
		"  --progress HOW     bar (on terminals), lines, json or none; --quiet: none\n"
		"  --workers N        processes that encrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --help             show this\n",
	.shorts = "0",
	.run = run_import,
};

const struct command cli_export = {
	.name = "export",
	.summary = "copy files out of a vault, without a mount",
	.help = "usage: cryptfs export [OPTIONS] VAULT[:PATH] DEST\n"
		"\n"
		"Copy what is in PATH of a vault that is not mounted into the directory DEST,\n"
		"with all it has; or a file to DEST.  A file is there when it is complete; what\n"
		"fails is told, and the others go on.\n"
		"\n"
		"  --force            replace what is there; --resume: skip what is there with\n"
		"                     the same size and time\n"
		"  --include PATTERN  only files like that; --exclude PATTERN: none like that\n"
		"  --progress HOW     bar (on terminals), lines, json or none; --quiet: none\n"
		"  --workers N        processes that decrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --help             show this\n",
	.run = run_export,
};
