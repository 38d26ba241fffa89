/* SPDX-License-Identifier: MIT */
/*
 * latency - how long requests took to be served, in buckets of powers of two.
 * Each thread counts in a struct of its own, without locks; whoever is curious
 * adds them up.
 */
#ifndef FS_LATENCY_H
#define FS_LATENCY_H

#include <stdint.h>

enum latency_class {
	LATENCY_READ,
	LATENCY_WRITE, /* and whatever else changes content */
	LATENCY_META,
	LATENCY_CLASSES,
};

enum { LATENCY_BUCKETS = 24 }; /* up to 1, 2, 4, ... 2^22 us, and the rest */

struct latency {
	_Atomic uint64_t buckets[LATENCY_CLASSES][LATENCY_BUCKETS];
	_Atomic uint64_t sum_ns[LATENCY_CLASSES];
};

/* "read", "write", "meta" */
const char *latency_name(enum latency_class class);

/* Of a kind of request. */
enum latency_class latency_of(uint32_t opcode);

/* Count a request; by one thread only. */
void latency_note(struct latency *l, enum latency_class class, uint64_t ns);

/* Add what was counted so far to *sum, which nobody else uses. */
void latency_add(const struct latency *l, struct latency *sum);

#endif /* FS_LATENCY_H */
