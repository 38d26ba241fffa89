/* SPDX-License-Identifier: MIT */
/*
 * settler - the thread that settles what has been left alone for a while (see
 * tree_settle), and all of it when the mount ends or is suspended.
 */
#ifndef FS_SETTLER_H
#define FS_SETTLER_H

#include "fs/io.h"
#include "fs/tree.h"

struct settler;

/* Start it, which takes a slot; on a read-only store there is nothing to do for it.  0 or -errno.
 */
int settler_start(const struct store *store, struct tree *tree, struct settler **out);

/*
 * While no request is served: settle everything, open files too; then wipe the
 * keys that were used for it and do nothing more until settler_resume.
 */
void settler_suspend(struct settler *s);
void settler_resume(struct settler *s);

/*
 * End it, when nobody else uses the tree any more: what is still open is closed, and
 * everything settled, which is done already if it is suspended.  NULL is fine.
 */
void settler_stop(struct settler *s);

#endif /* FS_SETTLER_H */
