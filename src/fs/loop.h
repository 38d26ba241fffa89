/* SPDX-License-Identifier: MIT */
/*
 * loop - the threads that receive requests and serve them.  Each thread has a
 * slot of the engine and receives into it such that the payload of a WRITE
 * begins on a page: it is encrypted where the kernel put it.  (libfuse's own
 * multi-threaded loop receives into a buffer of its own.)
 */
#ifndef FS_LOOP_H
#define FS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/ops.h"

struct loop;

/*
 * Start as many threads as the device's crew has on a mounted session; the
 * caller has blocked the signals it waits for.  When a thread finds the
 * session over, it sends done_signal to the calling thread.  0 or -errno.
 */
int loop_start(struct fuse_session *se, struct device *device, const struct store *store,
	       int done_signal, struct loop **out);

/*
 * To be called about once a second: lets idle threads wipe their slots, and
 * has another thread read when every reader hangs in a request.
 */
void loop_tick(struct loop *l);

/*
 * True if no thread serves a request that it began before this call.  What is
 * read afterwards may be served, unless the park is closed.
 */
bool loop_is_quiet(const struct loop *l);

/*
 * Have every thread wipe its slot, keys and stack, and wait until all have, or
 * for ten seconds: 0 or -ETIMEDOUT.
 */
int loop_forget(struct loop *l);

/* The park was opened: have what waits there served, by as many threads as can. */
void loop_resume(struct loop *l);

/*
 * End the session if it is not over, once every request that a thread has
 * received is served; wait for all threads, free.  NULL is fine.
 */
void loop_stop(struct loop *l);

#endif /* FS_LOOP_H */
