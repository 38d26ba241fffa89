/* SPDX-License-Identifier: MIT */
/*
 * compare - read everything in a tree of a side, as whoever uses it would: names, content,
 * attributes, link targets; and, if there is another side, see whether it has the same: names,
 * types, content and link targets; if so wanted, also owners, modes, modification times
 * and attributes.
 */
#ifndef FS_COMPARE_H
#define FS_COMPARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/side.h"

enum compare_kind {
	COMPARE_DAMAGED, /* does not authenticate */
	COMPARE_MISSING, /* not in the other side */
	COMPARE_EXTRA,	 /* only in the other side */
	COMPARE_TYPE,
	COMPARE_SIZE,
	COMPARE_CONTENT, /* from `offset` on */
	COMPARE_TARGET,
	COMPARE_OWNER,
	COMPARE_MODE,
	COMPARE_TIME,
	COMPARE_ATTRIBUTE, /* `attribute`: another value, or only one of the two has it */
	COMPARE_TROUBLE,   /* could not be looked at: `error` */
};

struct compare_finding {
	enum compare_kind kind;
	const char *path;
	bool is_other; /* COMPARE_TROUBLE: in the other side */
	uint64_t
		offset; /* COMPARE_DAMAGED, of content: where the piece begins that does not open */
	bool has_offset;
	const char *attribute; /* that is damaged or differs, or NULL */
	int error;
};

struct compare_counts {
	_Atomic uint64_t bytes;
	_Atomic uint64_t files; /* regular ones */
	_Atomic uint64_t directories;
	_Atomic uint64_t others;
};

struct compare_rules {
	struct side *side;
	struct side *other; /* or NULL */
	bool metadata;	    /* is compared, too */
	uint32_t n_hands;
	const atomic_bool *stop;
	/* Called by any thread, by one at a time. */
	void (*found)(void *arg, const struct compare_finding *finding);
	void *arg;
	struct compare_counts *counts; /* zeros at first */
};

/*
 * What is at path in the one is to be what is at place in the other: 0, or -errno if it could
 * not be begun (-ENOENT: no such path).
 */
int compare_run(const struct compare_rules *rules, const char *path, const char *place);

#endif /* FS_COMPARE_H */
