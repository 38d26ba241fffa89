/* SPDX-License-Identifier: MIT */
/* cryptfs fsck: check a vault that nobody uses, repair it, copy out of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pthread.h>

#include "base/fdio.h"
#include "base/limit.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/secrets.h"
#include "cli/watch.h"
#include "engine/engine.h"
#include "fs/check.h"
#include "fs/quiet.h"
#include "fs/replay.h"
#include "fs/salvage.h"

enum { MIN_THREADS = 2, MAX_THREADS = 16 };

struct request {
	const char *path;
	const char *subpath;
	const char *salvage;
	struct secrets secrets;
	int workers;
	bool repair;
	bool json;
	enum progress_style progress;
};

/* One run, from the moment that the vault is open. */
struct run {
	const struct request *q;
	struct check *check;
	struct watch *watch;
	struct progress *progress;
	int tree_fd;
	pthread_t surveyor;
	bool surveys;
	_Atomic uint64_t total;
	atomic_bool survey_stop;
	uint64_t n_told;
	bool has_journal;
	struct replay_pending *pending; /* without --repair: what it has */
};

/* ---- telling --------------------------------------------------------------------- */

static const char *outcome_word(const struct check_finding *f)
{
	if (f->outcome == CHECK_REPAIRED)
		return "repaired";
	switch (check_kind_level(f->kind)) {
	case CHECK_DAMAGE:
		return "damaged";
	case CHECK_LEFTOVER:
		return "leftover";
	default:
		return "trouble";
	}
}

static void print_finding(const struct check_finding *f)
{
	printf("%-8s  ", outcome_word(f));
	cli_print_escaped(*f->path ? f->path : ".");
	if (f->has_range)
		printf(": bytes %" PRIu64 "-%" PRIu64, f->start, f->end - 1);
	printf(": %s", check_kind_text(f->kind));
	if (f->detail) {
		printf(" (");
		cli_print_escaped(f->detail);
		printf(")");
	}
	if (f->outcome == CHECK_NOT_REPAIRED)
		printf("; it could not be repaired");
	if (f->error)
		printf(": %s", strerror(f->error));
	(void)putchar('\n');
}

static void print_finding_json(struct run *run, const struct check_finding *f)
{
	static const char *const levels[] = { "leftover", "damage", "trouble" };
	static const char *const outcomes[] = { "stays", "repaired", "failed" };
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "kind", check_kind_name(f->kind), "level",
			      levels[check_kind_level(f->kind)], "outcome", outcomes[f->outcome],
			      "text", check_kind_text(f->kind));
	char *text;

	cli_json_text(o, "path", f->path);
	cli_json_text(o, "stored", f->stored);
	if (f->detail)
		cli_json_text(o, "detail", f->detail);
	if (f->has_range) {
		json_object_set_new(o, "start", json_integer((json_int_t)f->start));
		json_object_set_new(o, "end", json_integer((json_int_t)f->end));
	}
	if (f->error)
		json_object_set_new(o, "error", json_string(strerror(f->error)));
	text = json_dumps(o, JSON_COMPACT);
	printf("%s\n    %s", run->n_told ? "," : "", text ? text : "null");
	free(text);
	json_decref(o);
}

static void found(void *arg, const struct check_finding *f)
{
	struct run *run = arg;

	progress_hide(run->progress);
	if (run->q->json)
		print_finding_json(run, f);
	else
		print_finding(f);
	if (run->progress)
		(void)fflush(stdout); /* cli_flush sees failures */
	progress_show(run->progress);
	run->n_told++;
}

static void begin_json(const struct request *q)
{
	json_t *o = json_object();
	char *text;

	/* The document is written as it grows: nobody knows how long it gets. */
	cli_json_text(o, "vault", q->path);
	text = json_dumps(o, JSON_COMPACT);
	printf("{%.*s,\n  \"findings\": [", text ? (int)strlen(text) - 2 : 0, text ? text + 1 : "");
	free(text);
	json_decref(o);
}

static int end_json(const struct run *run, const struct check_counts *n, bool complete)
{
	json_t *o = json_pack(
		"{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "complete",
		complete, "repair", run->q->repair, "files", (json_int_t)n->files, "directories",
		(json_int_t)n->directories, "symlinks", (json_int_t)n->symlinks, "specials",
		(json_int_t)n->specials, "bytes", (json_int_t)n->bytes, "bytes_bad",
		(json_int_t)n->bytes_bad, "damaged", (json_int_t)n->damaged, "repaired",
		(json_int_t)n->repaired, "leftovers", (json_int_t)n->leftovers, "troubles",
		(json_int_t)n->troubles, "failed", (json_int_t)n->failed);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	printf("%s],\n  %s\n", run->n_told ? "\n  " : "", text ? text + 1 : "}");
	free(text);
	json_decref(o);
	return cli_flush();
}

static void print_count(uint64_t n, const char *one, const char *many)
{
	printf("%" PRIu64 " %s, ", n, n == 1 ? one : many);
}

static int print_summary(const struct run *run, const struct check_counts *n, bool complete)
{
	if (!complete)
		printf("not complete: ");
	print_count(n->files, "file", "files");
	print_count(n->directories, "directory", "directories");
	print_count(n->symlinks, "symlink", "symlinks");
	print_count(n->specials, "special file", "special files");
	print_count(n->bytes, "byte", "bytes");
	printf("%" PRIu64 " damaged", n->damaged);
	if (n->bytes_bad)
		printf(" (%" PRIu64 " bytes lost)", n->bytes_bad);
	printf(", %" PRIu64 " repaired, %" PRIu64 " left over", n->repaired, n->leftovers);
	if (n->troubles)
		printf(", %" PRIu64 " not checked or copied", n->troubles);
	if (n->failed)
		printf(", %" PRIu64 " repairs failed", n->failed);
	if (n->leftovers && !run->q->repair)
		printf(" (--repair tidies up)");
	(void)putchar('\n');
	return cli_flush();
}

/* ---- the run ------------------------------------------------------------------------ */

static void ask(void *arg, struct progress_state *state)
{
	struct run *run = arg;
	struct check_counts counts;

	check_counts(run->check, &counts);
	*state = (struct progress_state){ .done = counts.work,
					  .total = run->surveys ? atomic_load(&run->total) : 0,
					  .bytes = counts.bytes,
					  .files = counts.files };
}

static void *survey(void *arg)
{
	struct run *run = arg;

	check_survey(run->tree_fd, &run->total, &run->survey_stop);
	return NULL;
}

/* How far it is and how much there is: for who wants to see that. */
static void start_progress(struct run *run)
{
	const struct request *q = run->q;

	if (progress_start(q->progress, ask, run, &run->progress))
		log_warn("no progress can be shown: out of memory");
	watch_start(run->watch, run->progress);
	/* Of a part of the vault nobody knows how much it is. */
	run->surveys = run->progress && !q->subpath &&
		       !pthread_create(&run->surveyor, NULL, survey, run);
}

static void stop_progress(struct run *run)
{
	atomic_store(&run->survey_stop, true);
	if (run->surveys)
		(void)pthread_join(run->surveyor, NULL);
	watch_stop(run->watch);
	progress_stop(run->progress);
	run->progress = NULL;
}

static int status_of(const struct request *q, const struct check_counts *n, int r)
{
	if (r == -ENOENT && q->subpath) {
		log_error("fsck: there is no %s in %s", q->subpath, q->path);
		return STATUS_SYSTEM;
	}
	if (r) {
		log_error("cannot check %s: %s", q->path, strerror(-r));
		return STATUS_SYSTEM;
	}
	if (n->damaged)
		return STATUS_FSCK_DAMAGE;
	return n->troubles || n->failed ? STATUS_SYSTEM : STATUS_OK;
}

static int check(const struct request *q, const struct check_options *options, struct run *run,
		 const struct vault *v)
{
	struct check_counts counts;
	bool complete;
	int status;
	int r = check_new(options, &run->check);

	if (r) {
		log_error("cannot start the check: %s", strerror(-r));
		return STATUS_SYSTEM;
	}
	if (q->json)
		begin_json(q);
	check_config(run->check, v);
	if (run->has_journal)
		check_journal(run->check);
	start_progress(run);
	r = check_tree(run->check, run->tree_fd);
	stop_progress(run);
	check_counts(run->check, &counts);
	complete = !r && !run->watch->stopped_by;
	status = status_of(q, &counts, r);
	r = q->json ? end_json(run, &counts, complete) : print_summary(run, &counts, complete);
	check_free(run->check);
	return status ? status : r;
}

static uint32_t n_threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	/* While one waits for the disk another decrypts. */
	return cpus < MIN_THREADS ? MIN_THREADS : cpus > MAX_THREADS ? MAX_THREADS : (uint32_t)cpus;
}

static int begin_salvage(const struct request *q, const struct vault *v, struct salvage **salvage)
{
	int r = q->salvage ? salvage_new(q->salvage, vault_fd(v), salvage) : 0;

	if (r > 0)
		log_error("cannot copy to %s: %s", q->salvage,
			  r == SALVAGE_INSIDE ? "it is in the vault (choose another place)"
					      : "it is not empty (choose a new one)");
	else if (r)
		log_error("cannot copy to %s: %s", q->salvage, strerror(-r));
	return r ? STATUS_SYSTEM : STATUS_OK;
}

/*
 * What the journal holds counts before everything else that there is: without it, what
 * a repair writes would make its records void.
 */
static int look_at_journal(struct run *run, const struct store *store, const struct vault *v)
{
	struct replay_result result = { 0 };
	struct io *io = NULL;
	int r = io_new(store, &io);

	if (!r && store->read_only)
		r = replay_pending_new(store, vault_fd(v), &run->pending);
	else if (!r)
		r = replay_vault(store, io, vault_fd(v), vault_tree_fd(v), &result);
	io_free(io);
	run->has_journal = run->pending || result.n_records;
	if (!r)
		return STATUS_OK;
	log_error("cannot %s the vault's journal: %s", store->read_only ? "read" : "replay",
		  strerror(-r));
	return STATUS_SYSTEM;
}

/* The vault is unlocked. */
static int look(const struct request *q, struct engine *engine, struct watch *watch,
		const struct vault *v)
{
	struct run run = { .q = q, .watch = watch, .tree_fd = -1 };
	struct vault_info info;
	struct store store = { .engine = engine, .keys = vault_keys(v), .read_only = !q->repair };
	struct check_options options = { .store = &store,
					 .repair = q->repair,
					 .threads = n_threads(),
					 .subpath = q->subpath,
					 .stop = &watch->stop,
					 .found = found,
					 .arg = &run };
	int status;

	vault_info(v, &info);
	store.suite = info.suite;
	if (info.suite == CIPHER_XOR)
		log_warn("%s: xor is not encryption: its contents cannot be checked", q->path);
	if (engine_watch(engine))
		log_warn("workers that die will not be replaced");
	status = look_at_journal(&run, &store, v);
	options.pending = run.pending;
	if (!status)
		status = begin_salvage(q, v, &options.salvage);
	if (status)
		goto out;
	/* Without --repair nothing is to change, not even by having been looked at. */
	run.tree_fd = q->repair ? fcntl(vault_tree_fd(v), F_DUPFD_CLOEXEC, 3)
				: quiet_open(vault_tree_fd(v));
	if (run.tree_fd < 0) {
		log_error("cannot open the tree of %s", q->path);
		status = STATUS_SYSTEM;
	} else {
		status = check(q, &options, &run, v);
	}
out:
	fdio_close(run.tree_fd);
	salvage_free(options.salvage);
	replay_pending_free(run.pending);
	return status;
}

static int open_and_look(const struct request *q, struct engine *engine, struct watch *watch)
{
	struct vault *v;
	int status;
	int r = vault_open(q->path, q->repair ? VAULT_EXCLUSIVE : VAULT_SHARED, &v);

	if (r)
		return exitcode_report_vault("open", q->path, r);
	status = passphrase_unlock(v, q->path, &q->secrets.old);
	if (!status)
		status = look(q, engine, watch, v);
	vault_close(v);
	return status;
}

static int fsck(const struct request *q)
{
	const struct engine_options options = { .workers = q->workers, .slots = n_threads() };
	struct engine *engine = NULL;
	struct watch watch = { 0 };
	int status;
	int r = cipher_init();

	watch_hold_questions();
	limit_raise(RLIMIT_NOFILE); /* each directory on the way down holds a few of them */
	/* Before there is any secret that its processes could have. */
	if (!r)
		r = engine_start(&options, &engine);
	if (r) {
		log_error("cannot start the encryption engine: %s", strerror(-r));
		return STATUS_SYSTEM;
	}
	status = open_and_look(q, engine, &watch);
	engine_stop(engine);
	cipher_thread_fini();
	watch_pass_on(&watch);
	return status;
}

/* ---- the command line ------------------------------------------------------------------ */

static int take_progress(const struct command *self, const char *value, struct request *q)
{
	q->progress = value ? PROGRESS_JSON : PROGRESS_LINES;
	if (!value || !strcmp(value, "json"))
		return STATUS_OK;
	log_error("%s: --progress=%s: not json", self->name, value);
	return STATUS_USAGE;
}

static int apply(const struct command *self, int option, const char *value, struct request *q)
{
	switch (option) {
	case 'r':
		q->repair = true;
		return STATUS_OK;
	case 'j':
		q->json = true;
		return STATUS_OK;
	case 'P':
		return take_progress(self, value, q);
	case 's':
		q->salvage = value;
		return STATUS_OK;
	case 'w':
		return cli_workers(value, &q->workers);
	default:
		return secrets_apply(option, value, &q->secrets);
	}
}

static int take_operands(const struct command *self, int argc, char **argv, struct request *q)
{
	if (argc - optind == 2)
		q->subpath = argv[--argc];
	if (q->repair && q->salvage) {
		log_error("%s: --repair and --salvage exclude each other: a copy changes nothing",
			  self->name);
		return STATUS_USAGE;
	}
	return cli_operand(self, argc, argv, "VAULT", &q->path);
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "repair", no_argument, NULL, 'r' },
		{ "salvage", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "progress", optional_argument, NULL, 'P' },
		{ "workers", required_argument, NULL, 'w' },
		SECRETS_OLD,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .workers = ENGINE_WORKERS_AUTO,
			     .progress = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_QUIET };
	int status = STATUS_OK;
	int c;

	secrets_init(&q.secrets);
	q.secrets.old.prompt = NULL;
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(self, c, optarg, &q);
	}
	if (!status)
		status = take_operands(self, argc, argv, &q);
	return status ? status : fsck(&q);
}

const struct command cli_fsck = {
	.name = "fsck",
	.summary = "check a vault, repair it, copy out of it",
	.help = "usage: cryptfs fsck [OPTIONS] VAULT [PATH]\n"
		"\n"
		"Check everything in a vault that is not mounted: names, directories, headers,\n"
		"every block, links, attributes, and what interrupted operations left.  PATH, as\n"
		"it is below the mountpoint, restricts that to a part.  Without --repair nothing\n"
		"is changed.\n"
		"\n"
		"  --repair           put in order what can be without a guess; what does not\n"
		"                     authenticate is never touched\n"
		"  --salvage DIR      copy what authenticates to DIR, which is new or empty\n"
		"  --json             one document for programs\n"
		"  --progress[=json]  how far it is, a line a second on standard error\n"
		"  --workers N        processes that decrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE      ... a TPM; auto: of this machine\n"
		"  --help             show this\n"
		"\n"
		"Exit status 0: nothing is damaged, or is any more; 8: damage remains.\n",
	.run = run,
};
