/* SPDX-License-Identifier: MIT */
/* cryptfs verify: read all of a vault, without a mount, and compare it with a plain tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/limit.h"
#include "base/log.h"
#include "cli/progress.h"
#include "cli/watch.h"
#include "cli/within.h"
#include "fs/compare.h"

struct request {
	const struct command *self;
	struct within_options options;
	struct within vault;
	const char *against;
	enum progress_style style;
	bool quiet;
};

struct run {
	const struct request *q;
	struct compare_counts counts;
	struct watch watch;
	struct progress *progress;
	uint64_t n_damaged, n_different, n_troubles;
};

/* ---- telling ------------------------------------------------------------- */

static void print_finding(const struct request *q, const struct compare_finding *f)
{
	static const char *const words[] = {
		[COMPARE_DAMAGED] = "damaged", [COMPARE_MISSING] = "missing",
		[COMPARE_EXTRA] = "extra",     [COMPARE_TYPE] = "differs",
		[COMPARE_SIZE] = "differs",    [COMPARE_CONTENT] = "differs",
		[COMPARE_TARGET] = "differs",  [COMPARE_TROUBLE] = "trouble",
	};
	static const char *const texts[] = {
		[COMPARE_TYPE] = "another type",
		[COMPARE_SIZE] = "another size",
		[COMPARE_TARGET] = "another link target",
	};

	printf("%-8s  ", words[f->kind]);
	cli_print_escaped(*f->path ? f->path : ".");
	if (f->attribute) {
		printf(": attribute ");
		cli_print_escaped(f->attribute);
	}
	switch (f->kind) {
	case COMPARE_DAMAGED:
		if (f->has_offset)
			printf(": from byte %" PRIu64 " on", f->offset);
		break;
	case COMPARE_MISSING:
		printf(": not in %s", q->against);
		break;
	case COMPARE_EXTRA:
		printf(": only in %s", q->against);
		break;
	case COMPARE_CONTENT:
		printf(": from byte %" PRIu64 " on", f->offset);
		break;
	case COMPARE_TROUBLE:
		printf(": %s%s%s", f->is_other ? q->against : "", f->is_other ? ": " : "",
		       strerror(-f->error));
		break;
	default:
		printf(": %s", texts[f->kind]);
	}
	(void)putchar('\n');
}

static void found(void *arg, const struct compare_finding *f)
{
	struct run *run = arg;

	progress_hide(run->progress);
	print_finding(run->q, f);
	(void)fflush(stdout); /* cli_flush sees failures */
	progress_show(run->progress);
	if (f->kind == COMPARE_DAMAGED)
		run->n_damaged++;
	else if (f->kind == COMPARE_TROUBLE)
		run->n_troubles++;
	else
		run->n_different++;
}

static void ask(void *arg, struct progress_state *state)
{
	struct run *run = arg;

	*state = (struct progress_state){ .bytes = atomic_load(&run->counts.bytes),
					  .files = atomic_load(&run->counts.files) };
}

static void hide(void *arg)
{
	progress_hide(arg);
}

static void show_again(void *arg)
{
	progress_show(arg);
}

static int print_summary(const struct run *run)
{
	const struct compare_counts *n = &run->counts;

	if (run->q->quiet)
		return cli_flush();
	printf("%s%" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " others, %" PRIu64
	       " bytes read, %" PRIu64 " damaged",
	       run->watch.stopped_by ? "not complete: " : "", n->files, n->directories, n->others,
	       n->bytes, run->n_damaged);
	if (run->q->against)
		printf(", %" PRIu64 " different", run->n_different);
	if (run->n_troubles)
		printf(", %" PRIu64 " not looked at", run->n_troubles);
	(void)putchar('\n');
	return cli_flush();
}

/* ---- the run ------------------------------------------------------------- */

/* The name that what is verified has in the other tree: none of a directory. */
static int place_of(struct side *side, const char *place, const char **out)
{
	struct side_hand hand;
	struct side_node node;
	const char *slash = strrchr(place, '/');
	int r = side_hand_new(side, &hand);

	if (r)
		return r;
	r = side_find_path(&hand, place, &node);
	*out = r || S_ISDIR(node.st.st_mode) ? "" : slash ? slash + 1 : place;
	side_drop(&hand, &node);
	side_hand_free(&hand);
	return r;
}

static int status_of(const struct run *run)
{
	if (run->n_damaged || run->n_different)
		return STATUS_FSCK_DAMAGE;
	return run->n_troubles ? STATUS_SYSTEM : STATUS_OK;
}

static int compare(struct run *run, struct side *side, struct side *other)
{
	const struct request *q = run->q;
	const struct compare_rules rules = { .side = side,
					     .other = other,
					     .n_hands = within_hands(),
					     .stop = &run->watch.stop,
					     .found = found,
					     .arg = run,
					     .counts = &run->counts };
	const char *place = "";
	int status;
	int r = place_of(side, q->vault.place, &place);

	if (!r && !progress_start(q->style, ask, run, &run->progress))
		log_around(hide, show_again, run->progress);
	watch_start(&run->watch, run->progress);
	if (!r)
		r = compare_run(&rules, q->vault.place, place);
	watch_stop(&run->watch);
	log_around(NULL, NULL, NULL);
	progress_stop(run->progress);
	run->progress = NULL;
	if (r)
		return within_report("verify", q->vault.place, r);
	status = print_summary(run);
	return status_of(run) ? status_of(run) : status;
}

/* The vault is open. */
static int verify(struct run *run, struct offline *vault)
{
	const struct request *q = run->q;
	struct side *other = NULL;
	int fd = -1;
	int r = 0;

	if (q->against) {
		fd = open(q->against, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = fd < 0 ? -errno : side_plain_new(fd, &other);
	}
	if (r)
		r = within_report("compare with", q->against, r);
	else
		r = offline_start(vault, &(struct confine_place){ fd, CONFINE_READ },
				  q->against ? 1 : 0);
	if (!r)
		r = compare(run, vault->side, other);
	side_free(other);
	fdio_close(fd);
	return r;
}

static int start(const struct request *q)
{
	struct offline vault = { .root_fd = -1 };
	struct run run = { .q = q };
	struct engine *engine;
	int status;

	watch_hold_questions();
	limit_raise(RLIMIT_NOFILE);
	status = offline_start_engine(q->options.workers, within_hands() + OFFLINE_SLOTS, &engine);
	if (status)
		return status;
	status = offline_open(engine, q->vault.vault, VAULT_SHARED, &q->options.secrets.old,
			      &vault);
	if (!status)
		status = verify(&run, &vault);
	offline_close(&vault);
	engine_stop(engine);
	cipher_thread_fini();
	watch_pass_on(&run.watch);
	return status;
}

/* ---- the command line ------------------------------------------------------- */

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'a':
		q->against = value;
		return STATUS_OK;
	case 'q':
		q->quiet = true;
		q->style = PROGRESS_NONE;
		return STATUS_OK;
	case 'g':
		return cli_progress(value, &q->style);
	default:
		return within_apply(option, value, &q->options);
	}
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "against", required_argument, NULL, 'a' },
		{ "progress", required_argument, NULL, 'g' },
		{ "quiet", no_argument, NULL, 'q' },
		WITHIN_OPTIONS,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .self = self,
			     .style = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_QUIET };
	const char *operand;
	int status = STATUS_OK;
	int c;

	within_init(&q.options);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT[:PATH]", &operand);
	if (!status)
		status = within_split(self, operand, &q.vault);
	if (!status)
		status = start(&q);
	within_free(&q.vault);
	return status;
}

const struct command cli_verify = {
	.name = "verify",
	.summary = "read all of a vault, compare it with a plain tree",
	.help = "usage: cryptfs verify [OPTIONS] VAULT[:PATH]\n"
		"\n"
		"Read everything in a vault that is not mounted, or in a part of it, as a mount\n"
		"shows it, and tell what cannot be read.  (fsck looks at how it is stored.)\n"
		"\n"
		"  --against DIR      compare with the plain directory DIR, too: names, types,\n"
		"                     content and link targets; not owners, modes and times\n"
		"  --progress HOW     bar (on terminals), lines, json or none\n"
		"  --quiet            no progress and no summary\n"
		"  --workers N        processes that decrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --help             show this\n"
		"\n"
		"Exit status 0: all can be read and is the same; 8: something is damaged or\n"
		"differs.\n",
	.run = run,
};
