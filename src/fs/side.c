/* SPDX-License-Identifier: MIT */
/* To one kind of side or the other: see side.h for the contract. */
#include "fs/side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct side_node none = SIDE_NODE_NONE;

void side_free(struct side *s)
{
	if (s)
		s->ops->free(s);
}

int side_hand_new(struct side *s, struct side_hand *hand)
{
	int r;

	*hand = (struct side_hand){ .side = s };
	r = s->ops->hand_new(hand);
	if (r)
		*hand = (struct side_hand){ 0 };
	return r;
}

void side_hand_free(struct side_hand *hand)
{
	if (hand->side)
		hand->side->ops->hand_free(hand);
	*hand = (struct side_hand){ 0 };
}

int side_find_path(struct side_hand *h, const char *path, struct side_node *node)
{
	*node = none;
	return h->side->ops->find_path(h, path, node);
}

int side_find(struct side_hand *h, const struct side_node *dir, const char *name,
	      struct side_node *node)
{
	*node = none;
	return h->side->ops->find(h, dir, name, node);
}

void side_drop(struct side_hand *h, struct side_node *node)
{
	h->side->ops->drop(h, node);
	*node = none;
}

int side_stat(struct side_hand *h, struct side_node *node)
{
	return h->side->ops->stat(h, node);
}

int side_is_suspect(struct side_hand *h, const struct side_node *node)
{
	return h->side->ops->is_suspect(h, node);
}

/* ---- listing ------------------------------------------------------------- */

struct names {
	struct side_name *items;
	size_t n, room;
};

static int add_name(void *arg, const char *name, bool is_damaged)
{
	struct names *names = arg;
	char *text;

	if (names->n == names->room) {
		size_t room = names->room ? 2 * names->room : 64;
		struct side_name *items = reallocarray(names->items, room, sizeof(*items));

		if (!items)
			return -ENOMEM;
		names->items = items;
		names->room = room;
	}
	text = strdup(name);
	if (!text)
		return -ENOMEM;
	names->items[names->n++] = (struct side_name){ text, is_damaged };
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct side_name *x = a;
	const struct side_name *y = b;

	return strcmp(x->text, y->text);
}

int side_list(struct side_hand *h, const struct side_node *dir, struct side_name **names, size_t *n)
{
	struct names all = { 0 };
	int r = h->side->ops->list(h, dir, add_name, &all);

	*names = NULL;
	*n = 0;
	if (r) {
		side_names_free(all.items, all.n);
		return r;
	}
	if (all.n)
		qsort(all.items, all.n, sizeof(*all.items), compare_names);
	*names = all.items;
	*n = all.n;
	return 0;
}

void side_names_free(struct side_name *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i].text);
	free(names);
}

/* ---- reading ------------------------------------------------------------- */

int side_open(struct side_hand *h, struct side_node *node)
{
	return h->side->ops->open(h, node);
}

int side_read(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
	      void *buffer, const void **data, size_t *done)
{
	return h->side->ops->read(h, node, offset, size, buffer, data, done);
}

int side_seek(struct side_hand *h, struct side_node *node, uint64_t offset, bool hole,
	      uint64_t *found)
{
	return h->side->ops->seek(h, node, offset, hole, found);
}

int side_readlink(struct side_hand *h, const struct side_node *node, char target[SIDE_TARGET_MAX])
{
	return h->side->ops->readlink(h, node, target);
}

ssize_t side_listxattr(struct side_hand *h, const struct side_node *node, char *list, size_t size)
{
	return h->side->ops->listxattr(h, node, list, size);
}

ssize_t side_getxattr(struct side_hand *h, const struct side_node *node, const char *name,
		      void *value, size_t size)
{
	return h->side->ops->getxattr(h, node, name, value, size);
}

/* ---- making and changing --------------------------------------------------- */

int side_mkdir(struct side_hand *h, const struct side_node *dir, const char *name,
	       struct side_node *node)
{
	*node = none;
	return h->side->ops->mkdir(h, dir, name, node);
}

int side_symlink(struct side_hand *h, const struct side_node *dir, const char *name,
		 const char *target, struct side_node *node)
{
	*node = none;
	return h->side->ops->symlink(h, dir, name, target, node);
}

int side_mknod(struct side_hand *h, const struct side_node *dir, const char *name, mode_t mode,
	       dev_t rdev, struct side_node *node)
{
	*node = none;
	return h->side->ops->mknod(h, dir, name, mode, rdev, node);
}

int side_link(struct side_hand *h, const struct side_node *node, const struct side_node *dir,
	      const char *name)
{
	return h->side->ops->link(h, node, dir, name);
}

int side_create(struct side_hand *h, const struct side_node *dir, struct side_node *node)
{
	*node = none;
	return h->side->ops->create(h, dir, node);
}

int side_name(struct side_hand *h, const struct side_node *dir, struct side_node *node,
	      const char *name)
{
	return h->side->ops->name(h, dir, node, name);
}

void *side_buffer(struct side_hand *h)
{
	return h->side->ops->buffer(h);
}

int side_write(struct side_hand *h, struct side_node *node, uint64_t offset, const void *data,
	       size_t size)
{
	return h->side->ops->write(h, node, offset, data, size);
}

int side_set_size(struct side_hand *h, struct side_node *node, uint64_t size)
{
	return h->side->ops->set_size(h, node, size);
}

int side_setxattr(struct side_hand *h, const struct side_node *node, const char *name,
		  const void *value, size_t size)
{
	return h->side->ops->setxattr(h, node, name, value, size);
}

int side_removexattr(struct side_hand *h, const struct side_node *node, const char *name)
{
	return h->side->ops->removexattr(h, node, name);
}

int side_set(struct side_hand *h, const struct side_node *node, const struct stat *st,
	     unsigned int what)
{
	return h->side->ops->set(h, node, st, what);
}

int side_rename(struct side_hand *h, const struct side_node *dir, const char *old_name,
		const char *new_name)
{
	return h->side->ops->rename(h, dir, old_name, new_name);
}

int side_unlink(struct side_hand *h, const struct side_node *dir, const char *name)
{
	return h->side->ops->unlink(h, dir, name);
}
