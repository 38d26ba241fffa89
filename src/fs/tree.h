/* SPDX-License-Identifier: MIT */
/*
 * tree - the encrypted tree as a filesystem: lookup, listing, making,
 * removing, renaming, attributes, and open files.  Knows nothing of FUSE.
 *
 * Every function may be called from any thread, each with its own io, and
 * returns 0 or a negative errno.  Damage (a name, record, header or block
 * that does not authenticate) is -EIO and one line in the log.
 *
 * Nodes that are handed out "for the kernel" count as looked up once; give
 * them back with tree_forget.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "fs/io.h"
#include "fs/node.h"

struct tree;

/* Who asks: new things belong to them where this process may give them away. */
struct caller {
	uid_t uid;
	gid_t gid;
	mode_t umask; /* where a default ACL does not take its place */
};

struct tree_entry {
	struct node *node; /* for the kernel */
	struct stat st;	   /* size is the plaintext's */
};

/* What tree_setattr is to change: bits of `valid`. */
enum {
	TREE_SET_MODE = 1 << 0,
	TREE_SET_UID = 1 << 1,
	TREE_SET_GID = 1 << 2,
	TREE_SET_SIZE = 1 << 3,
	TREE_SET_ATIME = 1 << 4, /* st_atim, whose tv_nsec may be UTIME_NOW */
	TREE_SET_MTIME = 1 << 5,
	TREE_KILL_SET_ID = 1 << 6, /* as tree_kill_set_id */
	TREE_BY_NAME = 1 << 7,	   /* not through a handle that may write */
};

/*
 * A tree below root_fd (O_PATH, borrowed), with what its files share
 * (borrowed).  An empty root without a record gets one.
 */
int tree_new(const struct store *store, int root_fd, struct tree **out);
void tree_free(struct tree *t);

struct nodes *tree_nodes(struct tree *t);

int tree_lookup(struct tree *t, struct node *dir, const char *name, struct tree_entry *entry);
/*
 * Correct the size of an entry that was looked up, in case a death cut off a
 * change of it: then only the file's header knows.  Costs nothing for a file
 * that was settled, or that this mount has opened before.
 */
void tree_correct_size(struct tree *t, struct io *io, struct tree_entry *entry);
int tree_getattr(struct tree *t, struct node *node, struct stat *st);
/* What access(2) says to the user we run as: mask is of R_OK, W_OK, X_OK. */
int tree_access(struct tree *t, struct node *node, int mask);

int tree_setattr(struct tree *t, struct io *io, struct node *node, const struct stat *attr,
		 unsigned int valid, struct stat *st);
int tree_statfs(struct tree *t, struct statvfs *st);

/* ---- making and removing ------------------------------------------------- */

int tree_mkdir(struct tree *t, struct node *dir, const char *name, mode_t mode,
	       const struct caller *caller, struct tree_entry *entry);
int tree_mknod(struct tree *t, struct io *io, struct node *dir, const char *name, mode_t mode,
	       dev_t rdev, const struct caller *caller, struct tree_entry *entry);
int tree_symlink(struct tree *t, struct node *dir, const char *name, const char *target,
		 const struct caller *caller, struct tree_entry *entry);
int tree_link(struct tree *t, struct io *io, struct node *node, struct node *dir, const char *name,
	      struct tree_entry *entry);
/* Make a regular file and open it, as by tree_open. */
int tree_create(struct tree *t, struct io *io, struct node *dir, const char *name, mode_t mode,
		const struct caller *caller, struct tree_entry *entry);
/*
 * The same without a name, as by O_TMPFILE: tree_link can give it one while it
 * is open.  -EOPNOTSUPP where the backing filesystem cannot do that.
 */
int tree_create_nameless(struct tree *t, struct io *io, struct node *dir, mode_t mode,
			 const struct caller *caller, struct tree_entry *entry);
int tree_unlink(struct tree *t, struct node *dir, const char *name);
int tree_rmdir(struct tree *t, struct node *dir, const char *name);
/*
 * flags: RENAME_NOREPLACE, RENAME_WHITEOUT (the old name becomes the character
 * device 0:0, the caller's) or RENAME_EXCHANGE alone; others are -EINVAL.
 */
int tree_rename(struct tree *t, struct io *io, struct node *from, const char *old_name,
		struct node *to, const char *new_name, unsigned int flags,
		const struct caller *caller);
/* target has LINKS_PLAIN_MAX + 1 bytes. */
int tree_readlink(struct tree *t, struct node *node, char *target);

/* ---- open files ---------------------------------------------------------- */

/*
 * Open a regular file; flags are open(2)'s, of which the access mode and
 * O_TRUNC count.  *keep_cache: the kernel's pages of it are still true.
 */
int tree_open(struct tree *t, struct io *io, struct node *node, int flags, bool *keep_cache);
void tree_release(struct tree *t, struct node *node);
/* Whether a regular file has one handle only, and nobody else is at it at the moment. */
bool tree_is_open_once(struct tree *t, struct node *node);
/* Whether a writer that died left a regular file unsealed: 1, 0 or -errno. */
int tree_is_suspect(struct tree *t, struct io *io, struct node *node);

/* As file_read, file_write and file_sync, of a node that is open. */
int tree_read(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
	      const void **data, size_t *done);
int tree_write(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
	       bool append);
/* As file_allocate and file_seek. */
int tree_allocate(struct tree *t, struct io *io, struct node *node, const struct file_range *range);
int tree_seek(struct node *node, uint64_t offset, bool hole, uint64_t *found);

enum { TREE_COPY_MAX = 16 * 1024 * 1024 }; /* bytes at once, so that a signal is not kept waiting */

struct tree_copy {
	struct node *from, *to; /* both open, to for writing; may be one, if nothing overlaps */
	uint64_t from_offset, to_offset;
	uint64_t size;
};

/*
 * Copy a range from file to file, holes of whole blocks as holes: how many
 * bytes, which may be fewer and is 0 at the end of the source; or -errno.
 */
ssize_t tree_copy(struct tree *t, struct io *io, const struct tree_copy *copy);

/*
 * Somebody without the right to them changed an open file: its set-id bits go,
 * S_ISGID where the group may run it.
 */
void tree_kill_set_id(struct node *node);
int tree_fsync(struct tree *t, struct node *node, bool data_only);
int tree_fsyncdir(struct tree *t, struct node *dir);

/*
 * Put in place, durably, what is in the journal (see journal.h): 0 or -errno,
 * then it stays there.
 */
int tree_checkpoint(struct tree *t);

/* The kernel is gone: empty the journal, close what nobody will release any more. */
void tree_let_go(struct tree *t);

/* Have the file of a node, if it is open and was written to, settled with the others. */
void tree_settle_open(struct tree *t, struct node *node);

/*
 * Settle files and directories that have been left alone for a while (see
 * docs/format.md); with all, every one, after syncing the backing filesystem
 * once: for when nobody uses the tree any more.
 */
void tree_settle(struct tree *t, struct io *io, bool all);

/* ---- listing ------------------------------------------------------------- */

struct listing;

struct listing_item {
	char name[NAMES_PLAIN_MAX + 1];
	char stored[NAMES_STORED_MAX + 1];
	ino_t ino;
	uint32_t type; /* S_IFMT bits, or 0 when the backing does not say */
	off_t next;    /* where to go on after this one */
	bool is_dot;   /* "." or ".." */
	bool damaged;  /* shown under a name that says so */
};

/*
 * *keep_cache: whatever listing of it the kernel kept from earlier, it still
 * knows all the entries, too (given out by tree_list_lookup).
 */
int tree_opendir(struct tree *t, struct node *dir, struct listing **out, bool *keep_cache);
void tree_closedir(struct tree *t, struct listing *l);

/*
 * The item at offset (0, or the `next` of an item); asking for the same
 * offset again gives the same item.  0, or -ENOENT at the end.
 */
int tree_list(struct tree *t, struct listing *l, off_t offset, struct listing_item *item);

/* Look an item up, as tree_lookup: -ENOENT if it is gone meanwhile. */
int tree_list_lookup(struct tree *t, struct listing *l, const struct listing_item *item,
		     struct tree_entry *entry);

/*
 * The name that a node was found under, as it is shown, and the directory, with
 * a reference: 0, -ESTALE if there are not so many names, or another -errno.
 */
int tree_shown(struct tree *t, struct node *node, unsigned int index, struct node **dir,
	       char name[NAMES_PLAIN_MAX + 1]);

/* The kernel forgets n lookups of a node. */
void tree_forget(struct tree *t, struct node *node, uint64_t n);

/* True if somebody has the file open at this moment. */
bool tree_is_open(struct node *node);

/* ---- extended attributes ------------------------------------------------- */

/* As they are stored; there with `acl` only. */
#define TREE_ACL_ACCESS	 "system.posix_acl_access"
#define TREE_ACL_DEFAULT "system.posix_acl_default"

/* size 0 asks for the size; -ERANGE if it is too small.  A count or -errno. */
ssize_t tree_getxattr(struct tree *t, struct io *io, struct node *node, const char *name,
		      void *value, size_t size);
ssize_t tree_listxattr(struct tree *t, struct io *io, struct node *node, char *list, size_t size);
int tree_setxattr(struct tree *t, struct io *io, struct node *node, const char *name,
		  const void *value, size_t size, int flags);
int tree_removexattr(struct tree *t, struct io *io, struct node *node, const char *name);

#endif /* FS_TREE_H */
