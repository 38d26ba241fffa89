/* SPDX-License-Identifier: MIT */
/*
 * special - FIFOs, sockets and device nodes have no content that could be
 * sealed.  A marker beside each says what it is and that it belongs there;
 * without one, something of that kind was put there by somebody else.
 *
 * The marker is the file "node." ‖ base64url(BLAKE2b-256(stored name)); it
 * holds one or (during an exchange) two MACs of 16 bytes: keyed BLAKE2b (key
 * `directory`) of "special" ‖ parent directory id(16) ‖ type as S_IFMT
 * bits(4) ‖ device major(4) ‖ minor(4) ‖ stored name.  Hard links have one
 * for each name.
 */
#ifndef FS_SPECIAL_H
#define FS_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/keys.h"
#include "fs/format.h"

/* Something, somewhere. */
struct special {
	const uint8_t *dir_id; /* FORMAT_DIR_ID_SIZE bytes */
	const char *stored;    /* its stored name */
	mode_t mode;	       /* the type counts */
	dev_t rdev;	       /* of devices */
};

static inline bool special_is(mode_t mode)
{
	return S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

/*
 * Write the marker of something that is about to be at its place in dirfd;
 * what was allowed there stays so.  0 or -errno.
 */
int special_allow(int dirfd, const struct keyring *keys, const struct special *s);

/* 1 if there is a marker for it, 0 if not, or -errno. */
int special_is_allowed(int dirfd, const struct keyring *keys, const struct special *s);

/* Whether its marker allows something else, too: the rest of an exchange. */
bool special_is_allowed_twice(int dirfd, const struct keyring *keys, const struct special *s);

/* Let its marker allow nothing else: 0 or -errno. */
int special_allow_only(int dirfd, const struct keyring *keys, const struct special *s);

/* The name of the marker of a stored name. */
void special_marker_name(const char *stored, char name[64]);

/* Remove the marker of a stored name; after the thing itself. */
void special_forget(int dirfd, const char *stored);

#endif /* FS_SPECIAL_H */
