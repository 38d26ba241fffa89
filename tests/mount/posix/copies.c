/* SPDX-License-Identifier: MIT */
/*
 * copies DIRECTORY [no-holes]: copy_file_range(2) between files, within one,
 * at any offsets, over holes and ends.
 */
#include "check.h"

enum {
	BLOCK = 4096,
	SIZE = 600 * 1000,
};

static bool no_holes;
static uint8_t source[SIZE];
static uint8_t target[3 * SIZE];
static size_t length; /* of the target */

static int fresh(const char *name, uint8_t *bytes, size_t size, uint8_t seed)
{
	int fd = check_open(name, O_RDWR | O_CREAT | O_TRUNC);

	fill(bytes, 0, size, seed);
	CHECK(pwrite(fd, bytes, size, 0) == (ssize_t)size);
	return fd;
}

/* Copy all of a range, in as many calls as it takes. */
static void copy(int from, off_t at, int to, off_t there, size_t size)
{
	while (size) {
		ssize_t n = copy_file_range(from, &at, to, &there, size, 0);

		CHECK(n > 0);
		size -= (size_t)n;
	}
}

static void image_copy(const uint8_t *from, size_t there, size_t size)
{
	if (there > length)
		memset(target + length, 0, there - length);
	memmove(target + there, from, size);
	if (there + size > length)
		length = there + size;
}

static void any_range_to_anywhere(void)
{
	static const size_t edges[] = { 0, 1, 3071, 4095, 4096, 8192, 200 * 1000, 60 * BLOCK + 7 };
	static const size_t sizes[] = { 1, 100, 4096, 5000, 70 * BLOCK, 300 * 1000 };
	enum { N = sizeof(edges) / sizeof(edges[0]), M = sizeof(sizes) / sizeof(sizes[0]) };
	int from = fresh("from", source, SIZE, 1);

	for (int i = 0; i < N; i++)
		for (int k = 0; k < N; k++) {
			size_t size = sizes[(i * N + k) % M];
			int to;

			length = (i + k) % 3 ? 250 * 1000 : (i + k) % 2 ? 2000 : 0;
			to = fresh("to", target, length, 2);
			copy(from, (off_t)edges[i], to, (off_t)edges[k], size);
			image_copy(source + edges[i], edges[k], size);
			check_content(to, target, length);
			close(to);
		}
	close(from);
}

static void within_one_file(void)
{
	int fd = fresh("one", target, SIZE, 3);
	off_t at = 0;
	off_t there = 100;

	length = SIZE;
	copy(fd, 5, fd, 300 * 1000, 200 * 1000);
	image_copy(target + 5, 300 * 1000, 200 * 1000);
	check_content(fd, target, length);
	copy(fd, 400 * 1000, fd, 700 * 1000, 50 * 1000);
	image_copy(target + 400 * 1000, 700 * 1000, 50 * 1000);
	check_content(fd, target, length);
	CHECK_FAILS(copy_file_range(fd, &at, fd, &there, 200, 0), EINVAL);
	check_content(fd, target, length);
	close(fd);
}

static void what_was_mapped_or_written_last_is_copied(void)
{
	int from = fresh("from", source, 20000, 4);
	int to = fresh("to", target, 0, 0);

	for (int i = 0; i < 50; i++) {
		source[i * 300] = (uint8_t)(i + 1);
		CHECK(pwrite(from, source + i * 300, 1, i * 300) == 1);
		length = 0;
		CHECK(!ftruncate(to, 0));
		copy(from, 0, to, 0, 20000);
		image_copy(source, 0, 20000);
		check_content(to, target, length);
	}
	close(from);
	close(to);
}

static void holes_stay_holes(void)
{
	enum { FAR = 1 << 30 };
	int from = check_open("sparse", O_RDWR | O_CREAT | O_TRUNC);
	int to = fresh("to", target, 5000, 5);
	struct stat st;
	uint8_t byte;

	CHECK(!ftruncate(from, FAR));
	CHECK(pwrite(from, "x", 1, FAR / 2) == 1);
	if (no_holes) /* all of it would be written */
		CHECK(!ftruncate(from, 3000 * 1000));
	CHECK(!fstat(from, &st));
	copy(from, 0, to, 0, (size_t)st.st_size);
	CHECK(pread(to, &byte, 1, 4000) == 1 && !byte);
	if (!no_holes) {
		CHECK(pread(to, &byte, 1, FAR / 2) == 1 && byte == 'x');
		CHECK(!fstat(to, &st) && st.st_size == FAR && st.st_blocks < 1000);
	}
	close(from);
	close(to);
	CHECK(!unlink("sparse"));
}

static void ends_and_errors(void)
{
	int from = fresh("from", source, 10000, 6);
	int to = fresh("to", target, 0, 0);
	int append = check_open("to", O_WRONLY | O_APPEND);
	int readable = check_open("to", O_RDONLY);
	off_t at = 9000;

	CHECK(copy_file_range(from, &at, to, NULL, 5000, 0) == 1000);
	CHECK(copy_file_range(from, &at, to, NULL, 5000, 0) == 0);
	at = 20000;
	CHECK(copy_file_range(from, &at, to, NULL, 5000, 0) == 0);
	length = 0;
	image_copy(source + 9000, 0, 1000);
	check_content(to, target, length);
	CHECK_FAILS(copy_file_range(from, NULL, append, NULL, 10, 0), EBADF);
	CHECK_FAILS(copy_file_range(from, NULL, readable, NULL, 10, 0), EBADF);
	CHECK_FAILS(copy_file_range(from, NULL, to, NULL, 10, 1), EINVAL);
	check_content(to, target, length);
	close(from);
	close(to);
	close(append);
	close(readable);
}

int main(int argc, char **argv)
{
	CHECK(argc >= 2);
	CHECK(!chdir(argv[1]));
	no_holes = argc > 2 && !strcmp(argv[2], "no-holes");
	any_range_to_anywhere();
	within_one_file();
	what_was_mapped_or_written_last_is_copied();
	holes_stay_holes();
	ends_and_errors();
	CHECK(!unlink("from") && !unlink("to") && !unlink("one"));
	return 0;
}
