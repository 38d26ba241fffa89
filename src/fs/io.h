/* SPDX-License-Identifier: MIT */
/*
 * io - what one thread needs to move file content: a slot of the engine, the
 * file key loaded in it, fresh nonces, and room for tag entries.  A FUSE
 * thread receives its requests into the same slot.
 *
 * Slot layout, by the owner's convention:
 *
 *   page 0          a request's head, right before the payload; the old
 *                   start of the first block of an unaligned write
 *   pages 1..257    IO_DATA: payload of a write, blocks of a read
 *   pages 258, 259  IO_EDGE: old first and last block of an unaligned write
 *   page 260        IO_TAIL: the short last block that a write left
 */
#ifndef FS_IO_H
#define FS_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/keys.h"
#include "fs/format.h"

enum {
	IO_REQUEST_HEAD = 80,				  /* bytes of a WRITE before its payload */
	IO_REQUEST = FORMAT_BLOCK_SIZE - IO_REQUEST_HEAD, /* requests are received here */
	IO_DATA = FORMAT_BLOCK_SIZE,
	IO_REQUEST_MAX = 257 * FORMAT_BLOCK_SIZE, /* bytes of a request that fit */
	IO_EDGE = 258 * FORMAT_BLOCK_SIZE,
	IO_TAIL = 260 * FORMAT_BLOCK_SIZE,
	IO_MAX_BLOCKS = 257,	   /* blocks that 1 MiB may touch */
	IO_MAX_SIZE = 1024 * 1024, /* bytes of one read or write */
	IO_MAX_GROUPS = 6,	   /* groups that 257 blocks may touch, and one */
};

struct journal;

/* What every file of a mount shares; borrowed by all, owned by the mount. */
struct store {
	struct engine *engine;
	const struct keyring *keys;
	enum cipher_suite suite;
	bool read_only;
	struct journal *journal; /* NULL: changes are made in place */
	/*
	 * Only the user we run as gets in (no allow_other), and the kernel does
	 * not check permissions (no acl either): the backing filesystem does, and tree_open.
	 */
	bool alone;
	/*
	 * The kernel checks POSIX ACLs, which are the backing files', and leaves
	 * the caller's umask to us.
	 */
	bool acl;
};

struct io {
	struct engine *engine;
	const struct keyring *keys;
	uint32_t slot;
	uint8_t *data; /* the slot's */
	struct engine_record *records;
	struct cipher_key *key;
	uint8_t key_id[KEYS_FILE_ID_SIZE]; /* file whose key is loaded */
	bool key_loaded;
	bool used; /* since the last io_wipe */
	/*
	 * IO_TAIL holds the plaintext of this block, in which an append goes on,
	 * of a file as long as its content has this version.
	 */
	uint64_t tail_version; /* 0: none */
	uint64_t tail_index;
	uint8_t nonces[128 * CIPHER_NONCE_SIZE];
	uint32_t nonces_left;
	/* Entries of a run, up to the end of its last group. */
	uint8_t entries[(IO_MAX_BLOCKS + FORMAT_GROUP_BLOCKS) * FORMAT_ENTRY_SIZE];
	uint8_t pages[IO_MAX_GROUPS][FORMAT_BLOCK_SIZE];
};

/* Take a slot: 0, -EBUSY when there is none, or -ENOMEM. */
int io_new(const struct store *store, struct io **out);

/* Give the slot back, wiped; NULL is fine. */
void io_free(struct io *io);

/* Wipe what requests left in the slot. */
void io_wipe(struct io *io);

/*
 * Wipe everything that could tell a key or content: io (which may be NULL), what the
 * calling thread's ciphers cached, and its stack below.
 */
void io_forget(struct io *io);

/* Load the key of the file with this id: 0 or -errno. */
int io_load_key(struct io *io, enum cipher_suite suite, const uint8_t id[KEYS_FILE_ID_SIZE]);

/* A nonce never used before, from getrandom(2): 0 or -errno. */
int io_nonce(struct io *io, uint8_t nonce[CIPHER_NONCE_SIZE]);

#endif /* FS_IO_H */
