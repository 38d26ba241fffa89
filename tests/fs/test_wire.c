/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/fuse.h>

#include "fs/wire.h"

/* A request as the kernel sends it: head, then body. */
struct request {
	struct fuse_in_header head;
	union {
		struct fuse_init_in init;
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_write_in write;
		struct fuse_setattr_in setattr;
		uint8_t bytes[256];
	} body;
};

static const uint32_t served = FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT;

static void init_tells_what_the_kernel_can_do(void **state)
{
	struct request r = { .head.opcode = FUSE_INIT,
			     .body.init.flags = FUSE_PARALLEL_DIROPS | FUSE_ASYNC_READ };
	uint32_t offered = 0;

	(void)state;
	assert_true(wire_is_init(&r, sizeof(r.head) + sizeof(r.body.init), &offered));
	assert_int_equal(offered, FUSE_PARALLEL_DIROPS | FUSE_ASYNC_READ);
}

static void an_old_kernels_shorter_init_is_understood(void **state)
{
	struct request r = { .head.opcode = FUSE_INIT, .body.init.flags = 7 };
	uint32_t offered = 0;

	(void)state;
	assert_true(wire_is_init(&r, sizeof(r.head) + 16, &offered));
	assert_int_equal(offered, 7);
	assert_false(wire_is_init(&r, sizeof(r.head) + 15, &offered));
	assert_false(wire_is_init(&r, 0, &offered));
}

static void opcodes_are_told_and_have_names(void **state)
{
	struct request r = { .head.opcode = FUSE_WRITE };

	(void)state;
	assert_int_equal(wire_opcode(&r, sizeof(r)), FUSE_WRITE);
	assert_int_equal(wire_opcode(&r, sizeof(r.head)), FUSE_WRITE);
	assert_int_equal(wire_opcode(&r, sizeof(r.head) - 1), 0);
	r.head.opcode = WIRE_OPCODES;
	assert_int_equal(wire_opcode(&r, sizeof(r)), 0);
	r.head.opcode = UINT32_MAX;
	assert_int_equal(wire_opcode(&r, sizeof(r)), 0);
	assert_string_equal(wire_opcode_name(FUSE_LOOKUP), "LOOKUP");
	assert_string_equal(wire_opcode_name(FUSE_READDIRPLUS), "READDIRPLUS");
	assert_null(wire_opcode_name(0));
	assert_null(wire_opcode_name(7));
	assert_null(wire_opcode_name(WIRE_OPCODES));
}

static void other_requests_are_not_init(void **state)
{
	struct request r = { .head.opcode = FUSE_WRITE };
	uint32_t offered;

	(void)state;
	assert_false(wire_is_init(&r, sizeof(r), &offered));
}

static void tmpfile_becomes_create(void **state)
{
	struct request r = { .head.opcode = 51, .head.len = 7 };

	(void)state;
	assert_int_equal(wire_translate(&r, sizeof(r.head) - 1, 0), sizeof(r.head) - 1);
	assert_int_equal(r.head.opcode, 51);
	assert_int_equal(wire_translate(&r, sizeof(r), 0), sizeof(r));
	assert_int_equal(r.head.opcode, FUSE_CREATE);
	r.head.opcode = FUSE_WRITE;
	assert_int_equal(wire_translate(&r, sizeof(r), UINT32_MAX), sizeof(r));
	assert_int_equal(r.head.opcode, FUSE_WRITE);
}

static void a_longer_setxattr_is_shortened(void **state)
{
	struct fuse_setxattr_in in = { .size = 5, .flags = 1 };
	struct request r = { .head.opcode = FUSE_SETXATTR };
	const size_t size = sizeof(r.head) + sizeof(in) + 10;

	(void)state;
	for (uint32_t kills = 0; kills < 2; kills++) {
		in.setxattr_flags = kills;
		memcpy(r.body.bytes, &in, sizeof(in));
		memcpy(r.body.bytes + sizeof(in), "name\0value", 10);
		assert_int_equal(wire_translate(&r, size, ~(uint32_t)FUSE_SETXATTR_EXT), size);
		assert_int_equal(wire_translate(&r, size, FUSE_SETXATTR_EXT), size - 8);
		assert_int_equal(r.head.len, size - 8);
		assert_memory_equal(r.body.bytes + 8, "name\0value", 10);
		memcpy(&in, r.body.bytes, 8);
		assert_int_equal(in.size, 5);
		assert_int_equal(in.flags, 1 | (kills ? WIRE_KILL_SET_GID : 0));
		in.flags = 1;
	}
	assert_int_equal(wire_translate(&r, sizeof(r.head) + 15, FUSE_SETXATTR_EXT),
			 sizeof(r.head) + 15);
}

static void only_what_was_offered_is_asked_for(void **state)
{
	struct fuse_init_out out = { .flags = FUSE_ASYNC_READ };

	(void)state;
	wire_amend_init(&out, sizeof(out), FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL);
	assert_int_equal(out.flags, FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS);
	wire_amend_init(&out, sizeof(out), UINT32_MAX);
	assert_int_equal(out.flags, FUSE_ASYNC_READ | served);
}

static void a_reply_of_another_size_is_left_alone(void **state)
{
	struct fuse_init_out out = { .flags = 1 };

	(void)state;
	wire_amend_init(&out, sizeof(out) - 1, UINT32_MAX);
	wire_amend_init(&out, sizeof(out) + 1, UINT32_MAX);
	assert_int_equal(out.flags, 1);
}

/* True with the flag in its place, false without. */
static void check_kills(uint32_t opcode, size_t place, uint32_t flag)
{
	struct request r = { .head.opcode = opcode };

	assert_false(wire_kills_set_id(&r));
	memcpy(r.body.bytes + place, &flag, sizeof(flag));
	assert_true(wire_kills_set_id(&r));
	flag = ~flag;
	memcpy(r.body.bytes + place, &flag, sizeof(flag));
	assert_false(wire_kills_set_id(&r));
}

static void four_requests_can_take_set_id_bits_away(void **state)
{
	(void)state;
	check_kills(FUSE_OPEN, offsetof(struct fuse_open_in, open_flags), FUSE_OPEN_KILL_SUIDGID);
	check_kills(FUSE_CREATE, offsetof(struct fuse_create_in, open_flags),
		    FUSE_OPEN_KILL_SUIDGID);
	check_kills(FUSE_WRITE, offsetof(struct fuse_write_in, write_flags),
		    FUSE_WRITE_KILL_SUIDGID);
	check_kills(FUSE_SETATTR, offsetof(struct fuse_setattr_in, valid), FATTR_KILL_SUIDGID);
}

static void no_other_request_does(void **state)
{
	struct request r = { .head.opcode = FUSE_READ };

	(void)state;
	memset(&r.body, 0xff, sizeof(r.body));
	assert_false(wire_kills_set_id(&r));
	r.head.opcode = FUSE_RENAME2;
	assert_false(wire_kills_set_id(&r));
}

static void a_prune_message_is_what_the_kernel_wants(void **state)
{
	static const uint8_t wanted[WIRE_PRUNE_SIZE] = {
		[0] = 32 + 3 * 8, /* bytes in all */
		[4] = 9,	  /* FUSE_NOTIFY_PRUNE; no request, so 0 follows */
		[16] = 3,	  /* ids */
	};
	uint8_t head[WIRE_PRUNE_SIZE];

	(void)state;
	memset(head, 0xff, sizeof(head));
	wire_prune(head, 3);
	assert_memory_equal(head, wanted, sizeof(head)); /* on a little-endian machine */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_tells_what_the_kernel_can_do),
		cmocka_unit_test(an_old_kernels_shorter_init_is_understood),
		cmocka_unit_test(other_requests_are_not_init),
		cmocka_unit_test(opcodes_are_told_and_have_names),
		cmocka_unit_test(tmpfile_becomes_create),
		cmocka_unit_test(a_longer_setxattr_is_shortened),
		cmocka_unit_test(only_what_was_offered_is_asked_for),
		cmocka_unit_test(a_reply_of_another_size_is_left_alone),
		cmocka_unit_test(four_requests_can_take_set_id_bits_away),
		cmocka_unit_test(no_other_request_does),
		cmocka_unit_test(a_prune_message_is_what_the_kernel_wants),
	};

	alarm(20); /* a hang is a failure */
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
