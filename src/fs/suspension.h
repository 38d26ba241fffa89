/* SPDX-License-Identifier: MIT */
/*
 * suspension - a mount without its keys: what the kernel holds is written out and
 * dropped, everything is settled, requests wait (park), and then every key and all
 * content is wiped from the mount process and its workers.  With a secret that
 * opens the vault it goes on.
 *
 * All of it is for the control's thread.
 */
#ifndef FS_SUSPENSION_H
#define FS_SUSPENSION_H

#include <stdatomic.h>
#include <stdbool.h>

#include "fs/loop.h"
#include "fs/settler.h"
#include "fs/trim.h"
#include "fs/vault.h"
#include "fs/writeout.h"

enum {
	SUSPENSION_BUSY = 1, /* requests that do not come to an end: nothing was changed */
};

/* What is suspended, all of it borrowed; complete once the loop is there. */
struct suspension {
	struct ops_context *context;
	const struct store *store;
	struct vault *vault;
	struct trim *trim;
	struct settler *settler;
	struct loop *loop;
	struct writeout_mount mount;
	bool read_only;
	atomic_bool ready; /* set last: before, suspending is busy */
	atomic_bool suspended;
};

/* 0, SUSPENSION_BUSY or -errno; a mount that is suspended stays so. */
int suspension_begin(struct suspension *s);

/* 0, a VAULT_* answer or -errno, and then it stays suspended. */
int suspension_end(struct suspension *s, const struct vault_secret *secret);

bool suspension_is_on(const struct suspension *s);

#endif /* FS_SUSPENSION_H */
