/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "fixture.h"
#include "fs/format.h"

static struct keyring keys;

static uint64_t random64(void)
{
	uint64_t v;

	randombytes_buf(&v, sizeof(v));
	return v;
}

/* ---- layout ------------------------------------------------------------ */

static void small_files_end_before_the_first_block(void **state)
{
	(void)state;
	for (uint64_t length = 0; length <= FORMAT_SMALL_MAX; length++) {
		assert_int_equal(format_small_size(length), 1024 + length);
		assert_int_equal(format_length(format_small_size(length)), length);
	}
	assert_int_equal(format_small_size(FORMAT_SMALL_MAX), 4095);
}

static void a_size_below_the_header_has_no_content(void **state)
{
	(void)state;
	assert_int_equal(format_length(0), 0);
	assert_int_equal(format_length(1023), 0);
	assert_int_equal(format_length(4096), 0);
}

static void check_length(uint64_t length)
{
	uint64_t size = format_big_size(length);

	assert_int_equal(format_length(size), length);
	if (length) {
		uint64_t last = (length - 1) / FORMAT_BLOCK_SIZE;

		/* A file ends where its last block ends, and no sooner. */
		assert_int_equal(format_block_offset(last) + (length - 1) % FORMAT_BLOCK_SIZE + 1,
				 size);
		assert_true(format_big_size(length - 1) < size);
	}
}

static void sizes_and_lengths_are_inverse_at_every_boundary(void **state)
{
	const uint64_t first = 48 * 4096;
	const uint64_t group = 64 * 4096;

	(void)state;
	assert_int_equal(format_big_size(0), 4096);
	assert_int_equal(format_big_size(first), 4096 + first);
	assert_int_equal(format_big_size(first + 1), 4096 + first + 4096 + 1);
	for (uint64_t n = 0; n < 40; n++)
		for (uint64_t d = 0; d < 3; d++) {
			check_length(n * 4096 + d);
			check_length(first + n * group + d);
			check_length(first + (n + 1) * group - d);
		}
	check_length(FORMAT_MAX_LENGTH);
}

static void sizes_and_lengths_are_inverse_for_random_lengths(void **state)
{
	(void)state;
	for (int i = 0; i < 200000; i++)
		check_length(random64() % FORMAT_MAX_LENGTH >> random64() % 60);
}

static void a_size_inside_a_tag_page_adds_nothing(void **state)
{
	const uint64_t first = 48 * 4096;
	const uint64_t start = 4096 + first;

	(void)state;
	assert_int_equal(format_length(start + 1), first);
	assert_int_equal(format_length(start + 4095), first);
	assert_int_equal(format_length(start + 4096), first);
	assert_int_equal(format_length(start + 4097), first + 1);
	for (uint64_t n = 1; n < 30; n++) {
		uint64_t end = start + n * 65 * 4096;

		assert_int_equal(format_length(end), first + n * 64 * 4096);
		assert_int_equal(format_length(end + 17), first + n * 64 * 4096);
		assert_int_equal(format_length(end + 4097), first + n * 64 * 4096 + 1);
	}
}

/* The layout by walking it: pages in order, each a tag page or a block. */
static void blocks_and_entries_lie_where_a_walk_finds_them(void **state)
{
	uint64_t page = 1;
	uint64_t index = 0;

	(void)state;
	for (uint64_t group = 0; group < 50; group++) {
		uint64_t entries = group ? page++ * 4096 : 1024;

		assert_int_equal(format_group_first(group), index);
		assert_int_equal(format_group_blocks(group), group ? 64 : 48);
		for (uint32_t i = 0; i < format_group_blocks(group); i++, index++) {
			assert_int_equal(format_group(index), group);
			assert_int_equal(format_entry_offset(index), entries + 64 * i);
			assert_int_equal(format_block_offset(index), page++ * 4096);
		}
	}
}

/* ---- tag entries ------------------------------------------------------- */

static void an_entry(uint32_t first, uint32_t second, uint8_t raw[FORMAT_ENTRY_SIZE])
{
	struct format_half half = { .sequence = first };

	format_half_encode(&half, raw);
	half.sequence = second;
	format_half_encode(&half, raw + FORMAT_HALF_SIZE);
}

static int current(uint32_t first, uint32_t second)
{
	uint8_t raw[FORMAT_ENTRY_SIZE];

	an_entry(first, second, raw);
	return format_entry_current(raw);
}

static void halves_come_back_as_they_were(void **state)
{
	uint8_t raw[FORMAT_HALF_SIZE];
	uint8_t again[FORMAT_HALF_SIZE];
	struct format_half half;

	(void)state;
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(i + 1);
	format_half_decode(raw, &half);
	assert_int_equal(half.nonce[0], 1);
	assert_int_equal(half.tag[0], 13);
	assert_int_equal(half.sequence, 0x201f1e1d);
	format_half_encode(&half, again);
	assert_memory_equal(raw, again, sizeof(raw));
}

static void the_later_half_is_current_even_when_the_counter_wraps(void **state)
{
	(void)state;
	assert_int_equal(current(0, 0), 0);
	assert_int_equal(current(1, 0), 0);
	assert_int_equal(current(0, 1), 1);
	assert_int_equal(current(0, UINT32_MAX), 1);
	assert_int_equal(current(UINT32_MAX, 0), 0);
	assert_int_equal(current(1, 2), 1);
	assert_int_equal(current(2, 1), 0);
	assert_int_equal(current(7, 7), 0);
	assert_int_equal(current(UINT32_MAX, 1), 1);
	assert_int_equal(current(1, UINT32_MAX), 0);
	assert_int_equal(current(1, 0x80000000), 1);
	assert_int_equal(current(0x80000000, 1), 0);
}

static void a_sequence_is_never_zero(void **state)
{
	(void)state;
	assert_int_equal(format_sequence_next(0), 1);
	assert_int_equal(format_sequence_next(1), 2);
	assert_int_equal(format_sequence_next(UINT32_MAX), 1);
}

static void only_an_entry_of_zeros_is_a_hole(void **state)
{
	uint8_t raw[FORMAT_ENTRY_SIZE] = { 0 };

	(void)state;
	assert_true(format_entry_is_hole(raw));
	for (size_t i = 0; i < sizeof(raw); i++) {
		raw[i] = 1;
		assert_false(format_entry_is_hole(raw));
		raw[i] = 0;
	}
}

/* ---- file header ------------------------------------------------------- */

static const uint8_t nonce[CIPHER_NONCE_SIZE] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };

/* A header of which every field holds something. */
static void a_header(struct format_header *h)
{
	memset(h, 0, sizeof(*h));
	memset(h->id, 0x11, sizeof(h->id));
	h->sequence = 0x0123456789abcdef;
	h->length = 3000;
	h->flags = FORMAT_DIRTY | FORMAT_SMALL | FORMAT_HAS_HOLES;
	memset(h->bindings[0], 0x22, FORMAT_BINDING_SIZE);
	memset(h->bindings[1], 0x33, FORMAT_BINDING_SIZE);
	memset(h->small_nonce, 0x44, sizeof(h->small_nonce));
	memset(h->small_tag, 0x55, sizeof(h->small_tag));
	h->shrink_length = 77;
	memset(h->moving.nonce, 0x66, sizeof(h->moving.nonce));
	memset(h->moving.tag, 0x77, sizeof(h->moving.tag));
	h->moving.sequence = 0x88;
}

static void header_key(const struct format_header *h, enum cipher_suite suite,
		       struct cipher_key *key)
{
	fixture_file_key(&keys, h->id, suite, key);
}

static void headers_come_back_as_they_were(void **state)
{
	const enum cipher_suite suites[] = { CIPHER_AES_256_GCM, CIPHER_CHACHA20_POLY1305 };
	uint8_t raw[FORMAT_HEADER_SIZE];
	uint8_t id[KEYS_FILE_ID_SIZE];
	struct format_header h;
	struct format_header found;
	static struct cipher_key key;

	(void)state;
	a_header(&h);
	for (int i = 0; i < 2; i++) {
		memset(&found, 0, sizeof(found));
		header_key(&h, suites[i], &key);
		assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
		assert_int_equal(format_header_peek(raw, id), 0);
		assert_memory_equal(id, h.id, sizeof(id));
		assert_int_equal(format_header_decode(raw, &key, &found), 0);
		assert_memory_equal(found.id, h.id, sizeof(h.id));
		assert_int_equal(found.sequence, h.sequence);
		assert_int_equal(found.length, h.length);
		assert_int_equal(found.flags, h.flags);
		assert_memory_equal(found.bindings, h.bindings, sizeof(h.bindings));
		assert_memory_equal(found.small_nonce, h.small_nonce, sizeof(h.small_nonce));
		assert_memory_equal(found.small_tag, h.small_tag, sizeof(h.small_tag));
		assert_int_equal(found.shrink_length, h.shrink_length);
		assert_memory_equal(found.moving.nonce, h.moving.nonce, sizeof(h.moving.nonce));
		assert_memory_equal(found.moving.tag, h.moving.tag, sizeof(h.moving.tag));
		assert_int_equal(found.moving.sequence, h.moving.sequence);
	}
}

static void a_header_with_any_byte_changed_is_damaged(void **state)
{
	uint8_t raw[FORMAT_HEADER_SIZE];
	struct format_header h;
	struct format_header found = { .length = 42 };
	static struct cipher_key key;

	(void)state;
	a_header(&h);
	header_key(&h, CIPHER_AES_256_GCM, &key);
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
	for (size_t i = 0; i < sizeof(raw); i++) {
		raw[i] ^= 0x40;
		assert_int_equal(format_header_decode(raw, &key, &found), FORMAT_DAMAGED);
		raw[i] ^= 0x40;
	}
	assert_int_equal(found.length, 42);
	assert_int_equal(format_header_decode(raw, &key, &found), 0);
}

static void a_header_opens_with_its_own_key_and_suite_only(void **state)
{
	uint8_t raw[FORMAT_HEADER_SIZE];
	struct format_header h;
	static struct cipher_key key;

	(void)state;
	a_header(&h);
	header_key(&h, CIPHER_AES_256_GCM, &key);
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
	header_key(&h, CIPHER_CHACHA20_POLY1305, &key);
	assert_int_equal(format_header_decode(raw, &key, &h), FORMAT_DAMAGED);
	fixture_file_key(&keys, (const uint8_t[32]){ 1 }, CIPHER_AES_256_GCM, &key);
	assert_int_equal(format_header_decode(raw, &key, &h), FORMAT_DAMAGED);
}

static void peek_refuses_what_is_no_header(void **state)
{
	uint8_t raw[FORMAT_HEADER_SIZE] = { 0 };
	uint8_t id[KEYS_FILE_ID_SIZE];

	(void)state;
	assert_int_equal(format_header_peek(raw, id), FORMAT_DAMAGED);
	memcpy(raw, "cryptfsD", 8);
	assert_int_equal(format_header_peek(raw, id), FORMAT_DAMAGED);
}

static void a_header_that_cannot_be_is_not_written(void **state)
{
	uint8_t raw[FORMAT_HEADER_SIZE];
	struct format_header h;
	static struct cipher_key key;

	(void)state;
	a_header(&h);
	header_key(&h, CIPHER_AES_256_GCM, &key);
	h.length = FORMAT_SMALL_MAX;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
	h.length = FORMAT_SMALL_MAX + 1;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), -EINVAL);
	h.flags = 0;
	h.length = FORMAT_MAX_LENGTH;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
	h.length = FORMAT_MAX_LENGTH + 1;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), -EINVAL);
	h.length = 0;
	h.shrink_length = FORMAT_MAX_LENGTH + 1;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), -EINVAL);
	h.shrink_length = 0;
	h.flags = 1 << 6;
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), -EINVAL);
}

/* Change one byte of the sealed payload as a writer with the key could. */
static int decode_resealed(size_t at, uint8_t value)
{
	uint8_t raw[FORMAT_HEADER_SIZE];
	uint8_t aad[52];
	struct format_header h;
	static struct cipher_key key;

	a_header(&h);
	header_key(&h, CIPHER_AES_256_GCM, &key);
	assert_int_equal(format_header_encode(&h, &key, nonce, raw), 0);
	memcpy(aad, raw, 48);
	memcpy(aad + 48, "\1\0\1\0", 4); /* suite 1, version 1 */
	assert_int_equal(cipher_open(&key, raw + 48, aad, 52, raw + 76, 436, raw + 60), 0);
	raw[76 + at] = value;
	assert_int_equal(cipher_seal(&key, raw + 48, aad, 52, raw + 76, 436, raw + 60), 0);
	return format_header_decode(raw, &key, &h);
}

static void sealed_nonsense_is_damage_too(void **state)
{
	(void)state;
	assert_int_equal(decode_resealed(0, 1), 0);
	assert_int_equal(decode_resealed(1, 0xff), FORMAT_DAMAGED); /* too long to be small */
	assert_int_equal(decode_resealed(7, 0x80), FORMAT_DAMAGED); /* too long for anything */
	assert_int_equal(decode_resealed(8, 1 << 6), FORMAT_DAMAGED);
	assert_int_equal(decode_resealed(11, 0x80), FORMAT_DAMAGED); /* flags of the future */
	assert_int_equal(decode_resealed(79, 0x80), FORMAT_DAMAGED); /* shrink_length */
	for (size_t at = 112; at < 436; at++)
		assert_int_equal(decode_resealed(at, 1), FORMAT_DAMAGED);
}

/* ---- bindings and directory records ------------------------------------ */

static void bindings_tell_every_place_apart(void **state)
{
	uint8_t parent[FORMAT_DIR_ID_SIZE] = { 1 };
	uint8_t first[FORMAT_BINDING_SIZE];
	uint8_t again[FORMAT_BINDING_SIZE];
	uint8_t other[FORMAT_BINDING_SIZE];
	struct keyring strange = keys;

	(void)state;
	format_binding(&keys, parent, "stored", first);
	format_binding(&keys, parent, "stored", again);
	assert_memory_equal(first, again, sizeof(first));
	format_binding(&keys, parent, "storee", other);
	assert_memory_not_equal(first, other, sizeof(first));
	format_binding(&keys, parent, "", other);
	assert_memory_not_equal(first, other, sizeof(first));
	parent[15] = 1;
	format_binding(&keys, parent, "stored", other);
	assert_memory_not_equal(first, other, sizeof(first));
	parent[15] = 0;
	strange.directory[31] ^= 1;
	format_binding(&strange, parent, "stored", other);
	assert_memory_not_equal(first, other, sizeof(first));
}

static void a_record(uint8_t raw[FORMAT_DIR_RECORD_SIZE], struct format_dir_record *record)
{
	memset(record->id, 0xa1, sizeof(record->id));
	memset(record->bindings[0], 0xb2, FORMAT_BINDING_SIZE);
	memset(record->bindings[1], 0xc3, FORMAT_BINDING_SIZE);
	format_dir_record_encode(record, &keys, raw);
}

static void records_come_back_as_they_were(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	struct format_dir_record record;
	struct format_dir_record found;

	(void)state;
	a_record(raw, &record);
	assert_int_equal(format_dir_record_decode(raw, sizeof(raw), &keys, &found), 0);
	assert_memory_equal(&found, &record, sizeof(record));
}

static void a_record_with_any_byte_changed_is_damaged(void **state)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE + 1] = { 0 };
	struct format_dir_record record;
	struct keyring strange = keys;

	(void)state;
	a_record(raw, &record);
	for (size_t i = 0; i < FORMAT_DIR_RECORD_SIZE; i++) {
		raw[i] ^= 1;
		assert_int_equal(
			format_dir_record_decode(raw, FORMAT_DIR_RECORD_SIZE, &keys, &record),
			FORMAT_DAMAGED);
		raw[i] ^= 1;
	}
	for (size_t size = 0; size <= sizeof(raw); size++)
		assert_int_equal(format_dir_record_decode(raw, size, &keys, &record),
				 size == FORMAT_DIR_RECORD_SIZE ? 0 : FORMAT_DAMAGED);
	strange.directory[0] ^= 1;
	assert_int_equal(format_dir_record_decode(raw, FORMAT_DIR_RECORD_SIZE, &strange, &record),
			 FORMAT_DAMAGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_files_end_before_the_first_block),
		cmocka_unit_test(a_size_below_the_header_has_no_content),
		cmocka_unit_test(sizes_and_lengths_are_inverse_at_every_boundary),
		cmocka_unit_test(sizes_and_lengths_are_inverse_for_random_lengths),
		cmocka_unit_test(a_size_inside_a_tag_page_adds_nothing),
		cmocka_unit_test(blocks_and_entries_lie_where_a_walk_finds_them),
		cmocka_unit_test(halves_come_back_as_they_were),
		cmocka_unit_test(the_later_half_is_current_even_when_the_counter_wraps),
		cmocka_unit_test(a_sequence_is_never_zero),
		cmocka_unit_test(only_an_entry_of_zeros_is_a_hole),
		cmocka_unit_test(headers_come_back_as_they_were),
		cmocka_unit_test(a_header_with_any_byte_changed_is_damaged),
		cmocka_unit_test(a_header_opens_with_its_own_key_and_suite_only),
		cmocka_unit_test(peek_refuses_what_is_no_header),
		cmocka_unit_test(a_header_that_cannot_be_is_not_written),
		cmocka_unit_test(sealed_nonsense_is_damage_too),
		cmocka_unit_test(bindings_tell_every_place_apart),
		cmocka_unit_test(records_come_back_as_they_were),
		cmocka_unit_test(a_record_with_any_byte_changed_is_damaged),
	};

	alarm(60); /* a hang is a failure */
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
