/* SPDX-License-Identifier: MIT */
/* cryptfs suspend and resume: a mount without its keys for a while. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secmem.h"
#include "cli/cli.h"
#include "cli/mounted.h"
#include "cli/secrets.h"
#include "cli/slots.h"
#include "fs/token.h"

enum { TRIES = 3 };

/* "STATUS why": the exit status, and why it is not 0 is said. */
static int report(const char *verb, const struct mountinfo *m, const char *reply)
{
	char *why;
	long status = strtol(reply, &why, 10);

	if (why == reply || status < 0 || status > UINT8_MAX) {
		log_error("cannot %s %s: its process is of another version (mount it anew)", verb,
			  m->point);
		return STATUS_SYSTEM;
	}
	if (status)
		log_error("cannot %s %s: %s", verb, m->point, why + strspn(why, " "));
	return (int)status;
}

/* ---- suspend ------------------------------------------------------------- */

static int suspend(const struct mountinfo *m)
{
	const struct control_question q = { .command = "suspend" };
	char *reply;
	int status = mounted_tell(m, &q, &reply);

	if (status)
		return status;
	status = report("suspend", m, reply);
	free(reply);
	return status;
}

static int suspend_all(void)
{
	struct mountinfo *all;
	int n = mounted_all(&all);
	int status = STATUS_OK;

	if (n < 0) {
		log_error("cannot list the mounts: %s", strerror(-n));
		return STATUS_SYSTEM;
	}
	for (int i = 0; i < n; i++) {
		int one = suspend(&all[i]);

		status = status ? status : one;
	}
	free(all);
	return status;
}

static int run_suspend(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	static struct mountinfo m;
	const char *path;
	bool all = false;
	int status;
	int c;

	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		all = true;
	}
	if (all && optind < argc) {
		log_error("suspend: --all takes no MOUNTPOINT: what is %s?", argv[optind]);
		return STATUS_USAGE;
	}
	if (all)
		return suspend_all();
	status = cli_operand(self, argc, argv, "MOUNTPOINT", &path);
	if (!status)
		status = mounted_find(path, &m);
	return status ? status : suspend(&m);
}

/* ---- resume -------------------------------------------------------------- */

static int find_out(const struct mountinfo *m, bool *suspended)
{
	char *text;
	json_t *o;
	int status = mounted_ask(m, "status", &text);

	if (status)
		return status;
	o = json_loads(text, 0, NULL);
	free(text);
	*suspended = json_is_true(json_object_get(json_object_get(o, "suspended"), "now"));
	json_decref(o);
	return STATUS_OK;
}

/* The secret goes over the socket once, from locked memory to locked memory. */
static int send_secret(const struct mountinfo *m, const struct vault_secret *secret)
{
	struct control_question q = { .command = "resume", .body_size = secret->size + 1 };
	uint8_t *body = secmem_new(q.body_size);
	char *reply;
	int status;

	if (!body) {
		log_error("cannot resume %s: not enough memory", m->point);
		return STATUS_SYSTEM;
	}
	body[0] = (uint8_t)secret->kind;
	memcpy(body + 1, secret->bytes, secret->size);
	q.body = body;
	status = mounted_tell(m, &q, &reply);
	secmem_free(body);
	if (status)
		return status;
	status = report("resume", m, reply);
	free(reply);
	return status;
}

/* The vault that is mounted there, as it tells without a key. */
static int read_slots(const struct mountinfo *m, struct vault_info *info)
{
	char *reply;
	char *path;
	int status = mounted_ask(m, "vault", &reply);

	if (status)
		return status;
	status = (int)strtol(reply, &path, 10);
	status = status || *path != ' ' ? report("resume", m, reply) : slots_read(path + 1, info);
	free(reply);
	return status;
}

/* What a device answers: 0, or the exit status, said already. */
static int ask_device(const struct mountinfo *m, const struct passphrase_source *source,
		      struct vault_secret *secret)
{
	struct vault_info *info = malloc(sizeof(*info));
	int status = STATUS_SYSTEM;
	int r;

	if (!info)
		log_error("cannot resume %s: not enough memory", m->point);
	else
		status = read_slots(m, info);
	if (!status) {
		r = token_find(info, source, secret);
		if (r)
			status = token_report("resume", m->point, token_kind(source), r);
	}
	free(info);
	return status;
}

static int get_secret(const struct mountinfo *m, const struct passphrase_source *source,
		      struct vault_secret *secret)
{
	int r;

	if (source->fido2 || source->tpm2)
		return ask_device(m, source, secret);
	r = passphrase_get(source, secret);
	return r ? passphrase_report(source, r) : STATUS_OK;
}

static int resume(const struct mountinfo *m, const struct passphrase_source *source)
{
	int tries = passphrase_is_asked(source) ? TRIES : 1;
	bool suspended;
	int status = find_out(m, &suspended);

	if (status || !suspended)
		return status;
	do {
		struct vault_secret secret;

		status = get_secret(m, source, &secret);
		if (status)
			return status;
		status = send_secret(m, &secret);
		passphrase_free(&secret);
	} while (status == STATUS_WRONG_KEY && --tries > 0);
	return status;
}

static int run_resume(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		SECRETS_OLD,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	static struct mountinfo m;
	struct secrets s;
	const char *path;
	int status;
	int c;

	secrets_init(&s);
	s.old.prompt = NULL;
	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		status = secrets_apply(c, optarg, &s);
		if (status)
			return status;
	}
	status = cli_operand(self, argc, argv, "MOUNTPOINT", &path);
	if (!status)
		status = mounted_find(path, &m);
	return status ? status : resume(&m, &s.old);
}

const struct command cli_suspend = {
	.name = "suspend",
	.summary = "wipe the keys of a mount, and keep it",
	.help = "usage: cryptfs suspend MOUNTPOINT\n"
		"       cryptfs suspend --all\n"
		"\n"
		"Write everything out, wipe the keys and all content from the memory of the\n"
		"processes that serve a mount, and have the kernel drop what it keeps of it.  The\n"
		"mount stays, and so do open files; who uses them waits until cryptfs resume, and\n"
		"can be interrupted or killed.  A suspended mount can be unmounted.\n"
		"\n"
		"  --all   every mount of the user, or for root every mount there is\n"
		"  --help  show this\n",
	.run = run_suspend,
};

const struct command cli_resume = {
	.name = "resume",
	.summary = "give a suspended mount its keys back",
	.help = "usage: cryptfs resume [--passfile FILE | --extpass COMMAND | --keyfile FILE |\n"
		"       --keyring NAME | --credential NAME | --fido2 DEVICE | --tpm2 DEVICE]\n"
		"       MOUNTPOINT\n"
		"\n"
		"Ask for the passphrase of the vault and let those go on who wait.  With a wrong\n"
		"one, exit status 4, the mount stays suspended.\n"
		"\n"
		"  --passfile FILE    first line of FILE (- is standard input)\n"
		"  --extpass COMMAND  first line that a shell command prints\n"
		"  --keyfile FILE     all of FILE\n"
		"  --keyring NAME     the key NAME in the kernel's keyrings\n"
		"  --credential NAME  the credential NAME of systemd\n"
		"  --fido2 DEVICE     a security key; auto: that is there\n"
		"  --tpm2 DEVICE      a TPM; auto: of this machine\n"
		"  --help             show this\n",
	.run = run_resume,
};
