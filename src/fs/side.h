/* SPDX-License-Identifier: MIT */
/*
 * side - a tree of files to copy from or to, or to compare: a plain directory
 * or an open vault, behind the same functions.  What copies, compares or
 * re-encrypts (copy.h, compare.h) sees nothing else.
 *
 * A node is something in the tree that was found or made, held until
 * side_drop.  Nothing follows a symlink but side_find_path below AT_FDCWD, on the way.  Every
 * function may be called from any thread, each with a hand of its own, and answers 0 or a negative
 * errno; what does not authenticate in a vault is -EBADMSG, and one line with its stored path is in
 * the log.
 */
#ifndef FS_SIDE_H
#define FS_SIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/io.h"
#include "fs/newfile.h"
#include "fs/tree.h"

enum {
	SIDE_MAX_SIZE = IO_MAX_SIZE, /* bytes of one read or write */
	SIDE_TARGET_MAX = 4096,	     /* a symlink's target with its end */
};

struct side;
struct side_ops;

/* What one thread works with. */
struct side_hand {
	struct side *side;
	struct io *io;	 /* of a vault */
	uint8_t *buffer; /* of a plain directory */
};

struct side_node {
	struct stat st; /* as when it was found or made; sizes are the plaintext's */
	bool is_dense;	/* a regular file without holes, as far as that is known */

	/* The side's own. */
	struct node *node;			/* vault: looked up once */
	int fd;					/* plain: of directories and open files, else -1 */
	int dirfd;				/* plain: the directory's it is in, borrowed */
	int own_dirfd;				/* plain: the same, if it is the node's; or -1 */
	const char *name;			/* plain: in there; borrowed */
	bool is_open;				/* vault: a file to read or write */
	bool is_unnamed;			/* made by side_create and not named yet */
	char temporary[NEWFILE_TEMPORARY_SIZE]; /* its name until then, where it must have one */
};

#define SIDE_NODE_NONE                                                                             \
	{                                                                                          \
		.fd = -1, .dirfd = -1, .own_dirfd = -1, .name = ""                                 \
	}

/* The plain tree below root_fd (borrowed), or AT_FDCWD for paths of the caller's. */
int side_plain_new(int root_fd, struct side **out);
/* The vault's tree (borrowed); store is the one that it was made with. */
int side_vault_new(const struct store *store, struct tree *tree, struct side **out);
/* NULL is fine. */
void side_free(struct side *s);

bool side_is_vault(const struct side *s);

/* In a vault, a slot of its engine: -EBUSY when there is none. */
int side_hand_new(struct side *s, struct side_hand *hand);
/* {0} is fine. */
void side_hand_free(struct side_hand *hand);

/* ---- finding ------------------------------------------------------------- */

/* By a path below the root; "" or "." is the root.  Plain paths are taken as open(2) does. */
int side_find_path(struct side_hand *h, const char *path, struct side_node *node);
/* name and dir stay borrowed as long as the node is held. */
int side_find(struct side_hand *h, const struct side_node *dir, const char *name,
	      struct side_node *node);
void side_drop(struct side_hand *h, struct side_node *node);
/* What is known of an open file now: st anew. */
int side_stat(struct side_hand *h, struct side_node *node);

/*
 * Whether whoever made a regular file died before it was on disk for sure: 1, 0 or -errno.
 * Never of a plain file, of which nobody knows.
 */
int side_is_suspect(struct side_hand *h, const struct side_node *node);

/*
 * All names in a directory, in the order of strcmp: *names is the caller's to free
 * with side_names_free.  Those that do not authenticate are there as a mount shows them;
 * looking at what they stand for is up to the caller.
 */
struct side_name {
	char *text;
	bool is_damaged;
};
int side_list(struct side_hand *h, const struct side_node *dir, struct side_name **names,
	      size_t *n);
void side_names_free(struct side_name *names, size_t n);

/* ---- reading ------------------------------------------------------------- */

/* A regular file, for reading; side_drop closes it. */
int side_open(struct side_hand *h, struct side_node *node);
/*
 * Up to size (at most SIDE_MAX_SIZE) bytes: *data points to where they are until the
 * hand is used again, which is `buffer` (SIDE_MAX_SIZE bytes) for a plain file;
 * *done is 0 at the end.
 */
int side_read(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
	      void *buffer, const void **data, size_t *done);
/* As lseek(2) with SEEK_HOLE or SEEK_DATA: -ENXIO behind the last byte of data. */
int side_seek(struct side_hand *h, struct side_node *node, uint64_t offset, bool hole,
	      uint64_t *found);
int side_readlink(struct side_hand *h, const struct side_node *node, char target[SIDE_TARGET_MAX]);
/* As flistxattr(2) and fgetxattr(2): a count, or -errno. */
ssize_t side_listxattr(struct side_hand *h, const struct side_node *node, char *list, size_t size);
ssize_t side_getxattr(struct side_hand *h, const struct side_node *node, const char *name,
		      void *value, size_t size);

/* ---- making and changing ------------------------------------------------------ */

/* Each is ours, with no more rights than 0700 until side_dress.  -EEXIST. */
int side_mkdir(struct side_hand *h, const struct side_node *dir, const char *name,
	       struct side_node *node);
int side_symlink(struct side_hand *h, const struct side_node *dir, const char *name,
		 const char *target, struct side_node *node);
int side_mknod(struct side_hand *h, const struct side_node *dir, const char *name, mode_t mode,
	       dev_t rdev, struct side_node *node);
/* Another name for a node: -EEXIST; -EPERM for a symlink of a vault. */
int side_link(struct side_hand *h, const struct side_node *node, const struct side_node *dir,
	      const char *name);
/*
 * A regular file, open for writing, that will be in dir but is not seen there before
 * side_name; without that, side_drop leaves nothing of it.  (Where the filesystem
 * has no O_TMPFILE it is seen as ".cryptfs-tmp." and 16 digits.)
 */
int side_create(struct side_hand *h, const struct side_node *dir, struct side_node *node);
int side_name(struct side_hand *h, const struct side_node *dir, struct side_node *node,
	      const char *name);
/* Where the data of a write is best put: SIDE_MAX_SIZE bytes. */
void *side_buffer(struct side_hand *h);
int side_write(struct side_hand *h, struct side_node *node, uint64_t offset, const void *data,
	       size_t size);
int side_set_size(struct side_hand *h, struct side_node *node, uint64_t size);
int side_setxattr(struct side_hand *h, const struct side_node *node, const char *name,
		  const void *value, size_t size);
int side_removexattr(struct side_hand *h, const struct side_node *node, const char *name);
/* Owner (first, as it takes set-id bits away), mode or times; `what` is of TREE_SET_*. */
int side_set(struct side_hand *h, const struct side_node *node, const struct stat *st,
	     unsigned int what);
/* Within a directory, in the place of what is there. */
int side_rename(struct side_hand *h, const struct side_node *dir, const char *old_name,
		const char *new_name);
int side_unlink(struct side_hand *h, const struct side_node *dir, const char *name);

/* ---- for the sides themselves ------------------------------------------------ */

struct side {
	const struct side_ops *ops;
};

/* The functions above, without `side_`. */
struct side_ops {
	int (*hand_new)(struct side_hand *h);
	void (*hand_free)(struct side_hand *h);
	int (*find_path)(struct side_hand *h, const char *path, struct side_node *node);
	int (*find)(struct side_hand *h, const struct side_node *dir, const char *name,
		    struct side_node *node);
	void (*drop)(struct side_hand *h, struct side_node *node);
	int (*stat)(struct side_hand *h, struct side_node *node);
	int (*is_suspect)(struct side_hand *h, const struct side_node *node);
	/* Calls add for each name but "." and ".."; ends with what it answers if that is not 0. */
	int (*list)(struct side_hand *h, const struct side_node *dir,
		    int (*add)(void *arg, const char *name, bool is_damaged), void *arg);
	int (*open)(struct side_hand *h, struct side_node *node);
	int (*read)(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
		    void *buffer, const void **data, size_t *done);
	int (*seek)(struct side_hand *h, struct side_node *node, uint64_t offset, bool hole,
		    uint64_t *found);
	int (*readlink)(struct side_hand *h, const struct side_node *node, char *target);
	ssize_t (*listxattr)(struct side_hand *h, const struct side_node *node, char *list,
			     size_t size);
	ssize_t (*getxattr)(struct side_hand *h, const struct side_node *node, const char *name,
			    void *value, size_t size);
	int (*mkdir)(struct side_hand *h, const struct side_node *dir, const char *name,
		     struct side_node *node);
	int (*symlink)(struct side_hand *h, const struct side_node *dir, const char *name,
		       const char *target, struct side_node *node);
	int (*mknod)(struct side_hand *h, const struct side_node *dir, const char *name,
		     mode_t mode, dev_t rdev, struct side_node *node);
	int (*link)(struct side_hand *h, const struct side_node *node, const struct side_node *dir,
		    const char *name);
	int (*create)(struct side_hand *h, const struct side_node *dir, struct side_node *node);
	int (*name)(struct side_hand *h, const struct side_node *dir, struct side_node *node,
		    const char *name);
	void *(*buffer)(struct side_hand *h);
	int (*write)(struct side_hand *h, struct side_node *node, uint64_t offset, const void *data,
		     size_t size);
	int (*set_size)(struct side_hand *h, struct side_node *node, uint64_t size);
	int (*setxattr)(struct side_hand *h, const struct side_node *node, const char *name,
			const void *value, size_t size);
	int (*removexattr)(struct side_hand *h, const struct side_node *node, const char *name);
	int (*set)(struct side_hand *h, const struct side_node *node, const struct stat *st,
		   unsigned int what);
	int (*rename)(struct side_hand *h, const struct side_node *dir, const char *old_name,
		      const char *new_name);
	int (*unlink)(struct side_hand *h, const struct side_node *dir, const char *name);
	void (*free)(struct side *s);
};

#endif /* FS_SIDE_H */
