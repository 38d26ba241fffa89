/* SPDX-License-Identifier: MIT */
/*
 * disk - what a disk may hold after a power failure, of a recorded list of
 * operations.
 *
 * The model is that of a filesystem with an ordered metadata journal, such as
 * ext4 with data=ordered (delayed allocation included) or XFS:
 *
 * - The power fails after the first n operations.
 * - Metadata (names, inodes, attributes, ftruncate) is a prefix of what was
 *   done, in its order: at or behind what a sync made durable.  fsync of an
 *   inode makes durable all up to the last metadata operation that touched
 *   that inode (a directory is touched by each change of its entries);
 *   fdatasync only up to its last change of size or its creation; syncfs
 *   everything.
 * - Data is written in pages of 4096 bytes.  Each page holds what it held at
 *   any moment between the inode's last sync and the end, independently of all
 *   other pages: pages are lost, late, and reordered.
 * - A page that was being written may be torn: each of its 512-byte sectors is
 *   from before or from after one of the writes.
 * - A write behind the end makes the file longer when its pages are written,
 *   not when it is called: the new size may be lost while later metadata is
 *   there, but it is not there unless all earlier metadata is.  The new size
 *   may be there with its pages not written; they are zeros then.
 * - A page that did not exist at the last sync exists only if all metadata up to
 *   the write that made it is there.  After a cut that is not durable, nothing
 *   written into what was cut off is there; after one that is, nothing of before.
 */
#ifndef TESTS_POWER_DISK_H
#define TESTS_POWER_DISK_H

#include <stdint.h>

#include "record.h"

/* How a state differs from the two extremes; random choices within. */
enum disk_style {
	DISK_ALL,      /* everything made it: as when only the process is killed */
	DISK_NONE,     /* nothing but what was synced */
	DISK_METADATA, /* all metadata, no data but what was synced */
	DISK_DATA,     /* the other way round */
	DISK_COINS,    /* each page is from the last sync or from the end */
	DISK_LAST,     /* all but the last few writes, of which some pages */
	DISK_MIXED,    /* each page from any moment */
	DISK_TORN,     /* the same, many of them torn */
	DISK_STYLES,
};

struct disk_choice {
	int n_ops; /* the power fails after so many */
	enum disk_style style;
	uint64_t seed;
};

/* Put the state into the empty directory dirfd. */
void disk_make(const struct record *record, const struct disk_choice *choice, int dirfd);

/* A number below n, from and into *seed. */
uint64_t disk_random(uint64_t *seed, uint64_t n);

#endif /* TESTS_POWER_DISK_H */
