/* SPDX-License-Identifier: MIT */
/*
 * copy - copy trees from one side to another, with everything that a file has: content
 * and holes, owner (as root), mode, times, extended attributes, ACLs, symlinks, special
 * files; names of one file stay names of one file within a run.
 *
 * A file is seen under its name when it is complete.  Directories are there before
 * what is in them and get their attributes after it.  What is there already is left alone
 * unless the rules say otherwise; directories are shared.  What fails is told and
 * the others go on.
 */
#ifndef FS_COPY_H
#define FS_COPY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/side.h"

enum {
	COPY_CHANGED = 1, /* the source changed while it was read */
	COPY_LINK_FAILED, /* its other name could not be copied */
};

struct copy_failure {
	const char *path;      /* of the source */
	const char *attribute; /* that it was about, or NULL */
	int error;	       /* -errno or COPY_* */
	bool is_source;	       /* reading failed, not making */
};

/* What was done so far; read at any time. */
struct copy_counts {
	_Atomic uint64_t bytes;	  /* of content, holes left out */
	_Atomic uint64_t sized;	  /* of what copy_survey adds up: holes and what is skipped, too */
	_Atomic uint64_t files;	  /* everything but directories */
	_Atomic uint64_t skipped; /* it was there already */
	_Atomic uint64_t failed;
	_Atomic uint64_t damaged; /* of them: what does not authenticate in the source */
};

struct copy_rules {
	struct side *from;
	struct side *to;
	uint32_t n_hands; /* threads; in a vault each takes a slot of the engine */
	bool replaces;	  /* what is there and no directory */
	/*
	 * Leave alone what is there with the same size and time; but what a run that
	 * died may not have brought to disk is made anew.
	 */
	bool resumes;
	uint32_t shard;	   /* of n_shards, from 0: only what falls to it, but all directories */
	uint32_t n_shards; /* 0: everything */
	dev_t skip_dev;	   /* a directory that is not entered; 0, 0: none */
	ino_t skip_ino;
	const atomic_bool *stop; /* set by anybody: end soon, with nothing half */
	/* Whether place is wanted; a directory that is not is not entered.  NULL: everything. */
	bool (*wants)(void *arg, const char *place, bool is_directory);
	/* Called by any thread, by one at a time. */
	void (*failed)(void *arg, const struct copy_failure *failure);
	void *arg;
	struct copy_counts *counts; /* zeros at first */
};

struct copy;

/* 0 or -errno. */
int copy_new(const struct copy_rules *rules, struct copy **out);

/*
 * What path is in `from` becomes what place is in `to` (a path below its root, without "."
 * and ".."; "" is the root), whose parents are made.  A directory comes into one
 * that is there.  Always by the same thread.
 */
void copy_add(struct copy *c, const char *path, const char *place);

/* Wait until all is done, and free.  NULL is fine. */
void copy_free(struct copy *c);

/*
 * Add the sizes of the files that copy_add would go through to *total; in a vault this takes a
 * slot.  May run beside a copy, by another thread, and *rules->stop ends it.
 */
void copy_survey(const struct copy_rules *rules, const char *path, const char *place,
		 _Atomic uint64_t *total);

/* The shard of n_shards that what has this place falls to. */
uint32_t copy_shard_of(const char *place, const struct stat *st, uint32_t n_shards);

/* Whether an extended attribute of this name is one to keep, for root or for others. */
bool copy_keeps_attribute(const char *name, bool privileged);

#endif /* FS_COPY_H */
