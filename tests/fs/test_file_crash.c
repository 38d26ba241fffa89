/* SPDX-License-Identifier: MIT */
/*
 * Placed deaths: a change of a file is cut off at each of its system calls,
 * and inside each write at each page, then the file is opened as the next
 * mount does.  And placed failures: a call fails, the process lives on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "placed.h"

/* The change is made on a file like `found` by the next mount, and stands. */
static void assert_usable(int backing, struct file *f, const struct change *change)
{
	static const struct change more = { WRITE, 47 * BLOCK + 100, 2 * BLOCK };

	assert_int_equal(perform(f, change, 77), 0);
	image_change(&found, change, 77);
	assert_content(f, &found);
	file_close(f);
	assert_content_afresh(backing, &found);

	f = file_opened(backing, false);
	assert_int_equal(perform(f, &more, 99), 0);
	image_change(&found, &more, 99);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(file_is_unsettled(f));
	file_close(f);
	assert_content_afresh(backing, &found);
	assert_int_equal(backing_size(backing), format_big_size(found.length));
}

/* A file found after a death, left alone but for settling, is whole. */
static void assert_settles(int backing)
{
	struct file *f = file_opened(backing, false);
	uint64_t size = backing_size(backing);

	read_all(f);
	assert_true(size == format_big_size(found.length) ||
		    (size < BLOCK && size == format_small_size(found.length)));
	assert_int_equal(file_settle(f, io, false), 0);
	assert_false(header_on_disk(backing).flags & FORMAT_DIRTY);
	file_close(f);
	assert_content_afresh(backing, &found);
}

/* It can be extended by a hole, also when it was opened for reading at first. */
static void assert_extends(int backing, const struct backup *left, bool read_first)
{
	struct file *f;

	backing_put(backing, left);
	assert_int_equal(file_open(&store, io,
				   backing_again(backing, read_first ? O_RDONLY : O_RDWR),
				   !read_first, false, &f),
			 0);
	read_all(f);
	if (read_first)
		file_upgrade(f, backing_again(backing, O_RDWR));
	image_resize(&found, found.length + 3 * BLOCK);
	assert_int_equal(resize(f, found.length), 0);
	assert_content(f, &found);
	file_close(f);
	assert_content_afresh(backing, &found);
}

/* ---- deaths ------------------------------------------------------------------ */

/* Make the change and die at a call of it: false if it made fewer calls. */
static bool die_in(int backing, bool trusted, const struct change *change, uint8_t fill, int at,
		   size_t cut)
{
	struct file *f = file_opened(backing, trusted);

	arm(DIE, at, cut);
	(void)perform(f, change, fill);
	disarm();
	file_close(f);
	return fate.struck;
}

/* On to the next place: each call, in a long write not each page. */
static void next_place(size_t more, int *at, size_t *cut)
{
	if (more) {
		size_t step = *cut < 4 ? 1 : 7;

		*cut += step < more ? step : more;
	} else {
		(*at)++;
		*cut = 0;
	}
}

static struct backup once;
static struct backup twice;

/* The file of backup `once` was left by a death: die again in the same place. */
static void die_again(int backing, const struct change *change)
{
	int at = 1;
	size_t cut = 0;

	for (;;) {
		struct file *f;
		size_t more;

		backing_put(backing, &once);
		if (!die_in(backing, false, change, 55, at, cut))
			break;
		more = fate.more;
		f = file_opened(backing, false);
		assert_old_or_new(f);
		backing_save(backing, &twice);
		assert_usable(backing, f, change);
		assert_extends(backing, &twice, false);
		backing_put(backing, &twice);
		assert_settles(backing);
		next_place(more, &at, &cut);
	}
	/* And when nobody dies. */
	assert_content_afresh(backing, &after);
}

/* What a death left is old or new, can be used, and settles. */
static void check_left(int backing, const struct change *change)
{
	struct file *f;

	backing_save(backing, &once);
	f = file_opened(backing, false);
	assert_old_or_new(f);
	assert_usable(backing, f, change);
	backing_put(backing, &once);
	assert_settles(backing);
}

/* And can be extended, and bears a second death. */
static void check_left_twice(int backing, const struct change *change)
{
	static struct image kept[2];

	backing_save(backing, &once);
	assert_extends(backing, &once, false);
	assert_extends(backing, &once, true);
	backing_put(backing, &once);
	check_left(backing, change);

	image_copy(&kept[0], &before);
	image_copy(&kept[1], &after);
	image_copy(&before, &found);
	image_copy(&after, &found);
	image_change(&after, change, 55);
	die_again(backing, change);
	image_copy(&before, &kept[0]);
	image_copy(&after, &kept[1]);
}

static struct backup start;
static const struct scenario *current;

/* Die at each call of the change: how many there were. */
static int die_everywhere(const struct scenario *s, bool settled,
			  void (*check)(int backing, const struct change *change))
{
	int backing = prepared(backing_new(), s, settled);
	int at = 1;
	size_t cut = 0;

	backing_save(backing, &start);
	image_copy(&after, &before);
	image_change(&after, &s->change, 33);
	for (;;) {
		size_t more;

		backing_put(backing, &start);
		if (!die_in(backing, !settled, &s->change, 33, at, cut))
			break;
		more = fate.more;
		check(backing, &s->change);
		next_place(more, &at, &cut);
	}
	assert_content_afresh(backing, &after);
	close(backing);
	return at - 1;
}

static void in_scenarios(void (*check)(const struct scenario *s))
{
	for (int i = 0; i < N_SCENARIOS; i++) {
		current = &scenarios[i];
		check(current);
	}
	current = NULL;
}

static void die_settled(const struct scenario *s)
{
	(void)die_everywhere(s, true, check_left_twice);
}

static void die_dirty(const struct scenario *s)
{
	(void)die_everywhere(s, false, check_left_twice);
}

static void no_death_loses_more_than_the_change(void **state)
{
	(void)state;
	in_scenarios(die_settled);
}

static void no_death_of_a_busy_writer_does_either(void **state)
{
	(void)state;
	in_scenarios(die_dirty);
}

/* Whole requests that start inside a block, over five groups. */
static const struct scenario long_ones[] = {
	{ "overwrite a lot", 280 * BLOCK, 0, { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
	{ "overwrite a lot to the end",
	  266 * BLOCK + 9,
	  0,
	  { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
	{ "overwrite a lot and go on", 200 * BLOCK + 5, 0, { WRITE, 20 * BLOCK + 9, IO_MAX_SIZE } },
	{ "append a lot", 20 * BLOCK + 7, 0, { WRITE, 20 * BLOCK + 7, IO_MAX_SIZE } },
	{ "append a lot to a whole group", 48 * BLOCK, 0, { WRITE, 48 * BLOCK, IO_MAX_SIZE } },
	{ "fill a hole with a lot", 5000, 280 * BLOCK, { WRITE, 10 * BLOCK + 9, IO_MAX_SIZE } },
};
enum { N_LONG = sizeof(long_ones) / sizeof(long_ones[0]) };

static void no_death_in_a_long_write_loses_more_than_that(void **state)
{
	(void)state;
	for (int i = 0; i < N_LONG; i++) {
		current = &long_ones[i];
		/* A call or two for each group.  Both took long under a sanitizer. */
		assert_true(die_everywhere(current, i % 2, check_left) > 3);
	}
	current = NULL;
}

/* A death while a file is bound to a second place leaves the first one. */
static void a_file_never_loses_the_place_where_it_is(void **state)
{
	static const struct change bind = { BIND, 0, 0 };
	const struct scenario s = { "", 5000, 0, bind };
	int backing = prepared(backing_new(), &s, true);

	(void)state;
	backing_save(backing, &start);
	for (int at = 1; die_in(backing, true, &bind, 0, at, 0); at++) {
		struct file *f = file_opened(backing, false);

		assert_true(file_is_bound(f, home));
		file_close(f);
		backing_put(backing, &start);
	}
	close(backing);
}

/* A death in a punch, another one in the first write into the hole: no block is lost. */
static void what_a_punch_left_is_gone_before_it_matters(void **state)
{
	static const struct change punch = { PUNCH, BLOCK, 2 * BLOCK };
	static const struct change fill = { WRITE, BLOCK, 2 * BLOCK };
	const struct scenario s = { "", 5 * BLOCK, 0, punch };
	int backing = prepared(backing_new(), &s, true);
	static struct image whole;

	(void)state;
	backing_save(backing, &start);
	image_copy(&whole, &before);
	for (int at = 1; die_in(backing, true, &punch, 0, at, 0); at++) {
		backing_save(backing, &once);
		for (int then = 1; die_in(backing, false, &fill, 44, then, 0); then++) {
			struct file *f = file_opened(backing, false);

			image_copy(&before, &whole);
			image_change(&before, &punch, 0);
			image_copy(&after, &whole);
			image_change(&after, &fill, 44);
			read_all(f);
			for (uint64_t block = 0; block < 5; block++) {
				const uint8_t *is = found.bytes + block * BLOCK;

				if (memcmp(is, before.bytes + block * BLOCK, BLOCK) != 0 &&
				    memcmp(is, whole.bytes + block * BLOCK, BLOCK) != 0)
					assert_memory_equal(is, after.bytes + block * BLOCK, BLOCK);
			}
			file_close(f);
			backing_put(backing, &once);
		}
		backing_put(backing, &start);
	}
	close(backing);
}

/* ---- failures ---------------------------------------------------------------- */

/* Make the change and let a call of it fail: false if it made fewer calls. */
static bool fail_in(struct file *f, const struct change *change, enum fate how, int at, size_t cut,
		    int *r)
{
	arm(how, at, cut);
	*r = perform(f, change, 33);
	disarm();
	return fate.struck;
}

/* The file that saw a failure, still open, is as it should be. */
static void check_after_failure(int backing, struct file *f, const struct change *change,
				enum fate how)
{
	assert_old_or_new(f);
	if (how == FAIL && change->verb != TRUNCATE)
		assert_int_equal(found.length, before.length);
	assert_content_afresh(backing, &found);
	assert_usable(backing, f, change);
}

static void fail_everywhere(const struct scenario *s, enum fate how)
{
	int backing = prepared(backing_new(), s, true);
	int at = 1;
	size_t cut = 0;

	backing_save(backing, &start);
	image_copy(&after, &before);
	image_change(&after, &s->change, 33);
	for (;;) {
		struct file *f;
		size_t more;
		int r;

		backing_put(backing, &start);
		f = file_opened(backing, true);
		if (!fail_in(f, &s->change, how, at, cut, &r)) {
			assert_int_equal(r, 0);
			assert_content(f, &after);
			file_close(f);
			break;
		}
		assert_int_equal(r, -ENOSPC);
		more = fate.more;
		check_after_failure(backing, f, &s->change, how);
		next_place(more, &at, &cut);
	}
	close(backing);
}

static void fail_once(const struct scenario *s)
{
	fail_everywhere(s, FAIL);
}

static void fail_on(const struct scenario *s)
{
	fail_everywhere(s, FILL);
}

static void a_failed_call_leaves_length_and_content(void **state)
{
	(void)state;
	in_scenarios(fail_once);
}

static void a_full_disk_loses_no_block(void **state)
{
	(void)state;
	in_scenarios(fail_on);
}

/*
 * A write that fails after one that went well, in the same last block: the
 * next one goes on in what the file holds, whatever this thread remembers.
 */
static void a_failed_write_is_not_remembered(void **state)
{
	static const struct change changes[] = {
		{ WRITE, 4500, 700 },	{ WRITE, 5000, 100 },  { WRITE, 4200, 5000 },
		{ WRITE, 4096, 904 },	{ WRITE, 0, 6000 },    { WRITE, 6000, 10 },
		{ WRITE, 4990, 50000 }, { TRUNCATE, 4500, 0 }, { TRUNCATE, 6000, 0 },
	};
	static const struct scenario s = { "", 4900, 0, { WRITE, 4900, 100 } };
	int backing = prepared(backing_new(), &s, true);

	(void)state;
	backing_save(backing, &start);
	image_change(&before, &s.change, 5);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		int at = 1;
		size_t cut = 0;

		image_copy(&after, &before);
		image_change(&after, &changes[i], 33);
		for (;;) {
			struct change go_on = { WRITE, 0, 20 };
			struct file *f;
			size_t more;
			int r;

			backing_put(backing, &start);
			f = file_opened(backing, true);
			assert_int_equal(perform(f, &s.change, 5), 0);
			assert_int_not_equal(io->tail_version, 0);
			if (!fail_in(f, &changes[i], FAIL, at, cut, &r)) {
				file_close(f);
				break;
			}
			assert_int_equal(r, -ENOSPC);
			more = fate.more;
			assert_old_or_new(f);
			go_on.offset = found.length;
			assert_int_equal(perform(f, &go_on, 6), 0);
			image_change(&found, &go_on, 6);
			assert_content(f, &found);
			file_close(f);
			assert_content_afresh(backing, &found);
			next_place(more, &at, &cut);
		}
	}
	close(backing);
}

/* Say where it was that a test failed. */
static int name_scenario(void **state)
{
	(void)state;
	if (current)
		print_message("in: %s, call %d, cut %zu\n", current->name, fate.at, fate.cut);
	disarm();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(no_death_loses_more_than_the_change, name_scenario),
		cmocka_unit_test_teardown(no_death_of_a_busy_writer_does_either, name_scenario),
		cmocka_unit_test_teardown(no_death_in_a_long_write_loses_more_than_that,
					  name_scenario),
		cmocka_unit_test(a_file_never_loses_the_place_where_it_is),
		cmocka_unit_test(what_a_punch_left_is_gone_before_it_matters),
		cmocka_unit_test_teardown(a_failed_call_leaves_length_and_content, name_scenario),
		cmocka_unit_test_teardown(a_full_disk_loses_no_block, name_scenario),
		cmocka_unit_test_teardown(a_failed_write_is_not_remembered, name_scenario),
	};

	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
