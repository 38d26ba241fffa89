/* SPDX-License-Identifier: MIT */
/*
 * box - small pieces of data sealed whole under one of the vault's keys and a
 * random nonce: nonce(12) ‖ tag(16) ‖ ciphertext.
 */
#ifndef FS_BOX_H
#define FS_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"

enum {
	BOX_OVERHEAD = CIPHER_NONCE_SIZE + CIPHER_TAG_SIZE,
};

enum {
	BOX_FORGED = 1, /* does not authenticate, or is too short for a box */
};

/* Under which key, and bound to what. */
struct box_place {
	enum cipher_suite suite; /* an AEAD suite */
	const uint8_t *key;	 /* CIPHER_KEY_SIZE bytes */
	const void *aad;
	size_t aad_size;
};

/* Seal size bytes that lie at raw + BOX_OVERHEAD, in place: 0 or -errno. */
int box_seal(const struct box_place *place, uint8_t *raw, size_t size);

/*
 * Open a whole box of size bytes in place; the plaintext is at raw +
 * BOX_OVERHEAD: 0, BOX_FORGED or -errno.
 */
int box_open(const struct box_place *place, uint8_t *raw, size_t size);

#endif /* FS_BOX_H */
