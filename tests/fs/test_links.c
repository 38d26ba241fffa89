/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "fs/base64.h"
#include "fs/box.h"
#include "fs/links.h"

static struct keyring keys;
static struct tempdir dir;

static const uint8_t dir_id[FORMAT_DIR_ID_SIZE] = { 1 };
static const uint8_t other_id[FORMAT_DIR_ID_SIZE] = { 2 };
static const struct links_place here = { dir_id, "stored-name" };
static const struct links_place there = { other_id, "other-name" };

/* Longest target a filesystem takes, for __wrap_symlinkat. */
static size_t symlink_max;

int __real_symlinkat(const char *target, int dirfd, const char *path);
int __wrap_symlinkat(const char *target, int dirfd, const char *path);
int __wrap_symlinkat(const char *target, int dirfd, const char *path)
{
	if (strlen(target) > symlink_max) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return __real_symlinkat(target, dirfd, path);
}

static int setup(void **state)
{
	(void)state;
	symlink_max = 4095;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

static int open_text(const char *text, const struct links_place *place, char *target)
{
	return links_open(&keys, CIPHER_AES_256_GCM, text, place, target);
}

static void seal(const char *target, const struct links_place *second, char *text)
{
	assert_int_equal(links_seal(&keys, CIPHER_AES_256_GCM, target, &here, second, text), 0);
}

/* ---- without files ----------------------------------------------------- */

static void targets_of_every_length_come_back(void **state)
{
	static char target[LINKS_PLAIN_MAX + 2];
	static char text[LINKS_TEXT_MAX + 1];
	static char found[LINKS_PLAIN_MAX + 1];

	(void)state;
	for (size_t size = 1; size <= LINKS_PLAIN_MAX; size += size < 300 ? 1 : 73) {
		memset(target, 0, sizeof(target));
		for (size_t i = 0; i < size; i++)
			target[i] = (char)(i % 255 + 1);
		seal(target, size % 2 ? &there : NULL, text);
		assert_true(strlen(text) <= LINKS_TEXT_MAX);
		assert_int_equal(open_text(text, &here, found), 0);
		assert_string_equal(found, target);
	}
}

static void the_longest_target_fits_twice(void **state)
{
	static char target[LINKS_PLAIN_MAX + 2];
	static char text[LINKS_TEXT_MAX + 1];
	static char found[LINKS_PLAIN_MAX + 1];

	(void)state;
	memset(target, 'x', LINKS_PLAIN_MAX);
	seal(target, &there, text);
	assert_true(strlen(text) <= LINKS_TEXT_MAX);
	assert_int_equal(open_text(text, &here, found), 0);
	assert_string_equal(found, target);
	assert_int_equal(open_text(text, &there, found), 0);
	assert_string_equal(found, target);
	memset(target, 'x', LINKS_PLAIN_MAX + 1);
	assert_int_equal(links_seal(&keys, CIPHER_AES_256_GCM, target, &here, NULL, text),
			 -ENAMETOOLONG);
	assert_int_equal(links_seal(&keys, CIPHER_AES_256_GCM, "", &here, NULL, text), -EINVAL);
}

static void a_target_opens_where_it_was_put_only(void **state)
{
	const struct links_place wrong_dir = { other_id, here.stored };
	const struct links_place wrong_name = { dir_id, "stored-namf" };
	char text[300], found[LINKS_PLAIN_MAX + 1];

	(void)state;
	seal("target", NULL, text);
	assert_int_equal(open_text(text, &here, found), 0);
	assert_int_equal(open_text(text, &wrong_dir, found), LINKS_DAMAGED);
	assert_int_equal(open_text(text, &wrong_name, found), LINKS_DAMAGED);
	seal("target", &there, text);
	assert_int_equal(open_text(text, &here, found), 0);
	assert_int_equal(open_text(text, &there, found), 0);
	assert_int_equal(open_text(text, &wrong_dir, found), LINKS_DAMAGED);
	assert_int_equal(open_text(text, &wrong_name, found), LINKS_DAMAGED);
}

static void both_suites_work_and_differ(void **state)
{
	char text[300], found[LINKS_PLAIN_MAX + 1];

	(void)state;
	assert_int_equal(links_seal(&keys, CIPHER_CHACHA20_POLY1305, "target", &here, NULL, text),
			 0);
	assert_int_equal(links_open(&keys, CIPHER_CHACHA20_POLY1305, text, &here, found), 0);
	assert_string_equal(found, "target");
	assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
}

static void a_text_with_any_character_changed_is_damaged(void **state)
{
	char text[300], found[LINKS_PLAIN_MAX + 1];

	(void)state;
	seal("target", NULL, text);
	for (size_t i = 0; text[i]; i++) {
		char was = text[i];

		for (int c = 1; c < 256; c++)
			if ((char)c != was) {
				text[i] = (char)c;
				assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
			}
		text[i] = was;
	}
	while (*text) {
		text[strlen(text) - 1] = 0;
		assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
	}
}

static void texts_nobody_wrote_are_damaged(void **state)
{
	static char text[LINKS_TEXT_MAX + 1];
	char one[200], found[LINKS_PLAIN_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(open_text((const char *[]){ "", ".", "..", "@" }[i], &here, found),
				 LINKS_DAMAGED);
	memset(text, 'A', LINKS_TEXT_MAX);
	assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
	seal("target", NULL, one);
	sprintf(text, "..%s", one); /* a third seal */
	assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
	sprintf(text, "%s..", one);
	assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
	sprintf(text, "AAAA.%s", one); /* seals of different targets */
	assert_int_equal(open_text(text, &here, found), LINKS_DAMAGED);
}

/* Seal bytes that links_seal would refuse, and open them. */
static int open_sealed(const char *target, size_t size)
{
	uint8_t aad[4 + 16 + 11] = "link";
	struct box_place box = { CIPHER_AES_256_GCM, keys.links, aad, sizeof(aad) };
	uint8_t raw[BOX_OVERHEAD + 16];
	char text[100], found[LINKS_PLAIN_MAX + 1];

	memcpy(aad + 4, dir_id, 16);
	memcpy(aad + 20, here.stored, 11);
	memcpy(raw + BOX_OVERHEAD, target, size);
	assert_int_equal(box_seal(&box, raw, size), 0);
	base64_encode(raw, BOX_OVERHEAD + size, text);
	return open_text(text, &here, found);
}

static void sealed_nonsense_is_damaged_too(void **state)
{
	(void)state;
	assert_int_equal(open_sealed("good", 4), 0);
	assert_int_equal(open_sealed("", 0), LINKS_DAMAGED);
	assert_int_equal(open_sealed("a\0b", 3), LINKS_DAMAGED);
	assert_int_equal(open_sealed("ab\0", 3), LINKS_DAMAGED);
}

static void a_place_with_too_long_a_name_is_refused(void **state)
{
	char stored[300], text[300], found[LINKS_PLAIN_MAX + 1];
	struct links_place place = { dir_id, stored };

	(void)state;
	memset(stored, 'a', 256);
	stored[256] = 0;
	assert_int_equal(links_seal(&keys, CIPHER_AES_256_GCM, "t", &place, NULL, text),
			 -ENAMETOOLONG);
	assert_int_equal(open_text("AAAA", &place, found), -ENAMETOOLONG);
	stored[255] = 0;
	assert_int_equal(links_seal(&keys, CIPHER_AES_256_GCM, "t", &place, NULL, text), 0);
	assert_int_equal(open_text(text, &place, found), 0);
}

/* ---- on disk ----------------------------------------------------------- */

static char text_buffer[LINKS_TEXT_MAX + 1];

/* A text of this size, and read it back. */
static const char *text_of(size_t size)
{
	static char text[LINKS_TEXT_MAX + 1];

	memset(text, 'a', size);
	text[size] = 0;
	return text;
}

static void check_reads_as(const char *stored, const char *text)
{
	assert_int_equal(links_read(dir.fd, stored, text_buffer), 0);
	assert_string_equal(text_buffer, text);
}

static void short_texts_are_the_symlink_itself(void **state)
{
	(void)state;
	assert_int_equal(links_create(dir.fd, "s", text_of(LINKS_STORED_MAX)), 0);
	assert_int_equal(tempdir_count(&dir), 1);
	check_reads_as("s", text_of(LINKS_STORED_MAX));
	assert_int_equal(links_create(dir.fd, "s", "x"), -EEXIST);
	assert_int_equal(links_read(dir.fd, "missing", text_buffer), -ENOENT);
}

static void long_texts_go_to_a_sidecar(void **state)
{
	char sidecar[64], target[8] = { 0 };
	struct stat st;

	(void)state;
	for (size_t size = LINKS_STORED_MAX + 1; size <= LINKS_TEXT_MAX; size += 3450) {
		assert_int_equal(links_create(dir.fd, "s", text_of(size)), 0);
		assert_int_equal(tempdir_count(&dir), 2);
		assert_int_equal(readlinkat(dir.fd, "s", target, 8), 1);
		assert_string_equal(target, "@");
		links_sidecar_name("s", sidecar);
		assert_int_equal(fstatat(dir.fd, sidecar, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0600);
		check_reads_as("s", text_of(size));
		assert_int_equal(unlinkat(dir.fd, "s", 0), 0);
		links_sidecar_remove(dir.fd, "s");
		assert_int_equal(tempdir_count(&dir), 0);
	}
	links_sidecar_remove(dir.fd, "s");
}

static void a_filesystem_of_short_symlinks_gets_a_sidecar_sooner(void **state)
{
	(void)state;
	symlink_max = 1023;
	assert_int_equal(links_create(dir.fd, "s", text_of(1024)), 0);
	assert_int_equal(tempdir_count(&dir), 2);
	check_reads_as("s", text_of(1024));
	assert_int_equal(links_create(dir.fd, "t", text_of(1023)), 0);
	assert_int_equal(tempdir_count(&dir), 3);
}

static void creating_what_exists_leaves_it_as_it_was(void **state)
{
	(void)state;
	assert_int_equal(links_create(dir.fd, "s", text_of(5000)), 0);
	assert_int_equal(links_create(dir.fd, "s", text_of(6000)), -EEXIST);
	check_reads_as("s", text_of(5000));
}

static void a_sidecar_left_by_a_crash_is_no_obstacle(void **state)
{
	char sidecar[64];

	(void)state;
	links_sidecar_name("s", sidecar);
	tempdir_write(&dir, sidecar, "cut", 3);
	assert_int_equal(links_create(dir.fd, "s", text_of(5000)), 0);
	check_reads_as("s", text_of(5000));
	assert_int_equal(tempdir_count(&dir), 2);
}

static void a_symlink_made_under_a_temporary_name_reads_right_once_renamed(void **state)
{
	(void)state;
	for (size_t size = 4000; size < 8000; size += 2000) {
		assert_int_equal(links_create_as(dir.fd, "t", "s", text_of(size)), 0);
		assert_int_equal(links_create_as(dir.fd, "t", "s", text_of(size)), -EEXIST);
		assert_int_equal(renameat(dir.fd, "t", dir.fd, "s"), 0);
		check_reads_as("s", text_of(size));
	}
	assert_int_equal(tempdir_count(&dir), 2);
}

static void check_stranger(const char *sidecar)
{
	assert_int_equal(links_read(dir.fd, "s", text_buffer), LINKS_DAMAGED);
	assert_int_equal(unlinkat(dir.fd, sidecar, 0), 0);
}

static void whatever_stands_in_for_a_sidecar_is_damage_not_a_hang(void **state)
{
	static const char zeros[LINKS_TEXT_MAX + 1];
	char sidecar[64];

	(void)state;
	links_sidecar_name("s", sidecar);
	assert_int_equal(symlinkat("@", dir.fd, "s"), 0);
	assert_int_equal(links_read(dir.fd, "s", text_buffer), LINKS_DAMAGED); /* missing */
	assert_int_equal(mkfifoat(dir.fd, sidecar, 0600), 0);
	check_stranger(sidecar);
	assert_int_equal(symlinkat("/dev/zero", dir.fd, sidecar), 0);
	check_stranger(sidecar);
	tempdir_write(&dir, sidecar, text_of(LINKS_TEXT_MAX), LINKS_TEXT_MAX + 1);
	check_stranger(sidecar); /* too long */
	tempdir_write(&dir, sidecar, zeros, 10);
	check_stranger(sidecar); /* zeros in it */
	assert_int_equal(mkdirat(dir.fd, sidecar, 0700), 0);
	assert_int_equal(links_read(dir.fd, "s", text_buffer), LINKS_DAMAGED);
}

static void what_is_no_symlink_is_an_error(void **state)
{
	(void)state;
	tempdir_write(&dir, "s", "x", 1);
	assert_int_equal(links_read(dir.fd, "s", text_buffer), -EINVAL);
}

#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_of_every_length_come_back),
		cmocka_unit_test(the_longest_target_fits_twice),
		cmocka_unit_test(a_target_opens_where_it_was_put_only),
		cmocka_unit_test(both_suites_work_and_differ),
		cmocka_unit_test(a_text_with_any_character_changed_is_damaged),
		cmocka_unit_test(texts_nobody_wrote_are_damaged),
		cmocka_unit_test(sealed_nonsense_is_damaged_too),
		cmocka_unit_test(a_place_with_too_long_a_name_is_refused),
		F(short_texts_are_the_symlink_itself),
		F(long_texts_go_to_a_sidecar),
		F(a_filesystem_of_short_symlinks_gets_a_sidecar_sooner),
		F(creating_what_exists_leaves_it_as_it_was),
		F(a_sidecar_left_by_a_crash_is_no_obstacle),
		F(a_symlink_made_under_a_temporary_name_reads_right_once_renamed),
		F(whatever_stands_in_for_a_sidecar_is_damage_not_a_hang),
		F(what_is_no_symlink_is_an_error),
	};

	alarm(60); /* a hang is a failure */
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
