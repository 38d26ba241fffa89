/* SPDX-License-Identifier: MIT */
/*
 * settler - the thread that settles what has been left alone for a while (see
 * tree_settle), and all of it when the mount ends or is suspended.
 */
#ifndef FS_SETTLER_H
#define FS_SETTLER_H

#include <stdbool.h>

#include "fs/io.h"
#include "fs/tree.h"

struct settler;

/* Start it; on a read-only store there is nothing to do for it.  0 or -errno. */
int settler_start(const struct store *store, struct tree *tree, struct settler **out);

/*
 * While no request is served: settle everything, open files too; then wipe the
 * keys that were used for it and do nothing more until settler_resume.
 */
void settler_suspend(struct settler *s);
void settler_resume(struct settler *s);

/*
 * End it.  With finish, which takes the keys, what is unsettled then is settled,
 * and files are closed that the kernel, which is gone, will not release.  NULL is fine.
 */
void settler_stop(struct settler *s, bool finish);

#endif /* FS_SETTLER_H */
