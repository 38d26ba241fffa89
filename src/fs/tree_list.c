/* SPDX-License-Identifier: MIT */
/*
 * Listing a directory.  Positions are the backing filesystem's own cookies,
 * so that a directory which changes meanwhile is listed as well as the
 * backing one is: what was there throughout comes exactly once.
 *
 * The kernel goes back a little whenever the reader's buffer was full before
 * all of our reply was in it.  That is found among the entries that were read
 * last, without a seek: after one, filesystems without lasting cookies (tmpfs
 * before Linux 6.6) go on somewhere near by if the directory has changed.
 */
#include "fs/tree_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"

enum { READ_SIZE = 64 * 1024 };

/* What getdents64(2) gives. */
struct raw_entry {
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

struct listing {
	pthread_mutex_t lock;
	struct node *dir; /* the handle keeps it alive */
	int fd;
	off_t first; /* offset of the entry at 0 of the buffer */
	off_t at;    /* of the one at `used` */
	size_t used; /* bytes of the buffer that are behind us */
	size_t last; /* where in it the last reading begins, and... */
	off_t last_at;
	size_t filled;					       /* ...ends */
	_Alignas(struct raw_entry) char buffer[2 * READ_SIZE]; /* the last two readings */
};

static const struct raw_entry *current(const struct listing *l)
{
	return (const void *)(l->buffer + l->used);
}

/* Nothing is read yet. */
static void start_at(struct listing *l, off_t offset)
{
	l->first = l->at = l->last_at = offset;
	l->used = l->last = l->filled = 0;
}

static void step(struct listing *l)
{
	l->at = current(l)->next;
	l->used += current(l)->size;
}

/* Be at an offset that is among the entries at hand or right behind them. */
static bool find(struct listing *l, off_t offset)
{
	if (offset != l->at && l->used < l->filled)
		step(l); /* mostly it is the next one */
	if (offset == l->at)
		return true;
	l->at = l->first;
	l->used = 0;
	while (l->at != offset && l->used < l->filled)
		step(l);
	return l->at == offset;
}

/* The entries behind those at hand: 0, -ENOENT if there are none, or -errno. */
static int read_more(struct listing *l)
{
	size_t kept = l->filled - l->last;
	ssize_t n;

	memmove(l->buffer, l->buffer + l->last, kept);
	l->first = l->last_at;
	l->last = 0;
	l->used = l->filled = kept;
	n = syscall(SYS_getdents64, l->fd, l->buffer + kept, READ_SIZE);
	if (n <= 0)
		return n ? -errno : -ENOENT;
	l->last = kept;
	l->last_at = l->at;
	l->filled += (size_t)n;
	return 0;
}

int tree_opendir(struct tree *t, struct node *dir, struct listing **out, bool *keep_cache)
{
	struct listing *l = NULL;
	int dirfd;
	int fd = -1;
	int r;

	*out = NULL;
	*keep_cache = false;
	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_enter(t, dir);
	if (!r)
		r = nodes_dirfd(t->nodes, dir, &dirfd);
	if (!r) {
		fd = fdio_open_dir(dirfd);
		if (fd < 0)
			r = fd;
		nodes_dirfd_put(t->nodes, dir);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	if (r)
		return r;
	l = malloc(sizeof(*l));
	if (!l) {
		fdio_close(fd);
		return -ENOMEM;
	}
	pthread_mutex_init(&l->lock, NULL);
	l->dir = dir;
	l->fd = fd;
	start_at(l, 0);
	/* From now on: what it is told of entries comes with them. */
	*keep_cache = __atomic_exchange_n(&dir->listed, true, __ATOMIC_RELAXED);
	*out = l;
	return 0;
}

void tree_closedir(struct tree *t, struct listing *l)
{
	(void)t;
	if (!l)
		return;
	fdio_close(l->fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Let the next entry be the one at offset: step, go back, seek or read more. */
static int position(struct listing *l, off_t offset)
{
	if (!offset || !find(l, offset)) {
		if (lseek(l->fd, offset, SEEK_SET) < 0)
			return -errno;
		start_at(l, offset);
	}
	return l->used < l->filled ? 0 : read_more(l);
}

/* Find out how a stored name is shown: 0, or NAMES_OURS for none of the user's. */
static int show(struct tree *t, const struct node *dir, int dirfd, const char *stored,
		char name[NAMES_PLAIN_MAX + 1], bool *damaged)
{
	int r = names_decode_at(t->keys, dir->dir_id, dirfd, stored, name);

	*damaged = r == NAMES_DAMAGED;
	if (*damaged) {
		names_show_damaged(stored, name);
		r = 0;
	}
	return r;
}

static int fill(struct tree *t, struct listing *l, const struct raw_entry *raw,
		struct listing_item *item)
{
	item->ino = raw->ino;
	item->type = (uint32_t)DTTOIF(raw->type);
	item->next = raw->next;
	item->damaged = false;
	item->is_dot = !strcmp(raw->name, ".") || !strcmp(raw->name, "..");
	strcpy(item->stored, raw->name);
	if (!item->is_dot)
		return show(t, l->dir, l->fd, item->stored, item->name, &item->damaged);
	strcpy(item->name, raw->name);
	return 0;
}

int tree_list(struct tree *t, struct listing *l, off_t offset, struct listing_item *item)
{
	int r;

	pthread_mutex_lock(&l->lock);
	while (!(r = position(l, offset))) {
		r = NAMES_OURS; /* longer names: of no filesystem we know */
		if (strlen(current(l)->name) <= NAMES_STORED_MAX)
			r = fill(t, l, current(l), item);
		if (r != NAMES_OURS)
			break;
		offset = current(l)->next;
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

int tree_list_lookup(struct tree *t, struct listing *l, const struct listing_item *item,
		     struct tree_entry *entry)
{
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_stat_at(t, l->dir, l->fd, item->stored, &entry->st);
	if (!r) {
		entry->node = tree_get_node(t, l->dir, l->fd, item->stored, &entry->st, true);
		r = entry->node ? 0 : -ENOMEM;
	}
	pthread_rwlock_unlock(&t->rename_lock);
	if (r)
		__atomic_store_n(&l->dir->listed, false, __ATOMIC_RELAXED);
	if (!r && item->damaged)
		(void)tree_damaged(t, entry->node, UINT64_MAX, "name does not authenticate");
	return r;
}

int tree_shown(struct tree *t, struct node *node, unsigned int index, struct node **dir,
	       char name[NAMES_PLAIN_MAX + 1])
{
	struct location at;
	bool damaged;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = nodes_locate_nth(t->nodes, node, index, &at);
	if (r)
		goto unlock;
	r = tree_enter(t, at.parent);
	if (!r)
		r = show(t, at.parent, at.dirfd, at.name, name, &damaged);
	if (r > 0)
		r = -EIO;
	if (!r) {
		nodes_ref(t->nodes, at.parent);
		*dir = at.parent;
	}
	location_put(t->nodes, &at);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

bool tree_is_open(struct node *node)
{
	bool is_open;

	if (node->type != S_IFREG)
		return false;
	lock_take(&node->lock);
	is_open = node->opens > 0;
	lock_drop(&node->lock);
	return is_open;
}
