/* SPDX-License-Identifier: MIT */
/*
 * format - bytes to structs and back for everything that is on disk, and the
 * arithmetic of file layout; no I/O.  docs/format.md is the specification.
 *
 * All integers are little-endian.  Every decoder takes bytes an attacker may
 * have chosen; it answers FORMAT_DAMAGED and touches nothing else.
 */
#ifndef FS_FORMAT_H
#define FS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"
#include "engine/keys.h"

enum {
	FORMAT_VERSION = 1,
	FORMAT_BLOCK_SIZE = 4096,
	FORMAT_HEADER_SIZE = 512,    /* one header slot */
	FORMAT_CONTENT_START = 1024, /* small content, or entries of blocks 0..47 */
	FORMAT_SMALL_MAX = 3071,     /* bytes of content a small file may have */
	FORMAT_FIRST_BLOCKS = 48,    /* blocks of group 0, after the header page */
	FORMAT_GROUP_BLOCKS = 64,    /* blocks of every later group */
	FORMAT_ENTRY_SIZE = 64,	     /* tag entry: two halves */
	FORMAT_HALF_SIZE = 32,
	FORMAT_DIR_ID_SIZE = 16,
	FORMAT_BINDING_SIZE = 16,
	FORMAT_DIR_RECORD_SIZE = 72,
};

/* Block index in the AAD of a small file's content (its sequence is 0). */
#define FORMAT_SMALL_INDEX UINT64_MAX

/* The longest file whose backing size fits off_t with room to spare. */
#define FORMAT_MAX_LENGTH ((uint64_t)1 << 62)

enum {
	FORMAT_DAMAGED = 1,
};

/* ---- layout ------------------------------------------------------------ */

/* Plaintext length of a content file whose backing size is size >= 1024. */
uint64_t format_length(uint64_t backing_size);

/* Backing size of a small file, length <= FORMAT_SMALL_MAX. */
uint64_t format_small_size(uint64_t length);

/* Backing size of a file in blocks, any length. */
uint64_t format_big_size(uint64_t length);

/* Where block index starts in the backing file. */
uint64_t format_block_offset(uint64_t index);

/* Where the 64-byte tag entry of block index starts in the backing file. */
uint64_t format_entry_offset(uint64_t index);

/* Group of a block, first block of a group, how many blocks a group holds. */
uint64_t format_group(uint64_t index);
uint64_t format_group_first(uint64_t group);
uint32_t format_group_blocks(uint64_t group);

/* ---- tag entries ------------------------------------------------------- */

struct format_half {
	uint8_t nonce[CIPHER_NONCE_SIZE];
	uint8_t tag[CIPHER_TAG_SIZE];
	uint32_t sequence; /* 0: this half was never written */
};

void format_half_decode(const uint8_t raw[FORMAT_HALF_SIZE], struct format_half *half);
void format_half_encode(const struct format_half *half, uint8_t raw[FORMAT_HALF_SIZE]);

/* True if an entry is all zeros: a hole. */
bool format_entry_is_hole(const uint8_t raw[FORMAT_ENTRY_SIZE]);

/*
 * Which half (0 or 1) has the higher sequence, in serial-number arithmetic
 * (RFC 1982) so that a counter may wrap; a half never written loses.
 */
int format_entry_current(const uint8_t raw[FORMAT_ENTRY_SIZE]);

/* The sequence that follows one; never 0. */
uint32_t format_sequence_next(uint32_t sequence);

/* ---- file header ------------------------------------------------------- */

enum {
	FORMAT_DIRTY = 1 << 0,	   /* a writer is, or was when it died, at work */
	FORMAT_HAS_HOLES = 1 << 1, /* entries of zeros are holes, not damage */
	FORMAT_SMALL = 1 << 2,	   /* content lies in the header page */
	FORMAT_MULTI = 1 << 3,	   /* several hard links: not bound */
	FORMAT_GROWING = 1 << 4,   /* small content is moving to block 0; see `moving` */
	FORMAT_SHRINKING = 1 << 5, /* the last block is being cut; see `shrink_length` */
};

struct format_header {
	uint8_t id[KEYS_FILE_ID_SIZE];
	uint64_t sequence; /* the valid slot with the higher one is current */
	uint64_t length;   /* plaintext bytes; exact unless DIRTY */
	uint32_t flags;
	uint8_t bindings[2][FORMAT_BINDING_SIZE]; /* where it is; where it is going or zeros */
	uint8_t small_nonce[CIPHER_NONCE_SIZE];	  /* with SMALL or GROWING */
	uint8_t small_tag[CIPHER_TAG_SIZE];
	uint64_t shrink_length;	   /* with SHRINKING: the length being cut to */
	struct format_half moving; /* GROWING: block 0's half to be.  SHRINKING:
				      the half of the new last block */
};

/*
 * The magic and id of a header slot, unauthenticated: 0 or FORMAT_DAMAGED.
 * Enough to derive the file's key, with which format_header_decode decides.
 */
int format_header_peek(const uint8_t raw[FORMAT_HEADER_SIZE], uint8_t id[KEYS_FILE_ID_SIZE]);

/*
 * Open and check a header slot under the file's key: 0, FORMAT_DAMAGED (also
 * for flags this version does not know) or -errno.
 */
int format_header_decode(const uint8_t raw[FORMAT_HEADER_SIZE], const struct cipher_key *key,
			 struct format_header *header);

/* Seal a header under the file's key and this fresh nonce: 0 or -errno. */
int format_header_encode(const struct format_header *header, const struct cipher_key *key,
			 const uint8_t nonce[CIPHER_NONCE_SIZE], uint8_t raw[FORMAT_HEADER_SIZE]);

/* ---- bindings and directory records ------------------------------------ */

/*
 * The binding of a thing: keyed BLAKE2b (key `directory`, 16 bytes) of "bind"
 * ‖ parent directory id(16) ‖ stored name, never all zeros.
 */
void format_binding(const struct keyring *keys, const uint8_t parent_id[FORMAT_DIR_ID_SIZE],
		    const char *stored_name, uint8_t binding[FORMAT_BINDING_SIZE]);

struct format_dir_record {
	uint8_t id[FORMAT_DIR_ID_SIZE];
	uint8_t bindings[2][FORMAT_BINDING_SIZE];
};

/* 0 or FORMAT_DAMAGED. */
int format_dir_record_decode(const uint8_t *raw, size_t size, const struct keyring *keys,
			     struct format_dir_record *record);
void format_dir_record_encode(const struct format_dir_record *record, const struct keyring *keys,
			      uint8_t raw[FORMAT_DIR_RECORD_SIZE]);

#endif /* FS_FORMAT_H */
