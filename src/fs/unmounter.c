/* SPDX-License-Identifier: MIT */
/* A process that unmounts: see unmounter.h for the contract. */
#include "fs/unmounter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "engine/sandbox.h"
#include "fs/confine.h"
#include "fs/mountinfo.h"

static void wait_for(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
}

int unmounter_run(const char *path, bool lazily)
{
	int status = -1;
	pid_t child;

	if (!umount2(path, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)))
		return 0;
	child = fork();
	if (child == 0) {
		(void)execlp("fusermount3", "fusermount3", lazily ? "-uz" : "-u", "--", path,
			     (char *)NULL);
		_exit(127);
	}
	if (child > 0)
		wait_for(child, &status);
	return status ? -EBUSY : 0;
}

/* ---- its own side ---------------------------------------------------------- */

struct order {
	dev_t dev;
	uint64_t lazily; /* the last order; else only if nobody uses it */
};

static int32_t unmount(const char *mountpoint, const struct order *order)
{
	struct mountinfo *info = malloc(sizeof(*info));
	int r = info ? mountinfo_find(mountpoint, info) : -ENOMEM;

	if (!r && makedev(info->major, info->minor) != order->dev)
		r = -EBUSY;
	free(info);
	if (r == MOUNTINFO_NONE)
		return 0;
	return r ? r : unmounter_run(mountpoint, order->lazily);
}

static void unmounter_main(const char *mountpoint, int fd) __attribute__((noreturn));
static void unmounter_main(const char *mountpoint, int fd)
{
	struct order order = { 0 };
	sigset_t all;

	sandbox_close_all_but(fd);
	(void)prctl(PR_SET_NAME, "cryptfs-unmount", 0, 0, 0);
	(void)setsid(); /* away from the terminal */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	/* To get to the mountpoint, wherever that is, and to detach it. */
	if (!geteuid())
		confine_capabilities((uint64_t)1 << CAP_SYS_ADMIN | (uint64_t)1
									    << CAP_DAC_READ_SEARCH);
	while (!order.lazily && recv(fd, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
		int32_t r = unmount(mountpoint, &order);

		(void)send(fd, &r, sizeof(r), MSG_NOSIGNAL); /* who asked may be gone */
	}
	_exit(0);
}

/* ---- the mount process's side ---------------------------------------------- */

/* The end of a pipe whose other end is closed. */
static int broken_pipe(int *out)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	fdio_close(ends[0]);
	*out = ends[1];
	return 0;
}

int unmounter_start(const char *mountpoint, struct unmounter *u)
{
	int sockets[2];
	int r = broken_pipe(&u->broken);

	if (!r && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		r = -errno;
	if (r) {
		unmounter_stop(u);
		return r;
	}
	u->socket = sockets[0];
	u->pid = fork();
	if (u->pid == 0)
		unmounter_main(mountpoint, sockets[1]);
	r = u->pid < 0 ? -errno : 0;
	fdio_close(sockets[1]);
	if (r)
		unmounter_stop(u);
	return r;
}

static int ask(const struct unmounter *u, dev_t dev, bool lazily)
{
	const struct order order = { .dev = dev, .lazily = lazily };
	int32_t r;
	ssize_t n;

	if (send(u->socket, &order, sizeof(order), MSG_NOSIGNAL) != (ssize_t)sizeof(order))
		return -errno;
	do
		n = recv(u->socket, &r, sizeof(r), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(r) ? r : -ESRCH; /* it was killed */
}

int unmounter_detach(const struct unmounter *u, int fd, dev_t dev)
{
	struct pollfd p = { .fd = fd };

	if (poll(&p, 1, 0) == 1 && p.revents & POLLERR)
		return 0; /* unmounted already */
	if (dup3(u->broken, fd, O_CLOEXEC) < 0)
		return -errno;
	return ask(u, dev, true);
}

int unmounter_try(const struct unmounter *u, dev_t dev)
{
	return ask(u, dev, false);
}

void unmounter_stop(struct unmounter *u)
{
	fdio_close(u->socket);
	fdio_close(u->broken);
	if (u->pid > 0)
		wait_for(u->pid, NULL);
	*u = UNMOUNTER_NONE;
}
