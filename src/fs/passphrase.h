/* SPDX-License-Identifier: MIT */
/*
 * passphrase - where secrets come from: a file, a program, a keyfile, the
 * kernel's keyrings, systemd's credentials, the system's password agent or the
 * terminal.  Never an argument.
 *
 * Results: 0, a positive PASSPHRASE_* answer, or a negative errno.
 */
#ifndef FS_PASSPHRASE_H
#define FS_PASSPHRASE_H

#include <stdbool.h>

#include "fs/vault.h"

enum {
	PASSPHRASE_EMPTY = 1,
	PASSPHRASE_TOO_LONG, /* more than VAULT_PASSPHRASE_MAX bytes */
	PASSPHRASE_MISMATCH, /* the repetition differs */
	PASSPHRASE_REFUSED,  /* the program failed, or nobody answered it */
	PASSPHRASE_NOWHERE,  /* no source given, and nobody to ask */
	PASSPHRASE_UNPASSED, /* systemd passed no credentials, or the name is none */
};

/* The first one that is set counts; none: ask. */
struct passphrase_source {
	const char *passfile; /* first line of this file; "-": of standard input */
	const char *extpass;  /* first line that this shell command prints */
	const char *keyfile;  /* all of this file */
	const char *keyring;  /* the key of this name in the kernel's keyrings */
	/* First line of the systemd credential of this name: systemd.exec(5). */
	const char *credential;
	/* A security key, or a TPM, for a vault's slot; then the others are for its PIN. */
	const char *fido2;
	const char *tpm2;
	const char *prompt; /* NULL: "Passphrase" */
	const char *vault;  /* which one it is for, where that cannot be seen; may be NULL */
	bool confirm;	    /* ask twice; asking only */
};

/*
 * Get a secret, from no device, of 1 to VAULT_PASSPHRASE_MAX bytes, and a zero behind them, into
 * secmem.  Standard input is read no further than the end of the line, so that a second passphrase
 * may follow. -EINTR: a signal that the caller handles came while asking.
 */
int passphrase_get(const struct passphrase_source *source, struct vault_secret *secret);

/* Wipe and free; an empty secret is fine. */
void passphrase_free(struct vault_secret *secret);

/* True if passphrase_get asks a person, who may be asked again. */
bool passphrase_is_asked(const struct passphrase_source *source);

/* "why (what to do)" for a failure; valid until the next call. */
const char *passphrase_message(int r);

/* Log why there is no secret from source; the exit status to end with. */
int passphrase_report(const struct passphrase_source *source, int r);

/*
 * Get a secret and unlock v with it; a person has three tries.  0 or the exit
 * status to end with; one line per failure is logged, naming path.
 */
int passphrase_unlock(struct vault *v, const char *path, const struct passphrase_source *source);

/* The same; the secret that did it is the caller's to free. */
int passphrase_unlock_by(struct vault *v, const char *path, const struct passphrase_source *source,
			 struct vault_secret *secret);

#endif /* FS_PASSPHRASE_H */
