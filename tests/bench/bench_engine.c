/* SPDX-License-Identifier: MIT */
/*
 * What the queue costs: the cipher alone against the same bytes by way of the
 * engine, and the hand-off alone.  Prints a table; asserts nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_impl.h"

enum { MEASURE_MS = 300 };

static const uint32_t sizes[] = { 4096, 128 << 10, 1 << 20 };
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static const uint8_t secret[CIPHER_KEY_SIZE] = { 1, 2, 3 };

static void fail(const char *what)
{
	fprintf(stderr, "bench_engine: %s\n", what);
	exit(1);
}

/* GB/s of the cipher itself, block by block in one buffer. */
static double raw(uint32_t size)
{
	static uint8_t data[1 << 20];
	uint8_t nonce[CIPHER_NONCE_SIZE] = { 0 };
	uint8_t tag[CIPHER_TAG_SIZE];
	static struct cipher_key key;
	uint64_t start = sync_now_ns();
	uint64_t bytes = 0;

	cipher_key_set(&key, CIPHER_AES_256_GCM, secret);
	while (sync_now_ns() - start < MEASURE_MS * 1000000ULL) {
		for (uint32_t at = 0; at < size; at += ENGINE_BLOCK_SIZE)
			cipher_seal(&key, nonce, nonce, 12, data + at, ENGINE_BLOCK_SIZE, tag);
		bytes += size;
	}
	return (double)bytes / (double)(sync_now_ns() - start);
}

static double through(struct engine *e, uint32_t slot, uint32_t size)
{
	const struct engine_batch batch = { .op = ENGINE_SEAL, .size = size };
	uint64_t start = sync_now_ns();
	uint64_t bytes = 0;

	while (sync_now_ns() - start < MEASURE_MS * 1000000ULL) {
		if (engine_run(e, slot, &batch))
			fail("a batch failed");
		bytes += size;
	}
	return (double)bytes / (double)(sync_now_ns() - start);
}

static struct engine *start(int workers, bool strict, uint32_t *slot)
{
	const struct engine_options o = { .workers = workers, .strict = strict, .slots = 4 };
	struct engine *e;

	if (engine_start(&o, &e) || engine_watch(e) || engine_slot_get(e, slot))
		fail("the engine did not start");
	cipher_key_set(engine_slot_key(e, *slot), CIPHER_AES_256_GCM, secret);
	return e;
}

static void print_through(const char *name, int workers, bool strict)
{
	struct engine_counters c;
	uint32_t slot;
	struct engine *e = start(workers, strict, &slot);

	printf("%-22s", name);
	through(e, slot, sizes[N_SIZES - 1]); /* workers are up after this */
	for (size_t i = 0; i < N_SIZES; i++)
		printf(" %8.2f", through(e, slot, sizes[i]));
	engine_counters(e, &c);
	printf("   inline %.0f %%\n",
	       100.0 * (double)c.tasks_inline / (double)(c.tasks_inline + c.tasks_workers));
	engine_slot_put(e, slot);
	engine_stop(e);
}

/* Nanoseconds a batch of blocks takes when every block is left alone. */
static double hand_off_ns(struct engine *e, uint32_t slot, uint32_t size)
{
	const struct engine_batch batch = { .op = ENGINE_SEAL, .size = size };
	struct engine_record *records = engine_slot_records(e, slot);
	uint64_t start;
	uint64_t n = 0;

	for (size_t i = 0; i < ENGINE_SLOT_BLOCKS; i++)
		records[i].status = ENGINE_SKIP;
	start = sync_now_ns();
	while (sync_now_ns() - start < MEASURE_MS * 1000000ULL) {
		for (int i = 0; i < 100; i++, n++)
			if (engine_run(e, slot, &batch))
				fail("a batch failed");
	}
	return (double)(sync_now_ns() - start) / (double)n;
}

static void print_hand_off(void)
{
	uint32_t slot;
	struct engine *e = start(0, false, &slot);
	double one = hand_off_ns(e, slot, 4096);
	double eight = hand_off_ns(e, slot, 1 << 20);

	printf("hand-off, no cipher: %.0f ns for 1 block in 1 task, %.0f ns for 256 in 8\n", one,
	       eight);
	engine_slot_put(e, slot);
	engine_stop(e);
}

int main(void)
{
	struct engine_pace p;
	uint32_t slot;
	struct engine *e = start(ENGINE_WORKERS_AUTO, false, &slot);

	engine_pace(e, CIPHER_AES_256_GCM, &p);
	printf("%s, waking %u us, inline below %u bytes\n",
	       cipher_implementation(CIPHER_AES_256_GCM), p.wake_ns / 1000, p.inline_max_size);
	engine_slot_put(e, slot);
	engine_stop(e);

	printf("%-22s %8s %8s %8s   GB/s\n", "aes-256-gcm, sealing", "4 KiB", "128 KiB", "1 MiB");
	printf("%-22s", "cipher alone");
	for (size_t i = 0; i < N_SIZES; i++)
		printf(" %8.2f", raw(sizes[i]));
	printf("\n");
	print_through("queue, no workers", 0, false);
	print_through("queue, 1 worker", 1, false);
	print_through("queue, 2 workers", 2, false);
	print_through("queue, 1 strict", 1, true);
	print_through("queue, 2 strict", 2, true);
	print_hand_off();
	return 0;
}
