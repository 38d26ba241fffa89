/* SPDX-License-Identifier: MIT */
/*
 * Placed deaths: a change of a file is cut off at each of its system calls,
 * and inside each write at each page, then the file is opened as the next
 * mount does.  And placed failures: a call fails, the process lives on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static void arm(enum fate what, int at, size_t cut)
{
	memset(&fate, 0, sizeof(fate));
	fate.fate = what;
	fate.at = at;
	fate.cut = cut;
}

static void disarm(void)
{
	fate.fate = LIVE;
}

/*
 * What becomes of the call now being made, of size bytes at offset: true if
 * it is done as it is; else *some bytes of it are done.
 */
static bool passes(size_t size, uint64_t offset, size_t *some)
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
static ssize_t failed(ssize_t written)
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

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	size_t some;

	if (passes(0, 0, &some))
		return __real_fdatasync(fd);
	return (int)failed(0);
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

static int change_range(struct file *f, const struct change *change)
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

static int perform(struct file *f, const struct change *change, uint8_t fill)
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

static void image_range(struct image *image, const struct change *change)
{
	uint64_t end = change->offset + change->size;
	uint64_t known = end < image->length ? end : image->length;

	if (change->verb != RESERVE && change->offset < known)
		memset(image->bytes + change->offset, 0, known - change->offset);
	if (change->verb != PUNCH && end > image->length)
		image_resize(image, end);
}

static void image_change(struct image *image, const struct change *change, uint8_t fill)
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

/* The file of a scenario, each block of it written twice; settled or DIRTY. */
static int prepare(const struct scenario *s, bool settled)
{
	int backing = backing_new();
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
static void piece(const struct image *image, uint64_t at, size_t size, uint8_t *to)
{
	size_t have = 0;

	if (at < image->length)
		have = image->length - at < size ? (size_t)(image->length - at) : size;
	memcpy(to, image->bytes + at, have);
	memset(to + have, 0, size - have);
}

static bool is_between(uint64_t length)
{
	uint64_t low = before.length < after.length ? before.length : after.length;
	uint64_t high = before.length < after.length ? after.length : before.length;

	return length > low && length < high && length % BLOCK == 0;
}

/* Read the whole file, which must be readable, into `found`. */
static void read_all(struct file *f)
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
static void assert_old_or_new(struct file *f)
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

/* The change is made on a file like `found` by the next mount, and stands. */
static void assert_usable(int backing, struct file *f, const struct change *change)
{
	static const struct change more = { WRITE, 47 * BLOCK + 100, 2 * BLOCK };

	assert_int_equal(perform(f, change, 77), 0);
	image_change(&found, change, 77);
	assert_content(f, &found);
	file_close(f);
	assert_content_afresh(backing, &found);

	f = file_opened(backing, false);
	assert_int_equal(perform(f, &more, 99), 0);
	image_change(&found, &more, 99);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(file_is_unsettled(f));
	file_close(f);
	assert_content_afresh(backing, &found);
	assert_int_equal(backing_size(backing), format_big_size(found.length));
}

/* A file found after a death, left alone but for settling, is whole. */
static void assert_settles(int backing)
{
	struct file *f = file_opened(backing, false);
	uint64_t size = backing_size(backing);

	read_all(f);
	assert_true(size == format_big_size(found.length) ||
		    (size < BLOCK && size == format_small_size(found.length)));
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(header_on_disk(backing).flags & FORMAT_DIRTY);
	file_close(f);
	assert_content_afresh(backing, &found);
}

/* It can be extended by a hole, also when it was opened for reading at first. */
static void assert_extends(int backing, const struct backup *left, bool read_first)
{
	struct file *f;

	backing_put(backing, left);
	assert_int_equal(file_open(&store, io,
				   backing_again(backing, read_first ? O_RDONLY : O_RDWR),
				   !read_first, false, &f),
			 0);
	read_all(f);
	if (read_first)
		file_upgrade(f, backing_again(backing, O_RDWR));
	image_resize(&found, found.length + 3 * BLOCK);
	assert_int_equal(resize(f, found.length), 0);
	assert_content(f, &found);
	file_close(f);
	assert_content_afresh(backing, &found);
}

/* ---- deaths ------------------------------------------------------------------ */

/* Make the change and die at a call of it: false if it made fewer calls. */
static bool die_in(int backing, bool trusted, const struct change *change, uint8_t fill, int at,
		   size_t cut)
{
	struct file *f = file_opened(backing, trusted);

	arm(DIE, at, cut);
	(void)perform(f, change, fill);
	disarm();
	file_close(f);
	return fate.struck;
}

/* On to the next place: each call, in a long write not each page. */
static void next_place(size_t more, int *at, size_t *cut)
{
	if (more) {
		size_t step = *cut < 4 ? 1 : 7;

		*cut += step < more ? step : more;
	} else {
		(*at)++;
		*cut = 0;
	}
}

static struct backup once;
static struct backup twice;

/* The file of backup `once` was left by a death: die again in the same place. */
static void die_again(int backing, const struct change *change)
{
	int at = 1;
	size_t cut = 0;

	for (;;) {
		struct file *f;
		size_t more;

		backing_put(backing, &once);
		if (!die_in(backing, false, change, 55, at, cut))
			break;
		more = fate.more;
		f = file_opened(backing, false);
		assert_old_or_new(f);
		backing_save(backing, &twice);
		assert_usable(backing, f, change);
		assert_extends(backing, &twice, false);
		backing_put(backing, &twice);
		assert_settles(backing);
		next_place(more, &at, &cut);
	}
	/* And when nobody dies. */
	assert_content_afresh(backing, &after);
}

/* What a death left is old or new, can be used, and settles. */
static void check_left(int backing, const struct change *change)
{
	struct file *f;

	backing_save(backing, &once);
	f = file_opened(backing, false);
	assert_old_or_new(f);
	assert_usable(backing, f, change);
	backing_put(backing, &once);
	assert_settles(backing);
}

/* And can be extended, and bears a second death. */
static void check_left_twice(int backing, const struct change *change)
{
	static struct image kept[2];

	backing_save(backing, &once);
	assert_extends(backing, &once, false);
	assert_extends(backing, &once, true);
	backing_put(backing, &once);
	check_left(backing, change);

	image_copy(&kept[0], &before);
	image_copy(&kept[1], &after);
	image_copy(&before, &found);
	image_copy(&after, &found);
	image_change(&after, change, 55);
	die_again(backing, change);
	image_copy(&before, &kept[0]);
	image_copy(&after, &kept[1]);
}

static struct backup start;
static const struct scenario *current;

/* Die at each call of the change: how many there were. */
static int die_everywhere(const struct scenario *s, bool settled,
			  void (*check)(int backing, const struct change *change))
{
	int backing = prepare(s, settled);
	int at = 1;
	size_t cut = 0;

	backing_save(backing, &start);
	image_copy(&after, &before);
	image_change(&after, &s->change, 33);
	for (;;) {
		size_t more;

		backing_put(backing, &start);
		if (!die_in(backing, !settled, &s->change, 33, at, cut))
			break;
		more = fate.more;
		check(backing, &s->change);
		next_place(more, &at, &cut);
	}
	assert_content_afresh(backing, &after);
	close(backing);
	return at - 1;
}

static void in_scenarios(void (*check)(const struct scenario *s))
{
	for (int i = 0; i < N_SCENARIOS; i++) {
		current = &scenarios[i];
		check(current);
	}
	current = NULL;
}

static void die_settled(const struct scenario *s)
{
	(void)die_everywhere(s, true, check_left_twice);
}

static void die_dirty(const struct scenario *s)
{
	(void)die_everywhere(s, false, check_left_twice);
}

static void no_death_loses_more_than_the_change(void **state)
{
	(void)state;
	in_scenarios(die_settled);
}

static void no_death_of_a_busy_writer_does_either(void **state)
{
	(void)state;
	in_scenarios(die_dirty);
}

/* Whole requests that start inside a block, over five groups. */
static const struct scenario long_ones[] = {
	{ "overwrite a lot", 280 * BLOCK, 0, { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
	{ "overwrite a lot to the end",
	  266 * BLOCK + 9,
	  0,
	  { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
	{ "overwrite a lot and go on", 200 * BLOCK + 5, 0, { WRITE, 20 * BLOCK + 9, IO_MAX_SIZE } },
	{ "append a lot", 20 * BLOCK + 7, 0, { WRITE, 20 * BLOCK + 7, IO_MAX_SIZE } },
	{ "append a lot to a whole group", 48 * BLOCK, 0, { WRITE, 48 * BLOCK, IO_MAX_SIZE } },
	{ "fill a hole with a lot", 5000, 280 * BLOCK, { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
};
enum { N_LONG = sizeof(long_ones) / sizeof(long_ones[0]) };

static void no_death_in_a_long_write_loses_more_than_that(void **state)
{
	(void)state;
	for (int i = 0; i < N_LONG; i++) {
		current = &long_ones[i];
		/* A call or two for each group.  Both took long under a sanitizer. */
		assert_true(die_everywhere(current, i % 2, check_left) > 3);
	}
	current = NULL;
}

/* A death while a file is bound to a second place leaves the first one. */
static void a_file_never_loses_the_place_where_it_is(void **state)
{
	static const struct change bind = { BIND, 0, 0 };
	const struct scenario s = { "", 5000, 0, bind };
	int backing = prepare(&s, true);

	(void)state;
	backing_save(backing, &start);
	for (int at = 1; die_in(backing, true, &bind, 0, at, 0); at++) {
		struct file *f = file_opened(backing, false);

		assert_true(file_is_bound(f, home));
		file_close(f);
		backing_put(backing, &start);
	}
	close(backing);
}

/* A death in a punch, another one in the first write into the hole: no block is lost. */
static void what_a_punch_left_is_gone_before_it_matters(void **state)
{
	static const struct change punch = { PUNCH, BLOCK, 2 * BLOCK };
	static const struct change fill = { WRITE, BLOCK, 2 * BLOCK };
	const struct scenario s = { "", 5 * BLOCK, 0, punch };
	int backing = prepare(&s, true);
	static struct image whole;

	(void)state;
	backing_save(backing, &start);
	image_copy(&whole, &before);
	for (int at = 1; die_in(backing, true, &punch, 0, at, 0); at++) {
		backing_save(backing, &once);
		for (int then = 1; die_in(backing, false, &fill, 44, then, 0); then++) {
			struct file *f = file_opened(backing, false);

			image_copy(&before, &whole);
			image_change(&before, &punch, 0);
			image_copy(&after, &whole);
			image_change(&after, &fill, 44);
			read_all(f);
			for (uint64_t block = 0; block < 5; block++) {
				const uint8_t *is = found.bytes + block * BLOCK;

				if (memcmp(is, before.bytes + block * BLOCK, BLOCK) != 0 &&
				    memcmp(is, whole.bytes + block * BLOCK, BLOCK) != 0)
					assert_memory_equal(is, after.bytes + block * BLOCK, BLOCK);
			}
			file_close(f);
			backing_put(backing, &once);
		}
		backing_put(backing, &start);
	}
	close(backing);
}

/* ---- failures ---------------------------------------------------------------- */

/* Make the change and let a call of it fail: false if it made fewer calls. */
static bool fail_in(struct file *f, const struct change *change, enum fate how, int at, size_t cut,
		    int *r)
{
	arm(how, at, cut);
	*r = perform(f, change, 33);
	disarm();
	return fate.struck;
}

/* The file that saw a failure, still open, is as it should be. */
static void check_after_failure(int backing, struct file *f, const struct change *change,
				enum fate how)
{
	assert_old_or_new(f);
	if (how == FAIL && change->verb != TRUNCATE)
		assert_int_equal(found.length, before.length);
	assert_content_afresh(backing, &found);
	assert_usable(backing, f, change);
}

static void fail_everywhere(const struct scenario *s, enum fate how)
{
	int backing = prepare(s, true);
	int at = 1;
	size_t cut = 0;

	backing_save(backing, &start);
	image_copy(&after, &before);
	image_change(&after, &s->change, 33);
	for (;;) {
		struct file *f;
		size_t more;
		int r;

		backing_put(backing, &start);
		f = file_opened(backing, true);
		if (!fail_in(f, &s->change, how, at, cut, &r)) {
			assert_int_equal(r, 0);
			assert_content(f, &after);
			file_close(f);
			break;
		}
		assert_int_equal(r, -ENOSPC);
		more = fate.more;
		check_after_failure(backing, f, &s->change, how);
		next_place(more, &at, &cut);
	}
	close(backing);
}

static void fail_once(const struct scenario *s)
{
	fail_everywhere(s, FAIL);
}

static void fail_on(const struct scenario *s)
{
	fail_everywhere(s, FILL);
}

static void a_failed_call_leaves_length_and_content(void **state)
{
	(void)state;
	in_scenarios(fail_once);
}

static void a_full_disk_loses_no_block(void **state)
{
	(void)state;
	in_scenarios(fail_on);
}

/*
 * A write that fails after one that went well, in the same last block: the
 * next one goes on in what the file holds, whatever this thread remembers.
 */
static void a_failed_write_is_not_remembered(void **state)
{
	static const struct change changes[] = {
		{ WRITE, 4500, 700 },	{ WRITE, 5000, 100 },  { WRITE, 4200, 5000 },
		{ WRITE, 4096, 904 },	{ WRITE, 0, 6000 },    { WRITE, 6000, 10 },
		{ WRITE, 4990, 50000 }, { TRUNCATE, 4500, 0 }, { TRUNCATE, 6000, 0 },
	};
	static const struct scenario s = { "", 4900, 0, { WRITE, 4900, 100 } };
	int backing = prepare(&s, true);

	(void)state;
	backing_save(backing, &start);
	image_change(&before, &s.change, 5);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		int at = 1;
		size_t cut = 0;

		image_copy(&after, &before);
		image_change(&after, &changes[i], 33);
		for (;;) {
			struct change go_on = { WRITE, 0, 20 };
			struct file *f;
			size_t more;
			int r;

			backing_put(backing, &start);
			f = file_opened(backing, true);
			assert_int_equal(perform(f, &s.change, 5), 0);
			assert_int_not_equal(io->tail_version, 0);
			if (!fail_in(f, &changes[i], FAIL, at, cut, &r)) {
				file_close(f);
				break;
			}
			assert_int_equal(r, -ENOSPC);
			more = fate.more;
			assert_old_or_new(f);
			go_on.offset = found.length;
			assert_int_equal(perform(f, &go_on, 6), 0);
			image_change(&found, &go_on, 6);
			assert_content(f, &found);
			file_close(f);
			assert_content_afresh(backing, &found);
			next_place(more, &at, &cut);
		}
	}
	close(backing);
}

/* Say where it was that a test failed. */
static int name_scenario(void **state)
{
	(void)state;
	if (current)
		print_message("in: %s, call %d, cut %zu\n", current->name, fate.at, fate.cut);
	disarm();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(no_death_loses_more_than_the_change, name_scenario),
		cmocka_unit_test_teardown(no_death_of_a_busy_writer_does_either, name_scenario),
		cmocka_unit_test_teardown(no_death_in_a_long_write_loses_more_than_that,
					  name_scenario),
		cmocka_unit_test(a_file_never_loses_the_place_where_it_is),
		cmocka_unit_test(what_a_punch_left_is_gone_before_it_matters),
		cmocka_unit_test_teardown(a_failed_call_leaves_length_and_content, name_scenario),
		cmocka_unit_test_teardown(a_full_disk_loses_no_block, name_scenario),
		cmocka_unit_test_teardown(a_failed_write_is_not_remembered, name_scenario),
	};

	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
