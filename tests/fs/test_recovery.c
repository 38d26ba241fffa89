/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/recovery.h"

/* https://github.com/trezor/python-mnemonic/blob/master/vectors.json */
static const struct {
	uint8_t secret[RECOVERY_SECRET_SIZE];
	const char *text;
} published[] = {
	{ { 0 },
	  "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
	  "about" },
	{ { 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f,
	    0x7f, 0x7f },
	  "legal winner thank year wave sausage worth useful legal winner thank yellow" },
	{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff },
	  "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong" },
	{ { 0x9e, 0x88, 0x5d, 0x95, 0x2a, 0xd3, 0x62, 0xca, 0xeb, 0x4e, 0xfe, 0x34, 0xa8, 0xe9,
	    0x1b, 0xd2 },
	  "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic" },
};

static int decode(const char *text, uint8_t secret[RECOVERY_SECRET_SIZE], unsigned int *unknown)
{
	return recovery_decode((const uint8_t *)text, strlen(text), secret, unknown);
}

static void agrees_with_the_published_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		uint8_t secret[RECOVERY_SECRET_SIZE];
		char text[RECOVERY_TEXT_SIZE];
		unsigned int unknown;

		recovery_encode(published[i].secret, text);
		assert_string_equal(text, published[i].text);
		assert_int_equal(decode(published[i].text, secret, &unknown), 0);
		assert_memory_equal(secret, published[i].secret, sizeof(secret));
	}
}

static void every_word_is_told_by_four_letters(void **state)
{
	(void)state;
	for (size_t i = 1; i < RECOVERY_LIST; i++)
		assert_true(strncmp(recovery_words[i - 1], recovery_words[i], 4) < 0);
}

static void accepts_what_people_type(void **state)
{
	uint8_t secret[RECOVERY_SECRET_SIZE];
	unsigned int unknown;

	(void)state;
	assert_int_equal(
		decode("  Ozone DRIL grab\tfibe\ncurt grac pudd than crui elde eigh picn\r\n",
		       secret, &unknown),
		0);
	assert_memory_equal(secret, published[3].secret, sizeof(secret));
}

static void names_the_word_that_is_wrong(void **state)
{
	static const uint8_t zeros[RECOVERY_SECRET_SIZE];
	uint8_t secret[RECOVERY_SECRET_SIZE];
	unsigned int unknown;

	(void)state;
	assert_int_equal(decode("ozone drill grab fibre curtain grace pudding thank cruise elder "
				"eight picnic",
				secret, &unknown),
			 RECOVERY_UNKNOWN);
	assert_int_equal(unknown, 4);
	assert_memory_equal(secret, zeros, sizeof(secret));
	assert_int_equal(decode("drill ozone grab fiber curtain grace pudding thank cruise elder "
				"eight picnic",
				secret, &unknown),
			 RECOVERY_MISTAKEN);
	assert_memory_equal(secret, zeros, sizeof(secret));
}

static void leaves_other_texts_alone(void **state)
{
	static const char *const others[] = {
		"",
		"   ",
		"correct horse battery staple",
		"one two three four five six seven eight nine ten eleven twelve",
		"ozone drill grab fiber curtain grace pudding thank cruise elder eight",
		"ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic zoo",
		"oz dr gr fi cu gr pu th cr el ei pi",
	};
	uint8_t secret[RECOVERY_SECRET_SIZE];
	unsigned int unknown;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(decode(others[i], secret, &unknown), RECOVERY_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_published_vectors),
		cmocka_unit_test(every_word_is_told_by_four_letters),
		cmocka_unit_test(accepts_what_people_type),
		cmocka_unit_test(names_the_word_that_is_wrong),
		cmocka_unit_test(leaves_other_texts_alone),
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
