/* SPDX-License-Identifier: MIT */
/* The place attribute counts for its file only, and whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/xattr.h>

#include "fixture.h"
#include "fs/place.h"

static const uint8_t id[KEYS_FILE_ID_SIZE] = "the file whose place this is ...";
static struct keyring keys;
static struct tempdir dir;
static int fd = -1;

static int begin(void **state)
{
	(void)state;
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	tempdir_make(&dir);
	fd = openat(dir.fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(fd);
	tempdir_remove(&dir);
	return 0;
}

static const struct place_record written = { .sequence = 0x0102030405060708,
					     .bindings = { "here it is ....", "there it goes.." } };

/* Where there are attributes. */
static void write_it(void)
{
	int r = place_write(fd, &keys, id, &written);

	if (r == -EOPNOTSUPP)
		skip();
	assert_int_equal(r, 0);
}

static void says_what_was_written(void **state)
{
	struct place_record place;

	(void)state;
	assert_int_equal(place_read(fd, &keys, id, &place), PLACE_MISSING);
	write_it();
	assert_int_equal(place_read(fd, &keys, id, &place), 0);
	assert_memory_equal(&place, &written, sizeof(place));
}

static void means_nothing_for_another_file_or_vault(void **state)
{
	uint8_t master[KEYS_MASTER_SIZE] = { 1 };
	uint8_t other[KEYS_FILE_ID_SIZE];
	struct place_record place;
	struct keyring others;

	(void)state;
	write_it();
	memcpy(other, id, sizeof(other));
	other[31] ^= 1;
	assert_int_equal(place_read(fd, &keys, other, &place), PLACE_MISSING);
	assert_int_equal(keys_derive(master, &others), 0);
	assert_int_equal(place_read(fd, &others, id, &place), PLACE_MISSING);
}

static void means_nothing_when_it_was_changed(void **state)
{
	uint8_t raw[PLACE_SIZE + 1] = { 0 };
	struct place_record place;

	(void)state;
	write_it();
	assert_int_equal(fgetxattr(fd, PLACE_XATTR, raw, PLACE_SIZE), PLACE_SIZE);
	for (size_t at = 0; at < PLACE_SIZE; at++) {
		raw[at] ^= (uint8_t)(1 << at % 8);
		assert_int_equal(fsetxattr(fd, PLACE_XATTR, raw, PLACE_SIZE, 0), 0);
		assert_int_equal(place_read(fd, &keys, id, &place), PLACE_MISSING);
		raw[at] ^= (uint8_t)(1 << at % 8);
	}
	for (size_t size = 0; size <= sizeof(raw); size++) {
		assert_int_equal(fsetxattr(fd, PLACE_XATTR, raw, size, 0), 0);
		assert_int_equal(place_read(fd, &keys, id, &place),
				 size == PLACE_SIZE ? 0 : PLACE_MISSING);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(says_what_was_written, begin, end),
		cmocka_unit_test_setup_teardown(means_nothing_for_another_file_or_vault, begin,
						end),
		cmocka_unit_test_setup_teardown(means_nothing_when_it_was_changed, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
