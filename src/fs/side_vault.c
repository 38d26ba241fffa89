/* SPDX-License-Identifier: MIT */
/*
 * A side that is an open vault: the functions that serve a mount, asked by its
 * own process.  See side.h for the contract.
 */
#include "fs/side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/links.h"
#include "fs/newfile.h"

struct vault_side {
	struct side side;
	const struct store *store;
	struct tree *tree;
};

static struct tree *tree_of(const struct side_hand *h)
{
	return ((const struct vault_side *)h->side)->tree;
}

/* For who asks a tree, what does not authenticate is EIO; here others have that, too. */
static int answer(int r)
{
	return r == -EIO ? -EBADMSG : r;
}

static int hand_new(struct side_hand *h)
{
	return io_new(((const struct vault_side *)h->side)->store, &h->io);
}

static void hand_free(struct side_hand *h)
{
	io_free(h->io);
}

static struct caller ourselves(void)
{
	return (struct caller){ .uid = geteuid(), .gid = getegid() };
}

/* ---- finding ------------------------------------------------------------- */

static void take(struct side_node *node, const struct tree_entry *entry)
{
	node->node = entry->node;
	node->st = entry->st;
	node->is_dense = entry->st.st_size <= FORMAT_BLOCK_SIZE;
}

static int find(struct side_hand *h, const struct side_node *dir, const char *name,
		struct side_node *node)
{
	struct tree_entry entry;
	int r = tree_lookup(tree_of(h), dir->node, name, &entry);

	if (r)
		return answer(r);
	tree_correct_size(tree_of(h), h->io, &entry);
	take(node, &entry);
	return 0;
}

/* The root counts as looked up, so that it can be dropped like anything else. */
static int find_root(struct side_hand *h, struct side_node *node)
{
	node->node = nodes_root(tree_nodes(tree_of(h)));
	nodes_ref(tree_nodes(tree_of(h)), node->node);
	return answer(tree_getattr(tree_of(h), node->node, &node->st));
}

static void drop(struct side_hand *h, struct side_node *node)
{
	struct nodes *nodes = tree_nodes(tree_of(h));

	if (!node->node)
		return;
	if (node->is_open)
		tree_release(tree_of(h), node->node);
	if (node->is_unnamed && node->temporary[0]) {
		struct node *dir = NULL;
		char name[NAMES_PLAIN_MAX + 1];

		if (!tree_shown(tree_of(h), node->node, 0, &dir, name)) {
			(void)tree_unlink(tree_of(h), dir, name);
			nodes_unref(nodes, dir);
		}
	}
	if (node->node == nodes_root(nodes))
		nodes_unref(nodes, node->node);
	else
		nodes_forget(nodes, node->node, 1);
}

static int find_path(struct side_hand *h, const char *path, struct side_node *node)
{
	struct side_node dir = SIDE_NODE_NONE;
	char name[NAMES_PLAIN_MAX + 1];
	int r = find_root(h, node);

	for (path += strspn(path, "/"); !r && *path; path += strspn(path, "/")) {
		size_t size = strcspn(path, "/");

		if (size > NAMES_PLAIN_MAX) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, path, size);
		name[size] = '\0';
		path += size;
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			r = -EINVAL;
			break;
		}
		dir = *node;
		*node = (struct side_node)SIDE_NODE_NONE;
		r = S_ISDIR(dir.st.st_mode) ? find(h, &dir, name, node) : -ENOTDIR;
		drop(h, &dir);
	}
	if (r) {
		drop(h, node);
		*node = (struct side_node)SIDE_NODE_NONE;
	}
	return r;
}

static int stat_node(struct side_hand *h, struct side_node *node)
{
	return answer(tree_getattr(tree_of(h), node->node, &node->st));
}

static int is_suspect(struct side_hand *h, const struct side_node *node)
{
	return answer(tree_is_suspect(tree_of(h), h->io, node->node));
}

static int list(struct side_hand *h, const struct side_node *dir,
		int (*add)(void *arg, const char *name, bool is_damaged), void *arg)
{
	struct listing_item item;
	struct listing *l;
	off_t at = 0;
	bool keep;
	int r = tree_opendir(tree_of(h), dir->node, &l, &keep);

	if (r)
		return answer(r);
	while (!(r = tree_list(tree_of(h), l, at, &item))) {
		at = item.next;
		if (!item.is_dot)
			r = add(arg, item.name, item.damaged);
		if (r)
			break;
	}
	tree_closedir(tree_of(h), l);
	return r == -ENOENT ? 0 : answer(r);
}

/* ---- reading ------------------------------------------------------------- */

static int open_file(struct side_hand *h, struct side_node *node)
{
	bool keep;
	int r = tree_open(tree_of(h), h->io, node->node, O_RDONLY, &keep);

	if (r)
		return answer(r);
	node->is_open = true;
	return stat_node(h, node);
}

static int read_file(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
		     void *buffer, const void **data, size_t *done)
{
	int r;

	(void)buffer;
	*done = 0;
	engine_occupy(h->io->engine);
	r = tree_read(tree_of(h), h->io, node->node, offset, size, data, done);
	engine_vacate(h->io->engine);
	return answer(r);
}

static int seek(struct side_hand *h, struct side_node *node, uint64_t offset, bool hole,
		uint64_t *found)
{
	(void)h;
	return answer(tree_seek(node->node, offset, hole, found));
}

static int read_link(struct side_hand *h, const struct side_node *node, char *target)
{
	_Static_assert((int)LINKS_PLAIN_MAX < (int)SIDE_TARGET_MAX, "a target fits");
	return answer(tree_readlink(tree_of(h), node->node, target));
}

static ssize_t list_xattrs(struct side_hand *h, const struct side_node *node, char *names,
			   size_t size)
{
	ssize_t n = tree_listxattr(tree_of(h), h->io, node->node, names, size);

	return n < 0 ? answer((int)n) : n;
}

static ssize_t get_xattr(struct side_hand *h, const struct side_node *node, const char *name,
			 void *value, size_t size)
{
	ssize_t n = tree_getxattr(tree_of(h), h->io, node->node, name, value, size);

	return n < 0 ? answer((int)n) : n;
}

/* ---- making and changing --------------------------------------------------- */

static int made(struct side_node *node, const struct tree_entry *entry, int r)
{
	if (!r)
		take(node, entry);
	return answer(r);
}

static int make_dir(struct side_hand *h, const struct side_node *dir, const char *name,
		    struct side_node *node)
{
	const struct caller us = ourselves();
	struct tree_entry entry;

	return made(node, &entry, tree_mkdir(tree_of(h), dir->node, name, 0700, &us, &entry));
}

static int make_symlink(struct side_hand *h, const struct side_node *dir, const char *name,
			const char *target, struct side_node *node)
{
	const struct caller us = ourselves();
	struct tree_entry entry;

	return made(node, &entry, tree_symlink(tree_of(h), dir->node, name, target, &us, &entry));
}

static int make_special(struct side_hand *h, const struct side_node *dir, const char *name,
			mode_t mode, dev_t rdev, struct side_node *node)
{
	const struct caller us = ourselves();
	struct tree_entry entry;

	mode = (mode & S_IFMT) | 0600;
	return made(node, &entry,
		    tree_mknod(tree_of(h), h->io, dir->node, name, mode, rdev, &us, &entry));
}

static int link_node(struct side_hand *h, struct node *node, const struct side_node *dir,
		     const char *name)
{
	struct tree_entry entry;
	int r = tree_link(tree_of(h), h->io, node, dir->node, name, &entry);

	if (!r)
		nodes_forget(tree_nodes(tree_of(h)), entry.node, 1);
	return answer(r);
}

static int make_link(struct side_hand *h, const struct side_node *node, const struct side_node *dir,
		     const char *name)
{
	return link_node(h, node->node, dir, name);
}

static int create(struct side_hand *h, const struct side_node *dir, struct side_node *node)
{
	const struct caller us = ourselves();
	struct tree_entry entry;
	int r = tree_create_nameless(tree_of(h), h->io, dir->node, 0600, &us, &entry);

	if (r == -EOPNOTSUPP) {
		r = newfile_temporary_name(node->temporary);
		if (!r)
			r = tree_create(tree_of(h), h->io, dir->node, node->temporary, 0600, &us,
					&entry);
	}
	r = made(node, &entry, r);
	node->is_open = node->is_unnamed = !r;
	return r;
}

/* Not every filesystem has a rename that leaves alone what is there. */
static int rename_to_free(struct side_hand *h, const struct side_node *dir, const char *old_name,
			  const char *name)
{
	const struct caller us = ourselves();
	struct tree_entry entry;
	int r = tree_rename(tree_of(h), h->io, dir->node, old_name, dir->node, name,
			    RENAME_NOREPLACE, &us);

	if (r != -EINVAL)
		return r;
	r = tree_lookup(tree_of(h), dir->node, name, &entry);
	if (!r) {
		nodes_forget(tree_nodes(tree_of(h)), entry.node, 1);
		return -EEXIST;
	}
	if (r != -ENOENT)
		return r;
	return tree_rename(tree_of(h), h->io, dir->node, old_name, dir->node, name, 0, &us);
}

static int name_file(struct side_hand *h, const struct side_node *dir, struct side_node *node,
		     const char *name)
{
	int r = node->temporary[0] ? answer(rename_to_free(h, dir, node->temporary, name))
				   : link_node(h, node->node, dir, name);

	if (!r)
		node->is_unnamed = false;
	return r;
}

static void *buffer(struct side_hand *h)
{
	return h->io->data + IO_DATA;
}

static int write_file(struct side_hand *h, struct side_node *node, uint64_t offset,
		      const void *data, size_t size)
{
	int r;

	if (data != buffer(h))
		memmove(buffer(h), data, size);
	engine_occupy(h->io->engine);
	r = tree_write(tree_of(h), h->io, node->node, offset, size, false);
	engine_vacate(h->io->engine);
	return answer(r);
}

static int set(struct side_hand *h, const struct side_node *node, const struct stat *st,
	       unsigned int what)
{
	struct stat now;

	return answer(tree_setattr(tree_of(h), h->io, node->node, st, what, &now));
}

static int set_size(struct side_hand *h, struct side_node *node, uint64_t size)
{
	const struct stat st = { .st_size = (off_t)size };

	return set(h, node, &st, TREE_SET_SIZE);
}

static int set_xattr(struct side_hand *h, const struct side_node *node, const char *name,
		     const void *value, size_t size)
{
	return answer(tree_setxattr(tree_of(h), h->io, node->node, name, value, size, 0));
}

static int remove_xattr(struct side_hand *h, const struct side_node *node, const char *name)
{
	return answer(tree_removexattr(tree_of(h), h->io, node->node, name));
}

static int rename_in(struct side_hand *h, const struct side_node *dir, const char *old_name,
		     const char *new_name)
{
	const struct caller us = ourselves();

	return answer(
		tree_rename(tree_of(h), h->io, dir->node, old_name, dir->node, new_name, 0, &us));
}

static int unlink_in(struct side_hand *h, const struct side_node *dir, const char *name)
{
	return answer(tree_unlink(tree_of(h), dir->node, name));
}

static void free_side(struct side *s)
{
	free(s);
}

static const struct side_ops ops = {
	.hand_new = hand_new,
	.hand_free = hand_free,
	.find_path = find_path,
	.find = find,
	.drop = drop,
	.stat = stat_node,
	.is_suspect = is_suspect,
	.list = list,
	.open = open_file,
	.read = read_file,
	.seek = seek,
	.readlink = read_link,
	.listxattr = list_xattrs,
	.getxattr = get_xattr,
	.mkdir = make_dir,
	.symlink = make_symlink,
	.mknod = make_special,
	.link = make_link,
	.create = create,
	.name = name_file,
	.buffer = buffer,
	.write = write_file,
	.set_size = set_size,
	.setxattr = set_xattr,
	.removexattr = remove_xattr,
	.set = set,
	.rename = rename_in,
	.unlink = unlink_in,
	.free = free_side,
};

int side_vault_new(const struct store *store, struct tree *tree, struct side **out)
{
	struct vault_side *v = calloc(1, sizeof(*v));

	*out = NULL;
	if (!v)
		return -ENOMEM;
	v->side.ops = &ops;
	v->store = store;
	v->tree = tree;
	*out = &v->side;
	return 0;
}
