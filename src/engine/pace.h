/* SPDX-License-Identifier: MIT */
/*
 * pace - what things cost on this machine, and therefore who should work:
 * waking a parked worker pays only when the work is longer than the waking.
 */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"

struct pace {
	uint32_t wake_ns;   /* from a post to the woken one running; never 0 */
	uint32_t kib_ns[4]; /* per suite: 1 KiB through its cipher; never 0 */
};

/*
 * Measure for a few milliseconds: 0 or -errno.  Starts a thread and joins it;
 * ciphers must be ready.
 */
int pace_measure(struct pace *p);

/*
 * What waking costs, going by n > 0 samples in nanoseconds, which are put in
 * order: rather too much than too little, and never outside of what can be.
 */
uint32_t pace_wake_ns(uint64_t *took_ns, size_t n);

/*
 * What 1 KiB of this suite costs.  Any number will do: it may come from a key
 * that somebody wiped.
 */
uint32_t pace_kib_ns(const struct pace *p, uint32_t suite);

/* How many workers are worth waking for size bytes of this suite; 0 for small work. */
uint32_t pace_workers(const struct pace *p, uint32_t suite, uint32_t size);

/* Bytes of this suite from which pace_workers is not 0. */
uint32_t pace_threshold(const struct pace *p, uint32_t suite);

#endif /* ENGINE_PACE_H */
