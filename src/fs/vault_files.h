/* SPDX-License-Identifier: MIT */
/*
 * vault_files - the two copies of a vault's configuration as files: read with
 * care, replaced atomically.
 */
#ifndef FS_VAULT_FILES_H
#define FS_VAULT_FILES_H

#include <stdbool.h>

#include "fs/vault_config.h"

enum vault_copy {
	VAULT_PRIMARY,
	VAULT_BACKUP,
};

/* "cryptfs.conf", "cryptfs.conf.bak" */
const char *vault_files_name(enum vault_copy copy);

/*
 * Read and decode one copy in the directory: 0, VAULT_NOT_FOUND when it is
 * not there, VAULT_DAMAGED (also what is no regular file, or unreadable by
 * the disk's fault), VAULT_TOO_NEW or -errno; problem says why.
 */
int vault_files_load(int dirfd, enum vault_copy copy, struct vault_config *config,
		     struct vault_config_problem *problem);

/* The same of any file, by its path. */
int vault_files_load_path(const char *path, struct vault_config *config,
			  struct vault_config_problem *problem);

/*
 * Write the configuration to a new file of mode 0600, durably: 0 or -errno
 * (-EEXIST: there is one), nothing being left then.
 */
int vault_files_save_path(const char *path, const struct vault_config *config);

/*
 * Put both copies in place, each durable before its name is: 0, or -errno
 * with the old primary in force (after a failed sync of the directory only
 * the next open can tell which one is).  That the backup could not be written
 * is only logged: the primary is in force by then.  create refuses to replace
 * (-EEXIST).
 */
int vault_files_store(int dirfd, const struct vault_config *config, bool create);

/* What an interrupted replacement leaves: "cryptfs.conf.tmp". */
const char *vault_files_temporary(void);

/* 1 if tree/ is empty or missing, 0, or -errno. */
int vault_files_tree_is_empty(int dirfd);

/* 1 if there is nothing but what an interrupted creation leaves, 0, or -errno. */
int vault_files_is_blank(int dirfd);

/* 1 if there is nothing but a vault that nothing was ever put into, 0, or -errno. */
int vault_files_is_unused(int dirfd);

/*
 * Undo a creation, finished or not, whose tree has no entries yet: 0 or -errno.
 * Only for who holds the vault's lock and knows that the files are his.
 */
int vault_files_clear(int dirfd);

#endif /* FS_VAULT_FILES_H */
