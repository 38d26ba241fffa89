/* SPDX-License-Identifier: MIT */
/* locks DIRECTORY: flock(2), fcntl(2) locks of processes and of open files. */
#include "check.h"

#include <sys/file.h>

/* Whether another process could get a lock, by these means. */
struct attempt {
	int command; /* F_SETLK, F_OFD_SETLK, or 0 for flock */
	int kind;
	off_t from, size;
};

static struct flock range_of(int kind, off_t from, off_t size)
{
	return (struct flock){
		.l_type = (short)kind, .l_whence = SEEK_SET, .l_start = from, .l_len = size
	};
}

static void attempt(void *arg)
{
	const struct attempt *a = arg;
	struct flock range = range_of(a->kind, a->from, a->size);
	int fd = check_open("file", O_RDWR);
	int r = a->command ? fcntl(fd, a->command, &range) : flock(fd, a->kind | LOCK_NB);

	if (r)
		CHECK(errno == EAGAIN || errno == EACCES || errno == EWOULDBLOCK);
	_exit(r ? 100 : 0);
}

static bool others_can(int command, int kind, off_t from, off_t size)
{
	struct attempt a = { command, kind, from, size };
	pid_t pid = start_child(attempt, &a);
	int status;

	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 100);
	return WEXITSTATUS(status) == 0;
}

static void whole_files(void)
{
	int fd = check_open("file", O_RDWR);
	int other = check_open("file", O_RDWR);

	CHECK(!flock(fd, LOCK_SH));
	CHECK(others_can(0, LOCK_SH, 0, 0) && !others_can(0, LOCK_EX, 0, 0));
	CHECK(!flock(fd, LOCK_EX));
	CHECK(!others_can(0, LOCK_SH, 0, 0));
	CHECK_FAILS(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK(!flock(fd, LOCK_UN));
	CHECK(others_can(0, LOCK_EX, 0, 0));
	/* It goes with the last descriptor of the open file. */
	CHECK(!flock(fd, LOCK_EX));
	CHECK(dup2(fd, other) == other && !close(fd));
	CHECK(!others_can(0, LOCK_EX, 0, 0));
	CHECK(!close(other));
	CHECK(others_can(0, LOCK_EX, 0, 0));
}

static void ranges(void)
{
	int fd = check_open("file", O_RDWR);
	int other = check_open("file", O_RDWR);
	struct flock range = range_of(F_WRLCK, 10, 10);

	CHECK(!fcntl(fd, F_SETLK, &range));
	CHECK(!others_can(F_SETLK, F_RDLCK, 15, 1) && !others_can(F_SETLK, F_WRLCK, 0, 0));
	CHECK(others_can(F_SETLK, F_WRLCK, 0, 10) && others_can(F_SETLK, F_WRLCK, 20, 0));
	range = range_of(F_RDLCK, 12, 4);
	CHECK(!fcntl(fd, F_SETLK, &range));
	CHECK(others_can(F_SETLK, F_RDLCK, 12, 4) && !others_can(F_SETLK, F_WRLCK, 12, 4));
	CHECK(!others_can(F_SETLK, F_RDLCK, 10, 2) && !others_can(F_SETLK, F_RDLCK, 16, 4));
	/* Locks of a process go with any of its descriptors. */
	CHECK(!close(other));
	CHECK(others_can(F_SETLK, F_WRLCK, 0, 0));

	/* Those of an open file do not, and bind this process as well. */
	other = check_open("file", O_RDWR);
	range = range_of(F_WRLCK, 0, 100);
	CHECK(!fcntl(fd, F_OFD_SETLK, &range));
	range = range_of(F_RDLCK, 50, 1);
	CHECK_FAILS(fcntl(other, F_OFD_SETLK, &range), EAGAIN);
	CHECK(!others_can(F_SETLK, F_RDLCK, 50, 1) && !others_can(F_OFD_SETLK, F_RDLCK, 50, 1));
	CHECK(!close(other));
	CHECK(!others_can(F_SETLK, F_RDLCK, 50, 1));
	CHECK(!close(fd));
	CHECK(others_can(F_SETLK, F_WRLCK, 0, 0));
}

struct pipes {
	int there[2], back[2];
};

static void say(int fd)
{
	CHECK(write(fd, "", 1) == 1);
}

static void hear(int fd)
{
	char byte;

	CHECK(read(fd, &byte, 1) == 1);
}

/* Hold a lock until told; then end without giving it back. */
static void hold(void *arg)
{
	const struct pipes *p = arg;
	struct flock range = range_of(F_WRLCK, 5, 5);
	int fd = check_open("file", O_RDWR);

	CHECK(!fcntl(fd, F_SETLKW, &range));
	say(p->there[1]);
	hear(p->back[0]);
}

static void a_lock_can_be_waited_for(void)
{
	struct flock range = range_of(F_WRLCK, 0, 0);
	int fd = check_open("file", O_RDWR);
	struct pipes p;
	pid_t pid;

	CHECK(!pipe(p.there) && !pipe(p.back));
	pid = start_child(hold, &p);
	hear(p.there[0]);
	CHECK(!fcntl(fd, F_GETLK, &range));
	CHECK(range.l_type == F_WRLCK && range.l_pid == pid && range.l_start == 5);
	range = range_of(F_WRLCK, 0, 0);
	CHECK_FAILS(fcntl(fd, F_SETLK, &range), EAGAIN);
	say(p.back[1]);
	CHECK(!fcntl(fd, F_SETLKW, &range));
	check_child(pid);
	CHECK(!close(fd));
	for (int i = 0; i < 2; i++) {
		close(p.there[i]);
		close(p.back[i]);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	CHECK(!chdir(argv[1]));
	close(check_open("file", O_RDWR | O_CREAT));
	whole_files();
	ranges();
	a_lock_can_be_waited_for();
	CHECK(!unlink("file"));
	return 0;
}
