/* SPDX-License-Identifier: MIT */
/* Histograms: see latency.h for the contract. */
#include "fs/latency.h"

#include <linux/fuse.h>
#include <stdatomic.h>

const char *latency_name(enum latency_class class)
{
	static const char *const names[] = { "read", "write", "meta" };

	return names[class];
}

enum latency_class latency_of(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_READ:
		return LATENCY_READ;
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
		return LATENCY_WRITE;
	default:
		return LATENCY_META;
	}
}

/* The first i for which ns is not more than 2^i us. */
static unsigned int bucket_of(uint64_t ns)
{
	uint64_t us = (ns + 999) / 1000;
	unsigned int i = us <= 1 ? 0 : 64 - (unsigned int)__builtin_clzll(us - 1);

	return i < LATENCY_BUCKETS - 1 ? i : LATENCY_BUCKETS - 1;
}

/* Nobody else writes it, so no read-modify-write is needed. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
	n += atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, n, memory_order_relaxed);
}

void latency_note(struct latency *l, enum latency_class class, uint64_t ns)
{
	add(&l->buckets[class][bucket_of(ns)], 1);
	add(&l->sum_ns[class], ns);
}

void latency_add(const struct latency *l, struct latency *sum)
{
	for (int c = 0; c < LATENCY_CLASSES; c++) {
		for (int i = 0; i < LATENCY_BUCKETS; i++)
			add(&sum->buckets[c][i],
			    atomic_load_explicit(&l->buckets[c][i], memory_order_relaxed));
		add(&sum->sum_ns[c], atomic_load_explicit(&l->sum_ns[c], memory_order_relaxed));
	}
}
