/* SPDX-License-Identifier: MIT */
/*
 * shm - the one shared mapping and what lies where in it.  Fixed at creation,
 * inherited by fork, never resized; its name is gone before this returns.  It
 * holds no pointers, so nobody cares where it is mapped.
 */
#ifndef ENGINE_SHM_H
#define ENGINE_SHM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"
#include "engine/engine.h"
#include "engine/queue.h"
#include "engine/sync.h"
#include "engine/task.h"

enum worker_state {
	WORKER_NONE = 0,
	WORKER_STARTING, /* asked for, not at work yet */
	WORKER_BUSY,
	WORKER_PARKED,	/* waits for a unit of work */
	WORKER_LEAVING, /* was told to end */
};

/* A worker's line in the table; written by that worker but where it says so. */
struct shm_worker {
	_Alignas(64) _Atomic uint32_t state; /* enum worker_state; the pool sets STARTING, NONE */
	_Atomic uint64_t mark;		     /* see struct task_undo */
	_Atomic uint64_t tasks;		     /* done since the start, by all generations */
};

/* What a slot's batch waits for. */
struct shm_batch {
	_Alignas(64) _Atomic uint64_t pending; /* batch(32) | tasks not handed in(32) */
	struct sync_sem done;		       /* posted by who hands in the last */
};

struct shm {
	struct queue queue;
	struct sync_sem work; /* one unit wakes one parked worker */
	struct shm_worker workers[ENGINE_MAX_WORKERS];
	struct shm_batch batches[ENGINE_MAX_SLOTS];
	/* The secrets, locked first. */
	_Alignas(4096) struct cipher_key keys[ENGINE_MAX_SLOTS];
	uint8_t undo[ENGINE_MAX_WORKERS][ENGINE_BLOCK_SIZE];
	struct engine_record records[ENGINE_MAX_SLOTS][ENGINE_SLOT_BLOCKS];
	_Alignas(4096) uint8_t slots[][ENGINE_SLOT_SIZE];
};

/* A process's private view: what bounds every index read from the mapping. */
struct arena {
	struct shm *shm;
	size_t size;
	uint32_t slots;
};

/*
 * Create and map an arena of 1..ENGINE_MAX_SLOTS slots, all memory reserved
 * at once: 0 or -errno, said in one line; -ENOSPC when /dev/shm is full.
 */
int arena_new(uint32_t slots, struct arena *a);

/* Wipe and unmap; an arena of zeros is fine. */
void arena_free(struct arena *a);

/* A slot's data, records and key. */
struct task_slot arena_slot(const struct arena *a, uint32_t slot);

/* A worker's undo page, for the task with this ticket. */
struct task_undo arena_undo(const struct arena *a, uint32_t worker, uint32_t ticket);

#endif /* ENGINE_SHM_H */
