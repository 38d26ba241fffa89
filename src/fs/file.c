/* SPDX-License-Identifier: MIT */
/*
 * One open file: locking, and which of the three layouts does the work.  See
 * file.h for the contract, file_*.c for the layouts.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/secmem.h"
#include "fs/place.h"

static bool is_xor(const struct file *f)
{
	return f->store->suite == CIPHER_XOR;
}

struct file *file_new(const struct store *store, int fd, bool writable)
{
	struct file *f = calloc(1, sizeof(*f));

	if (f && pthread_rwlock_init(&f->lock, NULL)) {
		free(f);
		f = NULL;
	}
	if (!f) {
		fdio_close(fd);
		return NULL;
	}
	f->store = store;
	f->fd = fd;
	f->writable = writable;
	f->tags = tags_new();
	if (!f->tags) {
		file_close(f);
		return NULL;
	}
	return f;
}

void file_close(struct file *f)
{
	if (!f)
		return;
	tags_free(f->tags);
	free(f->moved);
	fdio_close(f->fd);
	pthread_rwlock_destroy(&f->lock);
	secmem_wipe(f, sizeof(*f));
	free(f);
}

static int draw_id(uint8_t id[KEYS_FILE_ID_SIZE])
{
	return getrandom(id, KEYS_FILE_ID_SIZE, 0) == KEYS_FILE_ID_SIZE ? 0 : -EIO;
}

/* Both slots with one write: the first header, and nothing in the other. */
static int write_first_header(struct file *f, struct io *io)
{
	int slot;
	int r;

	f->current = 1;
	r = header_prepare(f, io, &slot);
	if (!r)
		r = fdio_pwrite_full(f->fd, f->raw, sizeof(f->raw), 0);
	if (!r)
		header_commit(f, slot);
	return r;
}

int file_create(const struct store *store, struct io *io, int fd,
		const uint8_t binding[FORMAT_BINDING_SIZE], struct file **out)
{
	struct file *f = file_new(store, fd, true);
	int r = 0;

	*out = NULL;
	if (!f)
		return -ENOMEM;
	if (is_xor(f)) {
		*out = f;
		return 0;
	}
	f->header.flags = FORMAT_DIRTY | FORMAT_SMALL;
	f->small = true;
	f->in_place = f->touched = 1;
	memcpy(f->header.bindings[0], binding, FORMAT_BINDING_SIZE);
	r = draw_id(f->header.id);
	if (!r)
		r = write_first_header(f, io);
	if (r)
		file_close(f);
	else
		*out = f;
	return r;
}

static int load_xor(struct file *f)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return -errno;
	f->length = (uint64_t)st.st_size;
	return 0;
}

int file_load(struct file *f, struct io *io)
{
	return is_xor(f) ? load_xor(f) : header_load(f, io);
}

void file_load_place(struct file *f)
{
	struct place_record place;

	if (is_xor(f) || f->header.flags & FORMAT_MULTI ||
	    place_read(f->fd, f->store->keys, f->header.id, &place) ||
	    place.sequence < f->last_sequence)
		return;
	memcpy(f->header.bindings, place.bindings, sizeof(place.bindings));
	if (bytes_are_zero(place.bindings, sizeof(place.bindings)))
		f->header.flags |= FORMAT_MULTI;
	f->rebound = true;
}

/* Closes f on failure. */
static int open_new(struct file *f, struct io *io, bool trusted, struct file **out)
{
	int r = file_load(f, io);

	if (r) {
		file_close(f);
		return r;
	}
	f->barrier = f->suspect; /* who knows whether DIRTY is durable */
	if (trusted)
		f->suspect = f->barrier = false;
	/* A mount died between a rename and its settling. */
	f->rebound = f->rebound || !bytes_are_zero(f->header.bindings[1], FORMAT_BINDING_SIZE);
	file_load_place(f);
	f->durable = f->small ? f->length > 0 : blocks_of(f->length);
	f->in_place = f->touched = 1; /* who knows */
	*out = f;
	return 0;
}

int file_open(const struct store *store, struct io *io, int fd, bool writable, bool trusted,
	      struct file **out)
{
	struct file *f = file_new(store, fd, writable);

	*out = NULL;
	return f ? open_new(f, io, trusted, out) : -ENOMEM;
}

int file_open_to_replay(const struct store *store, struct io *io, int fd, struct file **out)
{
	struct file *f = file_new(store, fd, true);

	*out = NULL;
	if (!f)
		return -ENOMEM;
	f->as_it_is = true;
	return open_new(f, io, false, out);
}

void file_upgrade(struct file *f, int fd)
{
	pthread_rwlock_wrlock(&f->lock);
	/* The number stays, for those who sync without the lock. */
	f->writable = dup3(fd, f->fd, O_CLOEXEC) >= 0;
	pthread_rwlock_unlock(&f->lock);
	fdio_close(fd);
}

void file_count_reads(struct file *f)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (flags >= 0 && flags & O_NOATIME)
		(void)fcntl(f->fd, F_SETFL, flags & ~O_NOATIME);
}

bool file_writable(const struct file *f)
{
	return f->writable;
}

int file_fd(const struct file *f)
{
	return f->fd;
}

uint64_t file_length(struct file *f)
{
	uint64_t length;

	pthread_rwlock_rdlock(&f->lock);
	length = f->length;
	pthread_rwlock_unlock(&f->lock);
	return length;
}

const uint8_t *file_id(const struct file *f)
{
	return f->header.id;
}

/* ---- content ------------------------------------------------------------- */

int file_read(struct file *f, struct io *io, uint64_t offset, size_t size, const void **data,
	      size_t *done, uint64_t *bad)
{
	size_t skip = 0;
	int r = 0;

	*done = 0;
	*bad = 0;
	*data = io->data + IO_DATA;
	if (size > IO_MAX_SIZE)
		size = IO_MAX_SIZE;
	io->used = true;
	pthread_rwlock_rdlock(&f->lock);
	if (offset >= f->length || !size)
		goto out;
	if (size > f->length - offset)
		size = (size_t)(f->length - offset);
	if (is_xor(f)) {
		r = xor_read(f, io, offset, size);
	} else if (f->small) {
		skip = (size_t)offset;
		r = small_load(f, io, IO_DATA);
	} else {
		skip = (size_t)(offset % FORMAT_BLOCK_SIZE);
		r = blocks_read(f, io, offset, size, bad);
	}
	if (!r) {
		*data = io->data + IO_DATA + skip;
		*done = size;
	}
out:
	pthread_rwlock_unlock(&f->lock);
	return r;
}

/* A change that failed half-way is finished before anything else changes. */
static int finish_change(struct file *f, struct io *io)
{
	if (!f->small && f->header.flags & FORMAT_GROWING)
		return small_finish_grow(f, io);
	if (!f->small && f->header.flags & FORMAT_SHRINKING)
		return blocks_end_cut(f, io);
	return 0;
}

/* Small content is all at risk, whatever of it is changed. */
static bool needs_journal(const struct file *f, uint64_t offset, size_t size)
{
	if (f->may_journal || !f->store->journal)
		return false;
	return f->small ? moved_at_risk(f, 0) : blocks_need_journal(f, offset, size);
}

/* A change of content in blocks failed: as it was, as far as that can be done. */
static void undo(struct file *f, struct io *io, uint64_t length, const struct moved *tail)
{
	if (f->small)
		return;
	moved_undo(f, tail);
	blocks_undo(f, io, length);
	if (f->stale)
		(void)moved_leave(f, io); /* else before the next change */
}

static int write_sealed(struct file *f, struct io *io, uint64_t offset, size_t size, uint64_t *bad)
{
	const struct moved tail = moved_tail(f);
	uint64_t old = f->length;
	int r = needs_journal(f, offset, size) ? FILE_JOURNAL : finish_change(f, io);

	if (r == FILE_JOURNAL)
		return r;
	if (!r && f->small && offset + size <= FORMAT_SMALL_MAX)
		return small_write(f, io, offset, size);
	if (!r && f->small)
		r = small_grow(f, io);
	if (!r)
		r = blocks_write(f, io, offset, size, bad);
	if (r)
		undo(f, io, old, &tail);
	return r;
}

static int write_xor(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	f->in_place++;
	return xor_write(f, io, offset, size);
}

int file_write(struct file *f, struct io *io, uint64_t offset, size_t size, bool append,
	       uint64_t *bad)
{
	int r;

	*bad = 0;
	io->used = true;
	pthread_rwlock_wrlock(&f->lock);
	if (append)
		offset = f->length;
	if (!f->writable)
		r = -EBADF;
	else if (!size || size > IO_MAX_SIZE)
		r = -EINVAL;
	else if (offset > FORMAT_MAX_LENGTH - size)
		r = -EFBIG;
	else if (is_xor(f))
		r = write_xor(f, io, offset, size);
	else
		r = write_sealed(f, io, offset, size, bad);
	pthread_rwlock_unlock(&f->lock);
	return r;
}

/* Nothing to change, but a change was asked for: the times move. */
static int touch(struct file *f)
{
	const struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };

	/* In another owner's file only both times may be set. */
	return futimens(f->fd, times) && futimens(f->fd, NULL) ? -errno : 0;
}

static int resize_sealed(struct file *f, struct io *io, uint64_t length, uint64_t *bad)
{
	const struct moved tail = moved_tail(f);
	uint64_t old = f->length;
	int r;

	if (length && length != f->length && needs_journal(f, length, length < f->length))
		return FILE_JOURNAL;
	r = finish_change(f, io);
	if (r)
		return r;
	if (length == f->length)
		return touch(f);
	if (f->small && length <= FORMAT_SMALL_MAX)
		return small_resize(f, io, length);
	if (f->small)
		r = small_grow(f, io);
	if (!r)
		r = length > f->length ? blocks_extend(f, io, length, bad)
				       : blocks_cut(f, io, length, bad);
	if (r)
		undo(f, io, old, &tail);
	return r;
}

static int resize_xor(struct file *f, struct io *io, uint64_t length)
{
	f->in_place++;
	return xor_resize(f, io, length);
}

int file_truncate(struct file *f, struct io *io, uint64_t length, uint64_t *bad)
{
	int r;

	*bad = 0;
	io->used = true;
	pthread_rwlock_wrlock(&f->lock);
	if (!f->writable)
		r = -EBADF;
	else if (length > FORMAT_MAX_LENGTH)
		r = -EFBIG;
	else if (is_xor(f))
		r = resize_xor(f, io, length);
	else
		r = resize_sealed(f, io, length, bad);
	pthread_rwlock_unlock(&f->lock);
	return r;
}

/* Zeros over what there is from offset to end. */
static int zero_sealed(struct file *f, struct io *io, uint64_t offset, uint64_t end, uint64_t *bad)
{
	if (end > f->length)
		end = f->length;
	if (offset >= end)
		return 0;
	if (!f->small)
		return holes_punch(f, io, offset, end, bad);
	memset(io->data + IO_DATA, 0, (size_t)(end - offset));
	return small_write(f, io, offset, (size_t)(end - offset));
}

static int zero(struct file *f, struct io *io, uint64_t offset, uint64_t end, uint64_t *bad)
{
	int r;

	if (!is_xor(f)) {
		r = finish_change(f, io);
		return r ? r : zero_sealed(f, io, offset, end, bad);
	}
	if (end > f->length)
		end = f->length;
	return xor_zero(f, io, offset, end);
}

/* Space for what is to be written; a small file has its page already. */
static int reserve(struct file *f, uint64_t offset, uint64_t end)
{
	if (is_xor(f))
		return xor_reserve(f, offset, end);
	return f->small && end <= FORMAT_SMALL_MAX ? 0 : holes_reserve(f, offset, end);
}

int file_allocate(struct file *f, struct io *io, const struct file_range *range, uint64_t *bad)
{
	uint64_t end = range->offset + range->size;
	int r = 0;

	*bad = 0;
	io->used = true;
	pthread_rwlock_wrlock(&f->lock);
	if (!f->writable)
		r = -EBADF;
	else if (!range->size)
		r = -EINVAL;
	else if (range->size > FORMAT_MAX_LENGTH || range->offset > FORMAT_MAX_LENGTH - range->size)
		r = -EFBIG;
	else if (!f->may_journal && moved_at_risk(f, 0) &&
		 (range->kind != FILE_RESERVE || range->extend))
		r = FILE_JOURNAL;
	else
		r = moved_settle(f); /* what is a hole in place must be one */
	if (!r && range->kind != FILE_RESERVE)
		r = zero(f, io, range->offset, end, bad);
	if (!r && range->kind != FILE_PUNCH) {
		r = reserve(f, range->offset, end);
		/* Zeros are what was asked for; space only comes with them. */
		if (r == -EOPNOTSUPP && range->kind == FILE_ZERO)
			r = 0;
	}
	if (!r && range->extend && end > f->length)
		r = is_xor(f) ? xor_resize(f, io, end) : resize_sealed(f, io, end, bad);
	else if (!r)
		r = touch(f);
	pthread_rwlock_unlock(&f->lock);
	return r;
}

int file_seek(struct file *f, uint64_t offset, bool hole, uint64_t *found)
{
	int r;

	pthread_rwlock_wrlock(&f->lock);
	r = moved_settle(f); /* what is a hole in place must be one */
	if (r)
		goto out;
	if (offset >= f->length)
		r = -ENXIO;
	else if (is_xor(f) || f->small || !(f->header.flags & FORMAT_HAS_HOLES))
		*found = hole ? f->length : offset;
	else
		r = holes_seek(f, offset, hole, found);
out:
	pthread_rwlock_unlock(&f->lock);
	return r;
}

static void set_synced(struct file *f, uint64_t in_place, uint64_t touched)
{
	pthread_rwlock_wrlock(&f->lock);
	if (f->in_place_synced < in_place)
		f->in_place_synced = in_place;
	if (f->touched_synced < touched)
		f->touched_synced = touched;
	pthread_rwlock_unlock(&f->lock);
}

void file_checkpoint_done(struct file *f, uint64_t in_place)
{
	set_synced(f, in_place, 0);
}

/* A file whose changes are all in the journal needs no sync of its own. */
int file_sync(struct file *f, bool data_only)
{
	uint64_t in_place;
	uint64_t touched;
	bool behind;
	bool moved;
	bool stale;

	/* What is there now must not be put at risk any more, even before this returns. */
	pthread_rwlock_wrlock(&f->lock);
	f->durable = f->small ? f->length > 0 : blocks_of(f->length);
	in_place = f->in_place;
	touched = data_only ? 0 : f->touched;
	behind = f->in_place_synced < in_place || f->touched_synced < touched;
	moved = f->n_moved;
	stale = f->stale;
	pthread_rwlock_unlock(&f->lock);
	if (stale)
		return -EIO; /* a change that failed might come back */
	/* DIRTY stays: the next write needs no barrier then (settling clears it). */
	if (behind && (data_only ? fdatasync(f->fd) : fsync(f->fd)))
		return -errno;
	if (behind)
		set_synced(f, in_place, touched);
	return moved ? journal_sync(f->store->journal) : 0;
}

void file_touch(struct file *f)
{
	pthread_rwlock_wrlock(&f->lock);
	f->touched++;
	pthread_rwlock_unlock(&f->lock);
}

/* ---- settling ------------------------------------------------------------ */

static bool is_unsettled(const struct file *f)
{
	return !is_xor(f) && f->writable && (f->header.flags & FORMAT_DIRTY || f->rebound);
}

bool file_is_unsettled(struct file *f)
{
	bool yes;

	pthread_rwlock_rdlock(&f->lock);
	yes = is_unsettled(f);
	pthread_rwlock_unlock(&f->lock);
	return yes;
}

bool file_is_suspect(struct file *f)
{
	return f->suspect;
}

bool file_has_barrier(struct file *f)
{
	return f->barrier;
}

void file_set_barrier(struct file *f)
{
	f->barrier = true;
}

bool file_was_changed(struct file *f)
{
	return f->changes != 0;
}

/* Leave no half-entry of a dead writer, some blocks at a time. */
static int resolve_all(struct file *f, struct io *io)
{
	struct quiet before;
	uint64_t first = 0;
	int r = 0;

	for (bool more = true; more && !r; first += IO_MAX_BLOCKS) {
		pthread_rwlock_wrlock(&f->lock);
		if (f->suspect && !f->small && first < blocks_of(f->length))
			first = holes_skip(f, first);
		if (!f->suspect || f->small || first >= blocks_of(f->length)) {
			f->suspect = f->suspect && r;
			more = false;
		} else {
			r = quiet_begin(f, &before);
			if (!r) {
				r = blocks_resolve(f, io, first, IO_MAX_BLOCKS);
				quiet_end(f, &before);
			}
			f->changes++;
		}
		pthread_rwlock_unlock(&f->lock);
	}
	return r;
}

/* Finish what failed, such as cutting; then the file is as long as it says. */
static int tidy(struct file *f, struct io *io)
{
	uint64_t size = f->small ? format_small_size(f->length) : format_big_size(f->length);
	struct quiet before;
	struct stat st;
	int r = quiet_begin(f, &before);

	if (r)
		return r;
	r = finish_change(f, io);
	if (!r &&
	    (fstat(f->fd, &st) || ((uint64_t)st.st_size > size && ftruncate(f->fd, (off_t)size))))
		r = -errno;
	quiet_end(f, &before);
	return r;
}

/* To both slots: the one before is DIRTY, or names a place that is no more. */
static int write_clean_header(struct file *f, struct io *io)
{
	struct format_header old = f->header;
	struct quiet before;
	int r = quiet_begin(f, &before);

	if (r)
		return r;
	f->header.flags &= ~(uint32_t)(FORMAT_DIRTY | FORMAT_SMALL);
	f->header.flags |= f->small ? FORMAT_SMALL : 0;
	f->header.length = f->length;
	if (!(f->header.flags & FORMAT_MULTI) && !bytes_are_zero(f->only, sizeof(f->only))) {
		memcpy(f->header.bindings[0], f->only, FORMAT_BINDING_SIZE);
		memset(f->header.bindings[1], 0, FORMAT_BINDING_SIZE);
	}
	r = header_write(f, io);
	if (!r)
		(void)header_write(f, io); /* one is enough to go on with */
	quiet_end(f, &before);
	if (r)
		f->header = old;
	else
		f->rebound = false;
	return r;
}

int file_settle(struct file *f, struct io *io, bool synced)
{
	uint64_t changes;
	bool rebound;
	int r = 0;

	io->used = true;
	if (f->suspect)
		r = resolve_all(f, io);
	if (r)
		return r;
	pthread_rwlock_wrlock(&f->lock);
	changes = f->changes;
	rebound = f->rebound;
	if (is_unsettled(f))
		r = tidy(f, io);
	pthread_rwlock_unlock(&f->lock);
	if (r)
		return r;
	/* The new name, too, before the header forgets the old one. */
	if ((!synced || changes) && (rebound ? fsync(f->fd) : fdatasync(f->fd)))
		return -errno;

	pthread_rwlock_wrlock(&f->lock);
	if (f->changes != changes || (f->rebound && !rebound))
		r = FILE_CHANGED; /* what came since is not durable */
	else if (f->suspect || f->header.flags & (FORMAT_SHRINKING | FORMAT_GROWING))
		r = FILE_DAMAGED;
	else if (is_unsettled(f))
		r = write_clean_header(f, io);
	pthread_rwlock_unlock(&f->lock);
	return r;
}

/* ---- bindings ------------------------------------------------------------ */

/*
 * Put the bindings of f->header on disk, before a name that needs them: in the
 * attribute, which is durable before the name is, or else in the header.
 */
static int store_bindings(struct file *f, struct io *io)
{
	struct place_record place = { .sequence = f->last_sequence };
	int r;

	memcpy(place.bindings, f->header.bindings, sizeof(place.bindings));
	f->touched++;
	if (!place_write(f->fd, f->store->keys, f->header.id, &place))
		return 0;
	r = header_write_quietly(f, io);
	return !r && fdatasync(f->fd) ? -errno : r;
}

static bool fits(const struct file *f, const uint8_t binding[FORMAT_BINDING_SIZE])
{
	return is_xor(f) || f->header.flags & FORMAT_MULTI ||
	       !memcmp(f->header.bindings[0], binding, FORMAT_BINDING_SIZE) ||
	       !memcmp(f->header.bindings[1], binding, FORMAT_BINDING_SIZE);
}

bool file_is_bound(struct file *f, const uint8_t binding[FORMAT_BINDING_SIZE])
{
	bool bound;

	pthread_rwlock_rdlock(&f->lock);
	bound = fits(f, binding);
	pthread_rwlock_unlock(&f->lock);
	if (bound)
		return true;
	pthread_rwlock_wrlock(&f->lock);
	file_load_place(f);
	bound = fits(f, binding);
	pthread_rwlock_unlock(&f->lock);
	return bound;
}

int file_bind_both(struct file *f, struct io *io, const uint8_t here[FORMAT_BINDING_SIZE],
		   const uint8_t there[FORMAT_BINDING_SIZE])
{
	int r = 0;

	pthread_rwlock_wrlock(&f->lock);
	if (!is_xor(f) && !(f->header.flags & FORMAT_MULTI)) {
		/* There is room for one rename that may not be durable yet. */
		if (f->rebound && fsync(f->fd))
			r = -errno;
		memcpy(f->header.bindings[0], here, FORMAT_BINDING_SIZE);
		memcpy(f->header.bindings[1], there, FORMAT_BINDING_SIZE);
		if (!r)
			r = store_bindings(f, io);
		f->rebound = true;
	}
	pthread_rwlock_unlock(&f->lock);
	return r;
}

void file_bind_only(struct file *f, const uint8_t binding[FORMAT_BINDING_SIZE])
{
	pthread_rwlock_wrlock(&f->lock);
	memcpy(f->only, binding, FORMAT_BINDING_SIZE);
	pthread_rwlock_unlock(&f->lock);
}

int file_unbind(struct file *f, struct io *io)
{
	int r = 0;

	pthread_rwlock_wrlock(&f->lock);
	if (!is_xor(f) && !(f->header.flags & FORMAT_MULTI)) {
		struct format_header old = f->header;

		f->header.flags |= FORMAT_MULTI;
		memset(f->header.bindings, 0, sizeof(f->header.bindings));
		r = store_bindings(f, io);
		if (r)
			f->header = old;
		else
			f->rebound = true;
	}
	pthread_rwlock_unlock(&f->lock);
	return r;
}
