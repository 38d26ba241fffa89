/* SPDX-License-Identifier: MIT */
/*
 * offline - a vault that this process reads or fills without a mount: opened, locked and
 * unlocked as a mount does it, with its tree as a side (side.h).
 *
 * Results are exit statuses; what goes wrong is said.
 */
#ifndef FS_OFFLINE_H
#define FS_OFFLINE_H

#include "fs/passphrase.h"
#include "fs/side.h"
#include "fs/vault.h"

struct settler;

/* Slots that an open vault takes of its engine, besides one for each hand. */
enum { OFFLINE_SLOTS = 1 };

struct offline {
	struct vault *vault;
	struct store store;
	int root_fd;
	struct tree *tree;
	struct settler *settler;
	struct side *side;
};

/*
 * Start the engine for n_slots; as engine_start, before there is a secret or a thread.
 */
int offline_start_engine(int workers, uint32_t n_slots, struct engine **out);

/*
 * Open the vault at path, by a secret from source, to read (VAULT_SHARED), to change
 * (VAULT_EXCLUSIVE) or to add to it (VAULT_ADDING).  Reading leaves no trace, where that can be
 * had.  *o is for offline_close in any case.
 */
int offline_open(struct engine *engine, const char *path, enum vault_lock lock,
		 const struct passphrase_source *source, struct offline *o);

/* Settle all, and let go of the vault; hands are freed before.  {0} is fine. */
void offline_close(struct offline *o);

#endif /* FS_OFFLINE_H */
