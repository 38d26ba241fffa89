/* SPDX-License-Identifier: MIT */
/*
 * Nodes in a hash table by backing inode: see node.h for the contract.
 *
 * The table is in shards, by the hash, each with a lock for its chains and for
 * what is in its nodes.  A shard's lock is held alone, but for nodes_replaced
 * (two, in order) and under fd_lock, which guards the list of open directory
 * descriptors and is taken only where one is opened or closed.
 *
 * A node's count of holds rises from 0 and falls to 0 only under its shard's
 * lock, and at 0 the node is out of its chain before the lock is let go of: so
 * nobody finds a node that is about to be freed, and whoever holds one may take
 * another hold without a lock.  A place holds its parent, which is in another
 * shard: that hold is dropped after the lock is.
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
	SHARD_BITS = 6,
	SHARDS = 1 << SHARD_BITS,
	FIRST_BUCKETS = 16,
	MAX_CLOSED = 4096, /* directories opened one through the other: bounds the stack */
};

/* One name of a node. */
struct place {
	struct place *next;
	struct node *parent; /* held */
	char name[];
};

struct shard {
	_Alignas(64) pthread_mutex_t lock; /* no two share a cache line */
	struct node **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_nodes;
};

struct nodes {
	struct shard shards[SHARDS];
	struct node *root;
	size_t max_nodes;
	void (*crowded)(void *arg);
	void *crowded_arg;
	size_t hand; /* where nodes_pick goes on: shard and bucket */

	/* For the bound; away from what every lookup reads. */
	_Alignas(64) atomic_size_t n_made;
	atomic_size_t n_gone;

	_Alignas(64) pthread_mutex_t fd_lock;
	struct node **open_dirs; /* with an open descriptor, the root's aside */
	size_t room;
	size_t fd_hand;	     /* where evict goes on */
	atomic_size_t n_fds; /* changed under fd_lock; read without it, to see if it is needed */
	size_t max_fds;
};

/* 120 bytes are what fits a piece of 128 of the C library's allocator. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct node) <= 120, "a node is small");

/* ---- the table ----------------------------------------------------------- */

/* Of the number alone: a vault is nearly always on one device. */
static uint64_t hash_of(ino_t ino)
{
	return (uint64_t)ino * 0x9e3779b97f4a7c15U;
}

static struct shard *shard_of(struct nodes *t, ino_t ino)
{
	return &t->shards[hash_of(ino) >> (64 - SHARD_BITS)];
}

static struct node **bucket_of(const struct shard *s, ino_t ino)
{
	return &s->buckets[hash_of(ino) >> 32 & (s->n_buckets - 1)];
}

/* A held node's shard, locked; the number may change until it is. */
static struct shard *lock_shard(struct nodes *t, struct node *node)
{
	for (;;) {
		ino_t ino = __atomic_load_n(&node->ino, __ATOMIC_RELAXED);
		struct shard *s = shard_of(t, ino);

		pthread_mutex_lock(&s->lock);
		if (__atomic_load_n(&node->ino, __ATOMIC_RELAXED) == ino)
			return s;
		pthread_mutex_unlock(&s->lock);
	}
}

static void unlock(struct shard *s)
{
	pthread_mutex_unlock(&s->lock);
}

static void chain(struct shard *s, struct node *node)
{
	struct node **head = bucket_of(s, node->ino);

	node->hash_next = *head;
	*head = node;
	s->n_nodes++;
}

static void unchain(struct shard *s, struct node *node)
{
	struct node **p = bucket_of(s, node->ino);

	while (*p != node)
		p = &(*p)->hash_next;
	*p = node->hash_next;
	s->n_nodes--;
}

/* The first node of an inode from `node` on. */
static struct node *find_from(struct node *node, const struct stat *st)
{
	while (node && (node->ino != st->st_ino || node->gone || node->dev != st->st_dev ||
			node->type != (st->st_mode & S_IFMT)))
		node = node->hash_next;
	return node;
}

static struct node *find(const struct shard *s, const struct stat *st)
{
	return find_from(*bucket_of(s, st->st_ino), st);
}

static struct place **find_place(struct node *node, const struct node *parent, const char *name)
{
	struct place **p = &node->places;

	while (*p && ((*p)->parent != parent || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

/* Whether a node may be found in any place, as far as the table knows. */
static bool is_shared(const struct node *node)
{
	return node->type != S_IFDIR && node->type != S_IFLNK &&
	       (node->type != S_IFREG || node->shared);
}

/* The node of what was found as parent/name; if none is known there, one without a place. */
static struct node *find_at(const struct shard *s, const struct stat *st, const struct node *parent,
			    const char *name)
{
	struct node *placeless = NULL;
	struct node *there = NULL;
	struct node *node = find(s, st);

	for (; node; node = find_from(node->hash_next, st)) {
		if (is_shared(node))
			return node;
		if (*find_place(node, parent, name))
			there = node;
		else if (!node->places)
			placeless = node;
	}
	return there ? there : placeless;
}

/* Twice the buckets; without memory the chains only get longer. */
static void grow(struct shard *s)
{
	struct node **old = s->buckets;
	size_t n_old = s->n_buckets;
	struct node **buckets;

	if (s->n_nodes < n_old)
		return;
	buckets = calloc(n_old * 2, sizeof(struct node *));
	if (!buckets)
		return;
	s->buckets = buckets;
	s->n_buckets = n_old * 2;
	s->n_nodes = 0;
	for (size_t i = 0; i < n_old; i++) {
		struct node *next;

		for (struct node *node = old[i]; node; node = next) {
			next = node->hash_next;
			chain(s, node);
		}
	}
	free(old);
}

/* A node that nobody holds yet, in its chain. */
static struct node *node_new(struct nodes *t, struct shard *s, const struct stat *st)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->dev = st->st_dev;
	node->ino = st->st_ino;
	node->type = (uint16_t)(st->st_mode & S_IFMT);
	if (node->type == S_IFDIR)
		node->fd = -1;
	else if (node->type != S_IFREG)
		node->held_fd = -1;
	chain(s, node);
	grow(s);
	atomic_fetch_add_explicit(&t->n_made, 1, memory_order_relaxed);
	return node;
}

static void node_free(struct node *node)
{
	if (node->type == S_IFREG)
		file_close(node->file);
	else if (node->type != S_IFDIR)
		fdio_close(node->held_fd);
	free(node);
}

/* ---- holds --------------------------------------------------------------- */

static void hold(struct node *node)
{
	atomic_fetch_add_explicit(&node->holds, 1, memory_order_relaxed);
}

/* Drop a hold with the shard locked: true if it was the last; then it is the caller's to free. */
static bool drop_locked(struct nodes *t, struct shard *s, struct node *node)
{
	if (atomic_fetch_sub_explicit(&node->holds, 1, memory_order_acq_rel) > 1)
		return false;
	unchain(s, node);
	node->hash_next = NULL;
	atomic_fetch_add_explicit(&t->n_gone, 1, memory_order_release);
	return true;
}

/* The same without the lock, which only the last one needs. */
static bool drop(struct nodes *t, struct node *node)
{
	unsigned int n = atomic_load_explicit(&node->holds, memory_order_relaxed);
	struct shard *s;
	bool last;

	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(
			    &node->holds, &n, n - 1, memory_order_acq_rel, memory_order_relaxed))
			return false;
	s = lock_shard(t, node);
	last = drop_locked(t, s, node);
	unlock(s);
	return last;
}

static void close_fd(struct nodes *t, struct node *node);

/* Free a node that nobody holds (NULL is fine), and every parent that only it held. */
static void free_up(struct nodes *t, struct node *node)
{
	struct node *todo = node;

	while ((node = todo)) {
		todo = node->hash_next;
		while (node->places) {
			struct place *place = node->places;

			node->places = place->next;
			if (drop(t, place->parent)) {
				place->parent->hash_next = todo;
				todo = place->parent;
			}
			free(place);
		}
		close_fd(t, node);
		node_free(node);
	}
}

/* ---- places -------------------------------------------------------------- */

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
		hold(parent);
	}
	place->next = node->places;
	node->places = place;
	return 0;
}

/* Take parent/name from the places of a node: it, for free_place, or NULL. */
static struct place *take_place(struct node *node, const struct node *parent, const char *name)
{
	struct place **p = find_place(node, parent, name);
	struct place *place = *p;

	if (place)
		*p = place->next;
	return place;
}

static void free_place(struct nodes *t, struct place *place)
{
	if (place && drop(t, place->parent))
		free_up(t, place->parent);
	free(place);
}

/* ---- life ---------------------------------------------------------------- */

int nodes_new(int root_fd, uint32_t max_fds, struct nodes **out)
{
	struct nodes *t = aligned_alloc(_Alignof(struct nodes), sizeof(*t));
	struct stat st;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	if (fstat(root_fd, &st)) {
		free(t);
		return -errno;
	}
	pthread_mutex_init(&t->fd_lock, NULL);
	t->max_fds = max_fds;
	t->max_nodes = SIZE_MAX;
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->buckets = calloc(FIRST_BUCKETS, sizeof(struct node *));
		s->n_buckets = s->buckets ? FIRST_BUCKETS : 0;
		if (!s->buckets)
			goto no_memory;
	}
	t->root = node_new(t, shard_of(t, st.st_ino), &st);
	if (!t->root)
		goto no_memory;
	hold(t->root);
	t->root->fd = root_fd;
	t->root->fd_pins = 1; /* never closed here */
	*out = t;
	return 0;
no_memory:
	nodes_free(t);
	return -ENOMEM;
}

static void free_each(void *arg, struct node *node)
{
	struct nodes *t = arg;

	while (node->places) {
		struct place *place = node->places;

		node->places = place->next;
		free(place);
	}
	if (node->type == S_IFDIR && node != t->root)
		fdio_close(node->fd);
	node_free(node);
}

void nodes_free(struct nodes *t)
{
	if (!t)
		return;
	nodes_each(t, free_each, t);
	for (size_t i = 0; i < SHARDS; i++) {
		free(t->shards[i].buckets);
		pthread_mutex_destroy(&t->shards[i].lock);
	}
	free(t->open_dirs);
	pthread_mutex_destroy(&t->fd_lock);
	free(t);
}

struct node *nodes_root(struct nodes *t)
{
	return t->root;
}

static struct node *get_node(struct nodes *t, const struct stat *st, struct node *parent,
			     const char *stored, bool kernel, bool shared)
{
	struct shard *s = shard_of(t, st->st_ino);
	bool is_new;
	struct node *node;
	struct node *unused = NULL;

	pthread_mutex_lock(&s->lock);
	node = find_at(s, st, parent, stored);
	if (!node && shared)
		node = find(s, st);
	is_new = !node;
	if (is_new)
		node = node_new(t, s, st);
	if (!node)
		goto out;
	node->recent = !is_new;
	if (shared)
		node->shared = true;
	hold(node);
	if (parent && add_place(node, parent, stored)) {
		if (drop_locked(t, s, node))
			unused = node;
		node = NULL;
	} else if (kernel && node->lookups++) {
		atomic_fetch_sub(&node->holds, 1); /* all lookups are one hold */
	}
out:
	unlock(s);
	free_up(t, unused);
	if (is_new && node && nodes_count(t) > t->max_nodes)
		t->crowded(t->crowded_arg);
	return node;
}

struct node *nodes_get(struct nodes *t, const struct stat *st, struct node *parent,
		       const char *stored, bool kernel)
{
	return get_node(t, st, parent, stored, kernel, false);
}

struct node *nodes_get_shared(struct nodes *t, const struct stat *st, struct node *parent,
			      const char *stored, bool kernel)
{
	return get_node(t, st, parent, stored, kernel, true);
}

void nodes_share(struct nodes *t, struct node *node)
{
	struct shard *s = lock_shard(t, node);

	node->shared = true;
	unlock(s);
}

void nodes_made(struct nodes *t, const struct stat *st)
{
	struct shard *s = shard_of(t, st->st_ino);
	struct node *node;

	pthread_mutex_lock(&s->lock);
	while ((node = find(s, st)))
		node->gone = true;
	unlock(s);
}

/* What the kernel kept of its directories' listings has a gap now. */
static void mark_unlisted(struct node *node)
{
	for (struct place *place = node->places; place; place = place->next)
		__atomic_store_n(&place->parent->listed, false, __ATOMIC_RELAXED);
}

bool nodes_forget(struct nodes *t, struct node *node, uint64_t n)
{
	struct shard *s = lock_shard(t, node);
	bool last = false;
	bool all;

	if (node->lookups) {
		node->lookups -= n < node->lookups ? n : node->lookups;
		if (!node->lookups) {
			mark_unlisted(node);
			last = drop_locked(t, s, node);
		}
	}
	all = last || !node->lookups;
	unlock(s);
	if (last)
		free_up(t, node);
	return all;
}

void nodes_ref(struct nodes *t, struct node *node)
{
	(void)t;
	hold(node);
}

void nodes_unref(struct nodes *t, struct node *node)
{
	if (drop(t, node))
		free_up(t, node);
}

struct node *nodes_find(struct nodes *t, const struct stat *st, const struct node *parent,
			const char *stored)
{
	struct shard *s = shard_of(t, st->st_ino);
	struct node *node;

	pthread_mutex_lock(&s->lock);
	node = find_at(s, st, parent, stored);
	if (node)
		hold(node);
	unlock(s);
	return node;
}

void nodes_unlinked(struct nodes *t, struct node *node, struct node *parent, const char *stored,
		    bool last)
{
	struct shard *s = lock_shard(t, node);
	struct place *place = take_place(node, parent, stored);

	if (last)
		node->gone = true;
	unlock(s);
	free_place(t, place);
}

int nodes_renamed(struct nodes *t, struct node *node, struct node *from, const char *old,
		  struct node *to, const char *now)
{
	struct shard *s;
	struct place *place;
	int r;

	if (from == to && !strcmp(old, now))
		return 0;
	s = lock_shard(t, node);
	r = add_place(node, to, now);
	place = take_place(node, from, old);
	unlock(s);
	free_place(t, place);
	return r;
}

void nodes_replaced(struct nodes *t, struct node *node, const struct stat *st)
{
	struct shard *from = shard_of(t, node->ino);
	struct shard *to = shard_of(t, st->st_ino);

	pthread_mutex_lock(from < to ? &from->lock : &to->lock);
	if (from != to)
		pthread_mutex_lock(from < to ? &to->lock : &from->lock);
	unchain(from, node);
	node->dev = st->st_dev;
	__atomic_store_n(&node->ino, st->st_ino, __ATOMIC_RELAXED);
	chain(to, node);
	grow(to);
	unlock(from);
	if (from != to)
		unlock(to);
}

void nodes_each(struct nodes *t, void (*visit)(void *arg, struct node *node), void *arg)
{
	for (size_t i = 0; i < SHARDS; i++)
		for (size_t k = 0; k < t->shards[i].n_buckets; k++) {
			struct node *next;

			for (struct node *node = t->shards[i].buckets[k]; node; node = next) {
				next = node->hash_next;
				visit(arg, node);
			}
		}
}

/* ---- the bound ----------------------------------------------------------- */

size_t nodes_count(const struct nodes *t)
{
	size_t gone = nodes_gone(t); /* first: it never is more than were made */

	return atomic_load_explicit(&t->n_made, memory_order_acquire) - gone;
}

size_t nodes_gone(const struct nodes *t)
{
	return atomic_load_explicit(&t->n_gone, memory_order_acquire);
}

void nodes_bound(struct nodes *t, size_t max, void (*crowded)(void *arg), void *arg)
{
	t->max_nodes = max;
	t->crowded = crowded;
	t->crowded_arg = arg;
}

/* True if only the kernel holds the node, and it was not asked for lately. */
static bool is_idle(struct node *node)
{
	bool recent = node->recent;

	if (!node->lookups || node->gone || atomic_load(&node->holds) != 1)
		return false;
	node->recent = false;
	return !recent;
}

/* Pick from a bucket: how many. */
static size_t pick_bucket(struct shard *s, size_t bucket, struct node *picked[], size_t n)
{
	size_t found = 0;

	for (struct node *node = s->buckets[bucket]; node && found < n; node = node->hash_next)
		if (is_idle(node)) {
			hold(node);
			picked[found++] = node;
		}
	return found;
}

/* Pick from the hand on to the end of its shard, and put the hand behind. */
static size_t pick_shard(struct nodes *t, struct node *picked[], size_t n)
{
	struct shard *s = &t->shards[t->hand % SHARDS];
	size_t bucket = t->hand / SHARDS;
	size_t found = 0;

	pthread_mutex_lock(&s->lock);
	while (found < n && bucket < s->n_buckets)
		found += pick_bucket(s, bucket++, picked + found, n - found);
	if (bucket < s->n_buckets)
		t->hand = t->hand % SHARDS + bucket * SHARDS;
	else
		t->hand = (t->hand + 1) % SHARDS;
	unlock(s);
	return found;
}

size_t nodes_pick(struct nodes *t, struct node *picked[], size_t n)
{
	size_t found = 0;

	/* Twice round and the rest of a shard: the first time may only clear marks. */
	for (size_t i = 0; i <= 2 * SHARDS && found < n; i++)
		found += pick_shard(t, picked + found, n - found);
	return found;
}

/* The whole of a bucket, or none of it: false. */
static bool take_bucket(const struct shard *s, size_t bucket, struct node *some[], size_t *found,
			size_t n)
{
	size_t before = *found;

	for (struct node *node = s->buckets[bucket]; node; node = node->hash_next) {
		if (*found == n && before) {
			*found = before;
			return false;
		}
		if (*found < n)
			some[(*found)++] = node;
	}
	for (size_t i = before; i < *found; i++)
		hold(some[i]);
	return true;
}

size_t nodes_walk(struct nodes *t, size_t *hand, struct node *some[], size_t n)
{
	size_t found = 0;

	/* The hand is a shard and a bucket; a table that grows splits buckets upwards. */
	while (!found && *hand % SHARDS < SHARDS && *hand != SIZE_MAX) {
		struct shard *s = &t->shards[*hand % SHARDS];
		size_t bucket = *hand / SHARDS;
		bool fits = true;

		pthread_mutex_lock(&s->lock);
		while (fits && bucket < s->n_buckets) {
			fits = take_bucket(s, bucket, some, &found, n);
			bucket += fits;
		}
		fits = bucket >= s->n_buckets;
		unlock(s);
		if (!fits)
			*hand = *hand % SHARDS + bucket * SHARDS;
		else
			*hand = *hand % SHARDS + 1 < SHARDS ? *hand % SHARDS + 1 : SIZE_MAX;
	}
	return found;
}

/* ---- where things are ---------------------------------------------------- */

static int locate(struct nodes *t, struct node *node, unsigned int index, bool in_use,
		  struct location *location)
{
	struct shard *s = lock_shard(t, node);
	struct place *place = node->places;
	int r;

	node->recent = node->recent || in_use;
	while (place && index--)
		place = place->next;
	if (place) {
		location->parent = place->parent;
		hold(place->parent);
		strcpy(location->name, place->name);
	}
	unlock(s);
	if (!place)
		return -ESTALE;
	r = nodes_dirfd(t, location->parent, &location->dirfd);
	if (r)
		nodes_unref(t, location->parent);
	return r;
}

int nodes_locate(struct nodes *t, struct node *node, struct location *location)
{
	return locate(t, node, 0, true, location);
}

int nodes_locate_nth(struct nodes *t, struct node *node, unsigned int index,
		     struct location *location)
{
	return locate(t, node, index, false, location);
}

void location_put(struct nodes *t, struct location *location)
{
	nodes_dirfd_put(t, location->parent);
	nodes_unref(t, location->parent);
}

/* Take an open descriptor off the list; fd_lock is held. */
static void unlist(struct nodes *t, struct node *dir)
{
	size_t n = atomic_fetch_sub(&t->n_fds, 1) - 1;
	struct node *last = t->open_dirs[n];

	t->open_dirs[dir->fd_slot] = last;
	last->fd_slot = dir->fd_slot;
}

/* Take the descriptor of a directory that can do without it, or -1; fd_lock is held. */
static int take_idle_fd(struct nodes *t, struct node *dir)
{
	struct shard *s = lock_shard(t, dir);
	int fd = -1;

	if (!dir->fd_pins && !dir->fd_used) {
		fd = dir->fd;
		dir->fd = -1;
	}
	dir->fd_used = false;
	unlock(s);
	if (fd >= 0)
		unlist(t, dir);
	return fd;
}

/* The descriptor to be closed if there are too many, or -1; fd_lock is held. */
static int evict(struct nodes *t)
{
	size_t n = atomic_load(&t->n_fds);
	int fd = -1;

	if (n <= t->max_fds)
		return -1;
	for (size_t i = 0; i < 2 * n && fd < 0; i++) {
		if (t->fd_hand >= n)
			t->fd_hand = 0;
		fd = take_idle_fd(t, t->open_dirs[t->fd_hand]);
		t->fd_hand += fd < 0; /* else another one is there now */
	}
	return fd;
}

/* Nobody holds the node, nor will. */
static void close_fd(struct nodes *t, struct node *node)
{
	int fd;

	if (node->type != S_IFDIR)
		return;
	pthread_mutex_lock(&t->fd_lock);
	fd = node->fd;
	if (fd >= 0)
		unlist(t, node);
	pthread_mutex_unlock(&t->fd_lock);
	fdio_close(fd);
}

/* Take a pin if the descriptor is open. */
static bool pin(struct nodes *t, struct node *dir, int *fd)
{
	struct shard *s = lock_shard(t, dir);
	bool open = dir->fd >= 0;

	if (open) {
		dir->fd_pins++;
		dir->fd_used = true;
		*fd = dir->fd;
	}
	unlock(s);
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

/* Room for one more on the list; fd_lock is held. */
static bool make_room(struct nodes *t)
{
	struct node **more;

	if (atomic_load(&t->n_fds) < t->room)
		return true;
	more = realloc(t->open_dirs, (t->room * 2 + 64) * sizeof(struct node *));
	if (!more)
		return false;
	t->open_dirs = more;
	t->room = t->room * 2 + 64;
	return true;
}

/* Give dir a descriptor just opened, with a pin: true if it had none; fd_lock is held. */
static bool give_fd(struct nodes *t, struct node *dir, int fd)
{
	struct shard *s = lock_shard(t, dir);
	bool had_none = dir->fd < 0;

	if (had_none)
		dir->fd = fd;
	dir->fd_pins++;
	unlock(s);
	if (!had_none)
		return false;
	dir->fd_slot = (uint32_t)atomic_load(&t->n_fds);
	t->open_dirs[dir->fd_slot] = dir;
	atomic_fetch_add(&t->n_fds, 1);
	return true;
}

int nodes_dirfd(struct nodes *t, struct node *dir, int *fd)
{
	int opened = -1;
	int victim = -1;
	int r;

	if (pin(t, dir, fd))
		return 0;
	r = open_dir(t, dir, &opened);
	if (r)
		return r;
	pthread_mutex_lock(&t->fd_lock);
	if (!make_room(t)) {
		r = -ENOMEM;
	} else {
		if (give_fd(t, dir, opened))
			opened = -1;
		*fd = dir->fd; /* pinned: it stays */
		victim = evict(t);
	}
	pthread_mutex_unlock(&t->fd_lock);
	fdio_close(opened);
	fdio_close(victim);
	return r;
}

void nodes_dirfd_put(struct nodes *t, struct node *dir)
{
	struct shard *s = lock_shard(t, dir);
	bool idle = --dir->fd_pins == 0;
	int victim;

	unlock(s);
	if (!idle || atomic_load_explicit(&t->n_fds, memory_order_relaxed) <= t->max_fds)
		return;
	/* When all were in use none could go. */
	pthread_mutex_lock(&t->fd_lock);
	victim = evict(t);
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

/* Put a held node's name before the text at *at: its parent, held, or NULL to stop there. */
static struct node *prepend_name(struct nodes *t, struct node *node, char *path, size_t *at)
{
	struct shard *s = lock_shard(t, node);
	struct node *parent = NULL;

	if (!node->places) {
		prepend(path, at, "(unlinked)");
	} else if (!prepend(path, at, node->places->name)) {
		*at -= 3;
		memcpy(path + *at, "...", 3);
	} else {
		parent = node->places->parent;
		hold(parent);
	}
	unlock(s);
	return parent;
}

void nodes_path(struct nodes *t, struct node *node, char *path, size_t size)
{
	size_t at = size - 1;

	path[at] = '\0';
	hold(node);
	while (node && node != t->root) {
		struct node *parent = prepend_name(t, node, path, &at);

		nodes_unref(t, node);
		node = parent;
	}
	if (node)
		nodes_unref(t, node);
	memmove(path, path + at, size - at);
	at = strlen(path);
	if (at && path[at - 1] == '/')
		path[at - 1] = '\0';
}
