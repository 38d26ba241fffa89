/* SPDX-License-Identifier: MIT */
/*
 * Files that change by way of the journal: placed deaths, also in the replay that
 * follows, and calls that fail.  After each, the next mount finds each block old or
 * new, and what a failed change left in the journal never comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "placed.h"
#include "vault_fixture.h"

/* That there is no journal any more, in half of the cases. */
void __wrap_log_warn(const char *format, ...);
void __wrap_log_warn(const char *format, ...)
{
	(void)format;
}

static const struct scenario *current;

/* Also after somebody else's journal: at the front, at the end, over a block's edge. */
static void patch(struct file *f, uint64_t offset, size_t size)
{
	const struct change patch = { WRITE, offset, size };

	if (offset + size > before.length)
		return;
	assert_int_equal(perform(f, &patch, 11), 0);
	image_change(&before, &patch, 11);
}

static struct backup start;
static struct image prepared_image;

/* How a file uses the journal before a change: it may, it does, or it has not asked. */
enum use { MAY, DOES, HAS_NOT_ASKED, N_USES };

/* The file of the scenario, fsynced. */
static struct file *start_over(int backing, const struct change *change, enum use use)
{
	struct file *f;

	backing_put(backing, &start);
	image_copy(&before, &prepared_image);
	begin_journal();
	f = file_opened(backing, true);
	if (use != HAS_NOT_ASKED)
		file_use_journal(f);
	if (use == DOES) {
		patch(f, 3, 5);
		patch(f, BLOCK - 3, 6);
		if (before.length)
			patch(f, before.length - 1, 1);
		assert_int_equal(file_sync(f, false), 0);
	}
	image_copy(&after, &before);
	image_change(&after, change, 33);
	return f;
}

static int first_state(const struct scenario *s)
{
	int backing = prepared(backing_in_vault(), s, true);

	backing_save(backing, &start);
	image_copy(&prepared_image, &before);
	return backing;
}

static void each_scenario(void (*check)(const struct scenario *s, enum use use))
{
	for (int i = 0; i < N_USES * N_SCENARIOS; i++) {
		current = &scenarios[i / N_USES];
		check(current, (enum use)(i % N_USES));
	}
	current = NULL;
}

/* As the tree does. */
static int ask_and_perform(struct file *f, const struct change *change, uint8_t fill)
{
	int r = perform(f, change, fill);

	if (r != FILE_JOURNAL)
		return r;
	file_use_journal(f);
	return perform(f, change, fill);
}

/* Nobody waits for a file that does not use the journal before he empties it. */
static void close_file(struct file *f)
{
	if (!file_uses_journal(f))
		assert_int_equal(journal_empty(store.journal), 0);
	file_close(f);
}

static void next_place(size_t more, int *at, size_t *cut)
{
	if (more) {
		size_t step = *cut < 4 ? 1 : 11;

		*cut += step < more ? step : more;
	} else {
		(*at)++;
		*cut = 0;
	}
}

/* ---- failures ------------------------------------------------------------------ */

/* What becomes of a file that saw a failure. */
enum then { DIES, GOES_ON, GOES_ON_AND_DIES, N_THEN };

static void go_on(int backing, struct file *f, const struct change *change, enum then then)
{
	assert_int_equal(ask_and_perform(f, change, 77), 0);
	image_change(&found, change, 77);
	assert_int_equal(file_sync(f, false), 0);
	assert_content(f, &found);
	if (then == GOES_ON)
		checkpoint(f);
	close_file(f);
	mount_again();
	assert_content_afresh(backing, &found);
}

/* Found by the next mount as by this one; or as before or after, if it could not be undone. */
static void die_now(int backing, struct file *f, bool undone)
{
	static struct image known;

	image_copy(&known, &found);
	close_file(f);
	mount_again();
	f = file_opened(backing, false);
	assert_old_or_new(f);
	if (undone)
		assert_content(f, &known);
	assert_int_equal(file_settle(f, io, false), 0);
	assert_content(f, &found);
	file_close(f);
	assert_content_afresh(backing, &found);
}

static void fail_everywhere(const struct scenario *s, enum use use, enum fate how)
{
	int backing = first_state(s);
	size_t more = 0;
	size_t cut = 0;
	int at = 1;

	for (bool struck = true; struck; next_place(more, &at, &cut))
		for (enum then then = DIES; then < N_THEN && struck; then++) {
			struct file *f = start_over(backing, &s->change, use);
			int r;

			arm(how, at, cut);
			r = ask_and_perform(f, &s->change, 33);
			disarm();
			struck = fate.struck;
			more = fate.more;
			assert_int_equal(r, struck && r ? -ENOSPC : 0);
			assert_old_or_new(f);
			if (how == FAIL && r && s->change.verb != TRUNCATE)
				assert_int_equal(found.length, before.length);
			if (!r)
				assert_content(f, &after);
			if (then == DIES)
				die_now(backing, f, how == FAIL);
			else
				go_on(backing, f, &s->change, then);
		}
	close(backing);
}

static void fail_once(const struct scenario *s, enum use use)
{
	fail_everywhere(s, use, FAIL);
}

static void fail_on(const struct scenario *s, enum use use)
{
	fail_everywhere(s, use, FILL);
}

static void a_failed_change_does_not_come_back(void **state)
{
	(void)state;
	each_scenario(fail_once);
}

static void a_full_disk_loses_nothing(void **state)
{
	(void)state;
	each_scenario(fail_on);
}

/* ---- deaths -------------------------------------------------------------------- */

static struct backup left;
static struct backup left_journal;

static void save_journal(void)
{
	int fd = openat(vault_fd, JOURNAL_FILE, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	backing_save(fd, &left_journal);
	close(fd);
}

static void put_journal(void)
{
	int fd = openat(vault_fd, JOURNAL_FILE, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	backing_put(fd, &left_journal);
	close(fd);
}

/* Die at each call of the replay, too: the next one ends where one would have. */
static void die_in_replay(int backing)
{
	struct replay_result result;
	bool struck = true;

	for (int at = 1; struck; at++) {
		backing_put(backing, &left);
		put_journal();
		arm(DIE, at, 0);
		(void)replay_vault(&store, io, vault_fd, tree_fd, &result);
		disarm();
		struck = fate.struck;
		assert_int_equal(replay_vault(&store, io, vault_fd, tree_fd, &result), 0);
		assert_content_afresh(backing, &found);
	}
}

static void die_everywhere(const struct scenario *s, enum use use)
{
	int backing = first_state(s);
	size_t more = 0;
	size_t cut = 0;
	int at = 1;

	for (bool struck = true; struck; next_place(more, &at, &cut)) {
		struct file *f = start_over(backing, &s->change, use);

		arm(DIE, at, cut);
		(void)ask_and_perform(f, &s->change, 33);
		disarm();
		struck = fate.struck;
		more = fate.more;
		close_file(f);
		drop_journal();
		backing_save(backing, &left);
		save_journal();

		mount_again();
		f = file_opened(backing, false);
		if (struck)
			assert_old_or_new(f);
		else
			read_all(f);
		if (!struck)
			assert_content(f, &after);
		file_close(f);
		die_in_replay(backing);

		begin_journal();
		f = file_opened(backing, false);
		file_use_journal(f);
		go_on(backing, f, &s->change, GOES_ON_AND_DIES);
	}
	close(backing);
}

static void no_death_loses_what_was_there(void **state)
{
	(void)state;
	each_scenario(die_everywhere);
}

/* Say where it was that a test failed. */
static int name_scenario(void **state)
{
	(void)state;
	if (current)
		print_message("in: %s, call %d, cut %zu\n", current->name, fate.at, fate.cut);
	disarm();
	drop_journal();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_failed_change_does_not_come_back, name_scenario),
		cmocka_unit_test_teardown(a_full_disk_loses_nothing, name_scenario),
		cmocka_unit_test_teardown(no_death_loses_what_was_there, name_scenario),
	};

	return cmocka_run_group_tests(tests, start_vault, end_vault);
}
