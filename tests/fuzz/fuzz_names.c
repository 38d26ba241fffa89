/* SPDX-License-Identifier: MIT */
/* Stored names and the content of their sidecars. */
#include "fuzz.h"

#include <sodium.h>

#include "fs/base64.h"
#include "fs/names.h"
#include "fs/siv.h"

static const uint8_t dir_id[FORMAT_DIR_ID_SIZE] = { 1, 2, 3 };

/* A name that decodes must be stored under exactly this name. */
static void check_name(const char *plain, const char *stored)
{
	struct names_stored again;

	CHECK(strlen(plain) >= 1 && strlen(plain) <= NAMES_PLAIN_MAX && !strchr(plain, '/'));
	CHECK(names_encode(fuzz_keys(), dir_id, plain, &again) >= 0);
	CHECK(strcmp(again.name, stored) == 0);
}

static void decode_stored(const uint8_t *data, size_t size)
{
	char stored[NAMES_STORED_MAX + 1];
	char shown[NAMES_PLAIN_MAX + 1];
	char plain[NAMES_PLAIN_MAX + 1];

	fuzz_fill((uint8_t *)stored, sizeof(stored), data, size);
	stored[NAMES_STORED_MAX] = 0;
	if (names_decode(fuzz_keys(), dir_id, stored, plain) == 0)
		check_name(plain, stored);
	names_show_damaged(stored, shown);
	CHECK(strlen(shown) <= NAMES_PLAIN_MAX && names_is_damaged_show(shown));
}

/* The name "long." and the hash of sealed bytes. */
static void long_name(const uint8_t *sealed, size_t size, char stored[64])
{
	uint8_t hash[32];

	(void)crypto_generichash(hash, sizeof(hash), sealed, size, NULL, 0);
	strcpy(stored, "long.");
	base64_encode(hash, sizeof(hash), stored + 5);
}

static void decode_sidecar(const uint8_t *sealed, size_t size)
{
	char stored[64];
	char plain[NAMES_PLAIN_MAX + 1];

	long_name(sealed, size, stored);
	if (names_decode_long(fuzz_keys(), dir_id, stored, sealed, size, plain) == 0)
		check_name(plain, stored);
}

/* Any bytes, sealed as if they were a name. */
static void decode_sealed(const uint8_t *text, size_t size)
{
	struct siv_place place = { fuzz_keys()->names, dir_id, sizeof(dir_id) };
	uint8_t sealed[SIV_SEALED_MAX];
	char stored[BASE64_SIZE(SIV_SEALED_MAX) + 1];
	char plain[NAMES_PLAIN_MAX + 1];

	if (siv_seal(&place, (const char *)text, size, sealed) != 0)
		return;
	decode_sidecar(sealed, siv_sealed_size(size));
	base64_encode(sealed, siv_sealed_size(size), stored);
	if (names_decode(fuzz_keys(), dir_id, stored, plain) == 0)
		check_name(plain, stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] % 3 == 0)
		decode_stored(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		decode_sealed(data + 1, size - 1);
	else
		decode_sidecar(data + 1, size - 1);
	return 0;
}
