/* SPDX-License-Identifier: MIT */
/* Texts of symlinks. */
#include "fuzz.h"

#include "fs/base64.h"
#include "fs/box.h"
#include "fs/links.h"

static const uint8_t dir_id[FORMAT_DIR_ID_SIZE] = { 1, 2, 3 };
static const struct links_place here = { dir_id, "stored" };

static int open_text(const char *text, char target[LINKS_PLAIN_MAX + 1])
{
	return links_open(fuzz_keys(), CIPHER_AES_256_GCM, text, &here, target);
}

static void open_stored(const uint8_t *data, size_t size)
{
	static char text[LINKS_TEXT_MAX + 1];
	char target[LINKS_PLAIN_MAX + 1];

	fuzz_fill((uint8_t *)text, sizeof(text), data, size);
	text[LINKS_TEXT_MAX] = 0;
	CHECK(open_text(text, target) == LINKS_DAMAGED);
}

/* Any bytes, sealed as if they were a target, behind or before any text. */
static void open_sealed(int second, const uint8_t *data, size_t size)
{
	uint8_t aad[4 + FORMAT_DIR_ID_SIZE + 6] = "link";
	struct box_place box = { CIPHER_AES_256_GCM, fuzz_keys()->links, aad, sizeof(aad) };
	static uint8_t raw[BOX_OVERHEAD + LINKS_PLAIN_MAX];
	static char text[LINKS_TEXT_MAX + 1];
	char target[LINKS_PLAIN_MAX + 1];
	int good;

	memcpy(aad + 4, dir_id, sizeof(dir_id));
	memcpy(aad + 4 + sizeof(dir_id), here.stored, 6);
	size = fuzz_fill(raw + BOX_OVERHEAD, LINKS_PLAIN_MAX, data, size);
	good = size > 0 && !memchr(data, 0, size);
	CHECK(box_seal(&box, raw, size) == 0);
	base64_encode(raw, BOX_OVERHEAD + size, text);
	if (second) { /* behind one of the same size that does not open */
		size_t length = strlen(text);

		memmove(text + length + 1, text, length + 1);
		memset(text, 'A', length);
		text[length] = '.';
	}
	CHECK(open_text(text, target) == (good ? 0 : LINKS_DAMAGED));
	if (good)
		CHECK(strlen(target) == size && memcmp(target, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] % 3 == 0)
		open_stored(data + 1, size - 1);
	else
		open_sealed(data[0] % 3 == 1, data + 1, size - 1);
	return 0;
}
