/* SPDX-License-Identifier: MIT */
/*
 * Holes in files in blocks: making them, finding them, and space for what is
 * not written yet.
 *
 * A block becomes a hole by an entry of zeros, which may stand there only under
 * a header with HAS_HOLES; only then is its data given back.  So a death leaves
 * a block that is whole or a hole, perhaps with data that nobody looks at.  The
 * data is zeros before anything is written there again: a first write that is
 * cut off between entry and data can be told by that (docs/format.md, DIRTY).
 *
 * What the backing file says of its own holes only saves looking: it may have
 * fewer than we have, never more.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"

static const uint8_t zeros[FORMAT_GROUP_BLOCKS * FORMAT_ENTRY_SIZE];

/* ---- what the backing file knows ----------------------------------------- */

/* The block at this place of the backing file, or the one after a tag page. */
static uint64_t block_at(uint64_t position)
{
	return format_length(position) / FORMAT_BLOCK_SIZE;
}

/*
 * The first block from this one on where the backing file has data (whence
 * SEEK_DATA) or a hole of its own (SEEK_HOLE), as far as it knows.
 */
static uint64_t skip(const struct file *f, uint64_t block, int whence)
{
	off_t found = lseek(f->fd, (off_t)format_entry_offset(block), whence);
	uint64_t next;

	if (found < 0)
		return errno == ENXIO ? UINT64_MAX : block;
	next = block_at((uint64_t)found);
	return next > block ? next : block;
}

uint64_t holes_skip(const struct file *f, uint64_t block)
{
	return skip(f, block, SEEK_DATA);
}

/* The first block of the next group. */
static uint64_t group_end(uint64_t block)
{
	uint64_t group = format_group(block);

	return format_group_first(group) + format_group_blocks(group);
}

/* ---- finding ------------------------------------------------------------- */

/* Look for a block that is (or is not) a hole in the group of `block`: its index, or stop. */
static int look_in_group(struct file *f, uint64_t block, uint64_t stop, bool hole, uint64_t *found)
{
	uint8_t entries[FORMAT_GROUP_BLOCKS * FORMAT_ENTRY_SIZE];
	uint32_t n = (uint32_t)(stop - block);
	int r = tags_read(f->tags, f->fd, block, n, entries);

	*found = block;
	while (!r && *found < stop &&
	       format_entry_is_hole(entries + (*found - block) * FORMAT_ENTRY_SIZE) != hole)
		(*found)++;
	return r;
}

int holes_seek(struct file *f, uint64_t offset, bool hole, uint64_t *found)
{
	uint64_t known = blocks_of(f->length);
	uint64_t block = offset / FORMAT_BLOCK_SIZE;
	int r;

	while (block < known) {
		uint64_t stop = group_end(block) < known ? group_end(block) : known;

		r = look_in_group(f, block, stop, hole, &block);
		if (r)
			return r;
		if (block < stop) {
			uint64_t start = block * FORMAT_BLOCK_SIZE;

			*found = start > offset ? start : offset;
			return 0;
		}
		if (block < known)
			block = skip(f, block, hole ? SEEK_HOLE : SEEK_DATA);
	}
	*found = f->length;
	return hole ? 0 : -ENXIO;
}

/* ---- making -------------------------------------------------------------- */

int holes_allow(struct file *f, struct io *io)
{
	int r;

	if (f->header.flags & FORMAT_HAS_HOLES)
		return 0;
	f->header.flags |= FORMAT_HAS_HOLES;
	f->holes_durable = false;
	r = header_write(f, io);
	if (r)
		f->header.flags &= ~(uint32_t)FORMAT_HAS_HOLES;
	return r;
}

/* Zero the entries of blocks of one group. */
static int clear_entries(struct file *f, uint64_t first, uint64_t end)
{
	uint32_t n = (uint32_t)(end - first);
	size_t size = (size_t)n * FORMAT_ENTRY_SIZE;
	uint64_t used;
	int r = look_in_group(f, first, end, false, &used);

	if (r || used == end)
		return r;
	r = fdio_pwrite_full(f->fd, zeros, size, (off_t)format_entry_offset(first));
	if (!r)
		tags_store(f->tags, first, n, zeros);
	return r;
}

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
	int r = 0;

	for (size_t size; from < to && !r; from += size) {
		size = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
		r = fdio_pwrite_full(fd, zeros, size, (off_t)from);
	}
	return r;
}

/* Give back this part of the backing file, below its size: it reads as zeros then. */
static int give_back(struct file *f, uint64_t from, uint64_t to)
{
	uint64_t size = format_big_size(f->length);

	if (!fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
		       (off_t)(to - from)))
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	return write_zeros(f->fd, from, to < size ? to : size);
}

/* The data of blocks that are holes, with the tag pages of whole groups among them. */
static int give_blocks_back(struct file *f, uint64_t first, uint64_t end)
{
	uint64_t last_group = format_group_first(format_group(end - 1));
	uint64_t behind = format_block_offset(end - 1) + FORMAT_BLOCK_SIZE;
	int r;

	if (first >= last_group || end == group_end(last_group))
		return give_back(f, format_block_offset(first), behind);
	/* The last tag page has entries of others, too. */
	r = give_back(f, format_block_offset(first), format_entry_offset(last_group));
	return r ? r : give_back(f, format_block_offset(last_group), behind);
}

/* Make whole blocks holes. */
static int punch_blocks(struct file *f, struct io *io, uint64_t first, uint64_t end)
{
	int r = moved_leave(f, io); /* or the journal would fill them again */

	if (!r)
		r = holes_allow(f, io);
	/* Were the entries durable first, they would be damage. */
	if (!r && !f->holes_durable && fdatasync(f->fd))
		r = -errno;
	if (r)
		return r;
	f->holes_durable = true;
	for (uint64_t block = holes_skip(f, first); block < end && !r;) {
		uint64_t stop = group_end(block) < end ? group_end(block) : end;

		r = clear_entries(f, block, stop);
		block = stop < end ? holes_skip(f, stop) : end;
	}
	if (!r)
		r = give_blocks_back(f, first, end);
	if (r)
		f->suspect = true; /* data may lie where nobody expects any */
	return r;
}

/* Zeros over a part of a block, unless it is a hole. */
static int zero_part(struct file *f, struct io *io, uint64_t from, uint64_t to, uint64_t *bad)
{
	uint64_t block = from / FORMAT_BLOCK_SIZE;
	uint64_t used;
	int r = look_in_group(f, block, block + 1, false, &used);

	if (r || used != block)
		return r;
	memset(io->data + IO_DATA, 0, (size_t)(to - from));
	return blocks_write(f, io, from, (size_t)(to - from), bad);
}

int holes_punch(struct file *f, struct io *io, uint64_t from, uint64_t to, uint64_t *bad)
{
	uint64_t first = blocks_of(from);
	uint64_t end = to == f->length ? blocks_of(to) : to / FORMAT_BLOCK_SIZE;
	int r = header_mark_dirty(f, io, false);

	if (r)
		return r;
	if (first > end) /* both in one block */
		return zero_part(f, io, from, to, bad);
	if (from < first * FORMAT_BLOCK_SIZE)
		r = zero_part(f, io, from,
			      first * FORMAT_BLOCK_SIZE < to ? first * FORMAT_BLOCK_SIZE : to, bad);
	if (!r && to > end * FORMAT_BLOCK_SIZE)
		r = zero_part(f, io, end * FORMAT_BLOCK_SIZE, to, bad);
	if (!r && first < end)
		r = punch_blocks(f, io, first, end);
	return r;
}

int holes_finish(struct file *f, struct io *io, uint64_t block)
{
	size_t size = block_size(block, f->length);
	uint64_t at = format_block_offset(block);
	int r;

	if (!(f->header.flags & FORMAT_HAS_HOLES))
		return 0;
	r = fdio_pread_full(f->fd, io->data + IO_EDGE, size, (off_t)at);
	if (r || bytes_are_zero(io->data + IO_EDGE, size))
		return r == -ENODATA ? 0 : r;
	return give_back(f, at, at + FORMAT_BLOCK_SIZE);
}

/* ---- space --------------------------------------------------------------- */

static int reserve(struct file *f, uint64_t from, uint64_t to)
{
	struct stat st;
	int r;

	if (!fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)))
		return 0;
	r = -errno;
	/* What it got before the disk was full, behind the end, is of use to nobody. */
	if (r == -ENOSPC && !fstat(f->fd, &st) && to > (uint64_t)st.st_size)
		(void)!ftruncate(f->fd, st.st_size);
	return r;
}

int holes_reserve(struct file *f, uint64_t from, uint64_t to)
{
	uint64_t first = from / FORMAT_BLOCK_SIZE;
	uint64_t last = (to - 1) / FORMAT_BLOCK_SIZE;
	uint64_t tags = format_entry_offset(format_group_first(format_group(first)));
	int r = 0;

	/* The first group's tag page; those of others lie between the blocks. */
	if (format_group(first))
		r = reserve(f, tags, tags + FORMAT_BLOCK_SIZE);
	return r ? r
		 : reserve(f, format_block_offset(first),
			   format_block_offset(last) + FORMAT_BLOCK_SIZE);
}
