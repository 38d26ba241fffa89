/* SPDX-License-Identifier: MIT */
/* What follows from what things cost.  What they cost here is nobody's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "engine/pace.h"

enum { N = 32, LEAST_NS = 3000, MOST_NS = 1000000 };

static void fill(uint64_t *took, size_t from, size_t to, uint64_t ns)
{
	for (size_t i = from; i < to; i++)
		took[i] = ns;
}

static void wakings_that_were_none_do_not_count(void **state)
{
	uint64_t took[N];

	(void)state;
	for (size_t cheap = 0; cheap <= N / 2; cheap++) {
		fill(took, 0, N - cheap, 50000);
		fill(took, N - cheap, N, 400);
		assert_int_equal(pace_wake_ns(took, N), 50000);
	}
}

static void nor_do_a_few_moments_when_others_ran(void **state)
{
	uint64_t took[N];

	(void)state;
	fill(took, 0, 6, 700000);
	fill(took, 6, N, 50000);
	assert_int_equal(pace_wake_ns(took, N), 50000);
}

static void the_answer_is_within_reason(void **state)
{
	uint64_t took[N];

	(void)state;
	for (size_t n = 1; n <= N; n++) {
		fill(took, 0, n, 0);
		assert_int_equal(pace_wake_ns(took, n), LEAST_NS);
		fill(took, 0, n, UINT64_MAX);
		assert_int_equal(pace_wake_ns(took, n), MOST_NS);
		fill(took, 0, n, 12345);
		assert_int_equal(pace_wake_ns(took, n), 12345);
	}
}

static const struct pace example = { .wake_ns = 5000, .kib_ns = { 100, 200, 1000, 1 } };

static void workers_are_as_many_as_the_work_is_worth(void **state)
{
	(void)state;
	assert_int_equal(pace_workers(&example, 0, 0), 0);
	assert_int_equal(pace_workers(&example, 0, 4096), 0);
	assert_int_equal(pace_workers(&example, 0, 100 * 1024 - 1), 0);
	assert_int_equal(pace_workers(&example, 0, 100 * 1024), 1);
	assert_int_equal(pace_workers(&example, 0, 1024 * 1024), 10);
	assert_int_equal(pace_workers(&example, 1, 1024 * 1024), 20);
	assert_int_equal(pace_workers(&example, 2, 1024 * 1024), 102);
	assert_int_equal(pace_workers(&example, 3, 1024 * 1024), 0);
	assert_int_equal(pace_workers(&example, 2, UINT32_MAX), 419430);
}

static void a_suite_that_is_none_costs_something_too(void **state)
{
	(void)state;
	for (uint32_t s = 0; s < 4; s++)
		assert_int_equal(pace_kib_ns(&example, s), example.kib_ns[s]);
	assert_int_equal(pace_kib_ns(&example, 4), 100);
	assert_int_equal(pace_kib_ns(&example, UINT32_MAX), 100);
}

static void the_threshold_is_where_the_first_is_worth_waking(void **state)
{
	static const uint32_t wakes[] = { LEAST_NS, 4999, 5000, 77777, MOST_NS };
	static const uint32_t costs[] = { 1, 3, 99, 100, 1000, 12345 };

	(void)state;
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 6; j++) {
			const struct pace p = { .wake_ns = wakes[i], .kib_ns = { costs[j] } };
			uint32_t size = pace_threshold(&p, 0);

			assert_int_equal(pace_workers(&p, 0, size), 1);
			assert_int_equal(pace_workers(&p, 0, size - 1), 0);
		}
}

static void a_threshold_beyond_all_sizes_is_the_greatest(void **state)
{
	const struct pace p = { .wake_ns = UINT32_MAX, .kib_ns = { 1, 1, 1, 1 } };

	(void)state;
	assert_int_equal(pace_threshold(&p, 0), UINT32_MAX);
	assert_int_equal(pace_workers(&p, 0, UINT32_MAX), 0);
}

static void measuring_leaves_the_thread_where_it_may_run(void **state)
{
	cpu_set_t before;
	cpu_set_t after;
	struct pace p;

	(void)state;
	assert_int_equal(cipher_init(), 0);
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	assert_int_equal(pace_measure(&p), 0);
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	assert_in_range(p.wake_ns, LEAST_NS, MOST_NS);
	for (int s = 0; s < 4; s++)
		assert_int_not_equal(p.kib_ns[s], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wakings_that_were_none_do_not_count),
		cmocka_unit_test(nor_do_a_few_moments_when_others_ran),
		cmocka_unit_test(the_answer_is_within_reason),
		cmocka_unit_test(workers_are_as_many_as_the_work_is_worth),
		cmocka_unit_test(a_suite_that_is_none_costs_something_too),
		cmocka_unit_test(the_threshold_is_where_the_first_is_worth_waking),
		cmocka_unit_test(a_threshold_beyond_all_sizes_is_the_greatest),
		cmocka_unit_test(measuring_leaves_the_thread_where_it_may_run),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
