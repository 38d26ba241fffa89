/* SPDX-License-Identifier: MIT */
/* Without libfido2: see fido2.h for the contract. */
#include "fs/fido2.h"

int fido2_enroll(const char *device, const char *pin, struct vault_token *token)
{
	(void)device;
	(void)pin;
	(void)token;
	return FIDO2_ABSENT;
}

int fido2_secret(const char *device, const char *pin, const struct vault_token *token,
		 uint8_t secret[FIDO2_SECRET_SIZE])
{
	(void)device;
	(void)pin;
	(void)token;
	(void)secret;
	return FIDO2_ABSENT;
}
