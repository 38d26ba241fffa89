/* SPDX-License-Identifier: MIT */
/* within - what commands share that go into a vault without a mount: VAULT[:PATH] and options. */
#ifndef CLI_WITHIN_H
#define CLI_WITHIN_H

#include <getopt.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/secrets.h"
#include "fs/offline.h"

struct within {
	char *vault;
	char *place; /* in it, without "." and empty names; "" is the root */
};

/*
 * Take VAULT[:PATH] apart: all of it is the vault if there is a directory of that name, else what
 * is before the first colon behind which nothing like that is lost.  0 or the exit status, said
 * already; within_free in any case.
 */
int within_split(const struct command *self, const char *operand, struct within *w);
void within_free(struct within *w);

/*
 * A relative path in its shortest form ("a//./b/" is "a/b", "/a" is "a"), to be freed: NULL
 * without memory or, with EINVAL, if it has a "..".
 */
char *within_tidy(const char *path);

/* Options that all of these commands have. */
struct within_options {
	struct secrets secrets;
	int workers;
};

/* clang-format off */
#define WITHIN_OPTIONS \
	{ "workers", required_argument, NULL, 'w' }, \
	SECRETS_OLD
/* clang-format on */

void within_init(struct within_options *o);
/* Take one of them: 0, or the exit status, said already. */
int within_apply(int option, const char *value, struct within_options *o);

/* As many threads as keep reading, ciphers and writing busy at the same time. */
uint32_t within_hands(void);

/*
 * Look at one thing: open the vault of w to read it, be confined to it and to one other place
 * (or NULL), call look, close it.  The exit status.
 */
int within_look(const struct within *w, const struct within_options *o,
		const struct confine_place *other,
		int (*look)(void *arg, struct offline *vault, struct side_hand *hand), void *arg);

/* Say that place cannot be read (verb: "list"), and the exit status: STATUS_DAMAGED if that is it.
 */
int within_report(const char *verb, const char *place, int r);

#endif /* CLI_WITHIN_H */
