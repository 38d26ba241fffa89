/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/ops.h"

/* What is asked for at INIT of a kernel that can do this. */
static unsigned int wanted_of(struct ops_context *c, unsigned int capable)
{
	struct fuse_conn_info conn = { .capable = capable };

	ops_table.init(c, &conn);
	return conn.want;
}

static void nothing_is_asked_for_that_the_kernel_cannot_do(void **state)
{
	struct ops_context c = { .writeback = true };

	(void)state;
	assert_int_equal(wanted_of(&c, 0), 0);
	assert_int_equal(wanted_of(&c, FUSE_CAP_ASYNC_READ), FUSE_CAP_ASYNC_READ);
}

static void writes_are_collected_only_if_that_is_wanted(void **state)
{
	struct ops_context c = { .writeback = false };

	(void)state;
	assert_false(wanted_of(&c, UINT32_MAX) & FUSE_CAP_WRITEBACK_CACHE);
	c.writeback = true;
	assert_true(wanted_of(&c, UINT32_MAX) & FUSE_CAP_WRITEBACK_CACHE);
	assert_true(c.writeback);
}

static void a_kernel_that_cannot_collect_writes_is_no_obstacle(void **state)
{
	struct ops_context c = { .writeback = true };

	(void)state;
	(void)wanted_of(&c, UINT32_MAX & ~(unsigned int)FUSE_CAP_WRITEBACK_CACHE);
	assert_false(c.writeback);
}

static bool is_direct(bool wanted, bool writeback, uint32_t minor)
{
	struct fuse_conn_info conn = { .capable = UINT32_MAX, .proto_minor = minor };
	struct ops_context c = { .direct = wanted, .writeback = writeback };

	ops_table.init(&c, &conn);
	return c.direct;
}

static void writes_are_direct_where_the_kernel_throws_old_pages_out(void **state)
{
	(void)state;
	assert_true(is_direct(true, false, 45));
	assert_false(is_direct(true, false, 44));
	assert_false(is_direct(false, false, 45));
	assert_false(is_direct(true, true, 45));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_asked_for_that_the_kernel_cannot_do),
		cmocka_unit_test(writes_are_collected_only_if_that_is_wanted),
		cmocka_unit_test(a_kernel_that_cannot_collect_writes_is_no_obstacle),
		cmocka_unit_test(writes_are_direct_where_the_kernel_throws_old_pages_out),
	};

	alarm(20); /* a hang is a failure */
	return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
