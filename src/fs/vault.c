/* SPDX-License-Identifier: MIT */
/*
 * Vaults: see vault.h for the contract.
 *
 * Both copies of the configuration are kept from vault_open on.  Without a
 * key a damaged copy can look whole (a flipped digit in a salt), so
 * vault_unlock has the last word: a secret that opens only the backup is good
 * exactly if the primary then fails its MAC.  If the primary passes, the
 * secret is an old one that was changed.
 */
#include "fs/vault_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"
#include "fs/dirrec.h"
#include "fs/recovery.h"
#include "fs/vault_config.h"
#include "fs/vault_files.h"
#include "fs/vault_kdf.h"
#include "fs/vault_rotate.h"
#include "fs/vault_why.h"

enum {
	/* A process whose mount is gone has not noticed at once. */
	NOTICE_MS = 5000,
	SETTLE_MS = 120 * 1000, /* how long a settling mount is waited for */
	POLL_MS = 20,
};

/* ---- creating ---------------------------------------------------------- */

int vault_slot_seal(const struct vault_config *config, struct vault_config_slot *slot,
		    const struct vault_secret *secret, const uint8_t master[KEYS_MASTER_SIZE])
{
	struct vault_derived *d = secmem_new(sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	randombytes_buf(slot->salt, sizeof(slot->salt));
	randombytes_buf(slot->nonce, sizeof(slot->nonce));
	r = vault_kdf_run(&slot->info.kdf, slot->salt, secret, d->kek);
	if (!r)
		r = vault_config_wrap(config, slot, d->kek, master);
	secmem_free(d);
	return r;
}

/* Another slot at the end, whose secret is this one. */
static int slot_append(struct vault_config *config, const struct vault_secret *secret,
		       const char *label, const struct vault_kdf *kdf,
		       const uint8_t master[KEYS_MASTER_SIZE])
{
	struct vault_config_slot *slot = &config->slots[config->n_slots];
	uint32_t id = 0;

	if (!label)
		label = vault_kind_name(secret->kind);
	if (!vault_config_label_is_valid(label)) {
		vault_why_set("a label is 1 to 63 bytes of text");
		return -EINVAL;
	}
	for (uint32_t i = 0; i < config->n_slots; i++)
		if (config->slots[i].info.id > id)
			id = config->slots[i].info.id;
	if (id == INT32_MAX)
		return VAULT_SLOTS_FULL;
	slot->info.id = id + 1;
	slot->info.kind = secret->kind;
	strcpy(slot->info.type, vault_kind_name(secret->kind));
	strcpy(slot->info.label, label); /* checked: it fits */
	slot->info.kdf = *kdf;
	config->n_slots++;
	return vault_slot_seal(config, slot, secret, master);
}

/* A new configuration, and the keys that it stands for. */
static int config_create(struct vault_config *config, struct keyring *keys,
			 const struct vault_create *how, const struct vault_secret *secret)
{
	struct vault_kdf kdf = how->kdf;
	struct vault_derived *d = secmem_new(sizeof(*d));
	int r = -ENOMEM;

	memset(config, 0, sizeof(*config));
	if (!d)
		goto out;
	r = vault_kdf_choose(&kdf);
	if (r)
		goto out;
	randombytes_buf(config->id, sizeof(config->id));
	randombytes_buf(d->master, sizeof(d->master));
	config->suite = how->suite;
	config->created = (int64_t)time(NULL);
	r = keys_derive(d->master, keys);
	if (!r)
		r = slot_append(config, secret, how->label, &kdf, d->master);
	if (!r)
		r = vault_config_mac(config, keys, config->mac);
out:
	secmem_free(d);
	return r;
}

/* The record of a new tree, last of all: what has none is no whole vault. */
static int create_record(int dirfd, const struct keyring *keys)
{
	int fd = openat(dirfd, "tree", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : dirrec_make_root(fd, keys);

	fdio_close(fd);
	return r;
}

/* Make the name of a new directory durable; what cannot be opened, cannot. */
static void sync_parent(int dirfd)
{
	int fd = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd))
		log_warn("the directory above the vault could not be synced: %s", strerror(errno));
	fdio_close(fd);
}

int vault_populate(int dirfd, const struct vault_config *config, const struct keyring *keys)
{
	int r = vault_files_clear(dirfd);

	if (!r && mkdirat(dirfd, "tree", 0700))
		r = -errno;
	if (!r)
		r = vault_files_store(dirfd, config, true);
	if (!r)
		r = create_record(dirfd, keys);
	if (r)
		(void)vault_files_clear(dirfd); /* the failure before it counts */
	return r;
}

static int directory_create(const char *path, const struct vault_config *config,
			    const struct keyring *keys)
{
	int fd;
	int r;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? VAULT_EXISTS : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		r = errno == EWOULDBLOCK ? VAULT_EXISTS : -errno;
	} else {
		r = vault_files_is_blank(fd);
		if (r >= 0)
			r = r ? vault_populate(fd, config, keys) : VAULT_EXISTS;
	}
	if (!r)
		sync_parent(fd);
	fdio_close(fd);
	return r;
}

int vault_create_check(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	vault_why_clear();
	if (fd < 0)
		return errno == ENOENT ? 0 : errno == ENOTDIR ? VAULT_EXISTS : -errno;
	r = vault_files_is_blank(fd);
	fdio_close(fd);
	return r < 0 ? r : r ? 0 : VAULT_EXISTS;
}

int vault_create(const char *path, const struct vault_create *how,
		 const struct vault_secret *passphrase)
{
	struct vault_config *config = NULL;
	struct keyring *keys = NULL;
	int r;

	vault_why_clear();
	if (passphrase->size == 0 || passphrase->size > VAULT_PASSPHRASE_MAX)
		return -EINVAL;
	r = vault_create_check(path);
	if (r)
		return r;
	config = malloc(sizeof(*config));
	keys = secmem_new(sizeof(*keys));
	r = config && keys ? config_create(config, keys, how, passphrase) : -ENOMEM;
	if (!r)
		r = directory_create(path, config, keys);
	secmem_free(keys);
	free(config);
	return r;
}

/* ---- opening ----------------------------------------------------------- */

static int open_directory(struct vault *v, const struct vault_opening *how)
{
	v->path = strdup(how->path);
	if (!v->path)
		return -ENOMEM;
	v->fd = openat(how->dirfd, how->path,
		       O_RDONLY | O_DIRECTORY | O_CLOEXEC |
			       (how->dirfd == AT_FDCWD ? 0 : O_NOFOLLOW));
	if (v->fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? VAULT_NOT_FOUND : -errno;
	return 0;
}

static bool has_configuration(const struct vault *v)
{
	return !faccessat(v->fd, vault_files_name(VAULT_PRIMARY), F_OK, AT_SYMLINK_NOFOLLOW) ||
	       !faccessat(v->fd, vault_files_name(VAULT_BACKUP), F_OK, AT_SYMLINK_NOFOLLOW);
}

static int open_tree(struct vault *v)
{
	v->mounted_fd = openat(v->fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (v->mounted_fd >= 0) {
		v->tree_fd = openat(v->mounted_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return v->tree_fd < 0 ? -errno : 0;
	}
	if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return -errno;
	if (!has_configuration(v))
		return VAULT_NOT_FOUND;
	vault_why_set("damaged: the directory tree/ in it is missing");
	return VAULT_DAMAGED;
}

/*
 * Get a lock, waiting for it at most limit_ms; why, if not NULL, is said when
 * it has to be waited for.  Polls: a lock with a limit needs signals otherwise.
 */
static int wait_for_lock(const struct vault *v, int fd, int operation, int limit_ms,
			 const char *why)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

	for (int waited = 0; waited <= limit_ms; waited += POLL_MS) {
		if (!flock(fd, operation | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (waited == 0 && why)
			log_info("%s: %s", v->path, why);
		(void)nanosleep(&pause, NULL); /* shorter by a signal is fine */
	}
	return VAULT_IN_USE;
}

static int lock(struct vault *v, enum vault_lock wanted)
{
	int operation = wanted == VAULT_EXCLUSIVE ? LOCK_EX : LOCK_SH;
	int r;

	v->lock = wanted;
	if (wanted == VAULT_NO_LOCK)
		return 0;
	if (wanted != VAULT_SHARED && faccessat(v->fd, ".", W_OK, AT_EACCESS))
		return -errno;
	r = wait_for_lock(v, v->mounted_fd, operation, NOTICE_MS, NULL);
	if (r)
		return r;
	return wait_for_lock(v, v->fd, operation, SETTLE_MS,
			     "waiting for its last mount to settle");
}

/* Neither copy is of use: never a vault, or one whose configuration is lost. */
static int nothing_usable(const struct vault *v)
{
	const struct vault_stored *primary = &v->copies[VAULT_PRIMARY];
	const struct vault_stored *backup = &v->copies[VAULT_BACKUP];
	int r;

	if (primary->state == VAULT_NOT_FOUND && backup->state == VAULT_NOT_FOUND) {
		r = vault_files_tree_is_empty(v->fd);
		if (r)
			return r < 0 ? r : VAULT_NOT_FOUND;
	}
	vault_why_set("damaged: %s: %s; %s: %s (restore one from a backup)",
		      vault_files_name(VAULT_PRIMARY), primary->problem.text,
		      vault_files_name(VAULT_BACKUP), backup->problem.text);
	return VAULT_DAMAGED;
}

/* Choose the copy to go on with, as far as that can be told without a key. */
static int choose_copy(struct vault *v)
{
	const struct vault_stored *primary = &v->copies[VAULT_PRIMARY];
	const struct vault_stored *backup = &v->copies[VAULT_BACKUP];

	v->current = VAULT_PRIMARY;
	if (primary->state != VAULT_NOT_FOUND && primary->state != VAULT_DAMAGED)
		return primary->state;
	if (backup->state == VAULT_NOT_FOUND || backup->state == VAULT_DAMAGED)
		return nothing_usable(v);
	if (backup->state)
		return backup->state;
	v->current = VAULT_BACKUP;
	log_warn("%s: %s: %s; using %s", v->path, vault_files_name(VAULT_PRIMARY),
		 primary->problem.text, vault_files_name(VAULT_BACKUP));
	return 0;
}

static int load_file(struct vault *v, const char *file)
{
	struct vault_stored *copy = &v->copies[VAULT_PRIMARY];

	v->foreign = true;
	v->current = VAULT_PRIMARY;
	v->copies[VAULT_BACKUP].state = VAULT_NOT_FOUND;
	copy->state = vault_files_load_path(file, &copy->config, &copy->problem);
	if (copy->state == VAULT_NOT_FOUND)
		copy->state = VAULT_DAMAGED;
	if (copy->state == VAULT_DAMAGED)
		vault_why_set("%s: %s", file, copy->problem.text);
	return copy->state;
}

static int load(struct vault *v)
{
	for (enum vault_copy i = VAULT_PRIMARY; i <= VAULT_BACKUP; i++) {
		struct vault_stored *copy = &v->copies[i];

		copy->state = vault_files_load(v->fd, i, &copy->config, &copy->problem);
	}
	return choose_copy(v);
}

/* One whose rotation is unfinished is for who finishes it, or only looks. */
static int rotation_check(struct vault *v)
{
	if (v->lock == VAULT_NO_LOCK || v->rotates)
		return 0;
	if (v->foreign && vault_rotate_is_there(v)) {
		vault_why_set("a rotation of its key is unfinished (if it cannot be finished, "
			      "move %s/" VAULT_ROTATE_DIR " away)",
			      v->path);
		return VAULT_ROTATING;
	}
	return !v->foreign && vault_config_of(v)->rotation ? VAULT_ROTATING : 0;
}

int vault_open_as(const struct vault_opening *how, struct vault **out)
{
	struct vault *v = calloc(1, sizeof(*v));
	int r;

	vault_why_clear();
	*out = NULL;
	if (!v)
		return -ENOMEM;
	v->fd = v->tree_fd = v->mounted_fd = -1;
	v->rotates = how->rotates;
	r = open_directory(v, how);
	if (!r)
		r = open_tree(v);
	if (!r)
		r = lock(v, how->lock);
	if (!r)
		r = how->file ? load_file(v, how->file) : load(v);
	if (!r)
		r = rotation_check(v);
	if (!r) {
		*out = v;
		v = NULL;
	}
	vault_close(v);
	return r;
}

int vault_open(const char *path, enum vault_lock wanted, struct vault **out)
{
	const struct vault_opening how = { .dirfd = AT_FDCWD, .path = path, .lock = wanted };

	return vault_open_as(&how, out);
}

int vault_open_header(const char *path, const char *file, struct vault **out)
{
	const struct vault_opening how = {
		.dirfd = AT_FDCWD, .path = path, .file = file, .lock = VAULT_EXCLUSIVE
	};

	return vault_open_as(&how, out);
}

/* ---- unlocking --------------------------------------------------------- */

/* True if config has the MAC that keys give it. */
static int mac_check(const struct vault_config *config, const struct keyring *keys)
{
	uint8_t mac[VAULT_CONFIG_MAC_SIZE];
	int r = vault_config_mac(config, keys, mac);

	if (r)
		return r;
	return secmem_equal(mac, config->mac, sizeof(mac)) ? 0 : VAULT_DAMAGED;
}

static int try_slot(const struct vault_config *config, const struct vault_config_slot *slot,
		    const struct vault_secret *secret, struct vault_derived *d)
{
	int r = vault_kdf_run(&slot->info.kdf, slot->salt, secret, d->kek);

	return r ? r : vault_config_unwrap(config, slot, d->kek, d->master);
}

/* Try secret on the slots of this kind: 0, d->master and *index; VAULT_WRONG_KEY or -errno. */
static int try_kind(const struct vault_config *config, enum vault_kind kind,
		    const struct vault_secret *secret, struct vault_derived *d, uint32_t *index)
{
	int r = VAULT_WRONG_KEY;

	for (uint32_t i = 0; i < config->n_slots && r == VAULT_WRONG_KEY; i++) {
		if (config->slots[i].info.kind != kind)
			continue;
		*index = i;
		r = try_slot(config, &config->slots[i], secret, d);
	}
	return r;
}

/* Recovery slots, if secret is words for them; else VAULT_WRONG_KEY. */
static int try_words(const struct vault_config *config, const struct vault_secret *secret,
		     struct vault_derived *d, uint32_t *index)
{
	struct vault_secret words = { d->words, sizeof(d->words), VAULT_RECOVERY };
	unsigned int unknown;
	int r = recovery_decode(secret->bytes, secret->size, d->words, &unknown);

	if (!r)
		return try_kind(config, VAULT_RECOVERY, &words, d, index);
	if (r == RECOVERY_UNKNOWN)
		vault_why_set("wrong passphrase; as recovery words: word %u is none (check it)",
			      unknown);
	if (r == RECOVERY_MISTAKEN)
		vault_why_set("wrong passphrase; as recovery words: one is wrong or misplaced "
			      "(compare them with what was written down)");
	return VAULT_WRONG_KEY;
}

/* That no key fits may be because some were not tried. */
static void tell_of_unknown(const struct vault_config *config)
{
	for (uint32_t i = 0; i < config->n_slots; i++)
		if (config->slots[i].info.kind == VAULT_UNKNOWN)
			vault_why_set("wrong passphrase or key; slot %u is of type %s, which needs "
				      "a newer cryptfs",
				      (unsigned int)config->slots[i].info.id,
				      config->slots[i].info.type);
}

/* Each try takes about a second, so the likely slots come first. */
int vault_find_slot(const struct vault_config *config, const struct vault_secret *secret,
		    struct vault_derived *d, uint32_t *index)
{
	static const enum vault_kind other[] = {
		[VAULT_PASSPHRASE] = VAULT_KEYFILE,
		[VAULT_KEYFILE] = VAULT_PASSPHRASE,
	};
	int r;

	if (secret->kind != VAULT_PASSPHRASE && secret->kind != VAULT_KEYFILE)
		return try_kind(config, secret->kind, secret, d, index);
	r = try_words(config, secret, d, index);
	if (r == VAULT_WRONG_KEY)
		r = try_kind(config, secret->kind, secret, d, index);
	if (r == VAULT_WRONG_KEY)
		r = try_kind(config, other[secret->kind], secret, d, index);
	if (r == VAULT_WRONG_KEY && !vault_why())
		tell_of_unknown(config);
	return r;
}

/* Fill v->keys from one copy: 0, VAULT_WRONG_KEY, VAULT_DAMAGED or -errno. */
static int unlock_copy(struct vault *v, enum vault_copy copy, const struct vault_secret *secret)
{
	const struct vault_config *config = &v->copies[copy].config;
	struct vault_derived *d = secmem_new(sizeof(*d));
	uint32_t index = 0;
	int r;

	if (!d)
		return -ENOMEM;
	r = vault_find_slot(config, secret, d, &index);
	if (!r)
		r = keys_derive(d->master, v->keys);
	if (!r)
		r = mac_check(config, v->keys);
	if (!r) {
		v->current = copy;
		v->unlocked = config->slots[index].info.id;
	}
	secmem_free(d);
	return r;
}

static bool copies_differ(const struct vault *v)
{
	const struct vault_stored *a = &v->copies[VAULT_PRIMARY];
	const struct vault_stored *b = &v->copies[VAULT_BACKUP];

	/* Decoding starts from zeros, so that padding compares equal. */
	return a->state != b->state || memcmp(&a->config, &b->config, sizeof(a->config)) != 0;
}

/* The primary did not open, with answer r: is the backup the true one? */
static int unlock_backup(struct vault *v, int r, const struct vault_secret *secret)
{
	int r_backup;

	if (v->copies[VAULT_BACKUP].state || !copies_differ(v))
		return r;
	r_backup = unlock_copy(v, VAULT_BACKUP, secret);
	if (r_backup == VAULT_WRONG_KEY)
		return r;
	if (r_backup)
		return r_backup;
	if (!mac_check(&v->copies[VAULT_PRIMARY].config, v->keys)) {
		v->current = VAULT_PRIMARY; /* whole, and the secret an old one */
		return VAULT_WRONG_KEY;
	}
	log_warn("%s: %s is damaged; using %s", v->path, vault_files_name(VAULT_PRIMARY),
		 vault_files_name(VAULT_BACKUP));
	return 0;
}

/* Whether the keys are those of this tree, as far as its root can tell. */
static bool fits_tree(const struct vault *v)
{
	struct format_dir_record record;

	return dirrec_read(v->tree_fd, v->keys, true, &record) != DIRREC_DAMAGED;
}

/* The primary opened, and is whole, but of another vault: use the backup if that is not. */
static int unlock_fitting(struct vault *v, const struct vault_secret *secret)
{
	if (v->copies[VAULT_BACKUP].state || !copies_differ(v) || fits_tree(v))
		return 0;
	if (!unlock_copy(v, VAULT_BACKUP, secret) && fits_tree(v)) {
		log_warn("%s: %s belongs to another vault; using %s", v->path,
			 vault_files_name(VAULT_PRIMARY), vault_files_name(VAULT_BACKUP));
		return 0;
	}
	return unlock_copy(v, VAULT_PRIMARY, secret);
}

static int unlock_any(struct vault *v, const struct vault_secret *secret)
{
	int r;

	if (v->copies[VAULT_PRIMARY].state)
		return unlock_copy(v, VAULT_BACKUP, secret);
	r = unlock_copy(v, VAULT_PRIMARY, secret);
	if (r)
		return r > 0 ? unlock_backup(v, r, secret) : r;
	return unlock_fitting(v, secret);
}

static enum vault_copy_state judge(const struct vault *v, enum vault_copy which)
{
	const struct vault_stored *copy = &v->copies[which];

	if (copy->state == VAULT_NOT_FOUND)
		return VAULT_COPY_MISSING;
	if (copy->state || mac_check(&copy->config, v->keys))
		return VAULT_COPY_DAMAGED;
	return which == v->current || !copies_differ(v) ? VAULT_COPY_GOOD : VAULT_COPY_OTHER;
}

/*
 * Make both files the one that proved true, if this process may write; not if
 * the tree's root says that neither is: one may be all there is of a key.
 */
static void repair(struct vault *v)
{
	int r;

	if (v->lock != VAULT_EXCLUSIVE || v->foreign || !copies_differ(v) || !fits_tree(v))
		return;
	r = vault_files_store(v->fd, vault_config_of(v), false);
	if (r) {
		log_warn("%s: configuration could not be repaired: %s", v->path, strerror(-r));
		return;
	}
	v->copies[!v->current] = v->copies[v->current];
	v->health.repaired = true;
	log_info("%s: both copies of the configuration are whole again", v->path);
}

void vault_forget_keys(struct vault *v)
{
	secmem_free(v->keys);
	v->keys = NULL;
}

int vault_unlock(struct vault *v, const struct vault_secret *secret)
{
	int r;

	vault_why_clear();
	vault_forget_keys(v);
	if (secret->size == 0 || secret->size > VAULT_PASSPHRASE_MAX)
		return VAULT_WRONG_KEY;
	v->keys = secmem_new(sizeof(*v->keys));
	if (!v->keys)
		return -ENOMEM;
	r = unlock_any(v, secret);
	if (!r)
		r = rotation_check(v); /* what opened may be the other copy */
	if (r) {
		vault_forget_keys(v);
		if (r == VAULT_DAMAGED)
			vault_why_set("tampered with: %s was changed without the key",
				      vault_files_name(VAULT_PRIMARY));
		return r;
	}
	vault_why_clear();
	v->health.primary = judge(v, VAULT_PRIMARY);
	v->health.backup = judge(v, VAULT_BACKUP);
	v->health.repaired = false;
	repair(v);
	return 0;
}

void vault_suspend(struct vault *v)
{
	secmem_wipe(v->keys, sizeof(*v->keys));
}

int vault_resume(struct vault *v, const struct vault_secret *secret)
{
	struct keyring *kept = v->keys;
	int r = VAULT_WRONG_KEY;

	vault_why_clear();
	v->keys = secmem_new(sizeof(*v->keys));
	if (!v->keys)
		r = -ENOMEM;
	else if (secret->size && secret->size <= VAULT_PASSPHRASE_MAX)
		r = unlock_any(v, secret);
	if (!r && !fits_tree(v))
		r = VAULT_DAMAGED;
	if (!r)
		memcpy(kept, v->keys, sizeof(*kept));
	vault_forget_keys(v);
	v->keys = kept;
	return r;
}

/* ---- slots ------------------------------------------------------------- */

struct vault_config *vault_start_change(struct vault *v, int *r)
{
	struct vault_config *config;

	vault_why_clear();
	*r = -EINVAL;
	if (!v->keys || v->lock != VAULT_EXCLUSIVE)
		return NULL;
	config = malloc(sizeof(*config));
	*r = config ? 0 : -ENOMEM;
	if (config)
		*config = *vault_config_of(v);
	return config;
}

int vault_finish_change(struct vault *v, struct vault_config *config, int r)
{
	if (!r)
		r = vault_config_mac(config, v->keys, config->mac);
	if (!r)
		r = vault_files_store(v->fd, config, false);
	if (!r)
		v->copies[VAULT_PRIMARY].config = v->copies[VAULT_BACKUP].config = *config;
	free(config);
	return r;
}

static int check_new(const struct vault_secret *secret, struct vault_kdf *kdf)
{
	if (secret->size == 0 || secret->size > VAULT_PASSPHRASE_MAX)
		return -EINVAL;
	return vault_kdf_choose(kdf);
}

/* What a new slot is for; of token and tpm2 at most one. */
struct addition {
	const struct vault_secret *secret;
	const struct vault_token *token;
	const struct vault_tpm2 *tpm2;
	const char *label;
	struct vault_kdf kdf;
};

static int add_slot(struct vault *v, const struct addition *a, uint32_t *id)
{
	struct vault_kdf chosen = a->kdf;
	struct vault_config *config;
	int r;

	config = vault_start_change(v, &r);
	if (!config)
		return r;
	if (config->n_slots == VAULT_MAX_SLOTS)
		r = VAULT_SLOTS_FULL;
	if (!r)
		r = check_new(a->secret, &chosen);
	if (!r && a->token)
		config->slots[config->n_slots].info.token = *a->token;
	if (!r && a->tpm2)
		config->slots[config->n_slots].info.tpm2 = *a->tpm2;
	if (!r)
		r = slot_append(config, a->secret, a->label, &chosen, v->keys->master);
	if (!r)
		*id = config->slots[config->n_slots - 1].info.id;
	return vault_finish_change(v, config, r);
}

int vault_add_slot(struct vault *v, const struct vault_secret *secret, const char *label,
		   const struct vault_kdf *kdf, uint32_t *id)
{
	const struct addition a = { .secret = secret, .label = label, .kdf = *kdf };

	return add_slot(v, &a, id);
}

/* 256 bits of a device need no stretching. */
static const struct vault_kdf cheap = { VAULT_KDF_MEMORY_FLOOR, VAULT_KDF_OPERATIONS_FLOOR };

int vault_add_token(struct vault *v, const struct vault_secret *secret,
		    const struct vault_token *token, const char *label, uint32_t *id)
{
	const struct addition a = {
		.secret = secret, .token = token, .label = label, .kdf = cheap
	};

	return secret->kind == VAULT_FIDO2 ? add_slot(v, &a, id) : -EINVAL;
}

int vault_add_tpm2(struct vault *v, const struct vault_secret *secret,
		   const struct vault_tpm2 *tpm2, const char *label, uint32_t *id)
{
	const struct addition a = { .secret = secret, .tpm2 = tpm2, .label = label, .kdf = cheap };

	return secret->kind == VAULT_TPM2 ? add_slot(v, &a, id) : -EINVAL;
}

uint32_t vault_slot_index(const struct vault_config *config, uint32_t id)
{
	uint32_t i = 0;

	while (i < config->n_slots && config->slots[i].info.id != id)
		i++;
	return i;
}

int vault_remove_slot(struct vault *v, uint32_t id)
{
	struct vault_config *config;
	uint32_t i;
	int r;

	config = vault_start_change(v, &r);
	if (!config)
		return r;
	i = vault_slot_index(config, id);
	if (i == config->n_slots)
		r = VAULT_NO_SLOT;
	else if (config->n_slots == 1)
		r = VAULT_LAST_SLOT;
	if (!r) {
		config->n_slots--;
		memmove(&config->slots[i], &config->slots[i + 1],
			(config->n_slots - i) * sizeof(config->slots[0]));
		memset(&config->slots[config->n_slots], 0, sizeof(config->slots[0]));
	}
	return vault_finish_change(v, config, r);
}

int vault_change_secret(struct vault *v, const struct vault_secret *secret,
			const struct vault_kdf *kdf)
{
	struct vault_kdf chosen = *kdf;
	struct vault_config *config;
	uint32_t i;
	int r;

	config = vault_start_change(v, &r);
	if (!config)
		return r;
	i = vault_slot_index(config, v->unlocked);
	r = i == config->n_slots ? VAULT_NO_SLOT : check_new(secret, &chosen);
	if (!r) {
		config->slots[i].info.kind = secret->kind;
		memset(&config->slots[i].info.token, 0, sizeof(struct vault_token));
		memset(&config->slots[i].info.tpm2, 0, sizeof(struct vault_tpm2));
		memset(config->slots[i].info.type, 0, VAULT_TYPE_SIZE);
		strcpy(config->slots[i].info.type, vault_kind_name(secret->kind));
		config->slots[i].info.kdf = chosen;
		r = vault_slot_seal(config, &config->slots[i], secret, v->keys->master);
	}
	return vault_finish_change(v, config, r);
}

/* ---- a copy of the configuration elsewhere ----------------------------- */

int vault_save_header(const struct vault *v, const char *file)
{
	vault_why_clear();
	return vault_files_save_path(file, &v->copies[v->current].config);
}

int vault_restore_header(struct vault *v)
{
	vault_why_clear();
	if (!v->keys || !v->foreign)
		return -EINVAL;
	if (!fits_tree(v)) {
		vault_why_set("its files belong to another key (use the header of this vault)");
		return VAULT_DAMAGED;
	}
	return vault_files_store(v->fd, vault_config_of(v), false);
}

/* ---- answering --------------------------------------------------------- */

void vault_info(const struct vault *v, struct vault_info *info)
{
	const struct vault_config *config = &v->copies[v->current].config;

	memset(info, 0, sizeof(*info));
	info->version = VAULT_CONFIG_VERSION;
	memcpy(info->id, config->id, sizeof(info->id));
	info->suite = config->suite;
	info->created = config->created;
	info->rotation = config->rotation;
	info->n_slots = config->n_slots;
	for (uint32_t i = 0; i < config->n_slots; i++)
		info->slots[i] = config->slots[i].info;
}

uint32_t vault_unlocked_slot(const struct vault *v)
{
	return v->unlocked;
}

void vault_health(const struct vault *v, struct vault_health *health)
{
	*health = v->health;
}

int vault_fd(const struct vault *v)
{
	return v->fd;
}

enum vault_lock vault_lock_of(const struct vault *v)
{
	return v->lock;
}

const struct keyring *vault_keys(const struct vault *v)
{
	return v->keys;
}

int vault_tree_fd(const struct vault *v)
{
	return v->tree_fd;
}

/* ---- ending ------------------------------------------------------------ */

void vault_ending(struct vault *v)
{
	if (v->lock != VAULT_NO_LOCK)
		(void)flock(v->mounted_fd, LOCK_UN); /* cannot fail; closing does it, too */
}

void vault_close(struct vault *v)
{
	if (!v)
		return;
	vault_forget_keys(v);
	fdio_close(v->mounted_fd);
	fdio_close(v->tree_fd);
	fdio_close(v->fd);
	free(v->path);
	free(v);
}
