/* SPDX-License-Identifier: MIT */
/*
 * The floor: bytes, whole reads and writes, a small lock, memory for secrets.
 * The system calls (by their names where off_t has 64 bits) are wrapped so that
 * every other one is interrupted and every transfer is short.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/lock.h"
#include "base/secmem.h"

enum { SHORT = 3 }; /* the most that one system call transfers, if hindered */

static bool hindered;

static bool interrupt(void)
{
	static unsigned int calls;

	if (!hindered || calls++ % 2)
		return false;
	errno = EINTR;
	return true;
}

static size_t shorten(size_t size)
{
	return hindered && size > SHORT ? SHORT : size;
}

ssize_t __real_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset)
{
	return interrupt() ? -1 : __real_pread64(fd, data, shorten(size), offset);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return interrupt() ? -1 : __real_pwrite64(fd, data, shorten(size), offset);
}

ssize_t __real_read(int fd, void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size)
{
	return interrupt() ? -1 : __real_read(fd, data, shorten(size));
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	return interrupt() ? -1 : __real_write(fd, data, shorten(size));
}

/* Hindered, a vector is done up to SHORT bytes of its first piece. */
ssize_t __real_preadv64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *iov, int n, off_t offset)
{
	assert_in_range(n, 1, IOV_MAX);
	if (interrupt())
		return -1;
	return hindered ? __real_pread64(fd, iov->iov_base, shorten(iov->iov_len), offset)
			: __real_preadv64(fd, iov, n, offset);
}

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset)
{
	assert_in_range(n, 1, IOV_MAX);
	if (interrupt())
		return -1;
	return hindered ? __real_pwrite64(fd, iov->iov_base, shorten(iov->iov_len), offset)
			: __real_pwritev64(fd, iov, n, offset);
}

static void numbers_are_little_endian_at_any_alignment(void **state)
{
	uint8_t b[16] = { 0 };

	(void)state;
	bytes_put32(b + 1, 0x01020304);
	bytes_put64(b + 5, 0x1112131415161718);
	assert_memory_equal(b, "\0\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\0\0\0", 16);
	assert_int_equal(bytes_get32(b + 1), 0x01020304);
	assert_int_equal(bytes_get64(b + 5), 0x1112131415161718);
	assert_false(bytes_are_zero(b, 16));
	assert_false(bytes_are_zero(b, 2));
	assert_true(bytes_are_zero(b, 1));
	assert_true(bytes_are_zero(b + 13, 3));
	assert_true(bytes_are_zero(b, 0));
}

static int fd;

static int setup(void **state)
{
	(void)state;
	hindered = false;
	fd = memfd_create("test", MFD_CLOEXEC);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	hindered = false;
	return close(fd);
}

static void short_and_interrupted_transfers_are_made_whole(void **state)
{
	char back[32] = { 0 };

	(void)state;
	hindered = true;
	assert_int_equal(fdio_write_full(fd, "0123456789", 10), 0);
	assert_int_equal(fdio_pwrite_full(fd, "abcdefghij", 10, 10), 0);
	assert_int_equal(fdio_pread_full(fd, back, 20, 0), 0);
	assert_string_equal(back, "0123456789abcdefghij");
	assert_int_equal(fdio_pread_some(fd, back, sizeof(back), 15), 5);
	assert_memory_equal(back, "fghij", 5);
}

static void the_end_of_a_file_is_told_apart(void **state)
{
	char back[32];

	(void)state;
	assert_int_equal(fdio_write_full(fd, "0123456789", 10), 0);
	assert_int_equal(fdio_pread_full(fd, back, 11, 0), -ENODATA);
	assert_int_equal(fdio_pread_some(fd, back, 11, 10), 0);
	assert_int_equal(fdio_pread_full(-1, back, 1, 0), -EBADF);
	assert_int_equal(fdio_pread_some(-1, back, 1, 0), -EBADF);
	assert_int_equal(fdio_pwrite_full(-1, back, 1, 0), -EBADF);
	assert_int_equal(fdio_write_full(-1, back, 1), -EBADF);
}

static void reading_to_the_end_refuses_what_is_too_long(void **state)
{
	char back[32];

	(void)state;
	for (int i = 0; i <= 1; i++) {
		hindered = false;
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		assert_int_equal(fdio_write_full(fd, "0123456789", 10), 0);
		hindered = i;
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fdio_read_all(fd, back, sizeof(back)), 10);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fdio_read_all(fd, back, 10), 10);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(fdio_read_all(fd, back, 9), -EFBIG);
	}
	assert_int_equal(fdio_read_all(-1, back, 9), -EBADF);
}

static void vectors_of_any_length_are_transferred_whole(void **state)
{
	enum { N = IOV_MAX + 10 };
	static uint8_t out[N * 5], in[N * 5];
	static struct iovec iov[N];

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 256);
	for (int how = 0; how <= 1; how++) {
		hindered = how;
		memset(in, 0, sizeof(in));
		assert_int_equal(ftruncate(fd, 0), 0);
		for (size_t i = 0; i < N; i++) /* the last is empty, and so is another */
			iov[i] = (struct iovec){ out + i * 5, i == 7 || i == N - 1 ? 0 : 5 };
		iov[6].iov_len = 10;
		assert_int_equal(fdio_pwritev_full(fd, iov, N, 100), 0);
		for (size_t i = 0; i < N; i++)
			iov[i] = (struct iovec){ in + i * 5, 5 };
		assert_int_equal(fdio_preadv_some(fd, iov, N, 100), (N - 1) * 5);
		assert_memory_equal(in, out, (N - 1) * 5);
	}
	assert_int_equal(fdio_preadv_some(-1, (struct iovec[]){ { in, 5 } }, 1, 0), -EBADF);
	assert_int_equal(fdio_pwritev_full(-1, (struct iovec[]){ { in, 5 } }, 1, 0), -EBADF);
	assert_int_equal(fdio_pwritev_full(-1, NULL, 0, 0), 0);
}

static void closing_keeps_errno(void **state)
{
	(void)state;
	errno = 4711;
	fdio_close(dup(fd));
	fdio_close(-1);
	fdio_close(1000000);
	assert_int_equal(errno, 4711);
}

static void secrets_are_zeroed_compared_and_wiped(void **state)
{
	uint8_t *a = secmem_new(100);
	uint8_t *b = secmem_new(100);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_true(bytes_are_zero(a, 100));
	assert_true(secmem_equal(a, b, 100));
	a[99] = 1;
	assert_false(secmem_equal(a, b, 100));
	assert_true(secmem_equal(a, b, 99));
	secmem_wipe(a, 100);
	assert_true(bytes_are_zero(a, 100));
	secmem_free(a);
	secmem_free(b);
	secmem_free(NULL);
}

static void a_hardened_process_leaves_no_core(void **state)
{
	struct rlimit limit;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(secmem_harden_process() || prctl(PR_GET_DUMPABLE) != 0 ||
		      getrlimit(RLIMIT_CORE, &limit) || limit.rlim_cur || limit.rlim_max);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

enum { THREADS = 4, ROUNDS = 50000 };

static struct lock lock;
static unsigned long counted; /* plain: the lock guards it */

static void *count(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		lock_take(&lock);
		counted++;
		lock_drop(&lock);
	}
	return arg;
}

static void a_lock_keeps_threads_apart(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(counted, THREADS * ROUNDS);
}

#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_little_endian_at_any_alignment),
		F(short_and_interrupted_transfers_are_made_whole),
		F(the_end_of_a_file_is_told_apart),
		F(reading_to_the_end_refuses_what_is_too_long),
		F(vectors_of_any_length_are_transferred_whole),
		F(closing_keeps_errno),
		cmocka_unit_test(secrets_are_zeroed_compared_and_wiped),
		cmocka_unit_test(a_lock_keeps_threads_apart),
		cmocka_unit_test(a_hardened_process_leaves_no_core),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
