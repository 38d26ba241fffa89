/* SPDX-License-Identifier: MIT */
/*
 * The two header slots of a content file.  A new header always goes to the
 * slot that is not current, so a torn write loses nothing.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/secmem.h"
#include "fs/place.h"

int header_prepare(struct file *f, struct io *io, int *slot)
{
	uint8_t nonce[CIPHER_NONCE_SIZE];
	struct format_header next = f->header;
	int r;

	*slot = 1 - f->current;
	next.sequence = f->last_sequence + 1;
	r = io_load_key(io, f->store->suite, f->header.id);
	if (!r)
		r = io_nonce(io, nonce);
	if (!r)
		r = format_header_encode(&next, io->key, nonce, f->raw[*slot]);
	return r;
}

void header_commit(struct file *f, int slot)
{
	f->last_sequence++;
	f->header.sequence = f->last_sequence;
	f->current = slot;
}

int header_write(struct file *f, struct io *io)
{
	int slot;
	int r = moved_settle(f);

	if (!r)
		r = header_prepare(f, io, &slot);
	f->in_place++;
	if (!r)
		r = fdio_pwrite_full(f->fd, f->raw[slot], FORMAT_HEADER_SIZE,
				     slot * FORMAT_HEADER_SIZE);
	if (!r)
		header_commit(f, slot);
	return r;
}

int quiet_begin(struct file *f, struct quiet *before)
{
	before->capability_size = fgetxattr(f->fd, FILE_CAPABILITY, before->capability,
					    sizeof(before->capability));
	return fstat(f->fd, &before->st) ? -errno : 0;
}

void quiet_end(struct file *f, const struct quiet *before)
{
	const struct stat *old = &before->st;
	struct timespec times[2] = { old->st_atim, old->st_mtim };
	struct stat now;

	if (before->capability_size > 0 && fgetxattr(f->fd, FILE_CAPABILITY, NULL, 0) < 0)
		(void)fsetxattr(f->fd, FILE_CAPABILITY, before->capability,
				(size_t)before->capability_size, 0);
	if (fstat(f->fd, &now) ||
	    (now.st_mtim.tv_sec == old->st_mtim.tv_sec &&
	     now.st_mtim.tv_nsec == old->st_mtim.tv_nsec && now.st_mode == old->st_mode))
		return;
	(void)futimens(f->fd, times); /* another owner's file: the time moves */
	/* Writing took these away, unless we are privileged. */
	if (old->st_mode & (S_ISUID | S_ISGID))
		(void)fchmod(f->fd, old->st_mode & 07777);
}

int header_write_quietly(struct file *f, struct io *io)
{
	struct quiet before;
	int r = quiet_begin(f, &before);

	if (r)
		return r;
	r = header_write(f, io);
	quiet_end(f, &before);
	return r;
}

static uint64_t next_version(void)
{
	static _Atomic uint64_t last;

	return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

int header_mark_dirty(struct file *f, struct io *io, bool resizes)
{
	int r = f->stale ? moved_leave(f, io) : 0;

	if (r)
		return r;
	f->changes++;
	f->version = next_version();
	if (!(f->header.flags & FORMAT_DIRTY)) {
		f->header.flags |= FORMAT_DIRTY;
		r = header_write(f, io);
		if (r) {
			f->header.flags &= ~(uint32_t)FORMAT_DIRTY;
			return r;
		}
		f->barrier = true;
	}
	/* Were the new size durable first, the old header would not agree. */
	if (resizes && f->barrier) {
		if (fdatasync(f->fd))
			return -errno;
		f->barrier = false;
	}
	return 0;
}

/* Decode both slots; *valid has a bit for each that authenticates. */
static int decode_slots(struct file *f, struct io *io, struct format_header headers[2],
			unsigned int *valid)
{
	*valid = 0;
	for (int i = 0; i < 2; i++) {
		uint8_t id[KEYS_FILE_ID_SIZE];
		int r = format_header_peek(f->raw[i], id);

		if (r)
			continue;
		r = io_load_key(io, f->store->suite, id);
		if (!r)
			r = format_header_decode(f->raw[i], io->key, &headers[i]);
		if (r < 0)
			return r;
		if (!r)
			*valid |= 1U << i;
	}
	/* Two slots of one file speak of one file. */
	if (*valid == 3 && memcmp(headers[0].id, headers[1].id, KEYS_FILE_ID_SIZE) != 0)
		return FILE_DAMAGED;
	return *valid ? 0 : FILE_DAMAGED;
}

static void take_header(struct file *f, const struct format_header *header, int slot)
{
	f->header = *header;
	f->current = slot;
	f->suspect = header->flags & FORMAT_DIRTY;
}

/*
 * Whether a write of the small content that a header speaks of may have been cut
 * off: a sector of it, or its end, is not there.
 */
static int was_cut_off(struct file *f, const struct format_header *header, uint64_t backing_size)
{
	enum { SECTOR = 512 };
	uint8_t content[FORMAT_SMALL_MAX];
	size_t size = (size_t)header->length;
	int r;

	if (!(header->flags & FORMAT_SMALL) || backing_size < format_small_size(size))
		return 1;
	r = fdio_pread_full(f->fd, content, size, FORMAT_CONTENT_START);
	for (size_t at = 0; !r && at < size; at += SECTOR)
		if (bytes_are_zero(content + at, size - at < SECTOR ? size - at : SECTOR))
			r = 1;
	return r;
}

/*
 * Whether a header that speaks of no content is to be believed, with bytes behind
 * it: the current one, unless the other was damaged (a write leaves a whole one, or
 * one that was never written); the older one, if what came after it was cut off.
 */
static int may_be_none(struct file *f, const struct format_header headers[2], unsigned int valid,
		       bool older, uint64_t backing_size)
{
	int other = 1 - f->current;

	if (older)
		return was_cut_off(f, &headers[f->current], backing_size);
	return valid & 1U << other || bytes_are_zero(f->raw[other], FORMAT_HEADER_SIZE);
}

/*
 * Small content was rewritten in place: of the two headers the one counts
 * whose nonce and tag open it.  No content opens always, but content that was
 * there and is damaged is not none.  0, FILE_DAMAGED or -errno.
 */
static int choose_small(struct file *f, struct io *io, const struct format_header headers[2],
			unsigned int valid, uint64_t backing_size)
{
	int order[2] = { f->current, 1 - f->current };
	const struct format_header latest = f->header;

	f->small = true;
	if (f->suspect && backing_size == FORMAT_CONTENT_START) {
		/* Cut off on its way from empty to blocks, or on its way to empty. */
		f->header.flags |= FORMAT_SMALL;
		f->length = 0;
		return 0;
	}
	for (int i = 0; i < 2; i++) {
		const struct format_header *header = &headers[order[i]];
		int r;

		if (!(valid & 1U << order[i]) || !(header->flags & FORMAT_SMALL))
			continue;
		if (i && !f->suspect)
			continue;
		if (backing_size < format_small_size(header->length))
			continue;
		if (!header->length && backing_size > FORMAT_CONTENT_START) {
			r = may_be_none(f, headers, valid, i, backing_size);
			if (r < 0)
				return r;
			if (!r)
				continue;
		}
		f->header = *header;
		/* An older content may be where the file was brought since. */
		memcpy(f->header.bindings, latest.bindings, sizeof(latest.bindings));
		f->header.flags |= latest.flags & FORMAT_MULTI;
		f->length = header->length;
		r = small_load(f, io, IO_EDGE);
		if (r < 0)
			return r;
		if (r)
			continue;
		f->current = order[i];
		f->header.flags |= f->suspect ? FORMAT_DIRTY : 0;
		f->header.flags &= ~(uint32_t)FORMAT_GROWING;
		return 0;
	}
	f->header = latest;
	f->length = format_length(backing_size);
	return FILE_DAMAGED;
}

/* A death between two system calls left more or less than the header says. */
static int repair_size(struct file *f, uint64_t wanted)
{
	if (f->writable && ftruncate(f->fd, (off_t)wanted))
		return -errno;
	return 0;
}

static int load_small(struct file *f, struct io *io, const struct format_header headers[2],
		      unsigned int valid, uint64_t backing_size)
{
	int r = choose_small(f, io, headers, valid, backing_size);

	if (r || backing_size == format_small_size(f->length))
		return r;
	return f->suspect ? repair_size(f, format_small_size(f->length)) : FILE_DAMAGED;
}

/*
 * Small content leaves the header page by way of GROWING.  Without that it is
 * still there, however long the file was made.
 */
static bool has_not_moved(const struct format_header *header)
{
	const uint32_t flags = FORMAT_DIRTY | FORMAT_SMALL;

	return (header->flags & (flags | FORMAT_GROWING)) == flags && header->length;
}

static int load_blocks(struct file *f, struct io *io, uint64_t backing_size)
{
	int r;

	f->small = false;
	f->length = format_length(backing_size);
	if (!(f->header.flags & FORMAT_DIRTY))
		return f->header.flags & FORMAT_SMALL || f->header.length != f->length ||
				       backing_size != format_big_size(f->length)
			       ? FILE_DAMAGED
			       : 0;
	if (f->header.flags & FORMAT_GROWING)
		return small_finish_grow(f, io);
	if (f->header.flags & FORMAT_SHRINKING)
		return blocks_finish_cut(f, io);
	f->header.flags &= ~(uint32_t)FORMAT_SMALL;
	if (f->suspect && !f->as_it_is) {
		r = blocks_find_end(f, io);
		if (r)
			return r;
	}
	/* Between a tag page and the first of its blocks. */
	if (backing_size != format_big_size(f->length))
		return repair_size(f, format_big_size(f->length));
	return 0;
}

int header_load(struct file *f, struct io *io)
{
	uint8_t page[FORMAT_BLOCK_SIZE] = { 0 };
	struct format_header headers[2];
	unsigned int valid;
	uint64_t backing_size;
	struct stat st;
	ssize_t got;
	int r;

	got = fdio_pread_some(f->fd, page, sizeof(page), 0);
	if (got < 0)
		return (int)got;
	if (fstat(f->fd, &st))
		return -errno;
	backing_size = (uint64_t)st.st_size;
	if (got < FORMAT_CONTENT_START)
		return FILE_DAMAGED;
	memcpy(f->raw, page, sizeof(f->raw));

	r = decode_slots(f, io, headers, &valid);
	if (r)
		return r;
	f->valid = valid;
	f->current = valid == 3 ? headers[1].sequence > headers[0].sequence : valid == 2;
	take_header(f, &headers[f->current], f->current);
	f->last_sequence = f->header.sequence;
	file_load_place(f); /* a header that is written on the way has to say it, too */

	if (backing_size < FORMAT_BLOCK_SIZE) {
		r = load_small(f, io, headers, valid, backing_size);
		/* The power failed over it: reading says EIO until it is written again. */
		return r == FILE_DAMAGED && f->suspect ? 0 : r;
	}
	if (has_not_moved(&f->header)) {
		r = load_small(f, io, headers, valid, backing_size);
		if (r != FILE_DAMAGED || !format_length(backing_size))
			return r;
		/* Headers were lost: blocks speak for themselves, no blocks do not. */
	}
	tags_fill(f->tags, 0, page + FORMAT_CONTENT_START);
	return load_blocks(f, io, backing_size);
}

/* ---- looking at a file that is not opened --------------------------------- */

/* Wiped after each use; here because stacks may not have its alignment. */
static _Thread_local struct cipher_key key_alone;

/* Decode one slot without an io: 0, FORMAT_DAMAGED or -errno. */
static int decode_alone(const struct store *store, const uint8_t raw[FORMAT_HEADER_SIZE],
			struct format_header *header)
{
	uint8_t id[KEYS_FILE_ID_SIZE];
	uint8_t secret[CIPHER_KEY_SIZE];
	int r = format_header_peek(raw, id);

	if (r)
		return r;
	keys_file(store->keys, id, secret);
	r = cipher_key_set(&key_alone, store->suite, secret);
	if (!r)
		r = format_header_decode(raw, &key_alone, header);
	secmem_wipe(secret, sizeof(secret));
	secmem_wipe(&key_alone, sizeof(key_alone));
	return r;
}

int file_peek_unbound(const struct store *store, int fd)
{
	uint8_t raw[2][FORMAT_HEADER_SIZE];
	const struct format_header *current = NULL;
	struct format_header headers[2];
	struct place_record place;
	int r;

	if (store->suite == CIPHER_XOR)
		return 1;
	r = fdio_pread_full(fd, raw, sizeof(raw), 0);
	if (r)
		return r == -ENODATA ? 0 : r;
	for (int i = 0; i < 2; i++) {
		r = decode_alone(store, raw[i], &headers[i]);
		if (r < 0)
			return r;
		if (!r && (!current || headers[i].sequence > current->sequence))
			current = &headers[i];
	}
	if (!current || current->flags & FORMAT_MULTI)
		return current != NULL;
	return !place_read(fd, store->keys, current->id, &place) &&
	       place.sequence >= current->sequence &&
	       bytes_are_zero(place.bindings, sizeof(place.bindings));
}
