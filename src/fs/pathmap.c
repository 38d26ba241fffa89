/* SPDX-License-Identifier: MIT */
/* Paths of both kinds: see pathmap.h for the contract. */
#include "fs/pathmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 128 * 1024 };

/* A walk from the root down: where it is, and what has been looked up on the way. */
struct walk {
	struct tree *tree;
	struct node *at;
	bool looked_up; /* at is the kernel's, as it were, and to be forgotten */
	char *out;	/* the path on the other side, so far */
	size_t size;
};

static int begin(struct walk *w, struct tree *t)
{
	*w = (struct walk){ .tree = t, .at = nodes_root(tree_nodes(t)) };
	w->out = calloc(1, SHOWN_MAX);
	return w->out ? 0 : -ENOMEM;
}

static void move_to(struct walk *w, struct node *next)
{
	if (w->looked_up)
		nodes_forget(tree_nodes(w->tree), w->at, 1);
	w->at = next;
	w->looked_up = true;
}

static int append(struct walk *w, const char *name)
{
	size_t size = strlen(name);

	if (w->size + size + 2 > SHOWN_MAX)
		return -ENAMETOOLONG;
	if (w->size)
		w->out[w->size++] = '/';
	memcpy(w->out + w->size, name, size + 1);
	w->size += size;
	return 0;
}

/* 0 and the path, or r; all else is let go of. */
static int finish(struct walk *w, int r, char **out)
{
	if (w->looked_up)
		nodes_forget(tree_nodes(w->tree), w->at, 1);
	if (!r) {
		*out = w->out;
		w->out = NULL;
	}
	free(w->out);
	return r;
}

/* The item of a directory that is stored so. */
static int find_item(struct walk *w, struct listing *l, const char *stored,
		     struct listing_item *item)
{
	off_t at = 0;
	int r;

	do {
		r = tree_list(w->tree, l, at, item);
		at = item->next;
	} while (!r && (item->is_dot || strcmp(item->stored, stored) != 0));
	return r;
}

static int step_shown(struct walk *w, const char *stored)
{
	struct listing_item item;
	struct tree_entry entry;
	struct listing *l;
	bool keep_cache;
	int r;

	if (w->at->type != S_IFDIR)
		return -ENOTDIR;
	r = tree_opendir(w->tree, w->at, &l, &keep_cache);
	if (r)
		return r;
	r = find_item(w, l, stored, &item);
	if (!r)
		r = append(w, item.name);
	if (!r)
		r = tree_list_lookup(w->tree, l, &item, &entry);
	tree_closedir(w->tree, l);
	if (!r)
		move_to(w, entry.node);
	return r;
}

static int step_stored(struct walk *w, const char *plain)
{
	struct tree_entry entry;
	int r;

	if (w->at->type != S_IFDIR)
		return -ENOTDIR;
	r = tree_lookup(w->tree, w->at, plain, &entry);
	if (!r)
		move_to(w, entry.node);
	return r;
}

/* Take each name of a path; "." and empty ones are none. */
static int each_name(struct walk *w, const char *path,
		     int (*step)(struct walk *w, const char *name))
{
	char *copy = strdup(path);
	char *rest;
	int r = copy ? 0 : -ENOMEM;

	for (char *name = copy ? strtok_r(copy, "/", &rest) : NULL; name && !r;
	     name = strtok_r(NULL, "/", &rest)) {
		if (!strcmp(name, "."))
			continue;
		r = strcmp(name, "..") ? step(w, name) : -EINVAL;
	}
	free(copy);
	return r;
}

int pathmap_store(struct tree *t, const char *plain, char **stored)
{
	struct walk w;
	int r = begin(&w, t);

	*stored = NULL;
	if (r)
		return r;
	r = each_name(&w, plain, step_stored);
	if (!r)
		nodes_path(tree_nodes(t), w.at, w.out, SHOWN_MAX);
	return finish(&w, r, stored);
}

int pathmap_show(struct tree *t, const char *stored, char **plain)
{
	struct walk w;
	int r = begin(&w, t);

	*plain = NULL;
	if (r)
		return r;
	r = each_name(&w, stored, step_shown);
	return finish(&w, r, plain);
}
