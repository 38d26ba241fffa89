/* SPDX-License-Identifier: MIT */
/* Without cracklib: see strength.h for the contract. */
#include "cli/strength.h"

void strength_hint(const struct vault_secret *secret)
{
	(void)secret;
}
