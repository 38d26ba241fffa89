/* SPDX-License-Identifier: MIT */
/* Which slots of a vault are kept by a rotation: those of security keys, with stand-ins. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/rotate_keys.h"
#include "fs/exitcode.h"
#include "fs/fido2.h"
#include "fs/terminal.h"
#include "security_keys.h"

static char path[64];
static struct vault *v;
static struct rotate_keys *k;

static const struct vault_secret words = { (const uint8_t *)"four words", 10, VAULT_PASSPHRASE };

/* ---- a person ------------------------------------------------------------ */

static bool has_tty;
static char prompts[4][160];
static const char *typed[4]; /* at each */
static int n_prompts;
static int is_plugged_at[4]; /* which security key alone; -1: none; else as it was */

int __wrap_open64(const char *name, int flags, ...);
int __real_open64(const char *name, int flags, ...);
ssize_t __wrap_terminal_ask(const char *prompt, void *data, size_t size);

int __wrap_open64(const char *name, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (strcmp(name, "/dev/tty") == 0) {
		if (has_tty)
			return __real_open64("/dev/null", flags, mode);
		errno = ENXIO;
		return -1;
	}
	return __real_open64(name, flags, mode);
}

ssize_t __wrap_terminal_ask(const char *prompt, void *data, size_t size)
{
	const int i = n_prompts++;

	assert_true(i < 4 && typed[i]);
	(void)snprintf(prompts[i], sizeof(prompts[i]), "%s", prompt);
	if (is_plugged_at[i] < SECURITY_KEYS_MAX)
		n_security_keys = is_plugged_at[i] < 0 ? 0 : 1;
	if (is_plugged_at[i] == 1)
		security_keys[0] = (struct security_key){ "/dev/first", { 2 }, NULL, true, 0, 0 };
	assert_true(strlen(typed[i]) <= size);
	memcpy(data, typed[i], strlen(typed[i]));
	return (ssize_t)strlen(typed[i]);
}

/* ---- a vault with slots for two security keys ---------------------------- */

static void add_key(const char *device, const char *label)
{
	uint8_t bytes[FIDO2_SECRET_SIZE];
	const struct vault_secret secret = { bytes, sizeof(bytes), VAULT_FIDO2 };
	struct vault_token token;
	uint32_t id;

	assert_int_equal(fido2_enroll(device, NULL, &token), 0);
	assert_int_equal(fido2_secret(device, NULL, &token, bytes), 0);
	assert_int_equal(vault_add_token(v, &secret, &token, label, &id), 0);
}

static int setup(void **state)
{
	static const struct vault_create how = { .suite = CIPHER_AES_256_GCM,
						 .kdf = { (uint64_t)64 << 20, 3 } };

	(void)state;
	security_keys_reset();
	has_tty = false;
	n_prompts = 0;
	memset(typed, 0, sizeof(typed));
	strcpy(path, "/tmp/test_rotate_keys.XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(vault_create(path, &how, &words), 0);
	assert_int_equal(vault_rotate_open(path, &v), 0);
	assert_int_equal(vault_unlock(v, &words), 0);
	add_key("/dev/first", "ring");
	add_key("/dev/second", "spare");
	k = calloc(1, sizeof(*k));
	assert_non_null(k);
	vault_info(v, &k->info);
	k->keys[0] = (struct vault_rotate_key){ .id = 1, .secret = &words };
	k->n = 1;
	return 0;
}

static int teardown(void **state)
{
	char command[80];

	(void)state;
	k->n = k->n ? k->n : 1;
	k->secrets[0] = (struct vault_secret){ 0 }; /* that one is not ours to free */
	rotate_keys_fini(k);
	free(k);
	vault_close(v);
	(void)snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
	return 0;
}

static int collect(const char *device, bool drops)
{
	struct rotate_others others = { .drops = drops };

	if (device)
		others.sources[others.n++] = (struct passphrase_source){ .fido2 = device };
	return rotate_keys_collect(k, path, v, &others);
}

/* The rest of a rotation of an empty vault. */
static void rotate(void)
{
	enum vault_rotation rotation;
	struct vault *next;

	assert_int_equal(vault_rotate_begin(v, k->keys, k->n), 0);
	assert_int_equal(vault_rotate_look(v, k->keys[0].secret, &rotation, &next), 0);
	assert_int_equal(rotation, VAULT_COPYING);
	assert_int_equal(vault_rotate_switch(v, next), 0);
	vault_close(next);
	assert_int_equal(vault_rotate_finish(v), 0);
	vault_close(v);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
}

static bool opens(const char *device)
{
	const struct passphrase_source source = { .fido2 = device };

	return passphrase_unlock(v, path, &source) == STATUS_OK;
}

/* ---- tests --------------------------------------------------------------- */

static void every_security_key_that_is_there_stays(void **state)
{
	struct vault_info info;

	(void)state;
	assert_int_equal(collect(FIDO2_AUTO, false), STATUS_OK);
	assert_int_equal(k->n, 3);
	rotate();
	vault_info(v, &info);
	assert_int_equal(info.n_slots, 3);
	for (uint32_t i = 0; i < info.n_slots; i++)
		assert_memory_equal(&info.slots[i], &k->info.slots[i], sizeof(info.slots[i]));
	assert_true(opens("/dev/first"));
	assert_int_equal(vault_unlocked_slot(v), 2);
	assert_true(opens("/dev/second"));
	assert_int_equal(vault_unlocked_slot(v), 3);
	assert_int_equal(vault_unlock(v, &words), 0);
}

static void one_that_is_not_there_is_asked_about_or_goes(void **state)
{
	(void)state;
	assert_int_equal(collect("/dev/second", false), STATUS_USAGE);
	assert_int_equal(collect("/dev/second", true), STATUS_WRONG_KEY); /* kept already */
	assert_int_equal(k->n, 2);
	assert_int_equal(collect(NULL, true), STATUS_OK);
	rotate();
	assert_false(opens("/dev/first"));
	assert_true(opens("/dev/second"));
	assert_int_equal(vault_unlocked_slot(v), 3);
}

static void a_stranger_keeps_nothing(void **state)
{
	(void)state;
	security_keys[0].key[0] = 3;
	assert_int_equal(collect("/dev/first", true), STATUS_WRONG_KEY);
	assert_int_equal(collect("/dev/third", true), STATUS_SYSTEM);
	assert_int_equal(k->n, 1);
}

static void a_pin_is_asked_for(void **state)
{
	(void)state;
	has_tty = true;
	typed[0] = typed[1] = "1234";
	is_plugged_at[0] = is_plugged_at[1] = SECURITY_KEYS_MAX;
	security_keys[1].pin = "1234";
	assert_int_equal(collect("/dev/second", true), STATUS_OK);
	assert_string_equal(prompts[1], "PIN of the security key, for slot 3 \"spare\"");
	assert_int_equal(k->n, 2);
}

static void a_person_is_asked_for_each_in_turn(void **state)
{
	(void)state;
	has_tty = true;
	typed[0] = typed[1] = typed[2] = "";
	is_plugged_at[0] = 0;
	is_plugged_at[1] = -1; /* forgotten at first */
	is_plugged_at[2] = 1;
	assert_int_equal(collect(NULL, false), STATUS_OK);
	assert_int_equal(n_prompts, 3);
	assert_string_equal(prompts[0], "Slot 2, \"ring\": plug in its security key, then press "
					"Enter (n: drop it)");
	assert_non_null(strstr(prompts[1], "Slot 3, \"spare\""));
	assert_int_equal(k->n, 3);
	rotate();
	assert_true(opens(FIDO2_AUTO)); /* the second, which is what is plugged in */
	assert_int_equal(vault_unlocked_slot(v), 3);
	security_keys_reset();
	assert_true(opens("/dev/first"));
}

static void a_person_can_let_one_go_also_after_it_failed(void **state)
{
	(void)state;
	has_tty = true;
	typed[0] = "n";
	typed[1] = "";
	typed[2] = "n";
	is_plugged_at[0] = is_plugged_at[1] = is_plugged_at[2] = 0;
	assert_int_equal(collect(NULL, false), STATUS_OK);
	assert_int_equal(n_prompts, 3);
	assert_int_equal(k->n, 1);
}

static void three_tries_without_it_end_the_rotation_before_it_begins(void **state)
{
	(void)state;
	has_tty = true;
	typed[0] = typed[1] = typed[2] = "";
	is_plugged_at[0] = is_plugged_at[1] = is_plugged_at[2] = -1;
	assert_int_equal(collect(NULL, false), STATUS_SYSTEM);
	assert_int_equal(n_prompts, 3);
	assert_int_equal(k->n, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_security_key_that_is_there_stays),
		T(one_that_is_not_there_is_asked_about_or_goes),
		T(a_stranger_keeps_nothing),
		T(a_pin_is_asked_for),
		T(a_person_is_asked_for_each_in_turn),
		T(a_person_can_let_one_go_also_after_it_failed),
		T(three_tries_without_it_end_the_rotation_before_it_begins),
	};

	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("rotate_keys", tests, NULL, NULL);
}
