/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/bytes.h"
#include "file_fixture.h"

static struct image image;
static struct backup backup;
static struct io *second; /* another thread's */

static void take_turns(void)
{
	struct io *last = io;

	io = second;
	second = last;
}

/* Where something changes, and the ends of the first two groups. */
static const uint64_t edges[] = {
	0,
	1,
	2,
	3070,
	3071,
	3072,
	3073,
	4095,
	4096,
	4097,
	8191,
	8192,
	8193,
	47 * BLOCK,
	48 * BLOCK - 1,
	48 * BLOCK,
	48 * BLOCK + 1,
	49 * BLOCK,
	112 * BLOCK - 1,
	112 * BLOCK,
	112 * BLOCK + 1,
};
enum { N_EDGES = sizeof(edges) / sizeof(edges[0]) };

/* ---- against a model ------------------------------------------------------- */

struct model {
	uint64_t random;
	int backing;
	struct file *file;
	bool big;	/* content is expected in blocks */
	bool alternate; /* two threads make the changes */
	uint8_t fill;
};

static uint64_t draw(struct model *m, uint64_t n)
{
	m->random = m->random * 6364136223846793005U + 1442695040888963407U;
	return (m->random >> 33) % n;
}

/* A position near an edge, or anywhere within 1.5 groups. */
static uint64_t draw_position(struct model *m)
{
	uint64_t edge = edges[draw(m, N_EDGES)];
	uint64_t shift = draw(m, 9);

	if (draw(m, 3) == 0)
		return draw(m, 130 * BLOCK);
	if (draw(m, 2) == 0)
		return draw(m, 4 * BLOCK);
	return edge + shift >= 4 ? edge + shift - 4 : 0;
}

static size_t draw_size(struct model *m)
{
	switch (draw(m, 5)) {
	case 0:
		return 1 + draw(m, 20);
	case 1:
		return (1 + draw(m, 5)) * BLOCK;
	case 2:
		return 1 + draw(m, 70 * BLOCK);
	default:
		return 1 + draw(m, 2 * BLOCK);
	}
}

static uint64_t expected_size(const struct model *m)
{
	if (store.suite == CIPHER_XOR)
		return image.length;
	return m->big ? format_big_size(image.length) : format_small_size(image.length);
}

static void model_write(struct model *m)
{
	bool append = draw(m, 4) == 0;
	uint64_t offset = append ? image.length : draw_position(m);
	size_t size = draw_size(m);
	uint64_t bad;

	if (offset + size > 300 * BLOCK)
		return;
	pattern(io->data + IO_DATA, offset, size, m->fill);
	assert_int_equal(file_write(m->file, io, append ? 0 : offset, size, append, &bad), 0);
	image_write(&image, offset, size, m->fill++);
	m->big |= offset + size > FORMAT_SMALL_MAX;
}

static void model_truncate(struct model *m)
{
	uint64_t length = draw(m, 6) ? draw_position(m) : 0;

	assert_int_equal(resize(m->file, length), 0);
	if (!length && image.length)
		m->big = false;
	m->big |= length > FORMAT_SMALL_MAX;
	image_resize(&image, length);
}

static void model_reopen(struct model *m, bool trusted)
{
	file_close(m->file);
	assert_int_equal(backing_size(m->backing), expected_size(m));
	m->file = file_opened(m->backing, trusted);
}

static void model_settle(struct model *m)
{
	assert_int_equal(file_settle(m->file, io, draw(m, 2)), 0);
	assert_false(file_is_unsettled(m->file));
	if (store.suite != CIPHER_XOR)
		assert_false(header_on_disk(m->backing).flags & FORMAT_DIRTY);
}

static void model_step(struct model *m)
{
	uint64_t what = draw(m, 16);

	if (m->alternate && draw(m, 3) == 0)
		take_turns();
	if (what < 7)
		model_write(m);
	else if (what < 10)
		model_truncate(m);
	else if (what < 11)
		assert_int_equal(file_sync(m->file, draw(m, 2)), 0);
	else if (what < 12)
		model_settle(m);
	else if (what < 14)
		model_reopen(m, what == 12);
	else
		assert_range(m->file, &image, draw_position(m), draw_size(m));
}

static void run_model(enum cipher_suite suite, uint64_t seed, bool alternate)
{
	struct model m = { .random = seed, .backing = backing_new(), .alternate = alternate };

	fixture_suite(suite);
	image.length = 0;
	m.file = file_made(m.backing);
	for (int i = 0; i < 2500; i++) {
		model_step(&m);
		assert_ends_at(m.file, image.length);
		assert_range(m.file, &image, draw_position(&m), draw_size(&m));
	}
	assert_content(m.file, &image);
	assert_int_equal(backing_size(m.backing), expected_size(&m));
	file_close(m.file);
	assert_content_afresh(m.backing, &image);
	close(m.backing);
}

static void any_sequence_of_changes_reads_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		run_model(CIPHER_AES_256_GCM, seed, false);
}

static void so_it_does_when_two_threads_take_turns(void **state)
{
	(void)state;
	for (uint64_t seed = 31; seed <= 34; seed++)
		run_model(CIPHER_AES_256_GCM, seed, true);
}

static void the_same_with_chacha20(void **state)
{
	(void)state;
	run_model(CIPHER_CHACHA20_POLY1305, 11, false);
}

static void the_same_in_a_xor_vault(void **state)
{
	(void)state;
	run_model(CIPHER_XOR, 21, false);
}

/* ---- edges ----------------------------------------------------------------- */

/* Make a file of this length with pattern 1. */
static int made_of_length(uint64_t length)
{
	int backing = backing_new();
	struct file *f = file_made(backing);

	image.length = 0;
	for (uint64_t at = 0; at < length; at += IO_MAX_SIZE) {
		size_t size = length - at < IO_MAX_SIZE ? (size_t)(length - at) : IO_MAX_SIZE;

		assert_int_equal(write_fill(f, at, size, 1), 0);
		image_write(&image, at, size, 1);
	}
	assert_int_equal(file_settle(f, io, false), 0);
	file_close(f);
	return backing;
}

static void check_and_close(int backing, struct file *f)
{
	assert_content(f, &image);
	assert_int_equal(file_settle(f, io, false), 0);
	file_close(f);
	assert_content_afresh(backing, &image);
	close(backing);
}

static void every_edge_is_cut_and_extended_to_every_other(void **state)
{
	(void)state;
	fixture_suite(CIPHER_AES_256_GCM);
	for (int i = 0; i < N_EDGES; i++)
		for (int j = 0; j < N_EDGES; j++) {
			int backing = made_of_length(edges[i]);
			struct file *f = file_opened(backing, false);

			assert_int_equal(resize(f, edges[j]), 0);
			image_resize(&image, edges[j]);
			check_and_close(backing, f);
		}
}

static void every_edge_is_written_at_and_across(void **state)
{
	static const size_t sizes[] = { 1, 2, 3072, 4096, 4097, 12288 };

	(void)state;
	fixture_suite(CIPHER_AES_256_GCM);
	for (int i = 0; i < N_EDGES; i++)
		for (int j = 0; j < N_EDGES; j++)
			for (int k = 0; k < 6; k++) {
				int backing = made_of_length(edges[i]);
				struct file *f = file_opened(backing, true);

				assert_int_equal(write_fill(f, edges[j], sizes[k], 2), 0);
				image_write(&image, edges[j], sizes[k], 2);
				check_and_close(backing, f);
			}
}

static void a_whole_request_may_start_anywhere_in_a_block(void **state)
{
	static const uint64_t starts[] = { 0, 1, 4095, 47 * BLOCK + 1, 48 * BLOCK };

	(void)state;
	for (int i = 0; i < 5; i++) {
		int backing = made_of_length(48 * BLOCK);
		struct file *f = file_opened(backing, true);

		assert_int_equal(write_fill(f, starts[i], IO_MAX_SIZE, 3), 0);
		image_write(&image, starts[i], IO_MAX_SIZE, 3);
		assert_range(f, &image, starts[i], IO_MAX_SIZE);
		check_and_close(backing, f);
	}
}

static void impossible_requests_are_refused(void **state)
{
	int backing = made_of_length(10);
	struct file *f = file_opened(backing, true);
	uint64_t bad;

	(void)state;
	assert_int_equal(write_fill(f, FORMAT_MAX_LENGTH, 1, 2), -EFBIG);
	assert_int_equal(file_write(f, io, UINT64_MAX, 1, false, &bad), -EFBIG);
	assert_int_equal(resize(f, FORMAT_MAX_LENGTH + 1), -EFBIG);
	assert_int_equal(file_write(f, io, 0, 0, false, &bad), -EINVAL);
	assert_int_equal(file_write(f, io, 0, IO_MAX_SIZE + 1, false, &bad), -EINVAL);
	check_and_close(backing, f);
}

static void a_file_opened_for_reading_changes_only_after_an_upgrade(void **state)
{
	int backing = made_of_length(5000);
	struct file *f;

	(void)state;
	assert_int_equal(file_open(&store, io, backing_again(backing, O_RDONLY), false, false, &f),
			 0);
	assert_false(file_writable(f));
	assert_int_equal(write_fill(f, 0, 10, 2), -EBADF);
	assert_int_equal(resize(f, 0), -EBADF);
	assert_content(f, &image);
	file_upgrade(f, backing_again(backing, O_RDWR));
	assert_true(file_writable(f));
	assert_int_equal(write_fill(f, 0, 10, 2), 0);
	image_write(&image, 0, 10, 2);
	check_and_close(backing, f);
}

/* ---- going on in the last block -------------------------------------------- */

static void change(struct file *f, uint64_t offset, size_t size, uint8_t fill)
{
	assert_int_equal(write_fill(f, offset, size, fill), 0);
	image_write(&image, offset, size, fill);
}

static void cut_or_extend(struct file *f, uint64_t length)
{
	assert_int_equal(resize(f, length), 0);
	image_resize(&image, length);
}

/* Append, such that io remembers the last block. */
static void append(struct file *f, size_t size, uint8_t fill)
{
	change(f, image.length, size, fill);
	assert_int_not_equal(io->tail_version, 0);
	assert_int_equal(io->tail_index, image.length / BLOCK);
}

/* A file of 5000 bytes, to which io appended last. */
static struct file *appended_to(int *backing)
{
	struct file *f;

	*backing = made_of_length(4900);
	f = file_opened(*backing, true);
	append(f, 100, 2);
	return f;
}

static void appends_go_on_where_the_last_one_ended(void **state)
{
	static const size_t sizes[] = { 1, 100, 3000, 895, 1, 4095, 4097, 9000, 70 };
	int backing;
	struct file *f = appended_to(&backing);

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		change(f, image.length, sizes[i % 9], (uint8_t)i);
		if (i % 10 == 0)
			assert_content(f, &image);
	}
	check_and_close(backing, f);
}

static void an_append_heeds_what_another_thread_wrote(void **state)
{
	static const struct {
		uint64_t offset;
		size_t size;
	} writes[] = { { 4200, 50 },  { 4096, 904 }, { 4999, 1 }, { 5000, 7 },
		       { 4900, 200 }, { 0, 4097 },   { 0, 100 },  { 5000, 4000 } };

	(void)state;
	for (int i = 0; i < 8; i++) {
		int backing;
		struct file *f = appended_to(&backing);

		for (uint8_t turn = 3; turn < 9; turn += 2) {
			take_turns();
			change(f, writes[i].offset, writes[i].size, turn);
			take_turns();
			append(f, 10, turn + 1);
		}
		check_and_close(backing, f);
	}
}

static void an_append_heeds_what_was_cut_and_extended(void **state)
{
	static const uint64_t lengths[][2] = {
		{ 4500, 5000 }, { 4097, 5000 }, { 4096, 5000 }, { 100, 5000 }, { 0, 5000 },
		{ 4500, 4500 }, { 6000, 6000 }, { 9000, 5000 }, { 0, 4097 },   { 8193, 8193 },
	};

	(void)state;
	for (int i = 0; i < 10; i++)
		for (int turn = 0; turn <= 1; turn++) {
			int backing;
			struct file *f = appended_to(&backing);

			if (turn)
				take_turns();
			cut_or_extend(f, lengths[i][0]);
			cut_or_extend(f, lengths[i][1]);
			if (turn)
				take_turns();
			append(f, 10, 3);
			check_and_close(backing, f);
		}
}

static void an_append_heeds_what_happened_while_the_file_was_closed(void **state)
{
	(void)state;
	for (int turn = 0; turn <= 1; turn++) {
		int backing;
		struct file *f = appended_to(&backing);

		file_close(f);
		f = file_opened(backing, true);
		if (turn) {
			take_turns();
			change(f, 4200, 50, 3);
			file_close(f);
			take_turns();
			f = file_opened(backing, true);
		}
		append(f, 10, 4);
		check_and_close(backing, f);
	}
}

static void appends_to_two_files_do_not_mix(void **state)
{
	static struct image images[2];
	struct file *files[2];
	int backings[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		files[i] = appended_to(&backings[i]);
		append(files[i], 10, (uint8_t)(3 + i));
		image_copy(&images[i], &image);
	}
	for (uint8_t fill = 5; fill < 15; fill++) {
		image_copy(&image, &images[fill % 2]);
		append(files[fill % 2], 50, fill);
		image_copy(&images[fill % 2], &image);
	}
	for (int i = 0; i < 2; i++) {
		image_copy(&image, &images[i]);
		check_and_close(backings[i], files[i]);
	}
}

static void a_gap_behind_the_end_reads_as_zeros(void **state)
{
	static const uint64_t offsets[] = { 5001, 6000, 8191, 8192, 8193, 9000, 50 * BLOCK + 3 };

	(void)state;
	for (int i = 0; i < 7; i++) {
		int backing;
		struct file *f = appended_to(&backing);

		memset(io->data + IO_DATA, 0xee, IO_EDGE - IO_DATA);
		change(f, offsets[i], 50, 3);
		append(f, 10, 4);
		check_and_close(backing, f);
	}
}

static void a_write_that_ends_before_the_end_leaves_it_as_it_is(void **state)
{
	int backing;
	struct file *f = appended_to(&backing);

	(void)state;
	change(f, 4200, 50, 3);
	append(f, 10, 4);
	change(f, 0, 4200, 5);
	append(f, 10, 6);
	change(f, 0, 5020, 7); /* exactly to the end */
	append(f, 10, 8);
	change(f, 4096, 4096, 9); /* to the end of the block: there is nothing to go on in */
	assert_int_equal(io->tail_version, 0);
	append(f, 10, 10);
	check_and_close(backing, f);
}

static void nothing_is_remembered_once_it_is_wiped(void **state)
{
	int backing;
	struct file *f = appended_to(&backing);

	(void)state;
	io_wipe(io);
	assert_int_equal(io->tail_version, 0);
	assert_true(bytes_are_zero(io->data + IO_TAIL, BLOCK));
	append(f, 10, 3);
	check_and_close(backing, f);
}

/* ---- holes ----------------------------------------------------------------- */

static bool has_holes(int backing)
{
	return header_on_disk(backing).flags & FORMAT_HAS_HOLES;
}

static void only_what_leaves_a_hole_allows_holes(void **state)
{
	int backing = made_of_length(3 * BLOCK);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 3 * BLOCK, 5 * BLOCK, 1), 0);
	assert_int_equal(write_fill(f, 8 * BLOCK + 5, 10, 1), 0); /* same block: no hole */
	assert_int_equal(resize(f, 8 * BLOCK + 100), 0);
	assert_int_equal(resize(f, 2 * BLOCK + 7), 0);
	assert_int_equal(resize(f, 3 * BLOCK), 0);
	assert_false(has_holes(backing));
	assert_int_equal(resize(f, 3 * BLOCK + 1), 0);
	assert_true(has_holes(backing));
	file_close(f);
	close(backing);
}

static void an_emptied_file_has_no_holes_any_more(void **state)
{
	int backing = made_of_length(10);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(resize(f, 20 * BLOCK), 0);
	assert_true(has_holes(backing));
	assert_int_equal(resize(f, 0), 0);
	assert_int_equal(write_fill(f, 0, 4 * BLOCK, 1), 0);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(has_holes(backing));
	file_close(f);
	close(backing);
}

/* Zero the entry of a block. */
static void zero_entry(int backing, uint64_t block)
{
	static const uint8_t zeros[FORMAT_ENTRY_SIZE];

	assert_int_equal(pwrite(backing, zeros, sizeof(zeros), (off_t)format_entry_offset(block)),
			 sizeof(zeros));
}

/* Every block of the file but `wrong` reads as the image says. */
static void assert_only_damage_is(struct file *f, uint64_t wrong)
{
	for (uint64_t i = 0; i * BLOCK < image.length; i++) {
		const void *data;
		size_t done;
		uint64_t bad;

		if (i != wrong) {
			assert_range(f, &image, i * BLOCK, BLOCK);
			continue;
		}
		assert_int_equal(file_read(f, io, i * BLOCK, BLOCK, &data, &done, &bad),
				 FILE_DAMAGED);
		assert_int_equal(bad, wrong);
		assert_int_equal(done, 0);
		assert_int_equal(file_read(f, io, 0, IO_MAX_SIZE, &data, &done, &bad),
				 FILE_DAMAGED);
		assert_int_equal(bad, wrong);
	}
}

static void a_forged_hole_is_damage_and_harms_no_other_block(void **state)
{
	static const uint64_t blocks[] = { 0, 5, 47, 48, 49, 50 };

	(void)state;
	for (int i = 0; i < 6; i++) {
		int backing = made_of_length(50 * BLOCK + 9);
		struct file *f;

		zero_entry(backing, blocks[i]);
		f = file_opened(backing, false);
		assert_only_damage_is(f, blocks[i]);
		file_close(f);
		close(backing);
	}
}

static void a_damaged_block_can_be_overwritten_but_not_patched(void **state)
{
	int backing = made_of_length(5 * BLOCK);
	struct file *f;

	(void)state;
	zero_entry(backing, 2);
	f = file_opened(backing, false);
	assert_int_equal(write_fill(f, 2 * BLOCK + 1, 10, 2), FILE_DAMAGED);
	assert_int_equal(write_fill(f, 2 * BLOCK, BLOCK, 2), 0);
	image_write(&image, 2 * BLOCK, BLOCK, 2);
	check_and_close(backing, f);
}

/* ---- tampering ------------------------------------------------------------- */

/*
 * Whatever was done to the backing file: it does not open, or each byte that
 * it reads as is the right one.  strict: its length is right too.
 */
static void assert_nothing_wrong(int backing, bool strict)
{
	const void *data;
	struct file *f;
	size_t done;
	uint64_t bad;
	int r = file_open(&store, io, backing_again(backing, O_RDONLY), false, false, &f);

	assert_in_range(r, 0, FILE_DAMAGED);
	if (r)
		return;
	for (uint64_t at = 0; at < image.length; at += BLOCK) {
		r = file_read(f, io, at, BLOCK, &data, &done, &bad);
		assert_in_range(r, 0, FILE_DAMAGED);
		if (r) {
			assert_int_equal(bad, at / BLOCK);
			continue;
		}
		assert_true(done <= image.length - at);
		assert_memory_equal(data, image.bytes + at, done);
		if (strict)
			assert_int_equal(done,
					 image.length - at < BLOCK ? image.length - at : BLOCK);
	}
	r = file_read(f, io, image.length, BLOCK, &data, &done, &bad);
	assert_true(r || !done);
	file_close(f);
}

static void flip(int backing, uint64_t at)
{
	uint8_t byte;

	assert_int_equal(pread(backing, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1 << at % 8);
	assert_int_equal(pwrite(backing, &byte, 1, (off_t)at), 1);
}

static void no_flipped_bit_gives_wrong_data(void **state)
{
	static const uint64_t lengths[] = { 0, 1, 700, 3071, 3072, 5000, 49 * BLOCK + 5 };

	(void)state;
	for (int i = 0; i < 7; i++) {
		int backing = made_of_length(lengths[i]);
		uint64_t size = backing_size(backing);

		for (uint64_t at = 0; at < size; at += at < 4200 ? 1 : 997) {
			flip(backing, at);
			assert_nothing_wrong(backing, true);
			flip(backing, at);
		}
		assert_content_afresh(backing, &image);
		close(backing);
	}
}

static void every_byte_of_a_block_and_its_entry_counts(void **state)
{
	int backing = made_of_length(49 * BLOCK);
	struct file *f;

	(void)state;
	for (uint64_t at = 0; at < 32; at++) {
		flip(backing, format_entry_offset(48) + at);
		f = file_opened(backing, false);
		assert_only_damage_is(f, 48);
		file_close(f);
		flip(backing, format_entry_offset(48) + at);
	}
	for (uint64_t at = 0; at < BLOCK; at += 63) {
		flip(backing, format_block_offset(7) + at);
		f = file_opened(backing, false);
		assert_only_damage_is(f, 7);
		file_close(f);
		flip(backing, format_block_offset(7) + at);
	}
	close(backing);
}

/* Copy a block and its entry from one backing file to another place. */
static void copy_block(int from, uint64_t index, int to, uint64_t target)
{
	uint8_t block[FORMAT_BLOCK_SIZE];
	uint8_t entry[FORMAT_ENTRY_SIZE];

	assert_int_equal(pread(from, block, sizeof(block), (off_t)format_block_offset(index)),
			 sizeof(block));
	assert_int_equal(pread(from, entry, sizeof(entry), (off_t)format_entry_offset(index)),
			 sizeof(entry));
	assert_int_equal(pwrite(to, block, sizeof(block), (off_t)format_block_offset(target)),
			 sizeof(block));
	assert_int_equal(pwrite(to, entry, sizeof(entry), (off_t)format_entry_offset(target)),
			 sizeof(entry));
}

static void a_block_opens_only_in_its_place(void **state)
{
	int backing = made_of_length(60 * BLOCK);
	struct file *f;

	(void)state;
	copy_block(backing, 3, backing, 50);
	f = file_opened(backing, false);
	assert_only_damage_is(f, 50);
	file_close(f);
	close(backing);
}

static void a_block_opens_only_in_its_file(void **state)
{
	int other = made_of_length(60 * BLOCK);
	int backing = made_of_length(60 * BLOCK);
	struct file *f;

	(void)state;
	copy_block(other, 48, backing, 48);
	f = file_opened(backing, false);
	assert_only_damage_is(f, 48);
	file_close(f);
	close(backing);
	close(other);
}

static void slots_of_two_files_do_not_mix(void **state)
{
	int other = made_of_length(100);
	int backing = made_of_length(100);
	uint8_t raw[FORMAT_HEADER_SIZE];
	struct file *f;

	(void)state;
	assert_int_equal(pread(other, raw, sizeof(raw), 0), sizeof(raw));
	assert_int_equal(pwrite(backing, raw, sizeof(raw), 0), sizeof(raw));
	assert_int_equal(file_open(&store, io, backing_again(backing, O_RDONLY), false, false, &f),
			 FILE_DAMAGED);
	close(backing);
	close(other);
}

static void assert_does_not_open(int backing)
{
	struct file *f;

	assert_int_equal(file_open(&store, io, backing_again(backing, O_RDONLY), false, false, &f),
			 FILE_DAMAGED);
	assert_null(f);
}

/* It may be overwritten, not read. */
static void assert_does_not_read(int backing)
{
	struct file *f = file_opened(backing, false);
	const void *data;
	size_t done;
	uint64_t bad;

	assert_int_equal(file_read(f, io, 0, 1, &data, &done, &bad), FILE_DAMAGED);
	file_close(f);
}

static void a_settled_file_of_another_size_is_damage(void **state)
{
	static const uint64_t lengths[] = { 0, 1, 3071, 3072, 5000, 48 * BLOCK, 50 * BLOCK + 9 };

	(void)state;
	for (int i = 0; i < 7; i++) {
		int backing = made_of_length(lengths[i]);
		uint64_t was = backing_size(backing);

		backing_save(backing, &backup);
		for (uint64_t page = 0; page < was + 5 * BLOCK; page += BLOCK)
			for (int shift = -1; shift <= 1; shift++) {
				uint64_t size = page + (uint64_t)shift;

				if ((shift < 0 && !page) || size == was)
					continue;
				assert_int_equal(ftruncate(backing, (off_t)size), 0);
				assert_does_not_open(backing);
				backing_put(backing, &backup);
			}
		for (uint64_t size = 0; size < was && size < 1100; size += 10) {
			assert_int_equal(ftruncate(backing, (off_t)size), 0);
			assert_does_not_open(backing);
			backing_put(backing, &backup);
		}
		assert_content_afresh(backing, &image);
		close(backing);
	}
}

static void a_dirty_file_that_was_cut_gives_no_wrong_data(void **state)
{
	int backing = made_of_length(50 * BLOCK + 9);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 0, 1, 1), 0); /* the same byte, but DIRTY now */
	file_close(f);
	backing_save(backing, &backup);
	for (uint64_t page = 0; page < backing_size(backup.fd) + 3 * BLOCK; page += BLOCK)
		for (int shift = -1; shift <= 1; shift++) {
			if (shift < 0 && !page)
				continue;
			assert_int_equal(ftruncate(backing, (off_t)page + shift), 0);
			assert_nothing_wrong(backing, false);
			backing_put(backing, &backup);
		}
	close(backing);
}

static void small_dirty_content_stays_however_long_the_file_is_made(void **state)
{
	int backing = made_of_length(3000);
	struct file *f = file_opened(backing, true);
	uint64_t size;

	(void)state;
	assert_int_equal(write_fill(f, 0, 1, 1), 0); /* the same byte, but DIRTY now */
	file_close(f);
	size = backing_size(backing);
	for (uint64_t longer = BLOCK - 1; longer < 3 * BLOCK; longer++) {
		assert_int_equal(ftruncate(backing, (off_t)longer), 0);
		assert_content_afresh(backing, &image);
		assert_int_equal(backing_size(backing), size); /* put right by the way */
	}
	/* If it does not open, it is no empty file either. */
	assert_int_equal(ftruncate(backing, BLOCK), 0);
	flip(backing, FORMAT_CONTENT_START);
	assert_does_not_open(backing);
	close(backing);
}

/* A file's first header speaks of no content, which needs no key to open. */
static void damaged_content_of_a_new_file_is_not_none(void **state)
{
	int backing = backing_new();
	struct file *f = file_made(backing);
	uint64_t size;

	(void)state;
	image_resize(&image, 0);
	image_write(&image, 0, 1500, 1);
	assert_int_equal(write_fill(f, 0, 1500, 1), 0);
	file_close(f);
	assert_content_afresh(backing, &image); /* and DIRTY */
	backing_save(backing, &backup);
	size = backing_size(backing);
	for (uint64_t at = FORMAT_CONTENT_START; at < size; at++) {
		flip(backing, at);
		assert_does_not_read(backing);
		flip(backing, at);
	}
	for (uint64_t at = FORMAT_HEADER_SIZE; at < FORMAT_CONTENT_START; at++) {
		flip(backing, at); /* of the current header */
		assert_does_not_read(backing);
		flip(backing, at);
	}
	image_resize(&image, 0);
	for (uint64_t sector = FORMAT_CONTENT_START; sector < size; sector += 512) {
		/* That is what a power failure leaves. */
		size_t n = size - sector < 512 ? (size_t)(size - sector) : 512;

		assert_int_equal(pwrite(backing, (uint8_t[512]){ 0 }, n, (off_t)sector), n);
		assert_content_afresh(backing, &image);
		backing_put(backing, &backup);
		assert_int_equal(ftruncate(backing, (off_t)sector), 0);
		assert_content_afresh(backing, &image);
		backing_put(backing, &backup);
	}
	close(backing);
}

static void another_suite_or_key_opens_nothing(void **state)
{
	int backing = made_of_length(100);

	(void)state;
	fixture_suite(CIPHER_CHACHA20_POLY1305);
	assert_does_not_open(backing);
	fixture_suite(CIPHER_AES_256_GCM);
	keys.content[0] ^= 1;
	io_wipe(io);
	assert_does_not_open(backing);
	keys.content[0] ^= 1;
	io_wipe(io);
	assert_content_afresh(backing, &image);
	close(backing);
}

/* ---- settling and bindings ------------------------------------------------- */

static struct timespec mtime_of(int backing)
{
	struct stat st;

	assert_int_equal(fstat(backing, &st), 0);
	return st.st_mtim;
}

static void assert_mtime(int backing, struct timespec wanted)
{
	struct timespec now = mtime_of(backing);

	assert_int_equal(now.tv_sec, wanted.tv_sec);
	assert_int_equal(now.tv_nsec, wanted.tv_nsec);
}

static const uint8_t there[FORMAT_BINDING_SIZE] = "there it goes..";
static const uint8_t nowhere[FORMAT_BINDING_SIZE] = "nowhere at all.";

static void headers_that_change_no_content_keep_the_times(void **state)
{
	const struct timespec past[2] = { { 1000, 7 }, { 2000, 123456789 } };
	int backing = made_of_length(5000);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 0, 10, 1), 0);
	assert_true(file_is_unsettled(f));
	assert_int_equal(futimens(backing, past), 0);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_mtime(backing, past[1]);
	assert_int_equal(file_bind_both(f, io, home, there), 0);
	assert_mtime(backing, past[1]);
	assert_int_equal(file_unbind(f, io), 0);
	assert_mtime(backing, past[1]);
	file_close(f);
	close(backing);
}

static void truncating_to_the_same_length_moves_the_time(void **state)
{
	const struct timespec past[2] = { { 1000, 7 }, { 2000, 123456789 } };
	static const uint64_t lengths[] = { 0, 100, 5000, 8192 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		int backing = made_of_length(lengths[i]);
		struct file *f = file_opened(backing, true);
		uint64_t bad;

		assert_int_equal(futimens(backing, past), 0);
		assert_int_equal(file_truncate(f, io, lengths[i], &bad), 0);
		assert_int_not_equal(mtime_of(backing).tv_sec, past[1].tv_sec);
		file_close(f);
		close(backing);
	}
}

/* After a death settling goes over all entries and writes those it can tell apart now. */
static void settling_what_a_dead_writer_left_keeps_the_times(void **state)
{
	const struct timespec past[2] = { { 1000, 7 }, { 2000, 123456789 } };
	int backing = made_of_length(5000);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 0, 10, 1), 0);
	assert_int_equal(write_fill(f, 0, 10, 2), 0);
	file_close(f);
	f = file_opened(backing, false);
	assert_true(file_is_suspect(f));
	assert_int_equal(futimens(backing, past), 0);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(file_is_suspect(f));
	assert_mtime(backing, past[1]);
	file_close(f);
	close(backing);
}

static void a_file_is_bound_where_its_header_says(void **state)
{
	int backing = made_of_length(100);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_true(file_is_bound(f, home));
	assert_false(file_is_bound(f, there));
	assert_int_equal(file_bind_both(f, io, home, there), 0);
	assert_true(file_is_bound(f, home));
	assert_true(file_is_bound(f, there));
	assert_false(file_is_bound(f, nowhere));
	file_close(f);

	f = file_opened(backing, false); /* a death in the middle of a rename */
	assert_true(file_is_bound(f, home));
	assert_true(file_is_bound(f, there));
	assert_false(file_is_bound(f, nowhere));
	file_bind_only(f, there);
	assert_int_equal(file_bind_both(f, io, home, there), 0);
	file_bind_only(f, there);
	assert_true(file_is_unsettled(f));
	assert_int_equal(file_settle(f, io, true), 0);
	file_close(f);

	f = file_opened(backing, false);
	assert_false(file_is_bound(f, home));
	assert_true(file_is_bound(f, there));
	assert_content(f, &image);
	file_close(f);
	close(backing);
}

/* Destroy one of the two headers. */
static void lose_header(int backing, int slot)
{
	const uint8_t zeros[FORMAT_HEADER_SIZE] = { 0 };

	assert_int_equal(pwrite(backing, zeros, sizeof(zeros), slot * FORMAT_HEADER_SIZE),
			 FORMAT_HEADER_SIZE);
}

static void a_settled_file_has_no_older_header_to_go_back_to(void **state)
{
	int backing = made_of_length(10 * BLOCK);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 0, 1, 1), 0); /* the same byte, but DIRTY now */
	assert_int_equal(file_bind_both(f, io, home, there), 0);
	file_bind_only(f, there);
	assert_int_equal(file_settle(f, io, false), 0);
	file_close(f);
	backing_save(backing, &backup);
	for (int slot = 0; slot < 2; slot++) {
		lose_header(backing, slot);
		assert_content_afresh(backing, &image);
		f = file_opened(backing, false);
		assert_true(file_is_bound(f, there));
		assert_false(file_is_bound(f, home));
		file_close(f);
		assert_int_equal(ftruncate(backing, (off_t)format_big_size(5 * BLOCK)), 0);
		assert_does_not_open(backing);
		backing_put(backing, &backup);
	}
	close(backing);
}

static void an_unbound_file_is_at_home_everywhere(void **state)
{
	int backing = made_of_length(100);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(file_unbind(f, io), 0);
	assert_int_equal(file_bind_both(f, io, home, there), 0); /* no effect any more */
	file_close(f);
	f = file_opened(backing, false);
	assert_true(file_is_bound(f, nowhere));
	assert_int_equal(file_settle(f, io, true), 0);
	assert_true(header_on_disk(backing).flags & FORMAT_MULTI);
	assert_content(f, &image);
	file_close(f);
	close(backing);
}

static void binding_a_changed_file_leaves_it_dirty(void **state)
{
	int backing = made_of_length(5000);
	struct file *f = file_opened(backing, true);

	(void)state;
	assert_int_equal(write_fill(f, 4999, 100, 1), 0);
	image_write(&image, 4999, 100, 1);
	assert_int_equal(file_bind_both(f, io, home, there), 0);
	assert_true(header_on_disk(backing).flags & FORMAT_DIRTY);
	file_close(f);
	assert_content_afresh(backing, &image);
	close(backing);
}

static void two_files_never_share_an_id(void **state)
{
	int backings[2] = { backing_new(), backing_new() };
	struct file *a = file_made(backings[0]);
	struct file *b = file_made(backings[1]);

	(void)state;
	assert_memory_not_equal(file_id(a), file_id(b), KEYS_FILE_ID_SIZE);
	assert_false(bytes_are_zero(file_id(a), KEYS_FILE_ID_SIZE));
	file_close(a);
	file_close(b);
	close(backings[0]);
	close(backings[1]);
}

/* ---- many threads ---------------------------------------------------------- */

enum { SHARED_BLOCKS = 52, ROUNDS = 400 };

static struct file *shared;

/* Read runs while they are written: each block is of one write. */
static void *reader(void *arg)
{
	static char torn[] = "a block of two writes";
	static char failed[] = "a read that failed";
	unsigned int random = (unsigned int)(uintptr_t)arg;
	char *complaint = NULL;
	struct io *mine;

	if (io_new(&store, &mine))
		return failed;
	for (int i = 0; i < ROUNDS && !complaint; i++) {
		uint64_t first = (uint64_t)(rand_r(&random) % SHARED_BLOCKS);
		const void *data;
		size_t done;
		uint64_t bad;

		if (file_read(shared, mine, first * BLOCK, 9 * BLOCK, &data, &done, &bad))
			complaint = failed;
		for (const char *p = data; !complaint && done; p += BLOCK, done -= BLOCK)
			if (memcmp(p, p + 1, BLOCK - 1) != 0)
				complaint = torn;
	}
	io_free(mine);
	return complaint;
}

static void change_shared(unsigned int *random)
{
	uint64_t first = (uint64_t)(rand_r(random) % SHARED_BLOCKS);
	size_t n = 1 + (size_t)rand_r(random) % 6;
	uint64_t bad;

	for (size_t i = 0; i < n; i++)
		memset(io->data + IO_DATA + i * BLOCK, rand_r(random), BLOCK);
	assert_int_equal(file_write(shared, io, first * BLOCK, n * BLOCK, false, &bad), 0);
	if (rand_r(random) % 20 == 0)
		assert_int_equal(resize(shared, first * BLOCK), 0);
	if (rand_r(random) % 20 == 0)
		assert_int_equal(file_settle(shared, io, true), 0);
}

static void readers_beside_a_writer_see_whole_blocks(void **state)
{
	int backing = backing_new();
	unsigned int random = 7;
	pthread_t threads[2];
	void *complaints[2];

	(void)state;
	fixture_suite(CIPHER_AES_256_GCM);
	shared = file_made(backing);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, (void *)(i + 1)), 0);
	for (int i = 0; i < ROUNDS; i++)
		change_shared(&random);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], &complaints[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_null(complaints[i]);
	file_close(shared);
	close(backing);
}

static int begin(void **state)
{
	(void)fixture_engine(state);
	return io_new(&store, &second);
}

static int end(void **state)
{
	io_free(second);
	return fixture_engine_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_sequence_of_changes_reads_back),
		cmocka_unit_test(so_it_does_when_two_threads_take_turns),
		cmocka_unit_test(the_same_with_chacha20),
		cmocka_unit_test(the_same_in_a_xor_vault),
		cmocka_unit_test(every_edge_is_cut_and_extended_to_every_other),
		cmocka_unit_test(every_edge_is_written_at_and_across),
		cmocka_unit_test(a_whole_request_may_start_anywhere_in_a_block),
		cmocka_unit_test(impossible_requests_are_refused),
		cmocka_unit_test(a_file_opened_for_reading_changes_only_after_an_upgrade),
		cmocka_unit_test(appends_go_on_where_the_last_one_ended),
		cmocka_unit_test(an_append_heeds_what_another_thread_wrote),
		cmocka_unit_test(an_append_heeds_what_was_cut_and_extended),
		cmocka_unit_test(an_append_heeds_what_happened_while_the_file_was_closed),
		cmocka_unit_test(appends_to_two_files_do_not_mix),
		cmocka_unit_test(a_gap_behind_the_end_reads_as_zeros),
		cmocka_unit_test(a_write_that_ends_before_the_end_leaves_it_as_it_is),
		cmocka_unit_test(nothing_is_remembered_once_it_is_wiped),
		cmocka_unit_test(only_what_leaves_a_hole_allows_holes),
		cmocka_unit_test(an_emptied_file_has_no_holes_any_more),
		cmocka_unit_test(a_forged_hole_is_damage_and_harms_no_other_block),
		cmocka_unit_test(a_damaged_block_can_be_overwritten_but_not_patched),
		cmocka_unit_test(no_flipped_bit_gives_wrong_data),
		cmocka_unit_test(every_byte_of_a_block_and_its_entry_counts),
		cmocka_unit_test(a_block_opens_only_in_its_place),
		cmocka_unit_test(a_block_opens_only_in_its_file),
		cmocka_unit_test(slots_of_two_files_do_not_mix),
		cmocka_unit_test(a_settled_file_of_another_size_is_damage),
		cmocka_unit_test(a_dirty_file_that_was_cut_gives_no_wrong_data),
		cmocka_unit_test(small_dirty_content_stays_however_long_the_file_is_made),
		cmocka_unit_test(damaged_content_of_a_new_file_is_not_none),
		cmocka_unit_test(another_suite_or_key_opens_nothing),
		cmocka_unit_test(headers_that_change_no_content_keep_the_times),
		cmocka_unit_test(truncating_to_the_same_length_moves_the_time),
		cmocka_unit_test(settling_what_a_dead_writer_left_keeps_the_times),
		cmocka_unit_test(a_file_is_bound_where_its_header_says),
		cmocka_unit_test(a_settled_file_has_no_older_header_to_go_back_to),
		cmocka_unit_test(an_unbound_file_is_at_home_everywhere),
		cmocka_unit_test(binding_a_changed_file_leaves_it_dirty),
		cmocka_unit_test(two_files_never_share_an_id),
		cmocka_unit_test(readers_beside_a_writer_see_whole_blocks),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
