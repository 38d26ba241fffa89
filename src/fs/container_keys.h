/* SPDX-License-Identifier: MIT */
/*
 * container_keys - from one passphrase to the keys of many containers.  A key
 * derivation takes a second, so the keys of a salt are kept as long as
 * somebody uses them or they were the last that were used.
 * Safe from any thread; a derivation makes the others wait.
 */
#ifndef FS_CONTAINER_KEYS_H
#define FS_CONTAINER_KEYS_H

#include "fs/container.h"

struct container_keys;

/* The keys of one salt; borrowed until container_keys_put. */
struct container_keyset;

/*
 * secret is borrowed: 0 or -errno.  _free takes NULL; nothing may be borrowed
 * any more.
 */
int container_keys_new(const struct vault_secret *secret, struct container_keys **out);
void container_keys_free(struct container_keys *k);

/* The keys for the salt and parameters of h: 0, or as vault_kdf_run. */
int container_keys_get(struct container_keys *k, const struct container_header *h,
		       struct container_keyset **out);

/* Give them back; NULL is fine. */
void container_keys_put(struct container_keys *k, struct container_keyset *set);

const struct keyring *container_keyset_ring(const struct container_keyset *set);

#endif /* FS_CONTAINER_KEYS_H */
