/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "engine/idle.h"

static void counts_what_was_idle_since_the_last_look(void **state)
{
	struct idle last = { 0 };

	(void)state;
	assert_int_equal(idle_from_text(&last, "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1", 4), 0);
	/* 400 ticks later: 190 of them idle, 10 waiting for a disk. */
	assert_int_equal(idle_from_text(&last, "cpu  110 0 110 270 10 0 0 0 0 0\n", 4), 2);
	assert_int_equal(idle_from_text(&last, "cpu  510 0 110 270 10 0 0 0 0 0\n", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu  510 0 110 669 10 0 0 0 0 0\n", 4), 4);
	/* Not quite one. */
	assert_int_equal(idle_from_text(&last, "cpu  811 0 110 768 10 0 0 0 0 0\n", 4), 0);
}

static void says_nothing_where_it_cannot_be_told(void **state)
{
	struct idle last = { 0 };

	(void)state;
	assert_int_equal(idle_from_text(&last, "", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu 1 2 3", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu  10 0 10 80 0 0 0 0\n", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu  10 0 10 80 0 0 0 0\n", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu  20 0 10 70 0 0 0 0\n", 4), 0);
	assert_int_equal(idle_from_text(&last, "cpu  1 0 1 8 0 0 0 0\n", 4), 0);
}

static void reads_this_machine(void **state)
{
	struct idle last = { 0 };

	(void)state;
	assert_int_equal(idle_processors(&last), 0);
	assert_true(last.all > 0 || access("/proc/stat", R_OK) != 0);
	assert_true(idle_processors(&last) <= (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_was_idle_since_the_last_look),
		cmocka_unit_test(says_nothing_where_it_cannot_be_told),
		cmocka_unit_test(reads_this_machine),
	};

	alarm(30);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
