/* SPDX-License-Identifier: MIT */
/*
 * device - reading requests from /dev/fuse and writing replies to it in
 * libfuse's place: to negotiate what libfuse leaves out (see wire.h), and to
 * wait in our own way.
 *
 * The descriptor is non-blocking.  A thread that finds nothing looks again
 * for some microseconds, one thread at a time and only as long as that pays
 * (waking a thread on another processor takes longer than most requests);
 * then it leaves the readers (see crew.h) or, as the last one, sleeps.
 */
#ifndef FS_DEVICE_H
#define FS_DEVICE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/crew.h"
#include "fs/latency.h"
#include "fs/park.h"
#include "fs/wire.h"

enum { DEVICE_MAX_THREADS = 16 };

struct device {
	struct crew crew; /* of the threads that read */
	struct park park; /* requests that wait */
	atomic_bool init_replied;
	uint32_t offered;     /* what the kernel can do, from INIT */
	bool may_look;	      /* more than one processor */
	atomic_bool looking;  /* a thread is */
	atomic_int credit;    /* looks that may fail before it stops being worth it */
	atomic_uint gap_ns;   /* how long a thread that finds nothing waits, a mean */
	atomic_uint unlooked; /* reads without a look since */
	/* Only counted, for whoever is curious. */
	atomic_ulong hits;   /* looks that found a request */
	atomic_ulong misses; /* and that did not */
	atomic_ulong requests[WIRE_OPCODES];
	atomic_ulong opens_kept;    /* the kernel's pages of a file were still true */
	atomic_ulong listings_kept; /* and those of a directory */
	struct latency latency[DEVICE_MAX_THREADS];
};

/*
 * Take over a session's device for n threads (up to DEVICE_MAX_THREADS), after mounting and before
 * the first request; the session's userdata must begin with this struct.  Reading then answers
 * -EAGAIN to a thread that is no reader any more.  0 or -errno.
 */
int device_attach(struct device *d, struct fuse_session *se, uint32_t n);

/*
 * How often the mount was used: requests, but not those that the kernel makes by
 * itself (to forget), nor STATFS, which monitors ask of every mount there is.
 */
uint64_t device_uses(const struct device *d);

/* How often content, a listing or a target was read, which the kernel may keep. */
uint64_t device_reads(const struct device *d);

/* After the last request. */
void device_detach(struct device *d);

#endif /* FS_DEVICE_H */
