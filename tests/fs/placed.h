/* SPDX-License-Identifier: MIT */
/*
 * placed - changes of a file that are cut off at a chosen system call, or see
 * one fail, and what may be found afterwards.  A test that includes this is linked
 * with --wrap for the calls below.  Include it after <cmocka.h>.
 */
#ifndef TESTS_FS_PLACED_H
#define TESTS_FS_PLACED_H

#include <errno.h>
#include <sys/uio.h>

#include "file_fixture.h"

/* ---- the calls ------------------------------------------------------------- */

enum fate {
	LIVE, /* calls pass and are counted */
	DIE,  /* from the chosen call on nothing reaches the file */
	FAIL, /* the chosen call fails, later ones pass */
	FILL, /* the chosen call fails and so do later ones */
};

static struct {
	enum fate fate;
	int at;	     /* the call, from 1 on */
	size_t cut;  /* whole pages of it that reach the file */
	int calls;   /* so far */
	bool struck; /* it happened */
	bool failing;
	size_t more; /* so many greater cuts would be other cases */
} fate;

static inline void arm(enum fate what, int at, size_t cut)
{
	memset(&fate, 0, sizeof(fate));
	fate.fate = what;
	fate.at = at;
	fate.cut = cut;
}

static inline void disarm(void)
{
	fate.fate = LIVE;
}

/*
 * What becomes of the call now being made, of size bytes at offset: true if
 * it is done as it is; else *some bytes of it are done.
 */
static inline bool passes(size_t size, uint64_t offset, size_t *some)
{
	*some = 0;
	if (fate.fate == LIVE)
		return true;
	if (fate.fate == FILL && !size)
		return true;
	if (fate.failing) {
		fate.failing = fate.fate != FAIL;
		return false;
	}
	if (++fate.calls != fate.at)
		return true;
	if (fate.cut) {
		*some = (size_t)((offset / BLOCK + fate.cut) * BLOCK - offset);
		if (*some >= size)
			return true; /* whole: the same as to strike at the next call */
	}
	fate.struck = true;
	fate.more = size ? (size_t)((offset + size - 1) / BLOCK - offset / BLOCK) - fate.cut : 0;
	fate.failing = fate.fate != FAIL || *some;
	return false;
}

/* A part was written: the rest fails with the next call, or nobody sees. */
static inline ssize_t failed(ssize_t written)
{
	if (written > 0 && fate.fate != DIE)
		return written;
	errno = fate.fate == DIE ? EIO : ENOSPC;
	return -1;
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	size_t some;

	if (passes(size, (uint64_t)offset, &some))
		return __real_pwrite64(fd, data, size, offset);
	return failed(some ? __real_pwrite64(fd, data, some, offset) : 0);
}

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset)
{
	static uint8_t flat[IMAGE_MAX];
	size_t size = 0;
	size_t some;

	for (int i = 0; i < n; i++) {
		memcpy(flat + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	if (passes(size, (uint64_t)offset, &some))
		return __real_pwritev64(fd, iov, n, offset);
	return failed(some ? __real_pwrite64(fd, flat, some, offset) : 0);
}

int __real_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length)
{
	size_t some;

	if (passes(0, 0, &some))
		return __real_ftruncate64(fd, length);
	return (int)failed(0);
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	size_t some;

	(void)fd; /* nothing here has to outlive the machine */
	return passes(0, 0, &some) ? 0 : (int)failed(0);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return __wrap_fsync(fd);
}

int __real_fallocate64(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size)
{
	size_t some;

	if (passes(0, 0, &some))
		return __real_fallocate64(fd, mode, offset, size);
	return (int)failed(0);
}

/* ---- what is done to a file -------------------------------------------------- */

enum verb { WRITE, TRUNCATE, PUNCH, ZERO, RESERVE, SETTLE, BIND };

struct change {
	enum verb verb;
	uint64_t offset; /* of a write or a range; the length of a truncation */
	size_t size;
};

struct scenario {
	const char *name;
	uint64_t length;    /* of the file before */
	uint64_t with_hole; /* extended so far by a hole before; 0: it is not */
	struct change change;
};

static const struct scenario scenarios[] = {
	{ "overwrite inside a block", 3 * BLOCK, 0, { WRITE, BLOCK + 5, 50 } },
	{ "overwrite whole blocks", 5 * BLOCK, 0, { WRITE, BLOCK, 3 * BLOCK } },
	{ "overwrite from the start of group 0", 5 * BLOCK, 0, { WRITE, 0, 3 * BLOCK } },
	{ "overwrite across blocks", 5 * BLOCK, 0, { WRITE, 5, 2 * BLOCK } },
	{ "overwrite across a group", 52 * BLOCK, 0, { WRITE, 46 * BLOCK + 9, 4 * BLOCK } },
	{ "overwrite from the start of group 1", 52 * BLOCK, 0, { WRITE, 48 * BLOCK, 9999 } },
	{ "overwrite the short last block", 5000, 0, { WRITE, 4500, 100 } },
	{ "append in the last block", BLOCK + 100, 0, { WRITE, BLOCK + 100, 200 } },
	{ "append after a whole block", 2 * BLOCK, 0, { WRITE, 2 * BLOCK, 10 } },
	{ "append across blocks", BLOCK + 100, 0, { WRITE, BLOCK + 100, 3 * BLOCK } },
	{ "append across a group", 47 * BLOCK + 7, 0, { WRITE, 47 * BLOCK + 7, 3 * BLOCK } },
	{ "append the first block of a group", 48 * BLOCK, 0, { WRITE, 48 * BLOCK, 6000 } },
	{ "append far across a group", 46 * BLOCK + 7, 0, { WRITE, 46 * BLOCK + 7, 70 * BLOCK } },
	{ "write the first bytes", 0, 0, { WRITE, 0, 100 } },
	{ "rewrite a small file", 1000, 0, { WRITE, 0, 1000 } },
	{ "patch a small file", 1000, 0, { WRITE, 500, 100 } },
	{ "append to a small file", 1000, 0, { WRITE, 1000, 1000 } },
	{ "leave a gap in a small file", 1000, 0, { WRITE, 2000, 1000 } },
	{ "cut a small file", 1000, 0, { TRUNCATE, 500, 0 } },
	{ "empty a small file", 1000, 0, { TRUNCATE, 0, 0 } },
	{ "extend a small file", 1000, 0, { TRUNCATE, 3000, 0 } },
	{ "grow from nothing", 0, 0, { WRITE, 0, 3 * BLOCK } },
	{ "grow from nothing across a group", 0, 0, { WRITE, 0, 50 * BLOCK } },
	{ "grow from nothing over a hole", 0, 0, { WRITE, 3 * BLOCK, 100 } },
	{ "extend from nothing", 0, 0, { TRUNCATE, 50 * BLOCK, 0 } },
	{ "grow by appending", 3000, 0, { WRITE, 3000, 200 } },
	{ "grow by overwriting", 3000, 0, { WRITE, 0, 3 * BLOCK } },
	{ "grow by patching", 3000, 0, { WRITE, 1000, 3000 } },
	{ "grow over a hole", 3000, 0, { WRITE, 3 * BLOCK + 5, 100 } },
	{ "grow by a hole", 3000, 0, { TRUNCATE, 50 * BLOCK + 1, 0 } },
	{ "grow within the first block", 100, 0, { TRUNCATE, BLOCK, 0 } },
	{ "cut inside a block", 3 * BLOCK, 0, { TRUNCATE, BLOCK + 100, 0 } },
	{ "cut inside the last block", 5000, 0, { TRUNCATE, 4500, 0 } },
	{ "cut inside the first block", 5000, 0, { TRUNCATE, 100, 0 } },
	{ "cut between blocks", 5000, 0, { TRUNCATE, BLOCK, 0 } },
	{ "cut a group off", 52 * BLOCK, 0, { TRUNCATE, 48 * BLOCK, 0 } },
	{ "cut inside another group", 52 * BLOCK, 0, { TRUNCATE, 47 * BLOCK + 9, 0 } },
	{ "cut to nothing", 50 * BLOCK, 0, { TRUNCATE, 0, 0 } },
	{ "extend inside the last block", 5000, 0, { TRUNCATE, 6000, 0 } },
	{ "extend by a hole", 5000, 0, { TRUNCATE, 5 * BLOCK + 3, 0 } },
	{ "extend across a group", 47 * BLOCK + 9, 0, { TRUNCATE, 50 * BLOCK + 3, 0 } },
	{ "extend to a whole group", 47 * BLOCK + 9, 0, { TRUNCATE, 48 * BLOCK, 0 } },
	{ "write behind the end", 5000, 0, { WRITE, 5 * BLOCK + 3, 100 } },
	{ "write far behind the end", 5000, 0, { WRITE, 49 * BLOCK + 3, 2 * BLOCK } },
	{ "write into a hole", 5000, 9 * BLOCK, { WRITE, 5 * BLOCK + 3, 100 } },
	{ "write across the edge of a hole", 5000, 9 * BLOCK, { WRITE, 4500, 2 * BLOCK } },
	{ "append to a hole", 5000, 9 * BLOCK + 9, { WRITE, 9 * BLOCK + 9, 2 * BLOCK } },
	{ "cut inside a hole", 5000, 9 * BLOCK, { TRUNCATE, 5 * BLOCK + 3, 0 } },
	{ "punch a block", 5 * BLOCK, 0, { PUNCH, 2 * BLOCK, BLOCK } },
	{ "punch inside a block", 3 * BLOCK, 0, { PUNCH, BLOCK + 5, 50 } },
	{ "punch across blocks", 5 * BLOCK, 0, { PUNCH, 5, 2 * BLOCK } },
	{ "punch with both edges", 6 * BLOCK, 0, { PUNCH, BLOCK + 5, 3 * BLOCK } },
	{ "punch across a group", 52 * BLOCK, 0, { PUNCH, 46 * BLOCK + 9, 4 * BLOCK } },
	{ "punch a whole group", 120 * BLOCK, 0, { PUNCH, 40 * BLOCK, 75 * BLOCK } },
	{ "punch to the end", 5000, 0, { PUNCH, 100, 2 * BLOCK } },
	{ "punch the short last block", 5000, 0, { PUNCH, BLOCK, BLOCK } },
	{ "punch everything", 50 * BLOCK + 9, 0, { PUNCH, 0, 60 * BLOCK } },
	{ "punch around a hole", 5000, 9 * BLOCK, { PUNCH, 100, 6 * BLOCK } },
	{ "punch in a small file", 1000, 0, { PUNCH, 100, 200 } },
	{ "punch behind the end", 5000, 0, { PUNCH, 3 * BLOCK, BLOCK } },
	{ "zero across blocks", 5 * BLOCK, 0, { ZERO, 5, 2 * BLOCK } },
	{ "zero across the end", 5000, 0, { ZERO, 4500, 3 * BLOCK } },
	{ "zero behind the end", 5000, 0, { ZERO, 2 * BLOCK + 5, 3 * BLOCK } },
	{ "zero and grow", 1000, 0, { ZERO, 500, 3 * BLOCK } },
	{ "reserve", 5000, 0, { RESERVE, 0, 6000 } },
	{ "reserve across a group", 5000, 0, { RESERVE, 47 * BLOCK + 5, 3 * BLOCK } },
	{ "reserve and grow", 100, 0, { RESERVE, 0, 50 * BLOCK + 3 } },
	{ "settle", 5000, 0, { SETTLE, 0, 0 } },
	{ "settle a small file", 500, 0, { SETTLE, 0, 0 } },
	{ "bind to two places", 5000, 0, { BIND, 0, 0 } },
	{ "bind a small file to two places", 500, 0, { BIND, 0, 0 } },
};
enum { N_SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static const uint8_t there[FORMAT_BINDING_SIZE] = "there it goes..";

static inline int change_range(struct file *f, const struct change *change)
{
	const struct file_range range = { .kind = change->verb == PUNCH	 ? FILE_PUNCH
						  : change->verb == ZERO ? FILE_ZERO
									 : FILE_RESERVE,
					  .offset = change->offset,
					  .size = change->size,
					  .extend = change->verb != PUNCH };
	uint64_t bad;

	return file_allocate(f, io, &range, &bad);
}

static inline int perform(struct file *f, const struct change *change, uint8_t fill)
{
	switch (change->verb) {
	case WRITE:
		return write_fill(f, change->offset, change->size, fill);
	case TRUNCATE:
		return resize(f, change->offset);
	case PUNCH:
	case ZERO:
	case RESERVE:
		return change_range(f, change);
	case SETTLE:
		return file_settle(f, io, false);
	default:
		return file_bind_both(f, io, home, there);
	}
}

static inline void image_range(struct image *image, const struct change *change)
{
	uint64_t end = change->offset + change->size;
	uint64_t known = end < image->length ? end : image->length;

	if (change->verb != RESERVE && change->offset < known)
		memset(image->bytes + change->offset, 0, known - change->offset);
	if (change->verb != PUNCH && end > image->length)
		image_resize(image, end);
}

static inline void image_change(struct image *image, const struct change *change, uint8_t fill)
{
	if (change->verb == WRITE)
		image_write(image, change->offset, change->size, fill);
	else if (change->verb == TRUNCATE)
		image_resize(image, change->offset);
	else if (change->verb == PUNCH || change->verb == ZERO || change->verb == RESERVE)
		image_range(image, change);
}

static struct image before;
static struct image after;
static struct image found;

/* The file of a scenario, each block of it written twice; settled or DIRTY.  Gives backing back. */
static inline int prepared(int backing, const struct scenario *s, bool settled)
{
	struct file *f = file_made(backing);

	before.length = 0;
	for (uint8_t fill = 1; fill <= 2; fill++)
		for (uint64_t at = 0; at < s->length; at += IO_MAX_SIZE) {
			size_t left = (size_t)(s->length - at);
			size_t size = left < IO_MAX_SIZE ? left : IO_MAX_SIZE;

			assert_int_equal(write_fill(f, at, size, fill), 0);
			image_write(&before, at, size, fill);
		}
	if (s->with_hole) {
		assert_int_equal(resize(f, s->with_hole), 0);
		image_resize(&before, s->with_hole);
	}
	if (settled)
		assert_int_equal(file_settle(f, io, false), 0);
	file_close(f);
	return backing;
}

/* ---- what may be found afterwards -------------------------------------------- */

/* size bytes of an image at a position, zeros behind its end. */
static inline void piece(const struct image *image, uint64_t at, size_t size, uint8_t *to)
{
	size_t have = 0;

	if (at < image->length)
		have = image->length - at < size ? (size_t)(image->length - at) : size;
	memcpy(to, image->bytes + at, have);
	memset(to + have, 0, size - have);
}

static inline bool is_between(uint64_t length)
{
	uint64_t low = before.length < after.length ? before.length : after.length;
	uint64_t high = before.length < after.length ? after.length : before.length;

	return length > low && length < high && length % BLOCK == 0;
}

/* Read the whole file, which must be readable, into `found`. */
static inline void read_all(struct file *f)
{
	const void *data;
	uint64_t bad;
	size_t done;

	found.length = 0;
	do {
		assert_int_equal(file_read(f, io, found.length, 100 * BLOCK, &data, &done, &bad),
				 0);
		memcpy(found.bytes + found.length, data, done);
		found.length += done;
	} while (done);
}

/* Each block is the old one or the new one; nothing else. */
static inline void assert_old_or_new(struct file *f)
{
	static uint8_t wanted[2][FORMAT_BLOCK_SIZE];

	read_all(f);
	assert_true(found.length == before.length || found.length == after.length ||
		    is_between(found.length));
	for (uint64_t at = 0; at < found.length; at += BLOCK) {
		size_t size = found.length - at < BLOCK ? (size_t)(found.length - at) : BLOCK;

		piece(&before, at, size, wanted[0]);
		piece(&after, at, size, wanted[1]);
		if (memcmp(found.bytes + at, wanted[0], size) != 0)
			assert_memory_equal(found.bytes + at, wanted[1], size);
	}
}

#endif /* TESTS_FS_PLACED_H */
