/* SPDX-License-Identifier: MIT */
/*
 * inputs - which files a run works at, and what their outputs are called: from
 * operands, directories, lists and patterns to pairs of paths, one at a time.
 * Makes the directories of the outputs on the way.
 *
 *   file FILE, operand        DEST/FILE + suffix
 *   directory DIR, operand    DEST/DIR/... + suffix; of "DIR/", ".": DEST/...
 *   PATH in a list            DEST/PATH + suffix
 *
 * What is found in a directory and is neither file nor directory is left out
 * and counted.  Says what fails in one line each.  For one thread at a time.
 */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/patterns.h"

#define INPUTS_SUFFIX ".cryptfs"

enum inputs_suffix {
	INPUTS_KEEP, /* outputs are called like inputs */
	INPUTS_ADD,
	INPUTS_TAKE, /* away, where it is there */
};

struct inputs_spec {
	char *const *operands; /* NULL-ended; all strings are borrowed */
	const char *dest;      /* NULL: outputs are the inputs themselves */
	enum inputs_suffix suffix;
	bool recursive;
	const char *list; /* file of paths, "-" is standard input; or NULL */
	bool zero_ended;  /* paths in it end with a zero byte, not a newline */
	bool only_looks;  /* make nothing and say nothing: to know what there will be */
	const struct patterns *patterns; /* or NULL */
};

/* Strings are the caller's to free. */
struct input {
	char *path;
	char *output;
	uint64_t size;
	bool was_found; /* in a directory: not to be followed if it is a link by now */
};

struct inputs;

/* Make dest if need be: STATUS_OK, or an exit status, said already. */
int inputs_new(const struct inputs_spec *spec, struct inputs **out);

/* 0 with the next one, 1 when there is none, or -1 for one that failed, said already. */
int inputs_next(struct inputs *in, struct input *next);

/*
 * Give the directories that were made their modes and times, bring all names to
 * disk, and free.  NULL is fine.
 */
void inputs_free(struct inputs *in);

#endif /* CLI_INPUTS_H */
