/* SPDX-License-Identifier: MIT */
/*
 * journal - VAULT/cryptfs.journal: new versions of blocks (and of small
 * content) that must not be written over the old ones yet.
 *
 * A block is sealed as a whole, so changing some of its bytes in place puts the
 * others at risk: if the power fails while it is written, none of them can be
 * read.  Where the others are durable (somebody may have fsynced them), the new
 * version is appended here.  What the journal holds is valid as it lies there; it
 * is put in place later, by a checkpoint, which is:
 *
 *   journal_switch, put all records of that part in place, sync the files,
 *   journal_void.
 *
 * The file has two parts; while one is checkpointed, records go to the other.
 * docs/format.md describes the bytes.
 *
 * A clean unmount leaves the file empty.  One with records tells of a mount that
 * died or lost its power, and is to be replayed before anything else is read, which
 * is what `replay_vault` does (replay.h); it needs nothing mounted and serves offline
 * tools as well.  Records of files that are gone, or whose header
 * went on since, mean nothing.
 *
 * Functions may be called from any thread.
 */
#ifndef FS_JOURNAL_H
#define FS_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/journal_bytes.h"

#define JOURNAL_FILE "cryptfs.journal"

enum {
	JOURNAL_SIZE = 4 * 1024 * 1024, /* of a mount's: some 900 blocks */
	JOURNAL_SIZE_MIN = 128 * 1024,
};

enum {
	JOURNAL_FULL = 1,
};

struct journal;

/*
 * The journal of the vault dirfd (borrowed for the call), emptied: 0 or -errno.
 * It needs no way to the directory later, and no space before it is used.
 */
int journal_new(int dirfd, const struct keyring *keys, uint64_t size, struct journal **out);

/* Close it; the file stays.  NULL is fine. */
void journal_free(struct journal *j);

/*
 * Make room for records, before the first: false if that cannot be (the disk is
 * full).  Then the journal is broken, as after a failed append or sync: said once in
 * the log, and nothing more is to go into it; what is in it counts as ever.
 */
bool journal_is_ready(struct journal *j);
bool journal_is_broken(struct journal *j);

/*
 * Append a record; fills what is not on disk of it.  The payload is the block's
 * ciphertext, or a small file's header slot and ciphertext.  0, JOURNAL_FULL or
 * -errno.
 */
int journal_append(struct journal *j, struct journal_record *record, const void *payload);

/* Read size bytes of a payload: 0 or -errno. */
int journal_read(struct journal *j, uint64_t at, void *payload, size_t size);

/* Make all records durable: 0 or -errno. */
int journal_sync(struct journal *j);

/* True if a checkpoint is due for want of room. */
bool journal_is_crowded(struct journal *j);

/*
 * Begin a checkpoint: make all durable, and let new records go to the other
 * part, unless an earlier checkpoint failed; then that one is due first.  *epoch:
 * this one and all before are to be put in place.  0 or -errno.
 */
int journal_switch(struct journal *j, uint64_t *epoch);

/* End it: what has this epoch or an earlier one is in place, durably.  0 or -errno. */
int journal_void(struct journal *j, uint64_t epoch);

/* True if records of this epoch still count. */
bool journal_is_live(struct journal *j, uint64_t epoch);

/*
 * Everything is in place, durably, and nobody appends any more: an empty file is left.
 * 0 or -errno.
 */
int journal_empty(struct journal *j);

/* ---- after a death --------------------------------------------------------- */

/*
 * The records of a journal that was left behind, in their order (an array for
 * free(3)), and the journal, for journal_read and (unless read_only) journal_empty
 * only.  Without a journal *out is NULL.  0 or -errno: -EIO, -ELOOP and the like if
 * something else lies in its place.  Unless read_only, of several that load it at once
 * each waits until the one before has freed it.
 */
int journal_load(int dirfd, const struct keyring *keys, bool read_only, struct journal **out,
		 struct journal_record **records, size_t *n);

/* The same of an open file, which is taken in any case. */
int journal_load_from(int fd, const struct keyring *keys, struct journal **out,
		      struct journal_record **records, size_t *n);

#endif /* FS_JOURNAL_H */
