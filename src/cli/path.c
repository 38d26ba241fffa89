/* SPDX-License-Identifier: MIT */
/* cryptfs path: where a file is stored in the vault, and what a stored file is. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/mounted.h"
#include "cli/secrets.h"
#include "fs/pathmap.h"

/* Behind a directory that a path begins with; else the path as it is. */
static const char *below(const char *path, const char *directory)
{
	size_t size = strlen(directory);

	if (strncmp(path, directory, size) || (path[size] && path[size] != '/'))
		return path;
	return path + size;
}

static int show(const char *found)
{
	(void)fputs(*found ? found : ".", stdout);
	(void)putchar('\n');
	return cli_flush();
}

static int fail(const char *path, const char *why)
{
	log_error("%s: %s", path, why);
	return STATUS_SYSTEM;
}

/* ---- a mount ------------------------------------------------------------- */

static int ask(const struct mountinfo *m, const char *path, bool back)
{
	struct control_question q = { .command = back ? "shown" : "path", .body = path };
	char *reply;
	char *rest;
	int status;
	long code;

	q.body_size = strlen(path);
	if (q.body_size > CONTROL_BODY_MAX)
		return fail(path, strerror(ENAMETOOLONG));
	if (!q.body_size) /* the top: a body of nothing is none */
		q = (struct control_question){ q.command, ".", 1 };
	status = mounted_tell(m, &q, &reply);
	if (status)
		return status;
	code = strtol(reply, &rest, 10);
	if (rest == reply || *rest != ' ')
		status = fail(m->point, "its process is of another version (mount it anew)");
	else if (code)
		status = (fail(path, rest + 1), (int)code);
	else
		status = show(rest + 1);
	free(reply);
	return status;
}

/* ---- a vault that is not mounted ----------------------------------------- */

static int look_in_vault(const char *vault, struct vault *v, const char *path, bool back)
{
	struct store store = { .keys = vault_keys(v), .read_only = true };
	struct vault_info info;
	struct tree *t = NULL;
	char *found = NULL;
	int status = STATUS_OK;
	int r;

	vault_info(v, &info);
	store.suite = info.suite;
	r = tree_new(&store, vault_tree_fd(v), &t);
	if (!r)
		r = back ? pathmap_show(t, path, &found) : pathmap_store(t, path, &found);
	if (r)
		status = fail(path, strerror(-r));
	else if (!back && printf("%s/tree%s", vault, *found ? "/" : "") < 0)
		status = STATUS_SYSTEM;
	if (!status)
		status = !back && !*found ? (putchar('\n'), cli_flush()) : show(found);
	free(found);
	tree_free(t);
	return status;
}

static int open_and_look(const char *path, const char *in, const struct secrets *s, bool back)
{
	char vault[PATH_MAX];
	char tree[PATH_MAX + 8];
	struct vault *v;
	int status;
	int r = vault_open(path, VAULT_SHARED, &v);

	if (r)
		return exitcode_report_vault("open", path, r);
	if (!realpath(path, vault))
		strcpy(vault, ".");
	(void)snprintf(tree, sizeof(tree), "%s/tree", vault);
	status = passphrase_unlock(v, path, &s->old);
	if (!status)
		status = look_in_vault(vault, v, back ? below(in, tree) : in, back);
	vault_close(v);
	return status;
}

/* ---- the command --------------------------------------------------------- */

static int map(const char *where, const char *path, const struct secrets *s, bool back)
{
	static struct mountinfo m;

	if (mounted_look(where, &m))
		return open_and_look(where, path, s, back);
	return ask(&m, back ? path : below(path, m.point), back);
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		{ "reverse", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct secrets s;
	bool back = false;
	int status;
	int c;

	secrets_init(&s);
	s.old.prompt = NULL;
	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		back = back || c == 'r';
		status = c == 'r' ? STATUS_OK : secrets_apply(c, optarg, &s);
		if (status)
			return status;
	}
	if (argc - optind != 2) {
		log_error("path: MOUNTPOINT or VAULT, and a PATH (see cryptfs path --help)");
		return STATUS_USAGE;
	}
	return map(argv[optind], argv[optind + 1], &s, back);
}

const struct command cli_path = {
	.name = "path",
	.summary = "where a file is in the vault, and back",
	.help = "usage: cryptfs path [--reverse] MOUNTPOINT PATH\n"
		"       cryptfs path [--reverse] [--passfile FILE | --extpass COMMAND |\n"
		"                    --keyfile FILE | --keyring NAME | --credential NAME |\n"
		"                    --fido2 DEVICE | --tpm2 DEVICE] VAULT PATH\n"
		"\n"
		"Print where the file PATH of a mount, or of a vault that is not mounted, is\n"
		"stored.  PATH is relative to the mountpoint, or begins with it.\n"
		"\n"
		"  --reverse  PATH is stored: below VAULT/tree, or begins with that; print how it\n"
		"             is shown, relative to the mountpoint\n"
		"  --help     show this\n",
	.run = run,
};
