/* SPDX-License-Identifier: MIT */
/*
 * trim - keeps the number of nodes down.  The kernel keeps everything it has
 * ever listed until it is short of memory itself, and a node lives as long as
 * the kernel holds it.  So when there are too many, a thread asks the kernel to
 * let go of those that were not asked for lately; what nobody uses comes back
 * as FORGETs, and is looked up again when it is wanted again.
 *
 * What somebody uses stays: open files, directories that are somebody's current
 * one or have something below them in use, and mountpoints.
 */
#ifndef FS_TRIM_H
#define FS_TRIM_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/ops.h"

struct trim;

/*
 * What is to keep the nodes of c's tree below about max, as far as nobody uses
 * them, once the session is mounted on mountpoint (borrowed, absolute).  Before
 * the first request is served.  0 or -errno.
 */
int trim_new(const struct ops_context *c, const char *mountpoint, size_t max, struct trim **out);

/* Start its thread: 0 or -errno. */
int trim_start(struct trim *t);

/* To be called about once a second: gives memory back when many nodes have gone. */
void trim_tick(struct trim *t);

/*
 * Have its thread ask nothing any more and wipe the keys it has used, until
 * trim_resume; while requests are served.  False when it does not come to rest
 * in some seconds; trim_resume is due all the same.
 */
bool trim_pause(struct trim *t);
void trim_resume(struct trim *t);

/*
 * End its thread while requests are still served: the kernel may wait for one.
 * One that was not started, and NULL, are fine.
 */
void trim_stop(struct trim *t);

/* When no more requests are served.  NULL is fine. */
void trim_free(struct trim *t);

#endif /* FS_TRIM_H */
