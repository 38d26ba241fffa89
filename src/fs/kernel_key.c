/* SPDX-License-Identifier: MIT */
/* Secrets in the kernel's keyrings: see kernel_key.h.  The C library has no wrappers. */
#include "fs/kernel_key.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t kernel_key_read(const char *name, uint8_t *data, size_t size)
{
	long key = syscall(SYS_request_key, "user", name, NULL, 0);
	ssize_t n;

	if (key >= 0) {
		n = syscall(SYS_keyctl, KEYCTL_READ, key, data, size);
		if (n >= 0)
			return n;
	}
	return errno == EKEYEXPIRED || errno == EKEYREVOKED ? -ENOKEY : -errno;
}
