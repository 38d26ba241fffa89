/* SPDX-License-Identifier: MIT */
/*
 * device - reading requests from /dev/fuse and writing replies to it in
 * libfuse's place: to negotiate what libfuse leaves out (see wire.h), and to
 * look for the next request for a moment before sleeping.
 *
 * Waking a thread on another processor costs more than most requests do.  So
 * one thread at a time reads a second, non-blocking descriptor of the same
 * connection for some microseconds before it blocks like the others; as long
 * as that pays.
 */
#ifndef FS_DEVICE_H
#define FS_DEVICE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/wire.h"

struct device {
	atomic_bool init_replied;
	uint32_t offered;     /* what the kernel can do, from INIT */
	int second_fd;	      /* non-blocking, or -1: do not look ahead */
	atomic_bool looking;  /* a thread is */
	atomic_int credit;    /* looks that may fail before it stops being worth it */
	atomic_uint unlooked; /* reads without a look since */
	/* Only counted, for whoever is curious. */
	atomic_ulong hits;   /* looks that found a request */
	atomic_ulong misses; /* and that did not */
	atomic_ulong requests[WIRE_OPCODES];
};

/*
 * Take over a session's device, after mounting and before the first request;
 * the session's userdata must begin with this struct.  Where the second
 * descriptor is not to be had, or there is one processor only, reads block.
 */
void device_attach(struct device *d, struct fuse_session *se);

/* After the last request. */
void device_detach(struct device *d);

#endif /* FS_DEVICE_H */
