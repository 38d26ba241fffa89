/* SPDX-License-Identifier: MIT */
/* cryptfs key: add, remove, list and change the keys that open a vault. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/enroll.h"
#include "cli/secrets.h"
#include "cli/slots.h"
#include "cli/strength.h"
#include "fs/vault_config.h"

struct request {
	struct secrets secrets;
	bool recovery;
	struct enroll enroll;
};

/* ---- add --------------------------------------------------------------- */

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'l':
		q->enroll.label = value;
		if (vault_config_label_is_valid(value))
			return STATUS_OK;
		log_error("--label: not 1 to 63 bytes of text");
		return STATUS_USAGE;
	case 't':
		q->enroll.fido2 = value;
		return STATUS_OK;
	case 'M':
		q->enroll.tpm2 = value;
		return STATUS_OK;
	case 'C':
		q->enroll.has_pcrs = true;
		return enroll_pcrs(value, &q->enroll.pcrs);
	case 'N':
		q->enroll.pin = true;
		return STATUS_OK;
	case 'r':
		q->recovery = true;
		return STATUS_OK;
	default:
		return secrets_apply(option, value, &q->secrets);
	}
}

static int add_given(struct vault *v, const char *path, const struct request *q)
{
	struct vault_secret secret;
	uint32_t id;
	int r = passphrase_get(&q->secrets.new, &secret);

	if (r)
		return passphrase_report(&q->secrets.new, r);
	strength_hint(&secret);
	r = vault_add_slot(v, &secret, q->enroll.label, &q->secrets.kdf, &id);
	passphrase_free(&secret);
	if (r)
		return exitcode_report_vault("add a key to", path, r);
	printf("added slot %u to %s\n", (unsigned int)id, path);
	return cli_flush();
}

static int add_any(struct vault *v, const char *path, const struct request *q)
{
	if (q->enroll.fido2 || q->enroll.tpm2)
		return enroll_device(v, path, &q->enroll, &q->secrets.new);
	return q->recovery ? secrets_add_recovery(v, path, q->enroll.label) : add_given(v, path, q);
}

/* Options that do not go together. */
static int check(const struct request *q)
{
	const struct enroll *e = &q->enroll;
	const char *own = q->recovery ? "recovery"
			  : e->fido2  ? "new-fido2"
			  : e->tpm2   ? "new-tpm2"
				      : NULL;
	bool is_given = !passphrase_is_asked(&q->secrets.new);

	if (!e->tpm2 && (e->has_pcrs || e->pin)) {
		log_error("key add: --tpm2-%s is for --new-tpm2", e->pin ? "pin" : "pcrs");
		return STATUS_USAGE;
	}
	if ((own && is_given && !e->pin) || q->recovery + !!e->fido2 + !!e->tpm2 > 1) {
		log_error("key add: --%s makes its own key; no other new one can be given", own);
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

static int add(const char *path, const struct request *q)
{
	struct vault *v;
	int status;

	status = check(q);
	if (status)
		return status;
	status = secrets_unlock(path, &q->secrets, &v);
	if (status)
		return status;
	status = add_any(v, path, q);
	vault_close(v);
	return status;
}

static int run_add(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		SECRETS_NEW,
		{ "label", required_argument, NULL, 'l' },
		{ "recovery", no_argument, NULL, 'r' },
		{ "new-fido2", required_argument, NULL, 't' },
		{ "new-tpm2", required_argument, NULL, 'M' },
		{ "tpm2-pcrs", required_argument, NULL, 'C' },
		{ "tpm2-pin", no_argument, NULL, 'N' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .enroll.pcrs = ENROLL_PCRS };
	const char *path;
	int status = STATUS_OK;
	int c;

	secrets_init(&q.secrets);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT", &path);
	return status ? status : add(path, &q);
}

/* ---- remove ------------------------------------------------------------ */

static int take_slot(const char *text, uint32_t *id)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || n > UINT32_MAX) {
		log_error("key remove: %s is not the number of a slot (see cryptfs key list)",
			  text);
		return STATUS_USAGE;
	}
	*id = (uint32_t)n;
	return STATUS_OK;
}

static int remove_slot(const char *path, uint32_t id, const struct secrets *s)
{
	struct vault *v;
	int status = secrets_unlock(path, s, &v);
	int r;

	if (status)
		return status;
	r = vault_remove_slot(v, id);
	vault_close(v);
	if (r)
		return exitcode_report_vault("remove a key from", path, r);
	printf("removed slot %u from %s; its key works no longer\n", (unsigned int)id, path);
	return cli_flush();
}

static int run_remove(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct secrets s;
	uint32_t id = 0;
	int status = STATUS_OK;
	int c;

	secrets_init(&s);
	s.old.prompt = "Passphrase (any that opens the vault)";
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = secrets_apply(c, optarg, &s);
	}
	if (status)
		return status;
	if (argc - optind != 2) {
		log_error("key remove: VAULT and the number of a slot, please (see cryptfs key "
			  "list)");
		return STATUS_USAGE;
	}
	status = take_slot(argv[optind + 1], &id);
	return status ? status : remove_slot(argv[optind], id, &s);
}

/* ---- list, change ------------------------------------------------------ */

static int list(const char *path, bool json)
{
	struct vault_info info;
	int status = slots_read(path, &info);

	if (status)
		return status;
	if (json)
		return cli_json(json_pack("{s:o}", "slots", slots_json(&info)));
	slots_show(&info);
	return cli_flush();
}

static int run_list(const struct command *self, int argc, char **argv)
{
	return cli_show(self, argc, argv, "VAULT", list);
}

static int run_change(const struct command *self, int argc, char **argv)
{
	(void)self;
	return cli_passwd.run(&cli_passwd, argc, argv);
}

/* ---- the command ------------------------------------------------------- */

static const struct {
	const char *name;
	int (*run)(const struct command *self, int argc, char **argv);
} verbs[] = {
	{ "add", run_add },
	{ "remove", run_remove },
	{ "list", run_list },
	{ "change", run_change },
};

enum {
	N_VERBS = sizeof(verbs) / sizeof(verbs[0]),
};

static int unknown(const char *word)
{
	const char *names[N_VERBS + 1] = { 0 };
	const char *nearest;

	for (size_t i = 0; i < N_VERBS; i++)
		names[i] = verbs[i].name;
	nearest = cli_nearest(word, names);
	log_error("key: what is %s? (%s%s%s)", word, nearest ? "did you mean " : "add, remove, ",
		  nearest ? nearest : "list or change", nearest ? "?" : "");
	return STATUS_USAGE;
}

static int run(const struct command *self, int argc, char **argv)
{
	if (argc < 2) {
		log_error("key: say what to do: add, remove, list or change");
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_help(self);
	for (size_t i = 0; i < N_VERBS; i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(self, argc - 1, argv + 1);
	return unknown(argv[1]);
}

const struct command cli_key = {
	.name = "key",
	.summary = "add, remove, list or change the keys of a vault",
	.help = "usage: cryptfs key add [OPTIONS] VAULT\n"
		"       cryptfs key remove [OPTIONS] VAULT SLOT\n"
		"       cryptfs key list [--json] VAULT\n"
		"       cryptfs key change [OPTIONS] VAULT    (the same as passwd)\n"
		"\n"
		"Up to 32 keys open a vault, each in a slot of its own; one always stays.  The\n"
		"vault must not be mounted.  Of a removed key and old copies: see cryptfs rotate.\n"
		"\n"
		"  --passfile FILE     a key that opens the vault: the first line of FILE (- is\n"
		"                      stdin), or recovery words in it\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE\n"
		"  --keyring NAME, --credential NAME   ... as cryptfs(1) says\n"
		"  --fido2, --tpm2 DEVICE   ... a security key, a TPM; auto: that is there\n"
		"  --new-passfile FILE, --new-extpass COMMAND, --new-keyfile FILE\n"
		"                      the same for the one to add\n"
		"  --new-fido2 DEVICE  add a security key (auto: the one that is there)\n"
		"  --new-tpm2 DEVICE   add a TPM (auto: this machine's), which goes by the PCRs\n"
		"    --tpm2-pcrs LIST  (0+7, or none; default 7), and by a PIN with --tpm2-pin\n"
		"  --recovery          add twelve random words to write down, shown once\n"
		"  --label TEXT        name of the new slot (default: what it is)\n"
		"  --kdf-memory MIB    memory that one try of the new key costs, 64 to 4096\n"
		"  --kdf-operations N  passes over it, 3 to 64 (default: about a second)\n"
		"  --help              show this\n",
	.run = run,
};
