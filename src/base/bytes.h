/* SPDX-License-Identifier: MIT */
/*
 * bytes - little-endian loads and stores at any alignment.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bytes_get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t bytes_get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void bytes_put32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bytes_put64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* True when all size bytes at p are zero; time depends on the content. */
static inline int bytes_are_zero(const void *p, size_t size)
{
	const unsigned char *b = p;

	/* Each byte is the one before it, and the first is zero. */
	return !size || (!b[0] && !memcmp(b, b + 1, size - 1));
}

#endif /* BASE_BYTES_H */
