/* SPDX-License-Identifier: MIT */
/* Subkeys and file keys: see keys.h for the contract. */
#include "engine/keys.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static const char context[crypto_kdf_CONTEXTBYTES] = { 'c', 'r', 'y', 'p', 't', 'f', 's', '1' };

int keys_derive(const uint8_t master[KEYS_MASTER_SIZE], struct keyring *ring)
{
	const struct {
		uint8_t *key;
		size_t size;
	} subkeys[] = {
		{ ring->names, sizeof(ring->names) },
		{ ring->content, sizeof(ring->content) },
		{ ring->xattr_names, sizeof(ring->xattr_names) },
		{ ring->xattr_values, sizeof(ring->xattr_values) },
		{ ring->directory, sizeof(ring->directory) },
		{ ring->config, sizeof(ring->config) },
		{ ring->links, sizeof(ring->links) },
	};

	if (sodium_init() < 0)
		return -ENOSYS;
	for (size_t i = 0; i < sizeof(subkeys) / sizeof(subkeys[0]); i++)
		if (crypto_kdf_derive_from_key(subkeys[i].key, subkeys[i].size, i + 1, context,
					       master))
			return -EINVAL;
	memcpy(ring->master, master, sizeof(ring->master));
	return 0;
}

void keys_file(const struct keyring *ring, const uint8_t id[KEYS_FILE_ID_SIZE], uint8_t key[32])
{
	/* Cannot fail: every size is a constant within the function's bounds. */
	(void)crypto_generichash(key, 32, id, KEYS_FILE_ID_SIZE, ring->content,
				 sizeof(ring->content));
}
