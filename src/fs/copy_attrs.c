/* SPDX-License-Identifier: MIT */
/*
 * Everything of a file but its content, in an order in which no step undoes an earlier one:
 * the owner takes set-id bits and capabilities away, user attributes can be set as long as
 * the mode allows writing, ACLs are part of the mode, and times come last.
 */
#include "fs/copy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_SIZE = 4096 }; /* of names; nearly all fit */

static bool is_acl(const char *name)
{
	return !strcmp(name, TREE_ACL_ACCESS) || !strcmp(name, TREE_ACL_DEFAULT);
}

/* Labels are each system's own, and of what is not the user's only root may dispose. */
bool copy_keeps_attribute(const char *name, bool privileged)
{
	if (!strcmp(name, "security.selinux"))
		return false;
	if (!strncmp(name, "security.", 9) || !strncmp(name, "trusted.", 8))
		return privileged;
	return is_acl(name) || !strncmp(name, "user.", 5);
}

static void fail(struct copy *c, const struct copy_about *about, const char *name, int error)
{
	char path[4096];
	struct copy_failure f = { .path = path, .attribute = name, .error = error };

	crawl_path(about->dir, about->name, path, sizeof(path));
	f.is_source = error == -EBADMSG;
	(void)pthread_mutex_lock(&c->telling);
	atomic_fetch_add(&c->rules.counts->failed, 1);
	if (f.is_source)
		atomic_fetch_add(&c->rules.counts->damaged, 1);
	c->rules.failed(c->rules.arg, &f);
	(void)pthread_mutex_unlock(&c->telling);
}

/* In new memory: a count, or -errno. */
static ssize_t get(struct side_hand *h, const struct side_node *node, const char *name, void **out)
{
	ssize_t n;

	*out = NULL;
	do {
		ssize_t size = side_getxattr(h, node, name, NULL, 0);

		free(*out);
		*out = size < 0 ? NULL : malloc((size_t)size + 1);
		if (!*out)
			return size < 0 ? size : -ENOMEM;
		n = size ? side_getxattr(h, node, name, *out, (size_t)size) : 0;
	} while (n == -ERANGE);
	return n;
}

static void copy_one(struct copy *c, struct crawl_hand *h, const struct copy_about *about,
		     const struct side_node *from, const struct side_node *node, const char *name)
{
	void *value;
	ssize_t n = get(&h->from, from, name, &value);
	int r = n < 0 ? (int)n : side_setxattr(&h->to, node, name, value, (size_t)n);

	/* The import of another shard may have left the directory meanwhile: once each. */
	for (uint32_t i = 0; i < c->rules.n_shards && r == -EACCES && n >= 0; i++) {
		struct stat st = node->st;

		st.st_mode |= 0700;
		r = side_set(&h->to, node, &st, TREE_SET_MODE);
		if (!r)
			r = side_setxattr(&h->to, node, name, value, (size_t)n);
	}
	free(value);
	/* It went away meanwhile, or is of a kind that cannot be had there. */
	if (r == -ENODATA ||
	    (r && strncmp(name, "user.", 5) && !is_acl(name) && (r == -EPERM || r == -EOPNOTSUPP)))
		return;
	if (r)
		fail(c, about, name, r);
}

/* The names of all attributes, in `room` or in new memory: a count or -errno. */
static ssize_t list(struct side_hand *h, const struct side_node *node, char room[LIST_SIZE],
		    char **names)
{
	ssize_t n = side_listxattr(h, node, room, LIST_SIZE);

	*names = room;
	while (n == -ERANGE) {
		ssize_t size = side_listxattr(h, node, NULL, 0);

		if (*names != room)
			free(*names);
		*names = size > 0 ? malloc((size_t)size) : NULL;
		if (!*names)
			return size > 0 ? -ENOMEM : size;
		n = side_listxattr(h, node, *names, (size_t)size);
	}
	return n == -EOPNOTSUPP ? 0 : n;
}

static bool has(const char *names, size_t size, const char *name)
{
	for (const char *n = names; n < names + size; n += strlen(n) + 1)
		if (!strcmp(n, name))
			return true;
	return false;
}

/* What it got from the directory that it was made in. */
static void remove_inherited(struct crawl_hand *h, const struct side_node *node, const char *names,
			     size_t size)
{
	if (!has(names, size, TREE_ACL_ACCESS))
		(void)side_removexattr(&h->to, node, TREE_ACL_ACCESS);
	if (S_ISDIR(node->st.st_mode) && !has(names, size, TREE_ACL_DEFAULT))
		(void)side_removexattr(&h->to, node, TREE_ACL_DEFAULT);
}

/* Owner and group: what of the mode may then be set. */
static int set_owner(struct copy *c, struct crawl_hand *h, const struct side_node *from,
		     const struct side_node *node, mode_t *mode)
{
	int r = 0;

	if (c->privileged) {
		if (from->st.st_uid != node->st.st_uid || from->st.st_gid != node->st.st_gid)
			r = side_set(&h->to, node, &from->st, TREE_SET_UID | TREE_SET_GID);
		return r;
	}
	/* As far as it goes; nobody gets rights that way. */
	if (from->st.st_uid != node->st.st_uid)
		*mode &= ~(mode_t)S_ISUID;
	if (from->st.st_gid != node->st.st_gid && side_set(&h->to, node, &from->st, TREE_SET_GID))
		*mode &= S_ISDIR(*mode) ? ~(mode_t)0 : ~(mode_t)S_ISGID;
	return 0;
}

static int set_attributes(struct copy *c, struct crawl_hand *h, const struct copy_about *about,
			  const struct side_node *from, const struct side_node *node)
{
	struct stat st = from->st;
	char room[LIST_SIZE];
	char *names = room;
	/* A symlink has none of the user's. */
	bool has_any = c->privileged || !S_ISLNK(st.st_mode);
	ssize_t size = has_any ? list(&h->from, from, room, &names) : 0;
	int r = 0;

	if (size < 0) {
		fail(c, about, "", (int)size);
		size = 0;
	}
	r = set_owner(c, h, from, node, &st.st_mode);
	if (!S_ISLNK(st.st_mode) && !r)
		remove_inherited(h, node, names, (size_t)size);
	for (const char *n = names; !r && n < names + size; n += strlen(n) + 1)
		if (copy_keeps_attribute(n, c->privileged) && !is_acl(n))
			copy_one(c, h, about, from, node, n);
	if (!r && !S_ISLNK(st.st_mode))
		r = side_set(&h->to, node, &st, TREE_SET_MODE);
	for (const char *n = names; !r && n < names + size; n += strlen(n) + 1)
		if (is_acl(n))
			copy_one(c, h, about, from, node, n);
	if (names != room)
		free(names);
	return r;
}

int copy_dress(struct copy *c, struct crawl_hand *h, const struct copy_about *about,
	       const struct side_node *from, const struct side_node *node)
{
	int r = set_attributes(c, h, about, from, node);

	return r ? r : side_set(&h->to, node, &from->st, TREE_SET_ATIME | TREE_SET_MTIME);
}
