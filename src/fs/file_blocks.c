/* SPDX-License-Identifier: MIT */
/*
 * Content in blocks of 4096 bytes, each with a tag entry of two halves.
 *
 * A change of a block goes to the half that is not current, and the entry is
 * written before the data.  Whichever of the two a death cuts off, one half
 * still opens what is there.  A tag page lies right before its blocks, so
 * what starts at a group's first block is one write that keeps this order by
 * itself; anything else in a group is a write of entries, then one of data.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/secmem.h"

/* So many blocks go to the journal together: then there is one file to sync and not two. */
enum { SHORT_RUN = 8 };

/* A run of blocks: contiguous in the file and in the slot. */
struct run {
	uint64_t first;
	uint32_t n;
	uint32_t at;	  /* slot offset of the first block */
	size_t size;	  /* bytes; the last block may be short */
	uint8_t *entries; /* 64 bytes each */
	bool to_journal;  /* some of it must not be put at risk: none of it in place */
	bool first_to_journal;
	bool last_to_journal;
};

static struct run run_of(struct io *io, uint64_t first, uint64_t last, uint64_t length, uint32_t at)
{
	uint64_t end = (last + 1) * FORMAT_BLOCK_SIZE;

	if (end > length)
		end = length;
	return (struct run){ .first = first,
			     .n = (uint32_t)(last - first + 1),
			     .at = at,
			     .size = (size_t)(end - first * FORMAT_BLOCK_SIZE),
			     .entries = io->entries };
}

static size_t run_block_size(const struct run *run, uint32_t i)
{
	size_t left = run->size - (size_t)i * FORMAT_BLOCK_SIZE;

	return left < FORMAT_BLOCK_SIZE ? left : FORMAT_BLOCK_SIZE;
}

static const uint8_t *half_of(const uint8_t *entry, int half)
{
	return entry + (size_t)half * FORMAT_HALF_SIZE;
}

/* ---- gathering what is contiguous on disk -------------------------------- */

/*
 * The pieces of a run as they lie on disk from the first block on: data of
 * the first group, then for each further group its tag page and its data.
 */
static size_t lay_out(const struct run *run, struct io *io, struct iovec *iov)
{
	uint64_t block = run->first;
	uint64_t end = run->first + run->n;
	uint8_t *data = io->data + run->at;
	size_t left = run->size;
	size_t n = 0;

	while (block < end) {
		uint64_t group = format_group(block);
		uint64_t stop = format_group_first(group) + format_group_blocks(group);
		size_t size = (size_t)((stop < end ? stop : end) - block) * FORMAT_BLOCK_SIZE;

		if (block != run->first)
			iov[n++] = (struct iovec){ io->pages[group - format_group(run->first) - 1],
						   FORMAT_BLOCK_SIZE };
		if (size > left)
			size = left;
		iov[n++] = (struct iovec){ data, size };
		data += size;
		left -= size;
		block = stop;
	}
	return n;
}

enum { MAX_PIECES = 2 * IO_MAX_GROUPS + 1 };

static size_t total(const struct iovec *iov, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* ---- reading ------------------------------------------------------------- */

/* The same of those blocks of a run that are in the journal. */
static int load_moved(struct file *f, struct io *io, const struct run *run)
{
	int r = 0;

	for (size_t at = moved_from(f, run->first); at < f->n_moved && !r; at++) {
		const struct moved *moved = &f->moved[at];
		uint64_t i = moved->block - run->first;
		uint8_t *entry = run->entries + i * FORMAT_ENTRY_SIZE;

		if (moved->block >= run->first + run->n)
			break;
		memcpy(entry, moved->half, FORMAT_HALF_SIZE);
		memset(entry + FORMAT_HALF_SIZE, 0, FORMAT_HALF_SIZE);
		r = journal_read(f->store->journal, moved->at,
				 io->data + run->at + i * FORMAT_BLOCK_SIZE, moved->size);
	}
	return r;
}

/* Read the ciphertext and the entries of a run. */
static int load(struct file *f, struct io *io, const struct run *run)
{
	struct iovec iov[MAX_PIECES];
	size_t n = lay_out(run, io, iov);
	size_t wanted = total(iov, n);
	uint64_t group = format_group(run->first);
	ssize_t got = fdio_preadv_some(f->fd, iov, n, (off_t)format_block_offset(run->first));
	int r;

	if (got < 0)
		return (int)got;
	if ((size_t)got != wanted)
		return FILE_DAMAGED; /* shorter than its length says */
	for (uint64_t g = group + 1; g <= format_group(run->first + run->n - 1); g++)
		tags_fill(f->tags, g, io->pages[g - group - 1]);
	r = tags_read(f->tags, f->fd, run->first, run->n, run->entries);
	return r ? r : load_moved(f, io, run);
}

/* Fill the record of block i from one half of its entry. */
static void use_half(struct io *io, const struct run *run, uint32_t i, int which)
{
	struct engine_record *record = &io->records[i];
	struct format_half half;

	format_half_decode(half_of(run->entries + (size_t)i * FORMAT_ENTRY_SIZE, which), &half);
	memcpy(record->nonce, half.nonce, sizeof(record->nonce));
	memcpy(record->tag, half.tag, sizeof(record->tag));
	record->sequence = half.sequence;
	record->status = ENGINE_PENDING;
}

static int run_engine(struct file *f, struct io *io, enum engine_op op, uint32_t at, size_t size,
		      uint32_t record, uint64_t position)
{
	struct engine_batch batch = { .op = op,
				      .offset = at,
				      .size = (uint32_t)size,
				      .first_record = record,
				      .position = position };
	int r = io_load_key(io, f->store->suite, f->header.id);

	return r ? r : engine_run(io->engine, io->slot, &batch);
}

/* A death cut off the first write into a hole, between entry and data: still a hole. */
static bool is_unfilled(const struct file *f, const uint8_t *data, size_t size)
{
	const uint32_t both = FORMAT_DIRTY | FORMAT_HAS_HOLES;

	return (f->header.flags & both) == both && bytes_are_zero(data, size);
}

/* Read block i of a run again and try one half of its entry at this size. */
static int try_half(struct file *f, struct io *io, const struct run *run, uint32_t i, int half,
		    size_t size)
{
	uint32_t at = run->at + i * FORMAT_BLOCK_SIZE;
	int r = fdio_pread_full(f->fd, io->data + at, size,
				(off_t)format_block_offset(run->first + i));

	if (r)
		return r == -ENODATA ? FILE_DAMAGED : r;
	use_half(io, run, i, half);
	r = run_engine(f, io, ENGINE_OPEN, at, size, i, run->first + i);
	return r == ENGINE_DAMAGED ? FILE_DAMAGED : r;
}

/* Block i did not open with its current half: read it again, try the other. */
static int open_with_other_half(struct file *f, struct io *io, const struct run *run, uint32_t i)
{
	const uint8_t *entry = run->entries + (size_t)i * FORMAT_ENTRY_SIZE;
	int other = 1 - format_entry_current(entry);
	uint32_t at = run->at + i * FORMAT_BLOCK_SIZE;
	size_t size = run_block_size(run, i);
	int r;

	if (!bytes_are_zero(half_of(entry, other), FORMAT_HALF_SIZE))
		return try_half(f, io, run, i, other, size);
	r = fdio_pread_full(f->fd, io->data + at, size, (off_t)format_block_offset(run->first + i));
	if (r)
		return r == -ENODATA ? FILE_DAMAGED : r;
	return is_unfilled(f, io->data + at, size) ? 0 : FILE_DAMAGED;
}

/* Prepare the records of a run; holes become zeros.  *sealed: any that is none. */
static int prepare_open(struct file *f, struct io *io, const struct run *run, bool *sealed,
			uint64_t *bad)
{
	*sealed = false;
	for (uint32_t i = 0; i < run->n; i++) {
		const uint8_t *entry = run->entries + (size_t)i * FORMAT_ENTRY_SIZE;

		if (!format_entry_is_hole(entry)) {
			use_half(io, run, i, format_entry_current(entry));
			*sealed = true;
			continue;
		}
		if (!(f->header.flags & FORMAT_HAS_HOLES)) {
			*bad = run->first + i;
			return FILE_DAMAGED;
		}
		memset(io->data + run->at + (size_t)i * FORMAT_BLOCK_SIZE, 0,
		       run_block_size(run, i));
		io->records[i].status = ENGINE_SKIP;
	}
	return 0;
}

/* Open a run whose ciphertext and entries are loaded. */
static int open_run(struct file *f, struct io *io, const struct run *run, uint64_t *bad)
{
	bool sealed;
	int r = prepare_open(f, io, run, &sealed, bad);

	if (r || !sealed)
		return r;
	r = run_engine(f, io, ENGINE_OPEN, run->at, run->size, 0, run->first);
	if (r != ENGINE_DAMAGED)
		return r;
	for (uint32_t i = 0; i < run->n; i++) {
		if (io->records[i].status != ENGINE_FORGED)
			continue;
		r = open_with_other_half(f, io, run, i);
		if (r) {
			*bad = run->first + i;
			return r;
		}
	}
	return 0;
}

int blocks_read(struct file *f, struct io *io, uint64_t offset, size_t size, uint64_t *bad)
{
	uint64_t first = offset / FORMAT_BLOCK_SIZE;
	uint64_t last = (offset + size - 1) / FORMAT_BLOCK_SIZE;
	struct run run = run_of(io, first, last, f->length, IO_DATA);
	int r = load(f, io, &run);

	if (r == FILE_DAMAGED)
		*bad = first;
	return r ? r : open_run(f, io, &run, bad);
}

/* ---- writing ------------------------------------------------------------- */

/*
 * Decrypt one block of the file as it is to slot offset at, zero-padded to a
 * whole block: the old edge of a write.  Uses the entries of the run before
 * they are changed.
 */
static int load_edge(struct file *f, struct io *io, uint64_t index, uint32_t at, uint64_t *bad)
{
	uint8_t entry[FORMAT_ENTRY_SIZE];
	struct run run = { .first = index, .n = 1, .at = at, .entries = entry };
	int r;

	memset(io->data + at, 0, FORMAT_BLOCK_SIZE);
	if (index >= blocks_of(f->length))
		return 0;
	run.size = block_size(index, f->length);
	r = load(f, io, &run);
	if (r == FILE_DAMAGED)
		*bad = index;
	return r ? r : open_run(f, io, &run, bad);
}

/* Draw a nonce and a sequence for block i and prepare its record. */
static int renew(struct file *f, struct io *io, const struct run *run, uint32_t i)
{
	const uint8_t *entry = run->entries + (size_t)i * FORMAT_ENTRY_SIZE;
	const struct moved *moved = moved_find(f, run->first + i);
	struct engine_record *record = &io->records[i];
	struct format_half current;

	format_half_decode(moved ? moved->half : half_of(entry, format_entry_current(entry)),
			   &current);
	record->sequence = format_sequence_next(current.sequence);
	record->status = ENGINE_PENDING;
	return io_nonce(io, record->nonce);
}

/* What sealing gave. */
static void encode_half(const struct engine_record *record, uint8_t raw[FORMAT_HALF_SIZE])
{
	struct format_half half = { .sequence = record->sequence };

	memcpy(half.nonce, record->nonce, sizeof(half.nonce));
	memcpy(half.tag, record->tag, sizeof(half.tag));
	format_half_encode(&half, raw);
}

/* The half of an entry that is to be overwritten. */
static int spare_half(const uint8_t *entry)
{
	return format_entry_is_hole(entry) ? 0 : 1 - format_entry_current(entry);
}

/* Put what sealing gave into the half that is not current. */
static void update_entry(const struct engine_record *record, const struct run *run, uint32_t i)
{
	uint8_t *entry = run->entries + (size_t)i * FORMAT_ENTRY_SIZE;
	int other = spare_half(entry);

	encode_half(record, entry + (size_t)other * FORMAT_HALF_SIZE);
}

/*
 * Entries of the run and of what else lies on its last tag page; those of
 * blocks that do not exist yet are zeros, whatever the disk says.
 */
static int load_entries(struct file *f, const struct run *run)
{
	uint64_t group = format_group(run->first + run->n - 1);
	uint64_t end = format_group_first(group) + format_group_blocks(group);
	uint64_t known = blocks_of(f->length);
	uint32_t old = 0;

	if (known > run->first)
		old = (uint32_t)((known < end ? known : end) - run->first);
	memset(run->entries + (size_t)old * FORMAT_ENTRY_SIZE, 0,
	       (size_t)(end - run->first - old) * FORMAT_ENTRY_SIZE);
	return old ? tags_read(f->tags, f->fd, run->first, old, run->entries) : 0;
}

/* Write the entries, then the data of a run in one group; as one call where the order allows. */
static int store(struct file *f, struct io *io, const struct run *run)
{
	uint64_t group = format_group(run->first);
	uint8_t *data = io->data + run->at;
	struct iovec iov[2];
	int r;

	if (run->first == format_group_first(group)) {
		/* The whole tag page, or the rest of the header page. */
		iov[0].iov_base = run->entries;
		iov[0].iov_len = (size_t)format_group_blocks(group) * FORMAT_ENTRY_SIZE;
		iov[1] = (struct iovec){ data, run->size };
		return fdio_pwritev_full(f->fd, iov, 2, (off_t)format_entry_offset(run->first));
	}
	r = fdio_pwrite_full(f->fd, run->entries, (size_t)run->n * FORMAT_ENTRY_SIZE,
			     (off_t)format_entry_offset(run->first));
	if (!r)
		r = fdio_pwrite_full(f->fd, data, run->size,
				     (off_t)format_block_offset(run->first));
	return r;
}

/* The part of a run in one group: blocks from `from` on. */
static struct run piece_of(const struct run *run, uint32_t from)
{
	uint64_t first = run->first + from;
	uint64_t group = format_group(first);
	uint64_t stop = format_group_first(group) + format_group_blocks(group);
	size_t skip = (size_t)from * FORMAT_BLOCK_SIZE;
	uint32_t n = stop - first < run->n - from ? (uint32_t)(stop - first) : run->n - from;
	size_t size = (size_t)n * FORMAT_BLOCK_SIZE;

	return (struct run){ .first = first,
			     .n = n,
			     .at = run->at + (uint32_t)skip,
			     .size = size < run->size - skip ? size : run->size - skip,
			     .entries = run->entries + (size_t)from * FORMAT_ENTRY_SIZE };
}

static int store_in_place(struct file *f, struct io *io, const struct run *piece, uint32_t from)
{
	uint64_t group = format_group(piece->first);
	bool whole = piece->first == format_group_first(group);
	int r;

	for (uint32_t i = 0; i < piece->n; i++)
		update_entry(&io->records[from + i], piece, i);
	f->in_place++;
	r = store(f, io, piece);
	if (r)
		return r;
	tags_store(f->tags, piece->first, whole ? format_group_blocks(group) : piece->n,
		   piece->entries);
	if (f->n_moved)
		moved_drop(f, piece->first, piece->n);
	return 0;
}

static int store_in_journal(struct file *f, struct io *io, const struct run *piece, uint32_t from,
			    uint32_t i)
{
	struct moved block = { .block = piece->first + i,
			       .size = (uint32_t)run_block_size(piece, i) };

	encode_half(&io->records[from + i], block.half);
	if (block.block * FORMAT_BLOCK_SIZE + block.size > f->length)
		f->tail_unsynced = true;
	return moved_put(f, &block, io->data + piece->at + (size_t)i * FORMAT_BLOCK_SIZE);
}

/* The blocks of a piece from `first` to before `end`. */
static struct run part_of(const struct run *piece, uint32_t first, uint32_t end)
{
	struct run part = *piece;
	size_t skip = (size_t)first * FORMAT_BLOCK_SIZE;
	size_t size = (size_t)(end - first) * FORMAT_BLOCK_SIZE;

	part.first += first;
	part.n = end - first;
	part.at += (uint32_t)skip;
	part.size = size < piece->size - skip ? size : piece->size - skip;
	part.entries += (size_t)first * FORMAT_ENTRY_SIZE;
	return part;
}

/* Store a group's part of a run as soon as it is sealed. */
static int store_piece(struct file *f, struct io *io, const struct run *run,
		       const struct run *piece, uint32_t from)
{
	uint32_t first = 0;
	uint32_t end = piece->n;
	struct run part;
	int r = engine_wait_first(io->engine, io->slot, from + piece->n);

	for (; !r && run->to_journal && first < end; first++)
		r = store_in_journal(f, io, piece, from, first);
	if (!r && run->first_to_journal && !from && first < end) {
		r = store_in_journal(f, io, piece, from, first++);
		/* What follows makes the file longer: then this must not be lost. */
		if (!r && run->first + run->n > blocks_of(f->length))
			r = journal_sync(f->store->journal);
	}
	if (!r && run->last_to_journal && from + end == run->n && first < end)
		r = store_in_journal(f, io, piece, from, --end);
	if (r || first == end)
		return r;
	part = part_of(piece, first, end);
	return store_in_place(f, io, &part, from + first);
}

/*
 * Seal the plaintext of a run in place and store it, group by group: while one
 * is written, workers seal the next.
 */
static int seal_and_store(struct file *f, struct io *io, const struct run *run)
{
	struct engine_batch batch = { .op = ENGINE_SEAL,
				      .offset = run->at,
				      .size = (uint32_t)run->size,
				      .position = run->first };
	struct run piece;
	int sealed;
	int r = io_load_key(io, f->store->suite, f->header.id);

	for (uint32_t i = 0; i < run->n && !r; i++)
		r = renew(f, io, run, i);
	if (!r)
		r = engine_submit(io->engine, io->slot, &batch);
	if (r)
		return r;
	for (uint32_t from = 0; from < run->n && !r; from += piece.n) {
		piece = piece_of(run, from);
		r = store_piece(f, io, run, &piece, from);
	}
	sealed = engine_wait(io->engine, io->slot);
	if (!r && sealed)
		r = sealed < 0 ? sealed : -EIO;
	if (r) {
		/* Entries may be ahead of their data now. */
		f->suspect = true;
		tags_drop(f->tags);
	}
	return r;
}

/* Whether IO_TAIL holds block index as of this version of the file. */
static bool tail_is_known(const struct io *io, uint64_t version, uint64_t index)
{
	return version && io->tail_version == version && io->tail_index == index;
}

/*
 * A write that ends inside the last block will mostly be followed by one that
 * goes on there: keep the plaintext, which sealing is about to replace.
 */
static void keep_tail(const struct file *f, struct io *io, const struct run *run, uint64_t end)
{
	size_t size = (size_t)(end % FORMAT_BLOCK_SIZE);

	io->tail_version = 0;
	if (!size || end < f->length)
		return;
	memcpy(io->data + IO_TAIL, io->data + run->at + run->size - size, size);
	memset(io->data + IO_TAIL + size, 0, FORMAT_BLOCK_SIZE - size);
	io->tail_version = f->version;
	io->tail_index = run->first + run->n - 1;
}

/*
 * Fill up the first and the last block of a write from what the file holds.
 * The old bytes move, not the new ones.
 */
static int merge_edges(struct file *f, struct io *io, uint64_t offset, uint64_t end,
		       const struct run *run, uint64_t known, uint64_t *bad)
{
	uint64_t last = run->first + run->n - 1;
	size_t head = (size_t)(offset % FORMAT_BLOCK_SIZE);
	size_t tail = (size_t)(run->first * FORMAT_BLOCK_SIZE + run->size - end);
	uint32_t head_edge = tail_is_known(io, known, run->first) ? IO_TAIL : IO_EDGE;
	uint32_t tail_edge = head_edge;
	int r = 0;

	if (head && head_edge == IO_EDGE)
		r = load_edge(f, io, run->first, IO_EDGE, bad);
	if (!r && tail && (!head || last != run->first)) {
		tail_edge = IO_EDGE + FORMAT_BLOCK_SIZE;
		r = load_edge(f, io, last, tail_edge, bad);
	}
	if (r)
		return r;
	memcpy(io->data + run->at, io->data + head_edge, head);
	if (tail)
		memcpy(io->data + run->at + run->size - tail,
		       io->data + tail_edge + end % FORMAT_BLOCK_SIZE, tail);
	return 0;
}

/* Zero the entries on the last tag page that belong to no block any more. */
static int clear_stale_entries(struct file *f)
{
	uint64_t first = blocks_of(f->length);
	uint64_t group = format_group(first);
	uint32_t n = (uint32_t)(format_group_first(group) + format_group_blocks(group) - first);
	uint8_t entries[FORMAT_GROUP_BLOCKS * FORMAT_ENTRY_SIZE];
	int r;

	if (group && first == format_group_first(group))
		return 0; /* its tag page does not exist yet */
	r = tags_read(f->tags, f->fd, first, n, entries);
	if (r || bytes_are_zero(entries, (size_t)n * FORMAT_ENTRY_SIZE))
		return r;
	memset(entries, 0, (size_t)n * FORMAT_ENTRY_SIZE);
	f->in_place++;
	r = fdio_pwrite_full(f->fd, entries, (size_t)n * FORMAT_ENTRY_SIZE,
			     (off_t)format_entry_offset(first));
	if (!r)
		tags_store(f->tags, first, n, entries);
	return r;
}

/* ---- what may be durable --------------------------------------------------- */

/* Whether bytes of block index that may be durable stay when from..to is written. */
static bool is_at_risk(const struct file *f, uint64_t index, uint64_t from, uint64_t to)
{
	uint64_t start = index * FORMAT_BLOCK_SIZE;
	uint64_t known;

	if (!moved_at_risk(f, index) || start >= f->length)
		return false;
	known = start + block_size(index, f->length);
	return from > start || to < known;
}

bool blocks_need_journal(const struct file *f, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size;

	if (offset > f->length)
		return is_at_risk(f, f->length / FORMAT_BLOCK_SIZE, f->length, end);
	return size && (is_at_risk(f, offset / FORMAT_BLOCK_SIZE, offset, end) ||
			is_at_risk(f, (end - 1) / FORMAT_BLOCK_SIZE, offset, end));
}

/*
 * Before the file grows in place.  Else, after a power failure, it might be longer
 * while its once last block is still what it was: too short to be in the middle.
 */
static int sync_tail(struct file *f)
{
	int r = f->tail_unsynced ? journal_sync(f->store->journal) : 0;

	if (!r)
		f->tail_unsynced = false;
	return r;
}

/* Decide where a run is to be stored that holds what is written to offset..end. */
static void choose_store(const struct file *f, struct run *run, uint64_t offset, uint64_t end)
{
	uint64_t last = run->first + run->n - 1;

	if (!f->may_journal)
		return; /* nothing is at risk, or there is no journal */
	run->first_to_journal = is_at_risk(f, run->first, offset, end);
	run->last_to_journal = is_at_risk(f, last, offset, end);
	run->to_journal = run->n <= SHORT_RUN && (run->first_to_journal || run->last_to_journal);
}

/*
 * Space in place for blocks of a run that go to the journal and have none yet: a full
 * disk is to be met by the writer, not by a checkpoint.
 */
static int reserve_moved(struct file *f, const struct run *run)
{
	uint32_t first = run->n;
	uint32_t end = 0;
	int r;

	for (uint32_t i = 0; i < run->n; i++) {
		bool moves = run->to_journal || (!i && run->first_to_journal) ||
			     (i + 1 == run->n && run->last_to_journal);

		if (!moves || moved_find(f, run->first + i) ||
		    !format_entry_is_hole(run->entries + (size_t)i * FORMAT_ENTRY_SIZE))
			continue;
		first = first < i ? first : i;
		end = i + 1;
	}
	if (!end)
		return 0;
	r = holes_reserve(f, (run->first + first) * FORMAT_BLOCK_SIZE,
			  (run->first + end) * FORMAT_BLOCK_SIZE);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* The backing file's size and time, when a run was stored that ends at `end`. */
static int follow(struct file *f, const struct run *run, uint64_t end)
{
	int r = 0;

	if (end > f->length && (run->to_journal || run->last_to_journal))
		r = ftruncate(f->fd, (off_t)format_big_size(end));
	else if (run->to_journal || (run->n == 1 && run->first_to_journal))
		r = futimens(f->fd, NULL);
	return r ? -errno : 0;
}

int blocks_write(struct file *f, struct io *io, uint64_t offset, size_t size, uint64_t *bad)
{
	uint64_t end = offset + size;
	uint64_t length = end > f->length ? end : f->length;
	uint64_t first = offset / FORMAT_BLOCK_SIZE;
	uint64_t last = (end - 1) / FORMAT_BLOCK_SIZE;
	uint32_t head = (uint32_t)(offset % FORMAT_BLOCK_SIZE);
	struct run run = run_of(io, first, last, length, IO_DATA - head);
	uint64_t version = f->version; /* before this write */
	int r = 0;

	/* No block before the first one may stay short or missing. */
	if (first * FORMAT_BLOCK_SIZE > f->length)
		r = blocks_extend(f, io, first * FORMAT_BLOCK_SIZE, bad);
	if (!r)
		r = header_mark_dirty(f, io, end > f->length);
	choose_store(f, &run, offset, end);
	if (!r && f->suspect)
		r = blocks_resolve(f, io, first, run.n);
	if (!r)
		r = merge_edges(f, io, offset, end, &run, version, bad);
	if (!r)
		r = load_entries(f, &run);
	if (!r)
		r = reserve_moved(f, &run);
	if (!r)
		keep_tail(f, io, &run, end);
	if (!r && end > f->length)
		r = run.to_journal ? clear_stale_entries(f) : sync_tail(f);
	if (!r)
		r = seal_and_store(f, io, &run);
	if (!r)
		r = follow(f, &run, end);
	if (r)
		io->tail_version = 0;
	if (!r && end > f->length)
		f->length = end;
	return r;
}

/* The short last block, if there is one and it is no hole, padded to size. */
static int pad_last_block(struct file *f, struct io *io, uint64_t length, uint64_t *bad)
{
	uint64_t last = f->length / FORMAT_BLOCK_SIZE;
	struct run run = run_of(io, last, last, length, IO_EDGE);
	int r;

	if (f->length % FORMAT_BLOCK_SIZE == 0)
		return 0;
	if (f->suspect) {
		r = blocks_resolve(f, io, last, 1);
		if (r)
			return r;
	}
	r = load_entries(f, &run);
	if (r || (format_entry_is_hole(run.entries) && !moved_find(f, last)))
		return r;
	r = load_edge(f, io, last, IO_EDGE, bad);
	run.to_journal = moved_is_due(f, last);
	if (!r)
		r = seal_and_store(f, io, &run);
	if (!r && run.to_journal)
		r = journal_sync(f->store->journal); /* before the size is */
	return r;
}

int blocks_extend(struct file *f, struct io *io, uint64_t length, uint64_t *bad)
{
	bool holes = blocks_of(length) > blocks_of(f->length);
	int r = header_mark_dirty(f, io, true);

	if (!r && holes)
		r = holes_allow(f, io);
	if (!r)
		r = sync_tail(f);
	if (!r && holes)
		r = clear_stale_entries(f);
	if (!r)
		r = pad_last_block(f, io, length, bad);
	f->in_place++;
	if (!r && ftruncate(f->fd, (off_t)format_big_size(length)))
		r = -errno;
	if (!r)
		f->length = length;
	return r;
}

/* ---- cutting ------------------------------------------------------------- */

/* Nothing is left: a small file of length 0. */
static int cut_to_nothing(struct file *f, struct io *io)
{
	int r = moved_leave(f, io);

	if (r)
		return r;
	f->header.flags |= FORMAT_SMALL;
	f->header.length = 0;
	r = header_write(f, io);
	if (!r && ftruncate(f->fd, (off_t)format_small_size(0)))
		r = -errno;
	if (r) {
		f->header.flags &= ~(uint32_t)FORMAT_SMALL;
		return r;
	}
	f->header.flags &= ~(uint32_t)FORMAT_HAS_HOLES;
	tags_drop(f->tags);
	f->small = true;
	f->suspect = false;
	f->length = 0;
	f->durable = 0;
	return 0;
}

static int cut_at(struct file *f, uint64_t length)
{
	f->in_place++;
	if (ftruncate(f->fd, (off_t)format_big_size(length)))
		return -errno;
	tags_drop(f->tags);
	f->length = length;
	if (f->durable > blocks_of(length))
		f->durable = blocks_of(length);
	return 0;
}

/*
 * The same of a block that may be durable: its new version is in the journal,
 * durably, before the old one is cut.
 */
static int cut_moved(struct file *f, struct io *io, const struct run *run, uint64_t length)
{
	int r = renew(f, io, run, 0);

	if (!r)
		r = run_engine(f, io, ENGINE_SEAL, run->at, run->size, 0, run->first);
	if (r)
		return r < 0 ? r : -EIO;
	r = store_in_journal(f, io, run, 0, 0);
	if (!r)
		r = journal_sync(f->store->journal);
	return r ? r : cut_at(f, length);
}

int blocks_end_cut(struct file *f, struct io *io)
{
	struct format_header old = f->header;
	int r;

	if (ftruncate(f->fd, (off_t)format_big_size(f->length)))
		return -errno;
	f->header.flags &= ~(uint32_t)FORMAT_SHRINKING;
	f->header.shrink_length = 0;
	memset(&f->header.moving, 0, sizeof(f->header.moving));
	r = header_write(f, io);
	if (r)
		f->header = old;
	return r;
}

/* The new last block, decrypted at IO_EDGE and cut, replaces the old one. */
static int cut_block(struct file *f, struct io *io, const struct run *run, uint64_t length)
{
	struct format_half *half = &f->header.moving;
	int r = renew(f, io, run, 0);

	if (!r)
		r = run_engine(f, io, ENGINE_SEAL, run->at, run->size, 0, run->first);
	if (r)
		return r < 0 ? r : -EIO;
	update_entry(&io->records[0], run, 0);
	format_half_decode(half_of(run->entries, format_entry_current(run->entries)), half);
	f->header.flags |= FORMAT_SHRINKING;
	f->header.shrink_length = length;
	r = header_write(f, io);
	if (!r)
		r = store(f, io, run);
	return r;
}

int blocks_cut(struct file *f, struct io *io, uint64_t length, uint64_t *bad)
{
	uint64_t last = length / FORMAT_BLOCK_SIZE;
	struct run run = run_of(io, last, last, length, IO_EDGE);
	int r = header_mark_dirty(f, io, true);

	if (r)
		return r;
	if (!length)
		return cut_to_nothing(f, io);
	r = moved_leave(f, io);
	if (r)
		return r;
	if (length % FORMAT_BLOCK_SIZE == 0)
		return cut_at(f, length);
	if (f->suspect) {
		r = blocks_resolve(f, io, last, 1);
		if (r)
			return r;
	}
	r = load_entries(f, &run);
	if (r)
		return r;
	if (format_entry_is_hole(run.entries))
		return cut_at(f, length);
	r = load_edge(f, io, last, IO_EDGE, bad);
	if (!r && moved_is_due(f, last))
		return cut_moved(f, io, &run, length);
	if (!r)
		r = cut_block(f, io, &run, length);
	tags_drop(f->tags);
	if (r) {
		f->suspect = true;
		return r;
	}
	f->length = length; /* whatever comes: the block is cut */
	if (f->durable > blocks_of(length))
		f->durable = blocks_of(length);
	return blocks_end_cut(f, io);
}

int blocks_finish_cut(struct file *f, struct io *io)
{
	uint64_t length = f->header.shrink_length;
	uint64_t last = length / FORMAT_BLOCK_SIZE;
	uint8_t entry[FORMAT_ENTRY_SIZE] = { 0 };
	struct run run = { .first = last, .n = 1, .at = IO_EDGE, .entries = entry };
	uint64_t bad;
	int r;

	if (f->length > length && length % FORMAT_BLOCK_SIZE) {
		r = load_edge(f, io, last, IO_EDGE, &bad);
		if (r < 0)
			return r;
		if (r) {
			/* The data is cut already: it must open as announced. */
			run.size = (size_t)(length % FORMAT_BLOCK_SIZE);
			format_half_encode(&f->header.moving, entry);
			r = fdio_pread_full(f->fd, io->data + IO_EDGE, run.size,
					    (off_t)format_block_offset(last));
			if (!r)
				r = open_run(f, io, &run, &bad);
			if (r < 0)
				return r;
			if (r) {
				/* The power failed over it: that block alone is lost. */
				f->header.flags &= ~(uint32_t)FORMAT_SHRINKING;
				return 0;
			}
			f->length = length;
			tags_drop(f->tags);
		}
	}
	return f->writable ? blocks_end_cut(f, io) : 0;
}

enum tail {
	TAIL_WHOLE,   /* opens at the size it has */
	TAIL_SHORTER, /* opens at a smaller one, and zeros follow */
	TAIL_ZEROS,   /* was never written */
	TAIL_LOST,
};

/*
 * What the block of a run of one is: an enum tail or -errno.  *size: of a shorter one;
 * *half: of the entry, that opens it.
 */
static int judge_tail(struct file *f, struct io *io, const struct run *run, size_t *size, int *half)
{
	enum { ZEROS_MAX = 8 }; /* at the end of the ciphertext: more is not likely */
	const uint8_t *data = io->data + run->at;
	size_t end = run->size;
	int r = load(f, io, run);

	if (r)
		return r < 0 ? r : TAIL_LOST;
	while (end && !data[end - 1])
		end--;
	if (!end)
		return TAIL_ZEROS;
	for (*half = 0; *half < 2; ++*half) {
		r = try_half(f, io, run, 0, *half, run->size);
		if (r <= 0)
			return r ? r : TAIL_WHOLE;
	}
	for (*size = end; *size < run->size && *size <= end + ZEROS_MAX; ++*size)
		for (*half = 0; *half < 2; ++*half) {
			r = try_half(f, io, run, 0, *half, *size);
			if (r <= 0)
				return r ? r : TAIL_SHORTER;
		}
	return TAIL_LOST;
}

bool blocks_is_newer(struct file *f, struct io *io, uint64_t index, uint32_t sequence, int *spare)
{
	uint8_t entry[FORMAT_ENTRY_SIZE];
	struct run run = { .first = index,
			   .n = 1,
			   .at = IO_EDGE,
			   .size = block_size(index, f->length),
			   .entries = entry };
	struct format_half half;
	size_t size;
	int opens;
	int tail = judge_tail(f, io, &run, &size, &opens);

	*spare = -1;
	/* At whatever size it opens: the file may have become longer since. */
	if (tail == TAIL_WHOLE || tail == TAIL_SHORTER) {
		*spare = 1 - opens;
		return (int32_t)(io->records[0].sequence - sequence) > 0;
	}
	if (tail == TAIL_ZEROS || tags_read(f->tags, f->fd, index, 1, entry))
		return false;
	/* Overwritten in place, with what does not open: it is lost, but not for an older one. */
	for (int i = 0; i < 2; i++) {
		format_half_decode(half_of(entry, i), &half);
		if (half.sequence && (int32_t)(half.sequence - sequence) > 0)
			return true;
	}
	return false;
}

/*
 * The size of a file that grows in its once last block may be durable before that
 * block's new version is.  Then nothing was written behind it in place, and it opens
 * at its old size.
 */
int blocks_find_end(struct file *f, struct io *io)
{
	uint64_t last = blocks_of(f->length);
	uint8_t entry[FORMAT_ENTRY_SIZE];
	struct run run = { .n = 1, .at = IO_EDGE, .entries = entry };
	size_t size;
	int half;
	int tail = TAIL_ZEROS;

	for (int i = 0; i <= SHORT_RUN && last && tail == TAIL_ZEROS; i++) {
		run.first = --last;
		run.size = block_size(last, f->length);
		tail = judge_tail(f, io, &run, &size, &half);
	}
	if (tail == TAIL_SHORTER) {
		f->length = last * FORMAT_BLOCK_SIZE + size;
		tags_drop(f->tags);
	}
	return tail < 0 ? tail : 0;
}

/* ---- after a failure ----------------------------------------------------- */

static bool last_block_opens(struct file *f, struct io *io)
{
	uint64_t bad;

	return f->length % FORMAT_BLOCK_SIZE == 0 ||
	       !load_edge(f, io, f->length / FORMAT_BLOCK_SIZE, IO_EDGE, &bad);
}

void blocks_undo(struct file *f, struct io *io, uint64_t length)
{
	uint64_t on_disk;
	uint64_t size;
	uint64_t bad;
	struct stat st;

	if (fstat(f->fd, &st))
		return; /* DIRTY tells the next reader */
	if (length == 0 && st.st_size < FORMAT_BLOCK_SIZE) {
		/* Nothing was written on the way from empty to blocks. */
		f->small = true;
		f->header.flags |= FORMAT_SMALL;
		(void)!ftruncate(f->fd, (off_t)format_small_size(0));
		return;
	}
	on_disk = format_length((uint64_t)st.st_size);
	if (f->length == length && on_disk > length && !last_block_opens(f, io)) {
		/* It became a longer one before the rest failed. */
		f->length = (length / FORMAT_BLOCK_SIZE + 1) * FORMAT_BLOCK_SIZE;
		if (f->length > on_disk)
			f->length = on_disk;
	}
	size = format_big_size(f->length);
	if ((uint64_t)st.st_size > size)
		(void)!ftruncate(f->fd, (off_t)size);
	if (f->length > length)
		(void)blocks_cut(f, io, length, &bad); /* else it stays longer */
}

/* ---- after a dead writer ------------------------------------------------- */

int blocks_put(struct file *f, const struct moved *block, int spare, const void *data)
{
	uint8_t entry[FORMAT_ENTRY_SIZE] = { 0 };
	int r = block->fresh ? 0 : tags_read(f->tags, f->fd, block->block, 1, entry);

	if (r)
		return r;
	if (spare < 0)
		spare = spare_half(entry);
	memcpy(entry + (size_t)spare * FORMAT_HALF_SIZE, block->half, FORMAT_HALF_SIZE);
	r = fdio_pwrite_full(f->fd, entry, sizeof(entry), (off_t)format_entry_offset(block->block));
	if (!r)
		r = fdio_pwrite_full(f->fd, data, block->size,
				     (off_t)format_block_offset(block->block));
	if (!r)
		tags_store(f->tags, block->block, 1, entry);
	return r;
}

/* Find out which half of an entry opens its block and drop the other. */
static int resolve_block(struct file *f, struct io *io, uint64_t index)
{
	uint8_t entry[FORMAT_ENTRY_SIZE];
	struct run run = { .first = index,
			   .n = 1,
			   .at = IO_EDGE,
			   .size = block_size(index, f->length),
			   .entries = entry };
	bool alone; /* the other half was never written */
	int wrong;
	int r = tags_read(f->tags, f->fd, index, 1, entry);

	if (r || moved_find(f, index))
		return r;
	if (format_entry_is_hole(entry))
		return holes_finish(f, io, index);
	wrong = 1 - format_entry_current(entry);
	alone = bytes_are_zero(half_of(entry, wrong), FORMAT_HALF_SIZE);
	if (alone && !(f->header.flags & FORMAT_HAS_HOLES))
		return 0;
	r = load(f, io, &run);
	if (r)
		return r;
	use_half(io, &run, 0, 1 - wrong);
	r = run_engine(f, io, ENGINE_OPEN, run.at, run.size, 0, index);
	if (r == ENGINE_DAMAGED) {
		wrong = 1 - wrong;
		r = open_with_other_half(f, io, &run, 0);
	} else if (alone) {
		return r;
	}
	if (r)
		return r == FILE_DAMAGED ? 0 : r; /* neither: leave it as it is */
	memset(entry + (size_t)wrong * FORMAT_HALF_SIZE, 0, FORMAT_HALF_SIZE);
	r = fdio_pwrite_full(f->fd, entry, sizeof(entry), (off_t)format_entry_offset(index));
	if (!r)
		tags_store(f->tags, index, 1, entry);
	return r;
}

int blocks_resolve(struct file *f, struct io *io, uint64_t first, uint64_t n)
{
	uint64_t known = blocks_of(f->length);
	uint64_t end = known - first < n ? known : first + n;
	int r = 0;

	for (uint64_t i = first; first < known && i < end && !r; i++)
		r = resolve_block(f, io, i);
	return r;
}
