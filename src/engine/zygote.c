/* SPDX-License-Identifier: MIT */
/*
 * The process that forks: see zygote.h for the contract.
 *
 * SIGCHLD is blocked but while it waits, so that a child cannot be reaped, and
 * its number used again, between fork() and pidfd_open().
 */
#include "engine/zygote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/secmem.h"
#include "engine/sandbox.h"
#include "engine/worker.h"

enum {
	STOP_MS = 2000, /* a zygote that is asked to end and does not is killed */
	SPIN_US = 20,
};

/* The zygote's own side. */
struct nursery {
	const struct arena *arena;
	int socket;
	uint32_t spin_us;
	pid_t pids[ENGINE_MAX_WORKERS];
	uint32_t generations[ENGINE_MAX_WORKERS];
};

static void report(const struct nursery *n, const struct zygote_report *what, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)what, sizeof(*what) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	/* If nobody listens any more, the next receive says so. */
	while (sendmsg(n->socket, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void give_birth(struct nursery *n, const struct zygote_request *rq)
{
	struct worker w = { .arena = n->arena, .spin_us = n->spin_us };
	struct zygote_report answer = { ZYGOTE_FAILED, rq->index, rq->generation, 0 };
	pid_t parent = getpid();
	int pidfd = -1;
	pid_t pid;

	w.owner.index = (uint8_t)rq->index;
	w.owner.generation = (uint16_t)rq->generation;
	pid = fork();
	if (pid == 0)
		worker_main(&w, parent);
	if (pid > 0) {
		n->pids[rq->index] = pid;
		n->generations[rq->index] = rq->generation;
		pidfd = pidfd_open(pid, 0);
	}
	if (pid < 0 || pidfd < 0)
		answer.value = errno;
	if (pid > 0 && pidfd < 0)
		(void)kill(pid, SIGKILL); /* what cannot be watched must not run */
	if (pidfd >= 0) {
		answer.event = ZYGOTE_STARTED;
		answer.value = pid;
	}
	report(n, &answer, pidfd);
	fdio_close(pidfd);
}

static void reap(struct nursery *n)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++) {
			struct zygote_report r = { ZYGOTE_ENDED, i, n->generations[i], status };

			if (n->pids[i] != pid)
				continue;
			n->pids[i] = 0;
			report(n, &r, -1);
		}
	}
}

/* Kill and reap every worker, and end. */
static void finish(struct nursery *n) __attribute__((noreturn));
static void finish(struct nursery *n)
{
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		if (n->pids[i])
			(void)kill(n->pids[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(0);
}

static void on_sigchld(int signal)
{
	(void)signal; /* only to end ppoll */
}

/* Ignore what the terminal sends to the group; SIGCHLD is for ppoll alone. */
static void set_signals(sigset_t *while_waiting)
{
	static const int ignored[] = {
		SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2
	};
	struct sigaction action = { .sa_handler = SIG_IGN };
	sigset_t set;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)sigaction(ignored[i], &action, NULL);
	action.sa_handler = on_sigchld;
	(void)sigaction(SIGCHLD, &action, NULL);
	sigemptyset(while_waiting);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
}

static void serve(struct nursery *n, const sigset_t *while_waiting) __attribute__((noreturn));
static void serve(struct nursery *n, const sigset_t *while_waiting)
{
	for (;;) {
		struct pollfd p = { .fd = n->socket, .events = POLLIN };
		struct zygote_request rq;
		ssize_t size;

		reap(n);
		if (ppoll(&p, 1, NULL, while_waiting) <= 0)
			continue;
		size = recv(n->socket, &rq, sizeof(rq), MSG_DONTWAIT);
		if (size < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (size <= 0) /* the mount process has closed, or is gone */
			finish(n);
		reap(n); /* the request may be for a dead one's place */
		if (size == (ssize_t)sizeof(rq) && rq.index < ENGINE_MAX_WORKERS)
			give_birth(n, &rq);
	}
}

static void zygote_main(struct nursery *n, pid_t parent) __attribute__((noreturn));
static void zygote_main(struct nursery *n, pid_t parent)
{
	sigset_t while_waiting;

	sandbox_die_with(parent);
	sandbox_close_all_but(n->socket);
	(void)prctl(PR_SET_NAME, "cryptfs-zygote", 0, 0, 0);
	(void)setsid(); /* away from the terminal */
	(void)secmem_harden_process();
	set_signals(&while_waiting);
	/* Spinning pays where the submitter does not need the same CPU. */
	if (!n->spin_us && sysconf(_SC_NPROCESSORS_ONLN) > 2)
		n->spin_us = SPIN_US;
	serve(n, &while_waiting);
}

int zygote_start(const struct arena *a, uint32_t spin_us, struct zygote *z)
{
	struct nursery n = { .arena = a, .spin_us = spin_us };
	int sockets[2];
	pid_t parent = getpid();
	pid_t pid;

	*z = (struct zygote){ .pid = -1, .pidfd = -1, .socket = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	n.socket = sockets[1];
	pid = fork();
	if (pid == 0)
		zygote_main(&n, parent);
	if (pid < 0) {
		int r = -errno;

		fdio_close(sockets[0]);
		fdio_close(sockets[1]);
		return r;
	}
	fdio_close(sockets[1]);
	z->pidfd = pidfd_open(pid, 0);
	if (z->pidfd < 0) {
		int r = -errno;

		fdio_close(sockets[0]); /* which ends it */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	z->pid = pid;
	z->socket = sockets[0];
	return 0;
}

int zygote_request(const struct zygote *z, uint32_t index, uint32_t generation)
{
	const struct zygote_request rq = { index, generation };

	if (send(z->socket, &rq, sizeof(rq), MSG_NOSIGNAL) != (ssize_t)sizeof(rq))
		return -errno;
	return 0;
}

int zygote_receive(const struct zygote *z, struct zygote_report *what, int *pidfd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { what, sizeof(*what) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	ssize_t size = recvmsg(z->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*pidfd = -1;
	if (size < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(pidfd, CMSG_DATA(c), sizeof(int));
	return size == (ssize_t)sizeof(*what) ? 0 : -EPIPE;
}

void zygote_stop(struct zygote *z)
{
	struct pollfd p = { .fd = z->pidfd, .events = POLLIN };

	if (z->pid < 0)
		return;
	fdio_close(z->socket);
	if (poll(&p, 1, STOP_MS) <= 0)
		(void)pidfd_send_signal(z->pidfd, SIGKILL, NULL, 0);
	while (waitpid(z->pid, NULL, 0) < 0 && errno == EINTR)
		;
	fdio_close(z->pidfd);
	*z = (struct zygote){ .pid = -1, .pidfd = -1, .socket = -1 };
}
