/* SPDX-License-Identifier: MIT */
/*
 * The control socket: see control.h for the contract.
 *
 * The directory is opened once, looked at, and used through its descriptor
 * (/proc/self/fd), so that nobody can put another one in its place.  The mode
 * of the socket is set before it is bound; the mount process has no umask.
 *
 * Device numbers are used again as soon as a mount is gone, while its process
 * may still be settling.  So whoever starts takes the name over, and whoever
 * stops removes it only if it is still his.
 */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"

enum {
	BACKLOG = 4,
	ASK_SECONDS = 5,
	PAUSE_MS = 100, /* after accept(2) failed */
	TRIES = 3,
	FILE_SIZE = 40, /* of "MAJOR:MINOR.sock" */
};

struct control {
	control_answer *answer;
	void *arg;
	uid_t owner;
	int parent;    /* the directory's */
	int directory; /* -1 until the socket is in it */
	char file[FILE_SIZE];
	struct stat own; /* the socket in the directory */
	int listener;
	int stop; /* eventfd */
	pthread_t thread;
	bool started;
};

/* ---- the directory ------------------------------------------------------ */

struct place {
	char parent[32];
	char name[32];
};

static void find_place(uid_t owner, struct place *p)
{
	struct stat st;

	*p = (struct place){ "/run", "cryptfs" };
	if (!owner)
		return;
	(void)snprintf(p->parent, sizeof(p->parent), "/run/user/%u", owner);
	if (!lstat(p->parent, &st) && S_ISDIR(st.st_mode) && st.st_uid == owner)
		return;
	(void)snprintf(p->parent, sizeof(p->parent), "/tmp");
	(void)snprintf(p->name, sizeof(p->name), "cryptfs-%u", owner);
}

static bool is_private(int fd, uid_t owner)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_uid == owner && !(st.st_mode & 077);
}

/* Open the directory for owner's sockets and the one above, and make it if asked to. */
static int open_directory(uid_t owner, bool make, int *out, int *parent)
{
	struct place p;
	int fd = -1;
	int r = 0;

	*out = -1;
	find_place(owner, &p);
	*parent = open(p.parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*parent < 0)
		return -errno;
	if (make && mkdirat(*parent, p.name, 0700) && errno != EEXIST) {
		r = -errno;
		goto out;
	}
	fd = openat(*parent, p.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = errno == ELOOP || errno == ENOTDIR ? CONTROL_UNSAFE : -errno;
		goto out;
	}
	if (!is_private(fd, owner)) {
		r = CONTROL_UNSAFE;
		goto out;
	}
	*out = fd;
	fd = -1;
out:
	fdio_close(fd);
	if (r) {
		fdio_close(*parent);
		*parent = -1;
	}
	return r;
}

/* The last one to stop takes the directory away. */
static void remove_directory(const struct control *c)
{
	struct place p;

	find_place(c->owner, &p);
	(void)unlinkat(c->parent, p.name, AT_REMOVEDIR); /* not while others are there */
}

static void name_file(const struct control_name *name, char file[FILE_SIZE])
{
	(void)snprintf(file, FILE_SIZE, "%u:%u.sock", name->major, name->minor);
}

static struct sockaddr_un address_of(int directory, const char *file)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", directory, file);
	return a;
}

/* ---- answering ---------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until fd can be read; false after timeout_ms (-1: never), or when told to stop. */
static bool wait_for(const struct control *c, int fd, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = fd, .events = POLLIN },
				 { .fd = c->stop, .events = POLLIN } };
	int n;

	do
		n = poll(fds, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0 && !fds[1].revents;
}

static bool is_told_to_stop(const struct control *c)
{
	struct pollfd fd = { .fd = c->stop, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* Only the mount's owner and root ask, and are answered. */
static bool is_trusted(int fd, uid_t owner)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
	       (!peer.uid || peer.uid == owner);
}

/* One line, its newline cut off; false if none comes in time. */
static bool read_command(const struct control *c, int fd, char command[CONTROL_COMMAND_MAX])
{
	int64_t end = now_ms() + CONTROL_TIMEOUT_MS;
	size_t size = 0;

	while (size < CONTROL_COMMAND_MAX) {
		int64_t left = end - now_ms();
		char *newline;
		ssize_t n;

		if (left <= 0 || !wait_for(c, fd, (int)left))
			return false;
		n = recv(fd, command + size, CONTROL_COMMAND_MAX - size, MSG_DONTWAIT);
		if (n <= 0)
			return false;
		newline = memchr(command + size, '\n', (size_t)n);
		size += (size_t)n;
		if (newline) {
			*newline = '\0';
			return true;
		}
	}
	return false;
}

static void send_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

		if (n <= 0) /* gone, or does not listen */
			return;
		text += n;
		left -= (size_t)n;
	}
}

static void set_timeout(int fd, time_t seconds)
{
	const struct timeval t = { .tv_sec = seconds };

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void serve_one(const struct control *c, int fd)
{
	char command[CONTROL_COMMAND_MAX];
	char *answer;

	set_timeout(fd, CONTROL_TIMEOUT_MS / 1000);
	if (!is_trusted(fd, c->owner) || !read_command(c, fd, command))
		return;
	answer = c->answer(c->arg, command);
	send_all(fd, answer ? answer : "{\"error\": \"unknown command\"}");
	free(answer);
}

static void *serve(void *arg)
{
	const struct control *c = arg;

	(void)pthread_setname_np(pthread_self(), "control");
	while (!is_told_to_stop(c)) {
		int fd;

		if (!wait_for(c, c->listener, -1))
			continue;
		fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			(void)wait_for(c, -1, PAUSE_MS);
			continue;
		}
		serve_one(c, fd);
		fdio_close(fd);
	}
	return NULL;
}

/* ---- starting and stopping ---------------------------------------------- */

/* Bind the socket in the directory; -ENOENT if that was taken away meanwhile. */
static int bind_socket(struct control *c)
{
	struct sockaddr_un a;
	int r = open_directory(c->owner, true, &c->directory, &c->parent);

	if (r)
		return r;
	a = address_of(c->directory, c->file);
	(void)unlinkat(c->directory, c->file, 0); /* nobody else has this device now */
	if (!bind(c->listener, (const struct sockaddr *)&a, sizeof(a)))
		return 0;
	r = -errno;
	fdio_close(c->directory);
	fdio_close(c->parent);
	c->directory = c->parent = -1;
	return r;
}

static int open_socket(struct control *c)
{
	int r;

	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener < 0 || fchmod(c->listener, 0600))
		return -errno;
	r = bind_socket(c);
	for (int i = 0; i < TRIES && r == -ENOENT; i++)
		r = bind_socket(c);
	if (r)
		return r;
	if (fstatat(c->directory, c->file, &c->own, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return listen(c->listener, BACKLOG) ? -errno : 0;
}

int control_start(struct control *c)
{
	sigset_t all;
	sigset_t old;
	int r;

	(void)sigfillset(&all); /* signals are for the others */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&c->thread, NULL, serve, c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->started = !r;
	return r;
}

int control_directory(const struct control *c)
{
	return c->directory;
}

int control_parent(const struct control *c)
{
	return c->parent;
}

int control_open(const struct control_name *name, control_answer *answer, void *arg,
		 struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	*out = NULL;
	if (!c)
		return r;
	*c = (struct control){ .answer = answer, .arg = arg, .owner = name->owner };
	c->parent = c->directory = c->listener = c->stop = -1;
	name_file(name, c->file);
	c->stop = eventfd(0, EFD_CLOEXEC);
	r = c->stop < 0 ? -errno : open_socket(c);
	if (r)
		goto out;
	*out = c;
	c = NULL;
out:
	control_stop(c);
	return r;
}

static void remove_socket(const struct control *c)
{
	struct stat st;

	if (c->own.st_ino && !fstatat(c->directory, c->file, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == c->own.st_dev && st.st_ino == c->own.st_ino)
		(void)unlinkat(c->directory, c->file, 0);
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	if (c->directory >= 0) {
		remove_socket(c);
		remove_directory(c);
	}
	if (c->started) {
		(void)eventfd_write(c->stop, 1);
		(void)pthread_join(c->thread, NULL);
	}
	fdio_close(c->listener);
	fdio_close(c->stop);
	fdio_close(c->directory);
	fdio_close(c->parent);
	free(c);
}

/* ---- asking ------------------------------------------------------------- */

static int receive_reply(int fd, char **reply)
{
	int64_t end = now_ms() + ASK_SECONDS * 1000;
	char *text = calloc(1, CONTROL_REPLY_MAX + 1);
	size_t size = 0;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	do {
		n = recv(fd, text + size, CONTROL_REPLY_MAX - size, 0);
		size += n > 0 ? (size_t)n : 0;
	} while (n > 0 && size < CONTROL_REPLY_MAX && now_ms() < end);
	if (n || !size) {
		free(text);
		return CONTROL_SILENT;
	}
	*reply = text;
	return 0;
}

static int ask(int fd, const struct sockaddr_un *a, uid_t owner, const char *command, char **reply)
{
	set_timeout(fd, ASK_SECONDS);
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a))) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return CONTROL_NOBODY;
		return errno == EAGAIN ? CONTROL_SILENT : -errno;
	}
	if (!is_trusted(fd, owner))
		return CONTROL_NOBODY;
	send_all(fd, command);
	send_all(fd, "\n");
	return receive_reply(fd, reply);
}

int control_ask(const struct control_name *name, const char *command, char **reply)
{
	struct sockaddr_un a;
	char file[FILE_SIZE];
	int directory;
	int parent;
	int fd = -1;
	int r = open_directory(name->owner, false, &directory, &parent);

	*reply = NULL;
	if (r)
		return r == -ENOENT ? CONTROL_NOBODY : r;
	name_file(name, file);
	a = address_of(directory, file);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -errno : ask(fd, &a, name->owner, command, reply);
	fdio_close(fd);
	fdio_close(directory);
	fdio_close(parent);
	return r;
}
