/* SPDX-License-Identifier: MIT */
/*
 * batch - the way of one batch through the queue: cut into tasks, put, taken,
 * handed in, waited for.  Knows the arena but neither processes nor the pool.
 */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/queue.h"
#include "engine/shm.h"

enum {
	BATCH_MAX_TASKS = (ENGINE_SLOT_BLOCKS + ENGINE_RANGE_BLOCKS - 1) / ENGINE_RANGE_BLOCKS,
};

/* A slot's batch as its owner knows it: private memory that no worker can touch. */
struct batch {
	struct engine_batch what;
	uint32_t slot;
	uint32_t number; /* tells this batch from the slot's earlier ones */
	uint32_t n_tasks;
	uint32_t n_put;	    /* how many of them are on the queue */
	uint32_t n_own;	    /* how many of those the owner did itself */
	uint32_t n_counted; /* how many of these are off the pending count */
	bool in_flight;
	struct queue_ref refs[BATCH_MAX_TASKS];
};

/* Make b this batch of its slot: 0, or -EINVAL if it does not fit. */
int batch_begin(const struct arena *a, struct batch *b, const struct engine_batch *what);

/* Put the tasks that are not on the queue yet: 0, QUEUE_FULL or QUEUE_CLOSED. */
int batch_put(const struct arena *a, struct batch *b);

/* Do, from the last, every task of b that nobody has claimed; true if there was one. */
bool batch_help(const struct arena *a, struct batch *b);

/* Do the first task of b that nobody has claimed; true if there was one. */
bool batch_help_first(const struct arena *a, struct batch *b);

/* True once the first n tasks were handed in; n is n_tasks at most. */
bool batch_has_done(const struct arena *a, const struct batch *b, uint32_t n);

/* True while a task of b waits for someone to claim it. */
bool batch_is_waiting(const struct arena *a, const struct batch *b);

/*
 * Count the owner's tasks off, so that the last worker knows that it is the
 * last.  Before the owner sleeps.
 */
void batch_count_off(const struct arena *a, struct batch *b);

/* The answer of a batch that is done: as engine_wait. */
int batch_end(const struct arena *a, struct batch *b);

/*
 * For consumers: do a task just taken (unchecked) and hand it in; the last of
 * a batch posts its slot's done.  undo is NULL for threads of the mount process.
 */
void batch_do_task(const struct arena *a, struct queue_owner owner, struct queue_ref ref,
		   const struct task *t, const struct task_undo *undo);

/* n tasks of this slot's batch were handed in; post done if they were the last. */
void batch_handed_in(const struct arena *a, uint32_t slot, uint32_t number, uint32_t n);

#endif /* ENGINE_BATCH_H */
