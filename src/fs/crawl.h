/* SPDX-License-Identifier: MIT */
/*
 * crawl - go through trees of a side with several threads.  One walks, in the order of
 * strcmp; what it finds that is no directory goes to whichever hand is free; a
 * directory is left when everything in it has been visited.
 *
 * A place is where the thing belongs in the other side: a path without "." or ".."
 * below its root.
 */
#ifndef FS_CRAWL_H
#define FS_CRAWL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/side.h"

struct crawl;

/* What each thread works with. */
struct crawl_hand {
	struct side_hand from;
	struct side_hand to; /* {0} if there is no other side */
};

struct crawl_dir {
	struct crawl_dir *parent;
	const char *name;      /* in the other side's directory; in `place` */
	char *path;	       /* for messages: what was asked for, and names below it */
	char *place;	       /* "" is the root */
	bool is_above;	       /* not a directory of this side: that of the other one above a top */
	struct side_node from; /* none if is_above */
	struct side_node to;   /* the visitor's; dropped after `leave` if its own */

	uint32_t n_pending; /* crawl's */
};

/* Something that is no directory. */
struct crawl_item {
	struct crawl_dir *dir;
	const char *name; /* in dir->to */
	struct side_node from;
	struct crawl_item *next; /* the visitor's, while it keeps it */
	char text[];
};

struct crawl_visitor {
	/* By the walking thread: whether to look at it; dir is the one that it is in. */
	bool (*wants)(void *arg, const struct crawl_dir *dir, const char *name,
		      const struct side_node *node);
	/* By the walking thread, before what is in it: false leaves that out. */
	bool (*enter)(void *arg, struct crawl_hand *h, struct crawl_dir *dir);
	/* By any.  True: it is kept, and crawl_done is to be called for it. */
	bool (*visit)(void *arg, struct crawl_hand *h, struct crawl_item *item);
	/* By any, for each that was to be entered; even when the crawl is stopped. */
	void (*leave)(void *arg, struct crawl_hand *h, struct crawl_dir *dir);
	/* By any: something could not be looked at; name is NULL for dir itself. */
	void (*failed)(void *arg, const struct crawl_dir *dir, const char *name, int error);
};

/* A part of a visit that others can help with, who have nothing else to do. */
struct crawl_errand {
	/* By any: help until nothing is left that is not being done. */
	void (*help)(void *arg, struct crawl_hand *h);
	void *arg;

	/* crawl's */
	struct crawl_errand *next;
	uint32_t n_helping;
	bool is_over;
};

struct crawl_spec {
	struct side *from;
	struct side *to;	 /* or NULL */
	uint32_t n_hands;	 /* the walking thread included, at least 1 */
	const atomic_bool *stop; /* set by anybody: end soon */
	const struct crawl_visitor *visitor;
	void *arg;
};

/* Start the threads (fewer are fine, but for the caller's own): 0 or -errno. */
int crawl_new(const struct crawl_spec *spec, struct crawl **out);

/*
 * Go through what is found at path in `from`, whose place is this; by the thread that
 * called crawl_new, which walks.  0, or -errno for a path that is not there; what fails
 * below it is told the visitor.
 */
int crawl_add(struct crawl *c, const char *path, const char *place);

/* Wait until everything has been visited, and free.  NULL is fine. */
void crawl_free(struct crawl *c);

/* An item that a visitor kept is done. */
void crawl_done(struct crawl *c, struct crawl_hand *h, struct crawl_item *item);

/*
 * By who visits: have others help from now on, and let go of e once nobody does.  e stays in
 * its place between the two.
 */
void crawl_offer(struct crawl *c, struct crawl_errand *e);
void crawl_withdraw(struct crawl *c, struct crawl_errand *e);

/* The path of name in dir, or of dir itself (NULL), for messages; cut to size. */
void crawl_path(const struct crawl_dir *dir, const char *name, char *path, size_t size);
/* The same of the place: a string to be freed, or NULL. */
char *crawl_place(const struct crawl_dir *dir, const char *name);

#endif /* FS_CRAWL_H */
