/* SPDX-License-Identifier: MIT */
/* The door: see engine.h for the contract. */
#include "engine/engine.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secmem.h"
#include "engine/engine_impl.h"

enum {
	LOOK_AGAIN_US = 20000, /* how long a lost wake-up can delay a batch */
	MAX_SPIN_NS = 20000,
};

static bool options_are_sound(const struct engine_options *o)
{
	if (o->slots < 1 || o->slots > ENGINE_MAX_SLOTS)
		return false;
	if (o->elastic && o->workers >= 0 && o->min_workers > (uint32_t)o->workers)
		return false;
	return o->workers >= ENGINE_WORKERS_AUTO && o->workers <= ENGINE_MAX_WORKERS;
}

static uint32_t processors(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus < 1)
		return 1;
	return cpus > ENGINE_MAX_WORKERS ? ENGINE_MAX_WORKERS : (uint32_t)cpus;
}

static uint32_t max_workers(int wish)
{
	uint32_t cpus = processors();

	if (wish != ENGINE_WORKERS_AUTO)
		return (uint32_t)wish;
	return cpus > 1 ? cpus - 1 : 1; /* the submitter works, too */
}

int engine_start(const struct engine_options *options, struct engine **out)
{
	struct pool_options pool;
	struct engine *e = NULL;
	int r = -EINVAL;

	*out = NULL;
	if (!options_are_sound(options))
		goto out;
	pool = (struct pool_options){
		.max = max_workers(options->workers),
		.min = options->elastic ? options->min_workers : 0,
		.fixed = options->workers != ENGINE_WORKERS_AUTO && !options->elastic,
		.strict = options->strict,
		.idle_ms = POOL_IDLE_MS,
		.spin_us = options->spin_us,
	};
	pool.at_once = options->elastic ? processors() : ENGINE_MAX_WORKERS;
	if (pool.min > pool.max)
		pool.min = pool.max;
	r = -ENOMEM;
	e = aligned_alloc(_Alignof(struct engine), sizeof(*e));
	if (!e)
		goto out;
	*e = (struct engine){ .options = *options, .n_processors = processors() };
	atomic_store(&e->free_slots, UINT64_MAX >> (64 - options->slots));
	for (uint32_t i = 0; i < options->slots; i++)
		e->slots[i].batch.slot = i;
	r = cipher_init();
	if (!r)
		r = pace_measure(&e->pace);
	if (r)
		log_error("cannot start the engine: %s", strerror(-r));
	if (!r)
		r = arena_new(options->slots, &e->arena);
	if (!r)
		r = pool_start(&e->pool, &e->arena, &pool);
	if (r)
		goto out;
	log_debug("waking costs %u ns, 1 KiB of %s %u ns", e->pace.wake_ns,
		  cipher_name(cipher_default()), pace_kib_ns(&e->pace, cipher_default()));
	*out = e;
	e = NULL;
out:
	engine_stop(e);
	return r;
}

int engine_watch(struct engine *e)
{
	return pool_watch(&e->pool);
}

void engine_stop(struct engine *e)
{
	if (!e)
		return;
	pool_stop(&e->pool);
	arena_free(&e->arena);
	free(e);
}

int engine_slot_get(struct engine *e, uint32_t *slot)
{
	uint64_t bits = atomic_load(&e->free_slots);

	while (bits) {
		uint32_t i = (uint32_t)__builtin_ctzll(bits);

		if (!atomic_compare_exchange_weak(&e->free_slots, &bits, bits & ~(1ULL << i)))
			continue;
		*slot = i;
		return 0;
	}
	return ENGINE_BUSY;
}

void engine_slot_put(struct engine *e, uint32_t slot)
{
	engine_slot_wipe(e, slot);
	atomic_fetch_or(&e->free_slots, 1ULL << slot);
}

uint8_t *engine_slot_data(struct engine *e, uint32_t slot)
{
	return e->arena.shm->slots[slot];
}

struct engine_record *engine_slot_records(struct engine *e, uint32_t slot)
{
	return e->arena.shm->records[slot];
}

struct cipher_key *engine_slot_key(struct engine *e, uint32_t slot)
{
	return &e->arena.shm->keys[slot];
}

void engine_slot_wipe(struct engine *e, uint32_t slot)
{
	struct shm *s = e->arena.shm;

	secmem_wipe(s->slots[slot], sizeof(s->slots[slot]));
	secmem_wipe(s->records[slot], sizeof(s->records[slot]));
	secmem_wipe(&s->keys[slot], sizeof(s->keys[slot]));
}

/* True if threads of this process may do tasks (now). */
static bool may_help(struct engine *e)
{
	return !e->options.strict || !pool_can_work(&e->pool);
}

/*
 * Workers that find a processor, as far as that is known.  A look at a count that changes
 * meanwhile: either answer is right, one of them faster.
 */
static uint32_t room_for_workers(struct engine *e)
{
	uint32_t n = atomic_load_explicit(&e->n_occupied, memory_order_relaxed);

	if (!n)
		return ENGINE_MAX_WORKERS;
	return n < e->n_processors ? e->n_processors - n : 0;
}

/* Have workers, and wake them, where the work is worth it. */
static void call_workers(struct engine *e, const struct batch *b)
{
	const struct pool_options *pool = &e->pool.options;
	uint32_t room = room_for_workers(e);
	uint32_t n;

	if (!pool->max)
		return;
	/* The submitter takes one task itself. */
	n = pace_workers(&e->pace, e->arena.shm->keys[b->slot].suite, b->what.size);
	if (n > b->n_tasks - 1)
		n = b->n_tasks - 1;
	if (n > room)
		n = room;
	if (pool->strict)
		n = b->n_tasks;
	if (n || pool->fixed)
		pool_want(&e->pool, pool->fixed		? pool->max
				    : n < pool->at_once ? n
							: pool->at_once);
	if (n)
		pool_wake(&e->pool, n);
}

/* Do any task that waits, or let others get on. */
static void help_anyone(struct engine *e)
{
	const struct queue_owner owner = { .index = QUEUE_OWNER_THREAD };
	struct queue_ref ref;
	struct task t;

	if (queue_take(&e->arena.shm->queue, owner, &ref, &t)) {
		(void)sched_yield();
		return;
	}
	batch_do_task(&e->arena, owner, ref, &t, NULL);
	atomic_fetch_add_explicit(&e->helped, 1, memory_order_relaxed);
}

/* The queue is full: get it to move. */
static void make_room(struct engine *e, struct batch *b)
{
	const struct timespec pause = { .tv_nsec = 100000 };

	if (!may_help(e)) {
		call_workers(e, b);
		(void)nanosleep(&pause, NULL);
	} else if (!batch_help(&e->arena, b)) {
		help_anyone(e);
	}
}

int engine_submit(struct engine *e, uint32_t slot, const struct engine_batch *batch)
{
	struct batch *b;
	int r;

	if (slot >= e->arena.slots)
		return -EINVAL;
	b = &e->slots[slot].batch;
	r = batch_begin(&e->arena, b, batch);
	if (r)
		return r;
	while ((r = batch_put(&e->arena, b)) == QUEUE_FULL)
		make_room(e, b);
	if (r) { /* closed: nobody may be here any more */
		b->in_flight = false;
		return -ESHUTDOWN;
	}
	call_workers(e, b);
	return 0;
}

/* Look for as long as a sleep would cost; true when the first n tasks are done. */
static bool spin_until_done(struct engine *e, const struct batch *b, uint32_t n)
{
	uint64_t budget = e->pace.wake_ns < MAX_SPIN_NS ? e->pace.wake_ns : MAX_SPIN_NS;
	uint64_t end = sync_now_ns() + budget;

	do {
		if (batch_has_done(&e->arena, b, n))
			return true;
		for (int i = 0; i < 16; i++)
			sync_pause();
	} while (sync_now_ns() < end);
	return false;
}

static void sleep_until_posted(struct engine *e, struct batch *b, uint32_t n)
{
	batch_count_off(&e->arena, b);
	if (batch_has_done(&e->arena, b, n))
		return;
	if (sync_sem_timedwait(&e->arena.shm->batches[b->slot].done, LOOK_AGAIN_US) &&
	    batch_is_waiting(&e->arena, b))
		call_workers(e, b); /* in case a wake-up died with its worker */
}

/* Only the slot's owner writes these, so no read-modify-write is needed. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
	n += atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, n, memory_order_relaxed);
}

/* The slot's batch if it has one, or NULL. */
static struct batch *batch_of(struct engine *e, uint32_t slot)
{
	if (slot >= e->arena.slots || !e->slots[slot].batch.in_flight)
		return NULL;
	return &e->slots[slot].batch;
}

int engine_wait_first(struct engine *e, uint32_t slot, uint32_t n)
{
	struct batch *b = batch_of(e, slot);
	const struct engine_record *records;
	uint32_t tasks;

	if (!b || n > task_blocks(b->what.size))
		return -EINVAL;
	tasks = (n + ENGINE_RANGE_BLOCKS - 1) / ENGINE_RANGE_BLOCKS;
	while (!batch_has_done(&e->arena, b, tasks)) {
		if (may_help(e) && batch_help_first(&e->arena, b))
			continue;
		if (!spin_until_done(e, b, tasks))
			sleep_until_posted(e, b, tasks);
	}
	records = engine_slot_records(e, slot) + b->what.first_record;
	for (uint32_t i = 0; i < n; i++)
		if (task_status(&records[i]) != ENGINE_DONE)
			return -EIO;
	return 0;
}

int engine_wait(struct engine *e, uint32_t slot)
{
	struct batch *b = batch_of(e, slot);

	if (!b)
		return -EINVAL;
	for (;;) {
		if (may_help(e))
			(void)batch_help(&e->arena, b);
		if (batch_has_done(&e->arena, b, b->n_tasks))
			break;
		if (!spin_until_done(e, b, b->n_tasks))
			sleep_until_posted(e, b, b->n_tasks);
	}
	add(&e->slots[slot].tasks, b->n_own);
	add(&e->slots[slot].bytes, b->what.size);
	return batch_end(&e->arena, b);
}

void engine_occupy(struct engine *e)
{
	atomic_fetch_add_explicit(&e->n_occupied, 1, memory_order_relaxed);
}

void engine_vacate(struct engine *e)
{
	atomic_fetch_sub_explicit(&e->n_occupied, 1, memory_order_relaxed);
}

int engine_run(struct engine *e, uint32_t slot, const struct engine_batch *batch)
{
	int r = engine_submit(e, slot, batch);

	return r ? r : engine_wait(e, slot);
}

int engine_rest(struct engine *e)
{
	int r = pool_rest(&e->pool);

	if (!r)
		secmem_wipe(e->arena.shm->undo, sizeof(e->arena.shm->undo));
	return r;
}

void engine_counters(struct engine *e, struct engine_counters *out)
{
	struct pool *p = &e->pool;
	uint64_t bytes = 0;
	uint32_t oldest;

	*out = (struct engine_counters){
		.tasks_inline = atomic_load(&e->helped),
		.workers_started = atomic_load(&p->started),
		.workers_died = atomic_load(&p->died),
		.tasks_repaired = atomic_load(&p->repaired),
		.workers_alive = atomic_load(&p->alive),
		.workers_target = atomic_load(&p->target),
		.workers_max = p->options.max,
		.tasks_waiting = queue_waiting(&e->arena.shm->queue, &oldest),
	};
	for (uint32_t i = 0; i < e->arena.slots; i++) {
		out->tasks_inline += atomic_load(&e->slots[i].tasks);
		bytes += atomic_load(&e->slots[i].bytes);
	}
	out->bytes = bytes;
	for (uint32_t i = 0; i < p->options.max; i++) {
		out->tasks_worker[i] = atomic_load(&e->arena.shm->workers[i].tasks);
		out->tasks_workers += out->tasks_worker[i];
	}
}

/* Two tasks at least: the submitter takes one itself. */
static uint32_t shared_from(struct engine *e, enum cipher_suite suite)
{
	const uint32_t two_tasks = ENGINE_RANGE_BLOCKS * ENGINE_BLOCK_SIZE + 1;
	uint32_t pays = pace_threshold(&e->pace, suite);

	return pays < two_tasks ? two_tasks : pays;
}

void engine_pace(struct engine *e, enum cipher_suite suite, struct engine_pace *out)
{
	*out = (struct engine_pace){
		.wake_ns = e->pace.wake_ns,
		.kib_ns = pace_kib_ns(&e->pace, suite),
		.inline_max_size = e->pool.options.max ? shared_from(e, suite) : UINT32_MAX,
	};
}
