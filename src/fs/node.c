/* SPDX-License-Identifier: MIT */
/*
 * Nodes in a hash table by backing inode: see node.h for the contract.
 *
 * Two locks, never nested the other way round: `lock` for the table, places
 * and counts; `fd_lock` for the directory descriptors and their LRU list.
 */
#include "fs/node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

enum {
	FIRST_BUCKETS = 1024,
	MAX_CLOSED = 4096, /* directories opened one through the other: bounds the stack */
};

/* One name of a node. */
struct place {
	struct place *next;
	struct node *parent; /* referenced */
	char name[];
};

struct nodes {
	pthread_mutex_t lock;
	struct node **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_nodes;
	struct node *root;
	struct node *all;  /* hashed or not */
	struct node *dead; /* to be freed when the lock is let go of */

	pthread_mutex_t fd_lock;
	struct node lru; /* a ring of nodes with an open, unpinned descriptor */
	uint32_t n_fds;
	uint32_t max_fds;
};

/* ---- the table ----------------------------------------------------------- */

static size_t bucket(const struct nodes *t, dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15U;

	return (size_t)(h >> 32) & (t->n_buckets - 1);
}

static void hash(struct nodes *t, struct node *node)
{
	struct node **head = &t->buckets[bucket(t, node->dev, node->ino)];

	node->hash_next = *head;
	*head = node;
	node->hashed = true;
	t->n_nodes++;
}

static void take_out(struct nodes *t, struct node *node)
{
	struct node **p;

	if (!node->hashed)
		return;
	for (p = &t->buckets[bucket(t, node->dev, node->ino)]; *p != node; p = &(*p)->hash_next)
		;
	*p = node->hash_next;
	node->hashed = false;
	t->n_nodes--;
}

static struct node *find(const struct nodes *t, const struct stat *st)
{
	struct node *node = t->buckets[bucket(t, st->st_dev, st->st_ino)];

	while (node && (node->ino != st->st_ino || node->dev != st->st_dev ||
			node->type != (st->st_mode & S_IFMT)))
		node = node->hash_next;
	return node;
}

/* Twice the buckets; without memory the chains only get longer. */
static void grow(struct nodes *t)
{
	struct node **old = t->buckets;
	size_t n_old = t->n_buckets;
	struct node **buckets;

	if (t->n_nodes < n_old)
		return;
	buckets = calloc(n_old * 2, sizeof(struct node *));
	if (!buckets)
		return;
	t->buckets = buckets;
	t->n_buckets = n_old * 2;
	t->n_nodes = 0;
	for (size_t i = 0; i < n_old; i++) {
		struct node *next;

		for (struct node *node = old[i]; node; node = next) {
			next = node->hash_next;
			hash(t, node);
		}
	}
	free(old);
}

static void insert(struct nodes *t, struct node *node)
{
	node->all_next = t->all;
	if (t->all)
		t->all->all_prev = node;
	t->all = node;
	hash(t, node);
}

static struct node *node_new(const struct stat *st)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node->type = st->st_mode & S_IFMT;
	node->fd = -1;
	return node;
}

static void node_free(struct node *node)
{
	file_close(node->file);
	free(node);
}

/* ---- places -------------------------------------------------------------- */

static struct place **find_place(struct node *node, const struct node *parent, const char *name)
{
	struct place **p = &node->places;

	while (*p && ((*p)->parent != parent || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

/* Make parent/name the first place of a node. */
static int add_place(struct node *node, struct node *parent, const char *name)
{
	struct place **known = find_place(node, parent, name);
	struct place *place = *known;
	size_t size = strlen(name) + 1;

	if (place) {
		*known = place->next;
	} else {
		place = malloc(sizeof(*place) + size);
		if (!place)
			return -ENOMEM;
		place->parent = parent;
		memcpy(place->name, name, size);
		parent->refs++;
	}
	place->next = node->places;
	node->places = place;
	return 0;
}

/* Nobody holds the node: let it go, and every parent that only it held. */
static void drop_unused(struct nodes *t, struct node *node)
{
	struct node *todo = node;

	take_out(t, node);
	node->hash_next = NULL;
	while ((node = todo)) {
		todo = node->hash_next;
		while (node->places) {
			struct place *place = node->places;
			struct node *parent = place->parent;

			node->places = place->next;
			free(place);
			if (--parent->refs == 0 && parent->lookups == 0) {
				take_out(t, parent);
				parent->hash_next = todo;
				todo = parent;
			}
		}
		if (node->all_prev)
			node->all_prev->all_next = node->all_next;
		else
			t->all = node->all_next;
		if (node->all_next)
			node->all_next->all_prev = node->all_prev;
		node->hash_next = t->dead;
		t->dead = node;
	}
}

static void close_fd(struct nodes *t, struct node *node);

/* Let go of the table's lock, then free what was dropped under it. */
static void unlock(struct nodes *t)
{
	struct node *dead = t->dead;

	t->dead = NULL;
	pthread_mutex_unlock(&t->lock);
	while (dead) {
		struct node *next = dead->hash_next;

		close_fd(t, dead);
		node_free(dead);
		dead = next;
	}
}

static void remove_place(struct nodes *t, struct node *node, struct node *parent, const char *name)
{
	struct place **p = find_place(node, parent, name);
	struct place *place = *p;

	if (!place)
		return;
	*p = place->next;
	free(place);
	if (--parent->refs == 0 && parent->lookups == 0)
		drop_unused(t, parent);
}

/* ---- life ---------------------------------------------------------------- */

int nodes_new(int root_fd, uint32_t max_fds, struct nodes **out)
{
	struct nodes *t = calloc(1, sizeof(*t));
	struct stat st;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	if (fstat(root_fd, &st)) {
		free(t);
		return -errno;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->fd_lock, NULL);
	t->max_fds = max_fds;
	t->lru.lru_next = t->lru.lru_prev = &t->lru;
	t->n_buckets = FIRST_BUCKETS;
	t->buckets = calloc(t->n_buckets, sizeof(struct node *));
	t->root = node_new(&st);
	if (!t->buckets || !t->root) {
		nodes_free(t);
		return -ENOMEM;
	}
	t->root->refs = 1;
	t->root->fd = root_fd;
	t->root->fd_pins = 1; /* never closed here */
	insert(t, t->root);
	*out = t;
	return 0;
}

void nodes_free(struct nodes *t)
{
	if (!t)
		return;
	while (t->all) {
		struct node *node = t->all;

		t->all = node->all_next;
		while (node->places) {
			struct place *place = node->places;

			node->places = place->next;
			free(place);
		}
		if (node != t->root)
			fdio_close(node->fd);
		node_free(node);
	}
	free(t->buckets);
	pthread_mutex_destroy(&t->fd_lock);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct node *nodes_root(struct nodes *t)
{
	return t->root;
}

struct node *nodes_get(struct nodes *t, const struct stat *st, struct node *parent,
		       const char *stored, bool kernel)
{
	struct node *node;

	pthread_mutex_lock(&t->lock);
	node = find(t, st);
	if (!node) {
		node = node_new(st);
		if (!node)
			goto out;
		insert(t, node);
		grow(t);
	}
	if (kernel)
		node->lookups++;
	else
		node->refs++;
	if (add_place(node, parent, stored)) {
		if (kernel)
			node->lookups--;
		else
			node->refs--;
		if (!node->lookups && !node->refs)
			drop_unused(t, node);
		node = NULL;
	}
out:
	unlock(t);
	return node;
}

void nodes_made(struct nodes *t, const struct stat *st)
{
	struct node *gone;

	pthread_mutex_lock(&t->lock);
	while ((gone = find(t, st)))
		take_out(t, gone);
	unlock(t);
}

void nodes_forget(struct nodes *t, struct node *node, uint64_t n)
{
	pthread_mutex_lock(&t->lock);
	node->lookups -= n < node->lookups ? n : node->lookups;
	if (!node->lookups && !node->refs)
		drop_unused(t, node);
	unlock(t);
}

void nodes_ref(struct nodes *t, struct node *node)
{
	pthread_mutex_lock(&t->lock);
	node->refs++;
	unlock(t);
}

void nodes_unref(struct nodes *t, struct node *node)
{
	pthread_mutex_lock(&t->lock);
	node->refs--;
	if (!node->lookups && !node->refs)
		drop_unused(t, node);
	unlock(t);
}

struct node *nodes_find(struct nodes *t, const struct stat *st)
{
	struct node *node;

	pthread_mutex_lock(&t->lock);
	node = find(t, st);
	if (node)
		node->refs++;
	unlock(t);
	return node;
}

void nodes_unlinked(struct nodes *t, struct node *node, struct node *parent, const char *stored,
		    bool last)
{
	pthread_mutex_lock(&t->lock);
	remove_place(t, node, parent, stored);
	if (last)
		take_out(t, node);
	unlock(t);
}

int nodes_renamed(struct nodes *t, struct node *node, struct node *from, const char *old,
		  struct node *to, const char *now)
{
	int r;

	if (from == to && !strcmp(old, now))
		return 0;
	pthread_mutex_lock(&t->lock);
	r = add_place(node, to, now);
	remove_place(t, node, from, old);
	unlock(t);
	return r;
}

void nodes_replaced(struct nodes *t, struct node *node, const struct stat *st)
{
	pthread_mutex_lock(&t->lock);
	take_out(t, node);
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	hash(t, node);
	unlock(t);
}

void nodes_each(struct nodes *t, void (*visit)(void *arg, struct node *node), void *arg)
{
	for (struct node *node = t->all; node; node = node->all_next)
		visit(arg, node);
}

/* ---- where things are ---------------------------------------------------- */

int nodes_locate(struct nodes *t, struct node *node, struct location *location)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (node->places) {
		location->parent = node->places->parent;
		location->parent->refs++;
		strcpy(location->name, node->places->name);
	} else {
		r = -ESTALE;
	}
	unlock(t);
	if (r)
		return r;
	r = nodes_dirfd(t, location->parent, &location->dirfd);
	if (r)
		nodes_unref(t, location->parent);
	return r;
}

void location_put(struct nodes *t, struct location *location)
{
	nodes_dirfd_put(t, location->parent);
	nodes_unref(t, location->parent);
}

static void lru_remove(struct node *node)
{
	node->lru_prev->lru_next = node->lru_next;
	node->lru_next->lru_prev = node->lru_prev;
	node->lru_prev = node->lru_next = NULL;
}

/* Unlink the descriptor to be closed if there are too many, or -1. */
static int evict(struct nodes *t)
{
	struct node *victim = t->lru.lru_next;
	int fd;

	if (t->n_fds <= t->max_fds || victim == &t->lru)
		return -1;
	lru_remove(victim);
	fd = victim->fd;
	victim->fd = -1;
	t->n_fds--;
	return fd;
}

static void close_fd(struct nodes *t, struct node *node)
{
	int fd;

	pthread_mutex_lock(&t->fd_lock);
	fd = node->fd;
	node->fd = -1;
	if (fd >= 0) {
		if (node->lru_next)
			lru_remove(node);
		t->n_fds--;
	}
	pthread_mutex_unlock(&t->fd_lock);
	fdio_close(fd);
}

/* Take a pin if the descriptor is open. */
static bool pin(struct nodes *t, struct node *dir, int *fd)
{
	bool open;

	pthread_mutex_lock(&t->fd_lock);
	open = dir->fd >= 0;
	if (open) {
		if (dir->fd_pins++ == 0)
			lru_remove(dir);
		*fd = dir->fd;
	}
	pthread_mutex_unlock(&t->fd_lock);
	return open;
}

static int open_dir(struct nodes *t, struct node *dir, int *fd)
{
	static _Thread_local unsigned int depth;
	struct location at;
	struct stat st;
	int r = -ENAMETOOLONG;

	/* Locating it opens the directory it is in, and so on upwards. */
	if (depth++ < MAX_CLOSED)
		r = nodes_locate(t, dir, &at);
	depth--;
	if (r)
		return r;
	*fd = openat(at.dirfd, at.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0) {
		r = -errno;
	} else if (fstat(*fd, &st) || st.st_ino != dir->ino || st.st_dev != dir->dev) {
		fdio_close(*fd);
		r = -ESTALE; /* something else was put in its place */
	}
	location_put(t, &at);
	return r;
}

int nodes_dirfd(struct nodes *t, struct node *dir, int *fd)
{
	int opened;
	int victim = -1;
	int r;

	if (pin(t, dir, fd))
		return 0;
	r = open_dir(t, dir, &opened);
	if (r)
		return r;
	pthread_mutex_lock(&t->fd_lock);
	if (dir->fd < 0) {
		dir->fd = opened;
		dir->fd_pins = 1;
		opened = -1;
		t->n_fds++;
		victim = evict(t);
	} else if (dir->fd_pins++ == 0) {
		lru_remove(dir); /* another thread was faster */
	}
	*fd = dir->fd;
	pthread_mutex_unlock(&t->fd_lock);
	fdio_close(opened);
	fdio_close(victim);
	return 0;
}

void nodes_dirfd_put(struct nodes *t, struct node *dir)
{
	int victim = -1;

	pthread_mutex_lock(&t->fd_lock);
	if (--dir->fd_pins == 0) {
		dir->lru_prev = t->lru.lru_prev;
		dir->lru_next = &t->lru;
		t->lru.lru_prev->lru_next = dir;
		t->lru.lru_prev = dir;
		victim = evict(t); /* when all were in use none could go */
	}
	pthread_mutex_unlock(&t->fd_lock);
	fdio_close(victim);
}

/* Put component, or "…/" where there is no more room, before the text at *at. */
static bool prepend(char *path, size_t *at, const char *component)
{
	size_t size = strlen(component);

	if (size + 4 > *at)
		return false;
	path[--*at] = '/';
	*at -= size;
	memcpy(path + *at, component, size);
	return true;
}

void nodes_path(struct nodes *t, struct node *node, char *path, size_t size)
{
	size_t at = size - 1;

	path[at] = '\0';
	pthread_mutex_lock(&t->lock);
	while (node != t->root) {
		if (!node->places) {
			prepend(path, &at, "(unlinked)");
			break;
		}
		if (!prepend(path, &at, node->places->name)) {
			at -= 3;
			memcpy(path + at, "...", 3);
			break;
		}
		node = node->places->parent;
	}
	unlock(t);
	memmove(path, path + at, size - at);
	at = strlen(path);
	if (at && path[at - 1] == '/')
		path[at - 1] = '\0';
}
