/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <linux/fuse.h>

#include "fs/latency.h"

static unsigned int bucket_of(uint64_t ns)
{
	static struct latency l;
	unsigned int found = LATENCY_BUCKETS;

	memset(&l, 0, sizeof(l));
	latency_note(&l, LATENCY_WRITE, ns);
	assert_int_equal(l.sum_ns[LATENCY_WRITE], ns);
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		if (!l.buckets[LATENCY_WRITE][i])
			continue;
		assert_int_equal(found, LATENCY_BUCKETS); /* once only */
		assert_int_equal(l.buckets[LATENCY_WRITE][i], 1);
		found = i;
	}
	return found;
}

static void a_bucket_ends_with_its_power_of_two(void **state)
{
	(void)state;
	assert_int_equal(bucket_of(0), 0);
	for (unsigned int i = 0; i < LATENCY_BUCKETS - 1; i++) {
		uint64_t end = (uint64_t)1000 << i;

		assert_int_equal(bucket_of(end), i);
		assert_int_equal(bucket_of(end + 1), i + 1);
	}
	assert_int_equal(bucket_of(UINT64_MAX / 2), LATENCY_BUCKETS - 1);
}

static void threads_are_added_up(void **state)
{
	static struct latency threads[2];
	static struct latency sum;

	(void)state;
	latency_note(&threads[0], LATENCY_READ, 1000);
	latency_note(&threads[1], LATENCY_READ, 1000);
	latency_note(&threads[1], LATENCY_META, 3000);
	for (int i = 0; i < 2; i++)
		latency_add(&threads[i], &sum);
	assert_int_equal(sum.buckets[LATENCY_READ][0], 2);
	assert_int_equal(sum.buckets[LATENCY_META][2], 1);
	assert_int_equal(sum.sum_ns[LATENCY_READ], 2000);
	assert_int_equal(sum.sum_ns[LATENCY_WRITE], 0);
}

static void requests_have_a_class(void **state)
{
	(void)state;
	assert_int_equal(latency_of(FUSE_READ), LATENCY_READ);
	assert_int_equal(latency_of(FUSE_WRITE), LATENCY_WRITE);
	assert_int_equal(latency_of(FUSE_LOOKUP), LATENCY_META);
	assert_int_equal(latency_of(UINT32_MAX), LATENCY_META);
	assert_string_equal(latency_name(LATENCY_META), "meta");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bucket_ends_with_its_power_of_two),
		cmocka_unit_test(threads_are_added_up),
		cmocka_unit_test(requests_have_a_class),
	};

	return cmocka_run_group_tests_name("latency", tests, NULL, NULL);
}
