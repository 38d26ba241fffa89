/* SPDX-License-Identifier: MIT */
/*
 * cipher_impl - what an implementation of an AEAD suite gives to cipher.c.
 * For cipher*.c and its test only.
 */
#ifndef ENGINE_CIPHER_IMPL_H
#define ENGINE_CIPHER_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"

/* One piece of data and what is authenticated with it. */
struct cipher_piece {
	const uint8_t *nonce; /* CIPHER_NONCE_SIZE */
	const void *aad;
	size_t aad_size;
	uint8_t *data; /* in place */
	size_t size;
};

/*
 * One implementation of one suite.  open leaves wiping to its caller: 0,
 * CIPHER_FORGED or -errno, and the data are worth nothing unless it is 0.
 */
struct cipher_aead {
	enum cipher_suite suite;
	const char *name;
	/* Once per process tree: 0, or -errno if it cannot run here. */
	int (*prepare)(const struct cipher_aead *a);
	/* key->secret to key->schedule; NULL if there is nothing to do. */
	void (*schedule)(struct cipher_key *key);
	int (*seal)(const struct cipher_key *key, const struct cipher_piece *p, uint8_t *tag);
	int (*open)(const struct cipher_key *key, const struct cipher_piece *p, const uint8_t *tag);
};

extern const struct cipher_aead cipher_openssl_aes;
extern const struct cipher_aead cipher_openssl_chacha;
#ifdef HAVE_IPSEC_MB
extern const struct cipher_aead cipher_ipsec_aes;
#endif

/* Make secret ready for this implementation. */
void cipher_impl_key(const struct cipher_aead *a, struct cipher_key *key, const uint8_t *secret);

/* True if the published vectors of its suite come out, and a forgery does not. */
bool cipher_kat_passes(const struct cipher_aead *a);

/* What runs xor here. */
const char *cipher_xor_implementation(void);

/* Free the calling thread's OpenSSL contexts. */
void cipher_openssl_thread_fini(void);

#endif /* ENGINE_CIPHER_IMPL_H */
