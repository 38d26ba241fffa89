/* SPDX-License-Identifier: MIT */
/*
 * AEAD through OpenSSL's EVP.
 *
 * A context is made once per thread and suite and keeps the key it was last
 * given: a new key costs more than the rest of a small block, so it is only
 * set again when the serial differs.  After the first use of a suite in a
 * thread nothing here allocates.
 */
#include "engine/cipher_impl.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>

struct context {
	EVP_CIPHER_CTX *evp;
	uint64_t serial; /* of the key that it holds; 0: none */
};

enum { N_SUITES = CIPHER_CHACHA20_POLY1305 + 1 };

static EVP_CIPHER *fetched[N_SUITES];
static _Thread_local struct context contexts[N_SUITES];

static int prepare(const struct cipher_aead *a)
{
	const char *name = a->suite == CIPHER_AES_256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305";

	if (!fetched[a->suite])
		fetched[a->suite] = EVP_CIPHER_fetch(NULL, name, NULL);
	ERR_clear_error();
	return fetched[a->suite] ? 0 : -ENOSYS;
}

static int make_context(struct context *c, uint32_t suite)
{
	c->evp = EVP_CIPHER_CTX_new();
	if (!c->evp)
		return -ENOMEM;
	if (EVP_CipherInit_ex2(c->evp, fetched[suite], NULL, NULL, 1, NULL) == 1)
		return 0;
	EVP_CIPHER_CTX_free(c->evp);
	c->evp = NULL;
	return -EIO;
}

/* Point this thread's context at key and nonce: 0 or -errno. */
static int begin(const struct cipher_key *key, const uint8_t *nonce, int sealing,
		 EVP_CIPHER_CTX **out)
{
	struct context *c = &contexts[key->suite];
	const uint8_t *secret = NULL;

	if (!c->evp && make_context(c, key->suite))
		return -ENOMEM;
	if (c->serial != key->serial)
		secret = key->secret;
	c->serial = 0; /* until the key is known to be in */
	if (EVP_CipherInit_ex2(c->evp, NULL, secret, nonce, sealing, NULL) != 1)
		return -EIO;
	c->serial = key->serial;
	*out = c->evp;
	return 0;
}

static int run(EVP_CIPHER_CTX *evp, const struct cipher_piece *p)
{
	int n;

	if (p->size > INT_MAX || p->aad_size > INT_MAX)
		return -EINVAL;
	if (p->aad_size && EVP_CipherUpdate(evp, NULL, &n, p->aad, (int)p->aad_size) != 1)
		return -EIO;
	if (p->size && EVP_CipherUpdate(evp, p->data, &n, p->data, (int)p->size) != 1)
		return -EIO;
	return 0;
}

static int seal(const struct cipher_key *key, const struct cipher_piece *p, uint8_t *tag)
{
	EVP_CIPHER_CTX *evp;
	uint8_t rest[16];
	int n;
	int r = begin(key, p->nonce, 1, &evp);

	if (!r)
		r = run(evp, p);
	if (!r && EVP_CipherFinal_ex(evp, rest, &n) != 1)
		r = -EIO;
	if (!r && EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, CIPHER_TAG_SIZE, tag) != 1)
		r = -EIO;
	if (r)
		ERR_clear_error();
	return r;
}

static int open_piece(const struct cipher_key *key, const struct cipher_piece *p,
		      const uint8_t *tag)
{
	uint8_t expected[CIPHER_TAG_SIZE];
	EVP_CIPHER_CTX *evp;
	uint8_t rest[16];
	int n;
	int r = begin(key, p->nonce, 0, &evp);

	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = tag[i]; /* EVP wants it writable */
	if (!r && EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, CIPHER_TAG_SIZE, expected) != 1)
		r = -EIO;
	if (!r)
		r = run(evp, p);
	if (!r && EVP_CipherFinal_ex(evp, rest, &n) != 1) /* compares in constant time */
		r = CIPHER_FORGED;
	if (r)
		ERR_clear_error();
	return r;
}

void cipher_openssl_thread_fini(void)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		EVP_CIPHER_CTX_free(contexts[i].evp);
		contexts[i] = (struct context){ 0 };
	}
}

const struct cipher_aead cipher_openssl_aes = {
	.suite = CIPHER_AES_256_GCM,
	.name = "OpenSSL",
	.prepare = prepare,
	.seal = seal,
	.open = open_piece,
};

const struct cipher_aead cipher_openssl_chacha = {
	.suite = CIPHER_CHACHA20_POLY1305,
	.name = "OpenSSL",
	.prepare = prepare,
	.seal = seal,
	.open = open_piece,
};
