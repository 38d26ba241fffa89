/* SPDX-License-Identifier: MIT */
/* A thread's slot, key and nonces: see io.h. */
#include "fs/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/secmem.h"
#include "fs/siv.h"

int io_new(const struct store *store, struct io **out)
{
	struct io *io = calloc(1, sizeof(*io));

	*out = NULL;
	if (!io)
		return -ENOMEM;
	if (engine_slot_get(store->engine, &io->slot)) {
		free(io);
		return -EBUSY;
	}
	io->engine = store->engine;
	io->keys = store->keys;
	io->data = engine_slot_data(io->engine, io->slot);
	io->records = engine_slot_records(io->engine, io->slot);
	io->key = engine_slot_key(io->engine, io->slot);
	*out = io;
	return 0;
}

void io_free(struct io *io)
{
	if (!io)
		return;
	engine_slot_put(io->engine, io->slot);
	secmem_wipe(io, sizeof(*io));
	free(io);
}

void io_wipe(struct io *io)
{
	engine_slot_wipe(io->engine, io->slot);
	io->key_loaded = false;
	io->tail_version = 0;
	io->used = false;
}

void io_forget(struct io *io)
{
	if (io) {
		io_wipe(io);
		secmem_wipe(io->entries, sizeof(io->entries));
		secmem_wipe(io->pages, sizeof(io->pages));
	}
	siv_thread_fini();
	cipher_thread_fini();
	secmem_wipe_stack();
}

int io_load_key(struct io *io, enum cipher_suite suite, const uint8_t id[KEYS_FILE_ID_SIZE])
{
	uint8_t secret[CIPHER_KEY_SIZE];
	int r;

	io->used = true;
	if (io->key_loaded && !memcmp(io->key_id, id, sizeof(io->key_id)))
		return 0;
	io->key_loaded = false;
	if (suite == CIPHER_XOR) {
		r = cipher_key_set_xor(io->key, io->keys->master, sizeof(io->keys->master));
	} else {
		keys_file(io->keys, id, secret);
		r = cipher_key_set(io->key, suite, secret);
		secmem_wipe(secret, sizeof(secret));
	}
	if (r)
		return r;
	memcpy(io->key_id, id, sizeof(io->key_id));
	io->key_loaded = true;
	return 0;
}

static int draw_nonces(struct io *io)
{
	size_t done = 0;

	while (done < sizeof(io->nonces)) {
		ssize_t n = getrandom(io->nonces + done, sizeof(io->nonces) - done, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	io->nonces_left = sizeof(io->nonces) / CIPHER_NONCE_SIZE;
	return 0;
}

int io_nonce(struct io *io, uint8_t nonce[CIPHER_NONCE_SIZE])
{
	int r = io->nonces_left ? 0 : draw_nonces(io);

	if (r)
		return r;
	io->nonces_left--;
	memcpy(nonce, io->nonces + io->nonces_left * CIPHER_NONCE_SIZE, CIPHER_NONCE_SIZE);
	return 0;
}
