/* SPDX-License-Identifier: MIT */
/* Settling in the background: see settler.h for the contract. */
#include "fs/settler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
	WALK = 256, /* nodes at a time */
};

struct settler {
	struct tree *tree;
	struct io *io;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	bool suspend;	/* wanted */
	bool suspended; /* and so it is */
};

/* Settle even what is open: there may be nobody to do it later. */
static void settle_everything(struct settler *s)
{
	struct nodes *nodes = tree_nodes(s->tree);
	struct node *some[WALK];
	size_t hand = 0;
	size_t n;

	while ((n = nodes_walk(nodes, &hand, some, WALK)))
		for (size_t i = 0; i < n; i++) {
			tree_settle_open(s->tree, some[i]);
			nodes_unref(nodes, some[i]);
		}
	tree_settle(s->tree, s->io, true);
}

/* One round, without the lock. */
static void work(struct settler *s, bool suspend)
{
	if (suspend)
		settle_everything(s);
	else
		tree_settle(s->tree, s->io, false);
	if (suspend)
		io_forget(s->io);
	else if (s->io->used)
		io_wipe(s->io);
}

static void wait_a_second(struct settler *s)
{
	struct timespec next;

	(void)clock_gettime(CLOCK_MONOTONIC, &next);
	next.tv_sec++;
	(void)pthread_cond_timedwait(&s->wake, &s->lock, &next);
}

static void *run(void *arg)
{
	struct settler *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		bool suspend;

		if (s->suspended)
			pthread_cond_wait(&s->wake, &s->lock);
		else if (!s->suspend)
			wait_a_second(s);
		if (s->stop || s->suspended)
			continue;
		suspend = s->suspend;
		pthread_mutex_unlock(&s->lock);
		work(s, suspend);
		pthread_mutex_lock(&s->lock);
		s->suspended = suspend;
		pthread_cond_broadcast(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	cipher_thread_fini();
	return NULL;
}

/* Signals are for others. */
static int start_thread(struct settler *s)
{
	sigset_t all;
	sigset_t old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&s->thread, NULL, run, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = !r;
	return r;
}

int settler_start(const struct store *store, struct tree *tree, struct settler **out)
{
	struct settler *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int r;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->tree = tree;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = io_new(store, &s->io);
	if (!r && !store->read_only)
		r = start_thread(s);
	if (r)
		settler_stop(s);
	else
		*out = s;
	return r;
}

void settler_suspend(struct settler *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->suspend = true;
	pthread_cond_broadcast(&s->wake);
	while (!s->suspended)
		pthread_cond_wait(&s->wake, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void settler_resume(struct settler *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->suspend = s->suspended = false;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void settler_stop(struct settler *s)
{
	if (!s)
		return;
	if (s->started) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_broadcast(&s->wake);
		pthread_mutex_unlock(&s->lock);
		(void)pthread_join(s->thread, NULL);
	}
	if (s->started && !s->suspended) {
		tree_let_go(s->tree);
		tree_settle(s->tree, s->io, true);
	}
	io_free(s->io);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
