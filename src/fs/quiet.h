/* SPDX-License-Identifier: MIT */
/* quiet - look at a tree of files without leaving a trace in it. */
#ifndef FS_QUIET_H
#define FS_QUIET_H

/*
 * The same directory as dirfd, seen such that nothing below it can be written
 * to and no access time moves: a descriptor.  Where only root may have that,
 * and we are not root, it is just another descriptor of it; -errno without
 * even that.
 */
int quiet_open(int dirfd);

#endif /* FS_QUIET_H */
