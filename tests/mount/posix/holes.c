/* SPDX-License-Identifier: MIT */
/*
 * holes DIRECTORY [no-holes]: fallocate(2) in all its ways, and finding holes.
 *
 * With no-holes there may be none to be found and no space comes back: the
 * content must be right all the same.
 */
#include "check.h"

#include <sys/mman.h>
#include <time.h>

enum {
	BLOCK = 4096,
	LIMIT = 700 * 1000, /* several groups of blocks */
};

static bool no_holes;
static uint8_t image[2 * LIMIT];
static size_t length;

static uint64_t allocated(int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return (uint64_t)st.st_blocks * 512;
}

static size_t size_of(int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return (size_t)st.st_size;
}

static void put(int fd, size_t offset, size_t size, uint8_t seed)
{
	static uint8_t data[LIMIT];

	fill(data, offset, size, seed);
	CHECK(pwrite(fd, data, size, (off_t)offset) == (ssize_t)size);
	if (offset > length)
		memset(image + length, 0, offset - length);
	memcpy(image + offset, data, size);
	if (offset + size > length)
		length = offset + size;
}

static void resize(int fd, size_t to)
{
	CHECK(!ftruncate(fd, (off_t)to));
	if (to > length)
		memset(image + length, 0, to - length);
	length = to;
}

/* fallocate, and the same to the image. */
static void change(int fd, int mode, size_t offset, size_t size)
{
	size_t end = offset + size;

	CHECK(!fallocate(fd, mode, (off_t)offset, (off_t)size));
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && offset < length)
		memset(image + offset, 0, (end < length ? end : length) - offset);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > length) {
		memset(image + length, 0, end - length);
		length = end;
	}
	CHECK(size_of(fd) == length);
}

static int fresh(size_t size)
{
	int fd = check_open("file", O_RDWR | O_CREAT | O_TRUNC);

	length = 0;
	if (size)
		put(fd, 0, size, 1);
	return fd;
}

static off_t seek(int fd, off_t offset, int whence)
{
	errno = 0;
	return lseek(fd, offset, whence);
}

/* Whatever is said to be a hole holds zeros, and the end is where it is. */
static void check_seeks(int fd)
{
	off_t at = 0;

	CHECK(seek(fd, (off_t)length, SEEK_DATA) < 0 && errno == ENXIO);
	CHECK(seek(fd, (off_t)length, SEEK_HOLE) < 0 && errno == ENXIO);
	while (at < (off_t)length) {
		off_t data = seek(fd, at, SEEK_DATA);
		off_t hole;

		if (data < 0)
			CHECK(errno == ENXIO);
		if (data < 0)
			data = (off_t)length;
		CHECK(data >= at);
		for (off_t i = at; i < data; i++)
			CHECK(!image[i]);
		if (data == (off_t)length)
			break;
		hole = seek(fd, data, SEEK_HOLE);
		CHECK(hole > data && hole <= (off_t)length);
		at = hole;
	}
}

static void ranges_read_as_zeros(void)
{
	static const size_t edges[] = { 0,	    1,		100,	    3071,
					3072,	    4095,	4096,	    4097,
					8192,	    20000,	48 * BLOCK, 48 * BLOCK + 1,
					60 * BLOCK, 300 * 1000, 130 * BLOCK };
	enum { N = sizeof(edges) / sizeof(edges[0]) };
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_KEEP_SIZE,
		0,
	};
	static const size_t sizes[] = { 0, 2000, 5000, 61 * BLOCK + 5 };
	unsigned int random = 1;

	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			for (int from = 0; from < N - 1; from++) {
				int to = from + 1 + rand_r(&random) % (N - 1 - from);
				int fd = fresh(sizes[s]);

				change(fd, modes[m], edges[from], edges[to] - edges[from]);
				check_content(fd, image, length);
				put(fd, edges[from] + 5, 10, 2);
				check_content(fd, image, length);
				if (!(from % 4))
					check_seeks(fd);
				close(fd);
			}
}

/* Any sequence of changes leaves what it should. */
static void any_sequence(void)
{
	unsigned int random = 42;
	int fd = fresh(0);

	for (int i = 0; i < 300; i++) {
		size_t offset = (size_t)rand_r(&random) % LIMIT;
		size_t size = 1 + (size_t)rand_r(&random) % (i % 3 ? 9000 : LIMIT - 1);

		switch (rand_r(&random) % 7) {
		case 0:
		case 1:
			put(fd, offset, size < LIMIT - offset ? size : LIMIT - offset, (uint8_t)i);
			break;
		case 2:
			resize(fd, offset);
			break;
		case 3:
			change(fd, FALLOC_FL_ZERO_RANGE, offset, size);
			break;
		case 4:
			change(fd, 0, offset, size);
			break;
		default:
			change(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
		}
		if (i % 10 == 0)
			check_content(fd, image, length);
		if (i % 20 == 0)
			check_seeks(fd);
	}
	check_content(fd, image, length);
	CHECK(!fsync(fd));
	CHECK(!posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	check_content(fd, image, length);
	close(fd);
}

static void space_comes_and_goes(void)
{
	int fd = fresh(100 * BLOCK);
	uint64_t full;

	CHECK(!fsync(fd));
	full = allocated(fd);
	change(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * BLOCK, 80 * BLOCK);
	CHECK(no_holes || full - allocated(fd) >= (uint64_t)80 * BLOCK);
	change(fd, 0, 10 * BLOCK, 80 * BLOCK);
	CHECK(allocated(fd) >= (uint64_t)100 * BLOCK);
	change(fd, FALLOC_FL_KEEP_SIZE, 100 * BLOCK, 200 * BLOCK);
	CHECK(allocated(fd) >= (uint64_t)300 * BLOCK);
	check_content(fd, image, length);
	close(fd);
}

static void holes_are_found(void)
{
	int fd = fresh(130 * BLOCK);
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	change(fd, punch, 3 * BLOCK, 2 * BLOCK);
	change(fd, punch, 40 * BLOCK - 7, 80 * BLOCK + 7);
	if (!no_holes) {
		CHECK(seek(fd, 0, SEEK_HOLE) == 3 * BLOCK);
		CHECK(seek(fd, 3 * BLOCK + 1, SEEK_HOLE) == 3 * BLOCK + 1);
		CHECK(seek(fd, 3 * BLOCK + 1, SEEK_DATA) == 5 * BLOCK);
		CHECK(seek(fd, 5 * BLOCK, SEEK_HOLE) == 40 * BLOCK);
		CHECK(seek(fd, 50 * BLOCK, SEEK_DATA) == 120 * BLOCK);
	}
	check_seeks(fd);
	resize(fd, 140 * BLOCK);
	if (!no_holes)
		CHECK(seek(fd, 125 * BLOCK, SEEK_HOLE) == 130 * BLOCK);
	check_seeks(fd);
	close(fd);
}

/* What was stored through a mapping is data at once. */
static void mapped_stores_are_data(void)
{
	enum { SIZE = 200 * BLOCK };
	int fd = fresh(0);
	uint8_t *map;

	resize(fd, SIZE);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	for (int i = 0; i < 200; i += 9) {
		map[i * BLOCK + 5] = 1;
		image[i * BLOCK + 5] = 1;
		check_seeks(fd);
		if (!no_holes && i) {
			CHECK(seek(fd, (i - 1) * BLOCK, SEEK_DATA) == i * BLOCK);
			CHECK(seek(fd, i * BLOCK, SEEK_HOLE) == (i + 1) * BLOCK);
		}
	}
	/* And what a punch took away, the mapping does not show any more. */
	change(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 20 * BLOCK);
	CHECK(!map[5] && !map[9 * BLOCK + 5] && map[27 * BLOCK + 5] == 1);
	CHECK(!memcmp(map, image, SIZE));
	CHECK(!munmap(map, SIZE));
	check_content(fd, image, length);
	close(fd);
}

static void what_cannot_be_is_refused(void)
{
	int fd = fresh(5000);
	int readable = check_open("file", O_RDONLY);

	/* What is not there says so, and does nothing. */
	if (fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, BLOCK)) {
		CHECK(errno == EOPNOTSUPP);
		check_content(fd, image, length);
		CHECK_FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK), EOPNOTSUPP);
	} else {
		CHECK(!fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, BLOCK));
	}
	check_content(fd, image, length);
	CHECK_FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK), EOPNOTSUPP);
	CHECK_FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	CHECK_FAILS(fallocate(fd, 0, -1, 5), EINVAL);
	CHECK_FAILS(fallocate(readable, 0, 0, 10000), EBADF);
	CHECK(posix_fallocate(fd, 0, 10000) == 0);
	CHECK(size_of(fd) == 10000);
	close(readable);
	close(fd);
}

/* A change by fallocate is one of the file's time. */
static void times_move(void)
{
	const struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
	int fd = fresh(50000);
	struct stat st;

	CHECK(!futimens(fd, old));
	change(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 20000);
	CHECK(!fstat(fd, &st) && st.st_mtim.tv_sec > 1000);
	close(fd);
}

int main(int argc, char **argv)
{
	CHECK(argc >= 2);
	CHECK(!chdir(argv[1]));
	no_holes = argc > 2 && !strcmp(argv[2], "no-holes");
	ranges_read_as_zeros();
	any_sequence();
	space_comes_and_goes();
	holes_are_found();
	mapped_stores_are_data();
	what_cannot_be_is_refused();
	times_move();
	CHECK(!unlink("file"));
	return 0;
}
