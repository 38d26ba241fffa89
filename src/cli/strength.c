/* SPDX-License-Identifier: MIT */
/*
 * Asking cracklib: see strength.h for the contract.
 *
 * The library keeps copies of the passphrase on the stack and in static buffers
 * and wipes none.  So it is asked in a child, which has no core dumps as we
 * have none, says one line into a pipe, and takes all its memory with it.
 */
#include "cli/strength.h"

#include <crack.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"

/* What it says of itself, not of the passphrase. */
#define NO_DICTIONARY "error loading dictionary"

struct question {
	char text[VAULT_PASSPHRASE_MAX + 1];
};

__attribute__((noreturn)) static void child(const char *text, int fd)
{
	const char *answer;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)mlockall(MCL_CURRENT | MCL_FUTURE); /* as far as the limit goes */
	if (null >= 0)
		(void)dup2(null, STDERR_FILENO); /* it complains there of a missing file */
	answer = FascistCheck(text, NULL);
	if (answer && strcmp(answer, NO_DICTIONARY) != 0)
		(void)fdio_write_full(fd, answer, strlen(answer));
	_exit(0);
}

/* Its opinion, or nothing. */
static void ask(const char *text, char *answer, size_t size)
{
	ssize_t n = -1;
	int ends[2];
	pid_t pid;

	answer[0] = '\0';
	if (pipe2(ends, O_CLOEXEC))
		return;
	pid = fork();
	if (pid == 0)
		child(text, ends[1]);
	fdio_close(ends[1]);
	if (pid > 0) {
		n = fdio_read_all(ends[0], answer, size - 1);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fdio_close(ends[0]);
	answer[n > 0 ? n : 0] = '\0';
}

void strength_hint(const struct vault_secret *secret)
{
	struct question *q;
	char answer[128];

	if (secret->kind != VAULT_PASSPHRASE || secret->size > VAULT_PASSPHRASE_MAX)
		return;
	q = secmem_new(sizeof(*q));
	if (!q)
		return;
	memcpy(q->text, secret->bytes, secret->size);
	ask(q->text, answer, sizeof(answer));
	secmem_free(q);
	if (answer[0])
		log_info("hint: this passphrase is easy to guess: %s (better are several words "
			 "that have nothing to do with each other)",
			 answer);
}
