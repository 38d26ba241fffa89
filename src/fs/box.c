/* SPDX-License-Identifier: MIT */
/* Small sealed pieces: see box.h for the contract. */
#include "fs/box.h"

#include <sodium.h>

#include "base/secmem.h"

/* Wiped after each use; here because stacks may not have its alignment. */
static _Thread_local struct cipher_key key;

int box_seal(const struct box_place *place, uint8_t *raw, size_t size)
{
	int r = cipher_key_set(&key, place->suite, place->key);

	if (r)
		return r;
	randombytes_buf(raw, CIPHER_NONCE_SIZE);
	r = cipher_seal(&key, raw, place->aad, place->aad_size, raw + BOX_OVERHEAD, size,
			raw + CIPHER_NONCE_SIZE);
	secmem_wipe(&key, sizeof(key));
	return r;
}

int box_open(const struct box_place *place, uint8_t *raw, size_t size)
{
	int r;

	if (size < BOX_OVERHEAD)
		return BOX_FORGED;
	r = cipher_key_set(&key, place->suite, place->key);
	if (r)
		return r;
	r = cipher_open(&key, raw, place->aad, place->aad_size, raw + BOX_OVERHEAD,
			size - BOX_OVERHEAD, raw + CIPHER_NONCE_SIZE);
	secmem_wipe(&key, sizeof(key));
	return r == CIPHER_FORGED ? BOX_FORGED : r;
}
