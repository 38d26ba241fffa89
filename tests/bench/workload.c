/* SPDX-License-Identifier: MIT */
/*
 * The workloads of compare that no ordinary tool offers.  What is random here
 * is the same in every run.
 *
 *   workload rand-read FILE N       N reads of 4 KiB at random blocks
 *   workload rand-write FILE N      N writes of 4 KiB at random blocks, fsync
 *   workload append FILE N SIZE     N appends of SIZE bytes to one open file
 *   workload create DIR N SIZE      N new files of SIZE bytes
 *   workload tree DIR N BYTES       N files of mixed sizes, BYTES in all
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, FILES_PER_DIR = 80, MAX_SIZE = 1 << 20 };

static void fail(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
static uint64_t draw(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15U;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dU;
}

static const uint8_t *some_bytes(void)
{
	static uint64_t bytes[MAX_SIZE / sizeof(uint64_t)];

	if (!bytes[0])
		for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
			bytes[i] = draw();
	return (const uint8_t *)bytes;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(path);
	return fd;
}

static void write_all(int fd, const uint8_t *data, size_t size, const char *path)
{
	if (write(fd, data, size) != (ssize_t)size)
		fail(path);
}

static off_t random_block(const struct stat *st)
{
	return (off_t)(draw() % (uint64_t)(st->st_size / BLOCK)) * BLOCK;
}

static void rand_io(const char *path, uint64_t n, int writes)
{
	int fd = open_file(path, writes ? O_RDWR : O_RDONLY);
	const uint8_t *bytes = some_bytes();
	uint8_t block[BLOCK];
	struct stat st;

	if (fstat(fd, &st) || st.st_size < BLOCK)
		fail(path);
	for (uint64_t i = 0; i < n; i++) {
		ssize_t done = writes ? pwrite(fd, bytes, BLOCK, random_block(&st))
				      : pread(fd, block, BLOCK, random_block(&st));

		if (done != BLOCK)
			fail(path);
	}
	if ((writes && fsync(fd)) || close(fd))
		fail(path);
}

static void append(const char *path, uint64_t n, size_t size)
{
	int fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND);

	for (uint64_t i = 0; i < n; i++)
		write_all(fd, some_bytes(), size, path);
	if (close(fd))
		fail(path);
}

static void make_file(const char *path, size_t size)
{
	int fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL);

	for (size_t done = 0; done < size;) {
		size_t piece = size - done < MAX_SIZE ? size - done : MAX_SIZE;

		write_all(fd, some_bytes(), piece, path);
		done += piece;
	}
	if (close(fd))
		fail(path);
}

static void make_dir(const char *path)
{
	if (mkdir(path, 0755) && errno != EEXIST)
		fail(path);
}

static void create(const char *dir, uint64_t n, size_t size)
{
	char path[4096];

	make_dir(dir);
	for (uint64_t i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/file-%06lu", dir, (unsigned long)i);
		make_file(path, size);
	}
}

/* As sources and documents have them: many small files, a few large ones. */
static void tree(const char *dir, uint64_t n, uint64_t bytes)
{
	uint64_t *weights = calloc(n, sizeof(*weights));
	uint64_t sum = 0;
	char path[4096];

	if (!weights)
		fail("memory");
	for (uint64_t i = 0; i < n; i++) {
		weights[i] = 1 + draw() % (draw() % 10 ? 60 : 1000);
		sum += weights[i];
	}
	make_dir(dir);
	for (uint64_t i = 0; i < n; i++) {
		if (i % FILES_PER_DIR == 0) {
			(void)snprintf(path, sizeof(path), "%s/directory-%04lu", dir,
				       (unsigned long)(i / FILES_PER_DIR));
			make_dir(path);
		}
		(void)snprintf(path, sizeof(path), "%s/directory-%04lu/some-file-%06lu.txt", dir,
			       (unsigned long)(i / FILES_PER_DIR), (unsigned long)i);
		make_file(path, (size_t)((double)weights[i] / (double)sum * (double)bytes));
	}
	free(weights);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*end || end == text) {
		errno = EINVAL;
		fail(text);
	}
	return n;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	uint64_t n = argc > 3 ? number(argv[3]) : 0;
	uint64_t size = argc > 4 ? number(argv[4]) : 0;

	if (argc == 4 && !strcmp(what, "rand-read"))
		rand_io(argv[2], n, 0);
	else if (argc == 4 && !strcmp(what, "rand-write"))
		rand_io(argv[2], n, 1);
	else if (argc == 5 && !strcmp(what, "append"))
		append(argv[2], n, size);
	else if (argc == 5 && !strcmp(what, "create"))
		create(argv[2], n, size);
	else if (argc == 5 && !strcmp(what, "tree"))
		tree(argv[2], n, size);
	else {
		fprintf(stderr, "workload: see the head of workload.c for its arguments\n");
		return 1;
	}
	return 0;
}
