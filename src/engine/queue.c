/* SPDX-License-Identifier: MIT */
/*
 * Circular queue in shared memory: see queue.h for the contract.
 *
 * The state word: state(8) | owner(8) | generation(16) | ticket(32).  All
 * transitions are compare-and-swap on the whole word, but for FILLING → QUEUED,
 * where the producer is alone with the entry.  A task's bytes are written while
 * FILLING and published by the release store of QUEUED.
 *
 * Entries are handed out from the ticket's place on, passing over those that a
 * slow consumer still holds; the states lie close together (1 KiB), so that
 * looking at all of them costs less than one small block's cipher.
 */
#include "engine/queue.h"

#include <string.h>

enum state {
	FREE = 0,
	FILLING,
	QUEUED,
	CLAIMED,
	DONE,
};

_Static_assert((QUEUE_SIZE & (QUEUE_SIZE - 1)) == 0, "tickets wrap around");

static uint64_t word(enum state state, struct queue_owner owner, uint32_t ticket)
{
	return (uint64_t)state | (uint64_t)owner.index << 8 | (uint64_t)owner.generation << 16 |
	       (uint64_t)ticket << 32;
}

static const struct queue_owner nobody;

static enum state state_of(uint64_t w)
{
	return (enum state)(w & 0xff);
}

static uint32_t ticket_of(uint64_t w)
{
	return (uint32_t)(w >> 32);
}

/* Tickets wrap: older means a small step back. */
static bool is_older(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static bool move(struct queue *q, uint32_t entry, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong_explicit(&q->states[entry], &from, to,
						       memory_order_acq_rel, memory_order_acquire);
}

/* Sequentially consistent: worker.c parks on the strength of it. */
static uint64_t look(struct queue *q, uint32_t entry)
{
	return atomic_load(&q->states[entry]);
}

void queue_init(struct queue *q)
{
	memset(q->tasks, 0, sizeof(q->tasks));
	atomic_init(&q->next_ticket, 0);
	atomic_init(&q->closed, 0);
	for (size_t i = 0; i < QUEUE_SIZE; i++)
		atomic_init(&q->states[i], word(FREE, nobody, 0));
}

/* Get an entry to fill: 0 or QUEUE_FULL. */
static int reserve(struct queue *q, struct queue_ref *ref)
{
	uint32_t ticket = atomic_fetch_add_explicit(&q->next_ticket, 1, memory_order_relaxed);

	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		uint32_t entry = (ticket + i) % QUEUE_SIZE;
		uint64_t w = atomic_load_explicit(&q->states[entry], memory_order_relaxed);

		if (state_of(w) != FREE && state_of(w) != DONE)
			continue;
		if (move(q, entry, w, word(FILLING, nobody, ticket))) {
			*ref = (struct queue_ref){ entry, ticket };
			return 0;
		}
	}
	return QUEUE_FULL;
}

int queue_put(struct queue *q, const struct task *task, struct queue_ref *ref)
{
	if (atomic_load_explicit(&q->closed, memory_order_relaxed))
		return QUEUE_CLOSED;
	if (reserve(q, ref))
		return QUEUE_FULL;
	q->tasks[ref->entry].task = *task;
	atomic_store_explicit(&q->states[ref->entry], word(QUEUED, nobody, ref->ticket),
			      memory_order_release);
	return 0;
}

/* The oldest waiting entry's word, or 0; *entry is where. */
static uint64_t oldest(struct queue *q, uint32_t *entry)
{
	uint64_t found = 0;

	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		uint64_t w = look(q, i);

		if (state_of(w) != QUEUED)
			continue;
		if (found && !is_older(ticket_of(w), ticket_of(found)))
			continue;
		found = w;
		*entry = i;
	}
	return found;
}

int queue_take(struct queue *q, struct queue_owner owner, struct queue_ref *ref, struct task *task)
{
	for (;;) {
		/* Before looking: what was put before the closing must be seen. */
		bool closed = atomic_load(&q->closed);
		uint32_t entry = 0;
		uint64_t w = oldest(q, &entry);

		if (!w)
			return closed ? QUEUE_CLOSED : QUEUE_EMPTY;
		if (!move(q, entry, w, word(CLAIMED, owner, ticket_of(w))))
			continue;
		*ref = (struct queue_ref){ entry, ticket_of(w) };
		*task = q->tasks[entry].task;
		return 0;
	}
}

int queue_take_ref(struct queue *q, struct queue_owner owner, struct queue_ref ref)
{
	return move(q, ref.entry, word(QUEUED, nobody, ref.ticket),
		    word(CLAIMED, owner, ref.ticket))
		       ? 0
		       : QUEUE_LOST;
}

int queue_complete(struct queue *q, struct queue_owner owner, struct queue_ref ref)
{
	return move(q, ref.entry, word(CLAIMED, owner, ref.ticket), word(DONE, nobody, ref.ticket))
		       ? 0
		       : QUEUE_LOST;
}

int queue_put_back(struct queue *q, struct queue_owner owner, struct queue_ref ref)
{
	return move(q, ref.entry, word(CLAIMED, owner, ref.ticket),
		    word(QUEUED, nobody, ref.ticket))
		       ? 0
		       : QUEUE_LOST;
}

bool queue_is_done(struct queue *q, struct queue_ref ref)
{
	uint64_t w = look(q, ref.entry);

	return ticket_of(w) != ref.ticket || state_of(w) == DONE;
}

bool queue_is_waiting(struct queue *q, struct queue_ref ref)
{
	return look(q, ref.entry) == word(QUEUED, nobody, ref.ticket);
}

int queue_claimed_by(struct queue *q, struct queue_owner owner, struct queue_ref *ref,
		     struct task *task)
{
	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		uint64_t w = look(q, i);

		if (w != word(CLAIMED, owner, ticket_of(w)))
			continue;
		*ref = (struct queue_ref){ i, ticket_of(w) };
		if (task)
			*task = q->tasks[i].task;
		return 0;
	}
	return QUEUE_EMPTY;
}

uint32_t queue_waiting(struct queue *q, uint32_t *oldest_ticket)
{
	uint32_t n = 0;
	uint32_t entry;
	uint64_t w = oldest(q, &entry);

	if (w)
		*oldest_ticket = ticket_of(w);
	for (uint32_t i = 0; i < QUEUE_SIZE; i++)
		n += state_of(look(q, i)) == QUEUED;
	return n;
}

void queue_close(struct queue *q)
{
	atomic_store(&q->closed, 1);
}
