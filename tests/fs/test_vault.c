/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "fs/dirrec.h"
#include "fs/exitcode.h"
#include "fs/recovery.h"
#include "fs/vault.h"
#include "fs/vault_config.h"
#include "fs/vault_internal.h"
#include "fs/vault_kdf.h"

/* ---- failures placed by the linker's --wrap ---------------------------- */

int __real_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
			 const struct vault_secret *secret, uint8_t kek[VAULT_CONFIG_KEK_SIZE]);

static int syncs_until_failure = -1;   /* -1: never */
static int renames_until_failure = -1; /* -1: never */

int __wrap_fsync(int fd)
{
	if (syncs_until_failure >= 0 && syncs_until_failure-- == 0) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (renames_until_failure >= 0 && renames_until_failure-- == 0) {
		errno = ENOSPC;
		return -1;
	}
	return __real_renameat(from_dir, from, to_dir, to);
}

/* The derivation takes a second each time by design; what it is like is not looked at here. */
int __wrap_vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
			 const struct vault_secret *secret, uint8_t kek[VAULT_CONFIG_KEK_SIZE])
{
	(void)kdf;
	return crypto_generichash(kek, VAULT_CONFIG_KEK_SIZE, secret->bytes, secret->size, salt,
				  VAULT_CONFIG_SALT_SIZE)
		       ? -EIO
		       : 0;
}

/* ---- a vault per test -------------------------------------------------- */

#define SECRET(text, kind)                                                                         \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1, kind                                    \
	}

static const struct vault_secret right = SECRET("correct horse", VAULT_PASSPHRASE);
static const struct vault_secret wrong = SECRET("battery staple", VAULT_PASSPHRASE);
static const struct vault_kdf cheap = { (uint64_t)64 << 20, 3 };

static char base[64];
static char path[80]; /* base/vault */

static int create(void)
{
	const struct vault_create how = { .suite = CIPHER_AES_256_GCM, .kdf = cheap };

	return vault_create(path, &how, &right);
}

static int remove_entry(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int teardown(void **state)
{
	(void)state;
	syncs_until_failure = renames_until_failure = -1;
	return nftw(base, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static int setup_empty(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(base, sizeof(base), "%.30s/test_vault.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/vault", base);
	return 0;
}

static int setup(void **state)
{
	return setup_empty(state) || create();
}

/* base/vault/name; valid until the call after the next. */
static const char *in_vault(const char *name)
{
	static char names[2][128];
	static int turn;

	turn = !turn;
	(void)snprintf(names[turn], sizeof(names[0]), "%s/%s", path, name);
	return names[turn];
}

#define PRIMARY in_vault("cryptfs.conf")
#define BACKUP	in_vault("cryptfs.conf.bak")

static char *read_file(const char *name)
{
	char *text = calloc(1, VAULT_CONFIG_MAX_SIZE);
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, text, VAULT_CONFIG_MAX_SIZE - 1) > 0);
	(void)close(fd);
	return text;
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

/* Replace a piece of a file by another of the same length. */
static void edit(const char *name, const char *piece, const char *instead)
{
	char *text = read_file(name);
	char *at = strstr(text, piece);

	assert_non_null(at);
	assert_int_equal(strlen(piece), strlen(instead));
	memcpy(at, instead, strlen(instead));
	write_file(name, text);
	free(text);
}

/* Flip the first digit of a hexadecimal member. */
static void flip(const char *name, const char *member)
{
	char *text = read_file(name);
	char *at = strstr(text, member);

	assert_non_null(at);
	at += strlen(member) + strlen("\": \"");
	*at = *at == '0' ? '1' : '0';
	write_file(name, text);
	free(text);
}

static void assert_same_copies(void)
{
	char *primary = read_file(PRIMARY);
	char *backup = read_file(BACKUP);

	assert_string_equal(primary, backup);
	free(primary);
	free(backup);
}

/* Open, unlock, close: the first answer that is not 0. */
static int unlock_with(const struct vault_secret *secret, enum vault_lock lock)
{
	struct vault *v;
	int r = vault_open(path, lock, &v);

	if (!r)
		r = vault_unlock(v, secret);
	if (!r && !vault_keys(v))
		r = -ENOKEY;
	vault_close(v);
	return r;
}

/* ---- creating ---------------------------------------------------------- */

static void a_new_vault_opens_with_its_passphrase_only(void **state)
{
	(void)state;
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&right, VAULT_SHARED), 0);
}

static void a_new_vault_is_private_and_has_two_equal_copies(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(in_vault("tree"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(PRIMARY, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_same_copies();
	assert_int_not_equal(access(in_vault("cryptfs.conf.tmp"), F_OK), 0);
}

static void a_wrong_key_leaves_no_keys_behind(void **state)
{
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	assert_non_null(vault_keys(v));
	assert_int_equal(vault_unlock(v, &wrong), VAULT_WRONG_KEY);
	assert_null(vault_keys(v));
	vault_close(v);
}

static void every_vault_has_keys_of_its_own(void **state)
{
	struct keyring first;
	struct vault *v;

	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	first = *vault_keys(v);
	vault_close(v);

	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup(state), 0);
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	assert_memory_not_equal(first.master, vault_keys(v)->master, KEYS_MASTER_SIZE);
	vault_close(v);
}

static void info_needs_no_key(void **state)
{
	struct vault_info info;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	vault_info(v, &info);
	vault_close(v);
	assert_int_equal(info.version, 1);
	assert_int_equal(info.suite, CIPHER_AES_256_GCM);
	assert_int_equal(info.n_slots, 1);
	assert_int_equal(info.slots[0].kind, VAULT_PASSPHRASE);
	assert_string_equal(info.slots[0].label, "passphrase");
	assert_int_equal(info.slots[0].kdf.memory, cheap.memory);
	assert_int_equal(info.slots[0].kdf.operations, cheap.operations);
}

static void an_empty_directory_becomes_a_vault(void **state)
{
	(void)state;
	assert_int_equal(vault_create_check(path), 0);
	assert_int_equal(mkdir(path, 0750), 0);
	assert_int_equal(vault_create_check(path), 0);
	assert_int_equal(create(), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void what_an_interrupted_creation_left_becomes_a_vault(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(in_vault("tree"), 0700), 0);
	write_file(in_vault("cryptfs.conf.tmp"), "{ \"ver");
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_NOT_FOUND);
	assert_int_equal(create(), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void nothing_that_is_there_is_overwritten(void **state)
{
	char *before = read_file(PRIMARY);
	char *after;

	(void)state;
	assert_int_equal(vault_create_check(path), VAULT_EXISTS);
	assert_int_equal(create(), VAULT_EXISTS);
	assert_int_equal(unlink(PRIMARY), 0);
	assert_int_equal(create(), VAULT_EXISTS);
	after = read_file(BACKUP);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void a_directory_with_files_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	write_file(in_vault("letter"), "dear diary");
	assert_int_equal(create(), VAULT_EXISTS);
	assert_int_equal(access(in_vault("letter"), F_OK), 0);
	assert_int_not_equal(access(in_vault("tree"), F_OK), 0);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_NOT_FOUND);
}

static void a_file_is_no_place_for_a_vault(void **state)
{
	(void)state;
	write_file(path, "a file");
	assert_int_equal(create(), VAULT_EXISTS);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_NOT_FOUND);
}

static void a_failed_creation_leaves_an_empty_directory(void **state)
{
	(void)state;
	syncs_until_failure = 0;
	assert_int_equal(create(), -EIO);
	assert_int_equal(rmdir(path), 0);
}

static void nonsense_makes_no_vault(void **state)
{
	static const uint8_t many[VAULT_PASSPHRASE_MAX + 1];
	struct vault_create how = { .suite = CIPHER_AES_256_GCM, .kdf = cheap };
	const struct vault_secret none = { many, 0, VAULT_PASSPHRASE };
	const struct vault_secret long_one = { many, sizeof(many), VAULT_PASSPHRASE };

	(void)state;
	assert_int_equal(vault_create(path, &how, &none), -EINVAL);
	assert_int_equal(vault_create(path, &how, &long_one), -EINVAL);
	how.label = "two\nlines";
	assert_int_equal(vault_create(path, &how, &right), -EINVAL);
	how.label = NULL;
	how.kdf.memory = ((uint64_t)64 << 20) - 1;
	assert_int_equal(vault_create(path, &how, &right), -EINVAL);
	how.kdf.memory = (uint64_t)5 << 30;
	assert_int_equal(vault_create(path, &how, &right), -EINVAL);
	how.kdf = (struct vault_kdf){ cheap.memory, 2 };
	assert_int_equal(vault_create(path, &how, &right), -EINVAL);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void unset_kdf_parameters_are_calibrated(void **state)
{
	struct vault_create how = { .suite = CIPHER_AES_256_GCM, .kdf = { cheap.memory, 0 } };
	struct vault_info info;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_create(path, &how, &right), 0);
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	vault_info(v, &info);
	vault_close(v);
	assert_int_equal(info.slots[0].kdf.memory, cheap.memory);
	assert_in_range(info.slots[0].kdf.operations, 3, 64);
}

/* ---- damage and tampering ---------------------------------------------- */

static void a_damaged_copy_is_replaced_by_the_other(void **state)
{
	(void)state;
	write_file(PRIMARY, "rubbish");
	assert_int_equal(unlock_with(&right, VAULT_SHARED), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_same_copies();

	assert_int_equal(unlink(BACKUP), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_same_copies();

	assert_int_equal(unlink(PRIMARY), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_same_copies();
}

static void a_reader_repairs_nothing(void **state)
{
	char *primary;

	(void)state;
	write_file(PRIMARY, "rubbish");
	assert_int_equal(unlock_with(&right, VAULT_SHARED), 0);
	primary = read_file(PRIMARY);
	assert_string_equal(primary, "rubbish");
	free(primary);
}

static void nobody_repairs_before_the_passphrase_is_right(void **state)
{
	char *primary;

	(void)state;
	write_file(PRIMARY, "rubbish");
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	primary = read_file(PRIMARY);
	assert_string_equal(primary, "rubbish");
	free(primary);
}

static void damage_that_still_reads_is_found_by_the_key(void **state)
{
	static const char *const members[] = { "salt", "nonce", "wrapped", "mac", "\"id" };

	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		flip(PRIMARY, members[i]);
		assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
		assert_same_copies();
	}
}

static void changes_in_both_copies_are_refused(void **state)
{
	static const struct {
		const char *piece, *instead;
		int answer;
	} changes[] = {
		{ "\"aes-256-gcm\"", "\"xor\"        ", VAULT_DAMAGED },
		{ "\"created\": 1", "\"created\": 2", VAULT_DAMAGED },
		{ "\"flags\": [],", "\"flags\":[9],", VAULT_TOO_NEW },
		{ "\"flags\": []", "\"flags\": {}", VAULT_DAMAGED },
		{ "\"min_reader\": 1", "\"min_reader\": 2", VAULT_TOO_NEW },
		{ "67108864", "67108865", VAULT_WRONG_KEY },
		{ "67108864", "68157440", VAULT_WRONG_KEY },
		{ "\"operations\": 3", "\"operations\": 4", VAULT_WRONG_KEY },
		{ "\"operations\": 3", "\"operations\": 0", VAULT_DAMAGED },
		{ "\"label\": \"p", "\"label\": \"P", VAULT_WRONG_KEY },
	};
	char *good = read_file(PRIMARY);

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		edit(PRIMARY, changes[i].piece, changes[i].instead);
		edit(BACKUP, changes[i].piece, changes[i].instead);
		if (unlock_with(&right, VAULT_EXCLUSIVE) != changes[i].answer)
			fail_msg("%s: not answered with %d", changes[i].instead, changes[i].answer);
		write_file(PRIMARY, good);
		write_file(BACKUP, good);
	}
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	free(good);
}

static void damage_is_reported_with_its_reason(void **state)
{
	(void)state;
	write_file(PRIMARY, "rubbish");
	write_file(BACKUP, "");
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_DAMAGED);
	assert_non_null(strstr(vault_why(), "cryptfs.conf: not JSON"));
	assert_int_equal(exitcode_of_vault(VAULT_DAMAGED), STATUS_DAMAGED);
	assert_string_equal(exitcode_vault_message(VAULT_DAMAGED), vault_why());
	assert_int_equal(teardown(state), 0);
	assert_int_equal(setup(state), 0);
	assert_null(vault_why());
}

static void links_and_fifos_are_not_followed(void **state)
{
	(void)state;
	assert_int_equal(rename(PRIMARY, in_vault("elsewhere")), 0);
	assert_int_equal(unlink(BACKUP), 0);
	assert_int_equal(symlink("elsewhere", PRIMARY), 0);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_DAMAGED);
	assert_int_equal(unlink(PRIMARY), 0);
	assert_int_equal(mkfifo(PRIMARY, 0600), 0);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_DAMAGED);
	assert_int_equal(unlink(PRIMARY), 0);
	assert_int_equal(mkdir(PRIMARY, 0700), 0);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_DAMAGED);
	assert_int_equal(rmdir(PRIMARY), 0);
	assert_int_equal(truncate(in_vault("elsewhere"), VAULT_CONFIG_MAX_SIZE + 1), 0);
	assert_int_equal(rename(in_vault("elsewhere"), PRIMARY), 0);
	assert_int_equal(unlock_with(&right, VAULT_NO_LOCK), VAULT_DAMAGED);
}

static void a_lost_configuration_is_damage_and_never_a_new_vault(void **state)
{
	(void)state;
	assert_int_equal(unlink(PRIMARY), 0);
	assert_int_equal(unlink(BACKUP), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_DAMAGED);
	assert_int_equal(create(), VAULT_EXISTS);
}

static void a_lost_tree_is_damage(void **state)
{
	(void)state;
	assert_int_equal(rename(in_vault("tree"), in_vault("gone")), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_DAMAGED);
	assert_int_equal(symlink("/tmp", in_vault("tree")), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_DAMAGED);
}

/* The configuration of another vault with the same passphrase is whole, and of no use. */
static void a_configuration_of_another_vault_destroys_nothing(void **state)
{
	char *ours = read_file(PRIMARY);
	char *primary;
	char other[96];

	(void)state;
	(void)snprintf(other, sizeof(other), "%s/ours", base);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(create(), 0);
	write_file(BACKUP, ours);
	assert_int_equal(rename(in_vault("tree"), in_vault("not ours")), 0);
	(void)snprintf(other, sizeof(other), "%s/ours/tree", base);
	assert_int_equal(rename(other, in_vault("tree")), 0);
	/* Now all is ours but the primary. */
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	primary = read_file(PRIMARY);
	assert_string_equal(primary, ours);
	assert_same_copies();
	free(primary);
	free(ours);
}

static void no_copy_is_overwritten_by_one_that_does_not_fit_the_tree(void **state)
{
	char *before = read_file(BACKUP);
	char *after;
	char other[96];

	(void)state;
	(void)snprintf(other, sizeof(other), "%s/ours", base);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(create(), 0);
	assert_int_equal(rename(in_vault("tree"), in_vault("not ours")), 0);
	(void)snprintf(other, sizeof(other), "%s/ours/tree", base);
	assert_int_equal(rename(other, in_vault("tree")), 0);
	write_file(BACKUP, before);
	flip(BACKUP, "salt"); /* damaged, but perhaps not beyond repair */
	free(before);
	before = read_file(BACKUP);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0); /* the mount finds out */
	after = read_file(BACKUP);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

/* ---- locks ------------------------------------------------------------- */

static void writers_exclude_everyone_and_readers_only_writers(void **state)
{
	struct vault *first;
	struct vault *second;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &first), 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &second), VAULT_IN_USE);
	assert_int_equal(vault_open(path, VAULT_SHARED, &second), VAULT_IN_USE);
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &second), 0);
	vault_close(second);
	vault_close(first);
	assert_int_equal(vault_open(path, VAULT_SHARED, &first), 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &second), VAULT_IN_USE);
	assert_int_equal(vault_open(path, VAULT_SHARED, &second), 0);
	vault_close(second);
	vault_close(first);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &first), 0);
	vault_close(first);
}

static void a_changed_configuration_stays_locked(void **state)
{
	struct vault *v;
	struct vault *second;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	assert_int_equal(vault_change_secret(v, &wrong, &cheap), 0);
	assert_int_equal(vault_open(path, VAULT_SHARED, &second), VAULT_IN_USE);
	vault_close(v);
}

static void the_lock_of_a_killed_process_is_gone(void **state)
{
	struct vault *v;
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0)
		_exit(vault_open(path, VAULT_EXCLUSIVE, &v)); /* and never closes it */
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	vault_close(v);
}

static void the_parent_that_closes_leaves_the_lock_to_its_child(void **state)
{
	struct vault *v;
	struct vault *second;
	int ends[2];
	int status;
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	child = fork();
	if (child == 0) {
		(void)close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0); /* until the parent is through */
	}
	vault_close(v);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &second), VAULT_IN_USE);
	(void)close(ends[1]);
	(void)close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &second), 0);
	vault_close(second);
}

/*
 * Somebody has the lock that says "mounted".  Asked of the kernel: trying to
 * get the lock would keep it from those who want it.
 */
static bool is_mounted(void)
{
	FILE *locks = fopen("/proc/locks", "re");
	bool found = false;
	char line[256];
	char wanted[32];
	struct stat st;

	assert_non_null(locks);
	assert_int_equal(stat(in_vault("tree"), &st), 0);
	(void)snprintf(wanted, sizeof(wanted), ":%llu ", (unsigned long long)st.st_ino);
	while (fgets(line, sizeof(line), locks))
		found |= strstr(line, "FLOCK") && strstr(line, wanted);
	(void)fclose(locks);
	return found;
}

static atomic_bool opened;

static void *open_waiting(void *answer)
{
	struct vault *v;

	*(int *)answer = vault_open(path, VAULT_EXCLUSIVE, &v);
	atomic_store(&opened, true);
	vault_close(v);
	return NULL;
}

static void a_settling_vault_is_waited_for(void **state)
{
	struct vault *settling;
	struct vault *third;
	pthread_t waiter;
	int answer = -1;

	(void)state;
	atomic_store(&opened, false);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &settling), 0);
	assert_true(is_mounted());
	vault_ending(settling);
	assert_false(is_mounted());
	assert_int_equal(pthread_create(&waiter, NULL, open_waiting, &answer), 0);
	while (!is_mounted())
		(void)sched_yield(); /* who waits for "in use" has "mounted" already */
	assert_false(atomic_load(&opened));
	assert_int_equal(vault_open(path, VAULT_SHARED, &third), VAULT_IN_USE);
	vault_close(settling);
	assert_int_equal(pthread_join(waiter, NULL), 0);
	assert_int_equal(answer, 0);
}

/* ---- changing the secret ----------------------------------------------- */

/* Change right to wrong. */
static int change(void)
{
	struct vault *v;
	int r;

	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	r = vault_change_secret(v, &wrong, &cheap);
	vault_close(v);
	return r;
}

static void after_a_change_only_the_new_secret_opens(void **state)
{
	(void)state;
	assert_int_equal(change(), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), 0);
	assert_same_copies();
}

static void a_change_keeps_the_keys_and_the_id(void **state)
{
	struct vault_info before, after;
	struct keyring keys;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	vault_info(v, &before);
	keys = *vault_keys(v);
	assert_int_equal(vault_change_secret(v, &wrong, &cheap), 0);
	assert_int_equal(vault_unlock(v, &wrong), 0);
	vault_info(v, &after);
	assert_memory_equal(&keys, vault_keys(v), sizeof(keys));
	assert_memory_equal(&before, &after, sizeof(before));
	vault_close(v);
}

static void a_stale_backup_does_not_revive_the_old_secret(void **state)
{
	char *old = read_file(BACKUP);

	(void)state;
	assert_int_equal(change(), 0);
	write_file(BACKUP, old);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), 0);
	assert_same_copies();
	free(old);
}

static void a_change_that_cannot_be_written_changes_nothing(void **state)
{
	char *before = read_file(PRIMARY);
	char *after;

	(void)state;
	syncs_until_failure = 0;
	assert_int_equal(change(), -EIO);
	renames_until_failure = 0;
	assert_int_equal(change(), -ENOSPC);
	after = read_file(PRIMARY);
	assert_string_equal(before, after);
	assert_int_not_equal(access(in_vault("cryptfs.conf.tmp"), F_OK), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	free(before);
	free(after);
}

static void a_change_whose_backup_fails_holds_all_the_same(void **state)
{
	(void)state;
	renames_until_failure = 1;
	assert_int_equal(change(), 0);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), 0);
	assert_same_copies();
}

static void a_change_needs_the_key_and_the_lock(void **state)
{
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_change_secret(v, &wrong, &cheap), -EINVAL);
	vault_close(v);
	assert_int_equal(vault_open(path, VAULT_SHARED, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	assert_int_equal(vault_change_secret(v, &wrong, &cheap), -EINVAL);
	vault_close(v);
}

#define V(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define E(f) cmocka_unit_test_setup_teardown(f, setup_empty, teardown)

/* ---- slots ------------------------------------------------------------- */

static struct vault *open_unlocked(void)
{
	struct vault *v;

	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	return v;
}

static uint32_t add_slot(const struct vault_secret *secret, const char *label)
{
	struct vault *v = open_unlocked();
	uint32_t id;

	assert_int_equal(vault_add_slot(v, secret, label, &cheap, &id), 0);
	vault_close(v);
	assert_same_copies();
	return id;
}

static void every_key_opens_the_same_vault(void **state)
{
	static const struct vault_secret keyfile = SECRET("\x00\x01raw", VAULT_KEYFILE);
	static const uint8_t random[RECOVERY_SECRET_SIZE] = { 1, 2, 3 };
	const struct vault_secret recovery = { random, sizeof(random), VAULT_RECOVERY };
	char text[RECOVERY_TEXT_SIZE];
	struct vault_secret words = { (const uint8_t *)text, 0, VAULT_PASSPHRASE };
	struct keyring keys;
	struct vault *v = open_unlocked();

	(void)state;
	keys = *vault_keys(v);
	vault_close(v);
	assert_int_equal(add_slot(&keyfile, NULL), 2);
	assert_int_equal(add_slot(&recovery, "in the safe"), 3);
	recovery_encode(random, text);
	words.size = strlen(text);
	for (uint32_t i = 0; i < 4; i++) {
		const struct vault_secret *const all[] = { &right, &keyfile, &recovery, &words };

		assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
		assert_int_equal(vault_unlock(v, all[i]), 0);
		assert_memory_equal(vault_keys(v), &keys, sizeof(keys));
		assert_int_equal(vault_unlocked_slot(v), i < 3 ? i + 1 : 3);
		vault_close(v);
	}
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_null(vault_why());
	text[0]++;
	assert_int_equal(unlock_with(&words, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_non_null(vault_why());
}

static void slots_say_what_they_are(void **state)
{
	static const struct vault_secret keyfile = SECRET("bytes", VAULT_KEYFILE);
	struct vault_info info;
	struct vault *v;

	(void)state;
	(void)add_slot(&keyfile, NULL);
	(void)add_slot(&wrong, "the other one");
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	vault_info(v, &info);
	vault_close(v);
	assert_int_equal(info.n_slots, 3);
	assert_int_equal(info.slots[1].kind, VAULT_KEYFILE);
	assert_string_equal(info.slots[1].label, "keyfile");
	assert_int_equal(info.slots[2].kind, VAULT_PASSPHRASE);
	assert_string_equal(info.slots[2].label, "the other one");
}

static void a_removed_key_opens_no_longer(void **state)
{
	uint32_t id = add_slot(&wrong, NULL);
	struct vault *v = open_unlocked();

	(void)state;
	assert_int_equal(vault_remove_slot(v, id + 1), VAULT_NO_SLOT);
	assert_int_equal(vault_remove_slot(v, id), 0);
	assert_int_equal(vault_remove_slot(v, 1), VAULT_LAST_SLOT);
	vault_close(v);
	assert_same_copies();
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void the_key_in_use_may_be_removed_but_not_changed_then(void **state)
{
	struct vault *v;

	(void)state;
	(void)add_slot(&wrong, NULL);
	v = open_unlocked();
	assert_int_equal(vault_remove_slot(v, vault_unlocked_slot(v)), 0);
	assert_int_equal(vault_change_secret(v, &right, &cheap), VAULT_NO_SLOT);
	vault_close(v);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), 0);
}

static void there_is_room_for_32_slots(void **state)
{
	struct vault *v = open_unlocked();
	uint32_t id;

	(void)state;
	for (uint32_t n = 1; n < VAULT_MAX_SLOTS; n++)
		assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), 0);
	assert_int_equal(id, VAULT_MAX_SLOTS);
	assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), VAULT_SLOTS_FULL);
	assert_int_equal(vault_remove_slot(v, 7), 0);
	assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), 0);
	assert_int_equal(id, VAULT_MAX_SLOTS + 1); /* the number of a slot never comes back */
	vault_close(v);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void a_slot_that_cannot_be_written_changes_nothing(void **state)
{
	struct vault *v = open_unlocked();
	uint32_t id;

	(void)state;
	assert_int_equal(vault_add_slot(v, &wrong, "two\nlines", &cheap, &id), -EINVAL);
	renames_until_failure = 0;
	assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), -ENOSPC);
	renames_until_failure = -1;
	assert_int_equal(vault_remove_slot(v, 1), VAULT_LAST_SLOT);
	vault_close(v);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void slots_need_the_key_and_the_lock(void **state)
{
	struct vault *v;
	uint32_t id;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_SHARED, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), -EINVAL);
	assert_int_equal(vault_remove_slot(v, 1), -EINVAL);
	vault_close(v);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_add_slot(v, &wrong, NULL, &cheap, &id), -EINVAL);
	assert_int_equal(vault_remove_slot(v, 1), -EINVAL);
	vault_close(v);
}

static void a_slot_of_a_later_version_hinders_nobody(void **state)
{
	struct vault *v = open_unlocked();
	struct vault_config *config;
	struct vault_info info;
	int r;

	(void)state;
	config = vault_start_change(v, &r);
	config->n_slots = 2;
	config->slots[1] = config->slots[0];
	config->slots[0] = (struct vault_config_slot){
		.info = { .id = 9, .kind = VAULT_UNKNOWN, .type = "2050", .label = "retina" },
		.unknown = "{\"id\":9,\"label\":\"retina\",\"type\":\"2050\"}",
	};
	assert_int_equal(vault_finish_change(v, config, r), 0);
	vault_close(v);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
	assert_int_equal(unlock_with(&wrong, VAULT_EXCLUSIVE), VAULT_WRONG_KEY);
	assert_non_null(strstr(vault_why(), "slot 9 is of type 2050, which needs a newer cryptfs"));
	assert_int_equal(add_slot(&wrong, "another"), 10);
	v = open_unlocked();
	vault_info(v, &info);
	assert_int_equal(info.n_slots, 3);
	assert_string_equal(info.slots[0].type, "2050");
	assert_int_equal(vault_remove_slot(v, 9), 0);
	vault_close(v);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

/* ---- a header elsewhere ------------------------------------------------ */

static const char *saved_header(void)
{
	static char name[96];
	struct vault *v;

	(void)snprintf(name, sizeof(name), "%s/header", base);
	assert_int_equal(vault_open(path, VAULT_NO_LOCK, &v), 0);
	assert_int_equal(vault_save_header(v, name), 0);
	assert_int_equal(vault_save_header(v, name), -EEXIST);
	vault_close(v);
	return name;
}

static int restore(const char *header, const struct vault_secret *secret)
{
	struct vault *v;
	int r = vault_open_header(path, header, &v);

	if (!r)
		r = vault_unlock(v, secret);
	if (!r)
		r = vault_restore_header(v);
	vault_close(v);
	return r;
}

static void give_root_a_record(void)
{
	struct vault *v = open_unlocked();
	const struct format_dir_record record = { .id = { 5 } };
	bool in_xattr;

	assert_int_equal(dirrec_write(vault_tree_fd(v), vault_keys(v), &record, &in_xattr), 0);
	vault_close(v);
}

static void a_lost_configuration_is_restored(void **state)
{
	const char *header = saved_header();

	(void)state;
	give_root_a_record();
	assert_int_equal(unlink(PRIMARY), 0);
	write_file(BACKUP, "rubbish");
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), VAULT_DAMAGED);
	assert_int_equal(restore(header, &wrong), VAULT_WRONG_KEY);
	assert_int_not_equal(access(PRIMARY, F_OK), 0);
	assert_int_equal(restore(header, &right), 0);
	assert_same_copies();
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void the_header_of_another_vault_is_refused(void **state)
{
	const char *header = saved_header();
	char *before, *after;

	(void)state;
	assert_int_equal(rename(path, in_vault("../other")), 0);
	assert_int_equal(create(), 0);
	give_root_a_record();
	before = read_file(PRIMARY);
	assert_int_equal(restore(header, &right), VAULT_DAMAGED);
	assert_non_null(vault_why());
	after = read_file(PRIMARY);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void what_is_no_header_is_refused(void **state)
{
	const char *header = saved_header();

	(void)state;
	write_file(header, "rubbish");
	assert_int_equal(restore(header, &right), VAULT_DAMAGED);
	assert_int_equal(unlink(header), 0);
	assert_int_equal(restore(header, &right), VAULT_DAMAGED);
	assert_int_equal(mkfifo(header, 0600), 0);
	assert_int_equal(restore(header, &right), VAULT_DAMAGED);
	assert_int_equal(unlock_with(&right, VAULT_EXCLUSIVE), 0);
}

static void keys_are_forgotten_in_place_and_remembered(void **state)
{
	static const struct keyring none;
	const struct keyring *keys;
	struct keyring before;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &right), 0);
	keys = vault_keys(v);
	before = *keys;
	vault_suspend(v);
	assert_ptr_equal(vault_keys(v), keys);
	assert_memory_equal(keys, &none, sizeof(none));
	assert_int_equal(vault_resume(v, &wrong), VAULT_WRONG_KEY);
	assert_memory_equal(keys, &none, sizeof(none));
	assert_int_equal(vault_resume(v, &right), 0);
	assert_ptr_equal(vault_keys(v), keys);
	assert_memory_equal(keys, &before, sizeof(before));
	vault_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		V(a_new_vault_opens_with_its_passphrase_only),
		V(keys_are_forgotten_in_place_and_remembered),
		V(a_new_vault_is_private_and_has_two_equal_copies),
		V(a_wrong_key_leaves_no_keys_behind),
		V(every_vault_has_keys_of_its_own),
		V(info_needs_no_key),
		E(an_empty_directory_becomes_a_vault),
		E(what_an_interrupted_creation_left_becomes_a_vault),
		V(nothing_that_is_there_is_overwritten),
		E(a_directory_with_files_is_left_alone),
		E(a_file_is_no_place_for_a_vault),
		E(a_failed_creation_leaves_an_empty_directory),
		E(nonsense_makes_no_vault),
		E(unset_kdf_parameters_are_calibrated),
		V(a_damaged_copy_is_replaced_by_the_other),
		V(a_reader_repairs_nothing),
		V(nobody_repairs_before_the_passphrase_is_right),
		V(damage_that_still_reads_is_found_by_the_key),
		V(changes_in_both_copies_are_refused),
		V(damage_is_reported_with_its_reason),
		V(links_and_fifos_are_not_followed),
		V(a_lost_configuration_is_damage_and_never_a_new_vault),
		V(a_lost_tree_is_damage),
		V(a_configuration_of_another_vault_destroys_nothing),
		V(no_copy_is_overwritten_by_one_that_does_not_fit_the_tree),
		V(writers_exclude_everyone_and_readers_only_writers),
		V(a_changed_configuration_stays_locked),
		V(the_lock_of_a_killed_process_is_gone),
		V(the_parent_that_closes_leaves_the_lock_to_its_child),
		V(a_settling_vault_is_waited_for),
		V(every_key_opens_the_same_vault),
		V(slots_say_what_they_are),
		V(a_removed_key_opens_no_longer),
		V(the_key_in_use_may_be_removed_but_not_changed_then),
		V(there_is_room_for_32_slots),
		V(a_slot_that_cannot_be_written_changes_nothing),
		V(slots_need_the_key_and_the_lock),
		V(a_slot_of_a_later_version_hinders_nobody),
		V(a_lost_configuration_is_restored),
		V(the_header_of_another_vault_is_refused),
		V(what_is_no_header_is_refused),
		V(after_a_change_only_the_new_secret_opens),
		V(a_change_keeps_the_keys_and_the_id),
		V(a_stale_backup_does_not_revive_the_old_secret),
		V(a_change_that_cannot_be_written_changes_nothing),
		V(a_change_whose_backup_fails_holds_all_the_same),
		V(a_change_needs_the_key_and_the_lock),
	};

	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("vault", tests, NULL, NULL);
}
