/* SPDX-License-Identifier: MIT */
/*
 * xattrs - extended attributes of the user namespace to stored ones and back;
 * pure.
 *
 * "user.NAME" → "user.cryptfs." ‖ base64url(AES-256-SIV(NAME padded to 16,
 * key xattr_names, AAD = owner id)); values: nonce(12) ‖ tag(16) ‖ ciphertext,
 * key xattr_values, AAD = "xattr" ‖ owner id ‖ NAME.  The owner id is a file's
 * 32-byte id or a directory's 16-byte id.
 */
#ifndef FS_XATTRS_H
#define FS_XATTRS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"
#include "engine/keys.h"

enum {
	XATTRS_NAME_MAX = 255,
	XATTRS_VALUE_MAX = 65536,
	XATTRS_OVERHEAD = CIPHER_NONCE_SIZE + CIPHER_TAG_SIZE,
};

enum {
	XATTRS_DAMAGED = 1,
	XATTRS_FOREIGN, /* not one of our stored names */
};

struct xattrs_owner {
	const uint8_t *id;
	size_t id_size; /* bytes: 32 for files, 16 for directories */
};

/*
 * plain is the whole name, "user." included: 0, -ERANGE when the stored form
 * does not fit 255 bytes, -errno.
 */
int xattrs_name_encode(const struct keyring *keys, const struct xattrs_owner *owner,
		       const char *plain, char stored[XATTRS_NAME_MAX + 1]);

/* 0 and the whole plain name, XATTRS_FOREIGN, XATTRS_DAMAGED or -errno. */
int xattrs_name_decode(const struct keyring *keys, const struct xattrs_owner *owner,
		       const char *stored, char plain[XATTRS_NAME_MAX + 1]);

/* out has size + XATTRS_OVERHEAD bytes: 0 or -errno. */
int xattrs_value_seal(const struct keyring *keys, enum cipher_suite suite,
		      const struct xattrs_owner *owner, const char *plain_name, const void *value,
		      size_t size, uint8_t *out);

/* In place; the plaintext is raw + XATTRS_OVERHEAD: 0, XATTRS_DAMAGED, -errno. */
int xattrs_value_open(const struct keyring *keys, enum cipher_suite suite,
		      const struct xattrs_owner *owner, const char *plain_name, uint8_t *raw,
		      size_t size);

#endif /* FS_XATTRS_H */
