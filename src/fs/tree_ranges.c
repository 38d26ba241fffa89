/* SPDX-License-Identifier: MIT */
/*
 * Ranges of open files: space for them, holes in them, and copies from file to
 * file, which are opened and sealed in the slot of whoever serves the request.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <string.h>

static int answer(struct tree *t, struct node *node, int r, uint64_t bad)
{
	return r > 0 ? tree_damaged(t, node, bad, "does not authenticate") : r;
}

int tree_allocate(struct tree *t, struct io *io, struct node *node, const struct file_range *range)
{
	uint64_t bad;
	int r = tree_file_allocate(t, io, node, range, &bad);

	return answer(t, node, r, bad);
}

int tree_seek(struct node *node, uint64_t offset, bool hole, uint64_t *found)
{
	return file_seek(node->file, offset, hole, found);
}

/* ---- copies -------------------------------------------------------------- */

/* How much of a copy is alike from here on: a hole of the source, or data. */
static uint64_t stretch(const struct tree_copy *c, bool *hole)
{
	struct file *from = c->from->file;
	uint64_t end;

	*hole = false;
	if (file_seek(from, c->from_offset, true, &end))
		return c->size; /* behind the end; reading says so */
	if (end == c->from_offset) {
		*hole = true;
		if (file_seek(from, c->from_offset, false, &end))
			end = file_length(from);
	}
	return end - c->from_offset < c->size ? end - c->from_offset : c->size;
}

/* So much of size bytes that the next piece begins with a block of the target. */
static size_t piece_of(uint64_t to_offset, uint64_t size)
{
	size_t most = IO_MAX_SIZE - (size_t)(to_offset % FORMAT_BLOCK_SIZE);

	return size < most ? (size_t)size : most;
}

static int copy_data(struct tree *t, struct io *io, const struct tree_copy *c, size_t size,
		     size_t *done)
{
	const void *data;
	uint64_t bad;
	int r = tree_read(t, io, c->from, c->from_offset, size, &data, done);

	if (r || !*done)
		return r;
	if ((const uint8_t *)data != io->data + IO_DATA)
		memmove(io->data + IO_DATA, data, *done);
	r = tree_file_write(t, io, c->to, c->to_offset, *done, false, &bad);
	return answer(t, c->to, r, bad);
}

/* Leave a hole in the target, too. */
static int copy_hole(struct tree *t, struct io *io, const struct tree_copy *c, uint64_t size)
{
	const struct file_range zeros = {
		.kind = FILE_PUNCH, .offset = c->to_offset, .size = size, .extend = true
	};

	return tree_allocate(t, io, c->to, &zeros);
}

ssize_t tree_copy(struct tree *t, struct io *io, const struct tree_copy *copy)
{
	struct tree_copy c = *copy;
	uint64_t wanted = c.size < TREE_COPY_MAX ? c.size : TREE_COPY_MAX;
	int r = 0;

	c.size = wanted;
	while (c.size && !r) {
		bool hole;
		uint64_t size = stretch(&c, &hole);
		size_t done = (size_t)size;

		r = hole ? copy_hole(t, io, &c, size)
			 : copy_data(t, io, &c, piece_of(c.to_offset, size), &done);
		if (r || !done)
			break;
		c.from_offset += done;
		c.to_offset += done;
		c.size -= done;
	}
	/* What was copied before an error is told first; the error comes again. */
	return wanted - c.size ? (ssize_t)(wanted - c.size) : r;
}
