/* SPDX-License-Identifier: MIT */
/*
 * task - what one entry of the queue says, the check of what was read from
 * shared memory, and the work itself: blocks of one slot, one after the other.
 *
 * A block's status in its record is the truth about it: PENDING until its
 * bytes and its tag are in place, and never looked at again afterwards.  So a
 * task that was interrupted is simply run again, once the block that its
 * runner was in has been put back (see struct task_undo).
 */
#ifndef ENGINE_TASK_H
#define ENGINE_TASK_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/engine.h"

enum task_type {
	TASK_SEAL = ENGINE_SEAL,
	TASK_OPEN = ENGINE_OPEN,
	TASK_XOR = ENGINE_XOR,
	TASK_TERMINATE, /* ends the worker that takes it; the rest is ignored */
};

/* Indices and offsets only; every reader copies it, checks the copy, uses the copy. */
struct task {
	uint32_t type;
	uint32_t slot;
	uint32_t key;	       /* index in the key table; the slot's own */
	uint32_t offset;       /* bytes into the slot */
	uint32_t size;	       /* bytes */
	uint32_t first_record; /* of the first block */
	uint32_t batch;	       /* which of the slot's batches */
	uint32_t deaths;       /* workers that died with it */
	uint64_t position;     /* as in struct engine_batch, of this task's first byte */
};

/* One slot, its records and its key, wherever they are mapped. */
struct task_slot {
	uint8_t *data;		       /* ENGINE_SLOT_SIZE */
	struct engine_record *records; /* ENGINE_SLOT_BLOCKS */
	const struct cipher_key *key;
};

/*
 * A worker's undo page: what the block that it is in looked like before.
 * mark is 0, or says which block of which task that is.
 */
struct task_undo {
	uint8_t *page; /* ENGINE_BLOCK_SIZE */
	_Atomic uint64_t *mark;
	uint32_t ticket; /* of the task at hand */
};

/* Blocks in size bytes. */
static inline uint32_t task_blocks(uint32_t size)
{
	return (size + ENGINE_BLOCK_SIZE - 1) / ENGINE_BLOCK_SIZE;
}

/* 0 if t can be run in an engine of this many slots, or -EINVAL. */
int task_check(const struct task *t, uint32_t slots);

/*
 * Do every block of a checked task that is PENDING.  undo is NULL for those
 * who do not die alone: the threads of the mount process.
 */
void task_run(const struct task *t, const struct task_slot *slot, const struct task_undo *undo);

/* Put back the block that a dead runner of this checked task was in, if any. */
void task_undo(const struct task *t, const struct task_slot *slot, const struct task_undo *undo);

/* A block's status, as its owner may read it while others work. */
uint32_t task_status(const struct engine_record *record);
void task_set_status(struct engine_record *record, uint32_t status);

#endif /* ENGINE_TASK_H */
