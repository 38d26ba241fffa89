/* SPDX-License-Identifier: MIT */
/*
 * Who reads: see crew.h.
 *
 * `readers` never falls to 0 while a thread is left to call: who goes away
 * as the last one hands its place to the thread it calls.  Those that hang
 * are readers still, but do not count there; so that nothing is slower for
 * them, nobody knows which they are, only that they are not more than serve.
 */
#include "fs/crew.h"

#include <errno.h>

enum { WEIGHT = 8 }; /* a new cost counts for so small a part */

int crew_init(struct crew *c, uint32_t n)
{
	if (sem_init(&c->bench, 0, 1))
		return -errno;
	c->n = n;
	atomic_init(&c->readers, 1);
	atomic_init(&c->serving, 0);
	atomic_init(&c->hanging, 0);
	for (uint32_t i = 0; i < CREW_KINDS; i++)
		atomic_init(&c->cost_ns[i], CREW_SLOW_NS);
	return 0;
}

void crew_fini(struct crew *c)
{
	(void)sem_destroy(&c->bench);
}

bool crew_wait(struct crew *c)
{
	return !sem_wait(&c->bench);
}

bool crew_leave(struct crew *c)
{
	uint32_t readers = atomic_load(&c->readers);

	while (readers > 1 + atomic_load_explicit(&c->hanging, memory_order_relaxed))
		if (atomic_compare_exchange_weak(&c->readers, &readers, readers - 1))
			return true;
	return false;
}

void crew_call(struct crew *c)
{
	uint32_t readers = atomic_load(&c->readers);

	while (readers < c->n)
		if (atomic_compare_exchange_weak(&c->readers, &readers, readers + 1)) {
			(void)sem_post(&c->bench);
			return;
		}
}

static _Atomic uint32_t *cost_of(struct crew *c, uint32_t kind)
{
	return &c->cost_ns[kind < CREW_KINDS ? kind : CREW_KINDS - 1];
}

bool crew_begin(struct crew *c, uint32_t kind)
{
	uint32_t cost = atomic_load_explicit(cost_of(c, kind), memory_order_relaxed);

	if (cost < CREW_SLOW_NS || c->n == 1) {
		atomic_fetch_add(&c->serving, 1);
		return false;
	}
	if (!crew_leave(c))
		(void)sem_post(&c->bench); /* to it goes the caller's place */
	return true;
}

/* One request less is being served. */
static void count_served(struct crew *c)
{
	uint32_t left = atomic_fetch_sub(&c->serving, 1) - 1;

	if (atomic_load_explicit(&c->hanging, memory_order_relaxed) > left)
		atomic_store_explicit(&c->hanging, left, memory_order_relaxed);
}

void crew_end(struct crew *c, uint32_t kind, bool away, uint64_t took_ns)
{
	_Atomic uint32_t *cost = cost_of(c, kind);
	uint64_t mean = atomic_load_explicit(cost, memory_order_relaxed);

	/* Read and written apart: a cost that is lost now and then does no harm. */
	mean = (mean * (WEIGHT - 1) + (took_ns < UINT32_MAX ? took_ns : UINT32_MAX)) / WEIGHT;
	atomic_store_explicit(cost, (uint32_t)mean, memory_order_relaxed);
	if (away)
		atomic_fetch_add(&c->readers, 1);
	else
		count_served(c);
}

void crew_rescue(struct crew *c)
{
	uint32_t serving = atomic_load(&c->serving);

	if (serving < atomic_load(&c->readers))
		return;
	atomic_store_explicit(&c->hanging, serving, memory_order_relaxed);
	crew_call(c);
}
