/* SPDX-License-Identifier: MIT */
/*
 * engine - the door to CryptStream: slots of shared memory, and batches of
 * blocks in them that are sealed, opened or XORed in place by way of the
 * shared queue.  Knows nothing of files, FUSE or vaults.
 *
 * A slot belongs to whoever got it.  The owner fills its data and records,
 * runs a batch, and takes the results from the same place.  Between submit
 * and wait nobody but the engine touches the batch's bytes and records.
 *
 *   slot data     ENGINE_SLOT_SIZE bytes, page-aligned
 *   slot records  ENGINE_SLOT_BLOCKS of struct engine_record, one per block
 *   slot key      one struct cipher_key: the key table's entry of this slot
 *
 * Workers are separate processes without descriptors.  One may die at any
 * instruction: its task is repaired and finished by another, and the caller
 * of engine_wait sees nothing of it.  When no worker is left (or none may
 * run) the waiting thread does the work itself.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive
 * ENGINE_* is an answer.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cipher.h"

enum {
	ENGINE_BLOCK_SIZE = 4096,
	/*
	 * One page for a request's head (FUSE puts it right before the
	 * payload), 256 pages of payload, one for a run that is not aligned,
	 * two to open the old edges of an unaligned write in, and one for the
	 * end of the last one.
	 */
	ENGINE_SLOT_BLOCKS = 261,
	ENGINE_SLOT_SIZE = ENGINE_SLOT_BLOCKS * ENGINE_BLOCK_SIZE,
	ENGINE_MAX_SLOTS = 64,
	ENGINE_MAX_WORKERS = 64,
	ENGINE_WORKERS_AUTO = -1,
	ENGINE_RANGE_BLOCKS = 32, /* a task is at most 128 KiB */
};

enum {
	ENGINE_DAMAGED = 1, /* at least one block did not open: see records */
	ENGINE_BUSY,	    /* every slot is taken */
};

enum engine_op {
	ENGINE_SEAL = 1,
	ENGINE_OPEN,
	ENGINE_XOR,
};

enum engine_status {
	ENGINE_PENDING = 0,
	ENGINE_DONE = 1,
	ENGINE_FORGED = 2, /* the tag did not match; the block is wiped */
	ENGINE_FAILED = 3, /* the cipher broke (-EIO); the block is wiped */
	ENGINE_SKIP = 4,   /* set by the owner: leave this block alone */
};

/*
 * What one block needs.  AAD of a block: index(8) ‖ sequence(4) ‖ suite(2) ‖
 * format version 1(2), little-endian.
 */
struct engine_record {
	uint8_t nonce[CIPHER_NONCE_SIZE]; /* in */
	uint8_t tag[CIPHER_TAG_SIZE];	  /* SEAL: out; OPEN: in */
	uint32_t sequence;		  /* in, host order */
	uint32_t status;		  /* enum engine_status; in: SKIP or anything; out */
};

/* A run of blocks, contiguous in the slot and in the file. */
struct engine_batch {
	enum engine_op op;
	uint32_t offset;       /* bytes into the slot's data; any alignment */
	uint32_t size;	       /* bytes; the last block may be short; not 0 */
	uint32_t first_record; /* record of the first block */
	uint64_t position;     /* SEAL, OPEN: index of the first block; XOR: byte
				  offset in the file (blocks then only divide the
				  work and records carry nothing but status) */
};

struct engine_options {
	int workers; /* ENGINE_WORKERS_AUTO, 0, or 1..ENGINE_MAX_WORKERS */
	/*
	 * A number of workers is a limit: as many as there are processors come
	 * when there is work for them, more while the queue stays long and
	 * processors are idle, and but for min_workers they end when there was
	 * none for long.
	 */
	bool elastic;
	uint32_t min_workers; /* elastic: up to workers; come at once */
	bool strict;	      /* only workers process, the waiter never helps */
	uint32_t slots;	      /* 1..ENGINE_MAX_SLOTS */
	/* So long workers look for more work before they sleep; 0: as suits this machine. */
	uint32_t spin_us;
};

/* Counters since the start; a snapshot, not exact under load. */
struct engine_counters {
	uint64_t tasks_inline;	/* done by waiting threads */
	uint64_t tasks_workers; /* done by workers, and by each of them: */
	uint64_t tasks_worker[ENGINE_MAX_WORKERS];
	uint64_t bytes;
	uint64_t workers_started;
	uint64_t workers_died; /* not told to */
	uint64_t tasks_repaired;
	uint32_t workers_alive;
	uint32_t workers_target;
	uint32_t workers_max;
	uint32_t tasks_waiting; /* now */
};

/* What was measured at the start, and what follows from it for a suite. */
struct engine_pace {
	uint32_t wake_ns;	  /* waking a parked process */
	uint32_t kib_ns;	  /* 1 KiB through the cipher */
	uint32_t inline_max_size; /* bytes; smaller batches wake nobody.  UINT32_MAX:
				     there are no workers */
};

struct engine;

/*
 * Create the shared mapping, measure, and fork the zygote; a failure is said
 * in one line.  Call while this
 * process has one thread, before it holds any secret and before it opens
 * /dev/fuse: the zygote and the workers are forked from what is here now.
 * 0 or -errno.
 */
int engine_start(const struct engine_options *options, struct engine **out);

/* Start the supervisor thread; once, when threads are allowed.  0 or -errno. */
int engine_watch(struct engine *e);

/*
 * Refuse new work, finish what is queued, send TERMINATE to the workers, reap
 * them and the zygote, wipe and unmap everything.  No slot may be in use.
 * NULL is fine.
 */
void engine_stop(struct engine *e);

/* Take a free slot: 0, or ENGINE_BUSY.  Never waits. */
int engine_slot_get(struct engine *e, uint32_t *slot);

/* Give a slot back; its data, records and key are wiped. */
void engine_slot_put(struct engine *e, uint32_t slot);

uint8_t *engine_slot_data(struct engine *e, uint32_t slot);
struct engine_record *engine_slot_records(struct engine *e, uint32_t slot);

/* The slot's key, to be filled with cipher_key_set or cipher_key_set_xor. */
struct cipher_key *engine_slot_key(struct engine *e, uint32_t slot);

/* Wipe data, records and key of a slot that its owner keeps. */
void engine_slot_wipe(struct engine *e, uint32_t slot);

/*
 * Put a batch on the queue, cut into tasks of at most ENGINE_RANGE_BLOCKS
 * blocks; wakes workers where the size pays for it.  A slot has one batch in
 * flight.  0, or -EINVAL for a batch that does not fit the slot.
 */
int engine_submit(struct engine *e, uint32_t slot, const struct engine_batch *batch);

/*
 * Help and wait until the first n blocks of the slot's batch are done, so that
 * they can be used while the others are worked on.  0, or -EIO when one of
 * them is not ENGINE_DONE; engine_wait must follow in any case.
 */
int engine_wait_first(struct engine *e, uint32_t slot, uint32_t n);

/*
 * Help and wait until the slot's batch is done: 0, ENGINE_DAMAGED, or -EIO
 * when a block has status ENGINE_FAILED.  Per-block results are in the
 * records from first_record on.
 */
int engine_wait(struct engine *e, uint32_t slot);

/*
 * The calling thread is at work from here on, with whatever (reading, the engine, writing), until
 * it says that it waits.  No worker is called for a processor that such a thread occupies, as
 * its own work gets on better.  Who says nothing of it counts for nothing.
 */
void engine_occupy(struct engine *e);
void engine_vacate(struct engine *e);

/* engine_submit and engine_wait. */
int engine_run(struct engine *e, uint32_t slot, const struct engine_batch *batch);

/*
 * Leave no trace of keys and content outside of slots that have an owner: end the
 * workers and wipe their pages.  Nothing may be in flight; work goes on as ever
 * afterwards, with new workers.  0 or -ETIMEDOUT.
 */
int engine_rest(struct engine *e);

void engine_counters(struct engine *e, struct engine_counters *out);

void engine_pace(struct engine *e, enum cipher_suite suite, struct engine_pace *out);

#endif /* ENGINE_ENGINE_H */
