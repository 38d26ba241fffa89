/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/expiry.h"

static void is_due_after_that_long_without_use(void **state)
{
	struct expiry e;

	(void)state;
	expiry_init(&e, 5000, 100000);
	assert_false(expiry_is_due(&e, 7, 104000)); /* the first look: used meanwhile */
	assert_false(expiry_is_due(&e, 7, 108999));
	assert_true(expiry_is_due(&e, 7, 109000));
	assert_true(expiry_is_due(&e, 7, 120000));
	assert_false(expiry_is_due(&e, 8, 120001));
	assert_false(expiry_is_due(&e, 8, 125000));
	assert_true(expiry_is_due(&e, 8, 125001));
}

static void is_due_if_it_was_never_used(void **state)
{
	struct expiry e;

	(void)state;
	expiry_init(&e, 5000, 100000);
	assert_false(expiry_is_due(&e, 0, 104999));
	assert_true(expiry_is_due(&e, 0, 105000));
}

static void tries_again_later_while_somebody_holds_it(void **state)
{
	struct expiry e;

	(void)state;
	expiry_init(&e, 3600 * 1000, 0);
	assert_true(expiry_is_due(&e, 0, 3600 * 1000));
	expiry_refused(&e, 3600 * 1000);
	assert_false(expiry_is_due(&e, 0, 3609 * 1000));
	assert_true(expiry_is_due(&e, 0, 3610 * 1000));
	assert_int_equal(e.refused, 1);
	/* A short time is not made longer by that. */
	expiry_init(&e, 1000, 0);
	expiry_refused(&e, 1000);
	assert_false(expiry_is_due(&e, 0, 1999));
	assert_true(expiry_is_due(&e, 0, 2000));
}

static void is_never_due_without_a_time(void **state)
{
	struct expiry e;

	(void)state;
	expiry_init(&e, 0, 0);
	assert_false(expiry_is_due(&e, 0, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_due_after_that_long_without_use),
		cmocka_unit_test(is_due_if_it_was_never_used),
		cmocka_unit_test(tries_again_later_while_somebody_holds_it),
		cmocka_unit_test(is_never_due_without_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
