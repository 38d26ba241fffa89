/* SPDX-License-Identifier: MIT */
/* vault_tree - the tree of a vault that is unlocked, for a mount or without one. */
#ifndef FS_VAULT_TREE_H
#define FS_VAULT_TREE_H

#include "fs/tree.h"
#include "fs/vault.h"

/*
 * Put in place what a mount of *store (engine, keys and suite are set) left in the vault's
 * journal that died, or lost its power; with read_only say only that it should be.  0,
 * or the exit status, said already.
 */
int vault_tree_replay(const char *path, const struct vault *v, const struct store *store);

/*
 * The tree below root_fd, which is vault_tree_fd or a view of it; both are borrowed.  Of
 * *store, keys, suite and, unless it is read_only, a journal are set here, and what was left
 * in the vault's journal is put in place.  0, or the exit status, said already; path is for that.
 */
int vault_tree_open(const char *path, const struct vault *v, int root_fd, struct store *store,
		    struct tree **out);

/* After tree_let_go; NULL is fine. */
void vault_tree_close(struct store *store, struct tree *tree);

#endif /* FS_VAULT_TREE_H */
