/* SPDX-License-Identifier: MIT */
/*
 * cipher - seal and open one piece of data in place; pure functions of their
 * arguments that know neither shared memory nor processes nor files.
 *
 * Suites:
 *   aes-256-gcm        NIST SP 800-38D; intel-ipsec-mb where it is built in,
 *                      runs on this CPU and passes its known-answer test,
 *                      else OpenSSL EVP; the same bytes from each
 *   chacha20-poly1305  RFC 8439, OpenSSL EVP
 *   xor                CryptStream's demonstration: no encryption at all
 *
 * The caller never uses a nonce twice under one key.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive
 * CIPHER_* is an answer.
 */
#ifndef ENGINE_CIPHER_H
#define ENGINE_CIPHER_H

#include <stddef.h>
#include <stdint.h>

enum cipher_suite {
	CIPHER_AES_256_GCM = 1, /* these numbers are on disk */
	CIPHER_CHACHA20_POLY1305 = 2,
	CIPHER_XOR = 3,
};

enum {
	CIPHER_KEY_SIZE = 32, /* secret key of both AEAD suites, bytes */
	CIPHER_NONCE_SIZE = 12,
	CIPHER_TAG_SIZE = 16,
	CIPHER_XOR_KEY_SIZE = 256, /* a XOR key, expanded */
};

enum {
	CIPHER_FORGED = 1, /* the tag does not match; the output is wiped */
};

/*
 * A key made ready: plain bytes without pointers, so that it may lie in
 * shared memory and be used by every process that called cipher_init before
 * it was forked (or by itself).  Wipe it with secmem_wipe.  Its place is a
 * slot's key or secmem_new, not the stack (where gcc 12's AddressSanitizer
 * does not align it, either).
 */
struct cipher_key {
	_Alignas(64) uint8_t schedule[1024]; /* ipsec-mb's, or the XOR key */
	uint8_t secret[CIPHER_KEY_SIZE];
	uint64_t serial; /* differs for each cipher_key_set: OpenSSL contexts are cached by it */
	uint32_t suite;	 /* enum cipher_suite */
};

/*
 * Choose implementations and run the known-answer tests: once per process
 * tree, before the first fork and the first thread.  0 or -errno; -ENOSYS if
 * no implementation of some suite passes.  Safe to call again.
 * CRYPTFS_CIPHER=openssl in the environment leaves ipsec-mb out.
 */
int cipher_init(void);

/* "aes-256-gcm" …, or NULL for an unknown number. */
const char *cipher_name(enum cipher_suite suite);

/* The suite of a name: 0 and *suite, or -EINVAL. */
int cipher_by_name(const char *name, enum cipher_suite *suite);

/* What runs a suite here: "intel-ipsec-mb", "OpenSSL", "AVX2", "portable". */
const char *cipher_implementation(enum cipher_suite suite);

/*
 * The implementations of a suite that run here, the one that cipher_init
 * chooses first: the name of the i-th, counted from 0, or NULL.
 */
const char *cipher_implementation_at(enum cipher_suite suite, unsigned int i);

/*
 * Have the i-th of these run the suite, to measure it: 0 or -EINVAL.  While
 * no other thread uses ciphers; keys must be set again.
 */
int cipher_choose(enum cipher_suite suite, unsigned int i);

/* AES-256-GCM if this CPU has AES instructions, else ChaCha20-Poly1305. */
enum cipher_suite cipher_default(void);

/* Make secret (CIPHER_KEY_SIZE bytes) ready for an AEAD suite: 0 or -EINVAL. */
int cipher_key_set(struct cipher_key *key, enum cipher_suite suite, const uint8_t *secret);

/*
 * Make a XOR key ready: secret, size bytes, repeated to 256 bytes.  A longer
 * one is cut at 256.  0, or -EINVAL for an empty secret.
 */
int cipher_key_set_xor(struct cipher_key *key, const uint8_t *secret, size_t size);

/* Seal size bytes at data in place and store their tag: 0 or -errno. */
int cipher_seal(const struct cipher_key *key, const uint8_t nonce[CIPHER_NONCE_SIZE],
		const void *aad, size_t aad_size, void *data, size_t size,
		uint8_t tag[CIPHER_TAG_SIZE]);

/*
 * Open size bytes at data in place: 0, CIPHER_FORGED or -errno.  Unless 0 is
 * returned the data is wiped.  Tags are compared in constant time.
 */
int cipher_open(const struct cipher_key *key, const uint8_t nonce[CIPHER_NONCE_SIZE],
		const void *aad, size_t aad_size, void *data, size_t size,
		const uint8_t tag[CIPHER_TAG_SIZE]);

/*
 * data[i] ^= key256[(position + i) mod 256] with position counted from the
 * start of the file; its own inverse.  key must be a XOR key.
 */
void cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size);

/* Free what the calling thread cached (OpenSSL contexts); before it exits. */
void cipher_thread_fini(void);

#endif /* ENGINE_CIPHER_H */
