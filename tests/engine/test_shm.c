/* SPDX-License-Identifier: MIT */
/* The shared mapping, with /dev/shm missing and full. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "engine/shm.h"

static bool no_shm;
static int fallocate_error;
static int lines;

int __real_shm_open(const char *name, int flags, mode_t mode);
int __wrap_shm_open(const char *name, int flags, mode_t mode);
int __wrap_shm_open(const char *name, int flags, mode_t mode)
{
	if (!no_shm)
		return __real_shm_open(name, flags, mode);
	errno = EACCES;
	return -1;
}

int __real_posix_fallocate64(int fd, off_t offset, off_t size);
int __wrap_posix_fallocate64(int fd, off_t offset, off_t size);
int __wrap_posix_fallocate64(int fd, off_t offset, off_t size)
{
	return fallocate_error ? fallocate_error : __real_posix_fallocate64(fd, offset, size);
}

void __wrap_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void __wrap_log_error(const char *format, ...)
{
	(void)format;
	lines++;
}

/* Names in dir, or of this process in dir. */
static int names_in(const char *path, const char *start)
{
	struct dirent *d;
	DIR *dir = opendir(path);
	int n = 0;

	while (dir && (d = readdir(dir)))
		n += strncmp(d->d_name, start, strlen(start)) == 0;
	if (dir)
		closedir(dir);
	return n;
}

static void check_arena(void)
{
	int descriptors = names_in("/proc/self/fd", "");
	struct arena a;
	char mine[64];

	assert_int_equal(arena_new(3, &a), 0);
	(void)snprintf(mine, sizeof(mine), "cryptfs-%d-", (int)getpid());
	assert_int_equal(names_in("/dev/shm", mine), 0);
	assert_int_equal(names_in("/proc/self/fd", ""), descriptors);
	for (uint32_t i = 0; i < 3; i++) {
		struct task_slot s = arena_slot(&a, i);

		assert_int_equal((uintptr_t)s.data % 4096, 0);
		assert_int_equal((uintptr_t)s.key % 64, 0);
		assert_true(bytes_are_zero(s.data, ENGINE_SLOT_SIZE));
		memset(s.data, (int)i + 1, ENGINE_SLOT_SIZE);
		memset(s.records, (int)i + 1, sizeof(a.shm->records[i]));
	}
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(a.shm->slots[i][0], i + 1);
		assert_int_equal(a.shm->slots[i][ENGINE_SLOT_SIZE - 1], i + 1);
	}
	arena_free(&a);
	arena_free(&a);
}

static void an_arena_has_no_name_and_no_descriptor(void **state)
{
	(void)state;
	check_arena();
}

static void without_dev_shm_there_is_another_way(void **state)
{
	(void)state;
	no_shm = true;
	check_arena();
	no_shm = false;
}

static void a_full_dev_shm_is_an_error_and_one_line(void **state)
{
	int descriptors = names_in("/proc/self/fd", "");
	struct arena a;

	(void)state;
	fallocate_error = ENOSPC;
	assert_int_equal(arena_new(3, &a), -ENOSPC);
	fallocate_error = 0;
	assert_int_equal(lines, 1);
	assert_int_equal(names_in("/proc/self/fd", ""), descriptors);
}

static void unsound_sizes_are_refused(void **state)
{
	struct arena a;

	(void)state;
	assert_int_equal(arena_new(0, &a), -EINVAL);
	assert_int_equal(arena_new(ENGINE_MAX_SLOTS + 1, &a), -EINVAL);
	assert_null(a.shm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arena_has_no_name_and_no_descriptor),
		cmocka_unit_test(without_dev_shm_there_is_another_way),
		cmocka_unit_test(a_full_dev_shm_is_an_error_and_one_line),
		cmocka_unit_test(unsound_sizes_are_refused),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
