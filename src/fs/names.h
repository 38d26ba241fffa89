/* SPDX-License-Identifier: MIT */
/*
 * names - file names to stored names and back.
 *
 * plain name, zero-padded to a multiple of 16 → AES-256-SIV (key `names`,
 * AAD = directory id) → base64url without padding.  When that is longer than
 * 255 bytes the stored name is "long." ‖ base64url(BLAKE2b-256(ciphertext))
 * and the ciphertext itself lies in the sidecar file STORED ‖ ".name".
 *
 * The first part is pure; the second reads and writes sidecars.
 * Everything is safe to call from several threads at once.
 *
 * Results: 0, a positive NAMES_* answer, or a negative errno.
 */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/keys.h"
#include "fs/format.h"

enum {
	NAMES_PLAIN_MAX = 255,	/* bytes, without the zero */
	NAMES_STORED_MAX = 255, /* bytes, without the zero */
	NAMES_SEALED_MAX = 272, /* SIV tag and padded name */
};

enum {
	NAMES_LONG = 1, /* encode: a sidecar is needed.  decode: read it first */
	NAMES_DAMAGED,	/* does not authenticate, or no stored name at all */
	NAMES_OURS,	/* a sidecar or a directory record: not an entry */
};

/* How the names of files that are being made begin; left over, they are ours. */
#define NAMES_TEMPORARY ".cryptfs-tmp."

/* Such a name, not used before: 0 or -errno. */
int names_temporary(char name[NAMES_STORED_MAX + 1]);

/* How the names of the markers of special.h begin. */
#define NAMES_MARKER "node."

/* A name in its stored form. */
struct names_stored {
	char name[NAMES_STORED_MAX + 1];
	uint16_t sealed_size; /* bytes of sealed; 0 unless the name is long */
	uint8_t sealed[NAMES_SEALED_MAX];
};

/*
 * Encode plain (1..255 bytes, no '/', no NUL): 0, NAMES_LONG, -ENAMETOOLONG,
 * -EINVAL or another -errno.
 */
int names_encode(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		 const char *plain, struct names_stored *stored);

/* Decode a stored name: 0, NAMES_LONG, NAMES_DAMAGED, NAMES_OURS or -errno. */
int names_decode(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		 const char *stored, char plain[NAMES_PLAIN_MAX + 1]);

/* True for what names_decode calls NAMES_OURS. */
bool names_are_ours(const char *stored);

/* Decode the content of a sidecar of stored: 0, NAMES_DAMAGED or -errno. */
int names_decode_long(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		      const char *stored, const uint8_t *sealed, size_t sealed_size,
		      char plain[NAMES_PLAIN_MAX + 1]);

/*
 * The name under which a damaged entry is shown: "cryptfs-damaged-" and the
 * stored name, or its hash where that is too long or holds strange bytes.
 */
void names_show_damaged(const char *stored, char shown[NAMES_PLAIN_MAX + 1]);
bool names_is_damaged_show(const char *plain);
/* The stored name in such a name, if it is there. */
const char *names_damaged_stored(const char *shown);

/* ---- sidecars ---------------------------------------------------------- */

/*
 * Write the sidecar of a long name in dirfd unless the right one is there
 * already (written first, before the entry).  0 or -errno; does nothing for
 * a name that is not long.
 */
int names_sidecar_write(int dirfd, const struct names_stored *stored);

/* The stored name that a sidecar, long.HASH.name, belongs to; false: it is none. */
bool names_sidecar_owner(const char *sidecar, char stored[NAMES_STORED_MAX + 1]);

/* Remove the sidecar of a stored name if it is long; last.  Errors: none. */
void names_sidecar_remove(int dirfd, const char *stored);

/*
 * Decode a stored name, reading its sidecar if it needs one: 0,
 * NAMES_DAMAGED, NAMES_OURS or -errno.
 */
int names_decode_at(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE], int dirfd,
		    const char *stored, char plain[NAMES_PLAIN_MAX + 1]);

#endif /* FS_NAMES_H */
