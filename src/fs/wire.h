/* SPDX-License-Identifier: MIT */
/*
 * wire - what libfuse 3.14 leaves out of the kernel's protocol: capabilities
 * that it takes but does not pass on in its reply to INIT, and flags of
 * requests that it does not hand to the callbacks.  Bytes only; no I/O.
 *
 * libfuse/libfuse commits c9905341 (PARALLEL_DIROPS) and 3e283a1b
 * (HANDLE_KILLPRIV_V2) say what later versions do; there this changes nothing.
 * And TMPFILE and FUSE_NOTIFY_PRUNE of Linux 6.1 and 6.18, which libfuse 3.14 does
 * not know.
 */
#ifndef FS_WIRE_H
#define FS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WIRE_OPCODES = 64, /* numbers from here on are not requests of files */
};

/* A request's opcode; 0, which is none, for what has no whole head or an odd number. */
uint32_t wire_opcode(const void *request, size_t size);

/* "LOOKUP" …, or NULL for a number that has no name. */
const char *wire_opcode_name(uint32_t opcode);

/* A kind of request that nobody makes to use a file: FORGET, STATFS, INTERRUPT and the like. */
bool wire_is_no_use(uint32_t opcode);

/* If request, size bytes, is INIT: true, and what the kernel can do. */
bool wire_is_init(const void *request, size_t size, uint32_t *offered);

/*
 * Ask, in the body of the reply to INIT, for what was offered and we serve:
 * lookups of one directory side by side; being told when a write takes set-id
 * bits away, in place of a GETXATTR before every write; and when an ACL does.
 */
void wire_amend_init(void *reply, size_t size, uint32_t offered);

/*
 * Make of a request, size bytes, what libfuse 3.14 understands, where the
 * kernel offered so much: its size then.
 *
 * TMPFILE is CREATE with the name "/", which nothing else has, and becomes it.
 * SETXATTR loses the flags that came late, but for the set-gid bit's.
 */
size_t wire_translate(void *request, size_t size, uint32_t offered);

/* Among the flags of a translated SETXATTR: the set-gid bit of the file is to go. */
#define WIRE_KILL_SET_GID (1 << 30)

/*
 * Whether an OPEN, CREATE, WRITE or SETATTR request takes away the set-id
 * bits of its file; the kernel leaves that to us.
 */
bool wire_kills_set_id(const void *request);

/* A kind of request that has the kernel keep content, names or targets in its pages. */
bool wire_fills_pages(uint32_t opcode);

/* Whether a request can be served without a key, and is, so that a mount can be left and undone. */
bool wire_needs_no_key(const void *request, size_t size);

uint64_t wire_unique(const void *request);

/* If request is an INTERRUPT: true, and the unique number of the request that it is for. */
bool wire_is_interrupt(const void *request, size_t size, uint64_t *unique);

enum { WIRE_ERROR_SIZE = 16 };

/* The reply to the request with this number that says no more than 0 or -errno. */
void wire_error(uint8_t reply[WIRE_ERROR_SIZE], uint64_t unique, int error);

enum { WIRE_PRUNE_SIZE = 32 };

/*
 * The head of a message to /dev/fuse that asks the kernel to let go of n
 * inodes, as far as nobody uses them; n node ids of 8 bytes follow it.
 */
void wire_prune(uint8_t head[WIRE_PRUNE_SIZE], uint32_t n);

#endif /* FS_WIRE_H */
