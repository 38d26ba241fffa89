/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "fixture.h"
#include "fs/container.h"
#include "fs/container_keys.h"

static struct keyring keys;

static const struct container_header plain = {
	.suite = CIPHER_AES_256_GCM,
	.kdf = { 64 << 20, 3 },
	.salt = { 1, 2, 3 },
	.id = { 4, 5, 6 },
};

static void encode(const struct container_header *h, uint8_t raw[CONTAINER_HEADER_SIZE])
{
	container_header_encode(h, &keys, raw);
}

static void reads_the_header_it_wrote(void **state)
{
	uint8_t raw[CONTAINER_HEADER_SIZE];
	struct container_header h;

	(void)state;
	encode(&plain, raw);
	assert_int_equal(container_header_decode(raw, &h), 0);
	assert_int_equal(h.suite, plain.suite);
	assert_int_equal(h.kdf.memory, plain.kdf.memory);
	assert_int_equal(h.kdf.operations, plain.kdf.operations);
	assert_memory_equal(h.salt, plain.salt, sizeof(h.salt));
	assert_memory_equal(h.id, plain.id, sizeof(h.id));
	assert_int_equal(container_header_check(raw, &keys), 0);
}

/* The magic makes it something else, the version makes it too new. */
static void refuses_every_flipped_bit_of_a_header(void **state)
{
	uint8_t raw[CONTAINER_HEADER_SIZE];
	struct container_header h;

	(void)state;
	for (size_t bit = 0; bit < sizeof(raw) * 8; bit++) {
		int expected = CONTAINER_DAMAGED;

		encode(&plain, raw);
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bit < 64)
			expected = CONTAINER_NOT_ONE;
		else if (bit > 64 && bit < 80) /* of 1, only bit 0 makes it smaller */
			expected = CONTAINER_TOO_NEW;
		assert_int_equal(container_header_decode(raw, &h), expected);
	}
}

static void tells_another_key_by_the_mac(void **state)
{
	uint8_t raw[CONTAINER_HEADER_SIZE];
	struct keyring others = keys;

	(void)state;
	encode(&plain, raw);
	others.config[31] ^= 1;
	assert_int_equal(container_header_check(raw, &others), CONTAINER_WRONG_KEY);
}

/* The checksum can be made anew by anybody; the MAC cannot. */
static void the_mac_covers_every_field(void **state)
{
	uint8_t raw[CONTAINER_HEADER_SIZE];

	(void)state;
	for (size_t i = 0; i < 80; i++) {
		encode(&plain, raw);
		raw[i] ^= 0x10;
		assert_int_equal(container_header_check(raw, &keys), CONTAINER_WRONG_KEY);
	}
}

static void refuses_parameters_out_of_bounds(void **state)
{
	const struct container_header bad[] = {
		{ .suite = CIPHER_XOR, .kdf = { 64 << 20, 3 } },
		{ .suite = 0, .kdf = { 64 << 20, 3 } },
		{ .suite = CIPHER_AES_256_GCM, .kdf = { (8 << 20) - 1024, 3 } },
		{ .suite = CIPHER_AES_256_GCM, .kdf = { ((uint64_t)4 << 30) + 1024, 3 } },
		{ .suite = CIPHER_AES_256_GCM, .kdf = { (64 << 20) + 1, 3 } },
		{ .suite = CIPHER_AES_256_GCM, .kdf = { 64 << 20, 0 } },
		{ .suite = CIPHER_AES_256_GCM, .kdf = { 64 << 20, 65 } },
	};
	uint8_t raw[CONTAINER_HEADER_SIZE];
	struct container_header h;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		encode(&bad[i], raw);
		assert_int_equal(container_header_decode(raw, &h), CONTAINER_DAMAGED);
	}
}

/* One chunk after the last: its answer. */
static int step(struct container_walk *walk, uint64_t position, uint32_t size, bool is_end)
{
	const struct container_chunk chunk = { position, size, is_end };
	struct container_chunk got;
	uint8_t raw[CONTAINER_HEAD_SIZE];
	int r;

	container_chunk_encode(&chunk, raw);
	r = container_chunk_decode(raw, walk, &got);
	if (!r) {
		assert_int_equal(got.position, position);
		assert_int_equal(got.size, size);
		assert_int_equal(got.is_end, is_end);
	}
	return r;
}

static void chunks_go_forward_in_whole_blocks(void **state)
{
	struct container_walk walk = { 0 };

	(void)state;
	assert_int_equal(step(&walk, 0, 65536, false), 0);
	assert_int_equal(step(&walk, 65536, 4096, false), 0);
	assert_int_equal(step(&walk, 65536, 4096, false), CONTAINER_DAMAGED); /* back */
	assert_int_equal(step(&walk, 69633, 4096, false), CONTAINER_DAMAGED); /* between */
	assert_int_equal(step(&walk, 69632, 0, false), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, 69632, 65537, false), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, 1 << 20, 100, false), 0); /* a hole, then the last */
	assert_int_equal(step(&walk, (1 << 20) + 4096, 1, false), CONTAINER_DAMAGED);
}

static void the_end_says_the_length(void **state)
{
	struct container_walk walk = { 0 };

	(void)state;
	assert_int_equal(step(&walk, 0, 8, true), 0);	  /* an empty file */
	assert_int_equal(step(&walk, 12345, 8, true), 0); /* nothing but a hole */
	assert_int_equal(step(&walk, 0, 7, true), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, 0, 4096, false), 0);
	assert_int_equal(step(&walk, 4095, 8, true), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, 4097, 8, true), 0);
	assert_int_equal(step(&walk, 4096, 10, false), 0);
	assert_int_equal(step(&walk, 4107, 8, true), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, 4106, 8, true), 0);
}

static void knows_no_longer_file_than_the_longest(void **state)
{
	const uint64_t most = CONTAINER_MAX_LENGTH;
	struct container_walk walk = { 0 };

	(void)state;
	assert_int_equal(step(&walk, most + 1, 8, true), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, UINT64_MAX, 8, true), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, most, 8, true), 0);
	assert_int_equal(step(&walk, most - 4096, 4097, false), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, UINT64_MAX & ~(uint64_t)4095, 4096, false), CONTAINER_DAMAGED);
	assert_int_equal(step(&walk, most - 4096, 4096, false), 0);
}

static void refuses_unknown_kinds_of_chunks(void **state)
{
	uint8_t raw[CONTAINER_HEAD_SIZE] = { 0 };
	struct container_walk walk = { 0 };
	struct container_chunk got;

	(void)state;
	bytes_put32(raw + 8, 8);
	for (uint32_t kind = 0; kind < 5; kind++) {
		bytes_put32(raw + 12, kind == 4 ? UINT32_MAX : kind);
		assert_int_equal(container_chunk_decode(raw, &walk, &got) == 0,
				 kind == 1 || kind == 2);
		walk = (struct container_walk){ 0 };
	}
}

static void derives_once_for_files_of_one_run(void **state)
{
	const struct vault_secret secret = { .bytes = (const uint8_t *)"secret", .size = 6 };
	struct container_header h = plain;
	struct container_keyset *one;
	struct container_keyset *same;
	struct container_keyset *other;
	struct container_keys *k;

	(void)state;
	h.kdf = (struct vault_kdf){ 8 << 20, 1 };
	assert_int_equal(container_keys_new(&secret, &k), 0);
	assert_int_equal(container_keys_get(k, &h, &one), 0);
	h.id[0] ^= 1;
	assert_int_equal(container_keys_get(k, &h, &same), 0);
	assert_ptr_equal(one, same);
	h.salt[0] ^= 1;
	assert_int_equal(container_keys_get(k, &h, &other), 0);
	assert_memory_not_equal(container_keyset_ring(one), container_keyset_ring(other),
				sizeof(struct keyring));
	h.salt[0] ^= 1; /* still in use, so still there */
	container_keys_put(k, same);
	assert_int_equal(container_keys_get(k, &h, &same), 0);
	assert_ptr_equal(one, same);
	container_keys_put(k, one);
	container_keys_put(k, same);
	container_keys_put(k, other);
	container_keys_free(k);
}

static int setup(void **state)
{
	(void)state;
	fixture_keys(&keys);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_header_it_wrote),
		cmocka_unit_test(refuses_every_flipped_bit_of_a_header),
		cmocka_unit_test(tells_another_key_by_the_mac),
		cmocka_unit_test(the_mac_covers_every_field),
		cmocka_unit_test(refuses_parameters_out_of_bounds),
		cmocka_unit_test(chunks_go_forward_in_whole_blocks),
		cmocka_unit_test(the_end_says_the_length),
		cmocka_unit_test(knows_no_longer_file_than_the_longest),
		cmocka_unit_test(refuses_unknown_kinds_of_chunks),
		cmocka_unit_test(derives_once_for_files_of_one_run),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, setup, NULL);
}
