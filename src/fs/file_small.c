/* SPDX-License-Identifier: MIT */
/*
 * Small files: the whole content, up to 3071 bytes, lies in the header page
 * and is sealed as one piece whose nonce and tag are in the header.
 *
 * A change writes the new header and the new content with one system call, so
 * a death leaves both or neither.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/secmem.h"

/* One task over the content at slot offset `at`; its record is the first. */
static int run(struct file *f, struct io *io, enum engine_op op, uint32_t at, size_t size)
{
	struct engine_batch batch = {
		.op = op, .offset = at, .size = (uint32_t)size, .position = FORMAT_SMALL_INDEX
	};
	int r = io_load_key(io, f->store->suite, f->header.id);

	io->records[0].sequence = 0;
	io->records[0].status = ENGINE_PENDING;
	if (!r)
		r = engine_run(io->engine, io->slot, &batch);
	return r == ENGINE_DAMAGED ? FILE_DAMAGED : r;
}

int small_load(struct file *f, struct io *io, uint32_t at)
{
	const struct moved *moved = moved_find(f, JOURNAL_SMALL);
	size_t size = (size_t)f->length;
	int r;

	if (!size)
		return 0;
	if (moved)
		r = journal_read(f->store->journal, moved->at, io->data + at, size);
	else
		r = fdio_pread_full(f->fd, io->data + at, size, FORMAT_CONTENT_START);
	if (r)
		return r == -ENODATA ? FILE_DAMAGED : r;
	memcpy(io->records[0].nonce, f->header.small_nonce, CIPHER_NONCE_SIZE);
	memcpy(io->records[0].tag, f->header.small_tag, CIPHER_TAG_SIZE);
	return run(f, io, ENGINE_OPEN, at, size);
}

/* The backing file's size goes before the content, which then cannot fail for it. */
static int put_in_journal(struct file *f, int slot, const void *data, size_t size)
{
	bool grows = size > f->length;
	int r;

	if (grows && ftruncate(f->fd, (off_t)format_small_size(size)))
		return -errno;
	r = moved_put_small(f, slot, data, size);
	if (r && grows)
		(void)!ftruncate(f->fd, (off_t)format_small_size(f->length));
	else if (!r && !grows)
		(void)futimens(f->fd, NULL);
	return r;
}

/*
 * Write a header that speaks of the ciphertext of `size` bytes at slot offset
 * `at`, and that ciphertext.  Both header slots lie before the content, so
 * one contiguous write serves whichever is next.
 */
static int store(struct file *f, struct io *io, uint32_t at, size_t size)
{
	struct format_header old = f->header;
	struct iovec iov[2];
	int slot;
	int r;

	f->header.flags |= FORMAT_DIRTY | FORMAT_SMALL;
	f->header.length = size;
	memcpy(f->header.small_nonce, io->records[0].nonce, CIPHER_NONCE_SIZE);
	memcpy(f->header.small_tag, io->records[0].tag, CIPHER_TAG_SIZE);
	r = header_prepare(f, io, &slot);
	if (!r && size && moved_is_due(f, 0)) {
		r = put_in_journal(f, slot, io->data + at, size);
	} else if (!r) {
		f->in_place++;
		iov[0].iov_base = f->raw[slot];
		iov[0].iov_len = (size_t)(2 - slot) * FORMAT_HEADER_SIZE;
		iov[1].iov_base = io->data + at;
		iov[1].iov_len = size;
		r = fdio_pwritev_full(f->fd, iov, 2, slot * FORMAT_HEADER_SIZE);
		if (!r)
			moved_drop(f, JOURNAL_SMALL, 1);
	}
	if (r) {
		f->header = old;
		return r;
	}
	header_commit(f, slot);
	return 0;
}

/* Seal `size` bytes of plaintext at slot offset `at` and store them. */
static int seal_and_store(struct file *f, struct io *io, uint32_t at, size_t size)
{
	int r;

	if (size) {
		r = io_nonce(io, io->records[0].nonce);
		if (!r)
			r = run(f, io, ENGINE_SEAL, at, size);
		if (r)
			return r;
	}
	r = store(f, io, at, size);
	if (!r)
		f->length = size;
	return r;
}

int small_write(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	size_t start = (size_t)offset;
	size_t end = start + size;
	size_t old = (size_t)f->length;
	uint8_t *content = io->data + IO_DATA - start;
	uint8_t *before = io->data + IO_EDGE;
	int r = header_mark_dirty(f, io, end > old);

	if (r)
		return r;
	if (start || end < old) {
		r = small_load(f, io, IO_EDGE);
		if (r)
			return r;
		memcpy(content, before, start < old ? start : old);
		if (start > old)
			memset(content + old, 0, start - old);
		if (end < old)
			memcpy(content + end, before + end, old - end);
	}
	return seal_and_store(f, io, (uint32_t)(IO_DATA - start), end > old ? end : old);
}

/* Durably in the journal before what is in place is cut: or there might be neither. */
static int cut(struct file *f)
{
	int r = f->n_moved ? journal_sync(f->store->journal) : 0;

	if (!r && ftruncate(f->fd, (off_t)format_small_size(f->length)))
		r = -errno;
	return r;
}

/*
 * The content was sealed shorter, but could not be cut: as it was, if that can
 * be stored (else settling cuts it).  What was cut off still lies in the slot.
 */
static void put_back(struct file *f, struct io *io, size_t size)
{
	if (!small_load(f, io, IO_DATA))
		(void)seal_and_store(f, io, IO_DATA, size);
}

int small_resize(struct file *f, struct io *io, uint64_t length)
{
	size_t old = (size_t)f->length;
	uint64_t durable = f->durable;
	bool lost = false;
	int r = header_mark_dirty(f, io, true);

	if (!r)
		r = small_load(f, io, IO_DATA);
	if (r == FILE_DAMAGED && !length) {
		lost = true; /* nobody needs it any more */
		r = 0;
	}
	if (!r && !length) {
		r = moved_leave(f, io);
		f->durable = r ? durable : 0;
	}
	if (r)
		return r;
	if (length > old)
		memset(io->data + IO_DATA + old, 0, (size_t)length - old);
	r = seal_and_store(f, io, IO_DATA, (size_t)length);
	if (!r && length < old)
		r = cut(f);
	if (r)
		f->durable = durable;
	if (r && length < old && f->length == length && !lost)
		put_back(f, io, old);
	return r;
}

/* Whether block 0 is what the header announced. */
static int block_opens(struct file *f, struct io *io)
{
	const struct format_half *half = &f->header.moving;
	struct engine_batch batch = { .op = ENGINE_OPEN,
				      .offset = IO_EDGE,
				      .size = (uint32_t)f->header.length };
	int r;

	/* A longer one grew on before the power failed. */
	if (f->length < f->header.length)
		return FILE_DAMAGED;
	r = fdio_pread_full(f->fd, io->data + IO_EDGE, batch.size, (off_t)format_block_offset(0));
	if (!r)
		r = io_load_key(io, f->store->suite, f->header.id);
	if (r)
		return r;
	memcpy(io->records[0].nonce, half->nonce, sizeof(half->nonce));
	memcpy(io->records[0].tag, half->tag, sizeof(half->tag));
	io->records[0].sequence = half->sequence;
	io->records[0].status = ENGINE_PENDING;
	r = engine_run(io->engine, io->slot, &batch);
	return r == ENGINE_DAMAGED ? FILE_DAMAGED : r;
}

/* Block 0 did not make it to the disk: what was there before still counts. */
static int forget_grow(struct file *f, struct io *io)
{
	uint64_t length = f->length;
	int r;

	f->small = true;
	f->length = f->header.length;
	r = small_load(f, io, IO_EDGE);
	if (r == FILE_DAMAGED) {
		/* It was rewritten as a block since: its entry says what it is. */
		f->small = false;
		f->length = length;
		f->header.flags &= ~(uint32_t)(FORMAT_SMALL | FORMAT_GROWING);
		return 0;
	}
	if (r)
		return r;
	f->header.flags &= ~(uint32_t)FORMAT_GROWING;
	if (f->writable && ftruncate(f->fd, (off_t)format_small_size(f->length)))
		return -errno;
	return 0;
}

/* Block 0 is there; its entry and the header that says so come last. */
static int end_grow(struct file *f, struct io *io)
{
	uint8_t entries[FORMAT_FIRST_BLOCKS * FORMAT_ENTRY_SIZE] = { 0 };
	struct format_header old = f->header;
	int r;

	/* It opens with the half in the header, be that on its page or not. */
	format_half_encode(&f->header.moving, entries);
	tags_fill(f->tags, 0, entries);
	if (!f->writable)
		return 0;
	r = fdio_pwrite_full(f->fd, entries, sizeof(entries), FORMAT_CONTENT_START);
	if (r)
		return r;
	f->header.flags &= ~(uint32_t)(FORMAT_SMALL | FORMAT_GROWING);
	memset(&f->header.moving, 0, sizeof(f->header.moving));
	r = header_write(f, io);
	if (r)
		f->header = old;
	return r;
}

int small_finish_grow(struct file *f, struct io *io)
{
	int r = block_opens(f, io);

	if (r)
		return r == FILE_DAMAGED ? forget_grow(f, io) : r;
	r = end_grow(f, io);
	if (!r && f->length > f->header.length) {
		f->length = f->header.length;
		if (f->writable && ftruncate(f->fd, (off_t)format_big_size(f->length)))
			r = -errno;
	}
	return r;
}

/* Seal the content as block 0: fills f->header.moving. */
static int seal_block(struct file *f, struct io *io, uint32_t at)
{
	struct engine_batch batch = { .op = ENGINE_SEAL,
				      .offset = at,
				      .size = (uint32_t)f->length };
	struct format_half *half = &f->header.moving;
	int r = io_nonce(io, io->records[0].nonce);

	if (!r)
		r = io_load_key(io, f->store->suite, f->header.id);
	if (r)
		return r;
	io->records[0].sequence = 1;
	io->records[0].status = ENGINE_PENDING;
	r = engine_run(io->engine, io->slot, &batch);
	if (r)
		return r < 0 ? r : -EIO;
	memcpy(half->nonce, io->records[0].nonce, sizeof(half->nonce));
	memcpy(half->tag, io->records[0].tag, sizeof(half->tag));
	half->sequence = 1;
	return 0;
}

/* The payload of a write may lie in the data pages: only edges are used. */
int small_grow(struct file *f, struct io *io)
{
	int r = header_mark_dirty(f, io, true);

	if (r)
		return r;
	if (!f->length) {
		/* Nothing to move: the first write of blocks brings its entries. */
		f->header.flags &= ~(uint32_t)FORMAT_SMALL;
		f->small = false;
		tags_drop(f->tags);
		return 0;
	}
	r = moved_leave(f, io);
	if (!r)
		r = small_load(f, io, IO_EDGE);
	if (!r)
		r = seal_block(f, io, IO_EDGE);
	if (r)
		return r;
	f->header.flags |= FORMAT_GROWING;
	r = header_write(f, io);
	if (!r)
		r = fdio_pwrite_full(f->fd, io->data + IO_EDGE, (size_t)f->length,
				     (off_t)format_block_offset(0));
	/* The entries take the place of what may be durable: not before block 0 is. */
	if (!r && f->durable && fdatasync(f->fd))
		r = -errno;
	if (r) {
		f->header.flags &= ~(uint32_t)FORMAT_GROWING;
		(void)!ftruncate(f->fd, (off_t)format_small_size(f->length));
		return r;
	}
	f->small = false;
	return end_grow(f, io);
}
