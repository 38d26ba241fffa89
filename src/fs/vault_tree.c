/* SPDX-License-Identifier: MIT */
/* From a vault to its tree: see vault_tree.h for the contract. */
#include "fs/vault_tree.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/dirrec.h"
#include "fs/exitcode.h"

/* A new vault has a record in its tree: one without anything is not the tree that it had. */
static int check_root(const char *path, int root_fd, const struct store *store)
{
	struct format_dir_record record;
	int r = dirrec_read(root_fd, store->keys, true, &record);

	if (r != DIRREC_MISSING)
		return 0; /* what else is wrong shows */
	log_error("cannot open %s: all that was in tree/ is gone (restore it from a backup)", path);
	return STATUS_DAMAGED;
}

int vault_tree_open(const char *path, const struct vault *v, int root_fd, struct store *store,
		    struct tree **out)
{
	struct vault_info info;
	int r;

	*out = NULL;
	vault_info(v, &info);
	if (info.suite == CIPHER_XOR)
		log_warn("%s uses the xor cipher: this is not encryption and protects nothing",
			 path);
	store->keys = vault_keys(v);
	store->suite = info.suite;
	r = check_root(path, root_fd, store);
	if (r)
		return r;
	r = tree_new(store, root_fd, out);
	if (!r)
		return 0;
	if (r == -EIO) {
		log_error("cannot open %s: its root directory is damaged "
			  "(restore tree/.cryptfs-dir from a backup)",
			  path);
		return STATUS_DAMAGED;
	}
	log_error("cannot open the vault's tree: %s", strerror(-r));
	return STATUS_SYSTEM;
}
