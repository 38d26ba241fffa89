/* SPDX-License-Identifier: MIT */
/*
 * The queue by threads on one mapping, so that TSan sees it, and workers as
 * threads.  Deaths are in test_engine_crash.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "engine/worker.h"

enum {
	PRODUCERS = 3,
	CONSUMERS = 3,
	EACH = 4000,
};

static struct queue *q;

static int setup(void **state)
{
	(void)state;
	q = aligned_alloc(_Alignof(struct queue), sizeof(*q));
	if (!q)
		return -1;
	queue_init(q);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(q);
	return 0;
}

static const struct queue_owner alice = { .index = 1, .generation = 7 };
static const struct queue_owner bob = { .index = 2, .generation = 7 };

static struct queue_ref put(uint64_t position)
{
	const struct task t = { .type = TASK_SEAL, .position = position };
	struct queue_ref ref;

	assert_int_equal(queue_put(q, &t, &ref), 0);
	return ref;
}

/* Take and hand in; the position, or UINT64_MAX if there was nothing. */
static uint64_t take(struct queue_owner owner)
{
	struct queue_ref ref;
	struct task t;

	if (queue_take(q, owner, &ref, &t))
		return UINT64_MAX;
	assert_int_equal(queue_complete(q, owner, ref), 0);
	return t.position;
}

static void the_oldest_task_is_taken_first(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 100; i++)
			put(i);
		for (uint64_t i = 0; i < 100; i++)
			assert_int_equal(take(alice), i);
		assert_int_equal(take(alice), UINT64_MAX);
	}
}

static void order_survives_the_wrap_of_tickets(void **state)
{
	(void)state;
	atomic_store(&q->next_ticket, UINT32_MAX - 50);
	for (uint64_t i = 0; i < 100; i++)
		put(i);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(take(alice), i);
}

static void one_more_than_it_holds_is_refused(void **state)
{
	const struct task t = { .type = TASK_SEAL };
	struct queue_ref ref;

	(void)state;
	for (uint64_t i = 0; i < QUEUE_SIZE; i++)
		put(i);
	assert_int_equal(queue_put(q, &t, &ref), QUEUE_FULL);
	assert_int_equal(take(alice), 0);
	put(QUEUE_SIZE);
	assert_int_equal(queue_put(q, &t, &ref), QUEUE_FULL);
	for (uint64_t i = 1; i <= QUEUE_SIZE; i++)
		assert_int_equal(take(alice), i);
}

static void a_task_held_long_does_not_block_the_others(void **state)
{
	struct queue_ref held;
	struct task t;

	(void)state;
	put(1000);
	assert_int_equal(queue_take(q, bob, &held, &t), 0);
	for (uint64_t i = 0; i < 3 * QUEUE_SIZE; i++) {
		put(i);
		assert_int_equal(take(alice), i);
	}
	assert_false(queue_is_done(q, held));
	assert_int_equal(queue_complete(q, bob, held), 0);
	assert_true(queue_is_done(q, held));
}

static void a_claim_can_be_given_up_only_by_its_owner(void **state)
{
	const struct queue_owner later_bob = { .index = 2, .generation = 8 };
	struct queue_ref ref = put(1);
	struct queue_ref found;
	struct task t;

	(void)state;
	assert_true(queue_is_waiting(q, ref));
	assert_int_equal(queue_complete(q, bob, ref), QUEUE_LOST); /* not claimed yet */
	assert_int_equal(queue_take_ref(q, bob, ref), 0);
	assert_int_equal(queue_take_ref(q, alice, ref), QUEUE_LOST);
	assert_false(queue_is_waiting(q, ref));
	assert_int_equal(queue_complete(q, alice, ref), QUEUE_LOST);
	assert_int_equal(queue_complete(q, later_bob, ref), QUEUE_LOST);
	assert_int_equal(queue_put_back(q, later_bob, ref), QUEUE_LOST);
	assert_int_equal(queue_claimed_by(q, later_bob, &found, &t), QUEUE_EMPTY);
	assert_int_equal(queue_claimed_by(q, bob, &found, &t), 0);
	assert_int_equal(found.ticket, ref.ticket);
	assert_int_equal(t.position, 1);
	assert_int_equal(queue_complete(q, bob, ref), 0);
	assert_int_equal(queue_complete(q, bob, ref), QUEUE_LOST); /* once */
}

static void a_late_hand_does_not_touch_the_next_task(void **state)
{
	struct queue_ref old = put(1);
	struct queue_ref ref;
	struct task t;

	(void)state;
	assert_int_equal(take(alice), 1);
	for (uint64_t i = 1; i < QUEUE_SIZE; i++) {
		put(i);
		take(alice);
	}
	ref = put(2); /* in the same entry */
	assert_int_equal(ref.entry, old.entry);
	assert_int_equal(queue_take(q, alice, &ref, &t), 0);
	assert_int_equal(queue_complete(q, alice, old), QUEUE_LOST);
	assert_int_equal(queue_take_ref(q, alice, old), QUEUE_LOST);
	assert_true(queue_is_done(q, old));
	assert_false(queue_is_done(q, ref));
}

static void a_task_put_back_is_in_its_old_place(void **state)
{
	struct queue_ref ref;
	struct task t;

	(void)state;
	for (uint64_t i = 0; i < 3; i++)
		put(i);
	assert_int_equal(queue_take(q, alice, &ref, &t), 0);
	assert_int_equal(t.position, 0);
	assert_int_equal(queue_put_back(q, alice, ref), 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(take(alice), i);
}

static void waiting_tasks_are_counted(void **state)
{
	uint32_t oldest;
	struct queue_ref first = put(0);

	(void)state;
	put(1);
	assert_int_equal(queue_waiting(q, &oldest), 2);
	assert_int_equal(oldest, first.ticket);
	take(alice);
	assert_int_equal(queue_waiting(q, &oldest), 1);
	assert_int_equal(oldest, first.ticket + 1);
}

static void after_closing_it_drains_and_then_says_closed(void **state)
{
	const struct task t = { .type = TASK_SEAL };
	struct queue_ref ref;
	struct task taken;

	(void)state;
	put(5);
	queue_close(q);
	queue_close(q);
	assert_int_equal(queue_put(q, &t, &ref), QUEUE_CLOSED);
	assert_int_equal(take(alice), 5);
	assert_int_equal(queue_take(q, alice, &ref, &taken), QUEUE_CLOSED);
}

static atomic_uint taken[PRODUCERS * EACH];

static void *produce(void *arg)
{
	uint64_t first = *(const uint64_t *)arg;

	for (uint64_t i = 0; i < EACH; i++) {
		const struct task t = { .type = TASK_SEAL,
					.position = first + i,
					.offset = (uint32_t)(first + i) };
		struct queue_ref ref;

		while (queue_put(q, &t, &ref) == QUEUE_FULL)
			sched_yield();
		if (i % 7 == 0 && !queue_take_ref(q, alice, ref)) { /* help oneself */
			atomic_fetch_add(&taken[t.position], 1);
			assert_int_equal(queue_complete(q, alice, ref), 0);
		}
	}
	return NULL;
}

static void *consume(void *arg)
{
	const struct queue_owner owner = *(const struct queue_owner *)arg;
	struct queue_ref ref;
	struct task t;
	int r;

	while ((r = queue_take(q, owner, &ref, &t)) != QUEUE_CLOSED) {
		if (r) {
			sched_yield();
			continue;
		}
		if (t.position % 5 == 0 && t.position % 2 == owner.index % 2) {
			assert_int_equal(queue_put_back(q, owner, ref), 0);
			sched_yield();
			continue;
		}
		if (t.offset == t.position)
			atomic_fetch_add(&taken[t.position], 1);
		assert_int_equal(queue_complete(q, owner, ref), 0);
	}
	return NULL;
}

static void each_task_reaches_exactly_one_consumer(void **state)
{
	static const uint64_t firsts[PRODUCERS] = { 0, EACH, 2 * EACH };
	static const struct queue_owner owners[CONSUMERS] = { { 1, 1 }, { 2, 1 }, { 3, 1 } };
	pthread_t producers[PRODUCERS];
	pthread_t consumers[CONSUMERS];

	(void)state;
	for (int i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consume, (void *)(uintptr_t)&owners[i]);
	for (int i = 0; i < PRODUCERS; i++)
		pthread_create(&producers[i], NULL, produce, (void *)(uintptr_t)&firsts[i]);
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(producers[i], NULL);
	queue_close(q);
	for (int i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	for (int i = 0; i < PRODUCERS * EACH; i++)
		assert_int_equal(atomic_load(&taken[i]), 1);
}

/* --- workers as threads --------------------------------------------------- */

enum { SUBMITTERS = 2, WORKERS = 2, ROUNDS = 40 };

static struct engine *e;

static void *work(void *arg)
{
	worker_loop(arg);
	cipher_thread_fini();
	return NULL;
}

/* As engine_run, but for who wakes: this engine knows of no workers. */
static int run(uint32_t slot, const struct engine_batch *b)
{
	assert_int_equal(engine_submit(e, slot, b), 0);
	for (int i = 0; i < WORKERS; i++)
		sync_sem_post(&e->arena.shm->work);
	return engine_wait(e, slot);
}

static void *submit(void *arg)
{
	struct engine_batch b = { .offset = 100, .size = 700000 };
	uint8_t *plain = malloc(ENGINE_SLOT_SIZE);
	uint32_t slot = get_slot(e);

	(void)arg;
	set_key(e, slot, CIPHER_CHACHA20_POLY1305);
	for (int i = 0; plain && i < ROUNDS; i++) {
		fill_slot(e, slot);
		memcpy(plain, engine_slot_data(e, slot), ENGINE_SLOT_SIZE);
		b.op = ENGINE_SEAL;
		assert_int_equal(run(slot, &b), 0);
		assert_memory_not_equal(engine_slot_data(e, slot), plain, ENGINE_SLOT_SIZE);
		b.op = ENGINE_OPEN;
		assert_int_equal(run(slot, &b), 0);
		assert_memory_equal(engine_slot_data(e, slot), plain, ENGINE_SLOT_SIZE);
	}
	free(plain);
	engine_slot_put(e, slot);
	cipher_thread_fini();
	return NULL;
}

static void workers_and_submitters_share_without_races(void **state)
{
	const struct engine_options o = { .workers = 0, .slots = SUBMITTERS };
	struct worker workers[WORKERS];
	pthread_t submitters[SUBMITTERS];
	pthread_t threads[WORKERS];

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	for (uint8_t i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .arena = &e->arena,
					      .owner = { i, 1 },
					      .spin_us = i ? 20 : 0 };
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	for (int i = 0; i < SUBMITTERS; i++)
		pthread_create(&submitters[i], NULL, submit, NULL);
	for (int i = 0; i < SUBMITTERS; i++)
		pthread_join(submitters[i], NULL);
	queue_close(&e->arena.shm->queue);
	for (int i = 0; i < WORKERS; i++) {
		sync_sem_post(&e->arena.shm->work);
		sync_sem_post(&e->arena.shm->work);
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < WORKERS; i++)
		assert_true(bytes_are_zero(e->arena.shm->undo[i], ENGINE_BLOCK_SIZE));
	engine_stop(e);
}

/* Something comes right after the worker has looked in vain. */
static bool comes_late;

int __real_queue_take(struct queue *, struct queue_owner, struct queue_ref *, struct task *);
int __wrap_queue_take(struct queue *from, struct queue_owner owner, struct queue_ref *ref,
		      struct task *task);
int __wrap_queue_take(struct queue *from, struct queue_owner owner, struct queue_ref *ref,
		      struct task *task)
{
	const struct task end = { .type = TASK_TERMINATE };
	struct queue_ref ignored;
	int r = __real_queue_take(from, owner, ref, task);

	if (r == QUEUE_EMPTY && comes_late) {
		comes_late = false;
		assert_int_equal(queue_put(from, &end, &ignored), 0);
	}
	return r;
}

static void a_worker_that_looks_for_more_misses_nothing(void **state)
{
	const struct engine_options o = { .workers = 0, .slots = 1 };
	const struct task nothing = { 0 };
	struct worker w = { .owner = { 0, 1 }, .spin_us = 1000000000 };
	struct queue_ref ref;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	w.arena = &e->arena;
	assert_int_equal(queue_put(&e->arena.shm->queue, &nothing, &ref), 0);
	comes_late = true;
	worker_loop(&w); /* not before it has seen the end */
	engine_stop(e);
}

#define Q(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		Q(the_oldest_task_is_taken_first),
		Q(order_survives_the_wrap_of_tickets),
		Q(one_more_than_it_holds_is_refused),
		Q(a_task_held_long_does_not_block_the_others),
		Q(a_claim_can_be_given_up_only_by_its_owner),
		Q(a_late_hand_does_not_touch_the_next_task),
		Q(a_task_put_back_is_in_its_old_place),
		Q(waiting_tasks_are_counted),
		Q(after_closing_it_drains_and_then_says_closed),
		Q(each_task_reaches_exactly_one_consumer),
		cmocka_unit_test(workers_and_submitters_share_without_races),
		cmocka_unit_test(a_worker_that_looks_for_more_misses_nothing),
	};

	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
