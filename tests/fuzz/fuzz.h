/* SPDX-License-Identifier: MIT */
/*
 * fuzz - what the harnesses share: fixed keys and a check that ends the run.
 *
 * Random bytes never authenticate, so each harness has two modes, chosen by
 * its first byte: the bytes as they are, and the bytes sealed under the right
 * key, which reach the checks behind the seal.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cipher.h"
#include "engine/keys.h"

/* A finding. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The keys of a master key of zeros. */
static inline const struct keyring *fuzz_keys(void)
{
	static struct keyring keys;
	static int ready;

	if (!ready) {
		CHECK(cipher_init() == 0);
		CHECK(keys_derive((const uint8_t[KEYS_MASTER_SIZE]){ 0 }, &keys) == 0);
		ready = 1;
	}
	return &keys;
}

/* Copy at most room bytes, the rest zeros; how many were copied. */
static inline size_t fuzz_fill(uint8_t *to, size_t room, const uint8_t *data, size_t size)
{
	size_t n = size < room ? size : room;

	memset(to, 0, room);
	if (n)
		memcpy(to, data, n);
	return n;
}

#endif /* TESTS_FUZZ_FUZZ_H */
