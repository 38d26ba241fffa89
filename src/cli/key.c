/* SPDX-License-Identifier: MIT */
/* cryptfs key: add, remove, list and change the keys that open a vault. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secmem.h"
#include "cli/cli.h"
#include "cli/secrets.h"
#include "cli/slots.h"
#include "cli/strength.h"
#include "fs/fido2.h"
#include "fs/vault_config.h"

struct request {
	struct secrets secrets;
	const char *label; /* NULL: what kind it is */
	bool recovery;
	const char *token; /* the device */
};

/* ---- add --------------------------------------------------------------- */

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'l':
		q->label = value;
		if (vault_config_label_is_valid(value))
			return STATUS_OK;
		log_error("--label: not 1 to 63 bytes of text");
		return STATUS_USAGE;
	case 't':
		q->token = value;
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
	r = vault_add_slot(v, &secret, q->label, &q->secrets.kdf, &id);
	passphrase_free(&secret);
	if (r)
		return exitcode_report_vault("add a key to", path, r);
	printf("added slot %u to %s\n", (unsigned int)id, path);
	return cli_flush();
}

/* A security key: the credential that it makes, and its secret. */
struct token {
	const char *device;
	struct vault_token params;
	uint8_t secret[FIDO2_SECRET_SIZE];
};

static int enroll(void *arg, const char *pin)
{
	struct token *t = arg;

	return fido2_enroll(t->device, pin, &t->params);
}

static int ask_secret(void *arg, const char *pin)
{
	struct token *t = arg;

	return fido2_secret(t->device, pin, &t->params, t->secret);
}

/* Touched twice: the secret cannot be had from the making of the credential. */
static int add_token(struct vault *v, const char *path, const struct request *q)
{
	struct token *t = secmem_new(sizeof(*t));
	struct vault_secret secret;
	uint32_t id = 0;
	int r;

	if (!t)
		return exitcode_report_vault("add a key to", path, -ENOMEM);
	t->device = q->token;
	log_info("touch the security key, and once more when it asks again");
	r = passphrase_with_pin(enroll, t);
	if (!r)
		r = passphrase_with_pin(ask_secret, t);
	if (r) {
		log_error("cannot add a key to %s: %s", path, fido2_message(r));
		r = STATUS_SYSTEM;
	} else {
		secret = (struct vault_secret){ t->secret, sizeof(t->secret), VAULT_FIDO2 };
		r = vault_add_token(v, &secret, &t->params, q->label, &id);
		if (r)
			r = exitcode_report_vault("add a key to", path, r);
	}
	secmem_free(t);
	if (r)
		return r;
	printf("added slot %u to %s, for this security key\n", (unsigned int)id, path);
	return cli_flush();
}

static int add_any(struct vault *v, const char *path, const struct request *q)
{
	if (q->token)
		return add_token(v, path, q);
	return q->recovery ? secrets_add_recovery(v, path, q->label) : add_given(v, path, q);
}

static int add(const char *path, const struct request *q)
{
	struct vault *v;
	int status;

	if ((q->recovery || q->token) &&
	    (!passphrase_is_asked(&q->secrets.new) || (q->recovery && q->token))) {
		log_error("key add: --%s makes its own key; no other new one can be given",
			  q->recovery ? "recovery" : "new-fido2");
		return STATUS_USAGE;
	}
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
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { 0 };
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
		"vault must not be mounted.  Removing a key does not encrypt the files anew: with\n"
		"it and an old copy of cryptfs.conf they can still be read.\n"
		"\n"
		"  --passfile FILE      a key that opens the vault: the first line of FILE\n"
		"                       (- is stdin), or recovery words in it\n"
		"  --extpass COMMAND    ... the first line that this shell command prints\n"
		"  --keyfile FILE       ... all of FILE\n"
		"  --keyring NAME       ... the key NAME in the kernel's keyrings\n"
		"  --credential NAME    ... the systemd credential NAME\n"
		"  --fido2 DEVICE       ... a security key; auto: that is there\n"
		"  --new-passfile FILE, --new-extpass COMMAND, --new-keyfile FILE\n"
		"                       the same for the one to add\n"
		"  --new-fido2 DEVICE   add a security key (auto: the one that is there)\n"
		"  --recovery           add twelve random words to write down, shown once\n"
		"  --label TEXT         name of the new slot (default: what it is)\n"
		"  --kdf-memory MIB     memory that one try of the new key costs, 64 to 4096\n"
		"  --kdf-operations N   passes over it, 3 to 64 (default: about a second)\n"
		"  --help               show this\n",
	.run = run,
};
