/* SPDX-License-Identifier: MIT */
/*
 * The work: see task.h for the contract.
 *
 * The order of stores around one block is what makes a death harmless:
 *
 *   copy to the undo page; mark; data in place, tag; status; unmark
 *
 * A runner that dies before the mark has changed nothing.  Between mark and
 * status the block is put back and done again: the same nonce, but with the
 * identical plaintext.  After the status the block is finished.
 *
 * Whoever repairs knows that the runner is gone, and a process that is gone
 * has made all its stores; so it is enough that the compiler keeps the order.
 */
#include "engine/task.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

enum {
	AAD_SIZE = 16,
	FORMAT_VERSION = 1,
};

/* mark: ticket(32) | block in the task(16) | 1 */
static uint64_t mark_of(uint32_t ticket, uint32_t block)
{
	return (uint64_t)ticket << 32 | (uint64_t)block << 16 | 1;
}

int task_check(const struct task *t, uint32_t slots)
{
	uint32_t blocks;

	if (t->type < TASK_SEAL || t->type > TASK_XOR)
		return -EINVAL;
	if (t->slot >= slots || t->key != t->slot)
		return -EINVAL;
	if (t->size == 0 || t->size > ENGINE_SLOT_SIZE || t->offset > ENGINE_SLOT_SIZE - t->size)
		return -EINVAL;
	blocks = task_blocks(t->size);
	if (blocks > ENGINE_RANGE_BLOCKS || t->first_record > ENGINE_SLOT_BLOCKS - blocks)
		return -EINVAL;
	return 0;
}

uint32_t task_status(const struct engine_record *record)
{
	return __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);
}

void task_set_status(struct engine_record *record, uint32_t status)
{
	__atomic_store_n(&record->status, status, __ATOMIC_RELEASE);
}

struct block {
	uint8_t *data;
	uint32_t size;
	struct engine_record *record;
};

static struct block block_at(const struct task *t, const struct task_slot *slot, uint32_t i)
{
	uint32_t start = i * ENGINE_BLOCK_SIZE;
	uint32_t left = t->size - start;

	return (struct block){
		.data = slot->data + t->offset + start,
		.size = left < ENGINE_BLOCK_SIZE ? left : ENGINE_BLOCK_SIZE,
		.record = &slot->records[t->first_record + i],
	};
}

static void make_aad(const struct task *t, const struct task_slot *slot, const struct block *b,
		     uint32_t i, uint8_t aad[AAD_SIZE])
{
	bytes_put64(aad, t->position + i);
	bytes_put32(aad + 8, b->record->sequence);
	bytes_put32(aad + 12, (slot->key->suite & 0xffff) | FORMAT_VERSION << 16);
}

static enum engine_status seal(const struct task_slot *slot, const struct block *b,
			       const uint8_t *aad)
{
	uint8_t tag[CIPHER_TAG_SIZE];

	if (cipher_seal(slot->key, b->record->nonce, aad, AAD_SIZE, b->data, b->size, tag)) {
		secmem_wipe(b->data, b->size);
		return ENGINE_FAILED;
	}
	memcpy(b->record->tag, tag, sizeof(tag));
	return ENGINE_DONE;
}

static enum engine_status open_block(const struct task_slot *slot, const struct block *b,
				     const uint8_t *aad)
{
	uint8_t tag[CIPHER_TAG_SIZE];

	memcpy(tag, b->record->tag, sizeof(tag));
	switch (cipher_open(slot->key, b->record->nonce, aad, AAD_SIZE, b->data, b->size, tag)) {
	case 0:
		return ENGINE_DONE;
	case CIPHER_FORGED:
		return ENGINE_FORGED;
	default:
		return ENGINE_FAILED;
	}
}

static enum engine_status xor_block(const struct task *t, const struct task_slot *slot,
				    const struct block *b, uint32_t i)
{
	if (slot->key->suite != CIPHER_XOR) {
		secmem_wipe(b->data, b->size);
		return ENGINE_FAILED;
	}
	cipher_xor(slot->key, t->position + (uint64_t)i * ENGINE_BLOCK_SIZE, b->data, b->size);
	return ENGINE_DONE;
}

static enum engine_status do_block(const struct task *t, const struct task_slot *slot,
				   const struct block *b, uint32_t i)
{
	uint8_t aad[AAD_SIZE];

	if (t->type == TASK_XOR)
		return xor_block(t, slot, b, i);
	make_aad(t, slot, b, i, aad);
	return t->type == TASK_SEAL ? seal(slot, b, aad) : open_block(slot, b, aad);
}

static void mark(const struct task_undo *undo, const struct block *b, uint32_t i)
{
	memcpy(undo->page, b->data, b->size);
	atomic_store_explicit(undo->mark, mark_of(undo->ticket, i), memory_order_release);
	atomic_signal_fence(memory_order_seq_cst); /* nothing below may be stored before it */
}

static void unmark(const struct task_undo *undo)
{
	atomic_store_explicit(undo->mark, 0, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

void task_run(const struct task *t, const struct task_slot *slot, const struct task_undo *undo)
{
	uint32_t n = task_blocks(t->size);

	for (uint32_t i = 0; i < n; i++) {
		struct block b = block_at(t, slot, i);

		if (task_status(b.record) != ENGINE_PENDING)
			continue;
		if (undo)
			mark(undo, &b, i);
		task_set_status(b.record, do_block(t, slot, &b, i));
		if (undo)
			unmark(undo);
	}
}

void task_undo(const struct task *t, const struct task_slot *slot, const struct task_undo *undo)
{
	uint64_t m = atomic_load_explicit(undo->mark, memory_order_acquire);
	uint32_t i = (uint32_t)(m >> 16) & 0xffff;
	struct block b;

	if (m != mark_of(undo->ticket, i) || i >= task_blocks(t->size))
		return;
	b = block_at(t, slot, i);
	if (task_status(b.record) == ENGINE_PENDING)
		memcpy(b.data, undo->page, b.size);
}
