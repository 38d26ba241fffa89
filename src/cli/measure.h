/* SPDX-License-Identifier: MIT */
/*
 * measure - the engine's speed on this machine: medians of many short rounds.
 * The cipher alone and by way of the queue take turns, so that other programs
 * that run meanwhile slow both down alike.
 *
 * Each function runs for about budget_ms, but never less than a few rounds,
 * starts engines of its own and stops them; the process has one thread
 * before and after.  0, or -errno.  Speeds are in GB/s (10^9).
 */
#ifndef CLI_MEASURE_H
#define CLI_MEASURE_H

#include <stdint.h>

#include "engine/engine.h"

enum {
	MEASURE_SIZES = 3,
	MEASURE_SUITES = CIPHER_XOR,
	MEASURE_STEPS = 9, /* 4 KiB, 8 KiB, ... 1 MiB */
};

/* Bytes of one batch: 4 KiB, 64 KiB, 1 MiB; each in blocks of 4 KiB. */
extern const uint32_t measure_sizes[MEASURE_SIZES];

enum measure_pass {
	MEASURE_COPY,	    /* memcpy of as much */
	MEASURE_SEAL,	    /* the cipher alone, block by block */
	MEASURE_OPEN,	    /* for xor the same as sealing */
	MEASURE_QUEUE_SEAL, /* as a batch that the submitter does itself */
	MEASURE_QUEUE_OPEN,
	MEASURE_PASSES,
};

/* One implementation of a suite. */
struct measure_cipher {
	enum cipher_suite suite;
	const char *implementation;
	double speed[MEASURE_SIZES][MEASURE_PASSES];
	/* What an engine with workers=auto that runs it decides. */
	struct engine_pace pace;
	uint32_t workers_max;
};

/* The i-th implementation of suite (cipher_implementation_at); leaves it chosen. */
int measure_cipher(enum cipher_suite suite, unsigned int i, uint32_t budget_ms,
		   struct measure_cipher *out);

/* A batch whose blocks are all left alone: what handing over costs. */
struct measure_hand_off {
	double inline_ns;     /* 4 KiB, the submitter takes it itself */
	double inline_mib_ns; /* 1 MiB: 256 blocks in 8 tasks */
	double asleep_us;     /* to a worker that sleeps, and back */
	double awake_us;      /* to one that looks for work; 0 with one processor */
};

int measure_hand_off(uint32_t budget_ms, struct measure_hand_off *out);

/* Who works on batches of 1 MiB, several of them at once. */
struct measure_workers {
	uint32_t workers; /* 0 to ENGINE_MAX_WORKERS */
	bool strict;	  /* the submitter only waits; not with 0 */
};

/* The speed of each suite, suite 1 first, by the implementation that is chosen. */
int measure_workers(const struct measure_workers *how, uint32_t budget_ms,
		    double result[MEASURE_SUITES]);

/*
 * One batch after another with workers=auto: the time relative to the submitter
 * doing it alone, by suite (1 first) and size (4 KiB << i).  Above 1 is slower.
 */
int measure_auto(uint32_t budget_ms, double result[MEASURE_SUITES][MEASURE_STEPS]);

#endif /* CLI_MEASURE_H */
