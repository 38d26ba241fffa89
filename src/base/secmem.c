/* SPDX-License-Identifier: MIT */
/* Memory for secrets, on libsodium's guarded heap: see secmem.h. */
#include "base/secmem.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { STACK_SIZE = 64 * 1024 }; /* more than any of our calls takes */

void *secmem_new(size_t size)
{
	void *p;

	if (sodium_init() < 0)
		return NULL;
	p = sodium_malloc(size);
	if (p)
		memset(p, 0, size);
	return p;
}

void secmem_free(void *p)
{
	sodium_free(p);
}

void secmem_wipe(void *p, size_t size)
{
	sodium_memzero(p, size);
}

void __attribute__((noinline)) secmem_wipe_stack(void)
{
	uint8_t below[STACK_SIZE];

	secmem_wipe(below, sizeof(below));
}

int secmem_equal(const void *a, const void *b, size_t size)
{
	return sodium_memcmp(a, b, size) == 0;
}

int secmem_harden_process(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none))
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	return 0;
}
