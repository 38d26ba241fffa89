/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/passphrase.h"
#include "fs/terminal.h"

static char file[64];

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	(void)state;
	(void)snprintf(file, sizeof(file), "%.30s/test_passphrase.XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(file);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(file);
}

static void write_file(const void *bytes, size_t size)
{
	int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, bytes, size), size);
	(void)close(fd);
}

/* The source gives exactly these bytes. */
static void assert_gives(const struct passphrase_source *source, const char *bytes, size_t size)
{
	struct vault_secret secret;

	assert_int_equal(passphrase_get(source, &secret), 0);
	assert_int_equal(secret.size, size);
	assert_memory_equal(secret.bytes, bytes, size);
	passphrase_free(&secret);
	assert_null(secret.bytes);
}

static int answer_of(const struct passphrase_source *source)
{
	struct vault_secret secret;
	int r = passphrase_get(source, &secret);

	if (r)
		assert_null(secret.bytes);
	passphrase_free(&secret);
	return r;
}

/* ---- files ------------------------------------------------------------- */

static void a_passfile_gives_its_first_line(void **state)
{
	const struct passphrase_source source = { .passfile = file };

	(void)state;
	write_file("secret\n", 7);
	assert_gives(&source, "secret", 6);
	write_file("secret", 6);
	assert_gives(&source, "secret", 6);
	write_file("  spaces stay \r\nsecond line\n", 28);
	assert_gives(&source, "  spaces stay \r", 15);
}

static void a_passfile_may_hold_4096_bytes_and_no_more(void **state)
{
	const struct passphrase_source source = { .passfile = file };
	char line[VAULT_PASSPHRASE_MAX + 2];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[VAULT_PASSPHRASE_MAX] = '\n';
	write_file(line, sizeof(line));
	assert_gives(&source, line, VAULT_PASSPHRASE_MAX);
	line[VAULT_PASSPHRASE_MAX] = 'x';
	write_file(line, sizeof(line));
	assert_int_equal(answer_of(&source), PASSPHRASE_TOO_LONG);
}

static void an_empty_secret_is_refused(void **state)
{
	const struct passphrase_source passfile = { .passfile = file };
	const struct passphrase_source keyfile = { .keyfile = file };
	const struct passphrase_source extpass = { .extpass = "echo" };

	(void)state;
	assert_int_equal(answer_of(&passfile), PASSPHRASE_EMPTY);
	assert_int_equal(answer_of(&keyfile), PASSPHRASE_EMPTY);
	assert_int_equal(answer_of(&extpass), PASSPHRASE_EMPTY);
	write_file("\nsecond\n", 8);
	assert_int_equal(answer_of(&passfile), PASSPHRASE_EMPTY);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	const struct passphrase_source missing = { .passfile = "/nowhere/at/all" };
	const struct passphrase_source directory = { .keyfile = "/" };

	(void)state;
	assert_int_equal(answer_of(&missing), -ENOENT);
	assert_int_equal(answer_of(&directory), -EISDIR);
}

static void a_keyfile_gives_every_byte(void **state)
{
	const struct passphrase_source source = { .keyfile = file };
	char bytes[2 * VAULT_PASSPHRASE_MAX] = "\0line\nline\n";

	(void)state;
	write_file(bytes, 11);
	assert_gives(&source, bytes, 11);
	write_file(bytes, VAULT_PASSPHRASE_MAX);
	assert_gives(&source, bytes, VAULT_PASSPHRASE_MAX);
	write_file(bytes, VAULT_PASSPHRASE_MAX + 1);
	assert_int_equal(answer_of(&source), PASSPHRASE_TOO_LONG);
	write_file(bytes, sizeof(bytes));
	assert_int_equal(answer_of(&source), PASSPHRASE_TOO_LONG);
}

/* Run f with standard error in the test's file; then the file holds it. */
static void with_stderr(void (*f)(void))
{
	int saved = dup(STDERR_FILENO);
	int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);

	(void)fflush(stderr);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	f();
	(void)fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	(void)close(fd);
}

static char open_name[80];

static void use_open_passfile(void)
{
	const struct passphrase_source source = { .passfile = open_name };

	assert_gives(&source, "x", 1);
}

static void a_passfile_that_others_can_read_is_warned_of(void **state)
{
	char said[256] = "";
	int fd;

	(void)state;
	(void)snprintf(open_name, sizeof(open_name), "%s.open", file);
	fd = open(open_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "x\n", 2), 2);
	assert_int_equal(fchmod(fd, 0640), 0);
	with_stderr(use_open_passfile);
	assert_int_equal(fchmod(fd, 0600), 0);
	(void)close(fd);

	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, said, sizeof(said) - 1) > 0);
	(void)close(fd);
	assert_non_null(strstr(said, "can be read by other users"));

	with_stderr(use_open_passfile);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, said, sizeof(said)), 0);
	(void)close(fd);
	assert_int_equal(unlink(open_name), 0);
}

static void standard_input_gives_a_line_at_a_time(void **state)
{
	const struct passphrase_source source = { .passfile = "-" };
	int saved = dup(STDIN_FILENO);
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "old\nnew\n", 8), 8);
	assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
	assert_gives(&source, "old", 3);
	assert_gives(&source, "new", 3);
	(void)close(ends[0]);
	(void)close(ends[1]);
	assert_true(dup2(saved, STDIN_FILENO) >= 0);
	(void)close(saved);
}

/* ---- credentials ------------------------------------------------------- */

static void a_credential_is_a_file_where_the_service_manager_says(void **state)
{
	struct passphrase_source source = { .credential = strrchr(file, '/') + 1 };
	const struct passphrase_source path = { .credential = "../etc/passwd" };
	const struct passphrase_source hidden = { .credential = "." };
	const struct passphrase_source other = { .credential = "nobody-passed-this" };
	char directory[sizeof(file)];

	(void)state;
	write_file("of a unit\nmore\n", 15);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_int_equal(answer_of(&source), PASSPHRASE_UNPASSED);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
	assert_int_equal(answer_of(&source), PASSPHRASE_UNPASSED);
	strcpy(directory, file);
	*strrchr(directory, '/') = '\0';
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
	assert_gives(&source, "of a unit", 9);
	assert_int_equal(answer_of(&path), PASSPHRASE_UNPASSED);
	assert_int_equal(answer_of(&hidden), PASSPHRASE_UNPASSED);
	assert_int_equal(answer_of(&other), PASSPHRASE_UNPASSED);
	assert_false(passphrase_is_asked(&source));
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

/* ---- programs ---------------------------------------------------------- */

static void a_program_gives_the_first_line_it_prints(void **state)
{
	const struct passphrase_source one = { .extpass = "echo 'a  secret'" };
	const struct passphrase_source many = { .extpass = "seq 100000" };

	(void)state;
	assert_gives(&one, "a  secret", 9);
	assert_gives(&many, "1", 1);
}

static void a_program_that_fails_gives_nothing(void **state)
{
	const struct passphrase_source fails = { .extpass = "echo secret; exit 3" };
	const struct passphrase_source dies = { .extpass = "echo secret; kill -9 $$" };
	const struct passphrase_source missing = { .extpass = "/nowhere/at/all 2>/dev/null" };

	(void)state;
	assert_int_equal(answer_of(&fails), PASSPHRASE_REFUSED);
	assert_int_equal(answer_of(&dies), PASSPHRASE_REFUSED);
	assert_int_equal(answer_of(&missing), PASSPHRASE_REFUSED);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* none is left to reap */
	assert_int_equal(errno, ECHILD);
}

static void the_first_source_given_counts(void **state)
{
	const struct passphrase_source all = { .passfile = file,
					       .extpass = "echo program",
					       .keyfile = file };
	const struct passphrase_source two = { .extpass = "echo program", .keyfile = file };

	(void)state;
	write_file("file\n", 5);
	assert_gives(&all, "file", 4);
	assert_gives(&two, "program", 7);
	assert_false(passphrase_is_asked(&two));
}

/* ---- the terminal ------------------------------------------------------ */

/* A child on a terminal of its own, whose other end is fd. */
struct session {
	pid_t pid;
	int fd;
	char shown[1024]; /* all that appeared on the screen */
	size_t size;
};

static void session_start(struct session *s, int (*child)(void))
{
	memset(s, 0, sizeof(*s));
	s->pid = forkpty(&s->fd, NULL, NULL, NULL);
	assert_true(s->pid >= 0);
	if (s->pid == 0)
		_exit(child());
}

/* Read the screen until text is on it n times. */
static void session_expect(struct session *s, const char *text, int n)
{
	for (;;) {
		int found = 0;
		ssize_t r;

		for (const char *at = s->shown; (at = strstr(at, text)); at++)
			found++;
		if (found >= n)
			return;
		r = read(s->fd, s->shown + s->size, sizeof(s->shown) - 1 - s->size);
		if (r <= 0)
			fail_msg("\"%s\" did not appear, but: %s", text, s->shown);
		s->size += (size_t)r;
	}
}

static void session_type(const struct session *s, const char *text)
{
	assert_int_equal(write(s->fd, text, strlen(text)), strlen(text));
}

/* The child's wait status; the rest of the screen is read first. */
static int session_end(struct session *s)
{
	int status;
	ssize_t n;

	while ((n = read(s->fd, s->shown + s->size, sizeof(s->shown) - 1 - s->size)) > 0)
		s->size += (size_t)n;
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	(void)close(s->fd);
	return status;
}

static bool echo_is_on(void)
{
	struct termios settings;

	return !tcgetattr(STDIN_FILENO, &settings) && (settings.c_lflag & ECHO);
}

static int ask_twice(void)
{
	const struct passphrase_source source = { .prompt = "Say it", .confirm = true };
	struct vault_secret secret;
	int r = passphrase_get(&source, &secret);

	if (!r && (secret.size != 6 || memcmp(secret.bytes, "s3cret", 6) != 0))
		r = 99;
	if (!echo_is_on())
		r = 98;
	passphrase_free(&secret);
	return r;
}

static void what_is_typed_is_never_shown(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_twice);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "s3cret\n");
	session_expect(&s, "Repeat it: ", 1);
	session_type(&s, "s3cret\n");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_null(strstr(s.shown, "s3cret"));
}

static void two_different_entries_are_refused(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_twice);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "s3cret\n");
	session_expect(&s, "Repeat it: ", 1);
	session_type(&s, "secret\n");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), PASSPHRASE_MISMATCH);
}

static void an_empty_line_is_not_asked_for_twice(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_twice);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "\n");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), PASSPHRASE_EMPTY);
	assert_null(strstr(s.shown, "Repeat"));
}

/* Asks in a child of its own, so that somebody sees the terminal afterwards. */
static int ask_and_be_interrupted(void)
{
	char data[16];
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(terminal_ask("Say it", data, sizeof(data)) < 0);
	(void)signal(SIGINT, SIG_IGN);
	if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGINT)
		return 97;
	return echo_is_on() ? 0 : 98;
}

static void an_interrupt_ends_the_asking_and_restores_the_terminal(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_and_be_interrupted);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "s3cr\003");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void handle(int number)
{
	(void)number;
}

static int ask_with_a_handler(void)
{
	const struct sigaction action = { .sa_handler = handle };
	char data[16];

	(void)sigaction(SIGINT, &action, NULL);
	if (terminal_ask("Say it", data, sizeof(data)) != -EINTR)
		return 97;
	return echo_is_on() ? 0 : 98;
}

static void a_caller_that_handles_the_signal_hears_of_it(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_with_a_handler);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "\003");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A shell of one job: stopped, it is continued once, with the echo back on. */
static int ask_and_be_stopped(void)
{
	char data[16];
	int status;
	pid_t child = fork();

	if (child == 0) {
		(void)setpgid(0, 0);
		(void)signal(SIGTTOU, SIG_IGN);
		(void)tcsetpgrp(STDIN_FILENO, getpid());
		(void)signal(SIGTTOU, SIG_DFL);
		_exit(terminal_ask("Say it", data, sizeof(data)) != 6);
	}
	if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status))
		return 97;
	if (!echo_is_on())
		return 98;
	(void)kill(child, SIGCONT);
	if (waitpid(child, &status, 0) != child)
		return 96;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 95;
}

static void a_stopped_process_asks_again(void **state)
{
	struct session s;
	int status;

	(void)state;
	session_start(&s, ask_and_be_stopped);
	session_expect(&s, "Say it: ", 1);
	session_type(&s, "\032");
	session_expect(&s, "Say it: ", 2);
	session_type(&s, "s3cret\n");
	status = session_end(&s);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_a_terminal_there_is_nobody_to_ask(void **state)
{
	char data[16];
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		(void)setsid();
		_exit(terminal_ask("Say it", data, sizeof(data)) != -ENXIO);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void every_answer_has_a_message(void **state)
{
	(void)state;
	for (int r = PASSPHRASE_EMPTY; r <= PASSPHRASE_UNPASSED; r++)
		assert_true(strlen(passphrase_message(r)) > 10);
	assert_string_equal(passphrase_message(-ENOENT), strerror(ENOENT));
}

#define P(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- the kernel's keyrings --------------------------------------------- */

static void a_key_of_the_kernel_gives_its_payload(void **state)
{
	const struct passphrase_source source = { .keyring = "cryptfs:test_passphrase" };
	long key;

	(void)state;
	if (answer_of(&source) != -ENOKEY)
		skip(); /* containers may have no keyrings */
	assert_non_null(strstr(passphrase_message(-ENOKEY), "keyctl padd"));
	key = syscall(SYS_add_key, "user", source.keyring, "two\nlines", 9,
		      KEY_SPEC_PROCESS_KEYRING);
	assert_true(key >= 0);
	assert_gives(&source, "two\nlines", 9);
	assert_int_equal(syscall(SYS_keyctl, KEYCTL_REVOKE, key), 0);
	assert_int_equal(answer_of(&source), -ENOKEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		P(a_passfile_gives_its_first_line),
		P(a_passfile_may_hold_4096_bytes_and_no_more),
		P(an_empty_secret_is_refused),
		P(a_file_that_cannot_be_read_is_an_error),
		P(a_keyfile_gives_every_byte),
		P(a_key_of_the_kernel_gives_its_payload),
		P(a_credential_is_a_file_where_the_service_manager_says),
		P(a_passfile_that_others_can_read_is_warned_of),
		P(standard_input_gives_a_line_at_a_time),
		P(a_program_gives_the_first_line_it_prints),
		P(a_program_that_fails_gives_nothing),
		P(the_first_source_given_counts),
		cmocka_unit_test(what_is_typed_is_never_shown),
		cmocka_unit_test(two_different_entries_are_refused),
		cmocka_unit_test(an_empty_line_is_not_asked_for_twice),
		cmocka_unit_test(an_interrupt_ends_the_asking_and_restores_the_terminal),
		cmocka_unit_test(a_caller_that_handles_the_signal_hears_of_it),
		cmocka_unit_test(a_stopped_process_asks_again),
		cmocka_unit_test(without_a_terminal_there_is_nobody_to_ask),
		cmocka_unit_test(every_answer_has_a_message),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("passphrase", tests, NULL, NULL);
}
