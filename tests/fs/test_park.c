/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "fs/park.h"

static struct park park;
static int replies; /* the other end of what stands for /dev/fuse */

static int setup(void **state)
{
	int ends[2];

	(void)state;
	park_init(&park);
	if (pipe(ends))
		return -1;
	replies = ends[0];
	park.fd = ends[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(park.fd);
	close(replies);
	park_fini(&park);
	return 0;
}

struct request {
	struct fuse_in_header head;
	union {
		struct fuse_interrupt_in interrupt;
		char rest[64];
	};
};

static struct request request(uint32_t opcode, uint64_t unique)
{
	struct request r;

	memset(&r, 0, sizeof(r));
	r.head = (struct fuse_in_header){
		.len = sizeof(r), .opcode = opcode, .unique = unique, .nodeid = 7
	};
	memset(r.rest, 'x', sizeof(r.rest));
	return r;
}

static bool keeps(uint32_t opcode, uint64_t unique)
{
	struct request r = request(opcode, unique);
	bool kept = park_keeps(&park, &r, sizeof(r));
	static const struct request none;

	if (kept && opcode != FUSE_INTERRUPT)
		assert_memory_equal(&r, &none, sizeof(r)); /* wiped where it was */
	return kept;
}

static bool interrupts(uint64_t unique)
{
	struct request r = request(FUSE_INTERRUPT, unique | 1);

	r.interrupt.unique = unique;
	return park_keeps(&park, &r, sizeof(r));
}

static void assert_reply(uint64_t unique, int error)
{
	struct fuse_out_header out;

	assert_int_equal(read(replies, &out, sizeof(out)), sizeof(out));
	assert_int_equal(out.len, sizeof(out));
	assert_int_equal(out.unique, unique);
	assert_int_equal(out.error, error);
}

static void assert_taken(uint64_t unique)
{
	struct request expected = request(FUSE_WRITE, unique);
	struct request r;

	assert_int_equal(park_take(&park, &r, sizeof(r)), sizeof(r));
	assert_memory_equal(&r, &expected, sizeof(r));
}

static void what_is_open_keeps_nothing(void **state)
{
	struct request r;

	(void)state;
	assert_false(keeps(FUSE_WRITE, 2));
	assert_false(interrupts(2));
	assert_int_equal(park_take(&park, &r, sizeof(r)), 0);
}

static void requests_wait_and_come_back_in_order(void **state)
{
	struct request r;

	(void)state;
	park_close(&park);
	for (uint64_t i = 1; i <= 4; i++)
		assert_true(keeps(FUSE_WRITE, 2 * i));
	assert_int_equal(park.n, 4);
	assert_int_equal(park_take(&park, &r, sizeof(r)), 0); /* not while it is closed */
	park_open(&park);
	for (uint64_t i = 1; i <= 4; i++)
		assert_taken(2 * i);
	assert_int_equal(park_take(&park, &r, sizeof(r)), 0);
	assert_false(keeps(FUSE_WRITE, 10));
}

static void what_needs_no_key_is_served(void **state)
{
	static const uint32_t served[] = { FUSE_FORGET,	 FUSE_BATCH_FORGET, FUSE_STATFS,
					   FUSE_RELEASE, FUSE_RELEASEDIR,   FUSE_POLL };
	struct request r = request(FUSE_GETATTR, 2);

	(void)state;
	park_close(&park);
	for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++)
		assert_false(keeps(served[i], 2));
	r.head.nodeid = FUSE_ROOT_ID;
	assert_false(park_keeps(&park, &r, sizeof(r)));
	assert_true(keeps(FUSE_GETATTR, 2));
	assert_true(keeps(FUSE_READ, 4));
	assert_true(keeps(FUSE_LOOKUP, 6));
}

static void who_waits_can_be_interrupted(void **state)
{
	(void)state;
	park_close(&park);
	for (uint64_t i = 1; i <= 3; i++)
		assert_true(keeps(FUSE_WRITE, 2 * i));
	assert_true(interrupts(6)); /* the last one, */
	assert_reply(6, -EINTR);
	assert_true(interrupts(2)); /* the first, */
	assert_reply(2, -EINTR);
	assert_true(keeps(FUSE_WRITE, 8));
	assert_true(interrupts(6)); /* and one that is not there: the kernel is to ask again */
	assert_reply(7, -EAGAIN);
	park_open(&park);
	assert_taken(4);
	assert_taken(8);
}

static void refused_is_answered_for_good(void **state)
{
	struct request r;

	(void)state;
	park_close(&park);
	assert_true(keeps(FUSE_WRITE, 2));
	park_refuse(&park);
	assert_reply(2, -ENOTCONN);
	assert_true(keeps(FUSE_READ, 4));
	assert_reply(4, -ENOTCONN);
	assert_false(keeps(FUSE_RELEASE, 6));
	assert_int_equal(park_take(&park, &r, sizeof(r)), 0);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(what_is_open_keeps_nothing),   test(requests_wait_and_come_back_in_order),
		test(what_needs_no_key_is_served),  test(who_waits_can_be_interrupted),
		test(refused_is_answered_for_good),
	};

	alarm(60);
	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
