/* SPDX-License-Identifier: MIT */
/*
 * replay - what is to be done with a journal that a dead mount left behind,
 * before anything in the vault is read.  Needs nothing mounted.
 */
#ifndef FS_REPLAY_H
#define FS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/io.h"

struct replay_result {
	size_t n_records; /* in the journal */
	size_t n_files;	  /* that they were about */
	size_t n_found;
};

/*
 * Put the records of the journal in dirfd (the vault) in place in the tree below
 * root_fd, durably, and empty it: 0, also without a journal, or -errno; then it
 * is still there.  With store->read_only nothing is done; n_records says that it
 * should be.
 */
int replay_vault(const struct store *store, struct io *io, int dirfd, int root_fd,
		 struct replay_result *result);

/*
 * For who may change nothing: which blocks (or JOURNAL_SMALL) are to be found in the
 * journal of the vault dirfd and perhaps not in place.  *out is NULL without
 * records.  0 or -errno.
 */
struct replay_pending;
int replay_pending_new(const struct store *store, int dirfd, struct replay_pending **out);
void replay_pending_free(struct replay_pending *p);

/* Of a file whose last header has this sequence.  From any thread; NULL: no. */
bool replay_is_pending(const struct replay_pending *p, const uint8_t *id, uint64_t sequence,
		       uint64_t block);

#endif /* FS_REPLAY_H */
