/* SPDX-License-Identifier: MIT */
/*
 * worker - a worker's whole life: give up everything, then take tasks from the
 * queue and do them in place until told to end.  It may be killed at any
 * instruction; worker_repair makes good what it leaves.
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/queue.h"
#include "engine/shm.h"

struct worker {
	const struct arena *arena;
	struct queue_owner owner; /* index in the worker table, generation */
	uint32_t spin_us;	  /* look for more work so long before parking */
};

/*
 * The main function of a worker process: parent is its parent, SIGTERM says
 * end after the task at hand.
 */
void worker_main(const struct worker *w, pid_t parent) __attribute__((noreturn));

/*
 * Take and do tasks until one says TERMINATE or the queue is closed and empty.
 * An ordinary function, so that threads can run it in tests.
 */
void worker_loop(const struct worker *w);

/*
 * Make good the death of this owner: its block is put back, its task goes back
 * on the queue (or, after many deaths, is given up: its blocks stay PENDING).
 * The process must be gone.  True if there was a task.
 */
bool worker_repair(const struct arena *a, struct queue_owner owner);

#endif /* ENGINE_WORKER_H */
