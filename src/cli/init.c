/* SPDX-License-Identifier: MIT */
/* cryptfs init: create a vault. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/secrets.h"
#include "cli/strength.h"
#include "fs/passphrase.h"
#include "fs/vault_config.h"

struct request {
	const char *path;
	struct vault_create how;
	struct passphrase_source source;
	bool recovery;
};

static int choose_cipher(const char *name, struct vault_create *how)
{
	if (cipher_by_name(name, &how->suite)) {
		log_error("unknown cipher %s (aes-256-gcm, chacha20-poly1305 or xor)", name);
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

static int choose_label(const char *label, struct vault_create *how)
{
	how->label = label;
	if (!vault_config_label_is_valid(label)) {
		log_error("--label: not 1 to 63 bytes of text");
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'c':
		return choose_cipher(value, &q->how);
	case 'm':
		return cli_kdf_memory(value, &q->how.kdf);
	case 'o':
		return cli_kdf_operations(value, &q->how.kdf);
	case 'l':
		return choose_label(value, &q->how);
	case 'p':
		q->source.passfile = value;
		return STATUS_OK;
	case 'e':
		q->source.extpass = value;
		return STATUS_OK;
	case 'k':
		q->source.keyfile = value;
		return STATUS_OK;
	case 'n':
		q->source.keyring = value;
		return STATUS_OK;
	case 'D':
		q->source.credential = value;
		return STATUS_OK;
	case 'r':
		q->recovery = true;
		return STATUS_OK;
	default:
		return STATUS_USAGE;
	}
}

static int add_recovery(const struct request *q, const struct vault_secret *secret)
{
	struct vault *v;
	int r = vault_open(q->path, VAULT_EXCLUSIVE, &v);

	if (!r)
		r = vault_unlock(v, secret);
	r = r ? exitcode_report_vault("open", q->path, r) : secrets_add_recovery(v, q->path, NULL);
	vault_close(v);
	return r;
}

static int create(const struct request *q)
{
	struct vault_secret secret;
	int status = STATUS_OK;
	int r = vault_create_check(q->path);

	if (r)
		return exitcode_report_vault("create", q->path, r);
	if (q->how.suite == CIPHER_XOR)
		log_warn("xor is not encryption: this vault will protect nothing");
	r = passphrase_get(&q->source, &secret);
	if (r)
		return passphrase_report(&q->source, r);
	strength_hint(&secret);
	r = vault_create(q->path, &q->how, &secret);
	if (r)
		status = exitcode_report_vault("create", q->path, r);
	else if (q->recovery)
		status = add_recovery(q, &secret);
	passphrase_free(&secret);
	if (status)
		return status;
	printf("created %s (%s); mount it with: cryptfs-mount %s MOUNTPOINT\n", q->path,
	       cipher_name(q->how.suite), q->path);
	return cli_flush();
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "cipher", required_argument, NULL, 'c' },
		{ "kdf-memory", required_argument, NULL, 'm' },
		{ "kdf-operations", required_argument, NULL, 'o' },
		{ "label", required_argument, NULL, 'l' },
		{ "passfile", required_argument, NULL, 'p' },
		{ "extpass", required_argument, NULL, 'e' },
		{ "keyfile", required_argument, NULL, 'k' },
		{ "keyring", required_argument, NULL, 'n' },
		{ "credential", required_argument, NULL, 'D' },
		{ "recovery", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = {
		.how = { .suite = cipher_default() },
		.source = { .prompt = "New passphrase", .confirm = true },
	};
	int status = STATUS_OK;
	int c;

	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT", &q.path);
	return status ? status : create(&q);
}

const struct command cli_init = {
	.name = "init",
	.summary = "create a vault",
	.help = "usage: cryptfs init [OPTIONS] VAULT\n"
		"\n"
		"Make VAULT, a new or empty directory, a vault.  Without an option that says\n"
		"where the passphrase comes from, it is asked for twice on the terminal.\n"
		"\n"
		"  --cipher NAME       aes-256-gcm (default where the processor has AES),\n"
		"                      chacha20-poly1305, or xor, which protects nothing\n"
		"  --passfile FILE     the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND   ... the first line that this shell command prints\n"
		"  --keyfile FILE      ... all of FILE, up to 4096 bytes\n"
		"  --keyring NAME      ... the key NAME in the kernel's keyrings\n"
		"  --credential NAME   ... the systemd credential NAME\n"
		"  --label TEXT        name of the key slot (default: what it is)\n"
		"  --recovery          add a second key, twelve words to write down\n"
		"  --kdf-memory MIB    memory that one try of a passphrase costs, 64 to 4096\n"
		"                      (default 256, less on a small machine)\n"
		"  --kdf-operations N  passes over it, 3 to 64 (default: about a second)\n"
		"  --help              show this\n",
	.run = run,
};
