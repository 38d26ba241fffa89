/* SPDX-License-Identifier: MIT */
/*
 * tpm2 - secrets that a TPM 2.0 keeps: 32 random bytes, sealed under the storage
 * root key of the TPM, which gives them back only while chosen PCRs are what
 * they were, and to who knows the PIN, if there is one.
 *
 * What is said to the TPM and back is encrypted for that key, whose name the slot
 * keeps: nobody on the wire reads the secret, or can pretend to be the TPM.
 *
 * Results: 0, a positive TPM2_* answer, or a negative errno.
 */
#ifndef FS_TPM2_H
#define FS_TPM2_H

#include <stdint.h>

#include "fs/vault.h"

enum {
	TPM2_ABSENT = 1, /* built without tpm2-tss */
	TPM2_NO_DEVICE,
	TPM2_DENIED,  /* it may not be used by this user */
	TPM2_OTHER,   /* it has not sealed this, or was cleared since */
	TPM2_CHANGED, /* the PCRs have */
	TPM2_NO_PCRS, /* it does not keep them with a hash that is good enough */
	TPM2_OWNED,   /* its owner has set a password */
	TPM2_PIN_NEEDED,
	TPM2_PIN_WRONG,
	TPM2_LOCKED, /* after wrong ones; for some time */
	TPM2_FAILED,
};

#define TPM2_AUTO "auto" /* a device: the TPM of this machine */

enum {
	TPM2_SEALED_SIZE = 32,
	TPM2_SECRET_MAX = 2 * TPM2_SEALED_SIZE,
};

/* How many bytes the secret of such a slot has: what was sealed, and with a PIN as much of that. */
static inline size_t tpm2_secret_size(const struct vault_tpm2 *tpm2)
{
	return tpm2->has_pin ? TPM2_SECRET_MAX : TPM2_SEALED_SIZE;
}

struct tpm2_request {
	const char *device; /* TPM2_AUTO, a path, or as the tctildr of tpm2-tss wants it */
	uint32_t pcrs;
	const char *pin; /* or NULL */
};

/* In secmem. */
struct tpm2_sealed {
	struct vault_tpm2 params;
	uint8_t secret[TPM2_SECRET_MAX]; /* tpm2_secret_size() of them */
	uint32_t unused;		 /* PCRs among those chosen that nothing has changed yet */
};

/* Draw a secret and have it sealed. */
int tpm2_seal(const struct tpm2_request *q, struct tpm2_sealed *sealed);

/*
 * The secret again, in secmem.  Whether it is the right TPM in the right state comes out first:
 * without a PIN, where there is one, the answer is TPM2_PIN_NEEDED only then.
 */
int tpm2_secret(const char *device, const char *pin, const struct vault_tpm2 *params,
		uint8_t secret[TPM2_SECRET_MAX]);

/* "why (what to do)"; valid until the next call of this thread. */
const char *tpm2_message(int r);

/* For tpm2_message(TPM2_FAILED): what the TPM, or its library, said. */
void tpm2_why_set(const char *said);

#endif /* FS_TPM2_H */
