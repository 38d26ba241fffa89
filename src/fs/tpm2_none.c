/* SPDX-License-Identifier: MIT */
/* Without tpm2-tss: see tpm2.h for the contract. */
#include "fs/tpm2.h"

int tpm2_seal(const struct tpm2_request *q, struct tpm2_sealed *sealed)
{
	(void)q;
	(void)sealed;
	return TPM2_ABSENT;
}

int tpm2_secret(const char *device, const char *pin, const struct vault_tpm2 *params,
		uint8_t secret[TPM2_SECRET_MAX])
{
	(void)device;
	(void)pin;
	(void)params;
	(void)secret;
	return TPM2_ABSENT;
}
