/* SPDX-License-Identifier: MIT */
/* Reasons of failures: see vault_why.h for the contract. */
#include "fs/vault_why.h"

#include <stdarg.h>
#include <stdio.h>

#include "fs/vault.h"

static _Thread_local char reason[256];

void vault_why_set(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(reason, sizeof(reason), format, args); /* cut is fine */
	va_end(args);
}

void vault_why_clear(void)
{
	reason[0] = '\0';
}

const char *vault_why(void)
{
	return reason[0] ? reason : NULL;
}
