/* SPDX-License-Identifier: MIT */
/*
 * sync - semaphores that live in shared memory.  They say that something may
 * have changed and never guard anything: a unit taken by a process that then
 * dies is gone, and a spare one costs its taker one look.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive SYNC_*
 * is an answer.
 */
#ifndef ENGINE_SYNC_H
#define ENGINE_SYNC_H

#include <semaphore.h>
#include <stdint.h>

enum {
	SYNC_NONE = 1, /* no unit was there (in time) */
};

struct sync_sem {
	sem_t sem;
};

/* Start with value units, usable by every process that maps it: 0 or -errno. */
int sync_sem_init(struct sync_sem *s, unsigned int value);

/* Add a unit and wake a waiter if there is one.  Safe in signal handlers. */
void sync_sem_post(struct sync_sem *s);

/* Wait for a unit and take it.  Signals do not end the wait. */
void sync_sem_wait(struct sync_sem *s);

/* Take a unit without waiting: 0 or SYNC_NONE. */
int sync_sem_trywait(struct sync_sem *s);

/* Wait for at most timeout_us microseconds: 0 or SYNC_NONE. */
int sync_sem_timedwait(struct sync_sem *s, uint64_t timeout_us);

/* Tell the CPU that this is a loop that waits. */
void sync_pause(void);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t sync_now_ns(void);

#endif /* ENGINE_SYNC_H */
