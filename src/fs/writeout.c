/* SPDX-License-Identifier: MIT */
/*
 * Writing out before the end: see writeout.h.
 *
 * For a FUSE mount syncfs(2) may return when the writes are queued, not when
 * they are answered.  What is queued is handed out in order, so a request
 * whose answer is here has passed all that was queued before it: that has been
 * received, at least, and receivers do not stop before they have served it.
 */
#include "fs/writeout.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"

/*
 * Writes wait behind reads ahead for one of the places that the kernel has for
 * such requests; each round empties most of these places.
 */
enum { QUIET_ROUNDS = 4 };

struct writeout {
	struct writeout_mount mount;
	pthread_t id;
	pthread_t caller;
	int done_signal;
	int result;
};

/* Until no write from the cache has come or been under way for some rounds. */
static int drain(const struct ops_context *c, int fd)
{
	const struct timespec moment = { 0, 1000 * 1000 };
	struct statvfs fs;

	for (int quiet = 0; quiet < QUIET_ROUNDS;) {
		unsigned long done = atomic_load(&c->cached_writes_done);
		unsigned long begun = atomic_load(&c->cached_writes);

		if (fstatvfs(fd, &fs))
			return -errno;
		quiet = begun == done && atomic_load(&c->cached_writes) == begun ? quiet + 1 : 0;
		if (!quiet)
			(void)nanosleep(&moment, NULL);
	}
	return 0;
}

static int write_out(const struct writeout_mount *m)
{
	int fd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statvfs fs;
	struct stat st;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		r = -errno;
	else if (st.st_dev != m->dev)
		r = -EBUSY;
	else if (syncfs(fd))
		r = -errno; /* the rest is waited for all the same */
	if (r != -EBUSY) {
		int drained = drain(m->context, fd);

		r = r ? r : drained;
	}
	fdio_close(fd);
	(void)statvfs(m->path, &fs); /* closing is queued, too: let it be served */
	return r;
}

static void *run(void *arg)
{
	struct writeout *w = arg;

	fdio_stand_apart();
	w->result = write_out(&w->mount);
	(void)pthread_kill(w->caller, w->done_signal);
	return NULL;
}

int writeout_start(const struct writeout_mount *m, int done_signal, struct writeout **out)
{
	struct writeout *w = calloc(1, sizeof(*w));
	int r;

	*out = NULL;
	if (!w)
		return -ENOMEM;
	w->mount = *m;
	w->caller = pthread_self();
	w->done_signal = done_signal;
	r = -pthread_create(&w->id, NULL, run, w);
	if (r)
		free(w);
	else
		*out = w;
	return r;
}

int writeout_finish(struct writeout *w)
{
	int r;

	if (!w)
		return 0;
	(void)pthread_join(w->id, NULL);
	r = w->result;
	free(w);
	return r;
}
