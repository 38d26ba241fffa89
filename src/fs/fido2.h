/* SPDX-License-Identifier: MIT */
/*
 * fido2 - secrets of security keys: the hmac-secret extension of FIDO2 turns 32
 * bytes that are no secret into 32 that are, with a key that never leaves the
 * device.  Whoever holds the device touches it; some want a PIN, too.
 *
 * Results: 0, a positive FIDO2_* answer, or a negative errno.
 */
#ifndef FS_FIDO2_H
#define FS_FIDO2_H

#include <stdint.h>

#include "fs/vault.h"

enum {
	FIDO2_ABSENT = 1,  /* built without libfido2 */
	FIDO2_NO_DEVICE,   /* none there, or not this one */
	FIDO2_OTHER,	   /* none of those there made this credential */
	FIDO2_UNSUPPORTED, /* it has no hmac-secret */
	FIDO2_PIN_NEEDED,  /* again, with one */
	FIDO2_PIN_WRONG,
	FIDO2_PIN_LOCKED, /* too many wrong ones */
	FIDO2_UNTOUCHED,  /* in time */
	FIDO2_FAILED,
};

#define FIDO2_AUTO "auto" /* a device: the first that will do */

enum {
	FIDO2_SECRET_SIZE = 32,
};

/*
 * Have the device make a credential for hmac-secret, and draw what it is to be
 * asked: *token, which a slot keeps.  pin may be NULL.
 */
int fido2_enroll(const char *device, const char *pin, struct vault_token *token);

/* What the device that made the credential answers; secret in secmem. */
int fido2_secret(const char *device, const char *pin, const struct vault_token *token,
		 uint8_t secret[FIDO2_SECRET_SIZE]);

/* "why (what to do)" */
const char *fido2_message(int r);

#endif /* FS_FIDO2_H */
