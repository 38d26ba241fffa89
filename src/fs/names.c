/* SPDX-License-Identifier: MIT */
/* File names and their stored form: see names.h for the contract. */
#include "fs/names.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fs/base64.h"
#include "fs/dirrec.h"
#include "fs/sidecar.h"
#include "fs/siv.h"

#define LONG_PREFIX    "long."
#define LINK_PREFIX    "link."
#define SIDECAR_SUFFIX ".name"
#define DAMAGED_PREFIX "cryptfs-damaged-"

enum {
	HASH_SIZE = 32,
	HASH_TEXT_SIZE = BASE64_SIZE(HASH_SIZE),
	LONG_SIZE = sizeof(LONG_PREFIX) - 1 + HASH_TEXT_SIZE,
	SIDECAR_NAME_SIZE = LONG_SIZE + sizeof(SIDECAR_SUFFIX) - 1,
	/* Sealed bytes whose base64 still fits a name; longer ones are hashed. */
	SHORT_SEALED_MAX = NAMES_STORED_MAX * 3 / 4,
};

_Static_assert((int)NAMES_SEALED_MAX == (int)SIV_SEALED_MAX, "every name can be sealed");

static struct siv_place name_place(const struct keyring *keys, const uint8_t *dir_id)
{
	return (struct siv_place){ keys->names, dir_id, FORMAT_DIR_ID_SIZE };
}

/* prefix and the hash of some bytes, with a zero. */
static void hashed_name(const char *prefix, const void *bytes, size_t size, char *name)
{
	uint8_t hash[HASH_SIZE];
	size_t prefix_size = strlen(prefix);

	(void)crypto_generichash(hash, sizeof(hash), bytes, size, NULL, 0);
	memcpy(name, prefix, prefix_size);
	base64_encode(hash, sizeof(hash), name + prefix_size);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

int names_temporary(char name[NAMES_STORED_MAX + 1])
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	(void)snprintf(name, NAMES_STORED_MAX + 1, NAMES_TEMPORARY "%016llx",
		       (unsigned long long)random);
	return 0;
}

/* True if a plain name is one that a directory may hold. */
static bool is_entry_name(const char *plain)
{
	return plain[0] && strcmp(plain, ".") != 0 && strcmp(plain, "..") != 0 &&
	       !strchr(plain, '/');
}

int names_encode(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		 const char *plain, struct names_stored *stored)
{
	struct siv_place place = name_place(keys, dir_id);
	size_t plain_size = strnlen(plain, NAMES_PLAIN_MAX + 1);
	size_t sealed_size = siv_sealed_size(plain_size);
	int r;

	if (plain_size > NAMES_PLAIN_MAX)
		return -ENAMETOOLONG;
	if (!is_entry_name(plain))
		return -EINVAL;
	r = siv_seal(&place, plain, plain_size, stored->sealed);
	if (r)
		return r;
	if (sealed_size > SHORT_SEALED_MAX) {
		hashed_name(LONG_PREFIX, stored->sealed, sealed_size, stored->name);
		stored->sealed_size = (uint16_t)sealed_size;
		return NAMES_LONG;
	}
	base64_encode(stored->sealed, sealed_size, stored->name);
	stored->sealed_size = 0;
	return 0;
}

/* True if name is prefix, the text of a hash, and suffix. */
static bool is_hashed_name(const char *name, const char *prefix, const char *suffix)
{
	uint8_t hash[HASH_SIZE];
	size_t size = strlen(prefix);

	return starts_with(name, prefix) &&
	       strlen(name) == size + HASH_TEXT_SIZE + strlen(suffix) &&
	       strcmp(name + size + HASH_TEXT_SIZE, suffix) == 0 &&
	       base64_decode(name + size, HASH_TEXT_SIZE, hash, sizeof(hash), &size) == 0;
}

bool names_are_ours(const char *stored)
{
	return strcmp(stored, DIRREC_FILE) == 0 || starts_with(stored, NAMES_TEMPORARY) ||
	       is_hashed_name(stored, LONG_PREFIX, SIDECAR_SUFFIX) ||
	       is_hashed_name(stored, LINK_PREFIX, "") || is_hashed_name(stored, NAMES_MARKER, "");
}

/* Open the sealed bytes of a name: 0, NAMES_DAMAGED or -errno. */
static int open_name(const struct keyring *keys, const uint8_t *dir_id, const uint8_t *sealed,
		     size_t sealed_size, char plain[NAMES_PLAIN_MAX + 1])
{
	struct siv_place place = name_place(keys, dir_id);
	int r = siv_open(&place, sealed, sealed_size, plain);

	if (r == SIV_FORGED || (!r && !is_entry_name(plain)))
		return NAMES_DAMAGED;
	return r;
}

int names_decode(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		 const char *stored, char plain[NAMES_PLAIN_MAX + 1])
{
	uint8_t sealed[SHORT_SEALED_MAX];
	size_t sealed_size;

	if (names_are_ours(stored))
		return NAMES_OURS;
	if (is_hashed_name(stored, LONG_PREFIX, ""))
		return NAMES_LONG;
	if (base64_decode(stored, strlen(stored), sealed, sizeof(sealed), &sealed_size))
		return NAMES_DAMAGED;
	return open_name(keys, dir_id, sealed, sealed_size, plain);
}

int names_decode_long(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE],
		      const char *stored, const uint8_t *sealed, size_t sealed_size,
		      char plain[NAMES_PLAIN_MAX + 1])
{
	char expected[LONG_SIZE + 1];

	/* A name that fits is never stored this way. */
	if (sealed_size <= SHORT_SEALED_MAX || sealed_size > NAMES_SEALED_MAX)
		return NAMES_DAMAGED;
	hashed_name(LONG_PREFIX, sealed, sealed_size, expected);
	if (strcmp(stored, expected) != 0)
		return NAMES_DAMAGED;
	return open_name(keys, dir_id, sealed, sealed_size, plain);
}

/* True if stored can be shown behind DAMAGED_PREFIX as it is. */
static bool is_showable(const char *stored)
{
	for (const char *c = stored; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '/')
			return false;
	return strlen(stored) + strlen(DAMAGED_PREFIX) <= NAMES_PLAIN_MAX;
}

void names_show_damaged(const char *stored, char shown[NAMES_PLAIN_MAX + 1])
{
	if (!is_showable(stored)) {
		hashed_name(DAMAGED_PREFIX, stored, strlen(stored), shown);
		return;
	}
	strcpy(shown, DAMAGED_PREFIX);
	strcat(shown, stored);
}

bool names_is_damaged_show(const char *plain)
{
	return starts_with(plain, DAMAGED_PREFIX);
}

const char *names_damaged_stored(const char *shown)
{
	return shown + strlen(DAMAGED_PREFIX);
}

/* ---- sidecars ---------------------------------------------------------- */

/* stored must be a long name. */
static void sidecar_name(const char *stored, char name[SIDECAR_NAME_SIZE + 1])
{
	memcpy(name, stored, LONG_SIZE);
	strcpy(name + LONG_SIZE, SIDECAR_SUFFIX);
}

bool names_sidecar_owner(const char *sidecar, char stored[NAMES_STORED_MAX + 1])
{
	if (!is_hashed_name(sidecar, LONG_PREFIX, SIDECAR_SUFFIX))
		return false;
	memcpy(stored, sidecar, LONG_SIZE);
	stored[LONG_SIZE] = '\0';
	return true;
}

int names_sidecar_write(int dirfd, const struct names_stored *stored)
{
	char name[SIDECAR_NAME_SIZE + 1];

	if (stored->sealed_size == 0)
		return 0;
	sidecar_name(stored->name, name);
	return sidecar_write(dirfd, name, stored->sealed, stored->sealed_size);
}

void names_sidecar_remove(int dirfd, const char *stored)
{
	char name[SIDECAR_NAME_SIZE + 1];

	if (!is_hashed_name(stored, LONG_PREFIX, ""))
		return;
	sidecar_name(stored, name);
	(void)unlinkat(dirfd, name, 0); /* one that stays is no entry */
}

int names_decode_at(const struct keyring *keys, const uint8_t dir_id[FORMAT_DIR_ID_SIZE], int dirfd,
		    const char *stored, char plain[NAMES_PLAIN_MAX + 1])
{
	char name[SIDECAR_NAME_SIZE + 1];
	uint8_t sealed[NAMES_SEALED_MAX];
	size_t sealed_size;
	int r = names_decode(keys, dir_id, stored, plain);

	if (r != NAMES_LONG)
		return r;
	sidecar_name(stored, name);
	r = sidecar_read(dirfd, name, sealed, sizeof(sealed), &sealed_size);
	if (r)
		return r == SIDECAR_DAMAGED ? NAMES_DAMAGED : r;
	return names_decode_long(keys, dir_id, stored, sealed, sealed_size, plain);
}
