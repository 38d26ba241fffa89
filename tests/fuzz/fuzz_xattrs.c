/* SPDX-License-Identifier: MIT */
/* Stored names and values of extended attributes. */
#include "fuzz.h"

#include "fs/base64.h"
#include "fs/siv.h"
#include "fs/xattrs.h"

static const uint8_t id[16] = { 1, 2, 3 };
static const struct xattrs_owner owner = { id, sizeof(id) };

/* A name that decodes must be stored under exactly this name. */
static void decode_name(const char *stored)
{
	char plain[XATTRS_NAME_MAX + 1];
	char again[XATTRS_NAME_MAX + 1];

	if (xattrs_name_decode(fuzz_keys(), &owner, stored, plain) != 0)
		return;
	CHECK(strncmp(plain, "user.", 5) == 0 && strlen(plain) > 5);
	CHECK(xattrs_name_encode(fuzz_keys(), &owner, plain, again) == 0);
	CHECK(strcmp(stored, again) == 0);
}

static void decode_stored(const uint8_t *data, size_t size)
{
	char stored[XATTRS_NAME_MAX + 1];

	fuzz_fill((uint8_t *)stored, sizeof(stored), data, size);
	stored[XATTRS_NAME_MAX] = 0;
	decode_name(stored);
}

/* Any bytes, sealed as if they were a name; too long ones as well. */
static void decode_sealed(const uint8_t *text, size_t size)
{
	struct siv_place place = { fuzz_keys()->xattr_names, id, sizeof(id) };
	uint8_t sealed[SIV_SEALED_MAX];
	char stored[13 + BASE64_SIZE(SIV_SEALED_MAX) + 1] = "user.cryptfs.";

	if (siv_seal(&place, (const char *)text, size, sealed) != 0)
		return;
	base64_encode(sealed, siv_sealed_size(size), stored + 13);
	decode_name(stored);
}

static void open_value(const uint8_t *data, size_t size)
{
	static uint8_t raw[XATTRS_VALUE_MAX + XATTRS_OVERHEAD + 1];

	size = fuzz_fill(raw, sizeof(raw), data, size);
	CHECK(xattrs_value_open(fuzz_keys(), CIPHER_AES_256_GCM, &owner, "user.x", raw, size) ==
	      XATTRS_DAMAGED);
	if (size > XATTRS_VALUE_MAX)
		return;
	CHECK(xattrs_value_seal(fuzz_keys(), CIPHER_AES_256_GCM, &owner, "user.x", data, size,
				raw) == 0);
	CHECK(xattrs_value_open(fuzz_keys(), CIPHER_AES_256_GCM, &owner, "user.x", raw,
				size + XATTRS_OVERHEAD) == 0);
	CHECK(!size || memcmp(raw + XATTRS_OVERHEAD, data, size) == 0);
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
		open_value(data + 1, size - 1);
	return 0;
}
