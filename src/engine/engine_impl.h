/* SPDX-License-Identifier: MIT */
/*
 * engine_impl - what an engine is made of; for engine.c, and for tests that
 * damage it on purpose.
 */
#ifndef ENGINE_ENGINE_IMPL_H
#define ENGINE_ENGINE_IMPL_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/batch.h"
#include "engine/engine.h"
#include "engine/pace.h"
#include "engine/pool.h"
#include "engine/shm.h"

/* A slot's owner's side; a cache line of its own. */
struct engine_slot {
	_Alignas(64) struct batch batch;
	_Atomic uint64_t tasks; /* written by the slot's owner only */
	_Atomic uint64_t bytes;
};

struct engine {
	struct arena arena;
	struct pool pool;
	struct pace pace;
	struct engine_options options;
	_Atomic uint64_t free_slots; /* one bit each */
	_Atomic uint64_t helped;     /* tasks of others, done for want of room */
	_Atomic uint32_t n_occupied; /* processors, by threads that said so */
	uint32_t n_processors;
	struct engine_slot slots[ENGINE_MAX_SLOTS];
};

#endif /* ENGINE_ENGINE_IMPL_H */
