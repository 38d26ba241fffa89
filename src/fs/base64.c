/* SPDX-License-Identifier: MIT */
/* URL-safe base64: see base64.h for the contract. */
#include "fs/base64.h"

#include <errno.h>
#include <sodium.h>

void base64_encode(const uint8_t *raw, size_t size, char *text)
{
	(void)sodium_bin2base64(text, BASE64_SIZE(size) + 1, raw, size,
				sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* libsodium 1.0.18 takes every byte above 127 for a '_'. */
static int is_ascii(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] > 127)
			return 0;
	return 1;
}

int base64_decode(const char *text, size_t text_size, uint8_t *raw, size_t room, size_t *size)
{
	/* libsodium refuses left-over bits, so no second text means the same. */
	if (!is_ascii(text, text_size) ||
	    sodium_base642bin(raw, room, text, text_size, NULL, size, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING))
		return -EINVAL;
	return 0;
}
