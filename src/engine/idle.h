/* SPDX-License-Identifier: MIT */
/*
 * idle - how many processors of this machine had nothing to do lately, by what
 * the kernel counts in /proc/stat.
 */
#ifndef ENGINE_IDLE_H
#define ENGINE_IDLE_H

#include <stdint.h>

struct idle {
	uint64_t idle; /* ticks of all processors, at the last look */
	uint64_t all;
};

/*
 * Processors that were idle since the last look, rounded down; 0 at the first
 * look, and where it cannot be told.
 */
uint32_t idle_processors(struct idle *last);

/* The same, from the text of /proc/stat and the number of processors. */
uint32_t idle_from_text(struct idle *last, const char *text, uint32_t processors);

#endif /* ENGINE_IDLE_H */
