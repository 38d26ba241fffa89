/* SPDX-License-Identifier: MIT */
/*
 * unmounter - a process that can do what the mount process gives up when it is
 * confined: unmount its mount.  It is told so, or ends with it.
 *
 * After a crash it leaves the dead mount where it is.  Programs that go on get
 * ENOTCONN there, and do not write plaintext to what lies below.
 */
#ifndef FS_UNMOUNTER_H
#define FS_UNMOUNTER_H

#include <stdbool.h>
#include <sys/types.h>

struct unmounter {
	pid_t pid;  /* -1: none */
	int socket; /* -1: none */
	int broken; /* a pipe that nobody reads: takes the place of /dev/fuse */
};

#define UNMOUNTER_NONE ((struct unmounter){ .pid = -1, .socket = -1, .broken = -1 })

/*
 * Fork it, for the mount that will be on mountpoint (absolute), from a process
 * that has no secret yet.  0 or -errno, with *u as UNMOUNTER_NONE.
 */
int unmounter_start(const char *mountpoint, struct unmounter *u);

/*
 * Have the mount with this device detached, unless something else is mounted
 * there meanwhile; fd is its /dev/fuse, which is closed first, as what is still
 * to be written would wait for us, but whose number stays taken: it polls as
 * that of a mount that is gone.  0 or -errno.
 */
int unmounter_detach(const struct unmounter *u, int fd, dev_t dev);

/*
 * Have the mount with this device unmounted if nobody uses it, while its
 * requests are served.  0 (then it is gone), -EBUSY, or another -errno when
 * there is nobody to be told.
 */
int unmounter_try(const struct unmounter *u, dev_t dev);

/* End it and close all. */
void unmounter_stop(struct unmounter *u);

/* Unmount what is on path, with fusermount3 if need be: 0 or -EBUSY. */
int unmounter_run(const char *path, bool lazily);

#endif /* FS_UNMOUNTER_H */
