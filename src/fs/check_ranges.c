/* SPDX-License-Identifier: MIT */
/* See check_ranges.h. */
#include "fs/check_ranges.h"

#include <errno.h>
#include <stdlib.h>

int check_ranges_add(struct check_ranges *ranges, uint64_t start, uint64_t end, int why)
{
	struct check_range *last = ranges->n ? &ranges->list[ranges->n - 1] : NULL;

	if (last && last->end == start && last->why == why) {
		last->end = end;
		return 0;
	}
	if (ranges->n == ranges->room) {
		size_t room = ranges->room ? ranges->room * 2 : 4;
		struct check_range *list = realloc(ranges->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		ranges->list = list;
		ranges->room = room;
	}
	ranges->list[ranges->n++] = (struct check_range){ start, end, why };
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct check_range *x = a;
	const struct check_range *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void check_ranges_join(struct check_ranges *ranges)
{
	size_t n = 0;

	if (!ranges->n)
		return;
	qsort(ranges->list, ranges->n, sizeof(*ranges->list), by_start);
	for (size_t i = 1; i < ranges->n; i++) {
		struct check_range *last = &ranges->list[n];
		const struct check_range *next = &ranges->list[i];

		if (last->end == next->start && last->why == next->why)
			last->end = next->end;
		else
			ranges->list[++n] = *next;
	}
	ranges->n = n + 1;
}

void check_ranges_fini(struct check_ranges *ranges)
{
	free(ranges->list);
	*ranges = (struct check_ranges){ 0 };
}
