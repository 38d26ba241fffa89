/* SPDX-License-Identifier: MIT */
/*
 * pathmap - from the path of a file as it is shown to where it is stored, and back.
 * Both are relative, with '/' between names; nothing follows links.
 */
#ifndef FS_PATHMAP_H
#define FS_PATHMAP_H

#include "fs/tree.h"

/*
 * Where the file with this path is below the vault's tree: 0 and *stored, to be
 * freed; -ENOENT, -ENOTDIR, or another -errno.
 */
int pathmap_store(struct tree *t, const char *plain, char **stored);

/* How the entry at this path below the vault's tree is shown; the same answers. */
int pathmap_show(struct tree *t, const char *stored, char **plain);

#endif /* FS_PATHMAP_H */
