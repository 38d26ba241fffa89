/* SPDX-License-Identifier: MIT */
/* File header slots: what opens must encode to the same bytes again. */
#include "fuzz.h"

#include "fs/format.h"

enum { PREFIX_SIZE = 76, AAD_SIZE = 52 };

/* Seal the slot's payload as its own clear text says. */
static void seal(uint8_t raw[FORMAT_HEADER_SIZE], const struct cipher_key *key)
{
	uint8_t aad[AAD_SIZE];

	memcpy(raw, "cryptfsH", 8);
	memcpy(aad, raw, 48);
	memcpy(aad + 48, "\1\0\1\0", 4); /* AES-256-GCM, version 1 */
	CHECK(cipher_seal(key, raw + 48, aad, sizeof(aad), raw + PREFIX_SIZE,
			  FORMAT_HEADER_SIZE - PREFIX_SIZE, raw + 60) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[FORMAT_HEADER_SIZE];
	uint8_t again[FORMAT_HEADER_SIZE];
	uint8_t id[KEYS_FILE_ID_SIZE] = { 0 };
	struct format_header header;
	static struct cipher_key key;
	int sealed = size && data[0] & 1;

	if (!size)
		return 0;
	CHECK(cipher_key_set(&key, CIPHER_AES_256_GCM, fuzz_keys()->content) == 0);
	fuzz_fill(raw, sizeof(raw), data + 1, size - 1);
	if (sealed)
		seal(raw, &key);
	(void)format_header_peek(raw, id);
	if (format_header_decode(raw, &key, &header) != 0)
		return 0;
	CHECK(sealed);
	CHECK(header.length <= FORMAT_MAX_LENGTH && header.shrink_length <= FORMAT_MAX_LENGTH);
	CHECK(memcmp(header.id, id, sizeof(id)) == 0);
	CHECK(format_header_encode(&header, &key, raw + 48, again) == 0);
	CHECK(memcmp(raw, again, sizeof(raw)) == 0);
	return 0;
}
