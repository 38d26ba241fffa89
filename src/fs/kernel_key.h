/* SPDX-License-Identifier: MIT */
/*
 * kernel_key - secrets in the kernel's keyrings: see keyrings(7) and
 * request_key(2), whose key type "user" this is.
 */
#ifndef FS_KERNEL_KEY_H
#define FS_KERNEL_KEY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The payload of the key that this process finds under name, into data: its
 * size (more than size: cut), -ENOKEY if there is none (any more), or -errno.
 */
ssize_t kernel_key_read(const char *name, uint8_t *data, size_t size);

#endif /* FS_KERNEL_KEY_H */
