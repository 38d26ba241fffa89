/* SPDX-License-Identifier: MIT */
/* Holes: made, found, and given back to the backing filesystem. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "file_fixture.h"

static struct image image;

static int change(struct file *f, enum file_range_kind kind, uint64_t offset, uint64_t size,
		  bool extend)
{
	const struct file_range range = {
		.kind = kind, .offset = offset, .size = size, .extend = extend
	};
	uint64_t bad;

	return file_allocate(f, io, &range, &bad);
}

static void image_zero(uint64_t offset, uint64_t size)
{
	if (offset >= image.length)
		return;
	if (size > image.length - offset)
		size = image.length - offset;
	memset(image.bytes + offset, 0, size);
}

static struct file *file_filled(int backing, uint64_t length)
{
	struct file *f = file_made(backing);

	image.length = 0;
	for (uint64_t at = 0; at < length; at += IO_MAX_SIZE) {
		size_t size = length - at < IO_MAX_SIZE ? (size_t)(length - at) : IO_MAX_SIZE;

		assert_int_equal(write_fill(f, at, size, 7), 0);
		image_write(&image, at, size, 7);
	}
	return f;
}

static uint64_t allocated(int backing)
{
	struct stat st;

	assert_int_equal(fstat(backing, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t seek(struct file *f, uint64_t offset, bool hole)
{
	uint64_t found;
	int r = file_seek(f, offset, hole, &found);

	if (r == -ENXIO)
		return UINT64_MAX;
	assert_int_equal(r, 0);
	return found;
}

/* Where something changes, and the ends of the first two groups. */
static const uint64_t edges[] = { 0,
				  1,
				  2000,
				  3071,
				  3072,
				  4095,
				  4096,
				  4097,
				  8192,
				  9000,
				  47 * BLOCK,
				  48 * BLOCK,
				  48 * BLOCK + 1,
				  49 * BLOCK,
				  112 * BLOCK,
				  120 * BLOCK + 5,
				  176 * BLOCK };
enum { N_EDGES = sizeof(edges) / sizeof(edges[0]) };

/* Every range between two edges is zeroed in a file of this length, in this way. */
static void zero_everywhere(uint64_t length, enum file_range_kind kind, bool extend)
{
	for (int from = 0; from < N_EDGES; from++)
		for (int to = from + 1; to < N_EDGES; to++) {
			int backing = backing_new();
			struct file *f = file_filled(backing, length);

			assert_int_equal(
				change(f, kind, edges[from], edges[to] - edges[from], extend), 0);
			if (kind != FILE_RESERVE)
				image_zero(edges[from], edges[to] - edges[from]);
			if (extend && edges[to] > image.length)
				image_resize(&image, edges[to]);
			assert_content(f, &image);
			assert_int_equal(write_fill(f, edges[from], 300, 9), 0);
			image_write(&image, edges[from], 300, 9);
			assert_content(f, &image);
			assert_int_equal(file_settle(f, io, false), 0);
			file_close(f);
			assert_content_afresh(backing, &image);
			close(backing);
		}
}

static void every_range_reads_as_zeros(void **state)
{
	(void)state;
	zero_everywhere(130 * BLOCK + 77, FILE_PUNCH, false);
	zero_everywhere(50 * BLOCK, FILE_ZERO, false);
	zero_everywhere(50 * BLOCK + 77, FILE_ZERO, true);
	zero_everywhere(2500, FILE_PUNCH, false);
	zero_everywhere(2500, FILE_ZERO, true);
}

static void reserving_changes_nothing_but_the_length(void **state)
{
	(void)state;
	zero_everywhere(50 * BLOCK + 77, FILE_RESERVE, false);
	zero_everywhere(50 * BLOCK + 77, FILE_RESERVE, true);
	zero_everywhere(2500, FILE_RESERVE, true);
	zero_everywhere(0, FILE_RESERVE, true);
}

static void so_it_is_in_a_xor_vault(void **state)
{
	(void)state;
	fixture_suite(CIPHER_XOR);
	zero_everywhere(50 * BLOCK + 77, FILE_PUNCH, false);
	zero_everywhere(2500, FILE_ZERO, true);
	zero_everywhere(2500, FILE_RESERVE, true);
	fixture_suite(CIPHER_AES_256_GCM);
}

static void punched_blocks_are_given_back(void **state)
{
	int backing = backing_new();
	struct file *f = file_filled(backing, 240 * BLOCK);
	uint64_t full = allocated(backing);

	(void)state;
	assert_int_equal(change(f, FILE_PUNCH, 10 * BLOCK + 1, 200 * BLOCK, false), 0);
	/* 199 blocks, and the tag pages of the groups that are wholly among them. */
	assert_int_equal(full - allocated(backing), (199 + 2) * BLOCK);
	assert_int_equal(change(f, FILE_ZERO, 10 * BLOCK + 1, 200 * BLOCK, false), 0);
	assert_true(full - allocated(backing) <= 2 * BLOCK);
	assert_int_equal(change(f, FILE_PUNCH, 0, 240 * BLOCK, false), 0);
	assert_true(allocated(backing) <= 4 * BLOCK);
	file_close(f);
	close(backing);
}

static void reserved_space_is_there_when_it_is_written(void **state)
{
	int backing = backing_new();
	struct file *f = file_made(backing);
	uint64_t before;

	(void)state;
	assert_int_equal(change(f, FILE_RESERVE, 0, 200 * BLOCK, true), 0);
	before = allocated(backing);
	assert_true(before >= format_big_size(200 * BLOCK));
	for (int i = 0; i < 200; i++)
		assert_int_equal(write_fill(f, (uint64_t)i * BLOCK, BLOCK, 3), 0);
	assert_int_equal(allocated(backing), before);
	/* Behind the end too, over two groups, with their tag pages. */
	assert_int_equal(change(f, FILE_RESERVE, 300 * BLOCK, 30 * BLOCK, false), 0);
	assert_int_equal(allocated(backing), before + 32 * BLOCK);
	assert_ends_at(f, 200 * BLOCK);
	file_close(f);
	close(backing);
}

static void holes_are_found(void **state)
{
	int backing = backing_new();
	struct file *f = file_filled(backing, 130 * BLOCK + 77);

	(void)state;
	assert_int_equal(seek(f, 5, false), 5);
	assert_int_equal(seek(f, 5, true), 130 * BLOCK + 77);
	assert_int_equal(seek(f, 130 * BLOCK + 77, true), UINT64_MAX);
	assert_int_equal(seek(f, 130 * BLOCK + 77, false), UINT64_MAX);

	assert_int_equal(change(f, FILE_PUNCH, 3 * BLOCK, 2 * BLOCK, false), 0);
	assert_int_equal(change(f, FILE_PUNCH, 40 * BLOCK, 80 * BLOCK, false), 0);
	assert_int_equal(seek(f, 0, false), 0);
	assert_int_equal(seek(f, 0, true), 3 * BLOCK);
	assert_int_equal(seek(f, 3 * BLOCK - 1, true), 3 * BLOCK);
	assert_int_equal(seek(f, 4 * BLOCK + 9, true), 4 * BLOCK + 9);
	assert_int_equal(seek(f, 3 * BLOCK + 1, false), 5 * BLOCK);
	assert_int_equal(seek(f, 5 * BLOCK, true), 40 * BLOCK);
	assert_int_equal(seek(f, 60 * BLOCK + 1, false), 120 * BLOCK);
	assert_int_equal(seek(f, 121 * BLOCK + 1, true), 130 * BLOCK + 77);

	/* A hole at the end is one, up to wherever the end is. */
	assert_int_equal(change(f, FILE_PUNCH, 129 * BLOCK, 2 * BLOCK, false), 0);
	assert_int_equal(seek(f, 121 * BLOCK + 1, true), 129 * BLOCK);
	assert_int_equal(seek(f, 129 * BLOCK + 1, false), UINT64_MAX);
	assert_int_equal(resize(f, (uint64_t)1 << 43), 0);
	assert_int_equal(seek(f, 129 * BLOCK + 1, false), UINT64_MAX);
	assert_int_equal(write_fill(f, (uint64_t)1 << 42, 10, 1), 0);
	assert_int_equal(seek(f, 129 * BLOCK + 1, false), (uint64_t)1 << 42);
	assert_int_equal(seek(f, (uint64_t)1 << 42, true), ((uint64_t)1 << 42) + BLOCK);
	file_close(f);
	close(backing);
}

static void a_hole_of_terabytes_costs_no_time(void **state)
{
	int backing = backing_new();
	struct file *f = file_made(backing);

	(void)state;
	image.length = 0;
	assert_int_equal(resize(f, (uint64_t)1 << 43), 0);
	assert_int_equal(write_fill(f, (uint64_t)1 << 42, 10, 1), 0);
	assert_int_equal(change(f, FILE_PUNCH, 5, ((uint64_t)1 << 43) - 9, false), 0);
	assert_int_equal(seek(f, 0, false), UINT64_MAX);
	assert_int_equal(write_fill(f, (uint64_t)1 << 42, 10, 1), 0);
	file_close(f);
	/* Nor does settling it after its writer died. */
	f = file_opened(backing, false);
	assert_true(file_is_suspect(f));
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(file_is_suspect(f));
	file_close(f);
	close(backing);
}

static void the_time_moves_also_where_nothing_changes(void **state)
{
	static const struct {
		enum file_range_kind kind;
		uint64_t offset;
		bool extend;
	} cases[] = {
		{ FILE_PUNCH, 10 * BLOCK, false }, /* behind the end */
		{ FILE_PUNCH, 0, false },	   /* data, then a hole already */
		{ FILE_PUNCH, 0, false },	   { FILE_RESERVE, BLOCK, false },
		{ FILE_RESERVE, 0, true },	   { FILE_ZERO, 20 * BLOCK, false },
	};
	const struct timespec past[2] = { { 1000, 7 }, { 2000, 123456789 } };
	int backing = backing_new();
	struct file *f = file_filled(backing, 3 * BLOCK);
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(futimens(backing, past), 0);
		assert_int_equal(change(f, cases[i].kind, cases[i].offset, BLOCK, cases[i].extend),
				 0);
		assert_int_equal(fstat(backing, &st), 0);
		assert_int_not_equal(st.st_mtim.tv_sec, past[1].tv_sec);
	}
	file_close(f);
	close(backing);
}

static void what_cannot_be_is_refused(void **state)
{
	int backing = backing_new();
	struct file *f = file_filled(backing, 3 * BLOCK);

	(void)state;
	assert_int_equal(change(f, FILE_PUNCH, 0, 0, false), -EINVAL);
	assert_int_equal(change(f, FILE_RESERVE, FORMAT_MAX_LENGTH, 1, true), -EFBIG);
	assert_int_equal(change(f, FILE_PUNCH, UINT64_MAX - 5, 10, false), -EFBIG);
	assert_content(f, &image);
	file_close(f);
	assert_int_equal(file_open(&store, io, backing_again(backing, O_RDONLY), false, true, &f),
			 0);
	assert_int_equal(change(f, FILE_PUNCH, 0, BLOCK, false), -EBADF);
	file_close(f);
	close(backing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_range_reads_as_zeros),
		cmocka_unit_test(reserving_changes_nothing_but_the_length),
		cmocka_unit_test(so_it_is_in_a_xor_vault),
		cmocka_unit_test(punched_blocks_are_given_back),
		cmocka_unit_test(reserved_space_is_there_when_it_is_written),
		cmocka_unit_test(holes_are_found),
		cmocka_unit_test(a_hole_of_terabytes_costs_no_time),
		cmocka_unit_test(the_time_moves_also_where_nothing_changes),
		cmocka_unit_test(what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
