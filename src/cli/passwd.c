/* SPDX-License-Identifier: MIT */
/* cryptfs passwd: change the passphrase of a vault. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/secrets.h"
#include "cli/strength.h"

static int replace(struct vault *v, const char *path, const struct secrets *s)
{
	struct vault_secret secret;
	int r = passphrase_get(&s->new, &secret);

	if (r)
		return passphrase_report(&s->new, r);
	strength_hint(&secret);
	r = vault_change_secret(v, &secret, &s->kdf);
	passphrase_free(&secret);
	if (r)
		return exitcode_report_vault("change the passphrase of", path, r);
	printf("changed the passphrase of %s; the old one works no longer\n", path);
	return cli_flush();
}

static int change(const char *path, const struct secrets *s)
{
	struct vault *v;
	int status = secrets_unlock(path, s, &v);

	if (status)
		return status;
	status = replace(v, path, s);
	vault_close(v);
	return status;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		SECRETS_NEW,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct secrets s;
	const char *path;
	int status = STATUS_OK;
	int c;

	secrets_init(&s);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = secrets_apply(c, optarg, &s);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT", &path);
	return status ? status : change(path, &s);
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
		"  --keyring NAME       ... the key NAME in the kernel's keyrings\n"
		"  --credential NAME    ... the systemd credential NAME\n"
		"  --fido2 DEVICE       ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE        ... a TPM; auto: of this machine\n"
		"  --new-passfile FILE, --new-extpass COMMAND, --new-keyfile FILE\n"
		"                       the same for the new one\n"
		"  --kdf-memory MIB     memory that one try of a passphrase costs, 64 to 4096\n"
		"  --kdf-operations N   passes over it, 3 to 64 (default: about a second)\n"
		"  --help               show this\n",
	.run = run,
};
