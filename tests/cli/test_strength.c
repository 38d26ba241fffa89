/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/strength.h"

/* What cracklib does, in the child that asks it. */
static const char *(*library)(const char *text);

const char *__wrap_FascistCheck(const char *text, const char *dictionary);

const char *__wrap_FascistCheck(const char *text, const char *dictionary)
{
	(void)dictionary;
	return library(text);
}

static const char *judges(const char *text)
{
	return strcmp(text, "weak") == 0 ? "it is what the test calls weak" : NULL;
}

static const char *talks_too_much(const char *text)
{
	static char long_text[5000];

	(void)text;
	memset(long_text, 'x', sizeof(long_text) - 1);
	return long_text;
}

static const char *has_no_dictionary(const char *text)
{
	(void)text;
	(void)fputs("/nowhere.pwd: No such file or directory\n", stderr);
	return "error loading dictionary";
}

static const char *ends_the_process(const char *text)
{
	(void)text;
	_exit(1);
}

static const char *dies(const char *text)
{
	(void)text;
	(void)raise(SIGKILL);
	return NULL;
}

/* What is logged when this becomes the passphrase, while cracklib does so. */
static const char *logged(const char *(*how)(const char *), const char *text, enum vault_kind kind)
{
	static char said[4096];
	const struct vault_secret secret = { (const uint8_t *)text, strlen(text), kind };
	int saved = dup(STDERR_FILENO);
	int fd = memfd_create("stderr", MFD_CLOEXEC);
	ssize_t n;

	library = how;
	(void)fflush(stderr);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	strength_hint(&secret);
	(void)fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	n = pread(fd, said, sizeof(said) - 1, 0);
	(void)close(fd);
	assert_true(n >= 0);
	said[n] = '\0';
	return said;
}

static void a_weak_passphrase_gets_one_line_that_does_not_show_it(void **state)
{
	const char *said = logged(judges, "weak", VAULT_PASSPHRASE);

	(void)state;
	assert_non_null(strstr(said, "hint: "));
	assert_non_null(strstr(said, "it is what the test calls weak"));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	assert_string_equal(logged(judges, "strong", VAULT_PASSPHRASE), "");
}

static void keyfiles_and_recovery_words_get_none(void **state)
{
	(void)state;
	assert_string_equal(logged(judges, "weak", VAULT_KEYFILE), "");
	assert_string_equal(logged(judges, "weak", VAULT_RECOVERY), "");
}

static void without_a_dictionary_there_is_no_hint_and_no_noise(void **state)
{
	(void)state;
	assert_string_equal(logged(has_no_dictionary, "weak", VAULT_PASSPHRASE), "");
}

static void a_library_that_ends_or_dies_harms_nobody(void **state)
{
	(void)state;
	assert_string_equal(logged(ends_the_process, "weak", VAULT_PASSPHRASE), "");
	assert_string_equal(logged(dies, "weak", VAULT_PASSPHRASE), "");
}

static void an_answer_too_long_is_none(void **state)
{
	(void)state;
	assert_string_equal(logged(talks_too_much, "weak", VAULT_PASSPHRASE), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_weak_passphrase_gets_one_line_that_does_not_show_it),
		cmocka_unit_test(keyfiles_and_recovery_words_get_none),
		cmocka_unit_test(without_a_dictionary_there_is_no_hint_and_no_noise),
		cmocka_unit_test(a_library_that_ends_or_dies_harms_nobody),
		cmocka_unit_test(an_answer_too_long_is_none),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("strength", tests, NULL, NULL);
}
