/* SPDX-License-Identifier: MIT */
/* settler - the thread that settles what was left alone for a while, and all in the end. */
#ifndef FS_SETTLER_H
#define FS_SETTLER_H

#include "fs/io.h"
#include "fs/tree.h"

struct settler;

/* Takes a slot; of a tree that is read-only there is nothing to settle.  0 or -errno. */
int settler_start(const struct store *store, struct tree *tree, struct settler **out);

/*
 * End it, when nobody else uses the tree any more: what is still open is closed, and
 * everything settled.  NULL is fine.
 */
void settler_stop(struct settler *s);

#endif /* FS_SETTLER_H */
