/* SPDX-License-Identifier: MIT */
/*
 * support - for tests of the engine: start one, run a batch and compare it,
 * block by block, with what the cipher says by itself.
 */
#ifndef TESTS_ENGINE_SUPPORT_H
#define TESTS_ENGINE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "engine/engine_impl.h"

/* Wait (long, if need be) until a condition holds. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		for (int tries_ = 0; tries_ < 20000 && !(condition); tries_++)                     \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                 \
		assert_true(condition);                                                            \
	} while (0)

static const uint8_t test_secret[CIPHER_KEY_SIZE] = "a key for tests, known to all!!";

struct bytes {
	uint8_t b[ENGINE_SLOT_SIZE];
};

static inline struct engine *start_engine(int workers, bool strict, uint32_t slots)
{
	const struct engine_options o = { .workers = workers, .strict = strict, .slots = slots };
	struct engine *e;

	assert_int_equal(engine_start(&o, &e), 0);
	assert_int_equal(engine_watch(e), 0);
	return e;
}

static inline uint32_t get_slot(struct engine *e)
{
	uint32_t slot;

	assert_int_equal(engine_slot_get(e, &slot), 0);
	return slot;
}

static inline void fill_random(void *data, size_t size)
{
	for (size_t at = 0; at < size; at += 256)
		(void)!getrandom((uint8_t *)data + at, size - at < 256 ? size - at : 256, 0);
}

static inline void set_key(struct engine *e, uint32_t slot, enum cipher_suite suite)
{
	struct cipher_key *key = engine_slot_key(e, slot);

	if (suite == CIPHER_XOR)
		assert_int_equal(cipher_key_set_xor(key, test_secret, sizeof(test_secret)), 0);
	else
		assert_int_equal(cipher_key_set(key, suite, test_secret), 0);
}

/* Random data and, for every block, a random nonce, sequence and stale status. */
static inline void fill_slot(struct engine *e, uint32_t slot)
{
	struct engine_record *records = engine_slot_records(e, slot);

	fill_random(engine_slot_data(e, slot), ENGINE_SLOT_SIZE);
	fill_random(records, ENGINE_SLOT_BLOCKS * sizeof(*records));
	for (size_t i = 0; i < ENGINE_SLOT_BLOCKS; i++)
		records[i].status = i % 2 ? ENGINE_FORGED : ENGINE_DONE;
}

static inline void make_block_aad(uint64_t index, uint32_t sequence, enum cipher_suite suite,
				  uint8_t aad[16])
{
	bytes_put64(aad, index);
	bytes_put32(aad + 8, sequence);
	aad[12] = (uint8_t)suite;
	aad[13] = 0;
	aad[14] = 1; /* format version */
	aad[15] = 0;
}

/* What sealing (or XORing) batch must make of data; tags go to tags. */
static inline void expect(const struct engine_batch *batch, enum cipher_suite suite,
			  const struct engine_record *records, uint8_t *data, uint8_t (*tags)[16])
{
	static struct cipher_key key;
	uint8_t aad[16];

	if (suite == CIPHER_XOR) {
		cipher_key_set_xor(&key, test_secret, sizeof(test_secret));
		cipher_xor(&key, batch->position, data + batch->offset, batch->size);
		return;
	}
	cipher_key_set(&key, suite, test_secret);
	for (uint32_t i = 0; i * ENGINE_BLOCK_SIZE < batch->size; i++) {
		const struct engine_record *r = &records[batch->first_record + i];
		uint32_t left = batch->size - i * ENGINE_BLOCK_SIZE;

		make_block_aad(batch->position + i, r->sequence, suite, aad);
		cipher_seal(&key, r->nonce, aad, 16, data + batch->offset + i * ENGINE_BLOCK_SIZE,
			    left < ENGINE_BLOCK_SIZE ? left : ENGINE_BLOCK_SIZE, tags[i]);
	}
}

/*
 * Seal this part of a slot of random bytes and open it again (XOR it twice):
 * both times every byte of the slot and every tag must be right.
 */
static inline void check_round_trip(struct engine *e, uint32_t slot, enum cipher_suite suite,
				    struct engine_batch batch)
{
	static struct bytes plain, sealed;
	static uint8_t tags[ENGINE_SLOT_BLOCKS][16];
	struct engine_record *records = engine_slot_records(e, slot);
	uint32_t blocks = (batch.size + ENGINE_BLOCK_SIZE - 1) / ENGINE_BLOCK_SIZE;

	set_key(e, slot, suite);
	fill_slot(e, slot);
	memcpy(&plain, engine_slot_data(e, slot), sizeof(plain));
	sealed = plain;
	batch.op = suite == CIPHER_XOR ? ENGINE_XOR : ENGINE_SEAL;
	expect(&batch, suite, records, sealed.b, tags);

	assert_int_equal(engine_run(e, slot, &batch), 0);
	assert_memory_equal(engine_slot_data(e, slot), sealed.b, sizeof(sealed));
	for (uint32_t i = 0; i < blocks; i++) {
		assert_int_equal(records[batch.first_record + i].status, ENGINE_DONE);
		if (suite != CIPHER_XOR)
			assert_memory_equal(records[batch.first_record + i].tag, tags[i], 16);
	}
	batch.op = suite == CIPHER_XOR ? ENGINE_XOR : ENGINE_OPEN;
	assert_int_equal(engine_run(e, slot, &batch), 0);
	assert_memory_equal(engine_slot_data(e, slot), plain.b, sizeof(plain));
}

static inline struct engine_counters counters_of(struct engine *e)
{
	struct engine_counters c;

	engine_counters(e, &c);
	return c;
}

#endif /* TESTS_ENGINE_SUPPORT_H */
