/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/tags.h"

/*
 * A backing file whose entries say which version of which block they are; the
 * cache answers with what it was told last, else with what is on disk.
 */
static int fd;
static struct tags *tags;

enum { MAX = 400 };
static uint8_t entries[MAX * FORMAT_ENTRY_SIZE];

static int setup(void **state)
{
	(void)state;
	fd = memfd_create("cryptfs-test", MFD_CLOEXEC);
	tags = tags_new();
	return fd < 0 || !tags;
}

static int teardown(void **state)
{
	(void)state;
	tags_free(tags);
	return close(fd);
}

static void make_entry(uint64_t block, uint8_t version, uint8_t *entry)
{
	memset(entry, version, FORMAT_ENTRY_SIZE);
	memcpy(entry, &block, sizeof(block));
}

static void make_entries(uint64_t first, uint32_t n, uint8_t version)
{
	for (uint32_t i = 0; i < n; i++)
		make_entry(first + i, version, entries + (size_t)i * FORMAT_ENTRY_SIZE);
}

static void write_to_disk(uint64_t first, uint32_t n, uint8_t version)
{
	uint8_t entry[FORMAT_ENTRY_SIZE];

	for (uint64_t block = first; block < first + n; block++) {
		make_entry(block, version, entry);
		assert_int_equal(
			pwrite(fd, entry, sizeof(entry), (off_t)format_entry_offset(block)),
			sizeof(entry));
	}
}

static void assert_version(uint64_t first, uint32_t n, uint8_t version)
{
	uint8_t wanted[FORMAT_ENTRY_SIZE];

	memset(entries, 0xee, sizeof(entries));
	assert_int_equal(tags_read(tags, fd, first, n, entries), 0);
	for (uint32_t i = 0; i < n; i++) {
		make_entry(first + i, version, wanted);
		assert_memory_equal(entries + (size_t)i * FORMAT_ENTRY_SIZE, wanted,
				    sizeof(wanted));
	}
	for (size_t i = (size_t)n * FORMAT_ENTRY_SIZE; i < sizeof(entries); i++)
		assert_int_equal(entries[i], 0xee);
}

static void a_run_is_read_across_groups_from_disk(void **state)
{
	(void)state;
	write_to_disk(0, 300, 1);
	assert_version(0, 300, 1);
	assert_version(47, 2, 1);
	assert_version(111, 66, 1);
	assert_version(299, 1, 1);
}

static void what_was_read_once_is_not_read_again(void **state)
{
	(void)state;
	write_to_disk(0, 200, 1);
	assert_version(60, 1, 1);
	write_to_disk(0, 200, 2);
	assert_version(48, 64, 1);  /* the whole page came with that one entry */
	assert_version(0, 48, 2);   /* another group */
	assert_version(112, 64, 2); /* and another */
}

static void a_page_filled_in_passing_is_not_read(void **state)
{
	(void)state;
	make_entries(48, 64, 3);
	tags_fill(tags, 1, entries);
	assert_version(48, 64, 3);
	make_entries(0, 48, 4);
	tags_fill(tags, 0, entries);
	assert_version(0, 48, 4);
	assert_version(48, 64, 3);
}

static void a_page_filled_again_is_the_new_one(void **state)
{
	(void)state;
	make_entries(48, 64, 3);
	tags_fill(tags, 1, entries);
	make_entries(48, 64, 4);
	tags_fill(tags, 1, entries);
	assert_version(48, 64, 4);
}

static void what_is_stored_changes_a_page_that_is_known(void **state)
{
	(void)state;
	write_to_disk(0, 200, 1);
	assert_version(0, 200, 1);
	make_entries(40, 30, 2);
	tags_store(tags, 40, 30, entries);
	assert_version(0, 40, 1);
	assert_version(40, 30, 2);
	assert_version(70, 130, 1);
}

static void a_part_stored_of_an_unknown_page_does_not_hide_the_rest(void **state)
{
	(void)state;
	write_to_disk(48, 64, 1);
	write_to_disk(50, 1, 2); /* as callers do: first the disk */
	make_entries(50, 1, 2);
	tags_store(tags, 50, 1, entries);
	assert_version(48, 2, 1);
	assert_version(50, 1, 2);
	assert_version(51, 61, 1);
}

static void a_whole_group_stored_is_known(void **state)
{
	(void)state;
	make_entries(48, 128, 5); /* the disk knows nothing of it */
	tags_store(tags, 48, 128, entries);
	assert_version(48, 128, 5);
}

static void past_the_end_of_the_file_entries_are_zeros(void **state)
{
	static const uint8_t zeros[FORMAT_ENTRY_SIZE];

	(void)state;
	write_to_disk(0, 10, 1);
	assert_int_equal(ftruncate(fd, (off_t)format_entry_offset(10)), 0);
	assert_version(0, 10, 1);
	assert_int_equal(tags_read(tags, fd, 10, 100, entries), 0);
	for (size_t i = 0; i < 100; i++)
		assert_memory_equal(entries + i * FORMAT_ENTRY_SIZE, zeros, sizeof(zeros));
}

static void after_a_drop_the_disk_is_asked(void **state)
{
	(void)state;
	write_to_disk(0, 200, 1);
	assert_version(0, 200, 1);
	write_to_disk(0, 200, 2);
	assert_version(0, 200, 1);
	tags_drop(tags);
	assert_version(0, 200, 2);
	tags_drop(tags);
	tags_drop(tags);
	assert_version(0, 200, 2);
}

static uint64_t first_of(uint64_t group)
{
	return format_group_first(group);
}

static void pages_stay_when_the_cache_grows(void **state)
{
	(void)state;
	for (uint64_t group = 0; group < 40; group++) {
		make_entries(first_of(group), format_group_blocks(group), (uint8_t)(group + 1));
		tags_fill(tags, group, entries);
	}
	make_entries(first_of(700), 64, 200); /* from 64 to 1024 pages at once */
	tags_fill(tags, 700, entries);
	for (uint64_t group = 0; group < 40; group++)
		assert_version(first_of(group), format_group_blocks(group), (uint8_t)(group + 1));
	assert_version(first_of(700), 64, 200);
}

static void groups_that_collide_never_answer_for_each_other(void **state)
{
	const uint64_t a = 5;
	const uint64_t b = a + TAGS_MAX_PAGES;
	const uint64_t c = a + 2 * TAGS_MAX_PAGES;

	(void)state;
	write_to_disk(first_of(a), 64, 1);
	write_to_disk(first_of(b), 64, 2);
	write_to_disk(first_of(c), 64, 3);
	for (int i = 0; i < 3; i++) {
		assert_version(first_of(a), 64, 1);
		assert_version(first_of(b), 64, 2);
		assert_version(first_of(c), 64, 3);
	}
	make_entries(first_of(a), 1, 9); /* c's page is there now: not to be touched */
	tags_store(tags, first_of(a), 1, entries);
	assert_version(first_of(c), 64, 3);
	/* A whole group takes the place of another, even the first and shorter one. */
	make_entries(0, 48, 7);
	tags_store(tags, 0, 48, entries);
	write_to_disk(first_of(TAGS_MAX_PAGES), 64, 8);
	assert_version(first_of(TAGS_MAX_PAGES), 64, 8);
	write_to_disk(0, 48, 6);
	assert_version(0, 48, 6);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	int write_only = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(write_only >= 0);
	assert_int_equal(tags_read(tags, write_only, 0, 1, entries), -EBADF);
	close(write_only);
	write_to_disk(0, 48, 1); /* nothing wrong was remembered */
	assert_version(0, 48, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_run_is_read_across_groups_from_disk),
		test(what_was_read_once_is_not_read_again),
		test(a_page_filled_in_passing_is_not_read),
		test(a_page_filled_again_is_the_new_one),
		test(what_is_stored_changes_a_page_that_is_known),
		test(a_part_stored_of_an_unknown_page_does_not_hide_the_rest),
		test(a_whole_group_stored_is_known),
		test(past_the_end_of_the_file_entries_are_zeros),
		test(after_a_drop_the_disk_is_asked),
		test(pages_stay_when_the_cache_grows),
		test(groups_that_collide_never_answer_for_each_other),
		test(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
