/* SPDX-License-Identifier: MIT */
/* Configurations: what is accepted must encode to what decodes to the same. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "fs/vault_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vault_config zeros;
	static struct vault_config config;
	static struct vault_config again;
	uint8_t mac[VAULT_CONFIG_MAC_SIZE];
	char *json;
	int r = vault_config_decode((const char *)data, size, &config);

	if (r) {
		CHECK(r == VAULT_DAMAGED || r == VAULT_TOO_NEW);
		CHECK(memcmp(&config, &zeros, sizeof(config)) == 0);
		return 0;
	}
	CHECK(vault_config_mac(&config, fuzz_keys(), mac) == 0);
	CHECK(vault_config_encode(&config, &json) == 0);
	CHECK(vault_config_decode(json, strlen(json), &again) == 0);
	CHECK(memcmp(&config, &again, sizeof(config)) == 0);
	free(json);
	return 0;
}
