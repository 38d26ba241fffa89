/* SPDX-License-Identifier: MIT */
/*
 * The engine's speed: see measure.h for the contract.
 *
 * Keys, nonces and data are constants: nothing here is worth protecting.
 * Sealing and opening alternate, so that there is always something to open.
 */
#include "cli/measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/sync.h"

enum {
	AREA = 1024 * 1024, /* bytes that a pass goes over */
	MIN_ROUNDS = 5,
	MAX_ROUNDS = 500,
	AAD_SIZE = 16,
	AT_ONCE = 8, /* batches that the scaling has under way */
	AWAKE_US = 10000,
	HAND_OFFS = 100,
	REST_NS = 300000, /* a worker without work is asleep after that */
	UP_MS = 5000,
	SETTLE_ROUNDS = 3, /* until every worker has found a processor */
};

const uint32_t measure_sizes[MEASURE_SIZES] = { 4096, 64 * 1024, 1024 * 1024 };

static const uint8_t secret[CIPHER_KEY_SIZE] = { 1, 2, 3 };

/* ---- rounds ------------------------------------------------------------ */

struct samples {
	double v[MAX_ROUNDS];
	uint32_t n;
};

static void add(struct samples *s, double v)
{
	s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
	const double *x = a;
	const double *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(struct samples *s)
{
	qsort(s->v, s->n, sizeof(s->v[0]), compare);
	return s->v[s->n / 2];
}

struct clock {
	uint64_t end_ns;
	uint32_t rounds;
};

static struct clock start_clock(uint32_t budget_ms)
{
	return (struct clock){ .end_ns = sync_now_ns() + budget_ms * 1000000ULL };
}

static bool goes_on(struct clock *c)
{
	if (c->rounds == MAX_ROUNDS || (c->rounds >= MIN_ROUNDS && sync_now_ns() > c->end_ns))
		return false;
	c->rounds++;
	return true;
}

static double speed(uint64_t bytes, uint64_t start_ns)
{
	return (double)bytes / (double)(sync_now_ns() - start_ns);
}

/* ---- an engine --------------------------------------------------------- */

static int set_key(struct engine *e, uint32_t slot, enum cipher_suite suite)
{
	struct cipher_key *key = engine_slot_key(e, slot);

	if (suite == CIPHER_XOR)
		return cipher_key_set_xor(key, secret, sizeof(secret));
	return cipher_key_set(key, suite, secret);
}

/* All slots are taken, 0 .. slots - 1, and their memory is there. */
static int start(const struct engine_options *o, struct engine **e)
{
	int r = engine_start(o, e);

	for (uint32_t i = 0; i < o->slots && !r; i++) {
		uint32_t slot;

		r = engine_slot_get(*e, &slot);
		if (!r)
			engine_slot_wipe(*e, slot);
	}
	return r;
}

static enum engine_op sealing(enum cipher_suite suite)
{
	return suite == CIPHER_XOR ? ENGINE_XOR : ENGINE_SEAL;
}

static enum engine_op opening(enum cipher_suite suite)
{
	return suite == CIPHER_XOR ? ENGINE_XOR : ENGINE_OPEN;
}

/* ---- ciphers ----------------------------------------------------------- */

/* One area, as bytes and as a slot. */
struct bench {
	struct engine *engine;
	enum cipher_suite suite;
	uint8_t *data; /* slot 0 */
	struct engine_record *records;
	const struct cipher_key *key;
	uint8_t *copy;
};

static void copy(struct bench *b, uint32_t size)
{
	for (uint32_t at = 0; at < AREA; at += size)
		memcpy(b->copy + at, b->data + at, size);
}

static int crypt_block(struct bench *b, uint32_t at, bool seal)
{
	static const uint8_t aad[AAD_SIZE];
	struct engine_record *r = &b->records[at / ENGINE_BLOCK_SIZE];
	uint8_t *data = b->data + at;

	if (b->suite == CIPHER_XOR) {
		cipher_xor(b->key, at, data, ENGINE_BLOCK_SIZE);
		return 0;
	}
	if (seal)
		return cipher_seal(b->key, r->nonce, aad, AAD_SIZE, data, ENGINE_BLOCK_SIZE,
				   r->tag);
	return cipher_open(b->key, r->nonce, aad, AAD_SIZE, data, ENGINE_BLOCK_SIZE, r->tag);
}

static int crypt_area(struct bench *b, bool seal)
{
	int r = 0;

	for (uint32_t at = 0; at < AREA && !r; at += ENGINE_BLOCK_SIZE)
		r = crypt_block(b, at, seal);
	return r;
}

static int queue(struct bench *b, enum engine_op op, uint32_t size)
{
	struct engine_batch batch = { .op = op, .size = size };
	int r = 0;

	for (uint32_t at = 0; at < AREA && !r; at += size) {
		batch.offset = at;
		batch.first_record = at / ENGINE_BLOCK_SIZE;
		batch.position = op == ENGINE_XOR ? at : batch.first_record;
		r = engine_run(b->engine, 0, &batch);
	}
	return r;
}

static int pass(struct bench *b, enum measure_pass p, uint32_t size)
{
	switch (p) {
	case MEASURE_COPY:
		copy(b, size);
		return 0;
	case MEASURE_SEAL:
		return crypt_area(b, true);
	case MEASURE_OPEN:
		return crypt_area(b, false);
	case MEASURE_QUEUE_SEAL:
		return queue(b, sealing(b->suite), size);
	default:
		return queue(b, opening(b->suite), size);
	}
}

static int measure_size(struct bench *b, uint32_t size, uint32_t budget_ms,
			double result[MEASURE_PASSES])
{
	static struct samples samples[MEASURE_PASSES];
	struct clock c = start_clock(budget_ms);
	int r = 0;

	memset(samples, 0, sizeof(samples));
	while (!r && goes_on(&c)) {
		for (enum measure_pass p = 0; p < MEASURE_PASSES && !r; p++) {
			uint64_t start_ns = sync_now_ns();

			r = pass(b, p, size);
			add(&samples[p], speed(AREA, start_ns));
		}
	}
	for (enum measure_pass p = 0; p < MEASURE_PASSES; p++)
		result[p] = median(&samples[p]);
	return r > 0 ? -EIO : r;
}

/*
 * An engine whose supervisor is not started has no workers: it decides as
 * workers=auto does, and does everything itself.
 */
static int prepare(struct bench *b)
{
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO, .slots = 1 };
	int r = start(&o, &b->engine);

	b->copy = calloc(1, AREA);
	if (!r && !b->copy)
		r = -ENOMEM;
	if (r)
		return r;
	b->data = engine_slot_data(b->engine, 0);
	b->records = engine_slot_records(b->engine, 0);
	b->key = engine_slot_key(b->engine, 0);
	return set_key(b->engine, 0, b->suite);
}

int measure_cipher(enum cipher_suite suite, unsigned int i, uint32_t budget_ms,
		   struct measure_cipher *out)
{
	struct bench b = { .suite = suite };
	struct engine_counters counters;
	int r = cipher_choose(suite, i);

	if (!r)
		r = prepare(&b);
	if (r)
		goto out;
	*out = (struct measure_cipher){ .suite = suite,
					.implementation = cipher_implementation(suite) };
	for (size_t s = 0; s < MEASURE_SIZES && !r; s++)
		r = measure_size(&b, measure_sizes[s], budget_ms / MEASURE_SIZES, out->speed[s]);
	engine_pace(b.engine, suite, &out->pace);
	engine_counters(b.engine, &counters);
	out->workers_max = counters.workers_max;
out:
	engine_stop(b.engine);
	free(b.copy);
	return r;
}

/* ---- handing over ------------------------------------------------------ */

/* Nanoseconds for a batch of size bytes whose blocks are skipped, over and over. */
static int hand_over(struct engine *e, uint32_t size, uint32_t times, double *ns)
{
	const struct engine_batch batch = { .op = ENGINE_SEAL, .size = size };
	uint64_t start_ns = sync_now_ns();
	int r = 0;

	for (uint32_t i = 0; i < times && !r; i++)
		r = engine_run(e, 0, &batch);
	*ns = (double)(sync_now_ns() - start_ns) / times;
	return r;
}

struct hand_over {
	struct engine_options options;
	uint32_t size;
	uint32_t times; /* in a row */
	bool rests;	/* before each row */
};

static int measure_hand_over(const struct hand_over *h, uint32_t budget_ms, double *ns)
{
	static struct samples samples;
	struct engine_record *records;
	struct engine *e;
	struct clock c;
	int r = start(&h->options, &e);

	samples.n = 0;
	*ns = 0;
	if (!r)
		r = set_key(e, 0, cipher_default());
	if (!r)
		r = engine_watch(e);
	if (r)
		goto out;
	records = engine_slot_records(e, 0);
	for (size_t i = 0; i < ENGINE_SLOT_BLOCKS; i++)
		records[i].status = ENGINE_SKIP;
	r = hand_over(e, h->size, 1, ns); /* workers are there after it */
	c = start_clock(budget_ms);
	while (!r && goes_on(&c)) {
		if (h->rests)
			(void)nanosleep(&(struct timespec){ .tv_nsec = REST_NS }, NULL);
		r = hand_over(e, h->size, h->times, ns);
		add(&samples, *ns);
	}
	if (!r)
		*ns = median(&samples);
out:
	engine_stop(e);
	return r;
}

int measure_hand_off(uint32_t budget_ms, struct measure_hand_off *out)
{
	const struct engine_options alone = { .workers = 0, .slots = 1 };
	const struct engine_options asleep = { .workers = 1, .strict = true, .slots = 1 };
	const struct engine_options awake = {
		.workers = 1, .strict = true, .slots = 1, .spin_us = AWAKE_US
	};
	const struct hand_over parts[] = {
		{ alone, ENGINE_BLOCK_SIZE, HAND_OFFS, false },
		{ alone, AREA, HAND_OFFS, false },
		{ asleep, ENGINE_BLOCK_SIZE, 1, true },
		{ awake, ENGINE_BLOCK_SIZE, HAND_OFFS, false },
	};
	enum { N_PARTS = sizeof(parts) / sizeof(parts[0]) };
	bool has_two = sysconf(_SC_NPROCESSORS_ONLN) > 1; /* one cannot look beside the other */
	double ns[N_PARTS] = { 0 };
	int r = 0;

	for (size_t i = 0; i < (has_two ? N_PARTS : N_PARTS - 1) && !r; i++)
		r = measure_hand_over(&parts[i], budget_ms / N_PARTS, &ns[i]);
	*out = (struct measure_hand_off){ ns[0], ns[1], ns[2] / 1000, ns[3] / 1000 };
	return r > 0 ? -EIO : r;
}

/* ---- workers=auto ------------------------------------------------------- */

static int time_batch(struct engine *e, const struct engine_batch *batch, struct samples *s)
{
	uint64_t start_ns = sync_now_ns();
	int r = engine_run(e, 0, batch);

	add(s, (double)(sync_now_ns() - start_ns));
	return r;
}

/* The two take turns; while one works, the other one's workers go to sleep. */
static int measure_step(struct engine *both[2], enum cipher_suite suite, uint32_t size,
			uint32_t budget_ms, double *ratio)
{
	const struct engine_batch batch = { .op = sealing(suite), .size = size };
	static struct samples samples[2];
	struct clock c = start_clock(budget_ms);
	int r = 0;

	samples[0].n = samples[1].n = 0;
	while (!r && goes_on(&c))
		for (size_t i = 0; i < 2 && !r; i++)
			r = time_batch(both[i], &batch, &samples[i]);
	*ratio = median(&samples[1]) / median(&samples[0]);
	return r;
}

static int measure_steps(struct engine *both[2], enum cipher_suite suite, uint32_t budget_ms,
			 double result[MEASURE_STEPS])
{
	int r = 0;

	for (size_t i = 0; i < 2 && !r; i++)
		r = set_key(both[i], 0, suite);
	for (uint32_t i = 0; i < MEASURE_STEPS && !r; i++)
		r = measure_step(both, suite, (uint32_t)ENGINE_BLOCK_SIZE << i,
				 budget_ms / MEASURE_STEPS, &result[i]);
	return r;
}

int measure_auto(uint32_t budget_ms, double result[MEASURE_SUITES][MEASURE_STEPS])
{
	const struct engine_options alone = { .workers = 0, .slots = 1 };
	const struct engine_options automatic = { .workers = ENGINE_WORKERS_AUTO, .slots = 1 };
	struct engine *both[2] = { NULL, NULL };
	int r = start(&alone, &both[0]);

	if (!r)
		r = start(&automatic, &both[1]);
	if (!r)
		r = engine_watch(both[1]);
	for (size_t i = 0; i < MEASURE_SUITES && !r; i++)
		r = measure_steps(both, (enum cipher_suite)(i + 1), budget_ms / MEASURE_SUITES,
				  result[i]);
	engine_stop(both[1]);
	engine_stop(both[0]);
	return r > 0 ? -EIO : r;
}

/* ---- workers ----------------------------------------------------------- */

static bool is_up(struct engine *e, uint32_t workers)
{
	struct engine_counters c;

	engine_counters(e, &c);
	return c.workers_alive >= workers;
}

/* Several large batches under way at a time. */
static int run_many(struct engine *e, enum cipher_suite suite)
{
	const struct engine_batch batch = { .op = sealing(suite), .size = AREA };
	uint32_t n = 0;
	int r = 0;

	while (n < AT_ONCE && !r) {
		r = engine_submit(e, n, &batch);
		n += !r;
	}
	while (n--) {
		int w = engine_wait(e, n);

		r = r ? r : w;
	}
	return r;
}

/* Every worker that can be there is there, or has had its time. */
static int warm_up(struct engine *e, uint32_t workers)
{
	uint64_t end_ns = sync_now_ns() + UP_MS * 1000000ULL;
	int r = engine_watch(e);

	for (uint32_t i = 0; i < AT_ONCE && !r; i++)
		r = set_key(e, i, CIPHER_XOR);
	do {
		if (!r)
			r = run_many(e, CIPHER_XOR);
	} while (!r && !is_up(e, workers) && sync_now_ns() < end_ns);
	return r;
}

static int measure_suite(struct engine *e, enum cipher_suite suite, uint32_t budget_ms,
			 double *result)
{
	static struct samples samples;
	struct clock c;
	int r = 0;

	samples.n = 0;
	for (uint32_t i = 0; i < AT_ONCE && !r; i++)
		r = set_key(e, i, suite);
	for (uint32_t i = 0; i < SETTLE_ROUNDS && !r; i++)
		r = run_many(e, suite);
	c = start_clock(budget_ms);
	while (!r && goes_on(&c)) {
		uint64_t start_ns = sync_now_ns();

		r = run_many(e, suite);
		add(&samples, speed((uint64_t)AT_ONCE * AREA, start_ns));
	}
	if (!r)
		*result = median(&samples);
	return r;
}

int measure_workers(const struct measure_workers *how, uint32_t budget_ms,
		    double result[MEASURE_SUITES])
{
	const struct engine_options o = { .workers = (int)how->workers,
					  .strict = how->strict,
					  .slots = AT_ONCE };
	struct engine *e;
	int r = start(&o, &e);

	if (!r)
		r = warm_up(e, how->workers);
	for (size_t i = 0; i < MEASURE_SUITES && !r; i++)
		r = measure_suite(e, (enum cipher_suite)(i + 1), budget_ms / MEASURE_SUITES,
				  &result[i]);
	engine_stop(e);
	return r > 0 ? -EIO : r;
}
