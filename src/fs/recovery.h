/* SPDX-License-Identifier: MIT */
/*
 * recovery - a random secret as twelve words that a person can write down, by
 * BIP-39: 128 random bits and 4 bits of checksum, 11 bits to a word.
 * https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki
 */
#ifndef FS_RECOVERY_H
#define FS_RECOVERY_H

#include <stddef.h>
#include <stdint.h>

enum {
	RECOVERY_SECRET_SIZE = 16, /* bytes */
	RECOVERY_WORDS = 12,
	RECOVERY_LIST = 2048,
	RECOVERY_WORD_MAX = 8,					       /* letters */
	RECOVERY_TEXT_SIZE = RECOVERY_WORDS * (RECOVERY_WORD_MAX + 1), /* with its zero */
};

enum {
	RECOVERY_OTHER = 1, /* not meant as recovery words */
	RECOVERY_UNKNOWN,   /* a word is not on the list */
	RECOVERY_MISTAKEN,  /* all are, but not these in this order */
};

extern const char recovery_words[RECOVERY_LIST][RECOVERY_WORD_MAX + 1];

/* The words, with one space between them. */
void recovery_encode(const uint8_t secret[RECOVERY_SECRET_SIZE], char text[RECOVERY_TEXT_SIZE]);

/*
 * Back: 0 and the secret, or RECOVERY_*, the secret then being zeros.  Small or
 * capital letters, any white space around and between, and four letters for a
 * word all do.  Twelve words of which nine or more are on the list are meant as
 * recovery words; *unknown is the number of the first that is not, from 1.
 */
int recovery_decode(const uint8_t *text, size_t size, uint8_t secret[RECOVERY_SECRET_SIZE],
		    unsigned int *unknown);

#endif /* FS_RECOVERY_H */
