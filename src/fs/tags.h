/* SPDX-License-Identifier: MIT */
/*
 * tags - the tag pages of one open file, cached.  What is here is what is on
 * disk; callers store an entry here after they wrote it there.
 *
 * A direct-mapped cache that grows with the file up to TAGS_MAX_PAGES pages
 * (4 MiB, for 256 MiB of content).  Several readers may use it at once.
 */
#ifndef FS_TAGS_H
#define FS_TAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/format.h"

enum { TAGS_MAX_PAGES = 1024 };

struct tags;

struct tags *tags_new(void);
void tags_free(struct tags *t);

/*
 * Copy the entries of blocks first .. first + n - 1 of the backing file fd,
 * 64 bytes each; those past the end of the file are zeros.  0 or -errno.
 */
int tags_read(struct tags *t, int fd, uint64_t first, uint32_t n, uint8_t *entries);

/* How often, in this process, entries were there already, and had to be read. */
void tags_count(uint64_t *hits, uint64_t *misses);

/* A tag page that was read in passing: all entries of a group. */
void tags_fill(struct tags *t, uint64_t group, const uint8_t *entries);

/* Entries that are on disk now. */
void tags_store(struct tags *t, uint64_t first, uint32_t n, const uint8_t *entries);

/* Forget everything: the next read asks the disk. */
void tags_drop(struct tags *t);

#endif /* FS_TAGS_H */
