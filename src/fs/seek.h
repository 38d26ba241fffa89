/* SPDX-License-Identifier: MIT */
/*
 * seek - answers SEEK_DATA and SEEK_HOLE where the kernel may hold pages of
 * what looks like a hole: somebody has mapped the file and stored there.  The
 * kernel does not write them out before it asks, so it is made to.
 *
 * That waits for WRITEs, which a receiver has to serve: so it is done in a
 * thread that answers no other requests and with nothing locked.
 */
#ifndef FS_SEEK_H
#define FS_SEEK_H

#include "fs/ops.h"

struct seek;

/* What is to be found in the file of ino, which is open. */
struct seek_request {
	fuse_req_t req;
	fuse_ino_t ino;
	struct node *node;
	uint64_t offset;
	bool hole; /* else data */
};

/* Before the first request is served: 0 or -errno. */
int seek_start(const struct ops_context *c, struct seek **out);

/* Answer a request, sooner or later. */
void seek_answer(struct seek *s, const struct seek_request *request);

/* True while it has something to answer, for which requests have to be served. */
bool seek_is_busy(const struct seek *s);

/*
 * End the thread while requests are still served; seek_answer works on, and
 * knows of no holes.  NULL is fine.
 */
void seek_stop(struct seek *s);

/* When no more requests are served.  NULL is fine. */
void seek_free(struct seek *s);

#endif /* FS_SEEK_H */
