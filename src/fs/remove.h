/* SPDX-License-Identifier: MIT */
/* remove - take away a directory with all that is in it. */
#ifndef FS_REMOVE_H
#define FS_REMOVE_H

/*
 * Remove the directory `name` in dirfd and what is below it: 0, also if it is not
 * there, or -errno.  Links are removed, not followed; other mounts are left.
 */
int remove_directory(int dirfd, const char *name);

#endif /* FS_REMOVE_H */
