/* SPDX-License-Identifier: MIT */
/*
 * secrets - what the commands that change key slots share: the options that
 * say which key opens the vault and which one is new, and opening it.
 */
#ifndef CLI_SECRETS_H
#define CLI_SECRETS_H

#include <getopt.h>

#include "fs/passphrase.h"

struct secrets {
	struct passphrase_source old;
	struct passphrase_source new;
	struct vault_kdf kdf; /* of the new one */
};

/* Entries of a struct option array. */
/* clang-format off */
#define SECRETS_OLD \
	{ "passfile", required_argument, NULL, 'p' }, \
	{ "extpass", required_argument, NULL, 'e' }, \
	{ "keyfile", required_argument, NULL, 'k' }, \
	{ "keyring", required_argument, NULL, 'n' }, \
	{ "credential", required_argument, NULL, 'D' }, \
	{ "fido2", required_argument, NULL, 'T' }, \
	{ "tpm2", required_argument, NULL, 'Y' }
#define SECRETS_NEW \
	{ "new-passfile", required_argument, NULL, 'P' }, \
	{ "new-extpass", required_argument, NULL, 'E' }, \
	{ "new-keyfile", required_argument, NULL, 'K' }, \
	{ "kdf-memory", required_argument, NULL, 'm' }, \
	{ "kdf-operations", required_argument, NULL, 'o' }
/* clang-format on */

/* What both begin with: a person is asked. */
void secrets_init(struct secrets *s);

/* Take one of these options: 0, or the exit status, said already. */
int secrets_apply(int option, const char *value, struct secrets *s);

/* Open path for changing its slots, by s->old: 0, or the exit status, said already. */
int secrets_unlock(const char *path, const struct secrets *s, struct vault **v);

/*
 * Give an unlocked vault a recovery slot, and show its words on standard output:
 * 0, or the exit status, said already.
 */
int secrets_add_recovery(struct vault *v, const char *path, const char *label);

#endif /* CLI_SECRETS_H */
