/* SPDX-License-Identifier: MIT */
/*
 * Asking the kernel to let go of nodes: see trim.h.
 *
 * Linux 6.18 has a message for it, which takes node ids and leaves alone what
 * is in use.  Older kernels answer EINVAL; they are told instead that names are
 * not valid any more.  That does not look at who uses them: it unmounts what is
 * mounted there, and shows an open file as deleted in /proc/PID/fd.  So it is
 * done to unopened non-directories only, and not at all while anything that we
 * can see is mounted below the mountpoint.
 *
 * The kernel may take the lock of a directory for this, whose holder may wait
 * for one of our threads: so we do it in a thread that answers no requests and
 * with no lock held.
 */
#include "fs/trim.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <mntent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/wire.h"

enum {
	BATCH = 512,
	BELOW = 8, /* go this part of the bound below it */
	FIRST_PAUSE_MS = 10,
	LAST_PAUSE_MS = 1000, /* about: when everything is in use */
	PAUSE_SECONDS = 5,
	WORTH_A_TRIM = 4096, /* nodes gone */
	QUIET = 256,	     /* nodes gone in a second: it is over */
};

struct trim {
	struct fuse_session *session;
	struct tree *tree;
	const char *mountpoint;
	size_t max;
	size_t given_back; /* nodes that had gone when memory was; these two are trim_tick's */
	size_t last;	   /* nodes that had gone at the last tick */
	bool can_prune;
	int mounts; /* /proc/self/mounts, or -1 */
	pthread_t thread;
	bool started;
	atomic_bool crowded; /* said so, and not yet seen; without lock: set for every new node */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	bool pause;  /* wanted */
	bool paused; /* and so it is */
};

/* ---- asking -------------------------------------------------------------- */

/* Ask for all of them at once: 0 or -errno, -EINVAL if the kernel cannot. */
static int prune(struct trim *t, struct node *picked[], size_t n)
{
	uint8_t head[WIRE_PRUNE_SIZE];
	uint64_t ids[BATCH];
	struct iovec iov[] = { { head, sizeof(head) }, { ids, n * sizeof(ids[0]) } };

	wire_prune(head, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		ids[i] = (uintptr_t)picked[i];
	return writev(fuse_session_fd(t->session), iov, 2) < 0 ? -errno : 0;
}

static fuse_ino_t id_of(struct trim *t, const struct node *dir)
{
	return dir == nodes_root(tree_nodes(t->tree)) ? FUSE_ROOT_ID : (uintptr_t)dir;
}

/* Say that the names of a node are not valid any more. */
static void invalidate(struct trim *t, struct node *node)
{
	char name[NAMES_PLAIN_MAX + 1];
	struct node *dir;

	for (unsigned int i = 0; !tree_shown(t->tree, node, i, &dir, name); i++) {
		(void)fuse_lowlevel_notify_inval_entry(t->session, id_of(t, dir), name,
						       strlen(name));
		nodes_unref(tree_nodes(t->tree), dir);
	}
}

/* The list of mounts from its start: the process is confined, and cannot open it anew. */
static FILE *list_of_mounts(const struct trim *t)
{
	int fd = t->mounts < 0 ? -1 : fcntl(t->mounts, F_DUPFD_CLOEXEC, 0);
	FILE *list = NULL;

	if (fd >= 0 && !lseek(fd, 0, SEEK_SET))
		list = fdopen(fd, "r");
	if (!list)
		fdio_close(fd);
	return list;
}

/* Anything mounted on something of ours, as far as this process sees it. */
static bool has_mounts(const struct trim *t)
{
	FILE *mounts = list_of_mounts(t);
	size_t size = strlen(t->mountpoint);
	bool has = !mounts;
	struct mntent *entry;

	while (!has && (entry = getmntent(mounts)))
		has = !strncmp(entry->mnt_dir, t->mountpoint, size) && entry->mnt_dir[size] == '/';
	if (mounts)
		(void)fclose(mounts); /* only read */
	return has;
}

static void invalidate_all(struct trim *t, struct node *picked[], size_t n)
{
	if (has_mounts(t))
		return;
	for (size_t i = 0; i < n; i++)
		if (picked[i]->type != S_IFDIR && !tree_is_open(picked[i]))
			invalidate(t, picked[i]);
}

/* Ask for n nodes at most: how many. */
static size_t ask(struct trim *t, size_t n)
{
	struct nodes *nodes = tree_nodes(t->tree);
	struct node *picked[BATCH];

	n = nodes_pick(nodes, picked, n < BATCH ? n : BATCH);
	if (n && t->can_prune && prune(t, picked, n) == -EINVAL) {
		t->can_prune = false;
		log_debug("this kernel cannot prune: names are invalidated");
	}
	if (!t->can_prune)
		invalidate_all(t, picked, n);
	for (size_t i = 0; i < n; i++)
		nodes_unref(nodes, picked[i]);
	return n;
}

/* ---- the thread ---------------------------------------------------------- */

static bool is_crowded(struct trim *t)
{
	return nodes_count(tree_nodes(t->tree)) > t->max;
}

static void say_crowded(void *arg)
{
	struct trim *t = arg;

	if (atomic_exchange(&t->crowded, true))
		return;
	pthread_mutex_lock(&t->lock);
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

/* Until there are too many: true, or false to end. */
static bool wait_for_crowd(struct trim *t)
{
	bool stop;

	pthread_mutex_lock(&t->lock);
	while (!t->stop && (t->pause || !atomic_load(&t->crowded))) {
		if (t->pause && !t->paused) {
			io_forget(NULL);
			t->paused = true;
			pthread_cond_broadcast(&t->wake);
		}
		pthread_cond_wait(&t->wake, &t->lock);
	}
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->crowded, false);
	return !stop;
}

/* Let FORGETs come in: true, or false to end. */
static bool wait_a_little(struct trim *t, unsigned int ms)
{
	struct timespec end;
	bool stop;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	pthread_mutex_lock(&t->lock);
	while (!t->stop && !t->pause && !r)
		r = pthread_cond_timedwait(&t->wake, &t->lock, &end);
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	return !stop;
}

/* Ask for as many as are too many and some more, which go a little later: how many. */
static size_t ask_for_all(struct trim *t)
{
	size_t count = nodes_count(tree_nodes(t->tree));
	size_t keep = t->max - t->max / BELOW;
	size_t left = count > keep ? count - keep : 0;
	size_t asked = 0;
	size_t n = BATCH;

	while (left && n == BATCH) {
		n = ask(t, left);
		left -= n;
		asked += n;
	}
	return asked;
}

static bool is_to_pause(struct trim *t)
{
	bool pause;

	pthread_mutex_lock(&t->lock);
	pause = t->pause;
	pthread_mutex_unlock(&t->lock);
	return pause;
}

static void *run(void *arg)
{
	struct trim *t = arg;
	unsigned int ms = FIRST_PAUSE_MS;
	bool go_on = true;

	while (go_on && wait_for_crowd(t))
		while (go_on && !is_to_pause(t) && is_crowded(t)) {
			size_t gone = nodes_gone(tree_nodes(t->tree));
			size_t asked = ask_for_all(t);

			go_on = wait_a_little(t, ms);
			if (asked && nodes_gone(tree_nodes(t->tree)) - gone >= asked / 2)
				ms = FIRST_PAUSE_MS;
			else if (ms < LAST_PAUSE_MS)
				ms *= 2; /* most of them are in use */
		}
	return NULL;
}

/* ---- from outside -------------------------------------------------------- */

int trim_new(const struct ops_context *c, const char *mountpoint, size_t max, struct trim **out)
{
	struct trim *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->session = c->session;
	t->tree = c->tree;
	t->mountpoint = mountpoint;
	t->max = max;
	t->can_prune = true;
	t->mounts = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	/* Else small pieces that were freed keep the pages around them, too. */
	(void)mallopt(M_MXFAST, 0);
	nodes_bound(tree_nodes(t->tree), max, say_crowded, t);
	*out = t;
	return 0;
}

int trim_start(struct trim *t)
{
	int r = -pthread_create(&t->thread, NULL, run, t);

	t->started = !r;
	return r;
}

bool trim_pause(struct trim *t)
{
	struct timespec end;
	bool paused;
	int r = 0;

	if (!t->started)
		return true;
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += PAUSE_SECONDS;
	pthread_mutex_lock(&t->lock);
	t->pause = true;
	pthread_cond_broadcast(&t->wake);
	while (!t->paused && !r)
		r = pthread_cond_timedwait(&t->wake, &t->lock, &end);
	paused = t->paused;
	pthread_mutex_unlock(&t->lock);
	return paused;
}

void trim_resume(struct trim *t)
{
	pthread_mutex_lock(&t->lock);
	t->pause = t->paused = false;
	atomic_store(&t->crowded, is_crowded(t));
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

void trim_tick(struct trim *t)
{
	size_t gone = nodes_gone(tree_nodes(t->tree));

	if (gone - t->given_back > WORTH_A_TRIM && gone - t->last < QUIET) {
		(void)malloc_trim(0);
		t->given_back = gone;
	}
	t->last = gone;
}

void trim_stop(struct trim *t)
{
	if (!t || !t->started)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	(void)pthread_join(t->thread, NULL);
}

void trim_free(struct trim *t)
{
	if (!t)
		return;
	nodes_bound(tree_nodes(t->tree), SIZE_MAX, NULL, NULL);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	fdio_close(t->mounts);
	free(t);
}
