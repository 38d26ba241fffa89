/* SPDX-License-Identifier: MIT */
/*
 * crew - which of the threads that serve a mount reads the next request.
 *
 * Waking a thread on another processor costs more than most requests do, and
 * the kernel wakes one for each request when several wait for it.  So as a
 * rule one thread reads, serves what it read itself, and reads on, while the
 * others sit on a bench.  It calls one of them
 *
 *   - before a request of a kind that took long lately (CREW_SLOW_NS), or
 *     that is not known yet, so that the next request need not wait for it;
 *   - when more than one request waits, CREW_STREAK times in a row, so that as
 *     many threads work as there is work for;
 *
 * and who finds nothing to read goes back to the bench unless it is the last.
 * crew_rescue is for the rest: a request that is known to be quick and hangs.
 * Who is serving such a one is not counted on to read on: others stay.
 *
 * Knows nothing of FUSE: a kind is a small number.
 */
#ifndef FS_CREW_H
#define FS_CREW_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	CREW_KINDS = 64, /* kinds from here on count as one */
	CREW_SLOW_NS = 500 * 1000,
	CREW_STREAK = 3,
};

struct crew {
	sem_t bench;
	uint32_t n; /* threads in all */
	/* Threads that read, or read on when their request is done, or are called. */
	atomic_uint readers;
	atomic_uint serving;		      /* how many of them are serving a request */
	atomic_uint hanging;		      /* how many of these hang, as far as is known */
	_Atomic uint32_t cost_ns[CREW_KINDS]; /* a running mean */
};

/* A crew of n threads, all on the bench, one of them called: 0 or -errno. */
int crew_init(struct crew *c, uint32_t n);

/* When no thread is left. */
void crew_fini(struct crew *c);

/* On the bench: true when called to read, false after a signal. */
bool crew_wait(struct crew *c);

/* Found nothing to read: true if the caller is off, false if it is the last that does not hang. */
bool crew_leave(struct crew *c);

/* One more thread, if there is one on the bench. */
void crew_call(struct crew *c);

/* About to serve a request of this kind; what it returns is for crew_end. */
bool crew_begin(struct crew *c, uint32_t kind);

/* Served in so many nanoseconds; the caller reads on. */
void crew_end(struct crew *c, uint32_t kind, bool away, uint64_t took_ns);

/* If every reader is serving and that does not change (so says the caller): call one. */
void crew_rescue(struct crew *c);

#endif /* FS_CREW_H */
