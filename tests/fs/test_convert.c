/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "fixture.h"
#include "fs/container.h"
#include "fs/convert.h"

enum {
	HANDS = 3,
	MIB = 1 << 20,
	CHUNK = CONTAINER_CHUNK_SIZE,
	STORED = CONTAINER_HEAD_SIZE + CHUNK / 256 + CHUNK, /* of a whole chunk */
	END_STORED = CONTAINER_HEAD_SIZE + CIPHER_TAG_SIZE + CONTAINER_END_SIZE,
};

static struct engine *engine;
static struct convert_hand *hands[HANDS];
static struct keyring keys;
static const struct convert_key key = { .suite = CIPHER_AES_256_GCM, .keys = &keys, .id = { 7 } };

/* ---- files and pipes --------------------------------------------------- */

static int memory_file(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fdio_pwrite_full(fd, data, size, 0), 0);
	return fd;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static uint8_t *make_bytes(size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	uint32_t x = 12345;

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	return bytes;
}

static void assert_holds(int fd, const uint8_t *bytes, size_t size)
{
	uint8_t *got = malloc(size + 1);

	assert_non_null(got);
	assert_int_equal(size_of(fd), size);
	assert_int_equal(fdio_pread_full(fd, got, size, 0), 0);
	assert_true(memcmp(got, bytes, size) == 0);
	free(got);
}

/* One that copies between a file and an end of a pipe. */
struct pump {
	pthread_t thread;
	int from;
	int to;
};

static void *pump_main(void *arg)
{
	const struct pump *p = arg;
	uint8_t buffer[5000]; /* pieces that fit nothing */
	ssize_t n;

	while ((n = read(p->from, buffer, sizeof(buffer))) > 0)
		if (fdio_write_full(p->to, buffer, (size_t)n))
			break;
	fdio_close(p->to);
	return NULL;
}

/* ---- conversions ------------------------------------------------------- */

struct help {
	pthread_t thread;
	struct convert *convert;
	struct convert_hand *hand;
	int result; /* CONVERT_OTHERS: somebody else has it */
};

static void *help_main(void *arg)
{
	struct help *h = arg;

	do {
		h->result = convert_step(h->convert, h->hand);
	} while (h->result == CONVERT_MORE);
	cipher_thread_fini();
	return NULL;
}

/* Have all hands do it: the one result. */
static int do_it(struct convert *c)
{
	struct help helps[HANDS];
	int result = CONVERT_OTHERS;

	for (int i = 0; i < HANDS; i++) {
		helps[i] = (struct help){ .convert = c, .hand = hands[i] };
		assert_int_equal(pthread_create(&helps[i].thread, NULL, help_main, &helps[i]), 0);
	}
	for (int i = 0; i < HANDS; i++) {
		assert_int_equal(pthread_join(helps[i].thread, NULL), 0);
		if (helps[i].result == CONVERT_OTHERS)
			continue;
		assert_int_equal(result, CONVERT_OTHERS);
		result = helps[i].result;
	}
	assert_int_not_equal(result, CONVERT_OTHERS);
	return result;
}

static int convert(const struct convert_spec *spec)
{
	struct convert *c;
	int r;

	assert_int_equal(convert_new(spec, &c), 0);
	r = do_it(c);
	convert_free(c);
	return r;
}

/* From a file to a new one: the result. */
static int convert_files(enum convert_way way, int in, int *out)
{
	struct convert_spec spec = { .way = way, .key = key };

	*out = memory_file("", 0);
	spec.in = (struct convert_end){ .fd = in, .size = size_of(in) };
	spec.out = (struct convert_end){ .fd = *out };
	return convert(&spec);
}

static int seal(int in)
{
	int out;

	assert_int_equal(convert_files(CONVERT_SEAL, in, &out), 0);
	return out;
}

/* With one hand only: quick, for what is done thousands of times. */
static int open_again(int in)
{
	struct convert_spec spec = { .way = CONVERT_OPEN, .key = key };
	struct convert *c;
	int r;

	spec.in = (struct convert_end){ .fd = in, .size = size_of(in) };
	spec.out = (struct convert_end){ .fd = memory_file("", 0) };
	assert_int_equal(convert_new(&spec, &c), 0);
	do {
		r = convert_step(c, hands[0]);
	} while (r == CONVERT_MORE);
	convert_free(c);
	fdio_close(spec.out.fd);
	return r;
}

/* The same by way of pipes on both sides. */
static int convert_streams(enum convert_way way, int in, int *out)
{
	struct convert_spec spec = { .way = way, .key = key };
	int front[2];
	int back[2];
	struct pump feed;
	struct pump drain;
	int r;

	*out = memory_file("", 0);
	assert_int_equal(pipe(front), 0);
	assert_int_equal(pipe(back), 0);
	assert_int_equal(lseek(in, 0, SEEK_SET), 0);
	feed = (struct pump){ .from = in, .to = front[1] };
	drain = (struct pump){ .from = back[0], .to = dup(*out) };
	assert_int_equal(pthread_create(&feed.thread, NULL, pump_main, &feed), 0);
	assert_int_equal(pthread_create(&drain.thread, NULL, pump_main, &drain), 0);
	spec.in = (struct convert_end){ .fd = front[0], .is_stream = true };
	spec.out = (struct convert_end){ .fd = back[1], .is_stream = true };
	r = convert(&spec);
	fdio_close(back[1]);
	fdio_close(front[0]);
	assert_int_equal(pthread_join(feed.thread, NULL), 0);
	assert_int_equal(pthread_join(drain.thread, NULL), 0);
	fdio_close(back[0]);
	return r;
}

static const size_t sizes[] = { 0,	   1,	    4095,	 4096,	      4097,
				CHUNK - 1, CHUNK,   CHUNK + 1,	 MIB - 4096,  MIB - 1,
				MIB,	   MIB + 1, MIB + CHUNK, 3 * MIB + 17 };

static void opens_what_it_sealed_at_every_size(void **state)
{
	uint8_t *bytes = make_bytes(4 * MIB);

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int in = memory_file(bytes, sizes[i]);
		int sealed = seal(in);
		int opened;

		assert_int_equal(convert_files(CONVERT_OPEN, sealed, &opened), 0);
		assert_holds(opened, bytes, sizes[i]);
		fdio_close(in);
		fdio_close(sealed);
		fdio_close(opened);
	}
	free(bytes);
}

/* Not only the same content: the same container, so that each reads the other's. */
static void streams_give_the_same_bytes_as_files(void **state)
{
	uint8_t *bytes = make_bytes(4 * MIB);
	uint8_t *expected;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int in = memory_file(bytes, sizes[i]);
		int sealed = seal(in);
		uint64_t size = size_of(sealed);
		int streamed;
		int opened;

		expected = malloc(size);
		assert_non_null(expected);
		assert_int_equal(fdio_pread_full(sealed, expected, size, 0), 0);
		assert_int_equal(convert_streams(CONVERT_SEAL, in, &streamed), 0);
		assert_holds(streamed, expected, size);
		assert_int_equal(convert_streams(CONVERT_OPEN, streamed, &opened), 0);
		assert_holds(opened, bytes, sizes[i]);
		free(expected);
		fdio_close(in);
		fdio_close(sealed);
		fdio_close(streamed);
		fdio_close(opened);
	}
	free(bytes);
}

/* ---- holes ------------------------------------------------------------- */

/* 3 MiB with bytes at 64 KiB and in the last block, or the hole at the end. */
static int sparse_file(uint8_t *bytes, size_t size, bool hole_at_end)
{
	int fd = memory_file("", 0);

	memset(bytes, 0, size);
	memset(bytes + 65536, 'a', 5000);
	assert_int_equal(fdio_pwrite_full(fd, bytes + 65536, 5000, 65536), 0);
	if (!hole_at_end) {
		memset(bytes + size - 10, 'z', 10);
		assert_int_equal(fdio_pwrite_full(fd, bytes + size - 10, 10, (off_t)size - 10), 0);
	}
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void holes_stay_holes(void **state)
{
	enum { SIZE = 3 * MIB + 100 };
	uint8_t *bytes = make_bytes(SIZE);

	(void)state;
	for (int at_end = 0; at_end < 2; at_end++) {
		int in = sparse_file(bytes, SIZE, at_end);
		int sealed = seal(in);
		int opened;
		int streamed;
		struct stat st;

		assert_true(size_of(sealed) < 5 * 4096);
		assert_int_equal(convert_files(CONVERT_OPEN, sealed, &opened), 0);
		assert_holds(opened, bytes, SIZE);
		assert_int_equal(fstat(opened, &st), 0);
		assert_true(st.st_blocks < 100);
		assert_int_equal(convert_streams(CONVERT_OPEN, sealed, &streamed), 0);
		assert_holds(streamed, bytes, SIZE);
		fdio_close(in);
		fdio_close(sealed);
		fdio_close(opened);
		fdio_close(streamed);
	}
	free(bytes);
}

/* ---- damage ------------------------------------------------------------ */

/* Two short chunks with a hole between, and the end: all of the format in few bytes. */
static uint8_t *small_container(size_t *size)
{
	uint8_t *bytes = malloc(3 * MIB);
	int in;
	int sealed;
	uint8_t *raw;

	assert_non_null(bytes);
	in = sparse_file(bytes, MIB + 10, false);
	sealed = seal(in);
	*size = size_of(sealed);
	raw = malloc(*size + 1);
	assert_non_null(raw);
	assert_int_equal(fdio_pread_full(sealed, raw, *size, 0), 0);
	free(bytes);
	fdio_close(in);
	fdio_close(sealed);
	return raw;
}

static int try_bytes(const uint8_t *raw, size_t size)
{
	int fd = memory_file(raw, size);
	int r = open_again(fd);

	fdio_close(fd);
	return r;
}

static void refuses_every_flipped_bit(void **state)
{
	size_t size;
	uint8_t *raw = small_container(&size);

	(void)state;
	assert_int_equal(try_bytes(raw, size), 0);
	for (size_t i = 0; i < size; i++) {
		int r;

		raw[i] ^= (uint8_t)(1 << i % 8);
		r = try_bytes(raw, size);
		assert_true(r == CONVERT_DAMAGED || r == CONVERT_CUT);
		raw[i] ^= (uint8_t)(1 << i % 8);
	}
	free(raw);
}

/* All eight bits of what is not ciphertext: heads and tags. */
static void refuses_every_other_head(void **state)
{
	size_t size;
	uint8_t *raw = small_container(&size);

	(void)state;
	for (size_t bit = 0; bit < CONTAINER_HEAD_SIZE * 8; bit++) {
		int r;

		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
		r = try_bytes(raw, size);
		assert_true(r == CONVERT_DAMAGED || r == CONVERT_CUT);
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(raw);
}

static void refuses_every_cut_and_every_addition(void **state)
{
	size_t size;
	uint8_t *raw = small_container(&size);

	(void)state;
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(try_bytes(raw, cut), CONVERT_CUT);
	raw[size] = 0;
	assert_int_equal(try_bytes(raw, size + 1), CONVERT_DAMAGED);
	free(raw);
}

/* Only the seal tells that a hole at the end has another length now. */
static void refuses_an_end_that_was_moved(void **state)
{
	uint8_t *bytes = make_bytes(MIB);
	int in = sparse_file(bytes, MIB, true);
	int sealed = seal(in);
	size_t size = size_of(sealed);
	uint8_t *raw = malloc(size);
	uint8_t *position;

	(void)state;
	assert_non_null(raw);
	assert_int_equal(fdio_pread_full(sealed, raw, size, 0), 0);
	assert_int_equal(try_bytes(raw, size), 0);
	position = raw + size - END_STORED;
	position[2] ^= 1; /* 64 KiB more or less */
	assert_int_equal(try_bytes(raw, size), CONVERT_DAMAGED);
	free(raw);
	free(bytes);
	fdio_close(in);
	fdio_close(sealed);
}

/* Four whole chunks and the end, in a file that may be put together anew. */
struct parts {
	uint8_t *raw;
	uint8_t *made;
	size_t size;
};

static void parts_make(struct parts *p)
{
	uint8_t *bytes = make_bytes(4 * CHUNK);
	int in = memory_file(bytes, 4 * CHUNK);
	int sealed = seal(in);

	assert_int_equal(size_of(sealed), 4 * STORED + END_STORED);
	p->raw = malloc(4 * STORED + END_STORED);
	p->made = malloc(8 * STORED);
	assert_non_null(p->raw);
	assert_non_null(p->made);
	assert_int_equal(fdio_pread_full(sealed, p->raw, 4 * STORED + END_STORED, 0), 0);
	free(bytes);
	fdio_close(in);
	fdio_close(sealed);
}

/* Chunks by number in this order, then the end: what opening says. */
static int try_order(struct parts *p, const char *order)
{
	size_t size = 0;

	for (; *order; order++, size += STORED)
		memcpy(p->made + size, p->raw + (*order - '0') * STORED, STORED);
	memcpy(p->made + size, p->raw + 4 * STORED, END_STORED);
	return try_bytes(p->made, size + END_STORED);
}

static void refuses_chunks_that_are_missing_or_moved(void **state)
{
	struct parts p;

	(void)state;
	parts_make(&p);
	assert_int_equal(try_order(&p, "0123"), 0);
	assert_int_equal(try_order(&p, "0132"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, "1023"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, "012"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, "013"), CONVERT_DAMAGED); /* would be a hole */
	assert_int_equal(try_order(&p, "123"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, "01233"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, "01123"), CONVERT_DAMAGED);
	assert_int_equal(try_order(&p, ""), CONVERT_DAMAGED);
	/* The second chunk's bytes under the first one's position, and the other way round. */
	memcpy(p.made, p.raw, 4 * STORED + END_STORED);
	memcpy(p.made + CONTAINER_HEAD_SIZE, p.raw + STORED + CONTAINER_HEAD_SIZE,
	       STORED - CONTAINER_HEAD_SIZE);
	memcpy(p.made + STORED + CONTAINER_HEAD_SIZE, p.raw + CONTAINER_HEAD_SIZE,
	       STORED - CONTAINER_HEAD_SIZE);
	assert_int_equal(try_bytes(p.made, 4 * STORED + END_STORED), CONVERT_DAMAGED);
	free(p.raw);
	free(p.made);
}

/* Blocks cut off the front or back of a chunk must not turn into a hole. */
static void refuses_a_chunk_made_shorter(void **state)
{
	struct container_chunk head = { .position = 0, .size = 8 * 4096 };
	struct parts p;
	uint8_t *at;

	(void)state;
	parts_make(&p);
	for (int front = 0; front < 2; front++) {
		at = p.made;
		head.position = front ? 8 * 4096 : 0;
		container_chunk_encode(&head, at);
		at += CONTAINER_HEAD_SIZE;
		memcpy(at, p.raw + CONTAINER_HEAD_SIZE + (front ? 8 * 16 : 0), 8 * 16);
		at += 8 * 16;
		memcpy(at, p.raw + CONTAINER_HEAD_SIZE + 256 + (front ? 8 * 4096 : 0), 8 * 4096);
		at += 8 * 4096;
		memcpy(at, p.raw + STORED, 3 * STORED + END_STORED);
		at += 3 * STORED + END_STORED;
		assert_int_equal(try_bytes(p.made, (size_t)(at - p.made)), CONVERT_DAMAGED);
	}
	free(p.raw);
	free(p.made);
}

/* What a pipe got before damage was found is right, and in order. */
static void passes_on_only_what_is_authentic(void **state)
{
	enum { SIZE = 6 * MIB };
	uint8_t *bytes = make_bytes(SIZE);
	int in = memory_file(bytes, SIZE);
	int sealed = seal(in);
	uint8_t byte;
	int out;
	uint64_t size;

	(void)state;
	assert_int_equal(fdio_pread_full(sealed, &byte, 1, 4 * MIB), 0);
	byte ^= 1;
	assert_int_equal(fdio_pwrite_full(sealed, &byte, 1, 4 * MIB), 0);
	assert_int_equal(convert_streams(CONVERT_OPEN, sealed, &out), CONVERT_DAMAGED);
	size = size_of(out);
	assert_true(size <= 4 * MIB);
	assert_holds(out, bytes, size);
	free(bytes);
	fdio_close(in);
	fdio_close(sealed);
	fdio_close(out);
}

/* ---- xor --------------------------------------------------------------- */

static void xor_is_cryptstreams_own(void **state)
{
	static const size_t key_sizes[] = { 1, 3, 16, 255, 256, 300 };
	enum { SIZE = 2 * MIB + 333 };
	uint8_t *bytes = make_bytes(SIZE);
	uint8_t *expected = malloc(SIZE);
	struct convert_spec spec = { .way = CONVERT_XOR };
	int in = memory_file(bytes, SIZE);

	(void)state;
	assert_non_null(expected);
	for (size_t k = 0; k < sizeof(key_sizes) / sizeof(key_sizes[0]); k++) {
		size_t n = key_sizes[k];
		int out = memory_file("", 0);

		spec.key = (struct convert_key){ .suite = CIPHER_XOR,
						 .xor_key = bytes + 7,
						 .xor_size = n };
		spec.in = (struct convert_end){ .fd = in, .size = SIZE };
		spec.out = (struct convert_end){ .fd = out };
		for (size_t i = 0; i < SIZE; i++)
			expected[i] = bytes[i] ^ bytes[7 + i % 256 % n];
		assert_int_equal(convert(&spec), 0);
		assert_holds(out, expected, SIZE);
		fdio_close(out);
	}
	free(bytes);
	free(expected);
	fdio_close(in);
}

/* ---- ends -------------------------------------------------------------- */

static void an_input_that_shrinks_is_told(void **state)
{
	uint8_t *bytes = make_bytes(3 * MIB);
	int in = memory_file(bytes, 3 * MIB);
	struct convert_spec spec = { .way = CONVERT_SEAL, .key = key };

	(void)state;
	spec.in = (struct convert_end){ .fd = in, .size = 3 * MIB };
	spec.out = (struct convert_end){ .fd = memory_file("", 0) };
	assert_int_equal(ftruncate(in, 2 * MIB + 5), 0);
	/* The filesystem says that there is a hole; what is there is what counts. */
	assert_int_equal(convert(&spec), CONVERT_CHANGED);
	free(bytes);
	fdio_close(in);
	fdio_close(spec.out.fd);
}

static void do_nothing(int signal)
{
	(void)signal;
}

static void can_be_cancelled_while_it_waits_in_a_pipe(void **state)
{
	const struct sigaction wake = { .sa_handler = do_nothing };
	struct convert_spec spec = { .way = CONVERT_SEAL, .key = key };
	struct help help;
	struct convert *c;
	int front[2];

	(void)state;
	assert_int_equal(sigaction(SIGUSR2, &wake, NULL), 0);
	assert_int_equal(pipe(front), 0);
	spec.in = (struct convert_end){ .fd = front[0], .is_stream = true };
	spec.out = (struct convert_end){ .fd = memory_file("", 0) };
	assert_int_equal(convert_new(&spec, &c), 0);
	help = (struct help){ .convert = c, .hand = hands[0] };
	assert_int_equal(pthread_create(&help.thread, NULL, help_main, &help), 0);
	convert_cancel(c, -ECANCELED);
	while (pthread_tryjoin_np(help.thread, NULL) == EBUSY) {
		(void)pthread_kill(help.thread, SIGUSR2);
		usleep(1000);
	}
	assert_int_equal(help.result, -ECANCELED);
	convert_free(c);
	fdio_close(front[0]);
	fdio_close(front[1]);
	fdio_close(spec.out.fd);
}

static void a_full_disk_is_told(void **state)
{
	struct convert_spec spec = { .way = CONVERT_SEAL, .key = key };
	uint8_t *bytes = make_bytes(MIB);
	int in = memory_file(bytes, MIB);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	spec.in = (struct convert_end){ .fd = in, .size = MIB };
	spec.out = (struct convert_end){ .fd = full, .is_stream = true };
	assert_int_equal(convert(&spec), -ENOSPC);
	free(bytes);
	fdio_close(in);
	fdio_close(full);
}

static int setup(void **state)
{
	const struct engine_options options = { .workers = 0, .slots = HANDS };

	(void)state;
	fixture_keys(&keys);
	assert_int_equal(engine_start(&options, &engine), 0);
	for (int i = 0; i < HANDS; i++)
		assert_int_equal(convert_hand_new(engine, &hands[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < HANDS; i++)
		convert_hand_free(hands[i]);
	engine_stop(engine);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_what_it_sealed_at_every_size),
		cmocka_unit_test(streams_give_the_same_bytes_as_files),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(refuses_every_flipped_bit),
		cmocka_unit_test(refuses_every_other_head),
		cmocka_unit_test(refuses_every_cut_and_every_addition),
		cmocka_unit_test(refuses_an_end_that_was_moved),
		cmocka_unit_test(refuses_chunks_that_are_missing_or_moved),
		cmocka_unit_test(refuses_a_chunk_made_shorter),
		cmocka_unit_test(passes_on_only_what_is_authentic),
		cmocka_unit_test(xor_is_cryptstreams_own),
		cmocka_unit_test(an_input_that_shrinks_is_told),
		cmocka_unit_test(can_be_cancelled_while_it_waits_in_a_pipe),
		cmocka_unit_test(a_full_disk_is_told),
	};

	alarm(100);
	(void)signal(SIGPIPE, SIG_IGN); /* of those who feed what has ended */
	return cmocka_run_group_tests(tests, setup, teardown);
}
