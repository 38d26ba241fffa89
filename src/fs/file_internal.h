/* SPDX-License-Identifier: MIT */
/*
 * What the file_*.c share and nobody else may see.  Functions here expect
 * f->lock to be held: for writing where they change something.
 */
#ifndef FS_FILE_INTERNAL_H
#define FS_FILE_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>

#include "fs/file.h"
#include "fs/journal.h"
#include "fs/tags.h"

/* A block, or the small content, whose valid version lies in the journal. */
struct moved {
	uint64_t block; /* or JOURNAL_SMALL */
	uint64_t at;	/* of its ciphertext in the journal */
	uint64_t epoch;
	uint32_t size;
	bool fresh; /* in place there never was one */
	uint8_t half[FORMAT_HALF_SIZE];
};

struct file {
	const struct store *store;
	pthread_rwlock_t lock;
	int fd;
	bool writable;
	struct tags *tags;
	struct format_header header;	    /* what the current slot says */
	uint8_t raw[2][FORMAT_HEADER_SIZE]; /* both slots as they are on disk */
	int current;			    /* 0 or 1 */
	uint64_t last_sequence;		    /* the highest of both slots */
	uint64_t length;		    /* plaintext bytes */
	unsigned int valid;		    /* a bit for each slot that authenticates */
	bool small;			    /* content lies in the header page */
	bool as_it_is;			    /* to be replayed: its end is not looked for */
	bool suspect; /* a writer died: which half of an entry opens is not known */
	bool barrier; /* DIRTY may not be durable yet: sync before a new size */
	bool rebound; /* bindings are more than they should be; one is in `only`, or zeros */
	uint8_t only[FORMAT_BINDING_SIZE];
	/*
	 * Blocks before this one may be durable: what a write leaves of them must
	 * not be put at risk.  For small content it is 0 or 1.
	 */
	uint64_t durable;
	bool may_journal;    /* see file_use_journal */
	struct moved *moved; /* by block */
	size_t n_moved;
	size_t moved_room;
	uint64_t last_epoch; /* of the last record; 0: none */
	uint64_t superseded; /* in_place when something took the place of a record last */
	bool stale;	     /* records of a change that failed: to be void before the next one */
	bool tail_unsynced;  /* the file grew in the journal, maybe not durably yet */
	/* Changes that a sync of the backing file makes durable, and how many of them are. */
	uint64_t in_place, in_place_synced; /* of content */
	uint64_t touched, touched_synced;   /* of the inode: not by fdatasync */
	/* A header with HAS_HOLES is on the disk itself. */
	bool holes_durable;
	uint64_t changes;
	uint64_t version; /* of the content; no two of any file are the same */
};

static inline uint64_t blocks_of(uint64_t length)
{
	return (length + FORMAT_BLOCK_SIZE - 1) / FORMAT_BLOCK_SIZE;
}

/* Bytes of block index in a file of this length. */
static inline size_t block_size(uint64_t index, uint64_t length)
{
	uint64_t left = length - index * FORMAT_BLOCK_SIZE;

	return left < FORMAT_BLOCK_SIZE ? (size_t)left : FORMAT_BLOCK_SIZE;
}

/* file.c */

/* A struct file of fd, which is taken in any case; NULL without memory. */
struct file *file_new(const struct store *store, int fd, bool writable);
/* Find out what is in it, by its header if it has one: 0, FILE_DAMAGED or -errno. */
int file_load(struct file *f, struct io *io);
/* Take the bindings of the place attribute, unless the header is a later one. */
void file_load_place(struct file *f);

/* file_header.c */

/* Seal f->header as the next one into raw[slot not current]; not on disk yet. */
int header_prepare(struct file *f, struct io *io, int *slot);
/* The prepared slot is on disk now. */
void header_commit(struct file *f, int slot);
/* header_prepare, write, header_commit. */
int header_write(struct file *f, struct io *io);
/* Of the backing file; the kernel takes it away at every write. */
#define FILE_CAPABILITY "security.capability"

/* What writing changes besides content. */
struct quiet {
	struct stat st;
	uint8_t capability[32]; /* security.capability, which has 24 bytes at most */
	ssize_t capability_size;
};
/*
 * What is written between these two moves neither the file's times nor its
 * mode, nor takes its capabilities.  f->lock is held throughout, or the time of
 * a write would be lost.
 */
int quiet_begin(struct file *f, struct quiet *before);
void quiet_end(struct file *f, const struct quiet *before);
/* header_write between them. */
int header_write_quietly(struct file *f, struct io *io);
/* Say DIRTY on disk before the first change; durably before a new size. */
int header_mark_dirty(struct file *f, struct io *io, bool resizes);
/* Read both slots, choose the current one, find out the length. */
int header_load(struct file *f, struct io *io);

/* file_small.c: content in the header page */

/* Decrypt the content to slot offset `at`: 0, FILE_DAMAGED, -errno. */
int small_load(struct file *f, struct io *io, uint32_t at);
int small_write(struct file *f, struct io *io, uint64_t offset, size_t size);
int small_resize(struct file *f, struct io *io, uint64_t length);
/* Move the content to block 0. */
int small_grow(struct file *f, struct io *io);
/* Finish a small_grow that a death cut off, or forget it. */
int small_finish_grow(struct file *f, struct io *io);

/* file_blocks.c: content in blocks */

int blocks_read(struct file *f, struct io *io, uint64_t offset, size_t size, uint64_t *bad);
int blocks_write(struct file *f, struct io *io, uint64_t offset, size_t size, uint64_t *bad);
/* Whether blocks_write (size 0: blocks_extend) would need f->may_journal. */
bool blocks_need_journal(const struct file *f, uint64_t offset, uint64_t size);
int blocks_extend(struct file *f, struct io *io, uint64_t length, uint64_t *bad);
int blocks_cut(struct file *f, struct io *io, uint64_t length, uint64_t *bad);
/* Cut off what lies behind f->length and end SHRINKING. */
int blocks_end_cut(struct file *f, struct io *io);
/* Finish or forget a cut that a death interrupted. */
int blocks_finish_cut(struct file *f, struct io *io);
/* After a failed change: back to this length, as far as that can be done. */
void blocks_undo(struct file *f, struct io *io, uint64_t length);
/* Drop half-entries of dead writers in n blocks from first on. */
int blocks_resolve(struct file *f, struct io *io, uint64_t first, uint64_t n);

/* After a dead writer: the length is where the last block ends that opens. */
int blocks_find_end(struct file *f, struct io *io);
/* Put a block in place, its half-entry first: in place of this one, or (-1) of the older one. */
int blocks_put(struct file *f, const struct moved *block, int spare, const void *data);
/*
 * Whether what a block is in place is, or was before it was lost, of a later sequence.
 * *spare: the half-entry that does not open it, or -1.
 */
bool blocks_is_newer(struct file *f, struct io *io, uint64_t index, uint32_t sequence, int *spare);

/* file_journal.c: what is in the journal instead of in place */

/* True if block index is worth the journal when a write leaves bytes of it. */
bool moved_at_risk(const struct file *f, uint64_t index);
/* The same, and there it may go: what undoes a change has to do without, if that has not asked. */
bool moved_is_due(const struct file *f, uint64_t index);
/* The moved block, or NULL. */
const struct moved *moved_find(const struct file *f, uint64_t index);
/* The first moved block from index on: moved[that], if below n_moved. */
size_t moved_from(const struct file *f, uint64_t index);
/* Append a block to the journal; from then on that is the valid one. */
int moved_put(struct file *f, const struct moved *block, const void *data);
/* The same for small content, whose header is in raw[slot]. */
int moved_put_small(struct file *f, int slot, const void *data, size_t size);
/* n blocks from index on, or JOURNAL_SMALL, are valid in place again. */
void moved_drop(struct file *f, uint64_t index, uint64_t n);
/* Put all in place, durably: before the next header, which makes records void. */
int moved_settle(struct file *f);
/* Make all records of the file void, durably: before a cut. */
int moved_leave(struct file *f, struct io *io);
/* The last block, if it is moved; else its size is 0. */
struct moved moved_tail(const struct file *f);
/*
 * A change failed that began with this tail: what is moved fits f->length again,
 * and records that do not are to be made void, before anything else changes.
 */
void moved_undo(struct file *f, const struct moved *tail);

/* file_holes.c: holes of content in blocks */

/* Say HAS_HOLES on disk, if it is not said. */
int holes_allow(struct file *f, struct io *io);
/* Zeros from .. to, both up to f->length; of whole blocks nothing is left. */
int holes_punch(struct file *f, struct io *io, uint64_t from, uint64_t to, uint64_t *bad);
/* After a death: what is left of the data of this block, which is a hole, goes. */
int holes_finish(struct file *f, struct io *io, uint64_t block);
/* Space on the backing filesystem for from .. to, also behind the end. */
int holes_reserve(struct file *f, uint64_t from, uint64_t to);
/* The first hole, or byte that lies in none, from offset < f->length on; as file_seek. */
int holes_seek(struct file *f, uint64_t offset, bool hole, uint64_t *found);
/* The first block from this one on that may be no hole; UINT64_MAX if there is none. */
uint64_t holes_skip(const struct file *f, uint64_t block);

/* file_xor.c: CryptStream's plain layout */

int xor_read(struct file *f, struct io *io, uint64_t offset, size_t size);
int xor_write(struct file *f, struct io *io, uint64_t offset, size_t size);
int xor_resize(struct file *f, struct io *io, uint64_t length);
/* Zeros from .. to, both up to f->length. */
int xor_zero(struct file *f, struct io *io, uint64_t from, uint64_t to);
int xor_reserve(struct file *f, uint64_t from, uint64_t to);

#endif /* FS_FILE_INTERNAL_H */
