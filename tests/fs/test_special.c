/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/names.h"
#include "fs/special.h"

static struct keyring keys;
static const uint8_t here[FORMAT_DIR_ID_SIZE] = { 1 };
static const uint8_t elsewhere[FORMAT_DIR_ID_SIZE] = { 2 };
static char path[] = "/tmp/test_special.XXXXXX";
static int top;

static int setup(void **state)
{
	static const uint8_t master[KEYS_MASTER_SIZE] = { 7 };

	(void)state;
	strcpy(path, "/tmp/test_special.XXXXXX");
	if (keys_derive(master, &keys) || !mkdtemp(path))
		return -1;
	top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top < 0;
}

/* How many entries there are; the name of one goes to marker. */
static int find_marker(char marker[256])
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(marker, 256, "%s", entry->d_name);
		n++;
	}
	(void)closedir(d);
	return n;
}

static int teardown(void **state)
{
	char marker[256];

	(void)state;
	while (find_marker(marker))
		(void)unlinkat(top, marker, 0);
	(void)close(top);
	return rmdir(path);
}

static bool allowed(const uint8_t *dir, const char *stored, mode_t mode, dev_t rdev)
{
	const struct special s = { dir, stored, mode, rdev };

	return special_is_allowed(top, &keys, &s);
}

static void allow(const char *stored, mode_t mode, dev_t rdev)
{
	const struct special s = { here, stored, mode, rdev };

	assert_int_equal(special_allow(top, &keys, &s), 0);
}

static void nothing_is_allowed_without_a_marker(void **state)
{
	(void)state;
	assert_false(allowed(here, "a", S_IFIFO, 0));
}

static void a_marker_is_for_one_thing_at_one_place(void **state)
{
	const dev_t null = makedev(1, 3);

	(void)state;
	allow("a", S_IFCHR | 0644, null);
	assert_true(allowed(here, "a", S_IFCHR | 0600, null));
	assert_false(allowed(here, "b", S_IFCHR, null));
	assert_false(allowed(elsewhere, "a", S_IFCHR, null));
	assert_false(allowed(here, "a", S_IFBLK, null));
	assert_false(allowed(here, "a", S_IFIFO, 0));
	assert_false(allowed(here, "a", S_IFCHR, makedev(1, 5)));
	assert_false(allowed(here, "a", S_IFCHR, makedev(2, 3)));
}

static void two_things_may_be_allowed_while_they_change_places(void **state)
{
	(void)state;
	allow("a", S_IFIFO, 0);
	allow("a", S_IFSOCK, 0);
	assert_true(allowed(here, "a", S_IFIFO, 0));
	assert_true(allowed(here, "a", S_IFSOCK, 0));
	allow("a", S_IFSOCK, 0);
	assert_true(allowed(here, "a", S_IFIFO, 0));
}

static void a_forgotten_marker_allows_nothing(void **state)
{
	char marker[256];

	(void)state;
	allow("a", S_IFIFO, 0);
	special_forget(top, "a");
	assert_false(allowed(here, "a", S_IFIFO, 0));
	assert_int_equal(find_marker(marker), 0);
	special_forget(top, "a");
}

static void a_changed_or_cut_marker_allows_nothing(void **state)
{
	char marker[256];
	uint8_t byte;
	int fd;

	(void)state;
	allow("a", S_IFIFO, 0);
	assert_int_equal(find_marker(marker), 1);
	fd = openat(top, marker, O_RDWR | O_CLOEXEC);
	for (off_t i = 0; i < 16; i++) {
		assert_int_equal(pread(fd, &byte, 1, i), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		assert_false(allowed(here, "a", S_IFIFO, 0));
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
	}
	assert_true(allowed(here, "a", S_IFIFO, 0));
	assert_int_equal(ftruncate(fd, 15), 0);
	assert_false(allowed(here, "a", S_IFIFO, 0));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(allowed(here, "a", S_IFIFO, 0));
	(void)close(fd);
}

static void a_marker_is_no_entry_of_its_directory(void **state)
{
	char marker[256];
	char plain[NAMES_PLAIN_MAX + 1];

	(void)state;
	allow("a", S_IFIFO, 0);
	assert_int_equal(find_marker(marker), 1);
	assert_int_equal(names_decode(&keys, here, marker, plain), NAMES_OURS);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(nothing_is_allowed_without_a_marker),
		S(a_marker_is_for_one_thing_at_one_place),
		S(two_things_may_be_allowed_while_they_change_places),
		S(a_forgotten_marker_allows_nothing),
		S(a_changed_or_cut_marker_allows_nothing),
		S(a_marker_is_no_entry_of_its_directory),
	};

	alarm(20); /* a hang is a failure */
	return cmocka_run_group_tests_name("special", tests, NULL, NULL);
}
