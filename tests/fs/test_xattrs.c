/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "fs/xattrs.h"

static struct keyring keys;

static const uint8_t file_id[32] = { 1, 2, 3 };
static const uint8_t dir_id[16] = { 1, 2, 3 };
static const struct xattrs_owner file = { file_id, sizeof(file_id) };
static const struct xattrs_owner dir = { dir_id, sizeof(dir_id) };

/* "user." and size bytes, none of them zero. */
static void make_name(char *plain, size_t size)
{
	strcpy(plain, "user.");
	for (size_t i = 0; i < size; i++)
		plain[5 + i] = (char)(i % 255 + 1);
	plain[5 + size] = 0;
}

static void names_of_every_length_that_fits_come_back(void **state)
{
	char plain[300];
	char stored[XATTRS_NAME_MAX + 1];
	char found[XATTRS_NAME_MAX + 1];

	(void)state;
	for (size_t size = 1; size <= 160; size++) {
		make_name(plain, size);
		assert_int_equal(xattrs_name_encode(&keys, &file, plain, stored), 0);
		assert_true(strlen(stored) <= XATTRS_NAME_MAX);
		assert_memory_equal(stored, "user.cryptfs.", 13);
		assert_int_equal(xattrs_name_decode(&keys, &file, stored, found), 0);
		assert_string_equal(found, plain);
	}
	for (size_t size = 161; size <= 250; size++) {
		make_name(plain, size);
		assert_int_equal(xattrs_name_encode(&keys, &file, plain, stored), -ERANGE);
	}
}

static void names_outside_user_are_refused(void **state)
{
	char plain[300];
	char stored[XATTRS_NAME_MAX + 1];

	(void)state;
	assert_int_equal(xattrs_name_encode(&keys, &file, "user.", stored), -EINVAL);
	assert_int_equal(xattrs_name_encode(&keys, &file, "", stored), -EINVAL);
	assert_int_equal(xattrs_name_encode(&keys, &file, "trusted.x", stored), -EINVAL);
	make_name(plain, 251);
	assert_int_equal(xattrs_name_encode(&keys, &file, plain, stored), -EINVAL);
}

static void names_that_are_not_ours_are_foreign(void **state)
{
	char found[XATTRS_NAME_MAX + 1];

	(void)state;
	assert_int_equal(xattrs_name_decode(&keys, &file, "user.x", found), XATTRS_FOREIGN);
	assert_int_equal(xattrs_name_decode(&keys, &file, "security.x", found), XATTRS_FOREIGN);
	assert_int_equal(xattrs_name_decode(&keys, &file, "", found), XATTRS_FOREIGN);
	assert_int_equal(xattrs_name_decode(&keys, &dir, "user.cryptfs.dir", found),
			 XATTRS_FOREIGN);
	assert_int_equal(xattrs_name_decode(&keys, &dir, "user.cryptfs.dis", found),
			 XATTRS_DAMAGED);
	assert_int_equal(xattrs_name_decode(&keys, &dir, "user.cryptfs.", found), XATTRS_DAMAGED);
}

static void a_name_with_any_character_changed_is_damaged(void **state)
{
	char stored[XATTRS_NAME_MAX + 1];
	char found[XATTRS_NAME_MAX + 1];

	(void)state;
	assert_int_equal(xattrs_name_encode(&keys, &file, "user.mime_type", stored), 0);
	for (size_t i = 13; stored[i]; i++) {
		char was = stored[i];

		stored[i] = was == 'A' ? 'B' : 'A';
		assert_int_equal(xattrs_name_decode(&keys, &file, stored, found), XATTRS_DAMAGED);
		stored[i] = '/';
		assert_int_equal(xattrs_name_decode(&keys, &file, stored, found), XATTRS_DAMAGED);
		stored[i] = was;
	}
	stored[strlen(stored) - 1] = 0;
	assert_int_equal(xattrs_name_decode(&keys, &file, stored, found), XATTRS_DAMAGED);
}

static void a_name_belongs_to_its_owner(void **state)
{
	char stored[XATTRS_NAME_MAX + 1];
	char found[XATTRS_NAME_MAX + 1];

	(void)state;
	assert_int_equal(xattrs_name_encode(&keys, &file, "user.x", stored), 0);
	assert_int_equal(xattrs_name_decode(&keys, &dir, stored, found), XATTRS_DAMAGED);
	assert_int_equal(xattrs_name_decode(&keys, &file, stored, found), 0);
}

static void values_of_all_sizes_come_back(void **state)
{
	const size_t sizes[] = { 0, 1, 15, 16, 17, 4095, 4096, XATTRS_VALUE_MAX };
	const enum cipher_suite suites[] = { CIPHER_AES_256_GCM, CIPHER_CHACHA20_POLY1305 };
	static uint8_t value[XATTRS_VALUE_MAX + 1];
	static uint8_t raw[XATTRS_VALUE_MAX + 1 + XATTRS_OVERHEAD];

	(void)state;
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < 16; i++) {
		size_t size = sizes[i / 2];

		assert_int_equal(
			xattrs_value_seal(&keys, suites[i % 2], &file, "user.x", value, size, raw),
			0);
		assert_int_equal(xattrs_value_open(&keys, suites[i % 2], &file, "user.x", raw,
						   size + XATTRS_OVERHEAD),
				 0);
		assert_memory_equal(raw + XATTRS_OVERHEAD, value, size);
	}
	assert_int_equal(xattrs_value_seal(&keys, CIPHER_AES_256_GCM, &file, "user.x", value,
					   sizeof(value), raw),
			 -E2BIG);
	assert_int_equal(
		xattrs_value_open(&keys, CIPHER_AES_256_GCM, &file, "user.x", raw, sizeof(raw)),
		XATTRS_DAMAGED);
}

enum { RAW_SIZE = XATTRS_OVERHEAD + 5 };

static void seal_hello(uint8_t raw[RAW_SIZE])
{
	assert_int_equal(
		xattrs_value_seal(&keys, CIPHER_AES_256_GCM, &file, "user.x", "hello", 5, raw), 0);
}

static void no_two_seals_are_alike(void **state)
{
	uint8_t first[RAW_SIZE] = { 0 };
	uint8_t second[RAW_SIZE] = { 0 };

	(void)state;
	seal_hello(first);
	seal_hello(second);
	assert_memory_not_equal(first, second, CIPHER_NONCE_SIZE);
	assert_memory_not_equal(first + XATTRS_OVERHEAD, second + XATTRS_OVERHEAD, 5);
}

static void a_value_with_any_byte_changed_is_damaged(void **state)
{
	uint8_t raw[RAW_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(raw); i++) {
		seal_hello(raw);
		raw[i] ^= 0x80;
		assert_int_equal(xattrs_value_open(&keys, CIPHER_AES_256_GCM, &file, "user.x", raw,
						   sizeof(raw)),
				 XATTRS_DAMAGED);
	}
	for (size_t size = 0; size < sizeof(raw); size++) {
		seal_hello(raw);
		assert_int_equal(
			xattrs_value_open(&keys, CIPHER_AES_256_GCM, &file, "user.x", raw, size),
			XATTRS_DAMAGED);
	}
}

static int open_hello(const struct xattrs_owner *owner, const char *name)
{
	uint8_t raw[RAW_SIZE];

	seal_hello(raw);
	return xattrs_value_open(&keys, CIPHER_AES_256_GCM, owner, name, raw, sizeof(raw));
}

static void a_value_belongs_to_its_owner_and_name(void **state)
{
	(void)state;
	assert_int_equal(open_hello(&file, "user.x"), 0);
	assert_int_equal(open_hello(&file, "user.y"), XATTRS_DAMAGED);
	assert_int_equal(open_hello(&dir, "user.x"), XATTRS_DAMAGED);
	assert_int_equal(open_hello(&file, "trusted.x"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_every_length_that_fits_come_back),
		cmocka_unit_test(names_outside_user_are_refused),
		cmocka_unit_test(names_that_are_not_ours_are_foreign),
		cmocka_unit_test(a_name_with_any_character_changed_is_damaged),
		cmocka_unit_test(a_name_belongs_to_its_owner),
		cmocka_unit_test(values_of_all_sizes_come_back),
		cmocka_unit_test(no_two_seals_are_alike),
		cmocka_unit_test(a_value_with_any_byte_changed_is_damaged),
		cmocka_unit_test(a_value_belongs_to_its_owner_and_name),
	};

	alarm(60); /* a hang is a failure */
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("xattrs", tests, NULL, NULL);
}
