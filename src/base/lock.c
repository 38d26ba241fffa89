/* SPDX-License-Identifier: MIT */
/*
 * A futex with three states, as in Drepper's "Futexes are tricky": see lock.h.
 *
 * Whoever waits sets 2 before sleeping, and takes the lock as 2 too, since
 * others may sleep as well; whoever lets go of a 2 wakes one.
 */
#include "base/lock.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void lock_take(struct lock *l)
{
	unsigned int state = 0;

	if (atomic_compare_exchange_strong_explicit(&l->state, &state, 1, memory_order_acquire,
						    memory_order_relaxed))
		return;
	while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire))
		(void)syscall(SYS_futex, &l->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void lock_drop(struct lock *l)
{
	if (atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2)
		(void)syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
