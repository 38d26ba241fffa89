/* SPDX-License-Identifier: MIT */
/* strength - a hint for who chooses a passphrase that is easily guessed. */
#ifndef CLI_STRENGTH_H
#define CLI_STRENGTH_H

#include "fs/vault.h"

/*
 * Log one line if secret is a new passphrase that cracklib knows how to guess.
 * Never more than that: where it, its dictionary or memory is missing, nothing.
 */
void strength_hint(const struct vault_secret *secret);

#endif /* CLI_STRENGTH_H */
