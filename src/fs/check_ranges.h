/* SPDX-License-Identifier: MIT */
/* check_ranges - the pieces of a file that cannot be read, found in any order. */
#ifndef FS_CHECK_RANGES_H
#define FS_CHECK_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct check_range {
	uint64_t start;
	uint64_t end;
	int why; /* ranges of different causes are not joined */
};

struct check_ranges {
	struct check_range *list;
	size_t n;
	size_t room;
};

/* Add one: 0 or -ENOMEM. */
int check_ranges_add(struct check_ranges *ranges, uint64_t start, uint64_t end, int why);

/* Bring them in order, and join what touches and has the same cause. */
void check_ranges_join(struct check_ranges *ranges);

void check_ranges_fini(struct check_ranges *ranges);

#endif /* FS_CHECK_RANGES_H */
