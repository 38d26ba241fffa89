/* SPDX-License-Identifier: MIT */
/*
 * What a file has in the vault's journal, and putting it in place.
 *
 * A record counts until a header is written that is later than the one it was
 * made under.  So nothing here writes a header while something is moved:
 * header_write puts it all in place first, durably, and a cut, after which old
 * records would be wrong, writes a header and makes it durable.  Everything else
 * a record may outlive: what is newer in place is found to be newer.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"

bool moved_at_risk(const struct file *f, uint64_t index)
{
	return f->store->journal && index < f->durable && !journal_is_broken(f->store->journal);
}

bool moved_is_due(const struct file *f, uint64_t index)
{
	return f->may_journal && moved_at_risk(f, index);
}

/* ---- what is moved ----------------------------------------------------------- */

size_t moved_from(const struct file *f, uint64_t index)
{
	size_t low = 0;
	size_t high = f->n_moved;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->moved[middle].block < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct moved *moved_find(const struct file *f, uint64_t index)
{
	size_t at = moved_from(f, index);

	return at < f->n_moved && f->moved[at].block == index ? &f->moved[at] : NULL;
}

static int make_room(struct file *f)
{
	size_t room = f->moved_room ? 2 * f->moved_room : 4;
	struct moved *more;

	if (f->n_moved < f->moved_room)
		return 0;
	more = realloc(f->moved, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	f->moved = more;
	f->moved_room = room;
	return 0;
}

static void remember(struct file *f, const struct moved *block)
{
	size_t at = moved_from(f, block->block);

	if (at == f->n_moved || f->moved[at].block != block->block) {
		memmove(f->moved + at + 1, f->moved + at, (f->n_moved - at) * sizeof(*block));
		f->n_moved++;
	}
	f->moved[at] = *block;
}

static void forget(struct file *f, size_t at, size_t n)
{
	if (!n)
		return;
	memmove(f->moved + at, f->moved + at + n, (f->n_moved - at - n) * sizeof(*f->moved));
	f->n_moved -= n;
}

void moved_drop(struct file *f, uint64_t index, uint64_t n)
{
	size_t at = moved_from(f, index);
	size_t n_moved = index == JOURNAL_SMALL ? f->n_moved - at : moved_from(f, index + n) - at;

	forget(f, at, n_moved);
	if (n_moved)
		f->superseded = f->in_place;
}

/* As at a write in place; what the kernel wrote to its pages has done that before. */
static void lose_capability(int fd)
{
	if (fgetxattr(fd, FILE_CAPABILITY, NULL, 0) > 0)
		(void)fremovexattr(fd, FILE_CAPABILITY);
}

static int append(struct file *f, struct journal_record *record, const void *payload)
{
	struct stat st;
	int r = make_room(f);

	if (r)
		return r;
	if (fstat(f->fd, &st))
		return -errno;
	memcpy(record->id, f->header.id, sizeof(record->id));
	record->inode = st.st_ino;
	/* Not ahead of the clock that stamps inodes: see replay. */
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &record->mtime);
	r = journal_append(f->store->journal, record, payload);
	if (r)
		return r < 0 ? r : -ENOSPC;
	f->last_epoch = record->epoch;
	lose_capability(f->fd);
	return 0;
}

int moved_put(struct file *f, const struct moved *block, const void *data)
{
	uint64_t start = block->block * FORMAT_BLOCK_SIZE;
	struct journal_record record = { .sequence = f->last_sequence,
					 .block = block->block,
					 .length = start + block->size,
					 .size = block->size };
	const struct moved *old = moved_find(f, block->block);
	struct moved now = *block;
	int r;

	/* Appending may move what `old` points into. */
	now.fresh = old ? old->fresh : block->block >= blocks_of(f->length);
	memcpy(record.half, block->half, FORMAT_HALF_SIZE);
	if (record.length < f->length)
		record.length = f->length;
	r = append(f, &record, data);
	if (r)
		return r;
	now.at = record.at;
	now.epoch = record.epoch;
	remember(f, &now);
	return 0;
}

int moved_put_small(struct file *f, int slot, const void *data, size_t size)
{
	struct journal_record record = { .sequence = f->last_sequence + 1,
					 .block = JOURNAL_SMALL,
					 .length = size,
					 .slot = (uint32_t)slot,
					 .size = (uint32_t)(FORMAT_HEADER_SIZE + size) };
	struct moved now = { .block = JOURNAL_SMALL, .size = (uint32_t)size };
	uint8_t payload[FORMAT_HEADER_SIZE + FORMAT_SMALL_MAX];
	int r;

	memcpy(payload, f->raw[slot], FORMAT_HEADER_SIZE);
	memcpy(payload + FORMAT_HEADER_SIZE, data, size);
	r = append(f, &record, payload);
	if (r)
		return r;
	now.at = record.at + FORMAT_HEADER_SIZE;
	now.epoch = record.epoch;
	remember(f, &now);
	return 0;
}

/* ---- in place ---------------------------------------------------------------- */

/* Both slots, and the content that the current one speaks of. */
static int put_small(struct file *f, void *data, size_t size)
{
	struct iovec iov[2] = { { f->raw, sizeof(f->raw) }, { data, size } };

	return fdio_pwritev_full(f->fd, iov, 2, 0);
}

static int bring_back(struct file *f, const struct moved *block)
{
	uint8_t data[FORMAT_BLOCK_SIZE];
	int r = journal_read(f->store->journal, block->at, data, block->size);

	if (r)
		return r;
	f->superseded = ++f->in_place;
	return block->block == JOURNAL_SMALL ? put_small(f, data, block->size)
					     : blocks_put(f, block, -1, data);
}

static int bring_all_back(struct file *f, uint64_t epoch)
{
	struct quiet before;
	int r = quiet_begin(f, &before);

	if (r)
		return r;
	for (size_t i = 0; i < f->n_moved && !r;) {
		if (f->moved[i].epoch > epoch) {
			i++;
			continue;
		}
		/* Even without a name: that it lost it may not be durable. */
		r = bring_back(f, &f->moved[i]);
		if (!r)
			forget(f, i, 1);
	}
	quiet_end(f, &before);
	return r;
}

int moved_settle(struct file *f)
{
	int r;

	if (!f->n_moved && f->superseded <= f->in_place_synced)
		return 0;
	r = journal_sync(f->store->journal);
	if (!r)
		r = bring_all_back(f, UINT64_MAX);
	if (!r && fdatasync(f->fd))
		r = -errno;
	if (!r)
		f->in_place_synced = f->in_place;
	return r;
}

int moved_leave(struct file *f, struct io *io)
{
	int r;

	if (!f->last_epoch || !journal_is_live(f->store->journal, f->last_epoch)) {
		f->stale = false;
		return 0;
	}
	r = header_write(f, io);
	if (!r && fdatasync(f->fd))
		r = -errno;
	if (!r) {
		f->last_epoch = 0;
		f->stale = false;
	}
	return r;
}

int file_checkpoint(struct file *f, uint64_t epoch, uint64_t *in_place)
{
	int r;

	pthread_rwlock_wrlock(&f->lock);
	r = bring_all_back(f, epoch);
	*in_place = f->in_place;
	/* Later records count, be something in their place or not: a cut has to know of them. */
	if (!r && f->last_epoch <= epoch)
		f->may_journal = false;
	pthread_rwlock_unlock(&f->lock);
	return r;
}

/* ---- after a failure --------------------------------------------------------- */

struct moved moved_tail(const struct file *f)
{
	const struct moved *tail = f->length ? moved_find(f, blocks_of(f->length) - 1) : NULL;

	return tail ? *tail : (struct moved){ .size = 0 };
}

void moved_undo(struct file *f, const struct moved *tail)
{
	uint64_t end = blocks_of(f->length);

	for (size_t i = 0; i < f->n_moved;) {
		uint64_t block = f->moved[i].block;
		size_t size = block < end ? block_size(block, f->length) : 0;

		if (f->moved[i].size == size)
			i++;
		else if (tail->size && tail->size == size && tail->block == block)
			f->moved[i++] = *tail;
		else
			forget(f, i, 1); /* what is in place was not touched */
	}
	f->stale = f->last_epoch != 0;
}

void file_use_journal(struct file *f)
{
	pthread_rwlock_wrlock(&f->lock);
	f->may_journal = true;
	pthread_rwlock_unlock(&f->lock);
}

bool file_uses_journal(struct file *f)
{
	bool yes;

	pthread_rwlock_rdlock(&f->lock);
	yes = f->may_journal;
	pthread_rwlock_unlock(&f->lock);
	return yes;
}

/* ---- after a death ------------------------------------------------------------- */

/* The file ends with this block: what grew behind it was never durable, or is newer. */
static int fit_length(struct file *f, const struct journal_record *record)
{
	uint64_t end = record->block * FORMAT_BLOCK_SIZE + record->size;

	if (f->length < end || record->size < FORMAT_BLOCK_SIZE)
		f->length = end;
	return ftruncate(f->fd, (off_t)format_big_size(f->length)) ? -errno : 0;
}

/* Whether the payload is what the record says, before anything is overwritten with it. */
static bool opens(struct file *f, struct io *io, const struct moved *block, const uint8_t *payload)
{
	struct engine_batch batch = {
		.op = ENGINE_OPEN, .offset = IO_DATA, .size = block->size, .position = block->block
	};
	struct engine_record *record = &io->records[0];
	struct format_half half;

	format_half_decode(block->half, &half);
	memcpy(record->nonce, half.nonce, sizeof(record->nonce));
	memcpy(record->tag, half.tag, sizeof(record->tag));
	record->sequence = half.sequence;
	record->status = ENGINE_PENDING;
	memcpy(io->data + IO_DATA, payload, block->size);
	return !io_load_key(io, f->store->suite, f->header.id) &&
	       !engine_run(io->engine, io->slot, &batch);
}

int file_replay(struct file *f, struct io *io, const struct journal_record *record,
		const uint8_t *payload)
{
	struct moved block = { .block = record->block, .size = record->size };
	struct format_half half;
	int spare = -1;
	bool newer;
	int r;

	io->used = true;
	if (f->small || f->last_sequence > record->sequence)
		return 0;
	if (memcmp(f->header.id, record->id, sizeof(record->id)) != 0)
		return FILE_DAMAGED;
	memcpy(block.half, record->half, sizeof(block.half));
	format_half_decode(record->half, &half);
	block.fresh = record->block >= blocks_of(f->length);
	newer = !block.fresh && blocks_is_newer(f, io, record->block, half.sequence, &spare);
	if (newer && f->length >= record->block * FORMAT_BLOCK_SIZE + record->size)
		return 0;
	if (!opens(f, io, &block, payload))
		return FILE_DAMAGED;
	r = header_mark_dirty(f, io, true);
	if (!r)
		r = fit_length(f, record);
	if (newer)
		return r; /* its size may be lost, or it is: the file had that length */
	if (!r)
		r = blocks_put(f, &block, spare, payload);
	return !r && record->size < FORMAT_BLOCK_SIZE ? FILE_CHANGED : r;
}

int file_replay_small(const struct store *store, struct io *io, int fd,
		      const struct journal_record *record, const uint8_t *payload)
{
	const uint8_t *content = payload + FORMAT_HEADER_SIZE;
	size_t size = record->size - FORMAT_HEADER_SIZE;
	uint8_t raw[2][FORMAT_HEADER_SIZE];
	struct format_header header;
	struct engine_batch batch = { .op = ENGINE_OPEN,
				      .offset = IO_DATA,
				      .size = (uint32_t)size,
				      .position = FORMAT_SMALL_INDEX };
	bool known = false;
	int r;

	io->used = true;
	r = io_load_key(io, store->suite, record->id);
	if (!r)
		r = fdio_pread_full(fd, raw, sizeof(raw), 0);
	if (r)
		return r == -ENODATA ? 0 : r;
	for (int i = 0; i < 2; i++) {
		if (format_header_decode(raw[i], io->key, &header))
			continue;
		if (header.sequence > record->sequence)
			return 0;
		known = true;
	}
	if (!known)
		return FILE_DAMAGED; /* a file that says it has this id, and has not */
	if (format_header_decode(payload, io->key, &header) || header.length != size ||
	    header.sequence != record->sequence ||
	    memcmp(header.id, record->id, sizeof(header.id)) != 0)
		return FILE_DAMAGED;
	memcpy(io->records[0].nonce, header.small_nonce, CIPHER_NONCE_SIZE);
	memcpy(io->records[0].tag, header.small_tag, CIPHER_TAG_SIZE);
	io->records[0].sequence = 0;
	io->records[0].status = ENGINE_PENDING;
	memcpy(io->data + IO_DATA, content, size);
	if (size && engine_run(io->engine, io->slot, &batch))
		return FILE_DAMAGED;
	r = fdio_pwrite_full(fd, payload, FORMAT_HEADER_SIZE,
			     (off_t)record->slot * FORMAT_HEADER_SIZE);
	/* Until it is durable the size may be any: the content is still in the journal. */
	if (!r)
		r = fdio_pwrite_full(fd, content, size, FORMAT_CONTENT_START);
	if (!r && ftruncate(fd, (off_t)format_small_size(size)))
		r = -errno;
	return r;
}
