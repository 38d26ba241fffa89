/* SPDX-License-Identifier: MIT */
/* enroll - new slots for devices: security keys and TPMs. */
#ifndef CLI_ENROLL_H
#define CLI_ENROLL_H

#include "fs/passphrase.h"

/* PCR 7: with whose signature the firmware started what is running. */
#define ENROLL_PCRS ((uint32_t)1 << 7)

struct enroll {
	const char *label; /* NULL: what kind it is */
	const char *fido2; /* the device; of these two exactly one */
	const char *tpm2;
	uint32_t pcrs; /* of the TPM */
	bool has_pcrs; /* they were given */
	bool pin;      /* the TPM is to want one */
};

/* "0+7" or "none": 0 and *pcrs, or the exit status, said already. */
int enroll_pcrs(const char *text, uint32_t *pcrs);

/*
 * Give an unlocked vault a slot for the device; source has the new PIN of a TPM:
 * 0, or the exit status, said already.
 */
int enroll_device(struct vault *v, const char *path, const struct enroll *e,
		  const struct passphrase_source *source);

#endif /* CLI_ENROLL_H */
