/* SPDX-License-Identifier: MIT */
/*
 * Without keys: see suspension.h for the contract.
 *
 * The kernel is asked to write out and to drop its pages while requests are
 * served: both wait for receivers.  What is read between that and the closing of
 * the park is dropped in another round.  It cannot be done behind a closed park:
 * a page whose reading waits there is locked, and who drops it waits uninterruptibly.
 */
#include "fs/suspension.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <time.h>

#include "base/log.h"
#include "engine/sync.h"
#include "fs/seek.h"

enum {
	ROUNDS = 5,
	QUIET_MS = 10 * 1000, /* how long requests at hand may take */
	WALK = 256,
};

static const struct timespec moment = { .tv_nsec = 1000 * 1000 };

bool suspension_is_on(const struct suspension *s)
{
	return atomic_load(&s->suspended);
}

/* ---- the kernel's side ----------------------------------------------------- */

/* Content, listings and targets that the kernel keeps of this node; it may hold none. */
static void drop_pages(const struct suspension *s, const struct node *node)
{
	fuse_ino_t ino = (uintptr_t)node;

	if (node == nodes_root(tree_nodes(s->context->tree)))
		ino = FUSE_ROOT_ID;
	if (node->type == S_IFREG || node->type == S_IFDIR || node->type == S_IFLNK)
		(void)fuse_lowlevel_notify_inval_inode(s->context->session, ino, 0, 0);
}

static void drop_all_pages(const struct suspension *s)
{
	struct nodes *nodes = tree_nodes(s->context->tree);
	struct node *some[WALK];
	size_t hand = 0;
	size_t n;

	while ((n = nodes_walk(nodes, &hand, some, WALK)))
		for (size_t i = 0; i < n; i++) {
			drop_pages(s, some[i]);
			nodes_unref(nodes, some[i]);
		}
}

/* What stores through mappings and collected writes have left there. */
static int write_out(struct suspension *s)
{
	struct writeout *w;
	int r;

	if (s->read_only)
		return 0;
	r = writeout_start(&s->mount, SIGUSR2, &w); /* which this thread never takes */
	return r ? r : writeout_finish(w);
}

/* ---- coming to rest -------------------------------------------------------- */

static bool comes_to_rest(const struct suspension *s)
{
	uint64_t end = sync_now_ns() + QUIET_MS * 1000000ULL;

	while (!loop_is_quiet(s->loop)) {
		if (sync_now_ns() > end)
			return false;
		(void)nanosleep(&moment, NULL);
	}
	return true;
}

static void open_again(struct suspension *s)
{
	park_open(&s->context->device.park);
	loop_resume(s->loop);
}

/* Nothing is served any more, and the kernel's pages are gone. */
static int close_park(struct suspension *s)
{
	struct device *d = &s->context->device;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t reads = device_reads(d);

		drop_all_pages(s);
		park_close(&d->park);
		if (!comes_to_rest(s))
			break;
		/* Who keeps reading has it in memory of its own, too. */
		if (!seek_is_busy(s->context->seek) &&
		    (device_reads(d) == reads || i == ROUNDS - 1))
			return 0;
		open_again(s);
		(void)nanosleep(&moment, NULL);
	}
	open_again(s);
	return SUSPENSION_BUSY;
}

/* With the park closed: 0, or nothing was wiped that is needed. */
static int forget(struct suspension *s)
{
	int r;

	settler_suspend(s->settler);
	r = loop_forget(s->loop);
	if (!r)
		r = engine_rest(s->store->engine);
	if (r) {
		settler_resume(s->settler);
		open_again(s);
		return r;
	}
	vault_suspend(s->vault);
	io_forget(NULL);
	(void)malloc_trim(0); /* what was freed may tell names */
	return 0;
}

int suspension_begin(struct suspension *s)
{
	int r = 0;

	if (suspension_is_on(s))
		return 0;
	if (!atomic_load(&s->ready))
		return SUSPENSION_BUSY;
	if (!trim_pause(s->trim))
		r = SUSPENSION_BUSY;
	if (!r)
		r = write_out(s);
	if (!r)
		r = close_park(s);
	if (!r)
		r = forget(s);
	if (r) {
		trim_resume(s->trim);
		return r;
	}
	atomic_store(&s->suspended, true);
	log_info("%s: suspended: its keys are wiped", s->mount.path);
	return 0;
}

int suspension_end(struct suspension *s, const struct vault_secret *secret)
{
	int r;

	if (!suspension_is_on(s))
		return 0;
	r = vault_resume(s->vault, secret);
	io_forget(NULL);
	if (r)
		return r;
	atomic_store(&s->suspended, false);
	settler_resume(s->settler);
	trim_resume(s->trim);
	open_again(s);
	log_info("%s: resumed", s->mount.path);
	return 0;
}
