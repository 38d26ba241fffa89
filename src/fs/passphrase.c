/* SPDX-License-Identifier: MIT */
/*
 * Sources of secrets: see passphrase.h for the contract.
 *
 * A secret is read straight into the memory it stays in.  One byte more than
 * allowed fits, which is how a secret that is too long shows.
 */
#include "fs/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"
#include "fs/exitcode.h"
#include "fs/kernel_key.h"
#include "fs/terminal.h"
#include "fs/token.h"

#define ASKER "systemd-ask-password"

enum {
	TRIES = 3,
};

struct buffer {
	uint8_t bytes[VAULT_PASSPHRASE_MAX + 1];
};

/* ---- lines ------------------------------------------------------------- */

static int check_size(ssize_t size)
{
	if (size < 0)
		return (int)size;
	if (size == 0)
		return PASSPHRASE_EMPTY;
	return size > VAULT_PASSPHRASE_MAX ? PASSPHRASE_TOO_LONG : 0;
}

/* One byte at a time: what follows the line belongs to others. */
static ssize_t read_line(int fd, struct buffer *line)
{
	size_t size = 0;

	while (size < sizeof(line->bytes)) {
		ssize_t n = read(fd, line->bytes + size, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0 || line->bytes[size] == '\n')
			break;
		size++;
	}
	return (ssize_t)size;
}

/* ---- files ------------------------------------------------------------- */

static void warn_if_readable(int fd, const char *path)
{
	struct stat st;

	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)))
		log_warn("%s can be read by other users (chmod 600 it)", path);
}

static ssize_t read_passfile(const char *path, struct buffer *line)
{
	ssize_t size;
	int fd;

	if (strcmp(path, "-") == 0)
		return read_line(STDIN_FILENO, line);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	warn_if_readable(fd, path);
	size = read_line(fd, line);
	fdio_close(fd);
	return size;
}

/* 0, *size and the line, or PASSPHRASE_UNPASSED.  The directory is the service manager's to name.
 */
static int read_credential(const char *name, struct buffer *line, ssize_t *size)
{
	const char *path = getenv("CREDENTIALS_DIRECTORY");
	int dirfd;
	int fd;

	if (!path || path[0] != '/' || !*name || strchr(name, '/') || name[0] == '.')
		return PASSPHRASE_UNPASSED;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	fdio_close(dirfd);
	if (fd < 0)
		return errno == ENOENT ? PASSPHRASE_UNPASSED : -errno;
	*size = read_line(fd, line);
	fdio_close(fd);
	return 0;
}

static ssize_t read_keyfile(const char *path, struct buffer *content)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t size;

	if (fd < 0)
		return -errno;
	warn_if_readable(fd, path);
	size = fdio_read_all(fd, content->bytes, sizeof(content->bytes));
	fdio_close(fd);
	return size == -EFBIG ? (ssize_t)sizeof(content->bytes) : size;
}

static ssize_t read_keyring(const char *name, struct buffer *content)
{
	ssize_t size = kernel_key_read(name, content->bytes, sizeof(content->bytes));

	return size > (ssize_t)sizeof(content->bytes) ? (ssize_t)sizeof(content->bytes) : size;
}

/* ---- programs ---------------------------------------------------------- */

/* Let a program that prints more than a line end in peace. */
static void drain(int fd)
{
	char rest[256];
	ssize_t n;

	do {
		n = read(fd, rest, sizeof(rest));
	} while (n > 0 || (n < 0 && errno == EINTR));
	secmem_wipe(rest, sizeof(rest));
}

/* Start argv with its standard output in a pipe: 0, *pid and *fd, or -errno. */
static int start(const char *path, char *const argv[], pid_t *pid, int *fd)
{
	posix_spawn_file_actions_t actions;
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	r = -posix_spawn_file_actions_init(&actions);
	if (!r) {
		r = -posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (!r)
			r = -posix_spawn(pid, path, &actions, NULL, argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions); /* memory only */
	}
	fdio_close(ends[1]);
	if (r)
		fdio_close(ends[0]);
	else
		*fd = ends[0];
	return r;
}

/* 0, PASSPHRASE_REFUSED or -errno. */
static int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : PASSPHRASE_REFUSED;
}

/* The first line that a program prints: *size, and 0, PASSPHRASE_* or -errno. */
static int read_program(const char *path, char *const argv[], struct buffer *line, ssize_t *size)
{
	pid_t pid = -1;
	int fd = -1;
	int r = start(path, argv, &pid, &fd);

	if (r)
		return r;
	*size = read_line(fd, line);
	drain(fd);
	fdio_close(fd);
	return reap(pid);
}

static int read_extpass(const char *command, struct buffer *line, ssize_t *size)
{
	/* argv is not written to by anyone. */
	char *const argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			       (char *)(uintptr_t)command, NULL };

	return read_program("/bin/sh", argv, line, size);
}

/* ---- asking ------------------------------------------------------------ */

/* Only where systemd runs is there somebody whom it asks. */
static const char *asker_path(void)
{
	static const char *const paths[] = { "/usr/bin/" ASKER, "/bin/" ASKER };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!access("/run/systemd/system", F_OK) && !access(paths[i], X_OK))
			return paths[i];
	return NULL;
}

/* Several may be asking at a time, as at boot: each says for which vault. */
static int ask_agent(const char *path, const struct passphrase_source *source, const char *prompt,
		     struct buffer *line, ssize_t *size)
{
	const char *vault = source->vault ? source->vault : "";
	char id[PATH_MAX + sizeof("--id=cryptfs:")];
	char question[PATH_MAX + 256];
	char *const argv[] = {
		(char *)(uintptr_t)ASKER, id,	    (char *)(uintptr_t) "--icon=drive-harddisk",
		(char *)(uintptr_t) "--", question, NULL
	};

	(void)snprintf(id, sizeof(id), "--id=cryptfs%s%s", *vault ? ":" : "", vault);
	(void)snprintf(question, sizeof(question), "%s%s%s:", prompt, *vault ? " for " : "", vault);
	log_info("no terminal: asking through " ASKER
		 " (to answer: systemd-tty-ask-password-agent)");
	return read_program(path, argv, line, size);
}

static int ask(const struct passphrase_source *source, const char *prompt, struct buffer *line,
	       ssize_t *size)
{
	const char *agent;

	*size = terminal_ask(prompt, line->bytes, sizeof(line->bytes));
	if (*size != -ENXIO)
		return 0;
	agent = asker_path();
	return agent ? ask_agent(agent, source, prompt, line, size) : PASSPHRASE_NOWHERE;
}

static int ask_again(const struct passphrase_source *source, const struct buffer *first,
		     ssize_t size)
{
	struct buffer *second = secmem_new(sizeof(*second));
	ssize_t second_size = 0;
	int r;

	if (!second)
		return -ENOMEM;
	r = ask(source, "Repeat it", second, &second_size);
	if (!r && second_size < 0)
		r = (int)second_size;
	if (!r && (second_size != size || !secmem_equal(first->bytes, second->bytes, (size_t)size)))
		r = PASSPHRASE_MISMATCH;
	secmem_free(second);
	return r;
}

static int ask_person(const struct passphrase_source *source, struct buffer *line, ssize_t *size)
{
	int r = ask(source, source->prompt ? source->prompt : "Passphrase", line, size);

	if (!r)
		r = check_size(*size);
	if (!r && source->confirm)
		r = ask_again(source, line, *size);
	return r;
}

/* ---- the door ---------------------------------------------------------- */

bool passphrase_is_asked(const struct passphrase_source *source)
{
	return !source->passfile && !source->extpass && !source->keyfile && !source->keyring &&
	       !source->credential && !source->fido2 && !source->tpm2;
}

int passphrase_get(const struct passphrase_source *source, struct vault_secret *secret)
{
	struct buffer *buffer = secmem_new(sizeof(*buffer));
	ssize_t size = 0;
	int r = 0;

	*secret = (struct vault_secret){ 0 };
	if (!buffer)
		return -ENOMEM;
	if (source->passfile)
		size = read_passfile(source->passfile, buffer);
	else if (source->extpass)
		r = read_extpass(source->extpass, buffer, &size);
	else if (source->keyfile)
		size = read_keyfile(source->keyfile, buffer);
	else if (source->keyring)
		size = read_keyring(source->keyring, buffer);
	else if (source->credential)
		r = read_credential(source->credential, buffer, &size);
	else
		r = ask_person(source, buffer, &size);
	if (!r)
		r = check_size(size);
	if (r) {
		secmem_free(buffer);
		return r;
	}
	buffer->bytes[size] = '\0'; /* for who needs a string; there is room */
	*secret = (struct vault_secret){
		.bytes = buffer->bytes,
		.size = (size_t)size,
		.kind = source->keyfile && !source->passfile && !source->extpass ? VAULT_KEYFILE
										 : VAULT_PASSPHRASE,
	};
	return 0;
}

void passphrase_free(struct vault_secret *secret)
{
	secmem_free((void *)(uintptr_t)secret->bytes); /* what secmem_new gave */
	*secret = (struct vault_secret){ 0 };
}

const char *passphrase_message(int r)
{
	switch (r) {
	case PASSPHRASE_EMPTY:
		return "it is empty (give at least one character)";
	case PASSPHRASE_TOO_LONG:
		return "it is longer than 4096 bytes (give a shorter one)";
	case PASSPHRASE_MISMATCH:
		return "the two entries differ (try again)";
	case PASSPHRASE_REFUSED:
		return "the program that was asked for it failed (run it by hand to see why)";
	case PASSPHRASE_NOWHERE:
		return "no terminal to ask on (use passfile, extpass or keyfile)";
	case PASSPHRASE_UNPASSED:
		return "systemd passed none of that name (LoadCredential= in the unit)";
	case -ENOKEY:
		return "no such key (add it: keyctl padd user NAME @u)";
	default:
		return strerror(-r);
	}
}

int passphrase_report(const struct passphrase_source *source, int r)
{
	const char *from = "the terminal";

	if (source->passfile)
		from = strcmp(source->passfile, "-") ? source->passfile : "standard input";
	else if (source->extpass)
		from = "extpass";
	else if (source->keyfile)
		from = source->keyfile;
	else if (source->keyring)
		from = "the kernel's keyring";
	else if (source->credential)
		from = "the credentials";
	log_error("no passphrase from %s: %s", from, passphrase_message(r));
	return r < 0 || r >= PASSPHRASE_REFUSED ? STATUS_SYSTEM : STATUS_WRONG_KEY;
}

/* ---- unlocking ----------------------------------------------------------- */

int passphrase_unlock_by(struct vault *v, const char *path, const struct passphrase_source *source,
			 struct vault_secret *secret)
{
	struct passphrase_source for_vault = *source;
	int tries = passphrase_is_asked(source) ? TRIES : 1;

	if (source->fido2 || source->tpm2)
		return token_unlock(v, path, source, secret);
	for_vault.vault = path;
	for (;;) {
		int r = passphrase_get(&for_vault, secret);

		if (r)
			return passphrase_report(source, r);
		r = vault_unlock(v, secret);
		if (!r)
			return STATUS_OK;
		passphrase_free(secret);
		(void)exitcode_report_vault("unlock", path, r);
		if (r != VAULT_WRONG_KEY || --tries == 0)
			return exitcode_of_vault(r);
	}
}

int passphrase_unlock(struct vault *v, const char *path, const struct passphrase_source *source)
{
	struct vault_secret secret;
	int status = passphrase_unlock_by(v, path, source, &secret);

	if (!status)
		passphrase_free(&secret);
	return status;
}
