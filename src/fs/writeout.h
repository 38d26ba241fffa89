/* SPDX-License-Identifier: MIT */
/*
 * writeout - before a mount ends on a signal, the kernel writes out what it
 * holds of files that are still open (stored through mappings, or any write
 * with writeback), while requests are still served.
 */
#ifndef FS_WRITEOUT_H
#define FS_WRITEOUT_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/ops.h"

struct writeout;

struct writeout_mount {
	const char *path; /* where it is mounted */
	dev_t dev;	  /* to tell if something else is mounted there meanwhile */
	struct ops_context *context;
};

/*
 * Start to write the mount out, in a thread of its own; what m points to stays
 * until writeout_finish.  When it is done, done_signal is sent to the calling
 * thread.  0 or -errno.
 */
int writeout_start(const struct writeout_mount *m, int done_signal, struct writeout **out);

/*
 * Wait for the end, which comes at the latest when the session is destroyed,
 * and free.  0, or -errno: not everything was written.  NULL is fine.
 */
int writeout_finish(struct writeout *w);

#endif /* FS_WRITEOUT_H */
