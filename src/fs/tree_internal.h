/* SPDX-License-Identifier: MIT */
/* What the tree_*.c share and nobody else may see. */
#ifndef FS_TREE_INTERNAL_H
#define FS_TREE_INTERNAL_H

#include <pthread.h>

#include "fs/dirrec.h"
#include "fs/links.h"
#include "fs/names.h"
#include "fs/special.h"
#include "fs/tree.h"

struct tree {
	const struct store *store;
	const struct keyring *keys; /* the store's */
	enum cipher_suite suite;    /* for links and attributes: an AEAD */
	struct nodes *nodes;
	int root_fd;
	bool privileged; /* may give files away: runs as root */

	/*
	 * Held for reading by whoever uses a name, from finding out where
	 * things are until the system call is done; for writing by renames.
	 */
	pthread_rwlock_t rename_lock;

	pthread_mutex_t settle_lock;
	struct node *settle_first, *settle_last; /* referenced; oldest first */
	size_t n_settle;

	pthread_mutex_t checkpoint_lock; /* one at a time */
	pthread_mutex_t journal_lock;	 /* guards the rest */
	struct node **journalled; /* referenced and open: they have something in the journal */
	size_t n_journalled;
	size_t journalled_room;
	size_t n_taken; /* by a checkpoint; there is room for them, too */
	bool dropped;	/* of what was on the list since the last one; that it is gone is to be
			   durable */
	uint64_t journalled_since_ms;
};

/* A name in a directory whose descriptor is held open. */
struct spot {
	struct node *dir;
	int dirfd;
	bool is_long;
	bool damaged; /* the entry's name does not authenticate */
	struct names_stored stored;
};

/* tree.c; the rename lock is held */

/* Read a directory's record, once: 0 or -errno (-EIO: damaged). */
int tree_enter(struct tree *t, struct node *dir);
/* Where name is or would be in dir. */
int tree_spot(struct tree *t, struct node *dir, const char *name, struct spot *spot);
/* The same for an entry that exists, also one shown as damaged; fills st. */
int tree_spot_existing(struct tree *t, struct node *dir, const char *name, struct spot *spot,
		       struct stat *st);
void spot_put(struct tree *t, struct spot *spot);
void spot_binding(const struct tree *t, const struct spot *spot,
		  uint8_t binding[FORMAT_BINDING_SIZE]);
/* lstat with the plaintext's size. */
int tree_stat_at(struct tree *t, const struct node *dir, int dirfd, const char *stored,
		 struct stat *st);
/*
 * The node of what st says lies at dir/stored, as nodes_get: a file that has
 * several names is one node only if its header allows it any.
 */
struct node *tree_get_node(struct tree *t, struct node *dir, int dirfd, const char *stored,
			   const struct stat *st, bool kernel);
/* -EACCES if our own user may not, and nobody has checked that before. */
int tree_check_access(struct tree *t, struct node *node, int mask);
/* Stat and node of an inode just made; fd is that of a regular file, or -1. */
int tree_new_entry(struct tree *t, const struct spot *spot, int fd, struct tree_entry *entry);
/* Say once in the log that a node is damaged: -EIO.  block is UINT64_MAX if none. */
int tree_damaged(struct tree *t, struct node *node, uint64_t block, const char *what);

/* tree_open.c */

/* Open, or share, the file of a node; for a moment or for a handle. */
int tree_file_get(struct tree *t, struct io *io, struct node *node, bool write);
/* The same for reading, where it is no damage to be told that there is none: whether it could. */
bool tree_file_get_quietly(struct tree *t, struct io *io, struct node *node);
void tree_file_put(struct tree *t, struct node *node);
/* The same, if it has no name any more and nobody else has it open: whether it was done. */
bool tree_file_put_if_gone(struct tree *t, struct node *node);
/* Whether the header of the regular file st at dirfd/stored allows it any names. */
bool tree_is_unbound(struct tree *t, int dirfd, const char *stored, const struct stat *st);
/*
 * As file_write, file_truncate and file_allocate of a node that is open; what they are not to
 * do in place goes to the journal.
 */
int tree_file_write(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
		    bool append, uint64_t *bad);
int tree_file_truncate(struct tree *t, struct io *io, struct node *node, uint64_t length,
		       uint64_t *bad);
int tree_file_allocate(struct tree *t, struct io *io, struct node *node,
		       const struct file_range *range, uint64_t *bad);
/* Remember to settle a node later. */
void tree_settle_later(struct tree *t, struct node *node);

/* tree_journal.c */

/* Let go of a file that nobody can get at any more, whatever the journal has of it. */
void tree_journal_drop(struct tree *t, struct node *node);
/* A checkpoint if the oldest is on the list for so long. */
void tree_checkpoint_if_older(struct tree *t, uint64_t ms);

/* tree_remove.c */

/*
 * 0 if the directory (O_PATH) holds no entry, having removed leftovers of
 * interrupted operations but not its record; -ENOTEMPTY or another -errno.
 */
int tree_clear_out(struct tree *t, int dirfd);
/* A directory that holds a record at most: away with it, as far as that goes. */
void tree_remove_made(int dirfd, const char *stored);
/*
 * What st says lies at spot is about to lose that name: if it is the last one of
 * something that is neither file nor directory, keep hold of it for whoever else
 * does.  node is what is known of it, or NULL.
 */
void tree_hold(struct node *node, const struct spot *spot, const struct stat *st);
/*
 * What st says lay at spot is gone from there.  node is what was known of it
 * before (afterwards its number may be another one's), or NULL.
 */
void tree_forget_name(struct tree *t, struct node *node, const struct spot *spot,
		      const struct stat *st);

/* tree_make.c */

/*
 * Give what was made at spot to its owner, and the mode that it still lacks: the
 * set-id bits of what is no directory, less than 0700 of a directory.
 */
int tree_give_away(const struct tree *t, const struct spot *spot, const struct caller *caller,
		   mode_t mode);
/* Allow a special file at spot, before it gets there; nothing for other types. */
int tree_allow_special(struct tree *t, const struct spot *spot, mode_t mode, dev_t rdev);

/* tree_rename.c */

/*
 * Seal the symlink at `here` anew, for `there` too unless it is NULL; its
 * backing inode changes, and so does what node stands for.  text has
 * LINKS_TEXT_MAX + 1 bytes and holds what is stored afterwards.
 */
int tree_reseal_link(struct tree *t, struct node *node, int dirfd, const struct links_place *here,
		     const struct links_place *there, char *text);

#endif /* FS_TREE_INTERNAL_H */
