/* SPDX-License-Identifier: MIT */
/* Markers of special files: see special.h. */
#include "fs/special.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "fs/base64.h"
#include "fs/names.h"
#include "fs/sidecar.h"

enum {
	MAC_SIZE = 16,
	MARKER_NAME_SIZE = 64,
};

void special_marker_name(const char *stored, char name[MARKER_NAME_SIZE])
{
	uint8_t hash[32];

	(void)crypto_generichash(hash, sizeof(hash), (const uint8_t *)stored, strlen(stored), NULL,
				 0);
	memcpy(name, NAMES_MARKER, sizeof(NAMES_MARKER) - 1);
	base64_encode(hash, sizeof(hash), name + sizeof(NAMES_MARKER) - 1);
}

static void mac_of(const struct keyring *keys, const struct special *s, uint8_t mac[MAC_SIZE])
{
	bool device = S_ISCHR(s->mode) || S_ISBLK(s->mode);
	crypto_generichash_state state;
	uint8_t what[12];

	bytes_put32(what, s->mode & S_IFMT);
	bytes_put32(what + 4, device ? major(s->rdev) : 0);
	bytes_put32(what + 8, device ? minor(s->rdev) : 0);
	/* None can fail: every size is a constant within the functions' bounds. */
	(void)crypto_generichash_init(&state, keys->directory, sizeof(keys->directory), MAC_SIZE);
	(void)crypto_generichash_update(&state, (const uint8_t *)"special", 7);
	(void)crypto_generichash_update(&state, s->dir_id, FORMAT_DIR_ID_SIZE);
	(void)crypto_generichash_update(&state, what, sizeof(what));
	(void)crypto_generichash_update(&state, (const uint8_t *)s->stored, strlen(s->stored));
	(void)crypto_generichash_final(&state, mac, MAC_SIZE);
}

/* What the marker holds: 0 and 0, 1 or 2 MACs, none if there is no sound marker; or -errno. */
static int read_marker(int dirfd, const char *name, uint8_t macs[2 * MAC_SIZE], size_t *n)
{
	size_t size;
	int r = sidecar_read(dirfd, name, macs, 2 * MAC_SIZE, &size);

	*n = r || size % MAC_SIZE ? 0 : size / MAC_SIZE;
	return r < 0 ? r : 0;
}

static bool holds(const uint8_t *macs, size_t n, const uint8_t mac[MAC_SIZE])
{
	for (size_t i = 0; i < n; i++)
		if (secmem_equal(macs + i * MAC_SIZE, mac, MAC_SIZE))
			return true;
	return false;
}

int special_allow(int dirfd, const struct keyring *keys, const struct special *s)
{
	char name[MARKER_NAME_SIZE];
	uint8_t macs[3 * MAC_SIZE]; /* the new one, then what was there */
	size_t n;
	int r;

	special_marker_name(s->stored, name);
	mac_of(keys, s, macs);
	r = read_marker(dirfd, name, macs + MAC_SIZE, &n);
	if (r || holds(macs + MAC_SIZE, n, macs))
		return r;
	return sidecar_write(dirfd, name, macs, n ? 2 * MAC_SIZE : MAC_SIZE);
}

int special_is_allowed(int dirfd, const struct keyring *keys, const struct special *s)
{
	char name[MARKER_NAME_SIZE];
	uint8_t macs[2 * MAC_SIZE];
	uint8_t mac[MAC_SIZE];
	size_t n;
	int r;

	special_marker_name(s->stored, name);
	mac_of(keys, s, mac);
	r = read_marker(dirfd, name, macs, &n);
	return r ? r : holds(macs, n, mac);
}

bool special_is_allowed_twice(int dirfd, const struct keyring *keys, const struct special *s)
{
	char name[MARKER_NAME_SIZE];
	uint8_t macs[2 * MAC_SIZE];
	size_t n;

	special_marker_name(s->stored, name);
	return special_is_allowed(dirfd, keys, s) == 1 && !read_marker(dirfd, name, macs, &n) &&
	       n > 1;
}

int special_allow_only(int dirfd, const struct keyring *keys, const struct special *s)
{
	char name[MARKER_NAME_SIZE];
	uint8_t mac[MAC_SIZE];

	special_marker_name(s->stored, name);
	mac_of(keys, s, mac);
	return sidecar_write(dirfd, name, mac, sizeof(mac));
}

void special_forget(int dirfd, const char *stored)
{
	char name[MARKER_NAME_SIZE];

	special_marker_name(stored, name);
	(void)unlinkat(dirfd, name, 0); /* one that stays allows what is not there */
}
