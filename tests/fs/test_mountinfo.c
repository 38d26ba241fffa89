/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/mountinfo.h"

static struct mountinfo m;

/* From memory of exactly its size, so that AddressSanitizer sees a step too far. */
static int parse(const char *text)
{
	char *line = strdup(text);
	int r;

	assert_non_null(line);
	r = mountinfo_parse(line, &m);
	free(line);
	return r;
}

static void a_line_is_taken_apart(void **state)
{
	(void)state;
	assert_int_equal(parse("70 28 0:45 / /mnt/plain rw,nosuid,nodev,relatime shared:7 - "
			       "fuse.cryptfs /srv/vault rw,user_id=1000,group_id=100\n"),
			 0);
	assert_int_equal(m.id, 70);
	assert_int_equal(m.major, 0);
	assert_int_equal(m.minor, 45);
	assert_string_equal(m.point, "/mnt/plain");
	assert_string_equal(m.type, "fuse.cryptfs");
	assert_true(m.has_user);
	assert_int_equal(m.user, 1000);
}

static void any_number_of_optional_fields_is_passed_over(void **state)
{
	(void)state;
	assert_int_equal(parse("1 2 8:1 / /a rw - ext4 /dev/sda1 rw"), 0);
	assert_string_equal(m.type, "ext4");
	assert_int_equal(m.major, 8);
	assert_false(m.has_user);
	assert_int_equal(parse("1 2 8:1 / /a rw shared:1 master:2 propagate_from:3 unbindable - "
			       "xfs none rw"),
			 0);
	assert_string_equal(m.type, "xfs");
}

static void octal_escapes_are_undone(void **state)
{
	(void)state;
	assert_int_equal(parse("1 2 0:9 / /a\\040b\\011c\\012d\\134e\\303\\244 rw - t s rw"), 0);
	assert_string_equal(m.point, "/a b\tc\nd\\e\303\244");
	assert_int_equal(parse("1 2 0:9 / /a\\134040 rw - t s rw"), 0);
	assert_string_equal(m.point, "/a\\040");
}

static void what_is_no_escape_stays(void **state)
{
	(void)state;
	assert_int_equal(parse("1 2 0:9 / /a\\08\\4\\400\\x40\\ rw - t s rw"), 0);
	assert_string_equal(m.point, "/a\\08\\4\\400\\x40\\");
	assert_int_equal(parse("1 2 0:9 / /a\\04 rw - t s rw"), 0);
	assert_string_equal(m.point, "/a\\04");
}

/* Who mounts chooses source and path, and may try to pass for another. */
static void only_the_last_options_say_who_mounted(void **state)
{
	(void)state;
	assert_int_equal(parse("1 2 0:9 / /a rw,user_id=1 user_id=2 - fuse.cryptfs "
			       "rw,user_id=3 rw,user_id=4,fd=3"),
			 0);
	assert_true(m.has_user);
	assert_int_equal(m.user, 4);
	assert_int_equal(parse("1 2 0:9 / /a rw - fuse.cryptfs user_id=3 rw,my_user_id=4"), 0);
	assert_false(m.has_user);
	assert_int_equal(parse("1 2 0:9 / /a rw - fuse.cryptfs s user_id=,user_id=x,user_id=5x,"
			       "user_id=-1,user_id=4294967296"),
			 0);
	assert_false(m.has_user);
	assert_int_equal(parse("1 2 0:9 / /a\\040-\\040ext4 rw - fuse.cryptfs s user_id=6"), 0);
	assert_string_equal(m.type, "fuse.cryptfs");
}

static void nonsense_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"\n",
		" ",
		"-",
		"- - - - - - - -",
		"1 2 0:9 / /a rw",
		"1 2 0:9 / /a rw -",
		"1 2 0:9 / /a rw - \n",
		"1 2 0:9 / - fuse.cryptfs s rw",
		"1 2 09 / /a rw - t s rw",
		"1 2 :9 / /a rw - t s rw",
		"1 2 0: / /a rw - t s rw",
		"1 2 0:9x / /a rw - t s rw",
		"1 2 -1:9 / /a rw - t s rw",
		"1 2 4294967296:9 / /a rw - t s rw",
		"1 2 99999999999999999999:9 / /a rw - t s rw",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(parse(lines[i]), MOUNTINFO_NONSENSE);
}

static void long_fields_do_not_overflow(void **state)
{
	static char line[3 * PATH_MAX];

	(void)state;
	strcpy(line, "1 2 0:9 / /");
	memset(line + strlen(line), 'a', PATH_MAX);
	strcat(line, " rw - t s rw");
	assert_int_equal(parse(line), MOUNTINFO_NONSENSE);
	memset(line, 0, sizeof(line));
	strcpy(line, "1 2 0:9 / /a rw - fuse.cryptfs");
	memset(line + strlen(line), 'x', 1000);
	strcat(line, " s rw");
	assert_int_equal(parse(line), 0);
	assert_string_not_equal(m.type, "fuse.cryptfs");
	assert_int_equal(strlen(m.type), sizeof(m.type) - 1);
}

static void what_is_mounted_is_found(void **state)
{
	(void)state;
	assert_int_equal(mountinfo_find("/proc", &m), 0);
	assert_string_equal(m.type, "proc");
	assert_int_equal(mountinfo_find("/proc/self", &m), MOUNTINFO_NONE);
	assert_int_equal(mountinfo_find("", &m), MOUNTINFO_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_taken_apart),
		cmocka_unit_test(any_number_of_optional_fields_is_passed_over),
		cmocka_unit_test(octal_escapes_are_undone),
		cmocka_unit_test(what_is_no_escape_stays),
		cmocka_unit_test(only_the_last_options_say_who_mounted),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(long_fields_do_not_overflow),
		cmocka_unit_test(what_is_mounted_is_found),
	};

	return cmocka_run_group_tests_name("mountinfo", tests, NULL, NULL);
}
