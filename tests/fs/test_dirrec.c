/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fixture.h"
#include "fs/dirrec.h"

static struct keyring keys;
static struct tempdir dir;

/*
 * The attributes of the directory under test, kept here: /tmp may be a
 * filesystem without any.
 */
static struct {
	bool unsupported;
	ssize_t size; /* -1: there is none */
	uint8_t value[256];
} attribute;

ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size)
{
	(void)fd;
	assert_string_equal(name, DIRREC_XATTR);
	if (attribute.unsupported || attribute.size < 0) {
		errno = attribute.unsupported ? EOPNOTSUPP : ENODATA;
		return -1;
	}
	if ((size_t)attribute.size > size) {
		errno = ERANGE;
		return -1;
	}
	memcpy(value, attribute.value, (size_t)attribute.size);
	return attribute.size;
}

int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	(void)fd;
	(void)flags;
	assert_string_equal(name, DIRREC_XATTR);
	if (attribute.unsupported) {
		errno = EOPNOTSUPP;
		return -1;
	}
	assert_true(size <= sizeof(attribute.value));
	memcpy(attribute.value, value, size);
	attribute.size = (ssize_t)size;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	attribute.unsupported = false;
	attribute.size = -1;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

static struct format_dir_record a_record(uint8_t seed)
{
	struct format_dir_record record;

	memset(&record, seed, sizeof(record));
	return record;
}

static void write_record(uint8_t seed)
{
	struct format_dir_record record = a_record(seed);
	bool in_xattr;

	assert_int_equal(dirrec_write(dir.fd, &keys, &record, &in_xattr), 0);
	assert_int_equal(in_xattr, !attribute.unsupported);
}

static void check_reads_as(bool read_only, uint8_t seed)
{
	struct format_dir_record expected = a_record(seed);
	struct format_dir_record found;

	assert_int_equal(dirrec_read(dir.fd, &keys, read_only, &found), 0);
	assert_memory_equal(&found, &expected, sizeof(found));
}

static int try_read(void)
{
	struct format_dir_record found;

	return dirrec_read(dir.fd, &keys, false, &found);
}

/* The file copy as bytes; its size. */
static size_t file_copy(uint8_t raw[FORMAT_DIR_RECORD_SIZE])
{
	return tempdir_read(&dir, DIRREC_FILE, raw, FORMAT_DIR_RECORD_SIZE);
}

static void a_record_is_kept_twice(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	struct stat st;

	(void)state;
	write_record(1);
	assert_int_equal(fstatat(dir.fd, DIRREC_FILE, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(file_copy(raw), sizeof(raw));
	assert_int_equal(attribute.size, sizeof(raw));
	assert_memory_equal(raw, attribute.value, sizeof(raw));
	check_reads_as(true, 1);
}

static void a_record_is_rewritten_in_place(void **state)
{
	struct stat before, after;

	(void)state;
	write_record(1);
	assert_int_equal(fstatat(dir.fd, DIRREC_FILE, &before, 0), 0);
	write_record(2);
	assert_int_equal(fstatat(dir.fd, DIRREC_FILE, &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(tempdir_count(&dir), 1);
	check_reads_as(true, 2);
}

static void a_directory_without_a_record_has_none(void **state)
{
	(void)state;
	assert_int_equal(try_read(), DIRREC_MISSING);
	attribute.unsupported = true;
	assert_int_equal(try_read(), DIRREC_MISSING);
	assert_int_equal(tempdir_count(&dir), 0);
}

/* Its maker died between making the file and writing it. */
static void a_file_without_a_byte_is_no_record(void **state)
{
	(void)state;
	tempdir_write(&dir, DIRREC_FILE, "", 0);
	assert_int_equal(try_read(), DIRREC_MISSING);
	attribute.size = 5;
	assert_int_equal(try_read(), DIRREC_DAMAGED);
}

static void without_attributes_the_file_is_enough(void **state)
{
	(void)state;
	attribute.unsupported = true;
	write_record(1);
	check_reads_as(false, 1);
	assert_int_equal(attribute.size, -1);
}

static void a_missing_file_is_restored_from_the_attribute(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	(void)state;
	write_record(1);
	assert_int_equal(unlinkat(dir.fd, DIRREC_FILE, 0), 0);
	check_reads_as(true, 1);
	assert_int_equal(tempdir_count(&dir), 0);
	check_reads_as(false, 1);
	assert_int_equal(file_copy(raw), sizeof(raw));
	assert_memory_equal(raw, attribute.value, sizeof(raw));
}

static void a_missing_attribute_is_restored_from_the_file(void **state)
{
	(void)state;
	write_record(1);
	attribute.size = -1;
	check_reads_as(true, 1);
	assert_int_equal(attribute.size, -1);
	check_reads_as(false, 1);
	assert_int_equal(attribute.size, FORMAT_DIR_RECORD_SIZE);
}

static void a_damaged_file_is_restored_from_the_attribute(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE + 1];

	(void)state;
	write_record(1);
	for (size_t size = 0; size <= sizeof(raw); size++) {
		memcpy(raw, attribute.value, FORMAT_DIR_RECORD_SIZE);
		raw[size == FORMAT_DIR_RECORD_SIZE ? 30 : 0] ^= 1;
		tempdir_write(&dir, DIRREC_FILE, raw, size);
		check_reads_as(false, 1);
		assert_int_equal(file_copy(raw), FORMAT_DIR_RECORD_SIZE);
		assert_memory_equal(raw, attribute.value, FORMAT_DIR_RECORD_SIZE);
	}
}

static void a_damaged_attribute_is_restored_from_the_file(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	(void)state;
	write_record(1);
	file_copy(raw);
	attribute.value[20] ^= 1;
	check_reads_as(true, 1);
	assert_memory_not_equal(attribute.value, raw, sizeof(raw));
	check_reads_as(false, 1);
	assert_memory_equal(attribute.value, raw, sizeof(raw));
	attribute.size = 200;
	check_reads_as(false, 1);
	assert_int_equal(attribute.size, sizeof(raw));
}

static void two_damaged_copies_are_damage(void **state)
{
	(void)state;
	write_record(1);
	attribute.value[0] ^= 1;
	tempdir_write(&dir, DIRREC_FILE, "junk", 4);
	assert_int_equal(try_read(), DIRREC_DAMAGED);
	attribute.size = -1;
	assert_int_equal(try_read(), DIRREC_DAMAGED);
	assert_int_equal(unlinkat(dir.fd, DIRREC_FILE, 0), 0);
	attribute.size = 5;
	assert_int_equal(try_read(), DIRREC_DAMAGED);
}

/* A file or attribute copied here from another directory must not win. */
static void copies_of_two_directories_are_damage(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	(void)state;
	write_record(2);
	file_copy(raw);
	write_record(1);
	tempdir_write(&dir, DIRREC_FILE, raw, sizeof(raw));
	assert_int_equal(try_read(), DIRREC_DAMAGED);
	assert_memory_not_equal(attribute.value, raw, sizeof(raw));
}

static void copies_that_differ_in_bindings_only_are_fine(void **state)
{
	struct format_dir_record record = a_record(1);
	struct format_dir_record found;

	(void)state;
	write_record(1);
	memset(record.bindings[1], 9, sizeof(record.bindings[1]));
	format_dir_record_encode(&record, &keys, attribute.value);
	check_reads_as(false, 1);
	assert_int_equal(unlinkat(dir.fd, DIRREC_FILE, 0), 0);
	assert_int_equal(dirrec_read(dir.fd, &keys, true, &found), 0);
	assert_memory_equal(&found, &record, sizeof(record));
}

/* Something in the file's place: the attribute is believed and the file made anew. */
static void check_stranger(void)
{
	attribute.unsupported = true;
	assert_int_equal(try_read(), DIRREC_DAMAGED);
	attribute.unsupported = false;
	check_reads_as(true, 1);
	check_reads_as(false, 1);
	attribute.unsupported = true;
	check_reads_as(true, 1);
	attribute.unsupported = false;
	assert_int_equal(unlinkat(dir.fd, DIRREC_FILE, 0), 0);
}

static void whatever_stands_in_for_a_record_is_damage_not_a_hang(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	(void)state;
	write_record(1);
	file_copy(raw);
	assert_int_equal(unlinkat(dir.fd, DIRREC_FILE, 0), 0);
	assert_int_equal(mkfifoat(dir.fd, DIRREC_FILE, 0600), 0);
	check_stranger();
	assert_int_equal(symlinkat("/dev/zero", dir.fd, DIRREC_FILE), 0);
	check_stranger();
	assert_int_equal(mknodat(dir.fd, DIRREC_FILE, S_IFSOCK | 0600, 0), 0);
	check_stranger();
	tempdir_write(&dir, "elsewhere", raw, sizeof(raw));
	assert_int_equal(symlinkat("elsewhere", dir.fd, DIRREC_FILE), 0);
	check_stranger();
	assert_int_equal(mkdirat(dir.fd, DIRREC_FILE, 0700), 0);
	check_reads_as(false, 1); /* from the attribute; no repair possible */
	attribute.unsupported = true;
	assert_int_equal(try_read(), DIRREC_DAMAGED);
}

static void records_can_be_synced_and_removed(void **state)
{
	(void)state;
	assert_int_equal(dirrec_sync(dir.fd), -EIO);
	write_record(1);
	assert_int_equal(dirrec_sync(dir.fd), 0);
	assert_int_equal(dirrec_remove(dir.fd), 0);
	assert_int_equal(tempdir_count(&dir), 0);
	assert_int_equal(dirrec_remove(dir.fd), 0);
	assert_int_equal(dirrec_remove(-1), -EBADF);
}

static void use_unreadable_directory(void)
{
	struct format_dir_record record = a_record(1);
	struct format_dir_record found;
	bool in_xattr = true;

	/* An ordinary user: the mode means nothing to the superuser. */
	if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
		_exit(1);
	if (dirrec_write(dir.fd, &keys, &record, &in_xattr) || in_xattr)
		_exit(2);
	if (dirrec_read(dir.fd, &keys, false, &found) || memcmp(&record, &found, sizeof(found)))
		_exit(3);
	_exit(dirrec_sync(dir.fd) ? 4 : 0);
}

static void a_directory_that_may_not_be_read_has_the_file_copy(void **state)
{
	pid_t child;
	int status;

	(void)state;
	if (geteuid() == 0)
		assert_int_equal(chown(dir.path, 65534, 65534), 0);
	assert_int_equal(chmod(dir.path, 0300), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		use_unreadable_directory();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(attribute.size, -1);
}

#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		F(a_record_is_kept_twice),
		F(a_record_is_rewritten_in_place),
		F(a_directory_without_a_record_has_none),
		F(a_file_without_a_byte_is_no_record),
		F(without_attributes_the_file_is_enough),
		F(a_missing_file_is_restored_from_the_attribute),
		F(a_missing_attribute_is_restored_from_the_file),
		F(a_damaged_file_is_restored_from_the_attribute),
		F(a_damaged_attribute_is_restored_from_the_file),
		F(two_damaged_copies_are_damage),
		F(copies_of_two_directories_are_damage),
		F(copies_that_differ_in_bindings_only_are_fine),
		F(whatever_stands_in_for_a_record_is_damage_not_a_hang),
		F(records_can_be_synced_and_removed),
		F(a_directory_that_may_not_be_read_has_the_file_copy),
	};

	alarm(60); /* a hang is a failure */
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("dirrec", tests, NULL, NULL);
}
