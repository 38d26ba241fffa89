/* SPDX-License-Identifier: MIT */
/* CryptStream's demonstration cipher: see cipher.h.  It protects nothing. */
#include "engine/cipher.h"

#include <errno.h>
#include <string.h>

_Static_assert(CIPHER_XOR_KEY_SIZE <= sizeof(((struct cipher_key *)0)->schedule), "no room");

int cipher_key_set_xor(struct cipher_key *key, const uint8_t *secret, size_t size)
{
	if (!size)
		return -EINVAL;
	memset(key, 0, sizeof(*key));
	for (size_t i = 0; i < CIPHER_XOR_KEY_SIZE; i++)
		key->schedule[i] = secret[i % size];
	key->suite = CIPHER_XOR;
	return 0;
}

static void xor_bytes(uint8_t *restrict data, const uint8_t *restrict key, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] ^= key[i];
}

void cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size)
{
	size_t start = position % CIPHER_XOR_KEY_SIZE;
	size_t head = CIPHER_XOR_KEY_SIZE - start;
	uint8_t *p = data;

	if (head > size)
		head = size;
	xor_bytes(p, key->schedule + start, head);
	p += head;
	size -= head;
	for (; size >= CIPHER_XOR_KEY_SIZE; size -= CIPHER_XOR_KEY_SIZE, p += CIPHER_XOR_KEY_SIZE)
		xor_bytes(p, key->schedule, CIPHER_XOR_KEY_SIZE);
	xor_bytes(p, key->schedule, size);
}
