/* SPDX-License-Identifier: MIT */
/*
 * Another master key: see vault_rotate.h for the contract.
 *
 *   flag       VAULT/cryptfs.conf  VAULT/tree  VAULT/rotate
 *   none       old                 old         nothing, or an empty vault
 *   rotating   old                 old         new configuration, part of the tree
 *   rotating   old                 new         new configuration, the old tree
 *   rotated    new                 new         what is left of that
 *   none       new                 new         nothing
 */
#include "fs/vault_rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/secmem.h"
#include "fs/dirrec.h"
#include "fs/remove.h"
#include "fs/vault_internal.h"
#include "fs/vault_why.h"

int vault_rotate_open(const char *path, struct vault **out)
{
	const struct vault_opening how = {
		.dirfd = AT_FDCWD, .path = path, .lock = VAULT_EXCLUSIVE, .rotates = true
	};

	return vault_open_as(&how, out);
}

bool vault_rotate_is_there(const struct vault *v)
{
	return !faccessat(v->fd, VAULT_ROTATE_DIR, F_OK, AT_SYMLINK_NOFOLLOW);
}

static int sync_dir(int fd)
{
	return fsync(fd) ? -errno : 0;
}

/* ---- how far ------------------------------------------------------------- */

/* Whether VAULT/tree is under these keys, beyond doubt. */
static bool is_tree_of(const struct vault *v, const struct keyring *keys)
{
	struct format_dir_record record;

	return dirrec_read(v->tree_fd, keys, true, &record) == 0;
}

/* The new configuration takes the place of the old one; v and next change roles with it. */
static int install(struct vault *v, struct vault *next)
{
	struct vault_config *config = malloc(sizeof(*config));
	struct keyring *keys = v->keys;
	int r;

	if (!config)
		return -ENOMEM;
	*config = *vault_config_of(next);
	config->rotation = VAULT_SWITCHED;
	v->keys = next->keys;
	next->keys = keys;
	r = vault_finish_change(v, config, 0);
	if (r) {
		next->keys = v->keys;
		v->keys = keys;
		return r;
	}
	v->current = VAULT_PRIMARY;
	v->unlocked = next->unlocked;
	return 0;
}

/* The new vault, unlocked: also VAULT_NOT_FOUND and VAULT_DAMAGED, when it is not whole. */
static int open_next(struct vault *v, const struct vault_secret *secret, struct vault **next)
{
	const struct vault_opening how = { .dirfd = v->fd,
					   .path = VAULT_ROTATE_DIR,
					   .lock = VAULT_EXCLUSIVE };
	int r = vault_open_as(&how, next);

	if (!r)
		r = vault_unlock(*next, secret);
	if (r) {
		vault_close(*next);
		*next = NULL;
	}
	return r;
}

int vault_rotate_look(struct vault *v, const struct vault_secret *secret,
		      enum vault_rotation *rotation, struct vault **next)
{
	int r;

	*next = NULL;
	*rotation = vault_config_of(v)->rotation;
	if (*rotation != VAULT_COPYING)
		return 0;
	r = open_next(v, secret, next);
	if (r == VAULT_WRONG_KEY)
		vault_why_set("its rotation drops this key (give one that it keeps)");
	if (r && r != VAULT_NOT_FOUND && r != VAULT_DAMAGED)
		return r;
	if (is_tree_of(v, v->keys)) {
		/* Whatever there is of the new one, the old one is whole: begin anew. */
		*rotation = r ? VAULT_NOT_ROTATING : VAULT_COPYING;
		return 0;
	}
	if (!r)
		r = is_tree_of(v, (*next)->keys) ? install(v, *next) : VAULT_DAMAGED;
	if (r > 0)
		vault_why_set("damaged: its tree belongs to neither key of its rotation");
	vault_close(*next);
	*next = NULL;
	*rotation = VAULT_SWITCHED;
	return r;
}

int vault_rotate_slot(const struct vault *v, const struct vault_secret *secret, uint32_t *id)
{
	const struct vault_config *config = &v->copies[v->current].config;
	struct vault_derived *d = secmem_new(sizeof(*d));
	uint32_t index = 0;
	int r;

	vault_why_clear();
	if (!d)
		return -ENOMEM;
	r = vault_find_slot(config, secret, d, &index);
	if (!r)
		*id = config->slots[index].info.id;
	secmem_free(d);
	return r;
}

/* ---- beginning ----------------------------------------------------------- */

/* The new wrapping of a slot; recovery words are sealed as what they stand for. */
static int seal_kept(const struct vault_config *config, struct vault_config_slot *slot,
		     const struct vault_secret *secret, const uint8_t master[KEYS_MASTER_SIZE])
{
	struct vault_derived *d = secmem_new(sizeof(*d));
	struct vault_secret words = { 0 };
	unsigned int unknown;
	int r = d ? 0 : -ENOMEM;

	if (!r && slot->info.kind == VAULT_RECOVERY && secret->kind != VAULT_RECOVERY) {
		r = recovery_decode(secret->bytes, secret->size, d->words, &unknown) ? -EINVAL : 0;
		words = (struct vault_secret){ d->words, sizeof(d->words), VAULT_RECOVERY };
		secret = &words;
	}
	if (!r)
		r = vault_slot_seal(config, slot, secret, master);
	secmem_free(d);
	return r;
}

/* The same vault with another master key and only these slots. */
static int make_config(const struct vault_config *old, const struct vault_rotate_key *keys,
		       size_t n, struct vault_config *config, struct keyring *ring)
{
	uint8_t *master = secmem_new(KEYS_MASTER_SIZE);
	int r;

	if (!master)
		return -ENOMEM;
	memset(config, 0, sizeof(*config));
	memcpy(config->id, old->id, sizeof(config->id));
	config->suite = old->suite;
	config->created = old->created;
	randombytes_buf(master, KEYS_MASTER_SIZE);
	r = keys_derive(master, ring);
	for (size_t i = 0; i < n && !r; i++) {
		uint32_t index = vault_slot_index(old, keys[i].id);
		struct vault_config_slot *slot = &config->slots[i];

		if (index == old->n_slots) {
			r = VAULT_NO_SLOT;
			break;
		}
		slot->info = old->slots[index].info;
		config->n_slots++;
		r = seal_kept(config, slot, keys[i].secret, master);
	}
	if (!r)
		r = vault_config_mac(config, ring, config->mac);
	secmem_free(master);
	return r;
}

/*
 * Whether tree/ can change places with another directory: tried with two that have
 * names of a vault's, so that after a death they are known to be ours.
 */
static int try_exchange(int fd)
{
	const char *other = vault_files_temporary();
	int r;

	if (mkdirat(fd, "tree", 0700) || mkdirat(fd, other, 0700))
		r = -errno;
	else
		r = renameat2(fd, "tree", fd, other, RENAME_EXCHANGE) ? -errno : 0;
	(void)unlinkat(fd, "tree", AT_REMOVEDIR); /* if it stays, populating fails */
	(void)unlinkat(fd, other, AT_REMOVEDIR);
	if (r == -EINVAL || r == -ENOSYS) {
		vault_why_set("its filesystem cannot exchange two directories in one step "
			      "(rotate it on another one)");
		r = -EOPNOTSUPP;
	}
	return r;
}

static int remove_rotation(struct vault *v)
{
	int r = remove_directory(v->fd, VAULT_ROTATE_DIR);

	return r ? r : sync_dir(v->fd);
}

/* What a beginning that was cut off left may go; something else may not. */
static int clear_leftover(struct vault *v)
{
	int fd;
	int r;

	if (vault_config_of(v)->rotation == VAULT_COPYING)
		return is_tree_of(v, v->keys) ? remove_rotation(v) : VAULT_DAMAGED;
	fd = openat(v->fd, VAULT_ROTATE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT			    ? 0
		       : errno == ENOTDIR || errno == ELOOP ? VAULT_EXISTS
							    : -errno;
	r = vault_files_is_unused(fd);
	fdio_close(fd);
	return r < 0 ? r : r ? remove_rotation(v) : VAULT_EXISTS;
}

static int make_next(struct vault *v, const struct vault_config *config, const struct keyring *ring)
{
	int fd = -1;
	int r;

	r = clear_leftover(v);
	if (r == VAULT_EXISTS)
		vault_why_set("there is something in %s/" VAULT_ROTATE_DIR " (move it away)",
			      v->path);
	if (r)
		return r;
	if (mkdirat(v->fd, VAULT_ROTATE_DIR, 0700))
		return -errno;
	fd = openat(v->fd, VAULT_ROTATE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : try_exchange(fd);
	if (!r)
		r = vault_populate(fd, config, ring);
	fdio_close(fd);
	if (!r)
		r = sync_dir(v->fd);
	if (r)
		(void)remove_rotation(v); /* the failure before it counts */
	return r;
}

static int set_rotation(struct vault *v, enum vault_rotation rotation)
{
	struct vault_config *config;
	int r;

	config = vault_start_change(v, &r);
	if (!config)
		return r;
	config->rotation = rotation;
	return vault_finish_change(v, config, 0);
}

int vault_rotate_begin(struct vault *v, const struct vault_rotate_key *keys, size_t n)
{
	struct vault_config *config = NULL;
	struct keyring *ring = NULL;
	int r = -ENOMEM;

	vault_why_clear();
	if (!v->keys || v->lock != VAULT_EXCLUSIVE || n < 1 || n > VAULT_MAX_SLOTS)
		return -EINVAL;
	config = malloc(sizeof(*config));
	ring = secmem_new(sizeof(*ring));
	if (config && ring)
		r = make_config(vault_config_of(v), keys, n, config, ring);
	if (!r)
		r = make_next(v, config, ring);
	if (!r)
		r = set_rotation(v, VAULT_COPYING);
	secmem_free(ring);
	free(config);
	return r;
}

/* ---- ending -------------------------------------------------------------- */

static void swap(int *a, int *b)
{
	int c = *a;

	*a = *b;
	*b = c;
}

int vault_rotate_switch(struct vault *v, struct vault *next)
{
	int r;

	vault_why_clear();
	if (vault_config_of(v)->rotation != VAULT_COPYING || !v->keys || !next->keys)
		return -EINVAL;
	if (renameat2(v->fd, "tree", next->fd, "tree", RENAME_EXCHANGE))
		return -errno;
	swap(&v->tree_fd, &next->tree_fd);
	swap(&v->mounted_fd, &next->mounted_fd);
	r = sync_dir(v->fd);
	if (!r)
		r = sync_dir(next->fd);
	return r ? r : install(v, next);
}

int vault_rotate_finish(struct vault *v)
{
	int r;

	vault_why_clear();
	if (!v->keys || vault_config_of(v)->rotation != VAULT_SWITCHED || !is_tree_of(v, v->keys))
		return -EINVAL;
	r = remove_rotation(v);
	return r ? r : set_rotation(v, VAULT_NOT_ROTATING);
}

int vault_rotate_abort(struct vault *v)
{
	int r;

	vault_why_clear();
	if (!v->keys || vault_config_of(v)->rotation != VAULT_COPYING || !is_tree_of(v, v->keys))
		return -EINVAL;
	r = remove_rotation(v);
	return r ? r : set_rotation(v, VAULT_NOT_ROTATING);
}
