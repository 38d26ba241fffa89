/* SPDX-License-Identifier: MIT */
/*
 * file_fixture - what the tests of open files share: an engine without
 * workers, backing files in memory, and the image of a file to compare with.
 * Include it after <cmocka.h>.
 */
#ifndef TESTS_FS_FILE_FIXTURE_H
#define TESTS_FS_FILE_FIXTURE_H

#include <sys/mman.h>
#include <sys/sendfile.h>

#include "fixture.h"
#include "fs/file.h"

#define BLOCK ((uint64_t)FORMAT_BLOCK_SIZE)

enum { IMAGE_MAX = 2 * 1024 * 1024 };

/* What a file is expected to hold. */
struct image {
	uint64_t length;
	uint8_t bytes[IMAGE_MAX];
};

static struct keyring keys;
static struct store store;
static struct io *io;

static const uint8_t home[FORMAT_BINDING_SIZE] = "here it belongs";

static inline int fixture_engine(void **state)
{
	const struct engine_options options = { .workers = 0, .slots = 4 };

	(void)state;
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	store.keys = &keys;
	store.suite = CIPHER_AES_256_GCM;
	assert_int_equal(engine_start(&options, &store.engine), 0);
	assert_int_equal(io_new(&store, &io), 0);
	return 0;
}

static inline int fixture_engine_end(void **state)
{
	(void)state;
	io_free(io);
	engine_stop(store.engine);
	return 0;
}

static inline void fixture_suite(enum cipher_suite suite)
{
	io_wipe(io);
	store.suite = suite;
}

/* ---- backing files --------------------------------------------------------- */

static inline int backing_new(void)
{
	int fd = memfd_create("cryptfs-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Another descriptor of the backing file: struct file closes what it gets. */
static inline int backing_again(int backing, int flags)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", backing);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static inline uint64_t backing_size(int backing)
{
	struct stat st;

	assert_int_equal(fstat(backing, &st), 0);
	return (uint64_t)st.st_size;
}

/* All bytes of a backing file, in another one; not in our memory, where sanitizers would look. */
struct backup {
	int fd; /* 0: none yet */
	size_t size;
};

static inline void backing_copy(int from, int to)
{
	size_t size = (size_t)backing_size(from);
	off_t at = 0;

	assert_int_equal(ftruncate(to, (off_t)size), 0);
	assert_int_equal(lseek(to, 0, SEEK_SET), 0);
	while ((size_t)at < size)
		assert_true(sendfile(to, from, &at, size - (size_t)at) > 0);
}

static inline void backing_save(int backing, struct backup *to)
{
	if (!to->fd)
		to->fd = backing_new();
	backing_copy(backing, to->fd);
	to->size = (size_t)backing_size(backing);
}

/* Holes come back as holes do: as zeros. */
static inline void backing_put(int backing, const struct backup *from)
{
	backing_copy(from->fd, backing);
}

/* ---- files ----------------------------------------------------------------- */

static inline struct file *file_made(int backing)
{
	struct file *f;

	assert_int_equal(file_create(&store, io, backing_again(backing, O_RDWR), home, &f), 0);
	return f;
}

static inline struct file *file_opened(int backing, bool trusted)
{
	struct file *f;

	assert_int_equal(file_open(&store, io, backing_again(backing, O_RDWR), true, trusted, &f),
			 0);
	return f;
}

/* What a test writes at a position depends on both; it never repeats itself. */
static inline void pattern(uint8_t *to, uint64_t offset, size_t size, uint8_t fill)
{
	enum { STEP = 61 };
	static uint8_t noise[IMAGE_MAX + 256 * STEP];

	for (size_t i = 0; !noise[0] && i < sizeof(noise); i++) {
		size_t at = sizeof(noise) - 1 - i; /* the first one comes last */
		uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15U;

		noise[at] = (uint8_t)((mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9U >> 56) | 1;
	}
	assert_true(offset + size <= IMAGE_MAX);
	memcpy(to, noise + offset + (size_t)fill * STEP, size);
}

static inline void image_copy(struct image *to, const struct image *from)
{
	to->length = from->length;
	memcpy(to->bytes, from->bytes, from->length);
}

static inline void image_resize(struct image *image, uint64_t length)
{
	assert_true(length <= IMAGE_MAX);
	if (length > image->length)
		memset(image->bytes + image->length, 0, length - image->length);
	image->length = length;
}

static inline void image_write(struct image *image, uint64_t offset, size_t size, uint8_t fill)
{
	if (offset + size > image->length)
		image_resize(image, offset + size);
	pattern(image->bytes + offset, offset, size, fill);
}

/* Write the pattern of fill, as image_write does. */
static inline int write_fill(struct file *f, uint64_t offset, size_t size, uint8_t fill)
{
	uint64_t bad;

	if (offset + size <= IMAGE_MAX)
		pattern(io->data + IO_DATA, offset, size, fill);
	return file_write(f, io, offset, size, false, &bad);
}

static inline int resize(struct file *f, uint64_t length)
{
	uint64_t bad;

	return file_truncate(f, io, length, &bad);
}

/* Read size bytes that the file has. */
static inline const uint8_t *read_range(struct file *f, uint64_t offset, size_t size)
{
	const void *data;
	size_t done;
	uint64_t bad;

	assert_int_equal(file_read(f, io, offset, size, &data, &done, &bad), 0);
	assert_int_equal(done, size);
	return data;
}

static inline void assert_ends_at(struct file *f, uint64_t length)
{
	const void *data;
	size_t done;
	uint64_t bad;

	assert_int_equal(file_read(f, io, length, 1, &data, &done, &bad), 0);
	assert_int_equal(done, 0);
	if (length)
		(void)read_range(f, length - 1, 1);
}

static inline void assert_range(struct file *f, const struct image *image, uint64_t offset,
				size_t size)
{
	const void *data;
	size_t wanted = 0;
	size_t done;
	uint64_t bad;

	if (offset < image->length)
		wanted = image->length - offset < size ? (size_t)(image->length - offset) : size;
	assert_int_equal(file_read(f, io, offset, size, &data, &done, &bad), 0);
	assert_int_equal(done, wanted);
	assert_memory_equal(data, image->bytes + offset, wanted);
}

static inline void assert_content(struct file *f, const struct image *image)
{
	for (uint64_t at = 0; at < image->length; at += IO_MAX_SIZE)
		assert_range(f, image, at, IO_MAX_SIZE);
	assert_range(f, image, image->length, IO_MAX_SIZE);
}

/* A mount that never saw the file finds this in it. */
static inline void assert_content_afresh(int backing, const struct image *image)
{
	struct file *f = file_opened(backing, false);

	assert_content(f, image);
	file_close(f);
}

/* The current header as it is on disk. */
static inline struct format_header header_on_disk(int backing)
{
	uint8_t raw[2][FORMAT_HEADER_SIZE];
	struct format_header headers[2] = { { .sequence = 0 }, { .sequence = 0 } };
	static struct cipher_key key; /* see cipher.h on stacks */

	assert_int_equal(pread(backing, raw, sizeof(raw), 0), sizeof(raw));
	for (int i = 0; i < 2; i++) {
		uint8_t id[KEYS_FILE_ID_SIZE];

		if (format_header_peek(raw[i], id))
			continue;
		fixture_file_key(&keys, id, store.suite, &key);
		if (format_header_decode(raw[i], &key, &headers[i]))
			headers[i].sequence = 0;
	}
	assert_true(headers[0].sequence || headers[1].sequence);
	return headers[headers[1].sequence > headers[0].sequence];
}

#endif /* TESTS_FS_FILE_FIXTURE_H */
