/* SPDX-License-Identifier: MIT */
/*
 * siv - seal short texts so that the same text in the same place always gives
 * the same bytes: zero-padded to a multiple of 16, AES-256-SIV (RFC 5297).
 * Sealed bytes are the 16-byte SIV tag, then the ciphertext.
 *
 * Safe from any thread; what a thread caches is freed when it ends.
 */
#ifndef FS_SIV_H
#define FS_SIV_H

#include <stddef.h>
#include <stdint.h>

enum {
	SIV_KEY_SIZE = 64,
	SIV_TAG_SIZE = 16,
	SIV_TEXT_MAX = 255, /* bytes, without the zero */
	SIV_SEALED_MIN = SIV_TAG_SIZE + 16,
	SIV_SEALED_MAX = SIV_TAG_SIZE + 256,
};

enum {
	SIV_FORGED = 1, /* does not authenticate, or is no padded text */
};

/* Under which key, and bound to what. */
struct siv_place {
	const uint8_t *key; /* SIV_KEY_SIZE bytes */
	const uint8_t *aad;
	size_t aad_size; /* at least 1 */
};

/* Bytes that a text of text_size bytes seals to. */
size_t siv_sealed_size(size_t text_size);

/*
 * Seal text, 1..SIV_TEXT_MAX bytes, into siv_sealed_size(text_size) bytes: 0
 * or -errno.
 */
int siv_seal(const struct siv_place *place, const char *text, size_t text_size, uint8_t *sealed);

/*
 * Open sealed bytes of any size to a text with a zero at its end: 0,
 * SIV_FORGED or -errno.
 */
int siv_open(const struct siv_place *place, const uint8_t *sealed, size_t sealed_size,
	     char text[SIV_TEXT_MAX + 1]);

/* Wipe and free now what the calling thread cached. */
void siv_thread_fini(void);

#endif /* FS_SIV_H */
