/* SPDX-License-Identifier: MIT */
/*
 * vault_config - the configuration of a vault as JSON and as a struct, the
 * MAC over it and the wrapping of the master key in a slot.  Pure: no I/O, no
 * clock, no randomness.  docs/format.md is the specification.
 *
 * The decoder takes bytes an attacker may have chosen, before any key is
 * known.  What it accepts has exactly one canonical form, so that the MAC of
 * a struct is the MAC of the file it came from.
 */
#ifndef FS_VAULT_CONFIG_H
#define FS_VAULT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/vault.h"

enum {
	VAULT_CONFIG_MAX_SIZE = 1 << 20, /* bytes of JSON */
	VAULT_CONFIG_VERSION = 1,
	VAULT_CONFIG_MAC_SIZE = 32,
	VAULT_CONFIG_KEK_SIZE = 32,	  /* what a slot's KDF gives */
	VAULT_CONFIG_SALT_SIZE = 16,	  /* Argon2id */
	VAULT_CONFIG_NONCE_SIZE = 24,	  /* XChaCha20-Poly1305 */
	VAULT_CONFIG_WRAPPED_SIZE = 48,	  /* master key and tag */
	VAULT_CONFIG_UNKNOWN_SIZE = 2048, /* of the JSON of an unknown slot, with its zero */
};

/* Bounds of what a slot may ask for; creating has a higher floor. */
#define VAULT_CONFIG_KDF_MEMORY_MIN ((uint64_t)8 << 20)
#define VAULT_CONFIG_KDF_MEMORY_MAX ((uint64_t)4 << 30)
enum {
	VAULT_CONFIG_KDF_OPERATIONS_MIN = 1,
	VAULT_CONFIG_KDF_OPERATIONS_MAX = 64,
};

struct vault_config_slot {
	struct vault_slot_info info;
	uint8_t salt[VAULT_CONFIG_SALT_SIZE];
	uint8_t nonce[VAULT_CONFIG_NONCE_SIZE];
	uint8_t wrapped[VAULT_CONFIG_WRAPPED_SIZE];
	char unknown[VAULT_CONFIG_UNKNOWN_SIZE]; /* canonical, of that kind; the others mean nothing
						  */
};

struct vault_config {
	uint8_t id[VAULT_ID_SIZE];
	enum cipher_suite suite;
	enum vault_rotation rotation; /* a flag, but for the first */
	int64_t created;
	uint32_t n_slots;
	struct vault_config_slot slots[VAULT_MAX_SLOTS];
	uint8_t mac[VAULT_CONFIG_MAC_SIZE];
};

/* Why a configuration was refused, for one log line; no input bytes in it. */
struct vault_config_problem {
	char text[96];
};

/*
 * Decode size bytes of JSON: 0, VAULT_DAMAGED, VAULT_TOO_NEW or -ENOMEM.  The
 * MAC is not checked: there is no key yet.  Unless 0 is returned *out is zeros.
 */
int vault_config_decode(const char *json, size_t size, struct vault_config *out);

/* The same, and why not; problem may be NULL. */
int vault_config_decode_why(const char *json, size_t size, struct vault_config *out,
			    struct vault_config_problem *problem);

/*
 * The file's content, MAC included: 0 and *json, for the caller to free; or
 * -EINVAL for a struct that cannot be written (a label that is not UTF-8), or
 * -ENOMEM.
 */
int vault_config_encode(const struct vault_config *config, char **json);

/* True if label is one that a slot may have: UTF-8, 1 to 63 bytes, no controls. */
bool vault_config_label_is_valid(const char *label);

/* The MAC that config must have under key: 0, -EINVAL or -ENOMEM. */
int vault_config_mac(const struct vault_config *config, const struct keyring *keys,
		     uint8_t mac[VAULT_CONFIG_MAC_SIZE]);

/* Wrap master in slot, whose info, salt and nonce are set: 0 or -errno. */
int vault_config_wrap(const struct vault_config *config, struct vault_config_slot *slot,
		      const uint8_t kek[VAULT_CONFIG_KEK_SIZE],
		      const uint8_t master[KEYS_MASTER_SIZE]);

/* Unwrap the master key of slot: 0, VAULT_WRONG_KEY or -errno. */
int vault_config_unwrap(const struct vault_config *config, const struct vault_config_slot *slot,
			const uint8_t kek[VAULT_CONFIG_KEK_SIZE], uint8_t master[KEYS_MASTER_SIZE]);

#endif /* FS_VAULT_CONFIG_H */
