/* SPDX-License-Identifier: MIT */
/*
 * vault_kdf - Argon2id from a passphrase to the key of a slot, and how hard
 * to make it on this machine.
 */
#ifndef FS_VAULT_KDF_H
#define FS_VAULT_KDF_H

#include "fs/vault.h"
#include "fs/vault_config.h"

/* Floor of what a new slot gets; older slots may have less. */
#define VAULT_KDF_MEMORY_FLOOR ((uint64_t)64 << 20)
enum {
	VAULT_KDF_OPERATIONS_FLOOR = 3,
};

/*
 * Fill in the zeros of *kdf: memory 256 MiB or a quarter of what is free,
 * operations for about one second.  0, -EINVAL for values out of bounds, or as
 * vault_kdf_run; vault_why() tells more.
 */
int vault_kdf_choose(struct vault_kdf *kdf);

/*
 * Derive kek, in secmem: 0, or -ENOMEM when the memory is not there; the process is not driven into
 * the OOM killer for it.
 */
int vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
		  const struct vault_secret *secret, uint8_t kek[VAULT_CONFIG_KEK_SIZE]);

#endif /* FS_VAULT_KDF_H */
