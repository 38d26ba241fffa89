/* SPDX-License-Identifier: MIT */
/*
 * Files that have blocks in the vault's journal: they are kept open until a
 * checkpoint has put those in place.
 *
 * A file is on the list before anything of it is in the journal, and is let go
 * of after its records are void, if no new ones came: whether new ones may come
 * is decided under the list's lock.  One that nobody can get at any more is let go
 * of at once.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/journal.h"

enum { SYNC_TOGETHER = 16 }; /* more files are cheaper to sync with their filesystem */

/* ---- the list ------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int add(struct tree *t, struct node *node)
{
	if (t->n_journalled + t->n_taken == t->journalled_room) {
		size_t room = t->journalled_room ? 2 * t->journalled_room : 16;
		struct node **more = realloc(t->journalled, room * sizeof(struct node *));

		if (!more)
			return -ENOMEM;
		t->journalled = more;
		t->journalled_room = room;
	}
	if (!t->n_journalled)
		t->journalled_since_ms = now_ms();
	t->journalled[t->n_journalled++] = node;
	return 0;
}

/* Let a node that is open have blocks in the journal. */
static int let_journal(struct tree *t, struct node *node)
{
	int r = 0;

	if (!journal_is_ready(t->store->journal))
		return 0; /* in place, then */
	pthread_mutex_lock(&t->journal_lock);
	if (!node->journalled) {
		r = add(t, node);
		if (!r) {
			node->journalled = true;
			nodes_ref(t->nodes, node);
			lock_take(&node->lock);
			node->opens++;
			lock_drop(&node->lock);
		}
	}
	if (!r)
		file_use_journal(node->file);
	pthread_mutex_unlock(&t->journal_lock);
	return r;
}

bool tree_is_open_once(struct tree *t, struct node *node)
{
	bool once;

	pthread_mutex_lock(&t->journal_lock);
	lock_take(&node->lock);
	once = node->opens == 1U + node->journalled;
	lock_drop(&node->lock);
	pthread_mutex_unlock(&t->journal_lock);
	return once;
}

/*
 * Its space is wanted.  What the journal has of it stays there; before that is void, it
 * is to be durable that the file is gone.
 */
void tree_journal_drop(struct tree *t, struct node *node)
{
	bool done = false;
	size_t at = 0;

	if (!t->store->journal)
		return;
	pthread_mutex_lock(&t->journal_lock);
	if (node->journalled) {
		while (at < t->n_journalled && t->journalled[at] != node)
			at++;
		/* Else a checkpoint has it, and lets go of it. */
		done = at < t->n_journalled && tree_file_put_if_gone(t, node);
	}
	if (done) {
		t->journalled[at] = t->journalled[--t->n_journalled];
		node->journalled = false;
		t->dropped = true;
	}
	pthread_mutex_unlock(&t->journal_lock);
	if (done)
		nodes_unref(t->nodes, node);
}

/* While nothing of the file is locked: half a part is more than all threads need. */
static void make_journal_room(struct tree *t)
{
	if (t->store->journal && journal_is_crowded(t->store->journal))
		(void)tree_checkpoint(t);
}

int tree_file_write(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
		    bool append, uint64_t *bad)
{
	int r;

	make_journal_room(t);
	r = file_write(node->file, io, offset, size, append, bad);
	while (r == FILE_JOURNAL) {
		r = let_journal(t, node);
		if (!r)
			r = file_write(node->file, io, offset, size, append, bad);
	}
	return r;
}

int tree_file_truncate(struct tree *t, struct io *io, struct node *node, uint64_t length,
		       uint64_t *bad)
{
	int r;

	make_journal_room(t);
	r = file_truncate(node->file, io, length, bad);
	while (r == FILE_JOURNAL) {
		r = let_journal(t, node);
		if (!r)
			r = file_truncate(node->file, io, length, bad);
	}
	return r;
}

int tree_file_allocate(struct tree *t, struct io *io, struct node *node,
		       const struct file_range *range, uint64_t *bad)
{
	int r;

	make_journal_room(t);
	r = file_allocate(node->file, io, range, bad);
	while (r == FILE_JOURNAL) {
		r = let_journal(t, node);
		if (!r)
			r = file_allocate(node->file, io, range, bad);
	}
	return r;
}

/* ---- checkpoints ----------------------------------------------------------- */

static int sync_all(struct tree *t, struct node *nodes[], size_t n, bool dropped)
{
	int r = 0;
	int fd;

	if (n < SYNC_TOGETHER && !dropped) {
		for (size_t i = 0; i < n && !r; i++)
			r = fdatasync(file_fd(nodes[i]->file)) ? -errno : 0;
		return r;
	}
	fd = openat(t->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 || syncfs(fd) ? -errno : 0;
	fdio_close(fd);
	return r;
}

static int put_in_place(struct tree *t, struct node *nodes[], size_t n, bool dropped,
			uint64_t epoch)
{
	uint64_t *in_place = calloc(n + 1, sizeof(*in_place));
	int r = in_place ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !r; i++)
		r = file_checkpoint(nodes[i]->file, epoch, &in_place[i]);
	if (!r)
		r = sync_all(t, nodes, n, dropped);
	for (size_t i = 0; i < n && !r; i++)
		file_checkpoint_done(nodes[i]->file, in_place[i]);
	free(in_place);
	return r ? r : journal_void(t->store->journal, epoch);
}

/* Keep on the list what has come back to it, or all; the rest is put. */
static void give_back(struct tree *t, struct node *nodes[], size_t n, bool all)
{
	size_t kept = 0;

	pthread_mutex_lock(&t->journal_lock);
	for (size_t i = 0; i < n; i++) {
		struct node *node = nodes[i];

		t->n_taken--;
		if ((all || file_uses_journal(node->file)) && !add(t, node))
			continue;
		node->journalled = false;
		nodes[kept++] = node;
	}
	pthread_mutex_unlock(&t->journal_lock);
	for (size_t i = 0; i < kept; i++) {
		tree_file_put(t, nodes[i]);
		nodes_unref(t->nodes, nodes[i]);
	}
}

static int checkpoint(struct tree *t)
{
	struct node **nodes = NULL;
	bool dropped = false;
	uint64_t epoch;
	size_t n;
	int r;

	/* First: what comes from now on is of a later epoch, or on the list. */
	r = journal_switch(t->store->journal, &epoch);
	if (r)
		return r;
	pthread_mutex_lock(&t->journal_lock);
	n = t->n_journalled;
	nodes = calloc(n + 1, sizeof(struct node *));
	if (nodes) {
		if (n)
			memcpy(nodes, t->journalled, n * sizeof(struct node *));
		t->n_taken = n;
		t->n_journalled = 0;
		dropped = t->dropped;
		t->dropped = false;
	}
	pthread_mutex_unlock(&t->journal_lock);
	if (!nodes)
		return -ENOMEM;
	r = put_in_place(t, nodes, n, dropped, epoch);
	give_back(t, nodes, n, r != 0);
	if (r && dropped) {
		pthread_mutex_lock(&t->journal_lock);
		t->dropped = true;
		pthread_mutex_unlock(&t->journal_lock);
	}
	free(nodes);
	return r;
}

int tree_checkpoint(struct tree *t)
{
	int r;

	if (!t->store->journal)
		return 0;
	pthread_mutex_lock(&t->checkpoint_lock);
	r = checkpoint(t);
	pthread_mutex_unlock(&t->checkpoint_lock);
	if (r)
		log_warn("cannot put the journal in place: %s", strerror(-r));
	return r;
}

void tree_checkpoint_if_older(struct tree *t, uint64_t ms)
{
	bool due;

	pthread_mutex_lock(&t->journal_lock);
	due = (t->n_journalled || t->dropped) && now_ms() - t->journalled_since_ms >= ms;
	pthread_mutex_unlock(&t->journal_lock);
	if (due)
		(void)tree_checkpoint(t);
}
