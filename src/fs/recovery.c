/* SPDX-License-Identifier: MIT */
/* Recovery words: see recovery.h for the contract. */
#include "fs/recovery.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "base/secmem.h"

enum {
	WORD_BITS = 11,
	ENOUGH = 9,	/* known words that show what is meant */
	UNIQUE = 4,	/* letters that tell a word from all others */
	BITS_SIZE = 17, /* 132 bits: the secret and half a byte of checksum */
};

static uint8_t checksum(const uint8_t secret[RECOVERY_SECRET_SIZE])
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	uint8_t sum;

	(void)crypto_hash_sha256(hash, secret, RECOVERY_SECRET_SIZE); /* cannot fail */
	sum = hash[0] & 0xf0;
	secmem_wipe(hash, sizeof(hash));
	return sum;
}

void recovery_encode(const uint8_t secret[RECOVERY_SECRET_SIZE], char text[RECOVERY_TEXT_SIZE])
{
	uint8_t bits[BITS_SIZE];
	char *at = text;

	memcpy(bits, secret, RECOVERY_SECRET_SIZE);
	bits[RECOVERY_SECRET_SIZE] = checksum(secret);
	for (unsigned int word = 0; word < RECOVERY_WORDS; word++) {
		unsigned int index = 0;

		for (unsigned int bit = word * WORD_BITS; bit < (word + 1) * WORD_BITS; bit++)
			index = index << 1 | (bits[bit / 8] >> (7 - bit % 8) & 1);
		at = stpcpy(at, recovery_words[index]);
		*at++ = ' ';
	}
	at[-1] = '\0';
	secmem_wipe(bits, sizeof(bits));
}

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(const char *word, const uint8_t *text, size_t size)
{
	size_t letters = strlen(word);

	if (size != letters && (size != UNIQUE || letters < UNIQUE))
		return false;
	for (size_t i = 0; i < size; i++)
		if (word[i] != (text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]))
			return false;
	return true;
}

/* The number of the word, or RECOVERY_LIST. */
static unsigned int find(const uint8_t *text, size_t size)
{
	unsigned int i = 0;

	while (i < RECOVERY_LIST && !is_word(recovery_words[i], text, size))
		i++;
	return i;
}

/* Up to RECOVERY_WORDS of them into index; how many words there are. */
static unsigned int split(const uint8_t *text, size_t size, unsigned int index[RECOVERY_WORDS])
{
	unsigned int n = 0;

	for (size_t at = 0; at < size;) {
		size_t start;

		while (at < size && is_space(text[at]))
			at++;
		start = at;
		while (at < size && !is_space(text[at]))
			at++;
		if (at == start)
			break;
		if (n < RECOVERY_WORDS)
			index[n] = find(text + start, at - start);
		n++;
	}
	return n;
}

/* How many are on the list, and the first that is not, from 1. */
static unsigned int count_known(const unsigned int index[RECOVERY_WORDS], unsigned int *unknown)
{
	unsigned int known = 0;

	*unknown = 0;
	for (unsigned int i = 0; i < RECOVERY_WORDS; i++) {
		if (index[i] < RECOVERY_LIST)
			known++;
		else if (!*unknown)
			*unknown = i + 1;
	}
	return known;
}

int recovery_decode(const uint8_t *text, size_t size, uint8_t secret[RECOVERY_SECRET_SIZE],
		    unsigned int *unknown)
{
	unsigned int index[RECOVERY_WORDS] = { 0 };
	uint8_t bits[BITS_SIZE] = { 0 };
	unsigned int known = 0;
	int r = RECOVERY_OTHER;

	*unknown = 0;
	memset(secret, 0, RECOVERY_SECRET_SIZE);
	if (split(text, size, index) == RECOVERY_WORDS)
		known = count_known(index, unknown);
	if (known < ENOUGH)
		goto out;
	r = RECOVERY_UNKNOWN;
	if (known < RECOVERY_WORDS)
		goto out;
	for (unsigned int bit = 0; bit < RECOVERY_WORDS * WORD_BITS; bit++)
		if (index[bit / WORD_BITS] >> (WORD_BITS - 1 - bit % WORD_BITS) & 1)
			bits[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	r = bits[RECOVERY_SECRET_SIZE] == checksum(bits) ? 0 : RECOVERY_MISTAKEN;
	if (!r)
		memcpy(secret, bits, RECOVERY_SECRET_SIZE);
out:
	secmem_wipe(index, sizeof(index));
	secmem_wipe(bits, sizeof(bits));
	return r;
}
