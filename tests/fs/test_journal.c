/* SPDX-License-Identifier: MIT */
/* The vault's journal: what comes back of it, whatever becomes of its bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/bytes.h"
#include "fixture.h"
#include "fs/journal.h"

enum { SMALLEST = JOURNAL_SIZE_MIN, PART = SMALLEST / 2, MANY = 2 * PART / JOURNAL_SECTOR };

static struct keyring keys;
static struct tempdir dir;
static struct journal *journal;

/* ---- calls that fail ---------------------------------------------------------- */

static bool writes_fail;
static bool syncs_fail;

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	if (!writes_fail)
		return __real_pwrite64(fd, data, size, offset);
	errno = ENOSPC;
	return -1;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	(void)fd;
	errno = EIO;
	return syncs_fail ? -1 : 0;
}

void __wrap_log_warn(const char *format, ...);
void __wrap_log_warn(const char *format, ...)
{
	(void)format;
}

/* ---- a journal ------------------------------------------------------------------ */

static int begin(void **state)
{
	(void)state;
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	tempdir_make(&dir);
	return 0;
}

static int end(void **state)
{
	(void)state;
	writes_fail = syncs_fail = false;
	journal_free(journal);
	journal = NULL;
	tempdir_remove(&dir);
	return 0;
}

static void open_journal(void)
{
	journal_free(journal);
	assert_int_equal(journal_new(dir.fd, &keys, SMALLEST, &journal), 0);
	assert_true(journal_is_ready(journal));
}

static uint8_t payload_of(uint64_t block)
{
	return (uint8_t)(block * 7 + 1);
}

static struct journal_record record_of(uint64_t block, uint32_t size)
{
	struct journal_record record = { .inode = 77,
					 .sequence = 9,
					 .block = block,
					 .length = block * FORMAT_BLOCK_SIZE + size,
					 .size = size,
					 .mtime = { 1234567890, 987654321 } };

	memset(record.id, 0x55, sizeof(record.id));
	memset(record.half, (int)block, sizeof(record.half));
	return record;
}

static int append(uint64_t block, uint32_t size)
{
	struct journal_record record = record_of(block, size);
	uint8_t payload[JOURNAL_PAYLOAD_MAX];

	memset(payload, payload_of(block), sizeof(payload));
	return journal_append(journal, &record, payload);
}

/* The blocks that a mount after this one finds records of, in their order. */
static size_t found(const struct keyring *with, uint64_t blocks[MANY])
{
	struct journal_record *records;
	struct journal *left;
	uint8_t payload[JOURNAL_PAYLOAD_MAX];
	size_t n;

	assert_int_equal(journal_load(dir.fd, with, true, &left, &records, &n), 0);
	assert_non_null(left);
	for (size_t i = 0; i < n; i++) {
		const struct journal_record *r = &records[i];
		struct journal_record wanted = record_of(r->block, r->size);

		wanted.epoch = r->epoch;
		wanted.at = r->at;
		assert_memory_equal(r, &wanted, sizeof(wanted));
		assert_int_equal(journal_read(left, r->at, payload, r->size), 0);
		assert_int_equal(payload[0], payload_of(r->block));
		assert_int_equal(payload[r->size - 1], payload_of(r->block));
		blocks[i] = r->block;
	}
	free(records);
	journal_free(left);
	return n;
}

static void assert_found(size_t n, const uint64_t *wanted)
{
	uint64_t blocks[MANY];

	assert_int_equal(found(&keys, blocks), n);
	assert_memory_equal(blocks, wanted, n * sizeof(*wanted));
}

static int journal_fd(void)
{
	int fd = openat(dir.fd, JOURNAL_FILE, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put_bytes(uint64_t at, const void *bytes, size_t size)
{
	int fd = journal_fd();

	assert_int_equal(__real_pwrite64(fd, bytes, size, (off_t)at), size);
	close(fd);
}

static void get_bytes(uint64_t at, void *bytes, size_t size)
{
	int fd = journal_fd();

	assert_int_equal(pread(fd, bytes, size, (off_t)at), size);
	close(fd);
}

/* ---- what comes back ------------------------------------------------------------ */

static void records_come_back_in_their_order(void **state)
{
	static const uint64_t wanted[] = { 5, 3, 5, 8, 1 };
	uint64_t epoch;

	(void)state;
	open_journal();
	assert_found(0, NULL);
	assert_int_equal(append(5, 4096), 0);
	assert_int_equal(append(3, 1), 0);
	assert_int_equal(append(5, 352), 0);
	assert_int_equal(journal_switch(journal, &epoch), 0);
	assert_int_equal(append(8, 353), 0);
	assert_int_equal(append(1, 4096), 0);
	assert_found(5, wanted);

	assert_true(journal_is_live(journal, epoch));
	assert_int_equal(journal_void(journal, epoch), 0);
	assert_false(journal_is_live(journal, epoch));
	assert_true(journal_is_live(journal, epoch + 1));
	assert_found(2, wanted + 3);

	/* The first part again, with older records behind what is new. */
	assert_int_equal(journal_switch(journal, &epoch), 0);
	assert_int_equal(append(3, 4096), 0);
	assert_found(3, (uint64_t[]){ 8, 1, 3 });
	assert_int_equal(journal_void(journal, epoch), 0);
	assert_found(1, (uint64_t[]){ 3 });
	assert_int_equal(journal_empty(journal), 0);
	assert_found(0, NULL);
}

static void a_vault_without_a_journal_has_no_records(void **state)
{
	struct journal_record *records;
	struct journal *left;
	size_t n;

	(void)state;
	assert_int_equal(journal_load(dir.fd, &keys, false, &left, &records, &n), 0);
	assert_null(left);
	assert_null(records);
	assert_int_equal(n, 0);
}

static void a_part_that_is_due_is_not_begun_anew(void **state)
{
	uint64_t first;
	uint64_t again;

	(void)state;
	open_journal();
	assert_int_equal(append(1, 100), 0);
	assert_int_equal(journal_switch(journal, &first), 0);
	assert_int_equal(append(2, 100), 0);
	/* Its checkpoint failed. */
	assert_int_equal(journal_switch(journal, &again), 0);
	assert_int_equal(again, first);
	assert_int_equal(append(3, 100), 0);
	assert_found(3, (uint64_t[]){ 1, 2, 3 });
	assert_int_equal(journal_void(journal, again), 0);
	assert_int_equal(journal_switch(journal, &again), 0);
	assert_int_equal(again, first + 1);
	assert_found(2, (uint64_t[]){ 2, 3 });
}

static void says_when_it_is_full(void **state)
{
	uint64_t blocks[MANY];
	uint64_t epoch;
	uint64_t n = 0;
	int r;

	(void)state;
	open_journal();
	for (r = append(n, 4096); !r; r = append(n, 4096))
		assert_int_equal(journal_is_crowded(journal), ++n > PART / 2 / 4608);
	assert_int_equal(r, JOURNAL_FULL);
	assert_int_equal(n, (PART - JOURNAL_SECTOR) / 4608);
	assert_false(journal_is_broken(journal));
	assert_int_equal(found(&keys, blocks), n);
	assert_int_equal(journal_switch(journal, &epoch), 0);
	assert_false(journal_is_crowded(journal));
	assert_int_equal(append(n, 4096), 0);
	assert_int_equal(found(&keys, blocks), n + 1);
}

/* ---- what does not ---------------------------------------------------------------- */

enum { FIRST_AT = JOURNAL_SECTOR, SECOND_AT = FIRST_AT + 1024, RECORD_USED = 160 + 700 };

static void three_records(void)
{
	open_journal();
	for (uint64_t block = 1; block <= 3; block++)
		assert_int_equal(append(block, 700), 0);
}

static void a_changed_byte_ends_the_records(void **state)
{
	static uint8_t raw[RECORD_USED];

	(void)state;
	three_records();
	get_bytes(SECOND_AT, raw, sizeof(raw));
	for (size_t at = 0; at < sizeof(raw); at++) {
		uint8_t changed = raw[at] ^ (uint8_t)(1 << at % 8);

		put_bytes(SECOND_AT + at, &changed, 1);
		assert_found(1, (uint64_t[]){ 1 });
		put_bytes(SECOND_AT + at, &raw[at], 1);
	}
	assert_found(3, (uint64_t[]){ 1, 2, 3 });
}

static void a_changed_head_voids_its_part(void **state)
{
	uint8_t raw[32];
	uint64_t epoch;

	(void)state;
	three_records();
	assert_int_equal(journal_switch(journal, &epoch), 0);
	assert_int_equal(append(4, 700), 0);
	get_bytes(0, raw, sizeof(raw));
	for (size_t at = 0; at < sizeof(raw); at++) {
		uint8_t changed = raw[at] ^ (uint8_t)(1 << at % 8);

		put_bytes(at, &changed, 1);
		assert_found(1, (uint64_t[]){ 4 });
		put_bytes(at, &raw[at], 1);
	}
}

static void records_that_were_cut_off_are_none(void **state)
{
	uint64_t blocks[MANY];
	size_t last = 0;

	(void)state;
	three_records();
	/* Both parts are half of what is left, so the second one is never where it was. */
	for (off_t size = 0; size <= 2 * PART; size += size < 10 * 1024 ? 61 : 4093) {
		int fd = journal_fd();
		size_t n;

		three_records();
		assert_int_equal(ftruncate(fd, size), 0);
		n = found(&keys, blocks);
		assert_true(n >= last && n <= 3);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(blocks[i], i + 1);
		last = n;
		close(fd);
	}
	assert_int_equal(last, 3);
}

static void nothing_of_another_time_or_vault_counts(void **state)
{
	static uint8_t old[PART];
	uint8_t master[KEYS_MASTER_SIZE] = { 1 };
	uint64_t blocks[MANY];
	struct keyring others;

	(void)state;
	three_records();
	get_bytes(0, old, sizeof(old));

	/* The same records of the next mount: its own head, records of before. */
	three_records();
	put_bytes(SECOND_AT, old + SECOND_AT, sizeof(old) - SECOND_AT);
	assert_found(1, (uint64_t[]){ 1 });
	/* In the other part, where their epoch is not the part's. */
	three_records();
	put_bytes(PART + FIRST_AT, old + FIRST_AT, PART - FIRST_AT);
	assert_found(3, (uint64_t[]){ 1, 2, 3 });

	assert_int_equal(keys_derive(master, &others), 0);
	assert_int_equal(found(&others, blocks), 0);
}

static void what_is_no_file_is_an_error(void **state)
{
	struct journal_record *records;
	struct journal *left;
	size_t n;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		if (kind == 0)
			assert_int_equal(mkfifoat(dir.fd, JOURNAL_FILE, 0600), 0);
		else if (kind == 1)
			assert_int_equal(symlinkat("elsewhere", dir.fd, JOURNAL_FILE), 0);
		else
			assert_int_equal(mkdirat(dir.fd, JOURNAL_FILE, 0700), 0);
		for (int read_only = 0; read_only < 2; read_only++) {
			int r = journal_load(dir.fd, &keys, read_only, &left, &records, &n);

			assert_true(r < 0);
			assert_null(left);
		}
		assert_true(journal_new(dir.fd, &keys, SMALLEST, &journal) < 0);
		assert_null(journal);
		assert_int_equal(unlinkat(dir.fd, JOURNAL_FILE, kind == 2 ? AT_REMOVEDIR : 0), 0);
	}
}

/* What our own key sealed, and no writer writes. */
static void impossible_records_are_none(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
		size_t size;
		bool small;
	} changes[] = {
		{ 64, UINT64_MAX - 1, 8, false },
		{ 64, (uint64_t)1 << 50, 8, false },
		{ 72, 3 * 4096 + 699, 8, false },
		{ 72, ((uint64_t)1 << 62) + 1, 8, false },
		{ 80, 1, 4, false },
		{ 128, 1000000000, 4, false },
		{ 132, 1, 4, false },
		{ 72, 189, 8, true },
		{ 80, 2, 4, true },
	};
	uint8_t raw[RECORD_USED] = { 0 };
	struct journal_record record;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct journal_record good = record_of(3, 700);

		if (changes[i].small) {
			good.block = JOURNAL_SMALL;
			good.length = 700 - FORMAT_HEADER_SIZE;
		}
		journal_record_encode(&keys, &good, raw);
		assert_true(journal_record_decode(&keys, raw, sizeof(raw), &record));
		assert_false(journal_record_decode(&keys, raw, sizeof(raw) - 1, &record));
		/* Sealed anew, as far as its encoder lets us. */
		if (changes[i].at == 64)
			good.block = changes[i].value;
		else if (changes[i].at == 72)
			good.length = changes[i].value;
		else if (changes[i].at == 80)
			good.slot = (uint32_t)changes[i].value;
		else if (changes[i].at == 128)
			good.mtime.tv_nsec = (long)changes[i].value;
		journal_record_encode(&keys, &good, raw);
		if (changes[i].at == 132)
			bytes_put32(raw + 132, 1);
		assert_false(journal_record_decode(&keys, raw, sizeof(raw), &record));
	}
	for (uint32_t size = 0; size <= 700; size += 700) {
		struct journal_record empty = record_of(3, size);

		journal_record_encode(&keys, &empty, raw);
		assert_int_equal(journal_record_decode(&keys, raw, sizeof(raw), &record), size > 0);
	}
}

/* ---- failures ---------------------------------------------------------------------- */

static void what_cannot_be_filled_is_not_used(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(journal_new(dir.fd, &keys, SMALLEST, &journal), 0);
	writes_fail = true;
	assert_false(journal_is_ready(journal));
	writes_fail = false;
	assert_true(journal_is_broken(journal));
	assert_false(journal_is_ready(journal));
	assert_int_equal(fstatat(dir.fd, JOURNAL_FILE, &st, 0), 0);
	assert_int_equal(st.st_size, 0);
}

static void one_that_fails_takes_no_more_and_keeps_what_it_has(void **state)
{
	uint64_t epoch;

	(void)state;
	three_records();
	writes_fail = true;
	assert_int_equal(append(4, 700), -ENOSPC);
	writes_fail = false;
	assert_true(journal_is_broken(journal));
	assert_found(3, (uint64_t[]){ 1, 2, 3 });
	assert_int_equal(journal_switch(journal, &epoch), 0);
	assert_int_equal(journal_void(journal, epoch), 0);
	assert_found(0, NULL);

	three_records();
	syncs_fail = true;
	assert_int_equal(journal_sync(journal), -EIO);
	assert_true(journal_is_broken(journal));
	assert_int_equal(journal_switch(journal, &epoch), -EIO);
	syncs_fail = false;
	assert_found(3, (uint64_t[]){ 1, 2, 3 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_come_back_in_their_order, begin, end),
		cmocka_unit_test_setup_teardown(a_vault_without_a_journal_has_no_records, begin,
						end),
		cmocka_unit_test_setup_teardown(a_part_that_is_due_is_not_begun_anew, begin, end),
		cmocka_unit_test_setup_teardown(says_when_it_is_full, begin, end),
		cmocka_unit_test_setup_teardown(a_changed_byte_ends_the_records, begin, end),
		cmocka_unit_test_setup_teardown(a_changed_head_voids_its_part, begin, end),
		cmocka_unit_test_setup_teardown(records_that_were_cut_off_are_none, begin, end),
		cmocka_unit_test_setup_teardown(nothing_of_another_time_or_vault_counts, begin,
						end),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_an_error, begin, end),
		cmocka_unit_test_setup_teardown(impossible_records_are_none, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_filled_is_not_used, begin, end),
		cmocka_unit_test_setup_teardown(one_that_fails_takes_no_more_and_keeps_what_it_has,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
