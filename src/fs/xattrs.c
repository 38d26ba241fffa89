/* SPDX-License-Identifier: MIT */
/* Attributes and their stored form: see xattrs.h for the contract. */
#include "fs/xattrs.h"

#include <errno.h>
#include <string.h>

#include "fs/base64.h"
#include "fs/box.h"
#include "fs/dirrec.h"
#include "fs/place.h"
#include "fs/siv.h"

#define PLAIN_PREFIX  "user."
#define STORED_PREFIX "user.cryptfs."

enum {
	PLAIN_PREFIX_SIZE = sizeof(PLAIN_PREFIX) - 1,
	STORED_PREFIX_SIZE = sizeof(STORED_PREFIX) - 1,
	SEALED_MAX = (XATTRS_NAME_MAX - STORED_PREFIX_SIZE) * 3 / 4,
	OWNER_ID_MAX = KEYS_FILE_ID_SIZE,
	AAD_LABEL_SIZE = 5,
	AAD_MAX = AAD_LABEL_SIZE + OWNER_ID_MAX + XATTRS_NAME_MAX,
};

_Static_assert((int)BOX_OVERHEAD == (int)XATTRS_OVERHEAD, "a value is one box");

/* The part of a name behind "user.", or NULL if there is none. */
static const char *name_in_user(const char *plain)
{
	size_t size = strnlen(plain, XATTRS_NAME_MAX + 1);

	if (size <= PLAIN_PREFIX_SIZE || size > XATTRS_NAME_MAX ||
	    memcmp(plain, PLAIN_PREFIX, PLAIN_PREFIX_SIZE) != 0)
		return NULL;
	return plain + PLAIN_PREFIX_SIZE;
}

static struct siv_place name_place(const struct keyring *keys, const struct xattrs_owner *owner)
{
	return (struct siv_place){ keys->xattr_names, owner->id, owner->id_size };
}

int xattrs_name_encode(const struct keyring *keys, const struct xattrs_owner *owner,
		       const char *plain, char stored[XATTRS_NAME_MAX + 1])
{
	struct siv_place place = name_place(keys, owner);
	const char *name = name_in_user(plain);
	uint8_t sealed[SEALED_MAX];
	size_t name_size;
	int r;

	if (!name)
		return -EINVAL;
	name_size = strlen(name);
	if (siv_sealed_size(name_size) > sizeof(sealed))
		return -ERANGE;
	r = siv_seal(&place, name, name_size, sealed);
	if (r)
		return r;
	memcpy(stored, STORED_PREFIX, STORED_PREFIX_SIZE);
	base64_encode(sealed, siv_sealed_size(name_size), stored + STORED_PREFIX_SIZE);
	return 0;
}

int xattrs_name_decode(const struct keyring *keys, const struct xattrs_owner *owner,
		       const char *stored, char plain[XATTRS_NAME_MAX + 1])
{
	struct siv_place place = name_place(keys, owner);
	char name[SIV_TEXT_MAX + 1];
	uint8_t sealed[SEALED_MAX];
	size_t sealed_size;
	int r;

	if (strncmp(stored, STORED_PREFIX, STORED_PREFIX_SIZE) != 0 ||
	    strcmp(stored, DIRREC_XATTR) == 0 || strcmp(stored, PLACE_XATTR) == 0)
		return XATTRS_FOREIGN;
	stored += STORED_PREFIX_SIZE;
	if (base64_decode(stored, strlen(stored), sealed, sizeof(sealed), &sealed_size))
		return XATTRS_DAMAGED;
	r = siv_open(&place, sealed, sealed_size, name);
	if (r)
		return r == SIV_FORGED ? XATTRS_DAMAGED : r;
	memcpy(plain, PLAIN_PREFIX, PLAIN_PREFIX_SIZE);
	memcpy(plain + PLAIN_PREFIX_SIZE, name, strlen(name) + 1);
	return 0;
}

/* "xattr" ‖ owner id ‖ NAME: its size, or 0 for a name or owner that cannot be. */
static size_t value_aad(const struct xattrs_owner *owner, const char *plain_name,
			uint8_t aad[AAD_MAX])
{
	const char *name = name_in_user(plain_name);

	if (!name || owner->id_size > OWNER_ID_MAX)
		return 0;
	memcpy(aad, "xattr", AAD_LABEL_SIZE);
	memcpy(aad + AAD_LABEL_SIZE, owner->id, owner->id_size);
	memcpy(aad + AAD_LABEL_SIZE + owner->id_size, name, strlen(name));
	return AAD_LABEL_SIZE + owner->id_size + strlen(name);
}

int xattrs_value_seal(const struct keyring *keys, enum cipher_suite suite,
		      const struct xattrs_owner *owner, const char *plain_name, const void *value,
		      size_t size, uint8_t *out)
{
	uint8_t aad[AAD_MAX];
	struct box_place place = { suite, keys->xattr_values, aad, 0 };

	place.aad_size = value_aad(owner, plain_name, aad);
	if (!place.aad_size)
		return -EINVAL;
	if (size > XATTRS_VALUE_MAX)
		return -E2BIG;
	if (size)
		memcpy(out + BOX_OVERHEAD, value, size);
	return box_seal(&place, out, size);
}

int xattrs_value_open(const struct keyring *keys, enum cipher_suite suite,
		      const struct xattrs_owner *owner, const char *plain_name, uint8_t *raw,
		      size_t size)
{
	uint8_t aad[AAD_MAX];
	struct box_place place = { suite, keys->xattr_values, aad, 0 };
	int r;

	place.aad_size = value_aad(owner, plain_name, aad);
	if (!place.aad_size)
		return -EINVAL;
	if (size > XATTRS_VALUE_MAX + XATTRS_OVERHEAD)
		return XATTRS_DAMAGED;
	r = box_open(&place, raw, size);
	return r == BOX_FORGED ? XATTRS_DAMAGED : r;
}
