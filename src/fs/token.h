/* SPDX-License-Identifier: MIT */
/*
 * token - slots that a device opens, a security key or a TPM: which slot it is,
 * and the PIN that it may want.
 *
 * The answers are those of fido2.h or tpm2.h, by the kind of the slot.
 */
#ifndef FS_TOKEN_H
#define FS_TOKEN_H

#include "fs/passphrase.h"

/* The kind of slot that source names a device for: VAULT_FIDO2 or VAULT_TPM2. */
enum vault_kind token_kind(const struct passphrase_source *source);

/*
 * Do something with such a device, without a PIN, and if it wants one with what
 * source gives beside the device; a person has three tries.  What it answered last.
 */
int token_with_pin(const struct passphrase_source *source, int (*what)(void *arg, const char *pin),
		   void *arg);

/* The secret of one slot of that kind, for the caller to free. */
int token_secret(const struct vault_slot_info *slot, const struct passphrase_source *source,
		 struct vault_secret *secret);

/* The secret of the first slot of that kind whose device gives one; a touch is asked for. */
int token_find(const struct vault_info *info, const struct passphrase_source *source,
	       struct vault_secret *secret);

/* True if such an answer means that another slot, or another device, may do. */
bool token_goes_on(enum vault_kind kind, int r);

/* Log "cannot VERB PATH: why (what to do)" for such an answer; the exit status. */
int token_report(const char *verb, const char *path, enum vault_kind kind, int r);

/* passphrase_unlock_by for such a source. */
int token_unlock(struct vault *v, const char *path, const struct passphrase_source *source,
		 struct vault_secret *secret);

#endif /* FS_TOKEN_H */
