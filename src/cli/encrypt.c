/* SPDX-License-Identifier: MIT */
/* cryptfs encrypt and decrypt: files without a vault; the command line of it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/run.h"
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
	bool processes_set;
	uint64_t processes;
	uint64_t jobs; /* 0: as suits */
	const char *input;
	const char *output;
	bool is_taken; /* the pair */
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
	case 'P':
		return choose_processes(value, q);
	case 'j':
		return cli_number("--jobs", value, 1, ENGINE_MAX_SLOTS, &q->jobs);
	default:
		return STATUS_USAGE;
	}
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
	if (q->source.passfile && strcmp(q->source.passfile, "-") == 0 &&
	    strcmp(q->input, "-") == 0) {
		log_error("standard input cannot be both the passphrase and the input");
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

/* ---- doing it ---------------------------------------------------------- */

static int next_pair(void *arg, char **input, char **output)
{
	struct request *q = arg;

	if (q->is_taken)
		return 1;
	q->is_taken = true;
	*input = strdup(q->input);
	*output = strdup(q->output);
	return *input && *output ? 0 : -1;
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

static int run_it(struct request *q, struct engine *e, const struct vault_secret *secret,
		  const struct run_options *options, int *stopped_by)
{
	struct run_counts counts = { 0 };
	struct job_rules rules = { .force = q->force, .n_bytes = &counts.n_bytes };
	const struct run_source source = { next_pair, q };
	int status = STATUS_OK;
	int r;

	if (q->suite == CIPHER_XOR) {
		rules.way = CONVERT_XOR;
		rules.xor_key = secret;
	} else {
		rules.way = q->decrypts ? CONVERT_OPEN : CONVERT_SEAL;
		r = container_keys_new(secret, &rules.keys);
		if (r) {
			log_error("cannot start: %s", strerror(-r));
			return STATUS_SYSTEM;
		}
		if (!q->decrypts)
			status = make_header(q, &rules.header);
	}
	if (!status)
		status = run_jobs(e, &rules, &source, options, &counts, stopped_by);
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
		.slots = options.n_hands,
	};
	struct vault_secret secret = { 0 };
	struct engine *e = NULL;
	int stopped_by = 0;
	int status;
	int r;

	options.n_open = options.n_hands;
	r = engine_start(&engine, &e);
	if (r) {
		log_error("cannot start: %s", strerror(-r));
		return STATUS_SYSTEM;
	}
	status = get_secret(q, &secret);
	if (!status) {
		r = engine_watch(e);
		if (r)
			log_warn("cannot start workers: %s; going on without", strerror(-r));
		status = run_it(q, e, &secret, &options, &stopped_by);
	}
	engine_stop(e);
	if (!q->key)
		passphrase_free(&secret);
	if (stopped_by) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, stopped_by);
		(void)raise(stopped_by);
		(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
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
		{ "processes", required_argument, NULL, 'P' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .self = self, .decrypts = self == &cli_decrypt };
	int status = STATUS_OK;
	int c;

	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (status)
		return status;
	if (argc - optind != 2) {
		log_error("%s: give IN and OUT (see cryptfs %s --help)", self->name, self->name);
		return STATUS_USAGE;
	}
	q.input = argv[optind];
	q.output = argv[optind + 1];
	if (!q.decrypts)
		q.source.confirm = true;
	status = check(&q);
	if (status)
		return status;
	if (q.suite == CIPHER_XOR)
		log_warn("xor is not encryption: it protects nothing");
	return start(&q);
}

const struct command cli_encrypt = {
	.name = "encrypt",
	.summary = "encrypt a file, without a vault",
	.help = "usage: cryptfs encrypt [OPTIONS] IN OUT\n"
		"\n"
		"Encrypt the file IN into the file OUT, which appears when it is complete.\n"
		"Either may be - for standard input and output.\n"
		"\n"
		"  --cipher NAME       aes-256-gcm (default where the processor has AES),\n"
		"                      chacha20-poly1305, or xor, which protects nothing\n"
		"  --passfile FILE     the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE, up to 4096 bytes\n"
		"  --key K             the key of xor\n"
		"  --kdf-memory MIB    memory that one try of a passphrase costs, 64 to 4096\n"
		"  --kdf-operations N  passes over it, 3 to 64 (default: about a second)\n"
		"  --force             replace OUT if it is there\n"
		"  --processes N       worker processes, 0 to 64 (default: as suits)\n"
		"  --jobs N            pieces and files in work at a time, 1 to 64\n"
		"  --help              show this\n",
	.run = run,
};

const struct command cli_decrypt = {
	.name = "decrypt",
	.summary = "decrypt what encrypt made",
	.help = "usage: cryptfs decrypt [OPTIONS] IN OUT\n"
		"\n"
		"Decrypt the file IN into the file OUT, which appears when it is complete.\n"
		"Either may be - for standard input and output.\n"
		"\n"
		"  --passfile FILE     the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE, up to 4096 bytes\n"
		"  --cipher xor        IN was encrypted with xor\n"
		"  --key K             the key of xor\n"
		"  --force             replace OUT if it is there\n"
		"  --processes N       worker processes, 0 to 64 (default: as suits)\n"
		"  --jobs N            pieces and files in work at a time, 1 to 64\n"
		"  --help              show this\n",
	.run = run,
};
