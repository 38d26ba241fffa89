/* SPDX-License-Identifier: MIT */
/*
 * Containers of single files.  Headers with the right checksum must encode to
 * the same bytes again; chunk heads must walk forward within the limits; and
 * whole contents, as they are or with every block sealed as its place demands,
 * must be refused or give a file as long as the end chunk says.
 */
#include "fuzz.h"

#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/container.h"
#include "fs/convert.h"

enum {
	MAX_CONTENT = 1 << 18,
	MODES = 4,
};

static void header(const uint8_t *data, size_t size)
{
	uint8_t raw[CONTAINER_HEADER_SIZE];
	uint8_t again[CONTAINER_HEADER_SIZE];
	struct container_header h;

	fuzz_fill(raw, sizeof(raw), data, size);
	(void)container_header_decode(raw, &h);
	(void)crypto_generichash(raw + 112, 16, raw, 112, NULL, 0);
	if (container_header_decode(raw, &h) != 0)
		return;
	container_header_encode(&h, fuzz_keys(), again);
	CHECK(memcmp(raw, again, 80) == 0);
	CHECK(container_header_check(again, fuzz_keys()) == 0);
	CHECK((memcmp(raw + 80, again + 80, 32) == 0) ==
	      (container_header_check(raw, fuzz_keys()) == 0));
}

static void walk(const uint8_t *data, size_t size)
{
	struct container_walk w = { 0 };
	struct container_chunk c;
	uint64_t end = 0;

	for (; size >= CONTAINER_HEAD_SIZE;
	     data += CONTAINER_HEAD_SIZE, size -= CONTAINER_HEAD_SIZE) {
		if (container_chunk_decode(data, &w, &c) != 0)
			return;
		CHECK(c.position >= end && c.position <= CONTAINER_MAX_LENGTH);
		if (c.is_end)
			return;
		CHECK(c.size >= 1 && c.size <= CONTAINER_CHUNK_SIZE);
		end = c.position + c.size;
	}
}

static int open_content(const uint8_t *raw, size_t size, uint64_t *length)
{
	static struct convert_hand *hand;
	struct convert_spec spec = {
		.way = CONVERT_OPEN,
		.key = { .suite = CIPHER_AES_256_GCM, .keys = fuzz_keys() },
	};
	struct convert *c;
	struct stat st;
	int r;

	if (!hand) {
		const struct engine_options options = { .workers = 0, .slots = 1 };
		struct engine *e;

		CHECK(engine_start(&options, &e) == 0);
		CHECK(convert_hand_new(e, &hand) == 0);
	}
	spec.in = (struct convert_end){ .fd = memfd_create("in", MFD_CLOEXEC), .size = size };
	spec.out = (struct convert_end){ .fd = memfd_create("out", MFD_CLOEXEC) };
	CHECK(fdio_pwrite_full(spec.in.fd, raw, size, 0) == 0);
	CHECK(convert_new(&spec, &c) == 0);
	do {
		r = convert_step(c, hand);
	} while (r == CONVERT_MORE);
	convert_free(c);
	CHECK(fstat(spec.out.fd, &st) == 0);
	*length = (uint64_t)st.st_size;
	fdio_close(spec.in.fd);
	fdio_close(spec.out.fd);
	return r;
}

/* Seal the blocks of a chunk at raw, behind its head, under their numbers. */
static void seal_chunk(uint8_t *raw, const struct container_chunk *c, uint64_t *number)
{
	static _Alignas(64) struct cipher_key key;
	uint8_t *tags = raw + CONTAINER_HEAD_SIZE;
	uint8_t *blocks = tags + container_blocks(c->size) * CIPHER_TAG_SIZE;
	uint8_t secret[CIPHER_KEY_SIZE];
	uint8_t nonce[CIPHER_NONCE_SIZE];
	uint8_t aad[16] = { 0 };

	keys_file(fuzz_keys(), (const uint8_t[KEYS_FILE_ID_SIZE]){ 0 }, secret);
	CHECK(cipher_key_set(&key, CIPHER_AES_256_GCM, secret) == 0);
	bytes_put32(aad + 8, c->is_end);
	bytes_put32(aad + 12, CIPHER_AES_256_GCM | 1 << 16);
	for (uint32_t at = 0; at < c->size; at += CONTAINER_BLOCK_SIZE, ++*number) {
		uint32_t left = c->size - at;

		container_nonce(*number, nonce);
		bytes_put64(aad, c->is_end ? 0 : (c->position + at) / CONTAINER_BLOCK_SIZE);
		CHECK(cipher_seal(&key, nonce, aad, sizeof(aad), blocks + at,
				  left < CONTAINER_BLOCK_SIZE ? left : CONTAINER_BLOCK_SIZE,
				  tags + at / CONTAINER_BLOCK_SIZE * CIPHER_TAG_SIZE) == 0);
	}
}

/* Heads from the input, with content that is right for them. */
static void sealed(const uint8_t *data, size_t size)
{
	static uint8_t raw[MAX_CONTENT];
	struct container_walk w = { 0 };
	struct container_chunk c = { 0 };
	uint64_t number = 0;
	uint64_t length;
	size_t used = 0;

	memset(raw, 0, sizeof(raw));
	while (size >= CONTAINER_HEAD_SIZE && !c.is_end) {
		memcpy(raw + used, data, CONTAINER_HEAD_SIZE);
		if (container_chunk_decode(data, &w, &c) != 0 ||
		    used + container_chunk_stored(c.size) > sizeof(raw))
			return;
		data += CONTAINER_HEAD_SIZE;
		size -= CONTAINER_HEAD_SIZE;
		if (c.is_end)
			bytes_put64(raw + used + CONTAINER_HEAD_SIZE + CIPHER_TAG_SIZE, c.position);
		seal_chunk(raw + used, &c, &number);
		used += container_chunk_stored(c.size);
	}
	if (!c.is_end) {
		CHECK(open_content(raw, used, &length) == CONVERT_CUT);
	} else if (c.position < (uint64_t)1 << 40) { /* what the filesystem can do */
		CHECK(open_content(raw, used, &length) == 0);
		CHECK(length == c.position);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t length;

	if (!size || size > MAX_CONTENT)
		return 0;
	switch (data[0] % MODES) {
	case 0:
		header(data + 1, size - 1);
		break;
	case 1:
		walk(data + 1, size - 1);
		break;
	case 2:
		CHECK(open_content(data + 1, size - 1, &length) != 0);
		break;
	default:
		sealed(data + 1, size - 1);
	}
	return 0;
}
