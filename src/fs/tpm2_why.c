/* SPDX-License-Identifier: MIT */
/* What the answers of tpm2.h mean to a person. */
#include "fs/tpm2.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char failure[256];

void tpm2_why_set(const char *said)
{
	(void)snprintf(failure, sizeof(failure), "the TPM failed: %s (try again; then restart it)",
		       said);
}

const char *tpm2_message(int r)
{
	switch (r) {
	case TPM2_ABSENT:
		return "this cryptfs was built without tpm2-tss (build it with it)";
	case TPM2_NO_DEVICE:
		return "no TPM there (is one switched on in the firmware? name it: --tpm2 DEVICE)";
	case TPM2_DENIED:
		return "no permission to use the TPM (join the group tss, or be root)";
	case TPM2_OTHER:
		return "this TPM did not make the slot, or was cleared since (use another key, and "
		       "make a new slot)";
	case TPM2_CHANGED:
		return "the state of the machine is not what it was: other PCRs (if that is meant "
		       "to be so, use another key, and make a new slot)";
	case TPM2_NO_PCRS:
		return "the TPM does not keep these PCRs with SHA-256, SHA-384 or SHA-512 (choose "
		       "others, or none)";
	case TPM2_OWNED:
		return "the TPM wants its owner's password (have the key 0x81000001 made "
		       "persistent: tpm2_evictcontrol)";
	case TPM2_PIN_NEEDED:
		return "the slot wants its PIN (use a terminal, or passfile)";
	case TPM2_PIN_WRONG:
		return "the PIN is wrong (try again; the TPM locks after some more)";
	case TPM2_LOCKED:
		return "the TPM is locked after wrong PINs (wait some minutes or hours, or use "
		       "another key)";
	case TPM2_FAILED:
		return failure;
	default:
		return strerror(-r);
	}
}
