/* SPDX-License-Identifier: MIT */
/*
 * Deterministic sealing of short texts: see siv.h for the contract.
 *
 * Setting an AES-SIV key costs OpenSSL more than three microseconds and a
 * keyed context works only once.  So each thread keeps keyed contexts as
 * patterns and copies one for every use, which is less than half of that.
 */
#include "fs/siv.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/secmem.h"

enum {
	OPEN,
	SEAL,
	N_PATTERNS = 4, /* file names and attribute names, each way */
	PADDED_MAX = SIV_SEALED_MAX - SIV_TAG_SIZE,
	LAST_AAD_MAX = 32, /* a directory's id has half of that */
};

/* A context that has its key and was never used. */
struct pattern {
	EVP_CIPHER_CTX *context; /* NULL: this pattern is free */
	int direction;
	uint8_t key[SIV_KEY_SIZE];
};

/* What was sealed last: who looks for a name in vain mostly makes it then. */
struct last {
	uint8_t key[SIV_KEY_SIZE];
	uint8_t aad[LAST_AAD_MAX];
	size_t aad_size;
	char text[SIV_TEXT_MAX];
	size_t text_size; /* 0: nothing */
	uint8_t sealed[SIV_SEALED_MAX];
};

struct contexts {
	struct pattern patterns[N_PATTERNS];
	unsigned int oldest; /* which pattern goes next */
	EVP_CIPHER_CTX *used;
	struct last last;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static EVP_CIPHER *aes_siv; /* NULL: not available */
static _Thread_local struct contexts *mine;

static void free_contexts(void *p)
{
	struct contexts *c = p;

	for (int i = 0; i < N_PATTERNS; i++)
		EVP_CIPHER_CTX_free(c->patterns[i].context);
	EVP_CIPHER_CTX_free(c->used);
	secmem_wipe(c, sizeof(*c));
	free(c);
}

static void fetch(void)
{
	if (pthread_key_create(&at_thread_end, free_contexts) == 0)
		aes_siv = EVP_CIPHER_fetch(NULL, "AES-256-SIV", NULL);
}

void siv_thread_fini(void)
{
	if (!mine)
		return;
	free_contexts(mine);
	mine = NULL;
	(void)pthread_setspecific(at_thread_end, NULL);
}

/* What this thread caches, made at first use; NULL if that fails. */
static struct contexts *my_contexts(void)
{
	struct contexts *c = mine;

	if (c)
		return c;
	if (pthread_once(&once, fetch) || !aes_siv)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->used = EVP_CIPHER_CTX_new();
	if (!c->used || pthread_setspecific(at_thread_end, c)) {
		free_contexts(c);
		return NULL;
	}
	mine = c;
	return c;
}

/* Make a pattern for a key in the place of the oldest one. */
static struct pattern *new_pattern(struct contexts *c, const uint8_t *key, int direction)
{
	struct pattern *p = &c->patterns[c->oldest++ % N_PATTERNS];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	EVP_CIPHER_CTX_free(p->context);
	p->context = NULL;
	if (!context || EVP_CipherInit_ex2(context, aes_siv, key, NULL, direction, NULL) != 1) {
		EVP_CIPHER_CTX_free(context);
		return NULL;
	}
	p->context = context;
	p->direction = direction;
	memcpy(p->key, key, sizeof(p->key));
	return p;
}

static struct pattern *find_pattern(struct contexts *c, const uint8_t *key, int direction)
{
	for (int i = 0; i < N_PATTERNS; i++) {
		struct pattern *p = &c->patterns[i];

		if (p->context && p->direction == direction &&
		    secmem_equal(p->key, key, sizeof(p->key)))
			return p;
	}
	return new_pattern(c, key, direction);
}

/* A context with key and AAD of a place, good for one text; NULL: failure. */
static EVP_CIPHER_CTX *begin(const struct siv_place *place, int direction)
{
	struct contexts *c = my_contexts();
	struct pattern *p = c ? find_pattern(c, place->key, direction) : NULL;
	int ignored;

	if (!p || EVP_CIPHER_CTX_copy(c->used, p->context) != 1 ||
	    EVP_CipherUpdate(c->used, NULL, &ignored, place->aad, (int)place->aad_size) != 1)
		return NULL;
	return c->used;
}

static size_t padded_size(size_t text_size)
{
	return (text_size + 15) / 16 * 16;
}

size_t siv_sealed_size(size_t text_size)
{
	return SIV_TAG_SIZE + padded_size(text_size);
}

static bool is_last(const struct siv_place *place, const char *text, size_t text_size)
{
	const struct last *l = mine ? &mine->last : NULL;

	return l && l->text_size == text_size && !memcmp(l->text, text, text_size) &&
	       l->aad_size == place->aad_size && !memcmp(l->aad, place->aad, l->aad_size) &&
	       secmem_equal(l->key, place->key, sizeof(l->key));
}

static void keep_last(const struct siv_place *place, const char *text, size_t text_size,
		      const uint8_t *sealed)
{
	struct last *l = &mine->last;

	if (place->aad_size > sizeof(l->aad))
		return;
	memcpy(l->key, place->key, sizeof(l->key));
	memcpy(l->aad, place->aad, place->aad_size);
	l->aad_size = place->aad_size;
	memcpy(l->text, text, text_size);
	l->text_size = text_size;
	memcpy(l->sealed, sealed, siv_sealed_size(text_size));
}

int siv_seal(const struct siv_place *place, const char *text, size_t text_size, uint8_t *sealed)
{
	uint8_t padded[PADDED_MAX] = { 0 };
	EVP_CIPHER_CTX *context;
	int n;

	if (text_size < 1 || text_size > SIV_TEXT_MAX)
		return -EINVAL;
	if (is_last(place, text, text_size)) {
		memcpy(sealed, mine->last.sealed, siv_sealed_size(text_size));
		return 0;
	}
	context = begin(place, SEAL);
	if (!context)
		return -EIO;
	memcpy(padded, text, text_size);
	if (EVP_CipherUpdate(context, sealed + SIV_TAG_SIZE, &n, padded,
			     (int)padded_size(text_size)) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, SIV_TAG_SIZE, sealed) != 1)
		return -EIO;
	keep_last(place, text, text_size, sealed);
	return 0;
}

/* True if padded, size bytes, is what siv_seal makes of some text. */
static int is_padded_text(const uint8_t *padded, size_t size)
{
	size_t text_size = strnlen((const char *)padded, size);

	if (text_size < 1 || text_size > SIV_TEXT_MAX || padded_size(text_size) != size)
		return 0;
	for (size_t i = text_size; i < size; i++)
		if (padded[i])
			return 0;
	return 1;
}

int siv_open(const struct siv_place *place, const uint8_t *sealed, size_t sealed_size,
	     char text[SIV_TEXT_MAX + 1])
{
	uint8_t padded[PADDED_MAX + 1];
	uint8_t tag[SIV_TAG_SIZE];
	EVP_CIPHER_CTX *context;
	int n;

	if (sealed_size < SIV_SEALED_MIN || sealed_size > SIV_SEALED_MAX || sealed_size % 16)
		return SIV_FORGED;
	context = begin(place, OPEN);
	if (!context)
		return -EIO;
	memcpy(tag, sealed, sizeof(tag));
	if (EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, SIV_TAG_SIZE, tag) != 1)
		return -EIO;
	sealed_size -= SIV_TAG_SIZE;
	if (EVP_CipherUpdate(context, padded, &n, sealed + SIV_TAG_SIZE, (int)sealed_size) != 1 ||
	    !is_padded_text(padded, sealed_size))
		return SIV_FORGED;
	padded[sealed_size] = 0;
	memcpy(text, padded, strlen((char *)padded) + 1);
	return 0;
}
