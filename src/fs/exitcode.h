/* SPDX-License-Identifier: MIT */
/*
 * exitcode - the exit statuses of every program of cryptfs, and the one line
 * that goes with a failure: "cryptfs: what failed: why (what to do)".
 */
#ifndef FS_EXITCODE_H
#define FS_EXITCODE_H

/* Stable: they are in the man pages. */
enum {
	STATUS_OK = 0,
	STATUS_USAGE = 1,
	STATUS_SYSTEM = 2,
	STATUS_NOT_FOUND = 3,	/* vault not found or not a vault */
	STATUS_WRONG_KEY = 4,	/* wrong passphrase or key */
	STATUS_DAMAGED = 5,	/* vault damaged or tampered with */
	STATUS_IN_USE = 6,	/* vault in use, mount busy, or a rotation unfinished */
	STATUS_MOUNTPOINT = 7,	/* mountpoint unusable */
	STATUS_FSCK_DAMAGE = 8, /* fsck found damage */
};

/* The exit status for an answer of vault.h: 0, VAULT_* or -errno. */
int exitcode_of_vault(int r);

/* "why (what to do)" for the last failure of vault.h; valid until the next call into it. */
const char *exitcode_vault_message(int r);

/* Log "cannot VERB PATH: why (what to do)" and return the exit status. */
int exitcode_report_vault(const char *verb, const char *path, int r);

#endif /* FS_EXITCODE_H */
