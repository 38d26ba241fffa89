/* SPDX-License-Identifier: MIT */
/*
 * cryptfs umount: unmount, and wait until the process that served has written
 * everything and ended.
 *
 * The kernel alone decides whether a mount is busy; who holds it is looked up
 * only when it has said so.  A mount whose process is dead has nothing left to
 * lose and is detached whoever holds it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/holders.h"
#include "cli/mounted.h"

enum { SAID_SIZE = 256 };

/* ---- the process that serves --------------------------------------------- */

/* A pidfd of it, or -1 where there is none or it cannot be told. */
static int find_server(const struct mountinfo *m, pid_t *pid)
{
	const struct control_name name = mounted_name(m);

	*pid = 0;
	return control_process(&name, pid) ? -1 : pidfd_open(*pid, 0);
}

/* Nobody serves it: its attributes may be cached, this is not. */
static bool is_dead(const struct mountinfo *m)
{
	struct statvfs fs;

	return statvfs(m->point, &fs) && (errno == ENOTCONN || errno == ECONNABORTED);
}

static void wait_for_end(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (pidfd >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* ---- unmounting ---------------------------------------------------------- */

static void run_fusermount(const char *point, bool lazily, int fd) __attribute__((noreturn));
static void run_fusermount(const char *point, bool lazily, int fd)
{
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	(void)setenv("LC_ALL", "C", 1);
	(void)execlp("fusermount3", "fusermount3", lazily ? "-uz" : "-u", "--", point,
		     (char *)NULL);
	_exit(127);
}

/* What it said, of which the part behind the last colon is the reason. */
static void reason_in(char *said, size_t size)
{
	char *last;

	said[size] = '\0';
	said[strcspn(said, "\n")] = '\0';
	last = strrchr(said, ':');
	if (last)
		memmove(said, last + strspn(last, ": "), strlen(last + strspn(last, ": ")) + 1);
	if (!*said)
		strcpy(said, "fusermount3 failed (is the package fuse3 installed?)");
}

/* An ordinary user's way: true, or false and why not. */
static bool ask_fusermount(const char *point, bool lazily, char why[SAID_SIZE])
{
	int wstatus = -1;
	int ends[2];
	ssize_t n;
	pid_t child;

	*why = '\0';
	if (pipe2(ends, O_CLOEXEC))
		return false;
	child = fork();
	if (child == 0)
		run_fusermount(point, lazily, ends[1]);
	fdio_close(ends[1]);
	n = fdio_read_all(ends[0], why, SAID_SIZE - 1);
	fdio_close(ends[0]);
	while (child > 0 && waitpid(child, &wstatus, 0) < 0 && errno == EINTR)
		;
	reason_in(why, n > 0 ? (size_t)n : 0);
	return wstatus == 0;
}

static bool detach(const char *point, bool lazily, char why[SAID_SIZE])
{
	if (geteuid())
		return ask_fusermount(point, lazily, why);
	if (!umount2(point, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)))
		return true;
	(void)snprintf(why, SAID_SIZE, "%s", strerror(errno));
	return false;
}

/* ---- the command --------------------------------------------------------- */

static int refused(const struct mountinfo *m, const char *why)
{
	unsigned int n = holders_show(m, NULL);

	if (!n && !strstr(why, "busy")) {
		log_error("cannot unmount %s: %s", m->point, why);
		return STATUS_SYSTEM;
	}
	log_error("cannot unmount %s: busy: %s (end them, or use --lazy)", m->point,
		  n ? "see who holds it" : "by somebody whom this user cannot see");
	(void)holders_show(m, stdout);
	return cli_flush() ? STATUS_SYSTEM : STATUS_IN_USE;
}

/* Who holds it now: afterwards their paths do not tell any more.  NULL: nobody. */
static char *list_holders(const struct mountinfo *m)
{
	char *list = NULL;
	size_t size;
	FILE *f = open_memstream(&list, &size);
	unsigned int n;

	if (!f)
		return NULL;
	n = holders_show(m, f);
	if (!fclose(f) && n)
		return list;
	free(list);
	return NULL;
}

/* Detached; it is served as long as somebody holds it. */
static int finish(const struct mountinfo *m, int pidfd, pid_t pid, const char *holders)
{
	if (pidfd < 0) {
		control_sweep(m->user);
		return STATUS_OK;
	}
	if (!holders) {
		wait_for_end(pidfd);
		return STATUS_OK;
	}
	printf("%s is detached; process %d ends when these have let go:\n%s", m->point, (int)pid,
	       holders);
	return cli_flush();
}

static int unmount(const struct mountinfo *m, bool lazily)
{
	char why[SAID_SIZE];
	pid_t pid;
	int pidfd = find_server(m, &pid);
	char *holders = lazily ? list_holders(m) : NULL;
	int status;

	if (detach(m->point, lazily, why) ||
	    (pidfd < 0 && !lazily && is_dead(m) && detach(m->point, true, why)))
		status = finish(m, pidfd, pid, holders);
	else
		status = refused(m, why);
	free(holders);
	fdio_close(pidfd);
	return status;
}

static int unmount_all(bool lazily)
{
	struct mountinfo *all;
	int n = mounted_all(&all);
	int status = STATUS_OK;

	if (n < 0) {
		log_error("cannot list the mounts: %s", strerror(-n));
		return STATUS_SYSTEM;
	}
	for (int i = 0; i < n; i++) {
		int one = unmount(&all[i], lazily);

		status = status ? status : one;
	}
	free(all);
	return status;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "lazy", no_argument, NULL, 'l' },
		{ "all", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	static struct mountinfo m;
	const char *path;
	bool lazily = false;
	bool all = false;
	int status;
	int c;

	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		lazily = lazily || c == 'l';
		all = all || c == 'a';
	}
	if (all && optind < argc) {
		log_error("umount: --all takes no MOUNTPOINT: what is %s?", argv[optind]);
		return STATUS_USAGE;
	}
	status = all ? STATUS_OK : cli_operand(self, argc, argv, "MOUNTPOINT", &path);
	if (!status && !all)
		status = mounted_find(path, &m);
	if (status)
		return status;
	(void)!chdir("/"); /* not to hold it ourselves */
	return all ? unmount_all(lazily) : unmount(&m, lazily);
}

const struct command cli_umount = {
	.name = "umount",
	.summary = "unmount, and wait until all is written",
	.help = "usage: cryptfs umount [--lazy] MOUNTPOINT\n"
		"       cryptfs umount [--lazy] --all\n"
		"\n"
		"Unmount, and return when the process that served the mount has written what was\n"
		"left and has ended.  A mount that is busy stays, exit status 6, and who holds it\n"
		"is printed: process, command, and what it has there.  A dead mount, whose\n"
		"process was killed, is cleared away.\n"
		"\n"
		"  --all    every mount of the user, or for root every mount there is\n"
		"  --lazy   detach a busy mount at once; who has something open can use it on,\n"
		"           and its process ends after the last of them\n"
		"  --help   show this\n",
	.shorts = "l",
	.run = run,
};
