/* SPDX-License-Identifier: MIT */
/*
 * Asking on the terminal: see terminal.h for the contract.
 *
 * The signals that could leave the terminal without echo are blocked except
 * while ppoll(2) waits, where a handler only notes them.  So there is no
 * moment at which one is lost or ends the process too early; when everything
 * is as it was before, the signal is raised again for whom it was meant.
 */
#include "fs/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fdio.h"

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

enum {
	N_SIGNALS = sizeof(signals) / sizeof(signals[0]),
};

static volatile sig_atomic_t caught;

struct quiet {
	int fd;
	struct termios settings;
	sigset_t mask;
	struct sigaction actions[N_SIGNALS];
};

static void note(int signal)
{
	caught = signal;
}

static void hold_signals(struct quiet *q)
{
	const struct sigaction action = { .sa_handler = note };
	sigset_t held;

	caught = 0;
	(void)sigemptyset(&held);
	for (int i = 0; i < N_SIGNALS; i++)
		(void)sigaddset(&held, signals[i]);
	(void)pthread_sigmask(SIG_BLOCK, &held, &q->mask); /* fails for bad arguments only */
	for (int i = 0; i < N_SIGNALS; i++)
		(void)sigaction(signals[i], &action, &q->actions[i]);
}

static void release_signals(const struct quiet *q)
{
	for (int i = 0; i < N_SIGNALS; i++)
		(void)sigaction(signals[i], &q->actions[i], NULL);
	if (caught)
		(void)raise(caught); /* pending until the mask is back */
	(void)pthread_sigmask(SIG_SETMASK, &q->mask, NULL);
}

static int echo_off(struct quiet *q)
{
	struct termios silent;

	if (tcgetattr(q->fd, &q->settings))
		return -errno;
	silent = q->settings;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	silent.c_lflag |= ICANON | ISIG;
	return tcsetattr(q->fd, TCSAFLUSH, &silent) ? -errno : 0;
}

static ssize_t wait_line(const struct quiet *q, char *data, size_t size)
{
	struct pollfd input = { .fd = q->fd, .events = POLLIN };
	ssize_t n;

	if (ppoll(&input, 1, NULL, &q->mask) < 0)
		return -errno;
	n = read(q->fd, data, size);
	if (n < 0)
		return -errno;
	return n && data[n - 1] == '\n' ? n - 1 : n;
}

/* One prompt and its answer, everything as before at the end. */
static ssize_t ask_once(int fd, const char *prompt, void *data, size_t size)
{
	struct quiet q = { .fd = fd };
	ssize_t n;

	hold_signals(&q);
	n = echo_off(&q);
	if (!n) {
		(void)dprintf(fd, "%s: ", prompt); /* unseen if the terminal is gone */
		n = wait_line(&q, data, size);
		(void)tcsetattr(fd, TCSAFLUSH, &q.settings);
		(void)dprintf(fd, "\n");
	}
	release_signals(&q);
	return n;
}

ssize_t terminal_ask(const char *prompt, void *data, size_t size)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -ENXIO;
	do {
		n = ask_once(fd, prompt, data, size);
	} while (n == -EINTR && (!caught || caught == SIGTSTP));
	fdio_close(fd);
	return n;
}
