/* SPDX-License-Identifier: MIT */
/*
 * zygote - the small process, forked before the mount process has secrets,
 * threads or /dev/fuse, that forks the workers.  It answers requests on a
 * socket and ends when that is closed, after killing and reaping its workers.
 *
 * Messages are whole datagrams of fixed size in both directions.
 */
#ifndef ENGINE_ZYGOTE_H
#define ENGINE_ZYGOTE_H

#include <stdint.h>
#include <sys/types.h>

#include "engine/shm.h"

enum zygote_event {
	ZYGOTE_STARTED = 1, /* value: pid; a pidfd comes with it */
	ZYGOTE_FAILED,	    /* value: errno of fork */
	ZYGOTE_ENDED,	    /* value: status of wait(2); after the fact */
};

/* To the zygote: start this worker. */
struct zygote_request {
	uint32_t index;
	uint32_t generation;
};

/* From the zygote. */
struct zygote_report {
	uint32_t event; /* enum zygote_event */
	uint32_t index;
	uint32_t generation;
	int32_t value;
};

/* A running zygote, as the mount process sees it. */
struct zygote {
	pid_t pid;
	int pidfd;
	int socket; /* SOCK_SEQPACKET; readable when there is a report */
};

/*
 * Fork it: 0 or -errno.  The arena is borrowed for ever (by the child).
 * spin_us as in struct engine_options.
 */
int zygote_start(const struct arena *a, uint32_t spin_us, struct zygote *z);

/* Ask for a worker: 0 or -errno. */
int zygote_request(const struct zygote *z, uint32_t index, uint32_t generation);

/*
 * The next report, without waiting: 0, -EAGAIN, or another -errno (-EPIPE when
 * the zygote is gone).  *pidfd is the caller's to close, or -1.
 */
int zygote_receive(const struct zygote *z, struct zygote_report *report, int *pidfd);

/* Let it end, by force if it does not in time, and reap it. */
void zygote_stop(struct zygote *z);

#endif /* ENGINE_ZYGOTE_H */
