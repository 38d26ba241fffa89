/* SPDX-License-Identifier: MIT */
/*
 * node - the inodes the kernel knows: which backing inode a node id stands
 * for, under which stored names it is reached, and how often the kernel holds
 * it.  A backing inode has one node, however many names it has; but what is
 * bound to its place (directories, symlinks, files that are not shared) and is
 * found somewhere else, too, was put there by hand, and is another node: what
 * was found to be right in the one place says nothing about the other.
 *
 * Only directories keep a descriptor (O_PATH, a bounded number of them; those
 * used again stay, the others are closed first); everything else is reached by
 * the *at() calls from its directory.
 *
 * A node lives while the kernel has looked it up, while something here holds
 * a reference, and while it has children.  All functions may be called from
 * any thread; no lock is there for the whole table, and none is held during a
 * system call.
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "fs/file.h"
#include "fs/format.h"
#include "fs/names.h"

struct nodes;
struct place;

struct node {
	/* Guarded by the lock of the node's shard; outside node.c only read where noted. */
	struct node *hash_next;
	struct place *places; /* the one to be used first */
	uint64_t lookups;     /* the kernel's */
	dev_t dev;
	ino_t ino; /* a symlink that is renamed gets a new one */

	/* One while lookups is not 0, one for each reference and each child's place. */
	atomic_uint holds;
	struct lock lock;    /* guards what the parts below say */
	uint16_t type;	     /* S_IFMT bits; constant */
	bool gone;	     /* shard: the inode has no name left, its number is free */
	bool recent;	     /* shard: asked for since nodes_pick last came by */
	bool told_set_id;    /* atomic: the kernel was told of set-id bits */
	bool journalled;     /* a regular file; the tree's journal lock */
	bool barrier;	     /* a regular file, lock: see file_has_barrier */
	bool on_settle_list; /* this and the next two: the settle list's lock */
	struct node *settle_next;
	uint64_t settle_after_ms;

	uint64_t damage_logged; /* lock: block last spoken of in the log, + 2 */

	/* Which part there is, type says. */
	union {
		struct {	      /* directories */
			bool entered; /* the record was read: dir_id is valid, constant then */
			bool rebound; /* lock: its record names a place too many */
			bool fd_used; /* shard: again, since it was opened or spared */
			bool listed;  /* atomic: the kernel knows all that it may have listed */
			bool record_unsynced; /* sync it before the first fsync below */
			uint8_t dir_id[FORMAT_DIR_ID_SIZE];
			int fd;		  /* shard: O_PATH or -1 */
			uint32_t fd_pins; /* shard */
			uint32_t fd_slot; /* descriptor list: where in it, if open */
		};
		struct {	      /* regular files, all under lock */
			bool trusted; /* this mount wrote it: halves are as they should be */
			bool shared;  /* shard: may have any names */
			bool seen;    /* the kernel's pages are those of seen_mtime, seen_size */
			bool kept;    /* atomic: one of opens is for who looked up a lost name */
			uint32_t opens;
			struct file *file; /* while open, by a handle or for a moment */
			struct timespec seen_mtime;
			int64_t seen_size;
		};
		/* Others, under lock: O_PATH, of one whose last name is gone, or -1. */
		int held_fd;
	};
};

/* Where a node is: a directory's descriptor, held open, and a stored name. */
struct location {
	struct node *parent;
	int dirfd;
	char name[NAMES_STORED_MAX + 1];
};

/*
 * A table whose root is the directory root_fd (O_PATH, borrowed): 0 or
 * -errno.  At most max_fds directory descriptors are kept.
 */
int nodes_new(int root_fd, uint32_t max_fds, struct nodes **out);

/* Free everything, whatever the kernel still holds.  NULL is fine. */
void nodes_free(struct nodes *t);

struct node *nodes_root(struct nodes *t);

/*
 * The node of the backing inode st found as `stored` in parent, made if it is
 * new; with kernel, its lookup count grows by one, else its references do.
 * parent is NULL for a file that has no name yet.  NULL without memory.
 */
struct node *nodes_get(struct nodes *t, const struct stat *st, struct node *parent,
		       const char *stored, bool kernel);

/* The same for a regular file that may have any names: they are all one node. */
struct node *nodes_get_shared(struct nodes *t, const struct stat *st, struct node *parent,
			      const char *stored, bool kernel);

/* From now on the regular file may have any names; before it gets a second one. */
void nodes_share(struct nodes *t, struct node *node);

/*
 * The backing inode st was just made.  What is still known under its number
 * lost its last name a moment ago, and is not to be taken for the new one.
 */
void nodes_made(struct nodes *t, const struct stat *st);

/* The kernel forgets n lookups: whether these were all. */
bool nodes_forget(struct nodes *t, struct node *node, uint64_t n);

/* References of ours. */
void nodes_ref(struct nodes *t, struct node *node);
void nodes_unref(struct nodes *t, struct node *node);

/* The node that nodes_get would find, with a reference, or NULL. */
struct node *nodes_find(struct nodes *t, const struct stat *st, const struct node *parent,
			const char *stored);

/* A name is gone; with last, so is the inode: it may be used anew. */
void nodes_unlinked(struct nodes *t, struct node *node, struct node *parent, const char *stored,
		    bool last);

/* A name became another one: 0 or -ENOMEM (then the old one is gone). */
int nodes_renamed(struct nodes *t, struct node *node, struct node *from, const char *old,
		  struct node *to, const char *now);

/* The node stands for another backing inode from now on (a resealed symlink). */
void nodes_replaced(struct nodes *t, struct node *node, const struct stat *st);

/*
 * A place where the node is: 0, -ESTALE if it has none (unlinked), or -errno.
 * Valid until location_put; the caller keeps renames out meanwhile.
 */
int nodes_locate(struct nodes *t, struct node *node, struct location *location);
/*
 * The same for the place with this index, in no order that lasts: -ESTALE
 * behind the last.  Does not count as asking for the node.
 */
int nodes_locate_nth(struct nodes *t, struct node *node, unsigned int index,
		     struct location *location);
void location_put(struct nodes *t, struct location *location);

/* The descriptor of a directory, opened if need be and held open until put. */
int nodes_dirfd(struct nodes *t, struct node *dir, int *fd);
void nodes_dirfd_put(struct nodes *t, struct node *dir);

/* How many nodes there are, and how many there have been and are no more. */
size_t nodes_count(const struct nodes *t);
size_t nodes_gone(const struct nodes *t);

/*
 * From now on crowded(arg) is called whenever a node is made and there are more
 * than max; by any thread, with nothing locked.  Before the table is shared.
 */
void nodes_bound(struct nodes *t, size_t max, void (*crowded)(void *arg), void *arg);

/*
 * Up to n nodes that only the kernel holds, for asking it to let go of them;
 * each with a reference.  Those asked for since the last time round, in the
 * table's order, are spared once.  Fewer than n: there are no more.  By one
 * thread at a time.
 */
size_t nodes_pick(struct nodes *t, struct node *picked[], size_t n);

/*
 * Nodes from *hand on, each with a reference, and *hand behind them: as many as
 * fit, 0 at the end.  *hand starts with 0.  What is made or goes meanwhile may be
 * missed, or come twice; what stays comes.
 */
size_t nodes_walk(struct nodes *t, size_t *hand, struct node *some[], size_t n);

/* Visit every node; nobody else uses the table meanwhile. */
void nodes_each(struct nodes *t, void (*visit)(void *arg, struct node *node), void *arg);

/* The node's path below the vault's tree in stored names, for the log. */
void nodes_path(struct nodes *t, struct node *node, char *path, size_t size);

#endif /* FS_NODE_H */
