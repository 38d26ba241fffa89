/* SPDX-License-Identifier: MIT */
/*
 * keys - from one 32-byte master key to named subkeys to a key per file.
 * Pure: libsodium's crypto_kdf (BLAKE2b, context "cryptfs1") for the subkeys,
 * keyed BLAKE2b-256 of the file id for a file's key.
 */
#ifndef ENGINE_KEYS_H
#define ENGINE_KEYS_H

#include <stdint.h>

enum {
	KEYS_MASTER_SIZE = 32,
	KEYS_FILE_ID_SIZE = 32,
};

/* Every secret derived from the master key.  Lives in secmem only. */
struct keyring {
	uint8_t names[64];		  /* AES-256-SIV of file names; subkey 1 */
	uint8_t content[32];		  /* file ids to file keys; 2 */
	uint8_t xattr_names[64];	  /* AES-256-SIV of attribute names; 3 */
	uint8_t xattr_values[32];	  /* AEAD of attribute values; 4 */
	uint8_t directory[32];		  /* bindings and directory records; 5 */
	uint8_t config[32];		  /* MAC of the configuration; 6 */
	uint8_t links[32];		  /* AEAD of symlink targets; 7 */
	uint8_t master[KEYS_MASTER_SIZE]; /* the XOR key of `xor` vaults */
};

/* Derive everything from master: 0 or -errno. */
int keys_derive(const uint8_t master[KEYS_MASTER_SIZE], struct keyring *ring);

/* The 32-byte key of the file with this id. */
void keys_file(const struct keyring *ring, const uint8_t id[KEYS_FILE_ID_SIZE], uint8_t key[32]);

#endif /* ENGINE_KEYS_H */
