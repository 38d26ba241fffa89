/* SPDX-License-Identifier: MIT */
/*
 * dirrec - the record that gives a directory its id, kept twice: in the file
 * ".cryptfs-dir" (72 bytes, mode 0600) and in the attribute
 * "user.cryptfs.dir" where the backing filesystem has attributes.  Either
 * repairs the other.
 *
 * dirfd may be O_PATH: files are reached with *at() calls, attributes through
 * a descriptor opened for the moment.
 */
#ifndef FS_DIRREC_H
#define FS_DIRREC_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/keys.h"
#include "fs/format.h"

#define DIRREC_FILE  ".cryptfs-dir"
#define DIRREC_XATTR "user.cryptfs.dir"

enum {
	DIRREC_MISSING = 1, /* neither copy exists (a file without a byte is none) */
	DIRREC_DAMAGED,	    /* a copy exists, none is valid */
};

/*
 * Read a directory's record, repairing a missing or damaged copy from the
 * other unless read_only: 0, DIRREC_MISSING, DIRREC_DAMAGED or -errno.  A file
 * copy that is empty or all zeros was never written and is missing.
 */
int dirrec_read(int dirfd, const struct keyring *keys, bool read_only,
		struct format_dir_record *record);

/* What became of each copy: 0, DIRREC_* or -errno; and of the two of them. */
struct dirrec_copies {
	int file;
	int xattr;
	bool xattr_is_possible; /* the backing filesystem has attributes */
	bool differ;		/* both are good, and not the same */
	bool conflict;		/* and speak of different directories */
};

/*
 * The same for a directory found where its binding is `here`: of two good copies
 * the one that says so.  After a power failure the file copy may be older or newer
 * than the name (it is data), the attribute is not; a file copy alone that says
 * something else counts as none.
 */
int dirrec_read_at(int dirfd, const struct keyring *keys, bool read_only,
		   const uint8_t here[FORMAT_BINDING_SIZE], struct format_dir_record *record);

/* As dirrec_read_at with read_only; here may be NULL; copies tells how it came to its answer. */
int dirrec_inspect(int dirfd, const struct keyring *keys, const uint8_t here[FORMAT_BINDING_SIZE],
		   struct dirrec_copies *copies, struct format_dir_record *record);

/*
 * Write both copies: a new one with O_EXCL, an existing one by overwriting it
 * in place; never through throw-away names.  *in_xattr tells whether the
 * attribute copy was stored (it is durable with the directory's inode).
 * 0 or -errno.
 */
int dirrec_write(int dirfd, const struct keyring *keys, const struct format_dir_record *record,
		 bool *in_xattr);

/* Write and flush the record of a new tree's root: 0 or -errno. */
int dirrec_make_root(int dirfd, const struct keyring *keys);

/* Flush the file copy and the directory's entry of it to disk: 0 or -errno. */
int dirrec_sync(int dirfd);

/* Remove the file copy (before rmdir): 0 or -errno; a missing one is fine. */
int dirrec_remove(int dirfd);

#endif /* FS_DIRREC_H */
