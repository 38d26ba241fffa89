/* SPDX-License-Identifier: MIT */
/*
 * sidecar - small whole files beside an entry whose name or target does not
 * fit where it belongs.  Once written they never change in place.
 */
#ifndef FS_SIDECAR_H
#define FS_SIDECAR_H

#include <stddef.h>

enum {
	SIDECAR_DAMAGED = 1, /* missing, longer than expected, or no regular file */
	SIDECAR_SIZE_MAX = 16384,
};

/*
 * Make sure that name in dirfd is a file of these size bytes (at most
 * SIDECAR_SIZE_MAX), on disk; anything else of that name is replaced.  0 or
 * -errno.
 */
int sidecar_write(int dirfd, const char *name, const void *content, size_t size);

/*
 * Read all of name in dirfd, at most room bytes: 0 and *size, SIDECAR_DAMAGED
 * or -errno.  Never follows a link and never waits.
 */
int sidecar_read(int dirfd, const char *name, void *content, size_t room, size_t *size);

#endif /* FS_SIDECAR_H */
