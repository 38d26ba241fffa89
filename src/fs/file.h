/* SPDX-License-Identifier: MIT */
/*
 * file - the content of one open backing file: read, write, truncate, sync,
 * and its header.  docs/format.md says what lies where and in which order it
 * is written, so that a death at any instruction leaves every acknowledged
 * write readable.
 *
 * All handles of an inode share one struct file.  Every function may be
 * called from several threads, each with an io of its own; reads of a file
 * go on side by side, changes exclude everything else.
 *
 * A file of a `xor` vault has no header: no id, no bindings, no damage.
 *
 * Results: 0, a positive FILE_* answer, or a negative errno.  A failed change
 * leaves the length and the earlier content as they were; but a cut whose
 * last system call failed stays cut, and settling finishes it.
 */
#ifndef FS_FILE_H
#define FS_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/format.h"
#include "fs/io.h"
#include "fs/journal.h"

enum {
	FILE_DAMAGED = 1, /* does not authenticate, or a shape no writer leaves */
	FILE_CHANGED,	  /* settle: written to meanwhile; try again later */
	FILE_JOURNAL,	  /* write, truncate: nothing done yet; see file_use_journal */
};

struct file;

/*
 * Make the empty backing file fd a content file of length 0 with this
 * binding.  fd (O_RDWR) is the file's from now on, also on failure.
 */
int file_create(const struct store *store, struct io *io, int fd,
		const uint8_t binding[FORMAT_BINDING_SIZE], struct file **out);

/*
 * Open a content file.  fd is the file's from now on, also on failure;
 * writable says whether it was opened O_RDWR.  trusted means that this mount
 * wrote the file last: a DIRTY header is then no sign of a dead writer.
 */
int file_open(const struct store *store, struct io *io, int fd, bool writable, bool trusted,
	      struct file **out);

/* What a check wants to know of a file, sound or not. */
struct file_state {
	bool damaged;	      /* file_open refuses it */
	bool slot_is_damaged; /* a header slot that was written does not authenticate */
	bool is_small;
	uint32_t flags;	       /* of the current slot */
	bool is_bound_twice;   /* by the current slot */
	uint64_t length;       /* bytes that file_read knows of */
	uint64_t sealed;       /* length that the header claims; exact unless DIRTY */
	uint64_t backing_size; /* bytes of the backing file */
	uint64_t sequence;     /* of the last header */
};

/*
 * Open a content file, for reading only, as far as it can be: what of a file
 * that file_open refuses still authenticates, file_read gives.  fd is the
 * file's from now on, also on failure.  0; FILE_DAMAGED when no header says
 * whose it is, then *state has the backing size only; or -errno.
 */
int file_open_anyhow(const struct store *store, struct io *io, int fd, struct file_state *state,
		     struct file **out);

/* Write the header anew, in place of the slot that is not current.  Times stay. */
int file_renew_header(struct file *f, struct io *io);

/*
 * Whether the block at offset and all up to *end are holes of the backing
 * file, too, and need not be read to know that they are zeros.  offset is the
 * first byte of a group of blocks, and so is *end unless it is the file's.
 */
bool file_skip_hole(struct file *f, uint64_t offset, uint64_t *end);

/* Wipe and close.  NULL is fine. */
void file_close(struct file *f);

/* Take fd (O_RDWR, of the same backing file) in place of a read-only one. */
void file_upgrade(struct file *f, int fd);
bool file_writable(const struct file *f);

/*
 * From now on reads count for the access time, as the backing filesystem
 * counts them; before (fd opened with O_NOATIME) they leave it alone.
 */
void file_count_reads(struct file *f);

/* Bytes of plaintext, as the header says; after a death the backing size may not. */
uint64_t file_length(struct file *f);

/* The backing descriptor, borrowed, for fstat and the like. */
int file_fd(const struct file *f);

/* 32 bytes; all zeros in a `xor` vault. */
const uint8_t *file_id(const struct file *f);

/* Whether the header lets the file be where binding says. */
bool file_is_bound(struct file *f, const uint8_t binding[FORMAT_BINDING_SIZE]);

/*
 * Read up to size bytes (at most IO_MAX_SIZE) at offset: *data points into
 * io's slot, *done is 0 at the end of the file.  With FILE_DAMAGED, *bad is
 * the index of the first block that did not open.
 */
int file_read(struct file *f, struct io *io, uint64_t offset, size_t size, const void **data,
	      size_t *done, uint64_t *bad);

/*
 * Write size bytes (1..IO_MAX_SIZE) at offset, or at the end with append.
 * The payload lies at io->data + IO_DATA and is encrypted there.
 */
int file_write(struct file *f, struct io *io, uint64_t offset, size_t size, bool append,
	       uint64_t *bad);

/* Cut or extend (by a hole) to length. */
int file_truncate(struct file *f, struct io *io, uint64_t length, uint64_t *bad);

enum file_range_kind {
	FILE_RESERVE, /* let there be space for it; what is there stays */
	FILE_ZERO,    /* zeros, with space for something else */
	FILE_PUNCH,   /* zeros; the space of whole blocks is given back */
};

struct file_range {
	enum file_range_kind kind;
	uint64_t offset;
	uint64_t size;
	bool extend; /* a file that ends before becomes as long */
};

/*
 * As fallocate(2): -EOPNOTSUPP where the backing filesystem cannot reserve
 * space.  After a failure a part may be zeros already.
 */
int file_allocate(struct file *f, struct io *io, const struct file_range *range, uint64_t *bad);

/*
 * The first byte from offset on that lies in a hole (the end of the file is
 * one), or in none: 0, -ENXIO if offset is behind the end or only holes
 * follow, or -errno.  A hole may be taken for zeros, never the other way.
 */
int file_seek(struct file *f, uint64_t offset, bool hole, uint64_t *found);

/* Make what was written durable. */
int file_sync(struct file *f, bool data_only);

/* Something of the inode besides its content changed: file_sync is to make that durable. */
void file_touch(struct file *f);

/*
 * A write or cut answered FILE_JOURNAL: it would put bytes at risk that may be
 * durable, and is to go to the journal (store->journal).  After this it will, and
 * the file must not be closed before file_checkpoint has brought back all.
 */
void file_use_journal(struct file *f);

/* True from then on until file_checkpoint found nothing of a later epoch. */
bool file_uses_journal(struct file *f);

/*
 * Put in place what the journal has of the file in this epoch and before: 0 or
 * -errno.  When that is durable, which is the caller's to see to,
 * file_checkpoint_done is to be told *in_place.
 */
int file_checkpoint(struct file *f, uint64_t epoch, uint64_t *in_place);
void file_checkpoint_done(struct file *f, uint64_t in_place);

/* As file_open, of a file that records of a journal are to be put into (O_RDWR). */
int file_open_to_replay(const struct store *store, struct io *io, int fd, struct file **out);

/*
 * Put a record of a journal that was left behind in place, if it is newer than
 * what is there.  Several of one block: the last one that is whole.  0 (also if
 * it means nothing), FILE_DAMAGED: the payload is not whole, FILE_CHANGED: the
 * file ends with this block now and what the journal has of later ones was never
 * durable, or -errno.
 */
int file_replay(struct file *f, struct io *io, const struct journal_record *record,
		const uint8_t *payload);

/* The same for small content (JOURNAL_SMALL), of the unopened file fd (O_RDWR). */
int file_replay_small(const struct store *store, struct io *io, int fd,
		      const struct journal_record *record, const uint8_t *payload);

/*
 * Seal the true length and clear DIRTY, if that is due; synced says that what
 * was there when the file was opened is durable already.  Times of the file stay.  0, FILE_CHANGED,
 * FILE_DAMAGED or -errno.
 */
int file_settle(struct file *f, struct io *io, bool synced);

/* True while the header on disk is not what file_settle would leave. */
bool file_is_unsettled(struct file *f);

/* Whether DIRTY was set on disk by a writer that is not this mount. */
bool file_is_suspect(struct file *f);

/* Whether this struct file wrote content. */
bool file_was_changed(struct file *f);

/*
 * Let the file be in both places: before a rename, which cannot become durable
 * before this.  Times stay.
 */
int file_bind_both(struct file *f, struct io *io, const uint8_t here[FORMAT_BINDING_SIZE],
		   const uint8_t there[FORMAT_BINDING_SIZE]);

/* Make binding the only one when the file is settled: after a rename. */
void file_bind_only(struct file *f, const uint8_t binding[FORMAT_BINDING_SIZE]);

/*
 * Whether the header of the backing file fd (borrowed, not opened here) frees it
 * from bindings: 1, 0 (also for a damaged one) or -errno.
 */
int file_peek_unbound(const struct store *store, int fd);

/* Free the file from bindings for good: before a second hard link, as above. */
int file_unbind(struct file *f, struct io *io);

#endif /* FS_FILE_H */
