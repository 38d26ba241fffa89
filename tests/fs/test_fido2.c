/* SPDX-License-Identifier: MIT */
/* Security keys, with stand-ins for the devices.  No real one was asked. */
#include <errno.h>
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
#include <fido.h>
#include <sodium.h>

#include "fs/exitcode.h"
#include "fs/fido2.h"
#include "fs/passphrase.h"
#include "fs/vault.h"
#include "security_keys.h"

static int setup(void **state)
{
	(void)state;
	security_keys_reset();
	return 0;
}

/* ---- asking them --------------------------------------------------------- */

static void a_device_gives_the_same_secret_each_time(void **state)
{
	struct vault_token token, other;
	uint8_t a[FIDO2_SECRET_SIZE], b[FIDO2_SECRET_SIZE];

	(void)state;
	assert_int_equal(fido2_enroll(FIDO2_AUTO, NULL, &token), 0);
	assert_int_equal(token.size, crypto_auth_hmacsha256_BYTES);
	assert_int_equal(fido2_secret(FIDO2_AUTO, NULL, &token, a), 0);
	assert_int_equal(fido2_secret("/dev/first", NULL, &token, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(fido2_enroll(FIDO2_AUTO, NULL, &other), 0);
	assert_memory_not_equal(token.challenge, other.challenge, sizeof(token.challenge));
	assert_int_equal(fido2_secret(FIDO2_AUTO, NULL, &other, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void the_device_that_made_it_is_found_among_others(void **state)
{
	struct vault_token token;
	uint8_t secret[FIDO2_SECRET_SIZE];

	(void)state;
	assert_int_equal(fido2_enroll("/dev/second", NULL, &token), 0);
	assert_int_equal(fido2_secret(FIDO2_AUTO, NULL, &token, secret), 0);
	memset(secret, 1, sizeof(secret));
	assert_int_equal(fido2_secret("/dev/first", NULL, &token, secret), FIDO2_OTHER);
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(secret[i], 0);
	assert_int_equal(fido2_secret("/dev/third", NULL, &token, secret), FIDO2_NO_DEVICE);
	n_security_keys = 0;
	assert_int_equal(fido2_secret(FIDO2_AUTO, NULL, &token, secret), FIDO2_NO_DEVICE);
}

static void a_pin_is_taken_where_there_is_one(void **state)
{
	struct vault_token token;

	(void)state;
	security_keys[0].pin = "1234";
	assert_int_equal(fido2_enroll(FIDO2_AUTO, NULL, &token), FIDO2_PIN_NEEDED);
	assert_int_equal(fido2_enroll(FIDO2_AUTO, "1235", &token), FIDO2_PIN_WRONG);
	assert_int_equal(security_keys[1].n_touches, 0); /* it is not tried on others */
	assert_int_equal(fido2_enroll(FIDO2_AUTO, "1234", &token), 0);
}

static void what_a_device_cannot_do_is_told_apart(void **state)
{
	static const struct {
		int error;
		int answer;
	} answers[] = {
		{ FIDO_ERR_UNSUPPORTED_EXTENSION, FIDO2_UNSUPPORTED },
		{ FIDO_ERR_PIN_BLOCKED, FIDO2_PIN_LOCKED },
		{ FIDO_ERR_PIN_AUTH_BLOCKED, FIDO2_PIN_LOCKED },
		{ FIDO_ERR_ACTION_TIMEOUT, FIDO2_UNTOUCHED },
		{ FIDO_ERR_OPERATION_DENIED, FIDO2_UNTOUCHED },
		{ FIDO_ERR_RX, FIDO2_FAILED },
	};
	struct vault_token token;

	(void)state;
	n_security_keys = 1;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		security_keys[0].error = answers[i].error;
		assert_int_equal(fido2_enroll(FIDO2_AUTO, NULL, &token), answers[i].answer);
	}
	for (int r = FIDO2_ABSENT; r <= FIDO2_FAILED; r++)
		assert_non_null(strchr(fido2_message(r), '('));
}

/* ---- a vault ------------------------------------------------------------- */

static void a_vault_opens_by_the_device_that_has_a_slot(void **state)
{
	static const struct vault_create how = { .suite = CIPHER_AES_256_GCM,
						 .kdf = { (uint64_t)64 << 20, 3 } };
	static const struct vault_secret words = { (const uint8_t *)"four words", 10,
						   VAULT_PASSPHRASE };
	const struct passphrase_source first = { .fido2 = "/dev/first" };
	const struct passphrase_source second = { .fido2 = "/dev/second" };
	const struct passphrase_source any = { .fido2 = FIDO2_AUTO };
	char path[] = "/tmp/test_fido2.XXXXXX";
	uint8_t bytes[FIDO2_SECRET_SIZE];
	const struct vault_secret secret = { bytes, sizeof(bytes), VAULT_FIDO2 };
	char command[64];
	struct vault_token token;
	struct vault_info info;
	struct vault *v;
	uint32_t id;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(vault_create(path, &how, &words), 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(passphrase_unlock(v, path, &any), STATUS_WRONG_KEY);
	assert_int_equal(vault_unlock(v, &words), 0);
	assert_int_equal(fido2_enroll("/dev/second", NULL, &token), 0);
	assert_int_equal(fido2_secret("/dev/second", NULL, &token, bytes), 0);
	assert_int_equal(vault_add_token(v, &words, &token, NULL, &id), -EINVAL);
	assert_int_equal(vault_add_token(v, &secret, &token, "ring", &id), 0);
	vault_close(v);

	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	vault_info(v, &info);
	assert_int_equal(info.n_slots, 2);
	assert_string_equal(info.slots[1].type, "fido2");
	assert_string_equal(info.slots[1].label, "ring");
	assert_memory_equal(&info.slots[1].token, &token, sizeof(token));
	assert_int_equal(passphrase_unlock(v, path, &first), STATUS_WRONG_KEY);
	assert_null(vault_keys(v));
	assert_int_equal(passphrase_unlock(v, path, &second), 0);
	assert_int_equal(vault_unlocked_slot(v), id);
	assert_int_equal(passphrase_unlock(v, path, &any), 0);
	assert_int_equal(vault_unlock(v, &words), 0);
	assert_int_equal(vault_remove_slot(v, 1), 0);
	vault_close(v);

	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &words), VAULT_WRONG_KEY);
	assert_int_equal(passphrase_unlock(v, path, &any), 0);
	/* Its slot becomes one of a passphrase, and nothing of the device stays. */
	assert_int_equal(vault_change_secret(v, &words, &how.kdf), 0);
	vault_close(v);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(vault_unlock(v, &words), 0);
	vault_close(v);
	(void)snprintf(command, sizeof(command), "rm -r %s", path);
	assert_int_equal(system(command), 0);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_device_gives_the_same_secret_each_time),
		T(the_device_that_made_it_is_found_among_others),
		T(a_pin_is_taken_where_there_is_one),
		T(what_a_device_cannot_do_is_told_apart),
		T(a_vault_opens_by_the_device_that_has_a_slot),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("fido2", tests, NULL, NULL);
}
