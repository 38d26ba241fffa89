/* SPDX-License-Identifier: MIT */
/* cryptfs cat: files of a vault on standard output, without a mount. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "cli/within.h"

struct request {
	const struct command *self;
	struct within_options options;
	struct within vault;
	struct within *others; /* of the same vault */
	int n;
};

static int fail_output(int r)
{
	log_error("cannot write the output: %s", strerror(-r));
	return STATUS_SYSTEM;
}

/* Nothing is written that has not been authenticated. */
static int show_content(struct side_hand *hand, struct side_node *node, const char *place)
{
	uint64_t offset = 0;
	const void *data;
	size_t done;
	int r;

	do {
		r = side_read(hand, node, offset, SIDE_MAX_SIZE, NULL, &data, &done);
		if (r)
			return within_report("read", place, r);
		r = fdio_write_full(STDOUT_FILENO, data, done);
		if (r)
			return fail_output(r);
		offset += done;
	} while (done);
	return STATUS_OK;
}

static int show(struct side_hand *hand, const char *place)
{
	struct side_node node;
	int status;
	int r = side_find_path(hand, place, &node);

	if (r)
		return within_report("read", place, r);
	if (S_ISDIR(node.st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(node.st.st_mode))
		r = -EINVAL;
	else
		r = side_open(hand, &node);
	status = r ? within_report("read", place, r) : show_content(hand, &node, place);
	side_drop(hand, &node);
	return status;
}

/* The others go on when one fails. */
static int show_all(void *arg, struct offline *vault, struct side_hand *hand)
{
	const struct request *q = arg;
	int status = STATUS_OK;

	(void)vault;
	for (int i = 0; i < q->n; i++) {
		int one = show(hand, q->others[i].place);

		status = !status || status == one ? one : one ? STATUS_SYSTEM : status;
	}
	return status;
}

static int take_operands(struct request *q, int argc, char **operands)
{
	int status = STATUS_OK;

	if (!argc) {
		log_error("%s: no VAULT:PATH given (see cryptfs %s --help)", q->self->name,
			  q->self->name);
		return STATUS_USAGE;
	}
	q->others = calloc((size_t)argc, sizeof(*q->others));
	for (; q->others && !status && q->n < argc; q->n++) {
		status = within_split(q->self, operands[q->n], &q->others[q->n]);
		if (!status && strcmp(q->others[q->n].vault, q->others[0].vault) != 0) {
			log_error("cat: one vault at a time: %s is of another one", operands[q->n]);
			status = STATUS_USAGE;
		}
	}
	return q->others ? status : STATUS_SYSTEM;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		WITHIN_OPTIONS,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .self = self };
	int status = STATUS_OK;
	int c;

	within_init(&q.options);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = within_apply(c, optarg, &q.options);
	}
	if (!status)
		status = take_operands(&q, argc - optind, argv + optind);
	(void)signal(SIGPIPE, SIG_IGN); /* an error like others: the vault is closed in order */
	if (!status)
		status = within_look(&q.others[0], &q.options, NULL, show_all, &q);
	for (int i = 0; i < q.n; i++)
		within_free(&q.others[i]);
	free(q.others);
	return status;
}

const struct command cli_cat = {
	.name = "cat",
	.summary = "show files of a vault, without a mount",
	.help = "usage: cryptfs cat [OPTIONS] VAULT:PATH...\n"
		"\n"
		"Write files of a vault that is not mounted to standard output, one after the\n"
		"other.  What does not authenticate is not written.\n"
		"\n"
		"  --workers N        processes that decrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE      ... a TPM; auto: of this machine\n"
		"  --help             show this\n",
	.run = run,
};
