/* SPDX-License-Identifier: MIT */
/* cryptfs passwd: change the passphrase of a vault. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "fs/passphrase.h"

struct request {
	const char *path;
	struct vault_kdf kdf;
	struct passphrase_source old;
	struct passphrase_source new;
};

static int set(const char **where, const char *value)
{
	*where = value;
	return STATUS_OK;
}

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'm':
		return cli_kdf_memory(value, &q->kdf);
	case 'o':
		return cli_kdf_operations(value, &q->kdf);
	case 'p':
		return set(&q->old.passfile, value);
	case 'e':
		return set(&q->old.extpass, value);
	case 'k':
		return set(&q->old.keyfile, value);
	case 'P':
		return set(&q->new.passfile, value);
	case 'E':
		return set(&q->new.extpass, value);
	case 'K':
		return set(&q->new.keyfile, value);
	default:
		return STATUS_USAGE;
	}
}

static int replace(struct vault *v, const struct request *q)
{
	struct vault_secret secret;
	int r = passphrase_get(&q->new, &secret);

	if (r)
		return passphrase_report(&q->new, r);
	r = vault_change_secret(v, &secret, &q->kdf);
	passphrase_free(&secret);
	if (r)
		return exitcode_report_vault("change the passphrase of", q->path, r);
	printf("changed the passphrase of %s; the old one works no longer\n", q->path);
	return cli_flush();
}

static int change(const struct request *q)
{
	struct vault *v;
	int status;
	int r = vault_open(q->path, VAULT_EXCLUSIVE, &v);

	if (r)
		return exitcode_report_vault("open", q->path, r);
	status = passphrase_unlock(v, q->path, &q->old);
	if (!status)
		status = replace(v, q);
	vault_close(v);
	return status;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "passfile", required_argument, NULL, 'p' },
		{ "extpass", required_argument, NULL, 'e' },
		{ "keyfile", required_argument, NULL, 'k' },
		{ "new-passfile", required_argument, NULL, 'P' },
		{ "new-extpass", required_argument, NULL, 'E' },
		{ "new-keyfile", required_argument, NULL, 'K' },
		{ "kdf-memory", required_argument, NULL, 'm' },
		{ "kdf-operations", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = {
		.old = { .prompt = "Current passphrase" },
		.new = { .prompt = "New passphrase", .confirm = true },
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
	return status ? status : change(&q);
}

const struct command cli_passwd = {
	.name = "passwd",
	.summary = "change the passphrase of a vault",
	.help = "usage: cryptfs passwd [OPTIONS] VAULT\n"
		"\n"
		"Replace the passphrase that is given first by the one that is given then.  The\n"
		"vault must not be mounted.  Files are not encrypted anew: who has an old copy of\n"
		"cryptfs.conf and the old passphrase can still read them.\n"
		"\n"
		"  --passfile FILE      the current passphrase is the first line of FILE\n"
		"                       (- is stdin)\n"
		"  --extpass COMMAND    ... the first line that this shell command prints\n"
		"  --keyfile FILE       ... all of FILE\n"
		"  --new-passfile FILE, --new-extpass COMMAND, --new-keyfile FILE\n"
		"                       the same for the new one\n"
		"  --kdf-memory MIB     memory that one try of a passphrase costs, 64 to 4096\n"
		"  --kdf-operations N   passes over it, 3 to 64 (default: about a second)\n"
		"  --help               show this\n",
	.run = run,
};
