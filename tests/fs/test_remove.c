/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "fs/remove.h"

static struct tempdir dir;

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

static void make_file(int fd, const char *name)
{
	int file = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	(void)close(file);
}

/* `depth` directories, one in the other, with a file in each and another directory beside it. */
static void make_deep(const char *name, int depth)
{
	int fd = fcntl(dir.fd, F_DUPFD_CLOEXEC, 3);

	for (int i = 0; i < depth; i++) {
		int next;

		assert_int_equal(mkdirat(fd, i ? "deeper" : name, 0700), 0);
		next = openat(fd, i ? "deeper" : name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		make_file(next, "file");
		assert_int_equal(mkdirat(next, "beside", 0700), 0);
		(void)close(fd);
		fd = next;
	}
	(void)close(fd);
}

static void assert_gone(const char *name)
{
	assert_int_equal(faccessat(dir.fd, name, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(errno, ENOENT);
}

static void removes_what_is_deeper_than_descriptors_reach(void **state)
{
	(void)state;
	make_deep("top", 3000);
	assert_int_equal(remove_directory(dir.fd, "top"), 0);
	assert_gone("top");
}

static void what_is_not_there_is_removed(void **state)
{
	(void)state;
	assert_int_equal(remove_directory(dir.fd, "nothing"), 0);
}

static void links_are_removed_and_not_followed(void **state)
{
	(void)state;
	make_deep("kept", 2);
	make_deep("top", 2);
	assert_int_equal(symlinkat("../kept", dir.fd, "top/link"), 0);
	assert_int_equal(symlinkat("kept", dir.fd, "alias"), 0);
	assert_int_equal(remove_directory(dir.fd, "alias"), -ENOTDIR);
	assert_int_equal(remove_directory(dir.fd, "top"), 0);
	assert_gone("top");
	assert_int_equal(faccessat(dir.fd, "kept/deeper/file", F_OK, 0), 0);
	assert_int_equal(unlinkat(dir.fd, "alias", 0), 0);
	assert_int_equal(remove_directory(dir.fd, "kept"), 0);
}

static void modes_are_no_obstacle(void **state)
{
	(void)state;
	make_deep("top", 4);
	assert_int_equal(fchmodat(dir.fd, "top/deeper/deeper", 0, 0), 0);
	assert_int_equal(fchmodat(dir.fd, "top/deeper", 0500, 0), 0);
	assert_int_equal(fchmodat(dir.fd, "top", 0100, 0), 0);
	assert_int_equal(remove_directory(dir.fd, "top"), 0);
	assert_gone("top");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removes_what_is_deeper_than_descriptors_reach),
		cmocka_unit_test(what_is_not_there_is_removed),
		cmocka_unit_test(links_are_removed_and_not_followed),
		cmocka_unit_test(modes_are_no_obstacle),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("remove", tests, setup, teardown);
}
