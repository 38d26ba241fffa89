/* SPDX-License-Identifier: MIT */
/*
 * salvage - copy what a check finds to authenticate out of a vault, into a new
 * or empty directory.  Blocks that do not are holes in the copy; everything
 * else is as the mount would show it: names, kinds, links, modes, owners,
 * times, attributes, sparse files.  What is not proven to belong where it was
 * found gets the name under which the mount shows damaged entries.  Nothing
 * is ever overwritten.
 *
 * But for salvage_new and salvage_free, for check_*.c only; without
 * options.salvage each does nothing.
 */
#ifndef FS_SALVAGE_H
#define FS_SALVAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/file.h"

enum {
	SALVAGE_NOT_EMPTY = 1,
	SALVAGE_INSIDE, /* it is in the vault, or the vault itself */
};

struct salvage;
struct check;
struct check_dir;
struct check_entry;

/*
 * Copy to the directory path, made if need be: 0, SALVAGE_* or -errno.
 * vault_fd is the vault's directory.
 */
int salvage_new(const char *path, int vault_fd, struct salvage **out);
void salvage_free(struct salvage *s);

/* The copy of a directory. */
struct salvage_dir {
	int fd; /* -1: there is none */
};

#define SALVAGE_NOWHERE ((struct salvage_dir){ -1 })

void salvage_begin_dir(struct check *c, struct check_dir *dir);
/* When all in it is done. */
void salvage_end_dir(struct check *c, struct check_dir *dir);

/* The copy of a regular file. */
struct salvage_file {
	int fd;		  /* -1: there is none */
	atomic_int error; /* errno of the first write that failed, or 0 */
};

#define SALVAGE_NO_FILE ((struct salvage_file){ -1, 0 })

/* With first_name a new file, else another name of one that is there. */
void salvage_begin_file(struct check *c, const struct check_entry *entry, bool in_place,
			bool first_name, struct salvage_file *copy);
/* A piece of its content; by several threads at once. */
void salvage_write(struct check *c, struct salvage_file *copy, const void *data, size_t size,
		   uint64_t at);
void salvage_end_file(struct check *c, const struct check_entry *entry, const struct file *file,
		      struct salvage_file *copy, const struct file_state *state);

void salvage_symlink(struct check *c, const struct check_entry *entry, const char *target);
void salvage_special(struct check *c, const struct check_entry *entry);

#endif /* FS_SALVAGE_H */
