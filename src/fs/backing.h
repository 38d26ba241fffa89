/* SPDX-License-Identifier: MIT */
/*
 * backing - the filesystem that the vault is on: open the stored file of a content file,
 * whatever its mode and whatever may have been put in its place, and what to expect of it.
 */
#ifndef FS_BACKING_H
#define FS_BACKING_H

#include <stdbool.h>

/*
 * Open name in dirfd with this access mode (O_RDONLY or O_RDWR): a descriptor,
 * or -1 and errno.  Never follows a link, never waits, and leaves the access
 * time alone where we may ask for that.  What is opened need not be a regular
 * file: the caller looks.  With lift, a mode that keeps out its own owner, who
 * we may be, is lifted for the moment.
 */
int backing_open(int dirfd, const char *name, int accmode, bool lift);

/*
 * Whether a position in a directory (d_off of getdents(2)) still means the same place when the
 * directory has changed, also for another descriptor of it.  Where it is a mere count it does
 * not: tmpfs before Linux 6.6, ramfs, overlayfs.
 */
bool backing_keeps_positions(int dirfd);

#endif /* FS_BACKING_H */
