/* SPDX-License-Identifier: MIT */
/* cryptfs rotate: another master key for a vault, and all of it encrypted anew. */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/limit.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/rotate_keys.h"
#include "cli/secrets.h"
#include "cli/watch.h"
#include "engine/engine.h"
#include "fs/check.h"
#include "fs/recrypt.h"
#include "fs/vault_rotate.h"
#include "fs/vault_tree.h"

enum {
	SLOTS = 2, /* one for reading, one for writing */
};

struct request {
	const char *path;
	struct secrets secrets;
	struct rotate_others others;
	int workers;
	bool abort;
	enum progress_style progress;
};

struct run {
	const struct request *q;
	struct engine *engine;
	struct watch watch;
	struct progress *progress;
	struct recrypt_counts counts;
	_Atomic uint64_t total;
};

/* ---- copying ------------------------------------------------------------- */

static void failed(void *arg, const char *path, int error)
{
	struct run *run = arg;

	progress_hide(run->progress);
	log_error("cannot copy %s: %s", path, strerror(error));
	progress_show(run->progress);
}

static void ask(void *arg, struct progress_state *state)
{
	struct run *run = arg;

	*state = (struct progress_state){ .done = atomic_load(&run->counts.work),
					  .total = atomic_load(&run->total),
					  .bytes = atomic_load(&run->counts.bytes),
					  .files = atomic_load(&run->counts.files) };
}

static void survey(struct run *run, const struct vault *v)
{
	struct statvfs st;
	uint64_t room;

	check_survey(vault_tree_fd(v), &run->total, &run->watch.stop);
	if (fstatvfs(vault_fd(v), &st))
		return;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	if (room < atomic_load(&run->total))
		log_warn("the copy takes about %" PRIu64 " MiB, only %" PRIu64
			 " MiB are free (when they are full, it can be gone on with or given up)",
			 atomic_load(&run->total) >> 20, room >> 20);
}

static int copy_trees(struct run *run, const struct vault *v, const struct vault *next)
{
	struct vault_info info;
	struct store from = {
		.engine = run->engine, .keys = vault_keys(v), .read_only = true, .acl = true
	};
	struct store to = { .engine = run->engine, .keys = vault_keys(next), .acl = true };
	const struct recrypt how = { .from = &from,
				     .to = &to,
				     .from_fd = vault_tree_fd(v),
				     .to_fd = vault_tree_fd(next),
				     .stop = &run->watch.stop,
				     .counts = &run->counts,
				     .failed = failed,
				     .arg = run };

	vault_info(v, &info);
	from.suite = to.suite = info.suite;
	if (engine_watch(run->engine))
		log_warn("workers that die will not be replaced");
	return recrypt_run(&how);
}

/* What a dead mount left in the journal is a part of what is there. */
static int replay(const struct run *run, const struct vault *v)
{
	struct store store = { .engine = run->engine, .keys = vault_keys(v) };
	struct vault_info info;

	vault_info(v, &info);
	store.suite = info.suite;
	return vault_tree_replay(run->q->path, v, &store);
}

static int copy(struct run *run, const struct vault *v, const struct vault *next)
{
	const char *path = run->q->path;
	uint64_t n;
	int r = replay(run, v);

	if (r)
		return r;
	if (progress_start(run->q->progress, ask, run, &run->progress))
		log_warn("no progress can be shown: out of memory");
	watch_start(&run->watch, run->progress);
	survey(run, v);
	r = copy_trees(run, v, next);
	watch_stop(&run->watch);
	progress_stop(run->progress);
	run->progress = NULL;
	if (r == -ECANCELED) {
		log_warn("stopped; go on with: cryptfs rotate %s", path);
		return STATUS_SYSTEM;
	}
	if (r) {
		log_error("cannot go on rotating %s: %s; then run it again, or with --abort", path,
			  exitcode_vault_message(r));
		return STATUS_SYSTEM;
	}
	n = atomic_load(&run->counts.failed);
	if (!n)
		return STATUS_OK;
	log_error("%" PRIu64 " of its files could not be copied: %s keeps its key so far (mend or "
		  "remove them after --abort, then rotate)",
		  n, path);
	return STATUS_FSCK_DAMAGE;
}

/* ---- the steps ----------------------------------------------------------- */

static int report(const struct request *q, int r)
{
	return r ? exitcode_report_vault("rotate", q->path, r) : STATUS_OK;
}

static int begin(const struct request *q, struct vault *v, struct rotate_keys *k)
{
	int status = rotate_keys_collect(k, q->path, v, &q->others);

	return status ? status : report(q, vault_rotate_begin(v, k->keys, k->n));
}

static int finish(const struct request *q, struct vault *v)
{
	struct vault_info info;
	int status = report(q, vault_rotate_finish(v));

	if (status)
		return status;
	vault_info(v, &info);
	printf("%s has another master key, and everything in it is encrypted with it; keys that "
	       "open it: %u\n",
	       q->path, (unsigned int)info.n_slots);
	return cli_flush();
}

static int give_up(const struct request *q, struct vault *v)
{
	struct vault_info info;
	int status;

	vault_info(v, &info);
	if (info.rotation == VAULT_NOT_ROTATING) {
		log_error("cannot give up the rotation of %s: there is none", q->path);
		return STATUS_USAGE;
	}
	if (info.rotation == VAULT_SWITCHED) {
		log_error("cannot give up the rotation of %s: it has the other key already (run it "
			  "without --abort to finish)",
			  q->path);
		return STATUS_USAGE;
	}
	status = report(q, vault_rotate_abort(v));
	if (status)
		return status;
	printf("gave up the rotation of %s; its master key is the one that it had\n", q->path);
	return cli_flush();
}

static int go_on(struct run *run, struct vault *v, struct rotate_keys *k)
{
	const struct request *q = run->q;
	enum vault_rotation rotation;
	struct vault *next;
	int status = report(q, vault_rotate_look(v, &k->secrets[0], &rotation, &next));

	if (status)
		return status;
	if (q->abort) {
		vault_close(next);
		return give_up(q, v);
	}
	if (rotation == VAULT_NOT_ROTATING) {
		status = begin(q, v, k);
		if (!status)
			status = report(q, vault_rotate_look(v, &k->secrets[0], &rotation, &next));
	} else if (q->others.n || q->others.drops) {
		log_warn("it was decided when this rotation began which keys stay");
	}
	if (!status && rotation == VAULT_COPYING) {
		status = copy(run, v, next);
		if (!status)
			status = report(q, vault_rotate_switch(v, next));
	}
	vault_close(next);
	return status ? status : finish(q, v);
}

static int open_and_rotate(struct run *run)
{
	const struct request *q = run->q;
	struct rotate_keys k = { 0 };
	struct vault *v;
	int status;
	int r = vault_rotate_open(q->path, &v);

	if (r)
		return exitcode_report_vault("open", q->path, r);
	status = passphrase_unlock_by(v, q->path, &q->secrets.old, &k.secrets[0]);
	if (!status) {
		vault_info(v, &k.info);
		k.keys[0].id = vault_unlocked_slot(v);
		k.keys[0].secret = &k.secrets[0];
		k.n = 1;
		status = go_on(run, v, &k);
	}
	rotate_keys_fini(&k);
	vault_close(v);
	return status;
}

static int rotate(const struct request *q)
{
	const struct engine_options options = { .workers = q->workers, .slots = SLOTS };
	struct run run = { .q = q };
	int status;
	int r = cipher_init();

	watch_hold_questions();
	limit_raise(RLIMIT_NOFILE); /* each directory on the way down holds a few of them */
	/* Before there is any secret that its processes could have. */
	if (!r)
		r = engine_start(&options, &run.engine);
	if (r) {
		log_error("cannot start the encryption engine: %s", strerror(-r));
		return STATUS_SYSTEM;
	}
	status = open_and_rotate(&run);
	engine_stop(run.engine);
	cipher_thread_fini();
	watch_pass_on(&run.watch);
	return status;
}

/* ---- the command line ---------------------------------------------------- */

static int take_progress(const char *value, struct request *q)
{
	q->progress = value ? PROGRESS_JSON : PROGRESS_LINES;
	if (!value || !strcmp(value, "json"))
		return STATUS_OK;
	log_error("rotate: --progress=%s: not json", value);
	return STATUS_USAGE;
}

static int take_other(const struct passphrase_source *source, struct request *q)
{
	if (q->others.n == VAULT_MAX_SLOTS) {
		log_error("rotate: a vault has no more than %d keys", VAULT_MAX_SLOTS);
		return STATUS_USAGE;
	}
	q->others.sources[q->others.n++] = *source;
	return STATUS_OK;
}

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'O':
		return take_other(&(struct passphrase_source){ .passfile = value }, q);
	case 'F':
		return take_other(&(struct passphrase_source){ .keyfile = value }, q);
	case 't':
		return take_other(&(struct passphrase_source){ .fido2 = value }, q);
	case 'M':
		return take_other(&(struct passphrase_source){ .tpm2 = value }, q);
	case 'd':
		q->others.drops = true;
		return STATUS_OK;
	case 'a':
		q->abort = true;
		return STATUS_OK;
	case 'G':
		return take_progress(value, q);
	case 'w':
		return cli_workers(value, &q->workers);
	default:
		return secrets_apply(option, value, &q->secrets);
	}
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		{ "other-passfile", required_argument, NULL, 'O' },
		{ "other-keyfile", required_argument, NULL, 'F' },
		{ "other-fido2", required_argument, NULL, 't' },
		{ "other-tpm2", required_argument, NULL, 'M' },
		{ "drop-others", no_argument, NULL, 'd' },
		{ "abort", no_argument, NULL, 'a' },
		{ "progress", optional_argument, NULL, 'G' },
		{ "workers", required_argument, NULL, 'w' },
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
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT", &q.path);
	return status ? status : rotate(&q);
}

const struct command cli_rotate = {
	.name = "rotate",
	.summary = "encrypt a vault anew, with another master key",
	.help = "usage: cryptfs rotate [OPTIONS] VAULT\n"
		"\n"
		"Make a new master key and encrypt everything with it: then old copies of\n"
		"cryptfs.conf and removed keys open nothing more.  The vault must not be mounted,\n"
		"and takes twice its space meanwhile.  Interrupted by whatever, it goes on when\n"
		"it is run again; until it is finished the vault cannot be mounted.\n"
		"\n"
		"  --passfile FILE    a key that opens the vault, and stays: the first line of\n"
		"                     FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... the key NAME in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE      ... a TPM; auto: of this machine\n"
		"  --other-passfile, --other-keyfile FILE, --other-fido2, --other-tpm2 DEVICE\n"
		"                     another key that is to stay; once for each.  Those not\n"
		"                     given are asked for on the terminal\n"
		"  --drop-others      let all the others go\n"
		"  --abort            give up a rotation that is unfinished; the old key stays\n"
		"  --progress[=json]  how far it is, a line a second on standard error\n"
		"  --workers N        processes that encrypt: 0 to 64, or auto (default)\n"
		"  --help             show this\n",
	.run = run,
};
