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
 * stops removes it only if it is still his; both with the directory locked, as
 * the one may start just when the other looks.
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
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/secmem.h"

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
	int stop;      /* eventfd */
	uint8_t *body; /* secmem */
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
	fd = openat(*parent, p.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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

/* Up to size bytes, one at least: how many; not positive if none come in time. */
static ssize_t read_some(const struct control *c, int fd, void *to, size_t size, int64_t end)
{
	int64_t left = end - now_ms();

	if (left <= 0 || !wait_for(c, fd, (int)left))
		return -1;
	return recv(fd, to, size, MSG_DONTWAIT);
}

/* One line, its newline cut off; false if none comes in time. */
static bool read_command(const struct control *c, int fd, char command[CONTROL_COMMAND_MAX])
{
	int64_t end = now_ms() + CONTROL_TIMEOUT_MS;

	/* Byte by byte: what comes behind it may be a secret and belongs elsewhere. */
	for (size_t i = 0; i < CONTROL_COMMAND_MAX; i++) {
		if (read_some(c, fd, command + i, 1, end) != 1)
			return false;
		if (command[i] == '\n') {
			command[i] = '\0';
			return true;
		}
	}
	return false;
}

/* Cut a size off the end of a command, and read so many bytes: false for nonsense. */
static bool read_body(const struct control *c, int fd, char *command, size_t *size)
{
	int64_t end = now_ms() + CONTROL_TIMEOUT_MS;
	char *space = strchr(command, ' ');
	unsigned long wanted;
	char *rest;

	*size = 0;
	if (!space)
		return true;
	*space++ = '\0';
	wanted = strtoul(space, &rest, 10);
	if (*space < '0' || *space > '9' || *rest || wanted > CONTROL_BODY_MAX)
		return false;
	while (*size < wanted) {
		ssize_t n = read_some(c, fd, c->body + *size, wanted - *size, end);

		if (n <= 0)
			return false;
		*size += (size_t)n;
	}
	return true;
}

static void send_all(int fd, const void *bytes, size_t left)
{
	const char *text = bytes;

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
	static const char unknown[] = "{\"error\": \"unknown command\"}";
	char command[CONTROL_COMMAND_MAX];
	struct control_question q = { .command = command, .body = c->body };
	char *answer;

	set_timeout(fd, CONTROL_TIMEOUT_MS / 1000);
	if (!is_trusted(fd, c->owner) || !read_command(c, fd, command))
		return;
	if (read_body(c, fd, command, &q.body_size)) {
		answer = c->answer(c->arg, &q);
		send_all(fd, answer ? answer : unknown, strlen(answer ? answer : unknown));
		free(answer);
	}
	secmem_wipe(c->body, CONTROL_BODY_MAX);
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

/* In place of the socket that is there: nobody else has this device now. */
static int replace_socket(struct control *c)
{
	const struct sockaddr_un a = address_of(c->directory, c->file);
	int r = 0;

	if (flock(c->directory, LOCK_EX))
		return -errno;
	(void)unlinkat(c->directory, c->file, 0);
	if (bind(c->listener, (const struct sockaddr *)&a, sizeof(a)) ||
	    fstatat(c->directory, c->file, &c->own, AT_SYMLINK_NOFOLLOW))
		r = -errno;
	(void)flock(c->directory, LOCK_UN);
	return r;
}

/* Bind the socket in the directory; -ENOENT if that was taken away meanwhile. */
static int bind_socket(struct control *c)
{
	int r = open_directory(c->owner, true, &c->directory, &c->parent);

	if (!r)
		r = replace_socket(c);
	if (!r)
		return 0;
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
	c->body = secmem_new(CONTROL_BODY_MAX);
	c->stop = eventfd(0, EFD_CLOEXEC);
	r = !c->body ? -ENOMEM : c->stop < 0 ? -errno : open_socket(c);
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

	if (!c->own.st_ino || flock(c->directory, LOCK_EX))
		return;
	if (!fstatat(c->directory, c->file, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == c->own.st_dev && st.st_ino == c->own.st_ino)
		(void)unlinkat(c->directory, c->file, 0);
	(void)flock(c->directory, LOCK_UN);
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
	secmem_free(c->body);
	free(c);
}

/* ---- asking ------------------------------------------------------------- */

/* In so many seconds, or in any time for 0. */
static int receive_reply(int fd, int seconds, char **reply)
{
	int64_t end = seconds ? now_ms() + seconds * 1000 : INT64_MAX;
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

/* A socket connected to the one of that name, whose process is the owner's or root's. */
static int dial(const struct control_name *name, int seconds, int *out)
{
	struct sockaddr_un a;
	char file[FILE_SIZE];
	int directory;
	int parent;
	int fd = -1;
	int r = open_directory(name->owner, false, &directory, &parent);

	if (r)
		return r == -ENOENT ? CONTROL_NOBODY : r;
	name_file(name, file);
	a = address_of(directory, file);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	set_timeout(fd, seconds);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		r = errno == ENOENT || errno == ECONNREFUSED ? CONTROL_NOBODY
		    : errno == EAGAIN			     ? CONTROL_SILENT
							     : -errno;
	else if (!is_trusted(fd, name->owner))
		r = CONTROL_NOBODY;
	if (r)
		goto out;
	*out = fd;
	fd = -1;
out:
	fdio_close(fd);
	fdio_close(directory);
	fdio_close(parent);
	return r;
}

static int ask(const struct control_name *name, const struct control_question *q, int seconds,
	       char **reply)
{
	char line[CONTROL_COMMAND_MAX + 1];
	int fd = -1;
	int r;

	*reply = NULL;
	if (q->body_size)
		(void)snprintf(line, sizeof(line), "%s %zu\n", q->command, q->body_size);
	else
		(void)snprintf(line, sizeof(line), "%s\n", q->command);
	r = dial(name, seconds, &fd);
	if (r)
		return r;
	send_all(fd, line, strlen(line));
	send_all(fd, q->body, q->body_size);
	r = receive_reply(fd, seconds, reply);
	fdio_close(fd);
	return r;
}

int control_ask(const struct control_name *name, const char *command, char **reply)
{
	const struct control_question q = { .command = command };

	return ask(name, &q, ASK_SECONDS, reply);
}

int control_tell(const struct control_name *name, const struct control_question *q, char **reply)
{
	return ask(name, q, 0, reply);
}

int control_process(const struct control_name *name, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = -1;
	int r = dial(name, ASK_SECONDS, &fd);

	if (r)
		return r;
	/* Of who called listen(2) there. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		r = -errno;
	else
		*pid = peer.pid;
	fdio_close(fd);
	return r;
}
