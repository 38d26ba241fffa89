/* SPDX-License-Identifier: MIT */
/*
 * vault_rotate - another master key for a vault: its configurations, and which
 * tree is whose.  The copying is done by others (recrypt.h).
 *
 * The tree with the new key grows in VAULT/rotate, which is a vault of its own,
 * while VAULT keeps the old one, whole and untouched.  A flag under the MAC of
 * the configuration says that VAULT may not be used meanwhile.  When the new
 * tree is complete the two change places in one step.  docs/format.md has the
 * order of all steps; after a death anywhere it can be gone on with, and until
 * that step also be given up.
 *
 * Results: 0, a positive VAULT_* answer, or a negative errno.
 */
#ifndef FS_VAULT_ROTATE_H
#define FS_VAULT_ROTATE_H

#include "fs/vault.h"

#define VAULT_ROTATE_DIR "rotate"

/* As vault_open with VAULT_EXCLUSIVE, an unfinished rotation or not. */
int vault_rotate_open(const char *path, struct vault **out);

/* True if there is a directory VAULT/rotate, whatever it is. */
bool vault_rotate_is_there(const struct vault *v);

/*
 * How far it is, of a vault that secret unlocked.  With VAULT_COPYING *next is the new vault,
 * unlocked, for the caller to close; else it is NULL.  A switch that was cut off
 * is completed.  VAULT_WRONG_KEY: the secret opens the old key only.
 */
int vault_rotate_look(struct vault *v, const struct vault_secret *secret,
		      enum vault_rotation *rotation, struct vault **next);

/* Which slot secret opens: 0 and *id, VAULT_WRONG_KEY or -errno. */
int vault_rotate_slot(const struct vault *v, const struct vault_secret *secret, uint32_t *id);

/* A slot that the vault is to keep. */
struct vault_rotate_key {
	uint32_t id;
	const struct vault_secret *secret; /* that vault_rotate_slot found to open it */
};

/*
 * Begin, in an unlocked vault: a new master key, which these slots hold, and an
 * empty tree under it.  What an earlier one left in VAULT/rotate is removed.
 * VAULT_EXISTS if there is something else of that name; -EOPNOTSUPP where
 * two directories cannot change places.
 */
int vault_rotate_begin(struct vault *v, const struct vault_rotate_key *keys, size_t n);

/*
 * The tree of next is complete and durable: put it in place.  v is then the
 * vault with the new key, as if unlocked by it.
 */
int vault_rotate_switch(struct vault *v, struct vault *next);

/* After the switch: remove the old tree; the vault is as any other again. */
int vault_rotate_finish(struct vault *v);

/* Before the switch: the old key stays. */
int vault_rotate_abort(struct vault *v);

#endif /* FS_VAULT_ROTATE_H */
