/* SPDX-License-Identifier: MIT */
/* Security keys through libfido2: see fido2.h for the contract. */
#include "fs/fido2.h"

#include <errno.h>
#include <fido.h>
#include <sodium.h>
#include <string.h>

#include "base/secmem.h"

#define RELYING_PARTY "cryptfs"

enum {
	MAX_DEVICES = 16,
	CHALLENGE_SIZE = 32, /* of the protocol: nobody checks the signature */
};

/* One thing to do with a device that is open. */
struct job {
	const char *pin;
	const struct vault_token *token;
	struct vault_token *enrolled;
	uint8_t *secret;
};

static int answer(int error)
{
	switch (error) {
	case FIDO_OK:
		return 0;
	case FIDO_ERR_NO_CREDENTIALS:
	case FIDO_ERR_INVALID_CREDENTIAL:
		return FIDO2_OTHER;
	case FIDO_ERR_UNSUPPORTED_EXTENSION:
	case FIDO_ERR_UNSUPPORTED_OPTION:
	case FIDO_ERR_UNSUPPORTED_ALGORITHM:
		return FIDO2_UNSUPPORTED;
	case FIDO_ERR_PIN_REQUIRED:
		return FIDO2_PIN_NEEDED;
	case FIDO_ERR_PIN_INVALID:
		return FIDO2_PIN_WRONG;
	case FIDO_ERR_PIN_BLOCKED:
	case FIDO_ERR_PIN_AUTH_BLOCKED:
		return FIDO2_PIN_LOCKED;
	case FIDO_ERR_ACTION_TIMEOUT:
	case FIDO_ERR_USER_ACTION_TIMEOUT:
	case FIDO_ERR_OPERATION_DENIED:
		return FIDO2_UNTOUCHED;
	case FIDO_ERR_INTERNAL:
		return -ENOMEM;
	default:
		return FIDO2_FAILED;
	}
}

/* ---- what a device is asked for ------------------------------------------ */

static int make_credential(fido_dev_t *dev, const struct job *j)
{
	uint8_t challenge[CHALLENGE_SIZE];
	uint8_t user[CHALLENGE_SIZE];
	fido_cred_t *cred = fido_cred_new();
	size_t size;
	int error;

	if (!cred)
		return -ENOMEM;
	randombytes_buf(challenge, sizeof(challenge));
	randombytes_buf(user, sizeof(user));
	error = fido_cred_set_type(cred, COSE_ES256);
	if (!error)
		error = fido_cred_set_clientdata_hash(cred, challenge, sizeof(challenge));
	if (!error)
		error = fido_cred_set_rp(cred, RELYING_PARTY, RELYING_PARTY);
	if (!error)
		error = fido_cred_set_user(cred, user, sizeof(user), RELYING_PARTY, NULL, NULL);
	if (!error)
		error = fido_cred_set_extensions(cred, FIDO_EXT_HMAC_SECRET);
	if (!error)
		error = fido_dev_make_cred(dev, cred, j->pin);
	size = error ? 0 : fido_cred_id_len(cred);
	if (!error && (size < 1 || size > sizeof(j->enrolled->credential)))
		error = FIDO_ERR_UNSUPPORTED_OPTION;
	if (!error) {
		*j->enrolled = (struct vault_token){ .size = size };
		memcpy(j->enrolled->credential, fido_cred_id_ptr(cred), size);
		randombytes_buf(j->enrolled->challenge, sizeof(j->enrolled->challenge));
	}
	fido_cred_free(&cred);
	return answer(error);
}

static int ask_secret(fido_dev_t *dev, const struct job *j)
{
	const struct vault_token *token = j->token;
	uint8_t challenge[CHALLENGE_SIZE];
	fido_assert_t *assert = fido_assert_new();
	int error;

	if (!assert)
		return -ENOMEM;
	randombytes_buf(challenge, sizeof(challenge));
	error = fido_assert_set_clientdata_hash(assert, challenge, sizeof(challenge));
	if (!error)
		error = fido_assert_set_rp(assert, RELYING_PARTY);
	if (!error)
		error = fido_assert_allow_cred(assert, token->credential, token->size);
	if (!error)
		error = fido_assert_set_extensions(assert, FIDO_EXT_HMAC_SECRET);
	if (!error)
		error = fido_assert_set_hmac_salt(assert, token->challenge,
						  sizeof(token->challenge));
	if (!error)
		error = fido_assert_set_up(assert, FIDO_OPT_TRUE);
	if (!error)
		error = fido_dev_get_assert(dev, assert, j->pin);
	if (!error && (fido_assert_count(assert) != 1 ||
		       fido_assert_hmac_secret_len(assert, 0) != FIDO2_SECRET_SIZE))
		error = FIDO_ERR_UNSUPPORTED_EXTENSION;
	if (!error)
		memcpy(j->secret, fido_assert_hmac_secret_ptr(assert, 0), FIDO2_SECRET_SIZE);
	fido_assert_free(&assert); /* wipes it */
	return answer(error);
}

/* ---- devices ------------------------------------------------------------- */

static int with_device(const char *path, int (*what)(fido_dev_t *dev, const struct job *j),
		       const struct job *j)
{
	fido_dev_t *dev = fido_dev_new();
	int r;

	if (!dev)
		return -ENOMEM;
	if (fido_dev_open(dev, path)) {
		r = FIDO2_NO_DEVICE;
	} else {
		r = fido_dev_is_fido2(dev) ? what(dev, j) : FIDO2_UNSUPPORTED;
		(void)fido_dev_close(dev); /* nothing is lost by it */
	}
	fido_dev_free(&dev);
	return r;
}

/* One after the other, as long as it is the device that will not do. */
static int with_any(int (*what)(fido_dev_t *dev, const struct job *j), const struct job *j)
{
	fido_dev_info_t *list = fido_dev_info_new(MAX_DEVICES);
	size_t n = 0;
	int r = FIDO2_NO_DEVICE;

	if (!list)
		return -ENOMEM;
	if (fido_dev_info_manifest(list, MAX_DEVICES, &n))
		n = 0;
	for (size_t i = 0; i < n; i++) {
		r = with_device(fido_dev_info_path(fido_dev_info_ptr(list, i)), what, j);
		if (r != FIDO2_NO_DEVICE && r != FIDO2_OTHER && r != FIDO2_UNSUPPORTED)
			break;
	}
	fido_dev_info_free(&list, MAX_DEVICES);
	return r;
}

static int with(const char *device, int (*what)(fido_dev_t *dev, const struct job *j),
		const struct job *j)
{
	fido_init(0);
	return strcmp(device, FIDO2_AUTO) == 0 ? with_any(what, j) : with_device(device, what, j);
}

int fido2_enroll(const char *device, const char *pin, struct vault_token *token)
{
	const struct job j = { .pin = pin, .enrolled = token };

	return with(device, make_credential, &j);
}

int fido2_secret(const char *device, const char *pin, const struct vault_token *token,
		 uint8_t secret[FIDO2_SECRET_SIZE])
{
	const struct job j = { .pin = pin, .token = token, .secret = secret };
	int r = with(device, ask_secret, &j);

	if (r)
		secmem_wipe(secret, FIDO2_SECRET_SIZE);
	return r;
}
