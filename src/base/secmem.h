/* SPDX-License-Identifier: MIT */
/*
 * secmem - small pieces of memory for secrets: locked as far as the limits
 * allow, between guard pages, left out of core dumps, wiped when freed.
 */
#ifndef BASE_SECMEM_H
#define BASE_SECMEM_H

#include <stddef.h>

/* size zeroed bytes, or NULL. */
void *secmem_new(size_t size);

/* Wipe and free; NULL is fine. */
void secmem_free(void *p);

/* Overwrite size bytes with zeros in a way no compiler removes. */
void secmem_wipe(void *p, size_t size);

/* Wipe what calls that have returned left on this thread's stack: some pages of it. */
void secmem_wipe_stack(void);

/* True if the two pieces are the same, in time that does not tell where not. */
int secmem_equal(const void *a, const void *b, size_t size);

/*
 * Make this process a poor place to steal from: no core dumps, not traceable
 * by its own user.  0 or -errno.
 */
int secmem_harden_process(void);

#endif /* BASE_SECMEM_H */
