/* SPDX-License-Identifier: MIT */
/* Stand-ins for security keys: see security_keys.h. */
#include "security_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <fido.h>
#include <sodium.h>

#include "fs/vault.h"

struct security_key security_keys[SECURITY_KEYS_MAX];
size_t n_security_keys;
static struct security_key *opened;
static uint8_t asked_salt[32];
static uint8_t asked_credential[VAULT_CREDENTIAL_MAX];
static size_t asked_size;

void security_keys_reset(void)
{
	security_keys[0] = (struct security_key){ "/dev/first", { 1 }, NULL, true, 0, 0 };
	security_keys[1] = (struct security_key){ "/dev/second", { 2 }, NULL, true, 0, 0 };
	n_security_keys = SECURITY_KEYS_MAX;
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
	assert_true(size >= n_security_keys);
	*n = n_security_keys;
	return FIDO_OK;
}

/* Not a pointer to anything: its path is all that is asked of it. */
const fido_dev_info_t *__wrap_fido_dev_info_ptr(const fido_dev_info_t *list, size_t i)
{
	(void)list;
	return (const fido_dev_info_t *)(const void *)&security_keys[i];
}

const char *__wrap_fido_dev_info_path(const fido_dev_info_t *info)
{
	return ((const struct security_key *)(const void *)info)->path;
}

int __wrap_fido_dev_open(fido_dev_t *dev, const char *path)
{
	(void)dev;
	opened = NULL;
	for (size_t i = 0; i < n_security_keys; i++)
		if (strcmp(security_keys[i].path, path) == 0)
			opened = &security_keys[i];
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
static void credential_of(const struct security_key *d, uint8_t id[crypto_auth_hmacsha256_BYTES])
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
