/* SPDX-License-Identifier: MIT */
/*
 * vault - create, open, lock and unlock a vault; its configuration with key
 * slots.  docs/format.md describes the files.
 *
 *   VAULT/cryptfs.conf      JSON with a MAC; cryptfs.conf.bak the second copy
 *   VAULT/tree/             the encrypted tree
 *
 * Locks are flock(2) on directories, whose inodes never change: VAULT/tree
 * says "mounted" and VAULT says "in use", shared for readers and exclusive
 * for a writer.  Who only adds things shares them, too: each of its steps
 * leaves a valid tree to whoever looks, and nobody takes anything away
 * meanwhile.  Who opens a vault takes "mounted", within the five seconds
 * that the process of a mount just undone may need to notice, or not at all;
 * and then waits for "in use".  They need no write permission, go away with the
 * last process that holds the descriptors, and are local to one machine.
 *
 * Results: 0, a positive VAULT_* answer, or a negative errno.
 */
#ifndef FS_VAULT_H
#define FS_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"
#include "engine/keys.h"

enum {
	VAULT_NOT_FOUND = 1, /* no such directory, or no vault in it */
	VAULT_DAMAGED,	     /* configuration unreadable or its MAC is wrong */
	VAULT_WRONG_KEY,     /* no slot opens with this passphrase */
	VAULT_IN_USE,	     /* locked by another mount */
	VAULT_EXISTS,	     /* create: there is something already */
	VAULT_TOO_NEW,	     /* needs a newer cryptfs: minimum reader version */
	VAULT_NO_SLOT,	     /* no slot has this number */
	VAULT_LAST_SLOT,     /* the only slot stays: nobody could open the vault */
	VAULT_SLOTS_FULL,    /* there are VAULT_MAX_SLOTS already */
	VAULT_ROTATING,	     /* on its way to another master key: see vault_rotate.h */
};

enum {
	VAULT_ID_SIZE = 16,
	VAULT_MAX_SLOTS = 32,
	VAULT_TYPE_SIZE = 32, /* with its zero */
	VAULT_CREDENTIAL_MAX = 512,
	VAULT_CHALLENGE_SIZE = 32,
	VAULT_TPM2_PUBLIC_MAX = 128, /* such that older versions can keep the slot */
	VAULT_TPM2_PRIVATE_MAX = 384,
	VAULT_TPM2_NAME_SIZE = 34,
	VAULT_TPM2_SALT_SIZE = 16,
	VAULT_N_PCRS = 24,
	VAULT_PASSPHRASE_MAX = 4096, /* bytes */
};

enum vault_lock {
	VAULT_NO_LOCK,	 /* reading the configuration only */
	VAULT_SHARED,	 /* read-only mount */
	VAULT_EXCLUSIVE, /* read-write mount, or changing the configuration */
	VAULT_ADDING	 /* making new things only, beside others that do */
};

/* What a slot is for, and what a secret is. */
enum vault_kind {
	VAULT_PASSPHRASE, /* what a person types; also recovery words, when opening */
	VAULT_KEYFILE,	  /* all bytes of a file */
	VAULT_RECOVERY,	  /* RECOVERY_SECRET_SIZE random bytes */
	VAULT_FIDO2,	  /* what a security key answers: see fido2.h */
	VAULT_TPM2,	  /* what a TPM unseals: see tpm2.h */
	VAULT_UNKNOWN,	  /* a slot of a later version, which is kept as it is */
};

/* In secmem, owned by the caller. */
struct vault_secret {
	const uint8_t *bytes;
	size_t size;
	enum vault_kind kind;
};

struct vault_kdf {
	uint64_t memory;     /* bytes, >= 64 MiB; 0: calibrate to about 1 s */
	uint64_t operations; /* Argon2id t, >= 3; 0: calibrate */
};

struct vault_create {
	enum cipher_suite suite;
	struct vault_kdf kdf;
	const char *label; /* of the first slot; NULL: the name of its kind */
};

/* How far the change of the master key is: see vault_rotate.h. */
enum vault_rotation {
	VAULT_NOT_ROTATING,
	VAULT_COPYING,	/* tree/ has the old key, rotate/tree/ a part of it with the new one */
	VAULT_SWITCHED, /* tree/ has the new key; what is left of the old one is to go */
};

/* What a security key needs to know to give its secret again; no secret. */
struct vault_token {
	size_t size;
	uint8_t credential[VAULT_CREDENTIAL_MAX];
	uint8_t challenge[VAULT_CHALLENGE_SIZE];
};

/* Hashes that a TPM keeps its PCRs with; the first that it has is taken. */
enum vault_bank {
	VAULT_SHA256,
	VAULT_SHA384,
	VAULT_SHA512,
};

/* What a TPM needs to know to give its secret again; no secret. */
struct vault_tpm2 {
	size_t public_size;
	size_t private_size;
	uint8_t public[VAULT_TPM2_PUBLIC_MAX];	 /* TPM2B_PUBLIC of the sealed object */
	uint8_t private[VAULT_TPM2_PRIVATE_MAX]; /* TPM2B_PRIVATE, encrypted by the TPM */
	uint8_t parent[VAULT_TPM2_NAME_SIZE];	 /* name of the key that it is sealed under */
	uint8_t salt[VAULT_TPM2_SALT_SIZE];	 /* of the PIN */
	uint32_t pcrs;				 /* bit n: PCR n must be as it was */
	enum vault_bank bank;
	bool has_pin;
};

/* One line of `cryptfs info`; no secret. */
struct vault_slot_info {
	uint32_t id; /* from 1; never that of another slot */
	enum vault_kind kind;
	char type[VAULT_TYPE_SIZE]; /* as in the configuration */
	char label[64];
	struct vault_kdf kdf;	  /* zeros of an unknown one */
	struct vault_token token; /* zeros but with VAULT_FIDO2 */
	struct vault_tpm2 tpm2;	  /* zeros but with VAULT_TPM2 */
};

struct vault_info {
	uint32_t version;
	uint8_t id[VAULT_ID_SIZE];
	enum cipher_suite suite;
	int64_t created; /* seconds since 1970 UTC */
	enum vault_rotation rotation;
	uint32_t n_slots;
	struct vault_slot_info slots[VAULT_MAX_SLOTS];
};

struct vault;

/*
 * Could path become a vault: 0, VAULT_EXISTS or -errno.  For asking before a
 * passphrase is; vault_create decides for itself.
 */
int vault_create_check(const char *path);

/*
 * Make the directory path (it may exist if empty) a new vault with one slot,
 * of the secret's kind: 0, VAULT_EXISTS or -errno (-EINVAL for a label or KDF that
 * no slot can have).  Nothing is left behind by a failure but an empty
 * directory.
 */
int vault_create(const char *path, const struct vault_create *how,
		 const struct vault_secret *secret);

/*
 * Read and lock a vault: 0, VAULT_NOT_FOUND, VAULT_DAMAGED, VAULT_TOO_NEW,
 * VAULT_IN_USE, VAULT_ROTATING (not with VAULT_NO_LOCK) or -errno; -EROFS or -EACCES when
 * VAULT_EXCLUSIVE or VAULT_ADDING is asked for where nothing can be written.  A damaged
 * configuration is replaced by its backup copy (said once in the log); which copy is believed is
 * decided by the MAC in vault_unlock, too.  A lock whose holder has unmounted already and is only
 * settling is waited for, up to two minutes.
 */
int vault_open(const char *path, enum vault_lock lock, struct vault **out);

/* The lock that it was opened with. */
enum vault_lock vault_lock_of(const struct vault *v);

/*
 * Try secret on the slots, those of its kind first, and check the
 * configuration's MAC: 0, VAULT_WRONG_KEY, VAULT_DAMAGED or -errno.  A
 * passphrase that is recovery words opens recovery slots, too.
 */
int vault_unlock(struct vault *v, const struct vault_secret *secret);

/*
 * Changes of the slots, for a vault that is open VAULT_EXCLUSIVE and unlocked:
 * both copies of the configuration are rewritten, all or nothing.  0, an answer
 * as said, or -errno (-EINVAL for a label or KDF that no slot can have).
 */

/* Another slot, of the secret's kind; label as in vault_create.  VAULT_SLOTS_FULL. */
int vault_add_slot(struct vault *v, const struct vault_secret *secret, const char *label,
		   const struct vault_kdf *kdf, uint32_t *id);

/* The same for the secret of a security key, of kind VAULT_FIDO2. */
int vault_add_token(struct vault *v, const struct vault_secret *secret,
		    const struct vault_token *token, const char *label, uint32_t *id);

/* The same for what a TPM has sealed, of kind VAULT_TPM2. */
int vault_add_tpm2(struct vault *v, const struct vault_secret *secret,
		   const struct vault_tpm2 *tpm2, const char *label, uint32_t *id);

/* Its secret works no longer.  VAULT_NO_SLOT, VAULT_LAST_SLOT. */
int vault_remove_slot(struct vault *v, uint32_t id);

/* Replace the secret of the slot that vault_unlock opened; it takes the new one's kind. */
int vault_change_secret(struct vault *v, const struct vault_secret *secret,
			const struct vault_kdf *kdf);

/* Write the configuration in use to a new file: 0 or -errno (-EEXIST: there is one). */
int vault_save_header(const struct vault *v, const char *file);

/*
 * vault_open of path for writing, but with the configuration in file, which
 * vault_save_header wrote: the same answers; VAULT_DAMAGED also if it is not one.
 */
int vault_open_header(const char *path, const char *file, struct vault **out);

/*
 * Put that configuration in place of the vault's own, after vault_unlock: 0,
 * VAULT_DAMAGED if its key is not that of the vault's tree, or -errno.
 */
int vault_restore_header(struct vault *v);

/* The slot that vault_unlock opened. */
uint32_t vault_unlocked_slot(const struct vault *v);

/* "passphrase", "keyfile", "recovery", "fido2", "tpm2" or "unknown" */
const char *vault_kind_name(enum vault_kind kind);

/* "sha256" and so on */
const char *vault_bank_name(enum vault_bank bank);

/*
 * What the answer of the last vault_create, vault_open, vault_unlock or change
 * of a slot of this thread does not tell ("damaged: ..."), or NULL.
 * Valid until the next of them.
 */
const char *vault_why(void);

void vault_info(const struct vault *v, struct vault_info *info);

enum vault_copy_state {
	VAULT_COPY_GOOD,
	VAULT_COPY_MISSING,
	VAULT_COPY_DAMAGED,
	VAULT_COPY_OTHER, /* whole, but of another time than the one that is used */
};

/* What the copies of the configuration were like before vault_unlock repaired them. */
struct vault_health {
	enum vault_copy_state primary;
	enum vault_copy_state backup;
	bool repaired; /* both are as they should be now */
};

/* Only after vault_unlock. */
void vault_health(const struct vault *v, struct vault_health *health);

/* VAULT itself, borrowed: what is not in tree/. */
int vault_fd(const struct vault *v);

/* The derived keys; only after vault_unlock, valid until vault_close. */
const struct keyring *vault_keys(const struct vault *v);

/*
 * Wipe the keys, in place: what vault_keys returned stays valid, and is zeros
 * until vault_resume.
 */
void vault_suspend(struct vault *v);

/*
 * After vault_suspend: fill the keys again, as vault_unlock but that nothing is
 * repaired.  They stay zeros if that fails.
 */
int vault_resume(struct vault *v, const struct vault_secret *secret);

/* An O_PATH descriptor of VAULT/tree, borrowed. */
int vault_tree_fd(const struct vault *v);

/* Tell waiting mounts that this one is gone but for settling. */
void vault_ending(struct vault *v);

/*
 * Wipe and free; NULL is fine.  The locks go when no process has the vault
 * open any more: after fork(2) both may close it, and the later one counts.
 */
void vault_close(struct vault *v);

#endif /* FS_VAULT_H */
