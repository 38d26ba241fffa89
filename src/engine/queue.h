/* SPDX-License-Identifier: MIT */
/*
 * queue - the circular queue of 128 tasks in shared memory.  Any number of
 * producers and consumers, in any number of processes; no lock to die with.
 *
 *   FREE ──► FILLING ──► QUEUED ──► CLAIMED(owner, generation) ──► DONE
 *    ▲ (or DONE)           ▲             │ its owner died            │
 *    └── next producer     └─────────────┘◄──────────────────────────┘ reused
 *
 * An entry's state is one word that also says whose claim it is and the
 * ticket of its task (tasks are numbered as they come), so that a late hand
 * cannot move another task's state.  A DONE entry is as good as a free one;
 * whoever waits for a task asks queue_is_done with its ticket.
 *
 * Consumers may die at any instruction; producers may not (they are threads of
 * the mount process, and when that ends all ends).
 *
 * Results: 0 is done, a positive QUEUE_* is an answer.
 */
#ifndef ENGINE_QUEUE_H
#define ENGINE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/task.h"

enum {
	QUEUE_SIZE = 128,
	QUEUE_OWNER_THREAD = 255, /* a thread of the mount process; workers: 0..63 */
};

enum {
	QUEUE_FULL = 1, /* nothing was stored; try again later */
	QUEUE_EMPTY,	/* nothing is waiting now */
	QUEUE_CLOSED,	/* put: no more; take: nothing is waiting nor will be */
	QUEUE_LOST,	/* somebody else has it */
};

/* A cache line each, so that neighbours do not get in each other's way. */
struct queue_task {
	_Alignas(64) struct task task;
};

struct queue {
	_Alignas(64) _Atomic uint32_t next_ticket;
	_Atomic uint32_t closed;
	_Alignas(64) _Atomic uint64_t states[QUEUE_SIZE];
	struct queue_task tasks[QUEUE_SIZE];
};

/* Which task: where it lies and its number. */
struct queue_ref {
	uint32_t entry;
	uint32_t ticket;
};

/* Who claims: QUEUE_OWNER_THREAD, or a worker's index and its generation. */
struct queue_owner {
	uint8_t index;
	uint16_t generation;
};

/* Format zeroed or old memory as an empty, open queue; before the first fork. */
void queue_init(struct queue *q);

/* Append a task: 0 and *ref, QUEUE_FULL or QUEUE_CLOSED.  Never waits. */
int queue_put(struct queue *q, const struct task *task, struct queue_ref *ref);

/*
 * Claim the oldest task that is waiting: 0 with *ref and a copy in *task that
 * is not checked yet, QUEUE_EMPTY or QUEUE_CLOSED.
 */
int queue_take(struct queue *q, struct queue_owner owner, struct queue_ref *ref, struct task *task);

/* Claim this one: 0 or QUEUE_LOST. */
int queue_take_ref(struct queue *q, struct queue_owner owner, struct queue_ref ref);

/* Hand in a claimed task: 0, or QUEUE_LOST if the claim is not owner's (any more). */
int queue_complete(struct queue *q, struct queue_owner owner, struct queue_ref ref);

/* Put a claimed task back, in its old place: 0 or QUEUE_LOST. */
int queue_put_back(struct queue *q, struct queue_owner owner, struct queue_ref ref);

/* True once the task was handed in. */
bool queue_is_done(struct queue *q, struct queue_ref ref);

/* True while nobody has claimed the task. */
bool queue_is_waiting(struct queue *q, struct queue_ref ref);

/*
 * What owner has claimed: 0 with *ref, and a copy unless task is NULL (only of a
 * dead owner's, who can no longer hand it in); or QUEUE_EMPTY.
 */
int queue_claimed_by(struct queue *q, struct queue_owner owner, struct queue_ref *ref,
		     struct task *task);

/* Number of tasks waiting; if there are any, *oldest is the oldest's ticket. */
uint32_t queue_waiting(struct queue *q, uint32_t *oldest);

/* Refuse new tasks and let consumers run out.  Safe to call twice. */
void queue_close(struct queue *q);

#endif /* ENGINE_QUEUE_H */
