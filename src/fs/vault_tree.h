/* SPDX-License-Identifier: MIT */
/* vault_tree - the tree of a vault that is unlocked, for a mount or without one. */
#ifndef FS_VAULT_TREE_H
#define FS_VAULT_TREE_H

#include "fs/tree.h"
#include "fs/vault.h"

/*
 * The tree below root_fd, which is vault_tree_fd or a view of it; both are borrowed.  Of
 * *store, keys and suite are set here.  0, or the exit status, said already; path is for
 * that.
 */
int vault_tree_open(const char *path, const struct vault *v, int root_fd, struct store *store,
		    struct tree **out);

#endif /* FS_VAULT_TREE_H */
