/* SPDX-License-Identifier: MIT */
/*
 * Derived keys, against values computed with another implementation of
 * BLAKE2b (Python's hashlib): subkey i is BLAKE2b keyed with the master key,
 * salt i in 8 bytes little-endian, personalised "cryptfs1"; a file's key is
 * BLAKE2b-256 of its id, keyed with the content subkey.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/keys.h"

static void check_hex(const uint8_t *bytes, size_t size, const char *hex)
{
	char got[200];

	for (size_t i = 0; i < size; i++)
		(void)snprintf(got + 2 * i, sizeof(got) - 2 * i, "%02x", bytes[i]);
	assert_string_equal(got, hex);
}

static void subkeys_have_their_fixed_values(void **state)
{
	uint8_t master[KEYS_MASTER_SIZE];
	struct keyring r;

	(void)state;
	for (uint8_t i = 0; i < sizeof(master); i++)
		master[i] = i;
	assert_int_equal(keys_derive(master, &r), 0);
	check_hex(r.names, 64,
		  "6b60cfd530cdc0550b7650aeebaac1b92b8d169e5600193ddda503285fd01ae7"
		  "544cb094bff9613c819af5e59cc841244ce21b2e64449ad553bad22d18458b11");
	check_hex(r.content, 32,
		  "eaba8f8a191709fb80c3260d9e185359ced9e65aaf07087df063c5fcc2b8f217");
	check_hex(r.xattr_names, 64,
		  "12de36a12474f52727fc5e912cd46f2884b2dcfb9a48337b1741516833003dd7"
		  "33972206a282b0bbdad5e20692b14d6b6b6e98cc2978496b613a93b4d2a9d997");
	check_hex(r.xattr_values, 32,
		  "a126e2245809fc35dbb9ffe59c76efdac392f89b71d5a2cbd19eb5c2e0209385");
	check_hex(r.directory, 32,
		  "6efa88f307627de31274ab31f0ae416f79941603f51f98912b075a962275531a");
	check_hex(r.config, 32, "14987327cfe5361c3d2ce421fe5307e123f86ed597df0558614192018e032880");
	check_hex(r.links, 32, "b4b5c9304461df0bd783b1c8b14dd0ad8f9fdcfaf0731899e3b272b4304fc1db");
	assert_memory_equal(r.master, master, sizeof(master));
}

static void a_file_key_has_its_fixed_value(void **state)
{
	uint8_t master[KEYS_MASTER_SIZE];
	uint8_t id[KEYS_FILE_ID_SIZE];
	uint8_t key[32];
	struct keyring r;

	(void)state;
	for (uint8_t i = 0; i < 32; i++) {
		master[i] = i;
		id[i] = (uint8_t)(100 + i);
	}
	assert_int_equal(keys_derive(master, &r), 0);
	keys_file(&r, id, key);
	check_hex(key, 32, "ae02bb5d92cdbed5259eb3b6b0ae8247356454e26f01fd44f175e255bac29583");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subkeys_have_their_fixed_values),
		cmocka_unit_test(a_file_key_has_its_fixed_value),
	};

	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
