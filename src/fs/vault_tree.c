/* SPDX-License-Identifier: MIT */
/* From a vault to its tree: see vault_tree.h for the contract. */
#include "fs/vault_tree.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/dirrec.h"
#include "fs/exitcode.h"
#include "fs/journal.h"
#include "fs/replay.h"

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

int vault_tree_replay(const char *path, const struct vault *v, const struct store *store)
{
	struct replay_result result = { 0 };
	struct io *io;
	int r = io_new(store, &io);

	if (!r) {
		r = replay_vault(store, io, vault_fd(v), vault_tree_fd(v), &result);
		io_free(io);
	}
	if (r) {
		log_error("cannot put the journal of %s in place: %s (what is read-only does "
			  "without)",
			  path, strerror(-r));
		return STATUS_SYSTEM;
	}
	if (result.n_records && store->read_only)
		log_warn("%s was not unmounted: until it is mounted read-write, some of what was "
			 "written last is not shown, or cannot be read",
			 path);
	else if (result.n_records)
		log_info("%s was not unmounted: put %zu records of %zu files in place", path,
			 result.n_records, result.n_found);
	return STATUS_OK;
}

/* Without one changes are made in place: that is said, and no failure. */
static void open_journal(const struct vault *v, struct store *store)
{
	int r = journal_new(vault_fd(v), store->keys, JOURNAL_SIZE, &store->journal);

	if (r)
		log_warn("no journal: %s; a power failure may cost more than it should",
			 strerror(-r));
}

void vault_tree_close(struct store *store, struct tree *tree)
{
	tree_free(tree);
	journal_free(store->journal);
	store->journal = NULL;
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
	if (!r)
		r = vault_tree_replay(path, v, store);
	if (r)
		return r;
	/* Who adds beside others changes nothing that may be durable, and a journal is one's own.
	 */
	if (vault_lock_of(v) == VAULT_EXCLUSIVE && !store->read_only && store->suite != CIPHER_XOR)
		open_journal(v, store);
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
