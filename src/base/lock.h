/* SPDX-License-Identifier: MIT */
/*
 * lock - a mutex of four bytes, for structs of which there are very many
 * (pthread_mutex_t has forty).  For threads of one process; all zeros is free;
 * taking it twice waits for ever.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdatomic.h>

struct lock {
	atomic_uint state; /* 0 free, 1 taken, 2 taken and somebody may wait */
};

/* Wait until it is free, and take it. */
void lock_take(struct lock *l);

/* Let it go; by the thread that took it. */
void lock_drop(struct lock *l);

#endif /* BASE_LOCK_H */
