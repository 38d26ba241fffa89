/* SPDX-License-Identifier: MIT */
/*
 * check - what the programs in this folder share.  Each does what a local
 * filesystem allows, in the directory it is given, and ends with 1 and one
 * line at the first thing that is not as there: run on a local filesystem,
 * all of them succeed.
 */
#ifndef TESTS_MOUNT_POSIX_CHECK_H
#define TESTS_MOUNT_POSIX_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* It is so, or this is the end; errno is told as it may be the reason. */
#define CHECK(so) check_that((so), #so, __FILE__, __LINE__)

/* The call fails with this errno. */
#define CHECK_FAILS(call, why)                                                                     \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHECK((call) < 0);                                                                 \
		CHECK(errno == (why));                                                             \
	} while (0)

static inline void check_that(bool so, const char *what, const char *file, int line)
{
	const char *why = errno ? strerror(errno) : "";
	const char *name = strrchr(file, '/');

	if (so)
		return;
	(void)fprintf(stderr, "FAILED: %s:%d: %s (%s)\n", name ? name + 1 : file, line, what, why);
	_exit(1);
}

/* A child that runs body(arg) and ends well; await it with check_child. */
static inline pid_t start_child(void (*body)(void *arg), void *arg)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		body(arg);
		_exit(0);
	}
	return pid;
}

static inline void check_child(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline int check_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	return fd;
}

/* Bytes that depend on their place and never are zero. */
static inline void fill(uint8_t *to, uint64_t offset, size_t size, uint8_t seed)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t mixed = (offset + i + seed * 7919U + 1) * 0x9e3779b97f4a7c15U;

		to[i] = (uint8_t)(mixed >> 56) | 1;
	}
}

/* The file holds these bytes and no more. */
static inline void check_content(int fd, const uint8_t *bytes, size_t size)
{
	uint8_t *got = malloc(size + 1);
	size_t done = 0;
	ssize_t n = 1;

	CHECK(got);
	while (n > 0 && done < size + 1) {
		n = pread(fd, got + done, size + 1 - done, (off_t)done);
		CHECK(n >= 0);
		done += (size_t)n;
	}
	CHECK(done == size);
	for (size_t i = 0; i < size; i++)
		if (got[i] != bytes[i]) {
			(void)fprintf(stderr, "byte %zu of %zu is %u, not %u\n", i, size, got[i],
				      bytes[i]);
			CHECK(got[i] == bytes[i]);
		}
	free(got);
}

#endif /* TESTS_MOUNT_POSIX_CHECK_H */
