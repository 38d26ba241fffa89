/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "fs/base64.h"
#include "fs/names.h"
#include "fs/siv.h"

static struct keyring keys;
static const uint8_t here[FORMAT_DIR_ID_SIZE] = { 1 };
static const uint8_t elsewhere[FORMAT_DIR_ID_SIZE] = { 2 };

/* size bytes that a name may hold, every one of them sooner or later. */
static void make_name(char *plain, size_t size, size_t seed)
{
	for (size_t i = 0; i < size; i++) {
		plain[i] = (char)((i + seed) % 255 + 1);
		if (plain[i] == '/')
			plain[i] = 'x';
	}
	plain[size] = 0;
	if (strcmp(plain, ".") == 0)
		plain[0] = 'x';
}

static int decode_long(const struct names_stored *stored, char *plain)
{
	return names_decode_long(&keys, here, stored->name, stored->sealed, stored->sealed_size,
				 plain);
}

/* ---- without files ----------------------------------------------------- */

static void names_of_every_length_come_back(void **state)
{
	char plain[NAMES_PLAIN_MAX + 1];
	char found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;

	(void)state;
	for (size_t size = 1; size <= NAMES_PLAIN_MAX; size++)
		for (size_t seed = 0; seed < 255; seed += 50) {
			make_name(plain, size, seed + size);
			memset(found, 0x5a, sizeof(found));
			assert_int_equal(names_encode(&keys, here, plain, &stored),
					 size > 160 ? NAMES_LONG : 0);
			assert_true(strlen(stored.name) <= NAMES_STORED_MAX);
			if (size > 160) {
				assert_int_equal(names_decode(&keys, here, stored.name, found),
						 NAMES_LONG);
				assert_int_equal(decode_long(&stored, found), 0);
			} else {
				assert_int_equal(stored.sealed_size, 0);
				assert_int_equal(names_decode(&keys, here, stored.name, found), 0);
			}
			assert_string_equal(found, plain);
		}
}

static void every_byte_may_be_in_a_name(void **state)
{
	char found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;

	(void)state;
	for (int byte = 1; byte < 256; byte++) {
		char plain[4] = { 'a', (char)byte, 'b', 0 };

		if (byte == '/') {
			assert_int_equal(names_encode(&keys, here, plain, &stored), -EINVAL);
			continue;
		}
		assert_int_equal(names_encode(&keys, here, plain, &stored), 0);
		assert_int_equal(names_decode(&keys, here, stored.name, found), 0);
		assert_string_equal(found, plain);
	}
}

static void the_same_name_is_stored_alike_in_one_directory_only(void **state)
{
	struct names_stored first;
	struct names_stored again;
	struct names_stored other;

	(void)state;
	assert_int_equal(names_encode(&keys, here, "name", &first), 0);
	assert_int_equal(names_encode(&keys, here, "name", &again), 0);
	assert_int_equal(names_encode(&keys, elsewhere, "name", &other), 0);
	assert_string_equal(first.name, again.name);
	assert_string_not_equal(first.name, other.name);
}

static void what_no_directory_can_hold_is_refused(void **state)
{
	char plain[NAMES_PLAIN_MAX + 2];
	struct names_stored stored;

	(void)state;
	assert_int_equal(names_encode(&keys, here, "", &stored), -EINVAL);
	assert_int_equal(names_encode(&keys, here, ".", &stored), -EINVAL);
	assert_int_equal(names_encode(&keys, here, "..", &stored), -EINVAL);
	assert_int_equal(names_encode(&keys, here, "a/b", &stored), -EINVAL);
	assert_int_equal(names_encode(&keys, here, "...", &stored), 0);
	make_name(plain, NAMES_PLAIN_MAX + 1, 0);
	assert_int_equal(names_encode(&keys, here, plain, &stored), -ENAMETOOLONG);
}

static void a_name_with_any_character_changed_is_damaged(void **state)
{
	char found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;

	(void)state;
	assert_int_equal(names_encode(&keys, here, "seventeen letters", &stored), 0);
	for (size_t i = 0; stored.name[i]; i++) {
		char was = stored.name[i];

		for (int c = 1; c < 256; c++) {
			if ((char)c == was)
				continue;
			stored.name[i] = (char)c;
			assert_int_equal(names_decode(&keys, here, stored.name, found),
					 NAMES_DAMAGED);
		}
		stored.name[i] = was;
	}
	assert_int_equal(names_decode(&keys, here, stored.name, found), 0);
}

static void a_name_of_another_directory_is_damaged(void **state)
{
	char plain[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;

	(void)state;
	assert_int_equal(names_encode(&keys, elsewhere, "name", &stored), 0);
	assert_int_equal(names_decode(&keys, here, stored.name, plain), NAMES_DAMAGED);
	make_name(plain, 200, 0);
	assert_int_equal(names_encode(&keys, elsewhere, plain, &stored), NAMES_LONG);
	assert_int_equal(decode_long(&stored, plain), NAMES_DAMAGED);
}

/* The same bytes in a second spelling would be a second name of one entry. */
static void only_one_spelling_of_base64_is_a_name(void **state)
{
	const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;
	size_t last;
	int good = 0;

	(void)state;
	assert_int_equal(names_encode(&keys, here, "x", &stored), 0);
	last = strlen(stored.name) - 1;
	assert_int_equal(last, 42);
	for (int i = 0; i < 64; i++) {
		stored.name[last] = letters[i];
		good += names_decode(&keys, here, stored.name, found) == 0;
	}
	assert_int_equal(good, 1);
	assert_int_equal(names_encode(&keys, here, "x", &stored), 0);
	strcat(stored.name, "=");
	assert_int_equal(names_decode(&keys, here, stored.name, found), NAMES_DAMAGED);
}

/* Seal padded bytes that siv_seal would never make, and try them as a name. */
static int decode_sealed(const char *text, size_t text_size)
{
	struct siv_place place = { keys.names, here, sizeof(here) };
	uint8_t sealed[SIV_SEALED_MAX];
	char stored[NAMES_STORED_MAX + 1];
	char found[NAMES_PLAIN_MAX + 1];

	assert_int_equal(siv_seal(&place, text, text_size, sealed), 0);
	base64_encode(sealed, siv_sealed_size(text_size), stored);
	return names_decode(&keys, here, stored, found);
}

static void sealed_nonsense_is_damaged_too(void **state)
{
	(void)state;
	assert_int_equal(decode_sealed("ok", 2), 0);
	assert_int_equal(decode_sealed(".", 1), NAMES_DAMAGED);
	assert_int_equal(decode_sealed("..", 2), NAMES_DAMAGED);
	assert_int_equal(decode_sealed("a/b", 3), NAMES_DAMAGED);
	assert_int_equal(decode_sealed("a\0b", 3), NAMES_DAMAGED);
	assert_int_equal(decode_sealed("\0", 1), NAMES_DAMAGED);
	/* More padding than the name needs. */
	assert_int_equal(decode_sealed("name\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20), NAMES_DAMAGED);
	assert_int_equal(decode_sealed("fifteen letters\0\0", 17), NAMES_DAMAGED);
}

static void stored_names_of_strange_sizes_are_damaged(void **state)
{
	char stored[300];
	char found[NAMES_PLAIN_MAX + 1];

	(void)state;
	for (size_t size = 0; size < sizeof(stored); size++) {
		memset(stored, 'A', size);
		stored[size] = 0;
		assert_int_equal(names_decode(&keys, here, stored, found), NAMES_DAMAGED);
	}
}

#define HASH	  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define LONG_HASH "long." HASH
#define LINK_HASH "link." HASH

static void our_own_files_are_no_entries(void **state)
{
	const char *ours[] = { ".cryptfs-dir", ".cryptfs-tmp.", ".cryptfs-tmp.abc",
			       (LONG_HASH ".name"), LINK_HASH };
	const char *strange[] = { ".cryptfs-dir2",
				  "cryptfs-tmp.abc",
				  (LONG_HASH ".nam"),
				  (LONG_HASH ".name.name"),
				  "long.AAA.name",
				  (LONG_HASH "A"),
				  "link.AAA",
				  (LINK_HASH "A"),
				  (LINK_HASH ".name"),
				  "long.",
				  "hello",
				  "readme (conflicted copy)" };
	char found[NAMES_PLAIN_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_int_equal(names_decode(&keys, here, ours[i], found), NAMES_OURS);
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
		assert_int_equal(names_decode(&keys, here, strange[i], found), NAMES_DAMAGED);
	assert_int_equal(names_decode(&keys, here, LONG_HASH, found), NAMES_LONG);
}

static void a_long_name_is_bound_to_its_hash(void **state)
{
	char plain[NAMES_PLAIN_MAX + 1];
	char found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;
	struct names_stored other;

	(void)state;
	make_name(plain, 200, 0);
	assert_int_equal(names_encode(&keys, here, plain, &stored), NAMES_LONG);
	make_name(plain, 200, 1);
	assert_int_equal(names_encode(&keys, here, plain, &other), NAMES_LONG);
	assert_int_equal(
		names_decode_long(&keys, here, stored.name, other.sealed, other.sealed_size, found),
		NAMES_DAMAGED);
	for (size_t i = 0; i < stored.sealed_size; i++) {
		stored.sealed[i] ^= 1;
		assert_int_equal(decode_long(&stored, found), NAMES_DAMAGED);
		stored.sealed[i] ^= 1;
	}
	assert_int_equal(decode_long(&stored, found), 0);
	for (size_t size = 0; size < stored.sealed_size; size++)
		assert_int_equal(
			names_decode_long(&keys, here, stored.name, stored.sealed, size, found),
			NAMES_DAMAGED);
}

/* A short name stored the long way would be a second name of one entry. */
static void a_short_name_is_never_stored_the_long_way(void **state)
{
	struct siv_place place = { keys.names, here, sizeof(here) };
	uint8_t sealed[SIV_SEALED_MAX];
	char stored[NAMES_STORED_MAX + 1] = "long.";
	char plain[NAMES_PLAIN_MAX + 1];
	uint8_t hash[32];

	(void)state;
	make_name(plain, 160, 3);
	assert_int_equal(siv_seal(&place, plain, 160, sealed), 0);
	crypto_generichash(hash, sizeof(hash), sealed, 176, NULL, 0);
	base64_encode(hash, sizeof(hash), stored + 5);
	assert_int_equal(names_decode_long(&keys, here, stored, sealed, 176, plain), NAMES_DAMAGED);
}

static void damaged_entries_are_shown_as_such(void **state)
{
	char stored[NAMES_STORED_MAX + 1];
	char shown[NAMES_PLAIN_MAX + 1];
	char other[NAMES_PLAIN_MAX + 1];

	(void)state;
	names_show_damaged("abc", shown);
	assert_string_equal(shown, "cryptfs-damaged-abc");
	assert_true(names_is_damaged_show(shown));
	assert_false(names_is_damaged_show("abc"));
	assert_false(names_is_damaged_show("cryptfs-damaged"));

	memset(stored, 'a', 239);
	stored[239] = 0;
	names_show_damaged(stored, shown);
	assert_int_equal(strlen(shown), 255);
	assert_string_equal(shown + 16, stored);
	memset(stored, 'a', 255);
	stored[255] = 0;
	names_show_damaged(stored, shown);
	assert_int_equal(strlen(shown), 16 + 43);
	assert_true(names_is_damaged_show(shown));

	for (int byte = 1; byte < 256; byte++) {
		char strange[3] = { 'x', (char)byte, 0 };

		names_show_damaged(strange, other);
		assert_int_equal(strlen(other), byte > ' ' && byte < 127 && byte != '/' ? 18 : 59);
	}
}

/* ---- sidecars ---------------------------------------------------------- */

static struct tempdir dir;

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

/* A long name and that of its sidecar. */
static void long_name(struct names_stored *stored, char *plain, char *sidecar)
{
	make_name(plain, 255, 0);
	assert_int_equal(names_encode(&keys, here, plain, stored), NAMES_LONG);
	strcpy(sidecar, stored->name);
	strcat(sidecar, ".name");
}

static int decode_at(const char *stored, char *found)
{
	return names_decode_at(&keys, here, dir.fd, stored, found);
}

static void long_names_come_back_by_way_of_their_sidecar(void **state)
{
	char plain[256], sidecar[64], found[256];
	struct names_stored stored;
	struct stat st;

	(void)state;
	long_name(&stored, plain, sidecar);
	assert_int_equal(names_sidecar_write(dir.fd, &stored), 0);
	assert_int_equal(fstatat(dir.fd, sidecar, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, 272);
	assert_int_equal(tempdir_count(&dir), 1);
	assert_int_equal(decode_at(stored.name, found), 0);
	assert_string_equal(found, plain);
	names_sidecar_remove(dir.fd, stored.name);
	assert_int_equal(tempdir_count(&dir), 0);
}

static void short_names_have_no_sidecar(void **state)
{
	char found[256];
	struct names_stored stored;

	(void)state;
	assert_int_equal(names_encode(&keys, here, "short", &stored), 0);
	assert_int_equal(names_sidecar_write(dir.fd, &stored), 0);
	assert_int_equal(tempdir_count(&dir), 0);
	assert_int_equal(decode_at(stored.name, found), 0);
	assert_string_equal(found, "short");
	assert_int_equal(decode_at(".cryptfs-dir", found), NAMES_OURS);
	assert_int_equal(decode_at("junk", found), NAMES_DAMAGED);

	tempdir_write(&dir, "junk.name", "", 0);
	names_sidecar_remove(dir.fd, "junk");
	assert_int_equal(tempdir_count(&dir), 1);
}

static void a_sidecar_that_is_there_is_kept(void **state)
{
	char plain[256], sidecar[64];
	struct names_stored stored;
	struct stat before, after;

	(void)state;
	long_name(&stored, plain, sidecar);
	assert_int_equal(names_sidecar_write(dir.fd, &stored), 0);
	assert_int_equal(fstatat(dir.fd, sidecar, &before, 0), 0);
	assert_int_equal(names_sidecar_write(dir.fd, &stored), 0);
	assert_int_equal(fstatat(dir.fd, sidecar, &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void check_replaced(const struct names_stored *stored, const char *plain)
{
	char found[256];

	assert_int_equal(names_sidecar_write(dir.fd, stored), 0);
	assert_int_equal(decode_at(stored->name, found), 0);
	assert_string_equal(found, plain);
	assert_int_equal(tempdir_count(&dir), 1);
}

static void a_wrong_sidecar_is_replaced(void **state)
{
	char plain[256], sidecar[64];
	struct names_stored stored;

	(void)state;
	long_name(&stored, plain, sidecar);
	tempdir_write(&dir, sidecar, "", 0); /* cut off by a crash */
	check_replaced(&stored, plain);
	stored.sealed[5] ^= 1;
	tempdir_write(&dir, sidecar, stored.sealed, stored.sealed_size);
	stored.sealed[5] ^= 1;
	check_replaced(&stored, plain);
}

/* Put something in a sidecar's place, see the name damaged, then replaced. */
static void check_stranger(const struct names_stored *stored, const char *plain)
{
	char found[256];

	assert_int_equal(decode_at(stored->name, found), NAMES_DAMAGED);
	check_replaced(stored, plain);
	names_sidecar_remove(dir.fd, stored->name);
}

static void whatever_stands_in_for_a_sidecar_is_damage_not_a_hang(void **state)
{
	char plain[256], sidecar[64], found[256];
	struct names_stored stored;

	(void)state;
	long_name(&stored, plain, sidecar);
	assert_int_equal(decode_at(stored.name, found), NAMES_DAMAGED); /* missing */
	assert_int_equal(mkfifoat(dir.fd, sidecar, 0600), 0);
	check_stranger(&stored, plain);
	assert_int_equal(mknodat(dir.fd, sidecar, S_IFSOCK | 0600, 0), 0);
	check_stranger(&stored, plain);
	assert_int_equal(symlinkat("/dev/zero", dir.fd, sidecar), 0);
	check_stranger(&stored, plain);
	tempdir_write(&dir, "target", stored.sealed, stored.sealed_size);
	assert_int_equal(symlinkat("target", dir.fd, sidecar), 0);
	assert_int_equal(decode_at(stored.name, found), NAMES_DAMAGED);
	assert_int_equal(unlinkat(dir.fd, sidecar, 0), 0);
	assert_int_equal(unlinkat(dir.fd, "target", 0), 0);
	assert_int_equal(mkdirat(dir.fd, sidecar, 0700), 0);
	assert_int_equal(decode_at(stored.name, found), NAMES_DAMAGED);
	assert_true(names_sidecar_write(dir.fd, &stored) < 0);
	assert_int_equal(tempdir_count(&dir), 1);
}

static void a_sidecar_of_the_wrong_size_is_damage(void **state)
{
	char plain[256], sidecar[64], found[256];
	struct names_stored stored;
	uint8_t longer[NAMES_SEALED_MAX + 1] = { 0 };

	(void)state;
	long_name(&stored, plain, sidecar);
	memcpy(longer, stored.sealed, stored.sealed_size);
	for (size_t size = 0; size <= sizeof(longer); size++) {
		tempdir_write(&dir, sidecar, longer, size);
		assert_int_equal(decode_at(stored.name, found),
				 size == stored.sealed_size ? 0 : NAMES_DAMAGED);
	}
}

static void a_sidecar_that_cannot_be_written_is_an_error(void **state)
{
	char plain[256], sidecar[64];
	struct names_stored stored;

	(void)state;
	long_name(&stored, plain, sidecar);
	assert_int_equal(names_sidecar_write(-1, &stored), -EBADF);
}

/* ---- several threads --------------------------------------------------- */

/* More keys than a thread keeps contexts for, in turn. */
static void *encode_and_decode(void *arg)
{
	struct keyring ring = *(const struct keyring *)arg;
	char plain[32], found[NAMES_PLAIN_MAX + 1];
	struct names_stored stored;

	for (int i = 0; i < 2000; i++) {
		ring.names[0] = (uint8_t)(i % 6);
		snprintf(plain, sizeof(plain), "name %d", i);
		if (names_encode(&ring, here, plain, &stored) ||
		    names_decode(&ring, here, stored.name, found) || strcmp(plain, found) != 0)
			return arg;
		ring.names[0] = (uint8_t)((i + 1) % 6);
		if (names_decode(&ring, here, stored.name, found) != NAMES_DAMAGED)
			return arg;
	}
	return NULL;
}

static void names_work_in_several_threads_at_once(void **state)
{
	pthread_t threads[4];
	void *failed;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, encode_and_decode, &keys), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
}

#define F(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_every_length_come_back),
		cmocka_unit_test(every_byte_may_be_in_a_name),
		cmocka_unit_test(the_same_name_is_stored_alike_in_one_directory_only),
		cmocka_unit_test(what_no_directory_can_hold_is_refused),
		cmocka_unit_test(a_name_with_any_character_changed_is_damaged),
		cmocka_unit_test(a_name_of_another_directory_is_damaged),
		cmocka_unit_test(only_one_spelling_of_base64_is_a_name),
		cmocka_unit_test(sealed_nonsense_is_damaged_too),
		cmocka_unit_test(stored_names_of_strange_sizes_are_damaged),
		cmocka_unit_test(our_own_files_are_no_entries),
		cmocka_unit_test(a_long_name_is_bound_to_its_hash),
		cmocka_unit_test(a_short_name_is_never_stored_the_long_way),
		cmocka_unit_test(damaged_entries_are_shown_as_such),
		F(long_names_come_back_by_way_of_their_sidecar),
		F(short_names_have_no_sidecar),
		F(a_sidecar_that_is_there_is_kept),
		F(a_wrong_sidecar_is_replaced),
		F(whatever_stands_in_for_a_sidecar_is_damage_not_a_hang),
		F(a_sidecar_of_the_wrong_size_is_damage),
		F(a_sidecar_that_cannot_be_written_is_an_error),
		cmocka_unit_test(names_work_in_several_threads_at_once),
	};

	alarm(60); /* a hang is a failure */
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
