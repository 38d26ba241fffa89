/* SPDX-License-Identifier: MIT */
/* What a check and a rescue ask of a file that a mount would refuse or not care about. */
#include "fs/file_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

/*
 * The header is sound, the file is not what it says: believe the seal where
 * there is one, and otherwise the size.
 */
static void make_do(struct file *f)
{
	if (f->header.flags & FORMAT_DIRTY)
		return;
	if (f->header.flags & FORMAT_SMALL) {
		f->small = true;
		f->length = f->header.length;
	} else if (!f->small && f->length > f->header.length) {
		f->length = f->header.length;
	}
}

static bool slot_is_damaged(const struct file *f)
{
	for (unsigned int i = 0; i < 2; i++)
		if (!(f->valid & 1U << i) && !bytes_are_zero(f->raw[i], FORMAT_HEADER_SIZE))
			return true;
	return false;
}

static void describe(const struct file *f, struct file_state *state)
{
	state->slot_is_damaged = slot_is_damaged(f);
	state->is_small = f->small;
	state->flags = f->header.flags;
	state->is_bound_twice = !bytes_are_zero(f->header.bindings[1], FORMAT_BINDING_SIZE);
	state->length = f->length;
	state->sealed = f->header.length;
	state->sequence = f->last_sequence;
}

int file_open_anyhow(const struct store *store, struct io *io, int fd, struct file_state *state,
		     struct file **out)
{
	struct file *f;
	struct stat st;
	int r;

	*out = NULL;
	memset(state, 0, sizeof(*state));
	if (!fstat(fd, &st))
		state->backing_size = (uint64_t)st.st_size;
	f = file_new(store, fd, false);
	if (!f)
		return -ENOMEM;
	r = file_load(f, io);
	state->damaged = r == FILE_DAMAGED;
	if (state->damaged && f->valid) {
		make_do(f);
		r = 0;
	}
	if (r) {
		file_close(f);
		return r;
	}
	file_load_place(f);
	if (store->suite == CIPHER_XOR)
		state->length = state->sealed = f->length;
	else
		describe(f, state);
	*out = f;
	return 0;
}

int file_renew_header(struct file *f, struct io *io)
{
	int r;

	pthread_rwlock_wrlock(&f->lock);
	r = f->writable ? header_write_quietly(f, io) : -EBADF;
	pthread_rwlock_unlock(&f->lock);
	return r;
}

bool file_skip_hole(struct file *f, uint64_t offset, uint64_t *end)
{
	uint64_t group = format_group(offset / FORMAT_BLOCK_SIZE);
	uint64_t page = format_entry_offset(format_group_first(group));
	off_t data;

	/* The tag page of group 0 is the header's. */
	if (!group || f->small || !(f->header.flags & FORMAT_HAS_HOLES))
		return false;
	data = lseek(f->fd, (off_t)page, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return false;
	*end = f->length;
	if (data >= 0) {
		/* From a byte of a group, be it on its tag page, to its first block. */
		uint64_t there = format_length((uint64_t)data) / FORMAT_BLOCK_SIZE;
		uint64_t first = format_group_first(format_group(there)) * FORMAT_BLOCK_SIZE;

		*end = first < f->length ? first : f->length;
	}
	return *end > offset;
}
