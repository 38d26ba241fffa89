/* SPDX-License-Identifier: MIT */
/*
 * rotate_keys - which slots a vault is to keep under its next master key.  Each holds that
 * key, sealed with its own secret: it is kept by who has the secret, or the
 * device that gives it.
 */
#ifndef CLI_ROTATE_KEYS_H
#define CLI_ROTATE_KEYS_H

#include "fs/passphrase.h"
#include "fs/vault_rotate.h"

/* What was said on the command line of the slots that did not open the vault. */
struct rotate_others {
	struct passphrase_source sources[VAULT_MAX_SLOTS];
	size_t n;
	bool drops; /* those without one of these */
};

/* The slots to keep, and their secrets; the first is the one that opened the vault. */
struct rotate_keys {
	struct vault_info info;
	struct vault_secret secrets[VAULT_MAX_SLOTS];
	struct vault_rotate_key keys[VAULT_MAX_SLOTS];
	size_t n;
};

/*
 * Add what opens the other slots of the vault, from others or from a person, and say
 * which slots go: 0, or the exit status, said already.
 */
int rotate_keys_collect(struct rotate_keys *k, const char *path, const struct vault *v,
			const struct rotate_others *others);

/* Wipe and free the secrets. */
void rotate_keys_fini(struct rotate_keys *k);

#endif /* CLI_ROTATE_KEYS_H */
