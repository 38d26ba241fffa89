/* SPDX-License-Identifier: MIT */
/*
 * vault_why - the reason for vault_why() of vault.h, set where a failure is
 * found out, so that who reports it can say everything on one line.
 */
#ifndef FS_VAULT_WHY_H
#define FS_VAULT_WHY_H

/* Replace this thread's reason; cut at 255 bytes. */
void vault_why_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

void vault_why_clear(void);

#endif /* FS_VAULT_WHY_H */
