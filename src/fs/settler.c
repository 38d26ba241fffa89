/* SPDX-License-Identifier: MIT */
/* Settling now and then: see settler.h for the contract. */
#include "fs/settler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct settler {
	struct tree *tree;
	struct io *io;
	pthread_t thread;
	bool is_running;
	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t wake;
	bool stop;
};

static void *settle_now_and_then(void *arg)
{
	struct settler *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct timespec next;

		(void)clock_gettime(CLOCK_MONOTONIC, &next);
		next.tv_sec++;
		(void)pthread_cond_timedwait(&s->wake, &s->lock, &next);
		if (s->stop)
			break;
		pthread_mutex_unlock(&s->lock);
		tree_settle(s->tree, s->io, false);
		if (s->io->used)
			io_wipe(s->io);
		pthread_mutex_lock(&s->lock);
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
	r = -pthread_create(&s->thread, NULL, settle_now_and_then, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->is_running = !r;
	return r;
}

int settler_start(const struct store *store, struct tree *tree, struct settler **out)
{
	struct settler *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int r;

	*out = s;
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
	if (r) {
		settler_stop(s);
		*out = NULL;
	}
	return r;
}

void settler_stop(struct settler *s)
{
	if (!s)
		return;
	if (s->is_running) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		(void)pthread_join(s->thread, NULL);
		tree_let_go(s->tree);
		tree_settle(s->tree, s->io, true);
	}
	io_free(s->io);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
