/* SPDX-License-Identifier: MIT */
/*
 * record - what a workload does to the backing filesystem, call by call.
 *
 * The program is linked with --wrap for every call that changes something
 * (record.c lists them).  While recording, each that succeeds is appended to a
 * list; syncs are only noted, as nothing here has to survive anything.  Inodes
 * are known by their number, which the filesystem of the recorded directory
 * must not use twice (tmpfs does not).  One thread only.
 */
#ifndef TESTS_POWER_RECORD_H
#define TESTS_POWER_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum op_kind {
	OP_MAKE,     /* inode, mode, rdev, data (a symlink's target); no name yet */
	OP_LINK,     /* dir, name, inode */
	OP_UNLINK,   /* dir, name, inode */
	OP_RENAME,   /* dir, name, inode, to_dir, to_name, replaced, flags */
	OP_XATTR,    /* inode, name, data */
	OP_UNXATTR,  /* inode, name */
	OP_TIMES,    /* inode, data: two struct timespec; none: the time it was */
	OP_TRUNCATE, /* inode, offset: the new size */
	OP_WRITE,    /* inode, offset, data */
	OP_SYNC,     /* inode */
	OP_SYNC_DATA,
	OP_SYNC_ALL,
};

struct op {
	enum op_kind kind;
	int inode; /* small numbers from 1 on; 0: none */
	int dir;
	int to_dir;
	int replaced;
	char *name;
	char *to_name;
	mode_t mode;
	dev_t rdev;
	unsigned int flags;
	uint64_t offset;
	size_t size;
	uint8_t *data;
};

struct record {
	struct op *ops;
	int n_ops;
	int n_inodes;
};

/* Begin with the directory fd as inode 1. */
void record_start(int fd);
/* What was recorded so far; borrowed. */
const struct record *record_get(void);
/* Free all. */
void record_stop(void);
/* Let calls pass unrecorded for a while, with their syncs. */
void record_pause(int paused);

/* What getrandom(2) gives from now on. */
void record_seed(uint64_t seed);

/* So many seconds later than it is. */
void record_advance_clock(int seconds);

#endif /* TESTS_POWER_RECORD_H */
