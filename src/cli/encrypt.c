/* SPDX-License-Identifier: MIT */
/* cryptfs encrypt and decrypt: files without a vault; the command line of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/run.h"
#include "cli/survey.h"
#include "cli/watch.h"
#include "fs/passphrase.h"
#include "fs/vault_kdf.h"

struct request {
	const struct command *self;
	bool decrypts;
	enum cipher_suite suite; /* 0: as the file says */
	const char *key;
	struct vault_kdf kdf;
	struct passphrase_source source;
	bool force;
	bool resumes;
	bool is_in_place;
	bool processes_set;
	uint64_t processes;
	uint64_t min_processes;
	uint64_t jobs; /* 0: as suits */
	struct inputs_spec spec;
	struct patterns patterns;
	const char *input; /* the only one, or NULL: spec says which */
	const char *output;
	bool is_taken; /* the only one */
	enum progress_style style;
};

/* ---- the command line -------------------------------------------------- */

static int choose_cipher(const char *name, struct request *q)
{
	if (cipher_by_name(name, &q->suite)) {
		log_error("unknown cipher %s (aes-256-gcm, chacha20-poly1305 or xor)", name);
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

static int choose_processes(const char *text, struct request *q)
{
	q->processes_set = strcmp(text, "auto") != 0;
	if (!q->processes_set)
		return STATUS_OK;
	return cli_number("--processes", text, 0, ENGINE_MAX_WORKERS, &q->processes);
}

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'c':
		return choose_cipher(value, q);
	case 'm':
		return cli_kdf_memory(value, &q->kdf);
	case 'o':
		return cli_kdf_operations(value, &q->kdf);
	case 'p':
		q->source.passfile = value;
		return STATUS_OK;
	case 'e':
		q->source.extpass = value;
		return STATUS_OK;
	case 'k':
		q->source.keyfile = value;
		return STATUS_OK;
	case 'K':
		q->key = value;
		return STATUS_OK;
	case 'f':
		q->force = true;
		return STATUS_OK;
	case 'R':
		q->resumes = true;
		return STATUS_OK;
	case 'i':
		q->is_in_place = true;
		return STATUS_OK;
	case 'r':
		q->spec.recursive = true;
		return STATUS_OK;
	case 'l':
		q->spec.list = value;
		return STATUS_OK;
	case '0':
		q->spec.zero_ended = true;
		return STATUS_OK;
	case 'I':
		return patterns_include(&q->patterns, value);
	case 'X':
		return patterns_exclude(&q->patterns, value);
	case 'g':
		return cli_progress(value, &q->style);
	case 'M':
		return cli_number("--min-processes", value, 0, ENGINE_MAX_WORKERS,
				  &q->min_processes);
	case 'P':
		return choose_processes(value, q);
	case 'j':
		return cli_number("--jobs", value, 1, ENGINE_MAX_SLOTS, &q->jobs);
	default:
		return STATUS_USAGE;
	}
}

static bool is_dash(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static int check(const struct request *q)
{
	bool is_xor = q->suite == CIPHER_XOR;

	if (q->key && !is_xor) {
		log_error("--key is for --cipher xor only: others could read it (use --passfile)");
		return STATUS_USAGE;
	}
	if (is_xor && !q->key == !q->source.keyfile) {
		log_error("--cipher xor takes --key or --keyfile");
		return STATUS_USAGE;
	}
	if (q->key && !*q->key) {
		log_error("--key: it is empty");
		return STATUS_USAGE;
	}
	if (q->decrypts && q->suite && !is_xor) {
		log_error("--cipher: what was encrypted says so itself, but for xor");
		return STATUS_USAGE;
	}
	if (q->processes_set && q->min_processes > q->processes) {
		log_error("--min-processes: more than --processes");
		return STATUS_USAGE;
	}
	if (is_dash(q->source.passfile) && (is_dash(q->input) || is_dash(q->spec.list))) {
		log_error("standard input cannot be both the passphrase and the input");
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

/* True if operands are one file and the name of another. */
static bool is_a_pair(const struct request *q, int argc, char **operands)
{
	struct stat st;

	if (argc != 2 || q->is_in_place || q->spec.recursive || q->spec.list)
		return false;
	if (is_dash(operands[0]) || is_dash(operands[1]))
		return true;
	return stat(operands[1], &st) || !S_ISDIR(st.st_mode);
}

/* What the operands are: STATUS_OK or STATUS_USAGE. */
static int take_operands(struct request *q, int argc, char **operands)
{
	int n_least = q->is_in_place || q->spec.list ? 1 : 2;

	if (argc < (q->is_in_place && q->spec.list ? 0 : n_least)) {
		log_error("%s: too few operands (see cryptfs %s --help)", q->self->name,
			  q->self->name);
		return STATUS_USAGE;
	}
	if (is_a_pair(q, argc, operands)) {
		q->input = operands[0];
		q->output = operands[1];
		return STATUS_OK;
	}
	if (!q->is_in_place) {
		q->spec.dest = operands[argc - 1];
		operands[argc - 1] = NULL;
	}
	q->spec.operands = operands;
	q->spec.patterns = &q->patterns;
	if (q->suite == CIPHER_XOR || q->is_in_place)
		q->spec.suffix = INPUTS_KEEP;
	else
		q->spec.suffix = q->decrypts ? INPUTS_TAKE : INPUTS_ADD;
	return STATUS_OK;
}

/* ---- doing it ---------------------------------------------------------- */

/* As inputs_next, of the one that was named. */
static int next_only(void *arg, struct input *next)
{
	struct request *q = arg;

	if (q->is_taken)
		return 1;
	q->is_taken = true;
	*next = (struct input){ .path = strdup(q->input), .output = strdup(q->output) };
	if (next->path && next->output)
		return 0;
	log_error("cannot start: %s", strerror(ENOMEM));
	return -1;
}

static int next_of_many(void *arg, struct input *next)
{
	return inputs_next(arg, next);
}

/* What containers of this run begin with. */
static int make_header(const struct request *q, struct container_header *header)
{
	int r;

	header->suite = q->suite ? q->suite : cipher_default();
	header->kdf = q->kdf;
	r = vault_kdf_choose(&header->kdf);
	if (!r && getrandom(header->salt, sizeof(header->salt), 0) != (ssize_t)sizeof(header->salt))
		r = -EIO;
	if (!r)
		return STATUS_OK;
	log_error("cannot encrypt: %s", exitcode_vault_message(r));
	return STATUS_SYSTEM;
}

/* ---- how far it is ----------------------------------------------------- */

struct show {
	struct progress *progress;
	struct survey *survey;
	struct run_counts counts;
	uint64_t size; /* of the only input */
};

static void ask(void *arg, struct progress_state *state)
{
	struct show *show = arg;
	struct run_counts *c = &show->counts;

	*state = (struct progress_state){
		.bytes = atomic_load(&c->n_bytes),
		.files = atomic_load(&c->n_done),
		.total = show->survey ? survey_total(show->survey) : show->size,
	};
	state->done = state->bytes + atomic_load(&c->n_skipped_bytes);
}

static void say(void *arg)
{
	struct show *show = arg;

	progress_say(show->progress);
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
static void start_showing(const struct request *q, struct show *show)
{
	bool is_shown = q->style != PROGRESS_NONE && q->style != PROGRESS_QUIET;
	struct stat st;

	if (q->input && !stat(q->input, &st) && S_ISREG(st.st_mode))
		show->size = (uint64_t)st.st_size;
	if (!q->input && is_shown)
		show->survey = survey_start(&q->spec);
	if (progress_start(q->style == PROGRESS_NONE ? PROGRESS_QUIET : q->style, ask, show,
			   &show->progress))
		return;
	if (is_shown)
		log_around(hide, show_again, show->progress);
}

static void stop_showing(struct show *show)
{
	log_around(NULL, NULL, NULL);
	progress_stop(show->progress);
	survey_stop(show->survey);
}

/* ---- the run ----------------------------------------------------------- */

/* Keys of the run: rules are set for run_jobs.  STATUS_OK, or what went wrong, said already. */
static int set_keys(const struct request *q, const struct vault_secret *secret,
		    struct job_rules *rules)
{
	int r;

	if (q->suite == CIPHER_XOR) {
		rules->way = CONVERT_XOR;
		rules->xor_key = secret;
		return STATUS_OK;
	}
	rules->way = q->decrypts ? CONVERT_OPEN : CONVERT_SEAL;
	r = container_keys_new(secret, &rules->keys);
	if (!r)
		return q->decrypts ? STATUS_OK : make_header(q, &rules->header);
	log_error("cannot start: %s", strerror(-r));
	return STATUS_SYSTEM;
}

/* Ends the engine, before what its messages go by. */
static int run_it(struct request *q, struct engine **e, const struct vault_secret *secret,
		  struct run_options *options, int *stopped_by)
{
	struct show show = { 0 };
	struct job_rules rules = { .force = q->force,
				   .resumes = q->resumes,
				   .is_in_place = q->is_in_place,
				   .is_many = q->spec.dest != NULL,
				   .n_bytes = &show.counts.n_bytes };
	struct run_source source = { next_only, q };
	struct inputs *inputs = NULL;
	int status = set_keys(q, secret, &rules);
	int r;

	if (!status && !q->input)
		status = inputs_new(&q->spec, &inputs);
	if (inputs)
		source = (struct run_source){ next_of_many, inputs };
	if (!status) {
		options->say = say;
		options->arg = &show;
		start_showing(q, &show);
		r = engine_watch(*e);
		if (r)
			log_warn("cannot start workers: %s; going on without", strerror(-r));
		status = run_jobs(*e, &rules, &source, options, &show.counts, stopped_by);
		engine_stop(*e);
		*e = NULL;
		stop_showing(&show);
	}
	inputs_free(inputs);
	container_keys_free(rules.keys);
	return status;
}

static int get_secret(const struct request *q, struct vault_secret *secret)
{
	int r;

	if (q->key) {
		*secret = (struct vault_secret){ .bytes = (const uint8_t *)q->key,
						 .size = strlen(q->key) };
		return STATUS_OK;
	}
	r = passphrase_get(&q->source, secret);
	return r ? passphrase_report(&q->source, r) : STATUS_OK;
}

/* As many hands as keep reading, ciphers and writing busy at the same time. */
static uint32_t choose_hands(const struct request *q)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = q->processes_set ? q->processes : (uint64_t)(cpus < 1 ? 1 : cpus);

	if (q->jobs)
		return (uint32_t)q->jobs;
	n = n ? n + 1 : 1;
	return n < ENGINE_MAX_SLOTS ? (uint32_t)n : ENGINE_MAX_SLOTS;
}

/* The engine starts before there is a secret or a thread: see engine_start. */
static int start(struct request *q)
{
	struct run_options options = { .n_hands = choose_hands(q) };
	const struct engine_options engine = {
		.workers = q->processes_set ? (int)q->processes : ENGINE_WORKERS_AUTO,
		.elastic = true,
		.min_workers = (uint32_t)q->min_processes,
		.slots = options.n_hands,
	};
	struct vault_secret secret = { 0 };
	struct engine *e = NULL;
	int stopped_by = 0;
	int status;
	int r;

	options.n_open = options.n_hands;
	watch_hold_questions();
	r = engine_start(&engine, &e);
	if (r)
		return STATUS_SYSTEM;
	status = get_secret(q, &secret);
	if (!status)
		status = run_it(q, &e, &secret, &options, &stopped_by);
	engine_stop(e);
	if (!q->key)
		passphrase_free(&secret);
	if (stopped_by)
		watch_die_of(stopped_by);
	return status;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "cipher", required_argument, NULL, 'c' },
		{ "kdf-memory", required_argument, NULL, 'm' },
		{ "kdf-operations", required_argument, NULL, 'o' },
		{ "passfile", required_argument, NULL, 'p' },
		{ "extpass", required_argument, NULL, 'e' },
		{ "keyfile", required_argument, NULL, 'k' },
		{ "key", required_argument, NULL, 'K' },
		{ "force", no_argument, NULL, 'f' },
		{ "in-place", no_argument, NULL, 'i' },
		{ "resume", no_argument, NULL, 'R' },
		{ "recursive", no_argument, NULL, 'r' },
		{ "files-from", required_argument, NULL, 'l' },
		{ "null", no_argument, NULL, '0' },
		{ "include", required_argument, NULL, 'I' },
		{ "exclude", required_argument, NULL, 'X' },
		{ "progress", required_argument, NULL, 'g' },
		{ "processes", required_argument, NULL, 'P' },
		{ "min-processes", required_argument, NULL, 'M' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .self = self,
			     .decrypts = self == &cli_decrypt,
			     .style = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_QUIET };
	int status = STATUS_OK;
	int c;

	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (status)
		return status;
	if (!q.decrypts)
		q.source.confirm = true;
	status = take_operands(&q, argc - optind, argv + optind);
	if (!status)
		status = check(&q);
	if (status)
		return status;
	if (q.suite == CIPHER_XOR)
		log_warn("xor is not encryption: it protects nothing");
	return start(&q);
}

const struct command cli_encrypt = {
	.name = "encrypt",
	.summary = "encrypt files, without a vault",
	.help = "usage: cryptfs encrypt [OPTIONS] IN OUT | IN... DIRECTORY\n"
		"\n"
		"Encrypt files.  Outputs appear when they are complete; - is stdin or stdout.\n"
		"In DIRECTORY they are called like the inputs, with .cryptfs added.\n"
		"\n"
		"  --cipher NAME       aes-256-gcm (default where the processor has AES),\n"
		"                      chacha20-poly1305, or xor, which protects nothing\n"
		"  --passfile FILE     the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE, up to 4096 bytes; --key K: of xor only\n"
		"  --kdf-memory MIB    memory that one try of a passphrase costs, 64 to 4096\n"
		"  --kdf-operations N  passes over it, 3 to 64 (default: about a second)\n"
		"  -r, --recursive     go into directories; --include, --exclude PATTERN\n"
		"  --files-from FILE   inputs are the lines of FILE; -0, --null: end with zeros\n"
		"  --force             replace what is there; --resume: skip what is done\n"
		"  --in-place          outputs take the place of the inputs\n"
		"  --progress HOW      bar (on terminals), lines, json or none\n"
		"  --processes N       worker processes at most, 0 to 64 (default: as suits);\n"
		"                      --min-processes N: at least\n"
		"  --jobs N            pieces and files in work at a time, 1 to 64\n"
		"  --help              show this\n",
	.shorts = "r0",
	.run = run,
};

const struct command cli_decrypt = {
	.name = "decrypt",
	.summary = "decrypt what encrypt made",
	.help = "usage: cryptfs decrypt [OPTIONS] IN OUT | IN... DIRECTORY\n"
		"\n"
		"Decrypt files.  Outputs appear when they are complete; - is stdin or stdout.\n"
		"In DIRECTORY they are called like the inputs, without .cryptfs.\n"
		"\n"
		"  --passfile FILE     the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE, up to 4096 bytes\n"
		"  --cipher xor        they were encrypted with xor; --key K: of it\n"
		"  -r, --recursive     go into directories; --include, --exclude PATTERN\n"
		"  --files-from FILE   inputs are the lines of FILE; -0, --null: end with zeros\n"
		"  --force             replace what is there; --resume: skip what is done\n"
		"  --in-place          outputs take the place of the inputs\n"
		"  --progress HOW      bar (on terminals), lines, json or none\n"
		"  --processes N       worker processes at most, 0 to 64 (default: as suits);\n"
		"                      --min-processes N: at least\n"
		"  --jobs N            pieces and files in work at a time, 1 to 64\n"
		"  --help              show this\n",
	.shorts = "r0",
	.run = run,
};
