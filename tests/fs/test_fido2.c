/* SPDX-License-Identifier: MIT */
/*
 * Security keys, with stand-ins for the devices below libfido2: each has a key of
 * its own and answers as one does.  No real one was asked.
 */
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

/* ---- two devices --------------------------------------------------------- */

static struct device {
	const char *path;
	uint8_t key[crypto_auth_hmacsha256_KEYBYTES];
	const char *pin;
	bool has_hmac_secret;
	int error; /* what it answers instead of doing something */
	int n_touches;
} devices[2];
static size_t n_devices;
static struct device *opened;
static uint8_t asked_salt[32];
static uint8_t asked_credential[VAULT_CREDENTIAL_MAX];
static size_t asked_size;

static int setup(void **state)
{
	(void)state;
	devices[0] = (struct device){ "/dev/first", { 1 }, NULL, true, 0, 0 };
	devices[1] = (struct device){ "/dev/second", { 2 }, NULL, true, 0, 0 };
	n_devices = 2;
	return 0;
}

int __wrap_fido_dev_info_manifest(fido_dev_info_t *list, size_t size, size_t *n);
const fido_dev_info_t *__wrap_fido_dev_info_ptr(const fido_dev_info_t *list, size_t i);
const char *__wrap_fido_dev_info_path(const fido_dev_info_t *info);
int __wrap_fido_dev_open(fido_dev_t *dev, const char *path);
int __wrap_fido_dev_close(fido_dev_t *dev);
bool __wrap_fido_dev_is_fido2(const fido_dev_t *dev);
int __wrap_fido_dev_make_cred(fido_dev_t *dev, fido_cred_t *cred, const char *pin);
int __wrap_fido_dev_get_assert(fido_dev_t *dev, fido_assert_t *assert, const char *pin);
int __wrap_fido_assert_allow_cred(fido_assert_t *assert, const unsigned char *id, size_t size);
int __real_fido_assert_allow_cred(fido_assert_t *assert, const unsigned char *id, size_t size);
int __wrap_fido_assert_set_hmac_salt(fido_assert_t *assert, const unsigned char *salt, size_t size);
int __real_fido_assert_set_hmac_salt(fido_assert_t *assert, const unsigned char *salt, size_t size);

int __wrap_fido_dev_info_manifest(fido_dev_info_t *list, size_t size, size_t *n)
{
	(void)list;
	assert_true(size >= n_devices);
	*n = n_devices;
	return FIDO_OK;
}

/* Not a pointer to anything: its path is all that is asked of it. */
const fido_dev_info_t *__wrap_fido_dev_info_ptr(const fido_dev_info_t *list, size_t i)
{
	(void)list;
	return (const fido_dev_info_t *)(const void *)&devices[i];
}

const char *__wrap_fido_dev_info_path(const fido_dev_info_t *info)
{
	return ((const struct device *)(const void *)info)->path;
}

int __wrap_fido_dev_open(fido_dev_t *dev, const char *path)
{
	(void)dev;
	opened = NULL;
	for (size_t i = 0; i < n_devices; i++)
		if (strcmp(devices[i].path, path) == 0)
			opened = &devices[i];
	return opened ? FIDO_OK : FIDO_ERR_INTERNAL;
}

int __wrap_fido_dev_close(fido_dev_t *dev)
{
	(void)dev;
	opened = NULL;
	return FIDO_OK;
}

bool __wrap_fido_dev_is_fido2(const fido_dev_t *dev)
{
	(void)dev;
	return true;
}

static int be_asked(const char *pin)
{
	assert_non_null(opened);
	if (opened->error)
		return opened->error;
	if (!opened->has_hmac_secret)
		return FIDO_ERR_UNSUPPORTED_EXTENSION;
	if (opened->pin && !pin)
		return FIDO_ERR_PIN_REQUIRED;
	if (opened->pin && strcmp(opened->pin, pin) != 0)
		return FIDO_ERR_PIN_INVALID;
	opened->n_touches++;
	return FIDO_OK;
}

/* A credential is a tag that only this device can make. */
static void credential_of(const struct device *d, uint8_t id[crypto_auth_hmacsha256_BYTES])
{
	crypto_auth_hmacsha256(id, (const unsigned char *)"credential", 10, d->key);
}

int __wrap_fido_dev_make_cred(fido_dev_t *dev, fido_cred_t *cred, const char *pin)
{
	uint8_t id[crypto_auth_hmacsha256_BYTES];
	int r = be_asked(pin);

	(void)dev;
	if (r)
		return r;
	assert_string_equal(fido_cred_rp_id(cred), "cryptfs");
	assert_int_equal(fido_cred_type(cred), COSE_ES256);
	credential_of(opened, id);
	return fido_cred_set_id(cred, id, sizeof(id));
}

int __wrap_fido_assert_allow_cred(fido_assert_t *assert, const unsigned char *id, size_t size)
{
	memcpy(asked_credential, id, size);
	asked_size = size;
	return __real_fido_assert_allow_cred(assert, id, size);
}

int __wrap_fido_assert_set_hmac_salt(fido_assert_t *assert, const unsigned char *salt, size_t size)
{
	assert_int_equal(size, sizeof(asked_salt));
	memcpy(asked_salt, salt, size);
	return __real_fido_assert_set_hmac_salt(assert, salt, size);
}

int __wrap_fido_dev_get_assert(fido_dev_t *dev, fido_assert_t *assert, const char *pin)
{
	uint8_t id[crypto_auth_hmacsha256_BYTES];
	uint8_t secret[crypto_auth_hmacsha256_BYTES];
	int r = be_asked(pin);

	(void)dev;
	if (r)
		return r;
	assert_string_equal(fido_assert_rp_id(assert), "cryptfs");
	credential_of(opened, id);
	if (asked_size != sizeof(id) || memcmp(asked_credential, id, sizeof(id)) != 0)
		return FIDO_ERR_NO_CREDENTIALS;
	crypto_auth_hmacsha256(secret, asked_salt, sizeof(asked_salt), opened->key);
	r = fido_assert_set_count(assert, 1);
	return r ? r : fido_assert_set_hmac_secret(assert, 0, secret, sizeof(secret));
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
	n_devices = 0;
	assert_int_equal(fido2_secret(FIDO2_AUTO, NULL, &token, secret), FIDO2_NO_DEVICE);
}

static void a_pin_is_taken_where_there_is_one(void **state)
{
	struct vault_token token;

	(void)state;
	devices[0].pin = "1234";
	assert_int_equal(fido2_enroll(FIDO2_AUTO, NULL, &token), FIDO2_PIN_NEEDED);
	assert_int_equal(fido2_enroll(FIDO2_AUTO, "1235", &token), FIDO2_PIN_WRONG);
	assert_int_equal(devices[1].n_touches, 0); /* it is not tried on others */
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
	n_devices = 1;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		devices[0].error = answers[i].error;
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
