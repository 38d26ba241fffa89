/* SPDX-License-Identifier: MIT */
/* CryptStream's demonstration cipher: see cipher.h.  It protects nothing. */
#include "engine/cipher_impl.h"

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

/* Any number of bytes, with as much of the key. */
static void xor_bytes(uint8_t *restrict data, const uint8_t *restrict key, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] ^= key[i];
}

static void xor_periods(uint8_t *data, const uint8_t *key, size_t n)
{
	for (; n; n--, data += CIPHER_XOR_KEY_SIZE)
		xor_bytes(data, key, CIPHER_XOR_KEY_SIZE);
}

#if defined(__x86_64__)
/* At memcpy's speed: what every x86-64 has is a third of that. */
typedef uint64_t wide __attribute__((vector_size(32), aligned(1), may_alias));

__attribute__((target("avx2"))) static void xor_periods_avx2(uint8_t *data, const uint8_t *key,
							     size_t n)
{
	for (; n; n--, data += CIPHER_XOR_KEY_SIZE)
		for (size_t i = 0; i < CIPHER_XOR_KEY_SIZE; i += sizeof(wide))
			*(wide *)(void *)(data + i) ^= *(const wide *)(const void *)(key + i);
}
#endif

static bool has_avx2(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("avx2");
#else
	return false;
#endif
}

const char *cipher_xor_implementation(void)
{
	return has_avx2() ? "AVX2" : "portable";
}

/* n times the whole key. */
static void xor_whole(uint8_t *data, const uint8_t *key, size_t n)
{
#if defined(__x86_64__)
	if (has_avx2()) {
		xor_periods_avx2(data, key, n);
		return;
	}
#endif
	xor_periods(data, key, n);
}

void cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size)
{
	size_t start = position % CIPHER_XOR_KEY_SIZE;
	size_t head = (CIPHER_XOR_KEY_SIZE - start) % CIPHER_XOR_KEY_SIZE;
	uint8_t *p = data;
	size_t whole;

	if (head > size)
		head = size;
	xor_bytes(p, key->schedule + start, head);
	p += head;
	size -= head;
	whole = size - size % CIPHER_XOR_KEY_SIZE;
	xor_whole(p, key->schedule, whole / CIPHER_XOR_KEY_SIZE);
	xor_bytes(p + whole, key->schedule, size - whole);
}
