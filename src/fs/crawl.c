/* SPDX-License-Identifier: MIT */
/*
 * Going through trees: see crawl.h for the contract.
 *
 * A directory counts what is pending in it: itself while it is walked, its
 * directories and its items.  Who takes the last of them away leaves it.
 */
#include "fs/crawl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cipher.h"

enum { QUEUE_SIZE = 128 };

struct thread {
	struct crawl *crawl;
	struct crawl_hand hand;
	pthread_t thread;
};

struct crawl {
	struct crawl_spec spec;
	struct crawl_hand hand; /* of the walking thread */
	struct thread *threads;
	uint32_t n_threads;

	pthread_mutex_t lock; /* guards what follows, and n_pending */
	pthread_cond_t filled;
	pthread_cond_t helped;
	struct crawl_item *queue[QUEUE_SIZE];
	uint32_t first, n;
	uint32_t n_visiting;
	struct crawl_errand *errands;
	bool is_over; /* nothing more will be found */
};

static bool is_stopped(const struct crawl *c)
{
	return c->spec.stop && atomic_load(c->spec.stop);
}

/* ---- directories --------------------------------------------------------- */

static char *join(const char *dir, const char *name)
{
	char *path;
	size_t size = strlen(dir);
	bool slash = size && *name && dir[size - 1] != '/';

	return asprintf(&path, "%s%s%s", dir, slash ? "/" : "", name) < 0 ? NULL : path;
}

void crawl_path(const struct crawl_dir *dir, const char *name, char *path, size_t size)
{
	size_t n = strlen(dir->path);
	bool slash;

	if (dir->is_above)
		name = NULL; /* its path is that of the only thing in it */
	slash = name && n && dir->path[n - 1] != '/';
	(void)snprintf(path, size, "%s%s%s", dir->path, slash ? "/" : "", name ? name : "");
}

char *crawl_place(const struct crawl_dir *dir, const char *name)
{
	return join(dir->place, name);
}

/* One in parent, or above all; path and place are taken.  NULL without memory. */
static struct crawl_dir *new_dir(struct crawl *c, struct crawl_dir *parent, char *path, char *place)
{
	struct crawl_dir *dir = path && place ? calloc(1, sizeof(*dir)) : NULL;
	const char *slash;

	if (!dir) {
		free(path);
		free(place);
		return NULL;
	}
	slash = strrchr(place, '/');
	*dir = (struct crawl_dir){ .parent = parent,
				   .path = path,
				   .place = place,
				   .name = slash ? slash + 1 : place,
				   .from = SIDE_NODE_NONE,
				   .to = SIDE_NODE_NONE,
				   .n_pending = 1 };
	if (parent) {
		(void)pthread_mutex_lock(&c->lock);
		parent->n_pending++;
		(void)pthread_mutex_unlock(&c->lock);
	}
	return dir;
}

/* One thing less is pending in dir, and perhaps above it. */
static void settle_dir(struct crawl *c, struct crawl_hand *h, struct crawl_dir *dir)
{
	while (dir) {
		struct crawl_dir *parent = dir->parent;
		bool is_last;

		(void)pthread_mutex_lock(&c->lock);
		is_last = --dir->n_pending == 0;
		(void)pthread_mutex_unlock(&c->lock);
		if (!is_last)
			return;
		c->spec.visitor->leave(c->spec.arg, h, dir);
		side_drop(&h->from, &dir->from);
		if (h->to.side)
			side_drop(&h->to, &dir->to);
		free(dir->path);
		free(dir->place);
		free(dir);
		dir = parent;
	}
}

static void fail(struct crawl *c, const struct crawl_dir *dir, const char *name, int error)
{
	c->spec.visitor->failed(c->spec.arg, dir, name, error);
}

/* ---- items --------------------------------------------------------------- */

void crawl_done(struct crawl *c, struct crawl_hand *h, struct crawl_item *item)
{
	struct crawl_dir *dir = item->dir;

	side_drop(&h->from, &item->from);
	free(item);
	settle_dir(c, h, dir);
}

static void visit(struct crawl *c, struct crawl_hand *h, struct crawl_item *item)
{
	if (is_stopped(c) || !c->spec.visitor->visit(c->spec.arg, h, item))
		crawl_done(c, h, item);
}

/* The oldest item, or NULL; with the lock held. */
static struct crawl_item *take(struct crawl *c)
{
	struct crawl_item *item = NULL;

	if (c->n) {
		item = c->queue[c->first];
		c->first = (c->first + 1) % QUEUE_SIZE;
		c->n--;
	}
	return item;
}

/* Who finds the queue full, or has nobody to help, works at it. */
static void put(struct crawl *c, struct crawl_item *item)
{
	struct crawl_item *mine = c->n_threads ? NULL : item;

	(void)pthread_mutex_lock(&c->lock);
	item->dir->n_pending++;
	if (!mine) {
		if (c->n == QUEUE_SIZE)
			mine = take(c);
		c->queue[(c->first + c->n++) % QUEUE_SIZE] = item;
		(void)pthread_cond_signal(&c->filled);
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (mine)
		visit(c, &c->hand, mine);
}

/* ---- errands ------------------------------------------------------------- */

void crawl_offer(struct crawl *c, struct crawl_errand *e)
{
	e->n_helping = 0;
	e->is_over = false;
	(void)pthread_mutex_lock(&c->lock);
	e->next = c->errands;
	c->errands = e;
	(void)pthread_cond_broadcast(&c->filled);
	(void)pthread_mutex_unlock(&c->lock);
}

void crawl_withdraw(struct crawl *c, struct crawl_errand *e)
{
	struct crawl_errand **at = &c->errands;

	(void)pthread_mutex_lock(&c->lock);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	while (e->n_helping)
		(void)pthread_cond_wait(&c->helped, &c->lock);
	(void)pthread_mutex_unlock(&c->lock);
}

/* One that there is something left of, or NULL; with the lock held. */
static struct crawl_errand *find_errand(const struct crawl *c)
{
	struct crawl_errand *e = c->errands;

	while (e && e->is_over)
		e = e->next;
	return e;
}

/* With the lock held, which is let go meanwhile. */
static void help(struct crawl *c, struct crawl_hand *h, struct crawl_errand *e)
{
	e->n_helping++;
	(void)pthread_mutex_unlock(&c->lock);
	e->help(e->arg, h);
	(void)pthread_mutex_lock(&c->lock);
	e->is_over = true;
	if (!--e->n_helping)
		(void)pthread_cond_broadcast(&c->helped);
}

/* ---- at work ------------------------------------------------------------- */

/* With the lock held, which is let go meanwhile. */
static void work_at(struct crawl *c, struct crawl_hand *h, struct crawl_item *item)
{
	c->n_visiting++;
	(void)pthread_mutex_unlock(&c->lock);
	visit(c, h, item);
	(void)pthread_mutex_lock(&c->lock);
	if (!--c->n_visiting && c->is_over)
		(void)pthread_cond_broadcast(&c->filled);
}

/* Until nothing will be found any more, and nobody visits anything that might want help. */
static void work(struct crawl *c, struct crawl_hand *h)
{
	struct crawl_errand *errand;
	struct crawl_item *item;

	(void)pthread_mutex_lock(&c->lock);
	for (;;) {
		item = take(c);
		errand = item ? NULL : find_errand(c);
		if (item) {
			work_at(c, h, item);
		} else if (errand) {
			help(c, h, errand);
		} else if (c->is_over && !c->n_visiting) {
			break;
		} else {
			(void)pthread_cond_wait(&c->filled, &c->lock);
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	work(t->crawl, &t->hand);
	cipher_thread_fini();
	return NULL;
}

/* ---- walking ------------------------------------------------------------- */

static void walk(struct crawl *c, struct crawl_dir *dir);

/* Take what was found into a new item: node is the item's, even on failure. */
static int add_item(struct crawl *c, struct crawl_dir *dir, const char *name,
		    struct side_node *node)
{
	size_t size = strlen(name) + 1;
	size_t from_size = strlen(node->name) + 1;
	struct crawl_item *item = malloc(sizeof(*item) + size + from_size);

	if (!item) {
		side_drop(&c->hand.from, node);
		return -ENOMEM;
	}
	memcpy(item->text, name, size);
	memcpy(item->text + size, node->name, from_size);
	item->dir = dir;
	item->name = item->text;
	item->next = NULL;
	item->from = *node;
	item->from.name = item->text + size;
	put(c, item);
	return 0;
}

/* A directory that was found: node is its own from now on, even on failure. */
static int add_dir(struct crawl *c, struct crawl_dir *parent, const char *name, char *path,
		   struct side_node *node)
{
	struct crawl_dir *dir = new_dir(c, parent, path, join(parent->place, name));

	if (!dir) {
		side_drop(&c->hand.from, node);
		return -ENOMEM;
	}
	dir->from = *node;
	dir->from.name = dir->name; /* what is open needs it no more */
	if (c->spec.visitor->enter(c->spec.arg, &c->hand, dir))
		walk(c, dir);
	settle_dir(c, &c->hand, dir);
	return 0;
}

static void add_name(struct crawl *c, struct crawl_dir *dir, const struct side_name *name)
{
	struct side_node node;
	int r = side_find(&c->hand.from, &dir->from, name->text, &node);

	if (!r && name->is_damaged)
		r = -EBADMSG;
	if (r == -ENOENT)
		return; /* gone meanwhile */
	if (!r && !c->spec.visitor->wants(c->spec.arg, dir, name->text, &node)) {
		side_drop(&c->hand.from, &node);
		return;
	}
	if (r)
		side_drop(&c->hand.from, &node);
	else if (S_ISDIR(node.st.st_mode))
		r = add_dir(c, dir, name->text, join(dir->path, name->text), &node);
	else
		r = add_item(c, dir, name->text, &node);
	if (r)
		fail(c, dir, name->text, r);
}

static void walk(struct crawl *c, struct crawl_dir *dir)
{
	struct side_name *names;
	size_t n;
	int r = side_list(&c->hand.from, &dir->from, &names, &n);

	if (r)
		fail(c, dir, NULL, r);
	for (size_t i = 0; i < n && !is_stopped(c); i++)
		add_name(c, dir, &names[i]);
	side_names_free(names, n);
}

/* The directory that place is in. */
static struct crawl_dir *above(struct crawl *c, const char *path, const char *place)
{
	const char *slash = strrchr(place, '/');
	struct crawl_dir *dir;

	dir = new_dir(c, NULL, strdup(path), strndup(place, slash ? (size_t)(slash - place) : 0));
	if (dir)
		dir->is_above = true;
	return dir;
}

int crawl_add(struct crawl *c, const char *path, const char *place)
{
	const char *slash = strrchr(place, '/');
	const char *name = slash ? slash + 1 : place;
	struct side_node node;
	struct crawl_dir *dir;
	int r = side_find_path(&c->hand.from, path, &node);

	if (r)
		return r;
	dir = above(c, path, place);
	if (!dir) {
		side_drop(&c->hand.from, &node);
		return -ENOMEM;
	}
	if (!c->spec.visitor->enter(c->spec.arg, &c->hand, dir))
		side_drop(&c->hand.from, &node);
	else if (S_ISDIR(node.st.st_mode))
		r = add_dir(c, dir, name, strdup(path), &node);
	else if (c->spec.visitor->wants(c->spec.arg, dir, name, &node))
		r = add_item(c, dir, name, &node);
	else
		side_drop(&c->hand.from, &node);
	settle_dir(c, &c->hand, dir);
	return r;
}

/* ---- beginning and end ------------------------------------------------- */

static int new_hand(const struct crawl_spec *spec, struct crawl_hand *h)
{
	int r = side_hand_new(spec->from, &h->from);

	if (!r && spec->to) {
		r = side_hand_new(spec->to, &h->to);
		if (r)
			side_hand_free(&h->from);
	}
	return r;
}

static void free_hand(struct crawl_hand *h)
{
	side_hand_free(&h->to);
	side_hand_free(&h->from);
}

static void start_threads(struct crawl *c)
{
	uint32_t n = c->spec.n_hands - 1;

	c->threads = n ? calloc(n, sizeof(*c->threads)) : NULL;
	for (uint32_t i = 0; c->threads && i < n; i++) {
		struct thread *t = &c->threads[i];

		t->crawl = c;
		if (new_hand(&c->spec, &t->hand))
			return;
		if (pthread_create(&t->thread, NULL, thread_main, t)) {
			free_hand(&t->hand);
			return;
		}
		c->n_threads++;
	}
}

int crawl_new(const struct crawl_spec *spec, struct crawl **out)
{
	struct crawl *c = calloc(1, sizeof(*c));
	int r;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->spec = *spec;
	(void)pthread_mutex_init(&c->lock, NULL); /* the default kind cannot fail */
	(void)pthread_cond_init(&c->filled, NULL);
	(void)pthread_cond_init(&c->helped, NULL);
	r = new_hand(spec, &c->hand);
	if (r) {
		crawl_free(c);
		return r;
	}
	start_threads(c);
	*out = c;
	return 0;
}

void crawl_free(struct crawl *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->is_over = true;
	(void)pthread_cond_broadcast(&c->filled);
	(void)pthread_mutex_unlock(&c->lock);
	if (c->hand.from.side)
		work(c, &c->hand);
	for (uint32_t i = 0; i < c->n_threads; i++)
		(void)pthread_join(c->threads[i].thread, NULL);
	/* Their slots only now: a hand that helps another must not lose its own. */
	for (uint32_t i = 0; i < c->n_threads; i++)
		free_hand(&c->threads[i].hand);
	free_hand(&c->hand);
	free(c->threads);
	(void)pthread_cond_destroy(&c->filled);
	(void)pthread_cond_destroy(&c->helped);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}
