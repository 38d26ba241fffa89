/* SPDX-License-Identifier: MIT */
/*
 * Holes and what the kernel holds of them: see seek.h.
 *
 * Look, have the kernel write out (and drop) its pages of the hole that was
 * found, and look again, until that changes nothing.
 */
#include "fs/seek.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { MAX_LOOKS = 16 }; /* somebody fills the hole as fast as we look */

struct waiting {
	struct waiting *next;
	struct seek_request request;
};

struct seek {
	struct fuse_session *session;
	struct tree *tree;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct waiting *first, *last;
	bool stop;
	atomic_uint n; /* taken on and not answered */
};

/* ---- looking ------------------------------------------------------------- */

/* What was found, and the hole that was believed in for it: from == to for none. */
struct look {
	int r; /* 0 or -ENXIO; else it is over */
	uint64_t found;
	uint64_t from, to;
};

static struct look look(const struct seek_request *request)
{
	struct file *f = request->node->file;
	struct look l = { .from = request->offset };

	l.r = tree_seek(request->node, request->offset, request->hole, &l.found);
	if (l.r && l.r != -ENXIO)
		return l;
	l.to = l.r ? file_length(f) : l.found;
	if (request->hole && !l.r) {
		l.from = l.found;
		if (tree_seek(request->node, l.from, false, &l.to))
			l.to = file_length(f);
	}
	if (l.to < l.from)
		l.to = l.from;
	return l;
}

static void reply(const struct seek_request *request, const struct look *l)
{
	if (l->r)
		(void)fuse_reply_err(request->req, -l->r);
	else
		(void)fuse_reply_lseek(request->req, (off_t)l->found);
}

static void look_closely(const struct seek *s, const struct seek_request *request)
{
	struct look last = look(request);
	struct look now;

	for (int i = 0; i < MAX_LOOKS && last.from < last.to; i++) {
		(void)fuse_lowlevel_notify_inval_inode(s->session, request->ino, (off_t)last.from,
						       (off_t)(last.to - last.from));
		now = look(request);
		if (now.r == last.r && now.from == last.from && now.to == last.to)
			break;
		last = now;
	}
	reply(request, &last);
}

/* ---- the thread ---------------------------------------------------------- */

static struct waiting *next(struct seek *s)
{
	struct waiting *w;

	pthread_mutex_lock(&s->lock);
	while (!s->first && !s->stop)
		pthread_cond_wait(&s->wake, &s->lock);
	w = s->first;
	if (w)
		s->first = w->next;
	pthread_mutex_unlock(&s->lock);
	return w;
}

static void *run(void *arg)
{
	struct seek *s = arg;
	struct waiting *w;

	while ((w = next(s))) {
		look_closely(s, &w->request);
		nodes_unref(tree_nodes(s->tree), w->request.node);
		free(w);
		atomic_fetch_sub(&s->n, 1);
	}
	return NULL;
}

/* ---- from outside -------------------------------------------------------- */

int seek_start(const struct ops_context *c, struct seek **out)
{
	struct seek *s = calloc(1, sizeof(*s));
	int r;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->session = c->session;
	s->tree = c->tree;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	r = -pthread_create(&s->thread, NULL, run, s);
	if (r)
		seek_free(s);
	else
		*out = s;
	return r;
}

/* False when the thread has ended. */
static bool enqueue(struct seek *s, struct waiting *w)
{
	bool ended;

	pthread_mutex_lock(&s->lock);
	ended = s->stop;
	if (!ended) {
		if (s->first)
			s->last->next = w;
		else
			s->first = w;
		s->last = w;
		atomic_fetch_add(&s->n, 1);
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return !ended;
}

/* Everything may be data. */
static void know_nothing(const struct seek_request *request)
{
	uint64_t length = file_length(request->node->file);
	const struct look l = { .r = request->offset < length ? 0 : -ENXIO,
				.found = request->hole ? length : request->offset };

	reply(request, &l);
}

void seek_answer(struct seek *s, const struct seek_request *request)
{
	struct look l = look(request);
	struct waiting *w;

	if (l.from == l.to) { /* no hole had a part in it */
		reply(request, &l);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w) {
		w->request = *request;
		nodes_ref(tree_nodes(s->tree), request->node);
	}
	if (w && enqueue(s, w))
		return;
	if (w)
		nodes_unref(tree_nodes(s->tree), request->node);
	free(w);
	know_nothing(request);
}

bool seek_is_busy(const struct seek *s)
{
	return atomic_load(&s->n) != 0;
}

void seek_stop(struct seek *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
}

void seek_free(struct seek *s)
{
	if (!s)
		return;
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
