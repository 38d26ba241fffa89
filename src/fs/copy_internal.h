/* SPDX-License-Identifier: MIT */
/* What the copy_*.c share. */
#ifndef FS_COPY_INTERNAL_H
#define FS_COPY_INTERNAL_H

#include <pthread.h>

#include "fs/copy.h"
#include "fs/crawl.h"

struct copy {
	struct copy_rules rules;
	struct crawl *crawl;
	struct copy_links *links;
	bool privileged; /* may give files away */
	pthread_mutex_t telling;
};

/* copy.c */

/* What is told when something fails. */
struct copy_about {
	const struct crawl_dir *dir;
	const char *name; /* or NULL: dir itself */
};
/* Tell and count a failure, but not of who was told to stop. */
void copy_fail(struct copy *c, const struct copy_about *about, int error, bool is_source);
bool copy_is_stopped(const struct copy *c);

/* copy_file.c */

/*
 * The content of a regular file, which is opened, into node, which was made: 0, COPY_CHANGED,
 * -ECANCELED or another -errno; *is_source: reading it.
 */
int copy_content(struct copy *c, struct crawl_hand *h, struct side_node *from,
		 struct side_node *node, bool *is_source);

/* copy_attrs.c */

/*
 * Owner, attributes, mode and times of node as those of from.  Attributes that cannot be kept are
 * told by themselves.  0 or -errno.
 */
int copy_dress(struct copy *c, struct crawl_hand *h, const struct copy_about *about,
	       const struct side_node *from, const struct side_node *node);

/* copy_links.c: which names are of one file */

struct copy_link;

int copy_links_new(struct copy_links **out);
void copy_links_free(struct copy_links *l);

enum copy_link_state {
	COPY_LINK_FIRST,  /* the caller is to copy it, and to call copy_links_finish */
	COPY_LINK_KEPT,	  /* another one does that; the item is kept for it */
	COPY_LINK_THERE,  /* it is there: *place */
	COPY_LINK_ABSENT, /* it could not be copied */
};

/* What is to be done with an item whose file has several names. */
enum copy_link_state copy_links_take(struct copy_links *l, struct crawl_item *item,
				     struct copy_link **link, const char **place);
/*
 * The first name is at place, a string that is taken, or was not copied (NULL): the items
 * that were kept meanwhile, by `next`.
 */
struct crawl_item *copy_links_finish(struct copy_links *l, struct copy_link *link, char *place);

#endif /* FS_COPY_INTERNAL_H */
