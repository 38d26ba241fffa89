/* SPDX-License-Identifier: MIT */
/* vault_internal - an open vault as its parts see it; for vault*.c only. */
#ifndef FS_VAULT_INTERNAL_H
#define FS_VAULT_INTERNAL_H

#include "fs/recovery.h"
#include "fs/vault.h"
#include "fs/vault_config.h"
#include "fs/vault_files.h"

struct vault_stored {
	int state; /* as vault_files_load */
	struct vault_config config;
	struct vault_config_problem problem;
};

struct vault {
	char *path; /* as given, for the log */
	int fd;	    /* VAULT; its flock says "in use" */
	int tree_fd;
	int mounted_fd; /* VAULT/tree; its flock says "mounted" */
	enum vault_lock lock;
	struct vault_stored copies[2];
	enum vault_copy current;
	bool rotates;	   /* may be open though a rotation is unfinished */
	bool foreign;	   /* the configuration is not that in the vault */
	uint32_t unlocked; /* id of the slot that opened */
	struct vault_health health;
	struct keyring *keys;
};

/* What unlocking derives on its way, in secmem. */
struct vault_derived {
	uint8_t kek[VAULT_CONFIG_KEK_SIZE];
	uint8_t master[KEYS_MASTER_SIZE];
	uint8_t words[RECOVERY_SECRET_SIZE];
};

static inline struct vault_config *vault_config_of(struct vault *v)
{
	return &v->copies[v->current].config;
}

struct vault_opening {
	int dirfd;	  /* where path begins; AT_FDCWD */
	const char *path; /* also for the log */
	const char *file; /* a configuration from elsewhere, or NULL */
	enum vault_lock lock;
	bool rotates;
};

/* vault_open and its like. */
int vault_open_as(const struct vault_opening *how, struct vault **out);

/* A new salt, nonce and wrapping of master in slot. */
int vault_slot_seal(const struct vault_config *config, struct vault_config_slot *slot,
		    const struct vault_secret *secret, const uint8_t master[KEYS_MASTER_SIZE]);

/*
 * Which slot opens: 0, d->master and *index; VAULT_WRONG_KEY or -errno.  If the
 * secret is recovery words and opened as such, d->words holds what they stand for.
 */
int vault_find_slot(const struct vault_config *config, const struct vault_secret *secret,
		    struct vault_derived *d, uint32_t *index);

/* The index of the slot, or n_slots. */
uint32_t vault_slot_index(const struct vault_config *config, uint32_t id);

/* Tree and configuration in an open directory that is blank and that nobody else uses. */
int vault_populate(int dirfd, const struct vault_config *config, const struct keyring *keys);

/* A copy of the configuration to change, or NULL; *r says why not. */
struct vault_config *vault_start_change(struct vault *v, int *r);

/* Put config in force, unless r says that there is nothing to; it is freed. */
int vault_finish_change(struct vault *v, struct vault_config *config, int r);

void vault_forget_keys(struct vault *v);

#endif /* FS_VAULT_INTERNAL_H */
