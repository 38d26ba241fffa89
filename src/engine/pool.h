/* SPDX-License-Identifier: MIT */
/*
 * pool - how many workers there are, and their supervisor: a thread of the
 * mount process that has them started, notices every death, has the damage
 * repaired, replaces the dead, and ends those that are idle.
 *
 * Deaths are seen through pidfds, which become readable when a process is
 * gone for certain.  A worker that does not move is killed: one that holds a
 * task for POOL_STUCK_MS, and, where only workers work, one that is idle that
 * long beside a waiting task.
 */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/idle.h"
#include "engine/shm.h"
#include "engine/zygote.h"

enum {
	POOL_STUCK_MS = 2000,
	POOL_START_MS = 10000, /* a worker (or zygote) that does not start one by then is killed */
	POOL_RETRY_MS = 10000, /* after fork() failed, ask for no more so long */
	POOL_REST_MS = 10000,  /* how long pool_rest waits */
	POOL_IDLE_MS = 30000,  /* default of pool_options.idle_ms */
};

struct pool_options {
	uint32_t max;	  /* workers, 0..ENGINE_MAX_WORKERS */
	uint32_t min;	  /* of them stay even if they are idle */
	uint32_t at_once; /* more than these come only while processors are idle */
	bool fixed;	  /* as many as were ever wanted; do not grow or shrink */
	bool strict;	  /* only workers work */
	uint32_t idle_ms; /* without a wake for so long, workers end (not if fixed) */
	uint32_t spin_us; /* as in struct engine_options */
};

/* What the supervisor knows of one worker. */
struct pool_member {
	bool asked; /* requested or running */
	int pidfd;  /* -1 until it is reported */
	uint32_t generation;
	uint64_t since_ns; /* asked for, or seen with this task first */
	uint32_t ticket;   /* of the task that it was seen with */
	bool has_task;
};

struct pool {
	const struct arena *arena;
	struct pool_options options;
	struct zygote zygote;
	pthread_t thread;
	bool watched;
	int kick; /* eventfd: look at the target again */
	atomic_bool stopping;
	atomic_int resting; /* enum pool_rest: all are to end */
	atomic_bool usable; /* workers can be started, as far as is known */

	_Atomic uint32_t target;
	_Atomic uint32_t limit; /* below max after fork() failed */
	_Atomic uint32_t alive;
	_Atomic uint64_t wakes;
	_Atomic uint64_t started;
	_Atomic uint64_t died;
	_Atomic uint64_t repaired;

	/* The supervisor's own. */
	struct pool_member members[ENGINE_MAX_WORKERS];
	bool complained;
	uint64_t retry_ns; /* when to try fork() again */
	uint64_t last_wake_ns;
	uint64_t seen_wakes;
	bool active; /* there was work at the last look */
	struct idle processors;
	uint32_t long_ticks; /* how often in a row the queue was long */
	uint32_t oldest;     /* ticket of the oldest waiting task, and since when */
	uint64_t oldest_ns;
	bool has_oldest;
};

/*
 * Fork the zygote (unless max is 0): 0 or -errno.  If fork() fails that is
 * said in one line, and the pool stays empty.  One thread only.
 */
int pool_start(struct pool *p, const struct arena *a, const struct pool_options *options);

/* Start the supervisor; without it no worker is ever started.  0 or -errno. */
int pool_watch(struct pool *p);

/* Close the queue, end and reap everyone.  No task may be waiting. */
void pool_stop(struct pool *p);

/* Have at least n workers (never more than max).  Any thread; cheap if there are. */
void pool_want(struct pool *p, uint32_t n);

/*
 * End every worker, so that nothing of what they worked on is left in memory of
 * theirs; new ones come when they are wanted.  No task may be waiting.  0, or
 * -ETIMEDOUT when some do not end.
 */
int pool_rest(struct pool *p);

/* True if a worker will take a task without anybody's help, sooner or later. */
bool pool_can_work(struct pool *p);

/* Wake up to n parked workers; call after the tasks were put. */
void pool_wake(struct pool *p, uint32_t n);

#endif /* ENGINE_POOL_H */
