/* SPDX-License-Identifier: MIT */
/* The door of the engine, with and without workers. */
#include "support.h"

#include <errno.h>
#include <unistd.h>

struct shape {
	uint32_t offset;
	uint32_t size;
	uint32_t first_record;
	uint64_t position;
};

static const struct shape shapes[] = {
	{ 0, 1, 0, 0 },
	{ 0, 4096, 0, UINT64_MAX },
	{ 4096, 4095, 1, 7 },
	{ 4016, 4097, 3, 1ULL << 40 },
	{ 1, 12345, 0, 3 },
	{ 777, 131072, 5, 100 },
	{ 4096, 131073, 1, 64 },
	{ 4096, 1 << 20, 1, 12345678 },
	{ 0, ENGINE_SLOT_SIZE, 0, 9 },
	{ 4097, ENGINE_SLOT_SIZE - 4097, 0, 1 },
};

static void check_all_shapes(struct engine *e)
{
	uint32_t slot = get_slot(e);

	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_XOR; s++) {
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
			const struct engine_batch b = { .offset = shapes[i].offset,
							.size = shapes[i].size,
							.first_record = shapes[i].first_record,
							.position = shapes[i].position };

			check_round_trip(e, slot, s, b);
		}
	}
	engine_slot_put(e, slot);
}

static void all_shapes_come_out_right_without_workers(void **state)
{
	struct engine *e = start_engine(0, false, 1);

	(void)state;
	check_all_shapes(e);
	assert_int_equal(counters_of(e).tasks_workers, 0);
	assert_int_equal(counters_of(e).workers_started, 0);
	assert_true(counters_of(e).tasks_inline > 0);
	assert_true(counters_of(e).bytes > 1 << 20);
	engine_stop(e);
}

static void what_was_measured_is_told(void **state)
{
	struct engine *alone = start_engine(0, false, 1);
	struct engine *e = start_engine(1, false, 1);
	struct engine_pace p;

	(void)state;
	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_XOR; s++) {
		engine_pace(alone, s, &p);
		assert_int_equal(p.inline_max_size, UINT32_MAX);
		engine_pace(e, s, &p);
		assert_true(p.wake_ns && p.kib_ns && p.inline_max_size);
	}
	engine_stop(alone);
	engine_stop(e);
}

static void all_shapes_come_out_right_with_one_worker_and_two(void **state)
{
	(void)state;
	for (int n = 1; n <= 2; n++) {
		struct engine *e = start_engine(n, false, 2);

		check_all_shapes(e);
		engine_stop(e);
	}
}

static void strict_workers_do_every_task(void **state)
{
	struct engine_counters c;

	(void)state;
	for (int n = 1; n <= 2; n++) {
		struct engine *e = start_engine(n, true, 1);

		check_all_shapes(e);
		c = counters_of(e);
		assert_int_equal(c.tasks_inline, 0);
		assert_true(c.tasks_workers > 0);
		assert_int_equal(c.tasks_worker[0] + c.tasks_worker[1], c.tasks_workers);
		assert_int_equal(c.workers_max, n);
		assert_int_equal(c.tasks_waiting, 0);
		WAIT_UNTIL(counters_of(e).workers_started == (uint64_t)n);
		assert_int_equal(c.workers_died, 0);
		engine_stop(e);
	}
}

static void strict_without_a_supervisor_does_the_work_itself(void **state)
{
	const struct engine_options o = { .workers = 1, .strict = true, .slots = 1 };
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	slot = get_slot(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, (struct engine_batch){ .size = 500000 });
	engine_stop(e);
}

static void workers_are_forked_by_the_first_batch_that_pays(void **state)
{
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO, .slots = 1 };
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pace.wake_ns = 1000;
	e->pace.kib_ns[CIPHER_AES_256_GCM] = 100; /* 1 MiB is worth 50 workers, 16 KiB none */
	assert_int_equal(engine_watch(e), 0);
	slot = get_slot(e);
	for (int i = 0; i < 100; i++)
		check_round_trip(e, slot, CIPHER_AES_256_GCM,
				 (struct engine_batch){ .size = 16384 });
	assert_int_equal(counters_of(e).workers_target, 0);
	assert_int_equal(counters_of(e).workers_started, 0);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, (struct engine_batch){ .size = 1 << 20 });
	assert_true(counters_of(e).workers_target > 0);
	WAIT_UNTIL(counters_of(e).workers_alive > 0);
	engine_stop(e);
}

static void nobody_is_called_for_the_only_task(void **state)
{
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO, .slots = 1 };
	const uint32_t one_task = ENGINE_RANGE_BLOCKS * ENGINE_BLOCK_SIZE;
	struct engine_pace pace;
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pace.wake_ns = 1000;
	e->pace.kib_ns[CIPHER_AES_256_GCM] = 1000;
	engine_pace(e, CIPHER_AES_256_GCM, &pace);
	assert_int_equal(pace.inline_max_size, one_task + 1);
	assert_int_equal(engine_watch(e), 0);
	slot = get_slot(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, (struct engine_batch){ .size = one_task });
	assert_int_equal(counters_of(e).workers_target, 0);
	assert_int_equal(counters_of(e).workers_started, 0);
	engine_stop(e);
}

static void nobody_is_called_for_a_processor_that_is_occupied(void **state)
{
	const struct engine_batch large = { .size = 1 << 20 };
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO, .slots = 1 };
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pace.wake_ns = 1000;
	e->pace.kib_ns[CIPHER_AES_256_GCM] = 100;
	e->n_processors = 2;
	assert_int_equal(engine_watch(e), 0);
	slot = get_slot(e);
	engine_occupy(e);
	engine_occupy(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, large);
	assert_int_equal(counters_of(e).workers_target, 0);
	engine_vacate(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, large);
	assert_int_equal(counters_of(e).workers_target, 1);
	engine_vacate(e);
	engine_stop(e);
}

static void idle_workers_end_and_come_back(void **state)
{
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO,
					  .strict = true,
					  .slots = 1 };
	const struct engine_batch b = { .size = 1 << 20 };
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pool.options.idle_ms = 1;
	assert_int_equal(engine_watch(e), 0);
	slot = get_slot(e);
	for (int i = 0; i < 2; i++) {
		check_round_trip(e, slot, CIPHER_AES_256_GCM, b);
		WAIT_UNTIL(counters_of(e).workers_alive == 0);
	}
	assert_int_equal(counters_of(e).workers_died, 0);
	assert_true(counters_of(e).workers_started >= 2);
	engine_stop(e);
}

static void at_rest_there_are_no_workers_and_work_goes_on(void **state)
{
	for (int strict = 0; strict <= 1; strict++) {
		struct engine *e = start_engine(2, strict, 2);

		(void)state;
		assert_int_equal(engine_rest(e), 0); /* with nobody there yet */
		for (int i = 0; i < 3; i++) {
			check_all_shapes(e);
			assert_int_equal(engine_rest(e), 0);
			assert_int_equal(counters_of(e).workers_alive, 0);
		}
		assert_true(counters_of(e).workers_started > 0);
		assert_int_equal(counters_of(e).workers_died, 0);
		engine_stop(e);
	}
}

static void the_fewest_come_at_once_and_stay(void **state)
{
	const struct engine_options o = {
		.workers = 3, .elastic = true, .min_workers = 1, .strict = true, .slots = 1
	};
	const struct engine_batch b = { .size = 1 << 20 };
	struct engine *e;
	uint32_t slot;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pool.options.idle_ms = 1;
	e->pool.options.at_once = 3;
	assert_int_equal(engine_watch(e), 0);
	WAIT_UNTIL(counters_of(e).workers_alive == 1);
	slot = get_slot(e);
	for (int i = 0; i < 2; i++) {
		uint64_t before = counters_of(e).workers_started;

		check_round_trip(e, slot, CIPHER_AES_256_GCM, b);
		WAIT_UNTIL(counters_of(e).workers_started >= before + 2);
		WAIT_UNTIL(counters_of(e).workers_target == 1);
		WAIT_UNTIL(counters_of(e).workers_alive == 1);
	}
	assert_int_equal(counters_of(e).workers_died, 0);
	engine_stop(e);
}

/* Seal 10 blocks, spoil block 4 by one bit where spoil says, open. */
static void check_forgery(struct engine *e, uint32_t slot, void (*spoil)(struct engine *, uint32_t))
{
	static const uint8_t zeros[ENGINE_BLOCK_SIZE];
	const struct engine_batch seal = { .op = ENGINE_SEAL, .size = 10 * ENGINE_BLOCK_SIZE };
	const struct engine_batch open = { .op = ENGINE_OPEN, .size = 10 * ENGINE_BLOCK_SIZE };
	struct engine_record *records = engine_slot_records(e, slot);
	static struct bytes plain;

	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	memcpy(&plain, engine_slot_data(e, slot), sizeof(plain));
	assert_int_equal(engine_run(e, slot, &seal), 0);
	spoil(e, slot);
	assert_int_equal(engine_run(e, slot, &open), ENGINE_DAMAGED);
	memcpy(plain.b + 4 * ENGINE_BLOCK_SIZE, zeros, sizeof(zeros));
	assert_memory_equal(engine_slot_data(e, slot), plain.b, sizeof(plain));
	for (int i = 0; i < 10; i++)
		assert_int_equal(records[i].status, i == 4 ? ENGINE_FORGED : ENGINE_DONE);
}

static void spoil_data(struct engine *e, uint32_t slot)
{
	engine_slot_data(e, slot)[4 * ENGINE_BLOCK_SIZE + 100] ^= 1;
}

static void spoil_tag(struct engine *e, uint32_t slot)
{
	engine_slot_records(e, slot)[4].tag[15] ^= 0x80;
}

static void spoil_nonce(struct engine *e, uint32_t slot)
{
	engine_slot_records(e, slot)[4].nonce[0] ^= 1;
}

static void spoil_sequence(struct engine *e, uint32_t slot)
{
	engine_slot_records(e, slot)[4].sequence++;
}

static void a_forged_block_is_wiped_and_the_others_are_fine(void **state)
{
	(void)state;
	for (int strict = 0; strict <= 1; strict++) {
		struct engine *e = start_engine(strict, strict, 1);
		uint32_t slot = get_slot(e);

		check_forgery(e, slot, spoil_data);
		check_forgery(e, slot, spoil_tag);
		check_forgery(e, slot, spoil_nonce);
		check_forgery(e, slot, spoil_sequence);
		engine_stop(e);
	}
}

static void a_block_opens_only_at_its_index(void **state)
{
	struct engine *e = start_engine(0, false, 1);
	struct engine_batch b = { .op = ENGINE_SEAL, .size = 4096, .position = 5 };
	uint32_t slot = get_slot(e);

	(void)state;
	set_key(e, slot, CIPHER_CHACHA20_POLY1305);
	assert_int_equal(engine_run(e, slot, &b), 0);
	b.op = ENGINE_OPEN;
	b.position = 6;
	assert_int_equal(engine_run(e, slot, &b), ENGINE_DAMAGED);
	engine_stop(e);
}

static void blocks_to_skip_are_left_alone(void **state)
{
	struct engine *e = start_engine(0, false, 1);
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 3 * ENGINE_BLOCK_SIZE };
	uint32_t slot = get_slot(e);
	uint8_t *data = engine_slot_data(e, slot);
	struct engine_record *records = engine_slot_records(e, slot);
	uint8_t before[ENGINE_BLOCK_SIZE];
	struct engine_record record;

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	records[1].status = ENGINE_SKIP;
	memcpy(before, data + ENGINE_BLOCK_SIZE, sizeof(before));
	record = records[1];
	assert_int_equal(engine_run(e, slot, &b), 0);
	assert_memory_equal(data + ENGINE_BLOCK_SIZE, before, sizeof(before));
	assert_memory_equal(&records[1], &record, sizeof(record));
	assert_int_equal(records[0].status, ENGINE_DONE);
	assert_int_equal(records[2].status, ENGINE_DONE);
	engine_stop(e);
}

static void a_batch_that_does_not_fit_is_refused(void **state)
{
	static const struct engine_batch bad[] = {
		{ .op = ENGINE_SEAL, .size = 0 },
		{ .op = ENGINE_SEAL, .size = ENGINE_SLOT_SIZE + 1 },
		{ .op = ENGINE_SEAL, .offset = 1, .size = ENGINE_SLOT_SIZE },
		{ .op = ENGINE_SEAL, .offset = UINT32_MAX, .size = 4096 },
		{ .op = ENGINE_SEAL, .size = 8192, .first_record = ENGINE_SLOT_BLOCKS - 1 },
		{ .op = ENGINE_SEAL, .size = 4096, .first_record = UINT32_MAX },
		{ .op = ENGINE_SEAL, .size = 8192, .position = UINT64_MAX },
		{ .op = (enum engine_op)0, .size = 4096 },
		{ .op = (enum engine_op)TASK_TERMINATE, .size = 4096 },
	};
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(engine_submit(e, slot, &bad[i]), -EINVAL);
	assert_int_equal(engine_wait(e, slot), -EINVAL); /* nothing is in flight */
	assert_int_equal(engine_submit(e, 1, &(struct engine_batch){ .op = 1, .size = 1 }),
			 -EINVAL);
	engine_stop(e);
}

static void the_wrong_kind_of_key_is_an_error_and_gives_no_bytes(void **state)
{
	static const uint8_t zeros[4096];
	const struct engine_batch batches[] = { { .op = ENGINE_SEAL, .size = 4096 },
						{ .op = ENGINE_OPEN, .size = 4096 } };
	const struct engine_batch xor = { .op = ENGINE_XOR, .size = 4096 };
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	for (int i = 0; i < 3; i++) {
		const struct engine_batch *b = i < 2 ? &batches[i] : &xor;

		set_key(e, slot, i < 2 ? CIPHER_XOR : CIPHER_AES_256_GCM);
		fill_slot(e, slot);
		assert_int_equal(engine_run(e, slot, b), -EIO);
		assert_int_equal(engine_slot_records(e, slot)[0].status, ENGINE_FAILED);
		assert_memory_equal(engine_slot_data(e, slot), zeros, sizeof(zeros));
	}
	engine_stop(e);
}

static void slots_are_given_once_and_come_back_wiped(void **state)
{
	struct engine *e = start_engine(0, false, 3);
	static const struct bytes zeros;
	uint32_t slots[3];
	uint32_t again;

	(void)state;
	for (int i = 0; i < 3; i++)
		slots[i] = get_slot(e);
	assert_true(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
	assert_int_equal(engine_slot_get(e, &again), ENGINE_BUSY);
	set_key(e, slots[1], CIPHER_AES_256_GCM);
	fill_slot(e, slots[1]);
	engine_slot_put(e, slots[1]);
	assert_int_equal(engine_slot_get(e, &again), 0);
	assert_int_equal(again, slots[1]);
	assert_memory_equal(engine_slot_data(e, again), &zeros, sizeof(zeros));
	assert_memory_equal(engine_slot_records(e, again), &zeros,
			    sizeof(e->arena.shm->records[0]));
	assert_memory_equal(engine_slot_key(e, again), &zeros, sizeof(struct cipher_key));
	engine_stop(e);
}

/* More tasks than the queue holds, all submitted before the first is waited for. */
static void a_full_queue_only_slows_down(void **state)
{
	(void)state;
	for (int workers = 0; workers <= 1; workers++) {
		struct engine *e = start_engine(workers, workers == 1, 20);
		struct engine_batch b = { .op = ENGINE_SEAL, .size = ENGINE_SLOT_SIZE };
		static struct bytes plain[20];

		for (uint32_t s = 0; s < 20; s++) {
			assert_int_equal(get_slot(e), s);
			set_key(e, s, CIPHER_AES_256_GCM);
			fill_random(engine_slot_data(e, s), 5000);
			memcpy(&plain[s], engine_slot_data(e, s), sizeof(plain[s]));
			assert_int_equal(engine_submit(e, s, &b), 0);
		}
		b.op = ENGINE_OPEN;
		for (uint32_t s = 0; s < 20; s++) {
			assert_int_equal(engine_wait(e, s), 0);
			assert_memory_not_equal(engine_slot_data(e, s), plain[s].b, 4096);
			assert_int_equal(engine_run(e, s, &b), 0);
			assert_memory_equal(engine_slot_data(e, s), plain[s].b, ENGINE_SLOT_SIZE);
		}
		engine_stop(e);
	}
}

static void a_slot_has_one_batch_at_a_time(void **state)
{
	struct engine *e = start_engine(0, false, 1);
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 4096 };
	uint32_t slot = get_slot(e);

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_submit(e, slot, &b), -EINVAL);
	assert_int_equal(engine_wait(e, slot), 0);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_wait(e, slot), 0);
	engine_stop(e);
}

/* Block i of a sealed batch is as expected, tag and all. */
static void assert_sealed(struct engine *e, uint32_t slot, const struct engine_batch *b, uint32_t i,
			  const struct bytes *sealed, uint8_t (*tags)[16])
{
	const struct engine_record *r = engine_slot_records(e, slot) + b->first_record + i;
	uint32_t start = i * ENGINE_BLOCK_SIZE;
	uint32_t left = b->size - start;

	assert_int_equal(r->status, ENGINE_DONE);
	assert_memory_equal(r->tag, tags[i], 16);
	assert_memory_equal(engine_slot_data(e, slot) + b->offset + start,
			    sealed->b + b->offset + start,
			    left < ENGINE_BLOCK_SIZE ? left : ENGINE_BLOCK_SIZE);
}

/* Seal a batch and use it in steps of so many blocks, as soon as these are done. */
static void check_in_steps(struct engine *e, uint32_t slot, const struct engine_batch *b,
			   uint32_t step)
{
	static struct bytes sealed;
	static uint8_t tags[ENGINE_SLOT_BLOCKS][16];
	uint32_t blocks = task_blocks(b->size);

	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	memcpy(&sealed, engine_slot_data(e, slot), sizeof(sealed));
	expect(b, CIPHER_AES_256_GCM, engine_slot_records(e, slot), sealed.b, tags);
	assert_int_equal(engine_submit(e, slot, b), 0);
	for (uint32_t from = 0; from < blocks; from += step) {
		uint32_t to = blocks - from < step ? blocks : from + step;

		assert_int_equal(engine_wait_first(e, slot, to), 0);
		for (uint32_t i = from; i < to; i++)
			assert_sealed(e, slot, b, i, &sealed, tags);
	}
	assert_int_equal(engine_wait(e, slot), 0);
	assert_memory_equal(engine_slot_data(e, slot), sealed.b, sizeof(sealed));
}

static const struct {
	int workers;
	bool strict;
} ways[] = { { 0, false }, { 1, false }, { 1, true }, { 2, true }, { ENGINE_WORKERS_AUTO, false } };
enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

static void the_first_blocks_can_be_used_before_the_rest(void **state)
{
	static const uint32_t steps[] = { 1, 31, 32, 33, 64, 100, ENGINE_SLOT_BLOCKS };
	static const struct engine_batch batches[] = {
		{ .op = ENGINE_SEAL, .size = ENGINE_SLOT_SIZE },
		{ .op = ENGINE_SEAL, .offset = 4016, .size = 500001, .first_record = 3 },
		{ .op = ENGINE_SEAL, .offset = 1, .size = 100 },
	};

	(void)state;
	for (int w = 0; w < N_WAYS; w++) {
		struct engine *e = start_engine(ways[w].workers, ways[w].strict, 1);
		uint32_t slot = get_slot(e);

		e->pace.wake_ns = 1; /* always worth it */
		for (int b = 0; b < 3; b++)
			for (int i = 0; i < 7; i++)
				check_in_steps(e, slot, &batches[b], steps[i]);
		assert_true(!ways[w].strict || !counters_of(e).tasks_inline);
		engine_stop(e);
	}
}

static void no_more_than_asked_for_is_done_first(void **state)
{
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 100 * ENGINE_BLOCK_SIZE };
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);
	struct engine_record *records = engine_slot_records(e, slot);

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_wait_first(e, slot, 0), 0);
	assert_int_equal(records[0].status, ENGINE_PENDING);
	assert_int_equal(engine_wait_first(e, slot, 1), 0);
	assert_int_equal(records[31].status, ENGINE_DONE); /* one task */
	assert_int_equal(records[32].status, ENGINE_PENDING);
	assert_int_equal(engine_wait_first(e, slot, 33), 0);
	assert_int_equal(engine_wait_first(e, slot, 5), 0); /* again, of what is done */
	assert_int_equal(records[63].status, ENGINE_DONE);
	assert_int_equal(records[64].status, ENGINE_PENDING);
	assert_int_equal(engine_wait_first(e, slot, 100), 0);
	assert_int_equal(records[99].status, ENGINE_DONE);
	assert_int_equal(engine_wait(e, slot), 0);
	assert_int_equal(counters_of(e).tasks_inline, 4);
	engine_stop(e);
}

static void more_blocks_than_there_are_cannot_be_waited_for(void **state)
{
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 40 * ENGINE_BLOCK_SIZE + 1 };
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	assert_int_equal(engine_wait_first(e, slot, 0), -EINVAL); /* nothing is in flight */
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_wait_first(e, slot, 42), -EINVAL);
	assert_int_equal(engine_wait_first(e, slot, UINT32_MAX), -EINVAL);
	assert_int_equal(engine_wait_first(e, 1, 1), -EINVAL);
	assert_int_equal(engine_wait_first(e, UINT32_MAX, 1), -EINVAL);
	assert_int_equal(engine_wait_first(e, slot, 41), 0);
	assert_int_equal(engine_wait(e, slot), 0);
	assert_int_equal(engine_wait_first(e, slot, 1), -EINVAL);
	engine_stop(e);
}

/* Open 100 blocks of which block 40 was spoilt: it is among the first 41 only. */
static void check_spoilt_in_steps(struct engine *e, uint32_t slot)
{
	struct engine_batch b = { .op = ENGINE_SEAL, .size = 100 * ENGINE_BLOCK_SIZE };
	struct engine_record *records = engine_slot_records(e, slot);

	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	assert_int_equal(engine_run(e, slot, &b), 0);
	engine_slot_data(e, slot)[40 * ENGINE_BLOCK_SIZE] ^= 1;
	b.op = ENGINE_OPEN;
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_wait_first(e, slot, 40), 0);
	assert_int_equal(engine_wait_first(e, slot, 41), -EIO);
	assert_int_equal(engine_wait_first(e, slot, 100), -EIO);
	assert_int_equal(engine_wait_first(e, slot, 40), 0);
	assert_int_equal(engine_wait(e, slot), ENGINE_DAMAGED);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(records[i].status, i == 40 ? ENGINE_FORGED : ENGINE_DONE);
}

/* No block can be sealed with a key of another kind. */
static void check_failed_in_steps(struct engine *e, uint32_t slot)
{
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 100 * ENGINE_BLOCK_SIZE };

	set_key(e, slot, CIPHER_XOR);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	assert_int_equal(engine_wait_first(e, slot, 0), 0);
	assert_int_equal(engine_wait_first(e, slot, 1), -EIO);
	assert_int_equal(engine_wait(e, slot), -EIO);
}

static void a_bad_block_among_the_first_is_told_and_the_slot_lives_on(void **state)
{
	(void)state;
	for (int w = 0; w < N_WAYS; w++) {
		struct engine *e = start_engine(ways[w].workers, ways[w].strict, 1);
		uint32_t slot = get_slot(e);

		e->pace.wake_ns = 1;
		for (int i = 0; i < 5; i++) {
			check_spoilt_in_steps(e, slot);
			check_failed_in_steps(e, slot);
			check_round_trip(e, slot, CIPHER_AES_256_GCM,
					 (struct engine_batch){ .size = 500000 });
		}
		engine_stop(e);
	}
}

static const struct task nonsense[] = {
	{ .type = 0, .size = 4096 },
	{ .type = 77, .size = 4096 },
	{ .type = TASK_SEAL, .slot = 64, .key = 64, .size = 4096 },
	{ .type = TASK_SEAL, .slot = UINT32_MAX, .key = UINT32_MAX, .size = 4096 },
	{ .type = TASK_SEAL, .slot = 0, .key = 1, .size = 4096 },
	{ .type = TASK_OPEN, .size = 0 },
	{ .type = TASK_OPEN, .size = UINT32_MAX },
	{ .type = TASK_XOR, .offset = ENGINE_SLOT_SIZE, .size = 1 },
	{ .type = TASK_XOR, .offset = UINT32_MAX, .size = 2 },
	{ .type = TASK_SEAL, .size = (ENGINE_RANGE_BLOCKS + 1) * ENGINE_BLOCK_SIZE },
	{ .type = TASK_SEAL, .size = 4096, .first_record = ENGINE_SLOT_BLOCKS },
	{ .type = TASK_SEAL, .size = 8192, .first_record = UINT32_MAX },
};
enum { N_NONSENSE = sizeof(nonsense) / sizeof(nonsense[0]) };

static void nonsense_on_the_queue_harms_no_worker(void **state)
{
	struct engine *e = start_engine(1, true, 2);
	uint32_t slot = get_slot(e);
	struct queue_ref ref;

	(void)state;
	for (size_t i = 0; i < N_NONSENSE; i++)
		assert_int_equal(queue_put(&e->arena.shm->queue, &nonsense[i], &ref), 0);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, (struct engine_batch){ .size = 200000 });
	WAIT_UNTIL(queue_is_done(&e->arena.shm->queue, ref));
	/* It may have done all that before the supervisor heard of it. */
	WAIT_UNTIL(counters_of(e).workers_started == 1);
	assert_int_equal(counters_of(e).workers_died, 0);
	engine_stop(e);
}

static void nonsense_on_the_queue_harms_no_thread(void **state)
{
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);
	struct queue_ref ref;

	(void)state;
	for (size_t i = 0; i < QUEUE_SIZE; i++)
		assert_int_equal(queue_put(&e->arena.shm->queue, &nonsense[i % N_NONSENSE], &ref),
				 0);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, (struct engine_batch){ .size = 200000 });
	engine_stop(e);
}

/* Take the one task of slot 0's batch as a worker would, after spoiling it. */
static void take_spoilt(struct engine *e, void (*spoil)(struct task *))
{
	const struct queue_owner owner = { .index = 1 };
	struct queue_ref ref;
	struct task t;

	assert_int_equal(queue_take(&e->arena.shm->queue, owner, &ref, &t), 0);
	spoil(&t);
	batch_do_task(&e->arena, owner, ref, &t, NULL);
}

static void make_nonsense(struct task *t)
{
	t->size = UINT32_MAX;
}

static void make_short(struct task *t)
{
	t->size -= ENGINE_BLOCK_SIZE;
}

static void blocks_that_nobody_did_are_failures_and_wiped(void **state)
{
	static const uint8_t zeros[2 * ENGINE_BLOCK_SIZE];
	const struct engine_batch b = { .op = ENGINE_OPEN, .size = sizeof(zeros) };
	struct engine *e = start_engine(0, false, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	take_spoilt(e, make_nonsense);
	assert_int_equal(engine_wait(e, slot), -EIO);
	assert_memory_equal(engine_slot_data(e, slot), zeros, sizeof(zeros));
	assert_int_equal(engine_slot_records(e, slot)[0].status, ENGINE_FAILED);
	assert_int_equal(engine_slot_records(e, slot)[1].status, ENGINE_FAILED);

	fill_slot(e, slot);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	take_spoilt(e, make_short);
	engine_slot_records(e, slot)[0].status = 4711; /* nor is this an answer */
	assert_int_equal(engine_wait(e, slot), -EIO);
	assert_memory_equal(engine_slot_data(e, slot), zeros, sizeof(zeros));
	engine_stop(e);
}

static void unsound_options_are_refused(void **state)
{
	static const struct engine_options bad[] = {
		{ .workers = 0, .slots = 0 },
		{ .workers = 0, .slots = ENGINE_MAX_SLOTS + 1 },
		{ .workers = -2, .slots = 1 },
		{ .workers = ENGINE_MAX_WORKERS + 1, .slots = 1 },
		{ .workers = 2, .elastic = true, .min_workers = 3, .slots = 1 },
	};
	struct engine *e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(engine_start(&bad[i], &e), -EINVAL);
		assert_null(e);
	}
	engine_stop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_shapes_come_out_right_without_workers),
		cmocka_unit_test(all_shapes_come_out_right_with_one_worker_and_two),
		cmocka_unit_test(strict_workers_do_every_task),
		cmocka_unit_test(what_was_measured_is_told),
		cmocka_unit_test(strict_without_a_supervisor_does_the_work_itself),
		cmocka_unit_test(workers_are_forked_by_the_first_batch_that_pays),
		cmocka_unit_test(nobody_is_called_for_the_only_task),
		cmocka_unit_test(nobody_is_called_for_a_processor_that_is_occupied),
		cmocka_unit_test(idle_workers_end_and_come_back),
		cmocka_unit_test(at_rest_there_are_no_workers_and_work_goes_on),
		cmocka_unit_test(the_fewest_come_at_once_and_stay),
		cmocka_unit_test(a_forged_block_is_wiped_and_the_others_are_fine),
		cmocka_unit_test(a_block_opens_only_at_its_index),
		cmocka_unit_test(blocks_to_skip_are_left_alone),
		cmocka_unit_test(a_batch_that_does_not_fit_is_refused),
		cmocka_unit_test(the_wrong_kind_of_key_is_an_error_and_gives_no_bytes),
		cmocka_unit_test(slots_are_given_once_and_come_back_wiped),
		cmocka_unit_test(a_full_queue_only_slows_down),
		cmocka_unit_test(a_slot_has_one_batch_at_a_time),
		cmocka_unit_test(the_first_blocks_can_be_used_before_the_rest),
		cmocka_unit_test(no_more_than_asked_for_is_done_first),
		cmocka_unit_test(more_blocks_than_there_are_cannot_be_waited_for),
		cmocka_unit_test(a_bad_block_among_the_first_is_told_and_the_slot_lives_on),
		cmocka_unit_test(nonsense_on_the_queue_harms_no_worker),
		cmocka_unit_test(nonsense_on_the_queue_harms_no_thread),
		cmocka_unit_test(blocks_that_nobody_did_are_failures_and_wiped),
		cmocka_unit_test(unsound_options_are_refused),
	};

	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
