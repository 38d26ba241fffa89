/* SPDX-License-Identifier: MIT */
/*
 * container - the format of a single encrypted file: header and chunk heads
 * as bytes and as structs, and the rules by which chunks follow each other.
 * Pure: no I/O, no randomness.  docs/container.md is the specification.
 *
 * Results: 0 or a positive CONTAINER_* answer.
 */
#ifndef FS_CONTAINER_H
#define FS_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/cipher.h"
#include "engine/keys.h"
#include "fs/vault.h"
#include "fs/vault_config.h"

enum {
	CONTAINER_NOT_ONE = 1, /* something else */
	CONTAINER_DAMAGED,
	CONTAINER_TOO_NEW,
	CONTAINER_WRONG_KEY, /* or a header that was tampered with */
};

enum {
	CONTAINER_HEADER_SIZE = 128,
	CONTAINER_HEAD_SIZE = 16, /* of a chunk */
	CONTAINER_BLOCK_SIZE = 4096,
	CONTAINER_CHUNK_SIZE = 65536, /* plaintext of a chunk, at most */
	CONTAINER_END_SIZE = 8,	      /* plaintext of the end chunk */
};

#define CONTAINER_MAX_LENGTH ((uint64_t)1 << 62)

struct container_header {
	enum cipher_suite suite;
	struct vault_kdf kdf;
	uint8_t salt[VAULT_CONFIG_SALT_SIZE];
	uint8_t id[KEYS_FILE_ID_SIZE];
};

/* A chunk's head. */
struct container_chunk {
	uint64_t position;
	uint32_t size;
	bool is_end;
};

/* Where a reader is: all zeros at the first chunk. */
struct container_walk {
	uint64_t position; /* end of the chunk before */
	bool must_end;	   /* only the end chunk may follow */
};

void container_header_encode(const struct container_header *h, const struct keyring *keys,
			     uint8_t raw[CONTAINER_HEADER_SIZE]);

/* 0, NOT_ONE, TOO_NEW or DAMAGED.  The MAC is not checked: there is no key yet. */
int container_header_decode(const uint8_t raw[CONTAINER_HEADER_SIZE], struct container_header *h);

/* Check the MAC: 0 or WRONG_KEY. */
int container_header_check(const uint8_t raw[CONTAINER_HEADER_SIZE], const struct keyring *keys);

void container_chunk_encode(const struct container_chunk *c, uint8_t raw[CONTAINER_HEAD_SIZE]);

/* The head of the chunk that comes next, and a step of the walk: 0 or DAMAGED. */
int container_chunk_decode(const uint8_t raw[CONTAINER_HEAD_SIZE], struct container_walk *walk,
			   struct container_chunk *c);

/* The nonce of the block with this number. */
void container_nonce(uint64_t number, uint8_t nonce[CIPHER_NONCE_SIZE]);

/* Blocks in size bytes of plaintext. */
static inline uint32_t container_blocks(uint32_t size)
{
	return (size + CONTAINER_BLOCK_SIZE - 1) / CONTAINER_BLOCK_SIZE;
}

/* What a chunk of this much plaintext takes in the container. */
static inline uint32_t container_chunk_stored(uint32_t size)
{
	return CONTAINER_HEAD_SIZE + container_blocks(size) * CIPHER_TAG_SIZE + size;
}

#endif /* FS_CONTAINER_H */
