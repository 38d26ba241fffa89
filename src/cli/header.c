/* SPDX-License-Identifier: MIT */
/* cryptfs header: keep a copy of a vault's configuration, and put it back. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/secrets.h"

struct request {
	const char *path;
	const char *file;
	struct secrets secrets;
};

static int backup(const struct request *q)
{
	struct vault *v;
	int r = vault_open(q->path, VAULT_NO_LOCK, &v);

	if (r)
		return exitcode_report_vault("open", q->path, r);
	r = vault_save_header(v, q->file);
	vault_close(v);
	if (r) {
		log_error("cannot write %s: %s", q->file, strerror(-r));
		return STATUS_SYSTEM;
	}
	printf("wrote the header of %s to %s; keep it where the vault is not\n", q->path, q->file);
	return cli_flush();
}

static int restore(const struct request *q)
{
	struct vault *v;
	int status;
	int r = vault_open_header(q->path, q->file, &v);

	if (r)
		return exitcode_report_vault("restore the header of", q->path, r);
	status = passphrase_unlock(v, q->path, &q->secrets.old);
	if (!status) {
		r = vault_restore_header(v);
		if (r)
			status = exitcode_report_vault("restore the header of", q->path, r);
	}
	vault_close(v);
	if (status)
		return status;
	printf("restored the header of %s; keys that were changed or removed since it was\n"
	       "written to %s work as they did then\n",
	       q->path, q->file);
	return cli_flush();
}

static const struct verb {
	const char *name;
	int (*run)(const struct request *q);
} verbs[] = {
	{ "backup", backup },
	{ "restore", restore },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (name && strcmp(name, verbs[i].name) == 0)
			return &verbs[i];
	return NULL;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	const struct verb *verb;
	struct request q = { 0 };
	int status = STATUS_OK;
	int c;

	secrets_init(&q.secrets);
	q.secrets.old.prompt = NULL;
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = secrets_apply(c, optarg, &q.secrets);
	}
	if (status)
		return status;
	verb = find_verb(argv[optind]);
	if (!verb || argc - optind != 3) {
		log_error("header: say backup or restore, then VAULT and FILE (see cryptfs header "
			  "--help)");
		return STATUS_USAGE;
	}
	q.path = argv[optind + 1];
	q.file = argv[optind + 2];
	return verb->run(&q);
}

const struct command cli_header = {
	.name = "header",
	.summary = "keep a copy of a vault's keys, or put it back",
	.help = "usage: cryptfs header backup VAULT FILE\n"
		"       cryptfs header restore [OPTIONS] VAULT FILE\n"
		"\n"
		"Without cryptfs.conf no passphrase opens a vault.  backup copies it to FILE,\n"
		"which must not exist; restore puts it back after it was lost or damaged, if FILE\n"
		"is of this vault and the passphrase opens it.  FILE is worth as much to a thief\n"
		"as the vault's own copy: it can be tried with passphrases, also those of then.\n"
		"\n"
		"  --passfile FILE    restore: the passphrase is the first line of FILE\n"
		"                     (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... the key NAME in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE      ... a TPM; auto: of this machine\n"
		"  --help             show this\n",
	.run = run,
};
