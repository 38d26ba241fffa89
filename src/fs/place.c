/* SPDX-License-Identifier: MIT */
/*
 * The attribute that lets a file be in a place: le64 sequence ‖ two bindings ‖
 * MAC.  See place.h.
 */
#include "fs/place.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/bytes.h"
#include "base/secmem.h"

enum {
	MAC_SIZE = 16,
	MAC_AT = PLACE_SIZE - MAC_SIZE,
};

_Static_assert((int)MAC_AT == 8 + 2 * (int)FORMAT_BINDING_SIZE, "sequence, bindings, MAC");

static void mac_of(const struct keyring *keys, const uint8_t id[KEYS_FILE_ID_SIZE],
		   const uint8_t raw[PLACE_SIZE], uint8_t mac[MAC_SIZE])
{
	crypto_generichash_state state;

	/* None can fail: every size is a constant within the functions' bounds. */
	(void)crypto_generichash_init(&state, keys->directory, sizeof(keys->directory), MAC_SIZE);
	(void)crypto_generichash_update(&state, (const uint8_t *)"place", 5);
	(void)crypto_generichash_update(&state, id, KEYS_FILE_ID_SIZE);
	(void)crypto_generichash_update(&state, raw, MAC_AT);
	(void)crypto_generichash_final(&state, mac, MAC_SIZE);
}

int place_write(int fd, const struct keyring *keys, const uint8_t id[KEYS_FILE_ID_SIZE],
		const struct place_record *place)
{
	uint8_t raw[PLACE_SIZE];

	bytes_put64(raw, place->sequence);
	memcpy(raw + 8, place->bindings, sizeof(place->bindings));
	mac_of(keys, id, raw, raw + MAC_AT);
	return fsetxattr(fd, PLACE_XATTR, raw, sizeof(raw), 0) ? -errno : 0;
}

int place_read(int fd, const struct keyring *keys, const uint8_t id[KEYS_FILE_ID_SIZE],
	       struct place_record *place)
{
	uint8_t raw[PLACE_SIZE];
	uint8_t mac[MAC_SIZE];
	ssize_t size = fgetxattr(fd, PLACE_XATTR, raw, sizeof(raw));

	if (size < 0 && errno != ENODATA && errno != EOPNOTSUPP && errno != ERANGE)
		return -errno;
	if (size != PLACE_SIZE)
		return PLACE_MISSING;
	mac_of(keys, id, raw, mac);
	if (!secmem_equal(mac, raw + MAC_AT, MAC_SIZE))
		return PLACE_MISSING;
	place->sequence = bytes_get64(raw);
	memcpy(place->bindings, raw + 8, sizeof(place->bindings));
	return 0;
}
