/* SPDX-License-Identifier: MIT */
/*
 * journal_bytes - what lies in VAULT/cryptfs.journal: the header of a part, and
 * records (docs/format.md, Journal).  A decoder says no to whatever this vault's
 * keys did not make; that a record belongs to the part it stands in, its caller
 * checks.
 */
#ifndef FS_JOURNAL_BYTES_H
#define FS_JOURNAL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "engine/keys.h"
#include "fs/format.h"

/* The block index that stands for a small file's content. */
#define JOURNAL_SMALL UINT64_MAX

enum {
	JOURNAL_SECTOR = 512,	   /* a part's header; records begin at multiples of it */
	JOURNAL_RECORD_SIZE = 160, /* then the payload */
	JOURNAL_PAYLOAD_MAX = FORMAT_BLOCK_SIZE,
};

struct journal_record {
	uint8_t id[KEYS_FILE_ID_SIZE];
	uint64_t inode;	   /* of the backing file: a hint */
	uint64_t sequence; /* of the file's last header; of a small file's in the payload */
	uint64_t block;
	uint64_t length;		/* of the file, plaintext, afterwards */
	uint32_t slot;			/* small: which header slot */
	uint32_t size;			/* of the payload */
	uint8_t half[FORMAT_HALF_SIZE]; /* blocks: the half-entry that opens it */
	struct timespec mtime;
	uint64_t epoch; /* of the part it is in */
	uint64_t at;	/* not among the bytes: where the payload is */
};

void journal_part_encode(const struct keyring *keys, uint64_t epoch, uint8_t raw[JOURNAL_SECTOR]);

/* The epoch of a part; 0: void, or nothing of ours. */
uint64_t journal_part_decode(const struct keyring *keys, const uint8_t raw[JOURNAL_SECTOR]);

/* Put the head before the payload of r->size bytes, which is in raw already. */
void journal_record_encode(const struct keyring *keys, const struct journal_record *r,
			   uint8_t *raw);

/* Of size bytes: false if they do not begin with a whole record of ours. */
bool journal_record_decode(const struct keyring *keys, const uint8_t *raw, size_t size,
			   struct journal_record *r);

#endif /* FS_JOURNAL_BYTES_H */
