/* SPDX-License-Identifier: MIT */
/*
 * links - symlink targets to stored targets and back; pure.
 *
 * A seal is nonce(12) ‖ tag(16) ‖ ciphertext, AEAD key `links`, AAD = "link"
 * ‖ parent directory id(16) ‖ stored name of the symlink.  A stored target is
 * base64url(seal), or base64url(seal) "." base64url(seal) while the symlink
 * is being renamed (valid under both names); when that is longer than 4095
 * bytes, or than the backing filesystem takes, it is "@" and the text lies in the sidecar file
 * "link." ‖ base64url(BLAKE2b-256(stored name)).
 */
#ifndef FS_LINKS_H
#define FS_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/keys.h"
#include "fs/format.h"

enum {
	LINKS_PLAIN_MAX = 4095,
	LINKS_STORED_MAX = 4095,
	/* Two base64url seals of the longest target and a dot. */
	LINKS_TEXT_MAX = 2 * ((12 + 16 + LINKS_PLAIN_MAX + 2) / 3 * 4) + 1,
};

/* How the names of sidecars begin. */
#define LINKS_SIDECAR "link."

enum {
	LINKS_DAMAGED = 1,
};

/* Where a symlink is: the names that go into the AAD. */
struct links_place {
	const uint8_t *dir_id; /* FORMAT_DIR_ID_SIZE bytes */
	const char *stored;    /* its stored name */
};

/*
 * Seal target (1..4095 bytes) for one place, or for two if second is not
 * NULL, into text (LINKS_TEXT_MAX + 1 bytes, ends with a zero): 0,
 * -ENAMETOOLONG or -errno.  suite is the vault's, or AES-256-GCM for
 * `xor` vaults.
 */
int links_seal(const struct keyring *keys, enum cipher_suite suite, const char *target,
	       const struct links_place *first, const struct links_place *second, char *text);

/* Open text for the place where it was found: 0, LINKS_DAMAGED or -errno. */
int links_open(const struct keyring *keys, enum cipher_suite suite, const char *text,
	       const struct links_place *place, char target[LINKS_PLAIN_MAX + 1]);

/* The name of the sidecar for the symlink stored under this name. */
void links_sidecar_name(const char *stored, char name[64]);

/*
 * Store text as the target of a new symlink `stored` in dirfd, by way of a
 * sidecar (written and synced first) where it is too long for us or for the
 * backing filesystem: 0 or -errno (-EEXIST).
 */
int links_create(int dirfd, const char *stored, const char *text);

/*
 * Make the symlink `temporary` in dirfd such that, renamed to `stored`, it
 * reads as text; the sidecar of `stored`, where text needs one, is replaced
 * now: 0 or -errno (-EEXIST: there is something called `temporary`).
 */
int links_create_as(int dirfd, const char *temporary, const char *stored, const char *text);

/*
 * Put a symlink that reads as text in the place of `stored`, whose looks are
 * *st and stay; its inode is a new one, which *st becomes.  0 or -errno.
 */
int links_replace(int dirfd, const char *stored, const char *text, struct stat *st);

/* True for a symlink whose text lies in a sidecar. */
bool links_has_sidecar(int dirfd, const char *stored);

/* True for a text that is valid under two names: while it is being renamed. */
bool links_has_two_seals(const char *text);

/*
 * Read the text of the symlink `stored` in dirfd, from the sidecar if it has
 * one: 0, LINKS_DAMAGED or -errno.  text has LINKS_TEXT_MAX + 1 bytes.
 */
int links_read(int dirfd, const char *stored, char *text);

/* Remove the sidecar of a symlink, if there is one; after the symlink. */
void links_sidecar_remove(int dirfd, const char *stored);

/* The same, unless what is there under this name may need it. */
void links_sidecar_tidy(int dirfd, const char *stored);

#endif /* FS_LINKS_H */
