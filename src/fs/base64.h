/* SPDX-License-Identifier: MIT */
/*
 * base64 - bytes to text and back in the URL-safe alphabet without padding
 * (RFC 4648, section 5).  Each byte string has exactly one text.
 */
#ifndef FS_BASE64_H
#define FS_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters of the text of size bytes, without the zero. */
#define BASE64_SIZE(size) (((size)*4 + 2) / 3)

/* Write BASE64_SIZE(size) characters and a zero to text. */
void base64_encode(const uint8_t *raw, size_t size, char *text);

/*
 * Decode text_size characters into at most room bytes: 0 and *size, or
 * -EINVAL for anything base64_encode does not write, or too long a text.
 */
int base64_decode(const char *text, size_t text_size, uint8_t *raw, size_t room, size_t *size);

#endif /* FS_BASE64_H */
