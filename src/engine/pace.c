/* SPDX-License-Identifier: MIT */
/* What things cost: see pace.h for the contract. */
#include "engine/pace.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/secmem.h"
#include "engine/sync.h"

enum {
	ROUNDS = 32,	  /* of waking */
	PAUSE_NS = 20000, /* before each: the other one goes to sleep */
	PIECE = 4096,
	PIECES = 16,
	N_SUITES = 4,
	MAX_WAKE_NS = 1000000, /* a machine that was busy just then */
	MIN_WAKE_NS = 3000,    /* no sleeper on another CPU runs sooner */
};

/* Two semaphores to play ping-pong with. */
struct table {
	struct sync_sem ping;
	struct sync_sem pong;
	uint64_t awake_ns; /* when the ping was heard; read after the pong */
};

static void *play(void *arg)
{
	struct table *t = arg;

	for (int i = 0; i < ROUNDS; i++) {
		sync_sem_wait(&t->ping);
		t->awake_ns = sync_now_ns();
		sync_sem_post(&t->pong);
	}
	return NULL;
}

static void sort(uint64_t *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && v[j - 1] > v[j]; j--) {
			uint64_t larger = v[j - 1];

			v[j - 1] = v[j];
			v[j] = larger;
		}
}

/*
 * Two players on one CPU wake each other cheaply, but cannot work at the same
 * time: keep this thread on its CPU and the other off it, where there are more.
 */
static void part(pthread_t other, const cpu_set_t *allowed)
{
	int cpu = sched_getcpu();
	cpu_set_t here;
	cpu_set_t elsewhere = *allowed;

	if (cpu < 0 || CPU_COUNT(allowed) < 2 || !CPU_ISSET((size_t)cpu, allowed))
		return;
	CPU_ZERO(&here);
	CPU_SET((size_t)cpu, &here);
	CPU_CLR((size_t)cpu, &elsewhere);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(here), &here);
	(void)pthread_setaffinity_np(other, sizeof(elsewhere), &elsewhere);
}

/*
 * Who is not asleep yet, or on this CPU in spite of all, is woken at no cost:
 * sleep before each post, so that the other one can, too.
 */
static void serve(struct table *t, uint64_t took[ROUNDS])
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t start;

		(void)nanosleep(&pause, NULL);
		start = sync_now_ns();
		sync_sem_post(&t->ping);
		sync_sem_wait(&t->pong);
		took[i] = t->awake_ns - start;
	}
}

/* The median of the upper half: the lower one may be of wakings that were none. */
uint32_t pace_wake_ns(uint64_t *took_ns, size_t n)
{
	uint64_t typical;

	sort(took_ns, n);
	typical = took_ns[n - 1 - (n - 1) / 4];
	if (typical > MAX_WAKE_NS)
		typical = MAX_WAKE_NS;
	return typical < MIN_WAKE_NS ? MIN_WAKE_NS : (uint32_t)typical;
}

static int measure_wake(uint32_t *wake_ns)
{
	uint64_t took[ROUNDS];
	struct table t;
	cpu_set_t allowed;
	pthread_t thread;
	int r = sync_sem_init(&t.ping, 0);

	if (!r)
		r = sync_sem_init(&t.pong, 0);
	if (!r)
		r = -pthread_create(&thread, NULL, play, &t);
	if (r)
		return r;
	if (pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	part(thread, &allowed);
	serve(&t, took);
	(void)pthread_join(thread, NULL);
	if (CPU_COUNT(&allowed))
		(void)pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
	*wake_ns = pace_wake_ns(took, ROUNDS);
	return 0;
}

static int run_piece(const struct cipher_key *key, uint8_t *data)
{
	static const uint8_t nonce[CIPHER_NONCE_SIZE];
	uint8_t tag[CIPHER_TAG_SIZE];

	if (key->suite == CIPHER_XOR) {
		cipher_xor(key, 0, data, PIECE);
		return 0;
	}
	return cipher_seal(key, nonce, nonce, sizeof(nonce), data, PIECE, tag);
}

/* The best of a few: what else runs here only makes it slower. */
static uint32_t measure_kib(const struct cipher_key *key)
{
	uint8_t data[PIECE] = { 0 };
	uint64_t best = UINT32_MAX;

	for (int i = 0; i < PIECES; i++) {
		uint64_t start = sync_now_ns();
		uint64_t took;

		if (run_piece(key, data))
			return 1000;
		took = sync_now_ns() - start;
		if (took < best)
			best = took;
	}
	best = best * 1024 / PIECE;
	return best ? (uint32_t)best : 1;
}

int pace_measure(struct pace *p)
{
	static const uint8_t secret[CIPHER_KEY_SIZE];
	static struct cipher_key key; /* see cipher.h on stacks */

	for (uint32_t s = 0; s < N_SUITES; s++) {
		p->kib_ns[s] = 1000;
		if (s == CIPHER_XOR ? cipher_key_set_xor(&key, secret, sizeof(secret))
				    : cipher_key_set(&key, (enum cipher_suite)s, secret))
			continue;
		p->kib_ns[s] = measure_kib(&key);
	}
	return measure_wake(&p->wake_ns);
}

uint32_t pace_kib_ns(const struct pace *p, uint32_t suite)
{
	return p->kib_ns[suite < N_SUITES ? suite : 0];
}

uint32_t pace_workers(const struct pace *p, uint32_t suite, uint32_t size)
{
	uint64_t work_ns = (uint64_t)size * pace_kib_ns(p, suite) / 1024;

	return (uint32_t)(work_ns / (2 * (uint64_t)p->wake_ns));
}

uint32_t pace_threshold(const struct pace *p, uint32_t suite)
{
	uint32_t per_kib = pace_kib_ns(p, suite);
	uint64_t size = ((uint64_t)p->wake_ns * 2 * 1024 + per_kib - 1) / per_kib;

	return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}
