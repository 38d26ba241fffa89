/* SPDX-License-Identifier: MIT */
/*
 * check - look at everything in a vault that nobody uses: does it authenticate,
 * is it where it belongs, what did interrupted operations leave.  Without
 * `repair` nothing is changed; with it, what can be put in order without a
 * guess is.  Content that does not authenticate is never touched.
 *
 * Files are checked by several threads, each with a slot of the engine; large
 * ones by all of them at once.  What is kept for each file is its id, for
 * finding copies.
 *
 * Results: 0 or a negative errno, which means that the check was not carried
 * through.  What it found is told by way of `found`.
 */
#ifndef FS_CHECK_H
#define FS_CHECK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/io.h"
#include "fs/vault.h"

enum check_level {
	CHECK_LEFTOVER, /* of an interrupted operation: harms nobody, goes with repair */
	CHECK_DAMAGE,
	CHECK_TROUBLE, /* could not be looked at, or not copied: not the vault's fault */
};

enum check_kind {
	/* leftovers */
	CHECK_TEMPORARY,
	CHECK_NAME_LEFT,
	CHECK_TARGET_LEFT,
	CHECK_MARKER_LEFT,
	CHECK_MARKER_TWICE,
	CHECK_RECORD_MISSING,
	CHECK_UNFINISHED_DIRECTORY,
	CHECK_UNSETTLED,
	CHECK_UNFINISHED_CHANGE,
	CHECK_TWO_PLACES,
	CHECK_CONFIG_MISSING,
	CHECK_CONFIG_OTHER,
	CHECK_JOURNAL,
	/* damage that can be repaired */
	CHECK_CONFIG_DAMAGED,
	CHECK_RECORD_DAMAGED,
	CHECK_HEADER_SLOT,
	CHECK_EMPTY_FILE,
	/* damage that stays */
	CHECK_NAME,
	CHECK_RECORD_CONFLICT,
	CHECK_RECORD_LOST,
	CHECK_MISPLACED,
	CHECK_DUPLICATE,
	CHECK_HEADER,
	CHECK_SHAPE,
	CHECK_CUT,
	CHECK_EXTENDED,
	CHECK_FORGED,
	CHECK_TORN,
	CHECK_UNREADABLE,
	CHECK_SYMLINK,
	CHECK_SPECIAL,
	CHECK_XATTR_NAME,
	CHECK_XATTR_VALUE,
	/* trouble */
	CHECK_NO_ACCESS,
	CHECK_NOT_COPIED,
};

enum check_outcome {
	CHECK_STAYS,
	CHECK_REPAIRED,
	CHECK_NOT_REPAIRED, /* it was tried */
};

/* One thing found; all of it is valid during the call only. */
struct check_finding {
	enum check_kind kind;
	enum check_outcome outcome;
	const char *path;   /* plain, below the mountpoint; damaged names as the mount shows them */
	const char *stored; /* below VAULT */
	const char *detail; /* the name of an attribute, or NULL */
	bool has_range;	    /* bytes of the plaintext that cannot be read: */
	uint64_t start;
	uint64_t end;
	int error; /* errno, of trouble and of failed repairs; or 0 */
};

/* For programs: "two-places"; for people: "is still bound to ...". */
const char *check_kind_name(enum check_kind kind);
const char *check_kind_text(enum check_kind kind);
enum check_level check_kind_level(enum check_kind kind);

enum { CHECK_WORK_FILE = 32 * 1024 }; /* what a name of a file costs, beside its bytes */

struct check_counts {
	uint64_t files; /* regular ones; several names of one count once */
	uint64_t directories;
	uint64_t symlinks;
	uint64_t specials;
	uint64_t bytes;	    /* of content looked at */
	uint64_t bytes_bad; /* of content that cannot be read */
	uint64_t work;	    /* what is done of check_survey's, in its unit */
	uint64_t damaged;   /* findings that stay, by level: */
	uint64_t leftovers;
	uint64_t troubles;
	uint64_t repaired; /* findings that are no more */
	uint64_t failed;   /* repairs that were tried; what they were for is counted above */
};

struct salvage;

struct replay_pending;

struct check_options {
	const struct store *store;
	bool repair; /* needs the vault's exclusive lock */
	uint32_t threads;
	const char *subpath;		      /* plain: only this and what is below it; or NULL */
	const struct replay_pending *pending; /* what the journal has; or NULL: all is in place */
	struct salvage *salvage;	      /* copy everything there; or NULL */
	const atomic_bool *stop;	      /* set by anybody: end soon */
	/* Called by one thread at a time. */
	void (*found)(void *arg, const struct check_finding *finding);
	void *arg;
};

struct check;

int check_new(const struct check_options *options, struct check **out);
void check_free(struct check *c);

/* The two copies of the configuration, after vault_unlock. */
void check_config(struct check *c, const struct vault *v);

/* A journal was not empty; with repair it was put in place. */
void check_journal(struct check *c);

/* The tree below root_fd: 0, -ENOENT for a subpath that is not there, or -errno. */
int check_tree(struct check *c, int root_fd);

/* May be called at any time, by any thread. */
void check_counts(struct check *c, struct check_counts *counts);

/*
 * Add up what check_tree will have to do, roughly in bytes, into *work as it
 * finds out; until it is through or *stop is set.
 */
void check_survey(int root_fd, _Atomic uint64_t *work, const atomic_bool *stop);

#endif /* FS_CHECK_H */
