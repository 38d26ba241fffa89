/* SPDX-License-Identifier: MIT */
/*
 * One batch: see batch.h for the contract.
 *
 * The truth is in the states of the tasks and the status of the blocks.  The
 * pending count and the done semaphore only say when it is worth looking
 * again; a worker that dies between handing in and counting leaves them wrong,
 * and nothing but a little time is lost.
 */
#include "engine/batch.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/secmem.h"

static const struct queue_owner thread_owner = { .index = QUEUE_OWNER_THREAD };

enum { RANGE_SIZE = ENGINE_RANGE_BLOCKS * ENGINE_BLOCK_SIZE };

static bool fits(const struct engine_batch *w)
{
	uint32_t blocks;

	if (w->op < ENGINE_SEAL || w->op > ENGINE_XOR)
		return false;
	if (!w->size || w->size > ENGINE_SLOT_SIZE || w->offset > ENGINE_SLOT_SIZE - w->size)
		return false;
	blocks = task_blocks(w->size);
	if (w->first_record > ENGINE_SLOT_BLOCKS - blocks)
		return false;
	/* A block index is used once: it may reach its end but not go around. */
	return w->op == ENGINE_XOR || w->position <= UINT64_MAX - (blocks - 1);
}

static struct engine_record *first_record(const struct arena *a, const struct batch *b)
{
	return &a->shm->records[b->slot][b->what.first_record];
}

int batch_begin(const struct arena *a, struct batch *b, const struct engine_batch *what)
{
	struct shm_batch *shared = &a->shm->batches[b->slot];
	struct engine_record *records;
	uint32_t blocks;

	if (b->in_flight || !fits(what))
		return -EINVAL;
	blocks = task_blocks(what->size);
	b->what = *what;
	b->number++;
	b->n_tasks = (blocks + ENGINE_RANGE_BLOCKS - 1) / ENGINE_RANGE_BLOCKS;
	b->n_put = 0;
	b->n_own = 0;
	b->n_counted = 0;
	b->in_flight = true;

	records = first_record(a, b);
	for (uint32_t i = 0; i < blocks; i++)
		if (records[i].status != ENGINE_SKIP)
			records[i].status = ENGINE_PENDING;
	while (!sync_sem_trywait(&shared->done))
		; /* spare units of an earlier batch */
	atomic_store_explicit(&shared->pending, (uint64_t)b->number << 32 | b->n_tasks,
			      memory_order_relaxed); /* published with the first task */
	return 0;
}

/* The i-th task of b, as the owner knows it. */
static struct task task_at(const struct batch *b, uint32_t i)
{
	uint32_t start = i * RANGE_SIZE;
	uint32_t left = b->what.size - start;
	bool by_byte = b->what.op == ENGINE_XOR;

	return (struct task){
		.type = (uint32_t)b->what.op,
		.slot = b->slot,
		.key = b->slot,
		.offset = b->what.offset + start,
		.size = left < RANGE_SIZE ? left : RANGE_SIZE,
		.first_record = b->what.first_record + i * ENGINE_RANGE_BLOCKS,
		.batch = b->number,
		.position = b->what.position + (by_byte ? start : i * ENGINE_RANGE_BLOCKS),
	};
}

int batch_put(const struct arena *a, struct batch *b)
{
	while (b->n_put < b->n_tasks) {
		struct task t = task_at(b, b->n_put);
		int r = queue_put(&a->shm->queue, &t, &b->refs[b->n_put]);

		if (r)
			return r;
		b->n_put++;
	}
	return 0;
}

/* Do task i unless somebody has it. */
static bool help_with(const struct arena *a, struct batch *b, uint32_t i)
{
	struct task_slot slot = arena_slot(a, b->slot);
	struct queue *q = &a->shm->queue;
	struct task t;

	if (queue_take_ref(q, thread_owner, b->refs[i]))
		return false;
	t = task_at(b, i); /* not from shared memory: ours is the true one */
	task_run(&t, &slot, NULL);
	(void)queue_complete(q, thread_owner, b->refs[i]); /* nobody takes from us */
	b->n_own++;
	return true;
}

bool batch_help(const struct arena *a, struct batch *b)
{
	uint32_t before = b->n_own;

	for (uint32_t i = b->n_put; i-- > 0;)
		(void)help_with(a, b, i);
	return b->n_own > before;
}

bool batch_help_first(const struct arena *a, struct batch *b)
{
	for (uint32_t i = 0; i < b->n_put; i++)
		if (help_with(a, b, i))
			return true;
	return false;
}

bool batch_has_done(const struct arena *a, const struct batch *b, uint32_t n)
{
	if (b->n_put < n)
		return false;
	if (b->n_own == b->n_tasks)
		return true;
	for (uint32_t i = 0; i < n; i++)
		if (!queue_is_done(&a->shm->queue, b->refs[i]))
			return false;
	return true;
}

bool batch_is_waiting(const struct arena *a, const struct batch *b)
{
	for (uint32_t i = 0; i < b->n_put; i++)
		if (queue_is_waiting(&a->shm->queue, b->refs[i]))
			return true;
	return false;
}

/* Take n off the count; true if these were the last of that very batch. */
static bool count_down(struct shm_batch *shared, uint32_t number, uint32_t n)
{
	uint64_t old = atomic_load_explicit(&shared->pending, memory_order_acquire);

	do {
		if (old >> 32 != number || (uint32_t)old < n)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&shared->pending, &old, old - n, memory_order_acq_rel, memory_order_acquire));
	return (uint32_t)old == n;
}

void batch_count_off(const struct arena *a, struct batch *b)
{
	uint32_t n = b->n_own - b->n_counted;

	if (n)
		(void)count_down(&a->shm->batches[b->slot], b->number, n);
	b->n_counted = b->n_own;
}

void batch_handed_in(const struct arena *a, uint32_t slot, uint32_t number, uint32_t n)
{
	struct shm_batch *shared = &a->shm->batches[slot];

	if (count_down(shared, number, n))
		sync_sem_post(&shared->done);
}

void batch_do_task(const struct arena *a, struct queue_owner owner, struct queue_ref ref,
		   const struct task *t, const struct task_undo *undo)
{
	bool sound = !task_check(t, a->slots);
	struct task_slot slot;

	/* The blocks of a nonsense task stay PENDING; its owner calls that failed. */
	if (sound) {
		slot = arena_slot(a, t->slot);
		task_run(t, &slot, undo);
	}
	if (!queue_complete(&a->shm->queue, owner, ref) && sound)
		batch_handed_in(a, t->slot, t->batch, 1);
}

/* A block that nobody finished, or whose status makes no sense, is not given out. */
static void wipe_block(const struct arena *a, const struct batch *b, uint32_t i)
{
	uint32_t start = i * ENGINE_BLOCK_SIZE;
	uint32_t left = b->what.size - start;
	uint8_t *data = a->shm->slots[b->slot] + b->what.offset + start;

	secmem_wipe(data, left < ENGINE_BLOCK_SIZE ? left : ENGINE_BLOCK_SIZE);
}

static int block_answer(const struct arena *a, const struct batch *b, uint32_t i)
{
	struct engine_record *record = first_record(a, b) + i;

	switch (task_status(record)) {
	case ENGINE_DONE:
	case ENGINE_SKIP:
		return 0;
	case ENGINE_FORGED:
		return ENGINE_DAMAGED;
	default:
		wipe_block(a, b, i);
		task_set_status(record, ENGINE_FAILED);
		return -EIO;
	}
}

int batch_end(const struct arena *a, struct batch *b)
{
	uint32_t blocks = task_blocks(b->what.size);
	int answer = 0;

	for (uint32_t i = 0; i < blocks; i++) {
		int r = block_answer(a, b, i);

		if (r < 0 || !answer)
			answer = r;
	}
	b->in_flight = false;
	return answer;
}
