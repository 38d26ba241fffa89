/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: names and values of the user namespace are sealed,
 * security.*, trusted.* and ACLs are the backing inode's own, others do not exist.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/secmem.h"
#include "fs/xattrs.h"

/* A node whose attributes are at hand, by a path that follows no name. */
struct target {
	char path[32]; /* /proc/self/fd/N */
	int fd;	       /* O_PATH, ours; or -1: the open file's or a directory's */
	int open_fd;   /* the open file's, or -1 */
	bool file_open;
	struct xattrs_owner owner; /* user.*: whose attributes they are */
};

static bool is_user(const char *name)
{
	return !strncmp(name, "user.", 5);
}

/*
 * Labels of SELinux are the kernel's where it has SELinux.  Elsewhere "not
 * supported" is an answer that ls -l asks for once, and not for every file.
 */
static bool is_passed_through(const struct tree *t, const char *name)
{
	if (!strcmp(name, "security.selinux"))
		return false;
	if (!strcmp(name, TREE_ACL_ACCESS) || !strcmp(name, TREE_ACL_DEFAULT))
		return t->store->acl;
	return !strncmp(name, "security.", 9) || !strncmp(name, "trusted.", 8);
}

static int open_path(struct tree *t, struct node *node, int *fd)
{
	struct location at;
	int r = nodes_locate(t->nodes, node, &at);

	if (r)
		return r;
	*fd = openat(at.dirfd, at.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		r = -errno;
	location_put(t->nodes, &at);
	return r;
}

/* For security.* and the like: no content is needed. */
static int target_plain(struct tree *t, struct node *node, struct target *target)
{
	int r = 0;
	int fd = -1;

	target->file_open = false;
	target->open_fd = -1;
	target->fd = -1;
	lock_take(&node->lock);
	if (node->type == S_IFREG && node->file) {
		node->opens++;
		target->file_open = true;
		fd = target->open_fd = file_fd(node->file);
		file_touch(node->file);
	}
	lock_drop(&node->lock);
	if (!target->file_open && node->type == S_IFDIR) {
		r = nodes_dirfd(t->nodes, node, &fd);
	} else if (!target->file_open) {
		r = open_path(t, node, &target->fd);
		fd = target->fd;
	}
	(void)snprintf(target->path, sizeof(target->path), "/proc/self/fd/%d", fd);
	return r;
}

/* For user.*: the owner's id is needed too. */
static int target_sealed(struct tree *t, struct io *io, struct node *node, bool write,
			 struct target *target)
{
	int fd;
	int r;

	target->fd = -1;
	target->open_fd = -1;
	target->file_open = false;
	if (write && t->store->read_only)
		return -EROFS;
	if (node->type == S_IFREG) {
		r = tree_file_get(t, io, node, false);
		if (r)
			return r;
		target->file_open = true;
		target->owner.id = file_id(node->file);
		target->owner.id_size = KEYS_FILE_ID_SIZE;
		fd = target->open_fd = file_fd(node->file);
		if (write)
			file_touch(node->file);
	} else if (node->type == S_IFDIR) {
		r = tree_enter(t, node);
		if (!r)
			r = nodes_dirfd(t->nodes, node, &fd);
		if (r)
			return r;
		target->owner.id = node->dir_id;
		target->owner.id_size = FORMAT_DIR_ID_SIZE;
	} else {
		return -EPERM;
	}
	(void)snprintf(target->path, sizeof(target->path), "/proc/self/fd/%d", fd);
	return 0;
}

/* For the attribute `name`: 0, -EOPNOTSUPP for a namespace we have not, -errno. */
static int target_get(struct tree *t, struct io *io, struct node *node, const char *name,
		      bool write, struct target *target)
{
	if (is_user(name))
		return target_sealed(t, io, node, write, target);
	return is_passed_through(t, name) ? target_plain(t, node, target) : -EOPNOTSUPP;
}

static void target_put(struct tree *t, struct node *node, struct target *target)
{
	if (target->file_open)
		tree_file_put(t, node);
	else if (node->type == S_IFDIR)
		nodes_dirfd_put(t->nodes, node);
	fdio_close(target->fd);
}

/* ---- get ----------------------------------------------------------------- */

static ssize_t copy_out(const void *from, size_t have, void *to, size_t size)
{
	if (!size)
		return (ssize_t)have;
	if (have > size)
		return -ERANGE;
	memcpy(to, from, have);
	return (ssize_t)have;
}

/* Without walking a path where a descriptor will do. */
static ssize_t get_stored(const struct target *target, const char *name, void *value, size_t size)
{
	ssize_t got = target->open_fd >= 0 ? fgetxattr(target->open_fd, name, value, size)
					   : getxattr(target->path, name, value, size);

	return got < 0 ? -errno : got;
}

static ssize_t get_sealed(struct tree *t, struct node *node, const struct target *target,
			  const char *name, void *value, size_t size)
{
	char stored[XATTRS_NAME_MAX + 1];
	uint8_t *raw;
	ssize_t got;
	int r = xattrs_name_encode(t->keys, &target->owner, name, stored);

	if (r)
		return r == -ERANGE ? -ENODATA : r;
	raw = malloc(XATTRS_VALUE_MAX);
	if (!raw)
		return -ENOMEM;
	got = get_stored(target, stored, raw, XATTRS_VALUE_MAX);
	if (got < 0)
		goto out;
	r = xattrs_value_open(t->keys, t->suite, &target->owner, name, raw, (size_t)got);
	if (r)
		got = r < 0 ? r : tree_damaged(t, node, UINT64_MAX, "attribute value");
	else
		got = copy_out(raw + XATTRS_OVERHEAD, (size_t)got - XATTRS_OVERHEAD, value, size);
out:
	secmem_wipe(raw, XATTRS_VALUE_MAX);
	free(raw);
	return got;
}

ssize_t tree_getxattr(struct tree *t, struct io *io, struct node *node, const char *name,
		      void *value, size_t size)
{
	struct target target;
	ssize_t r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = target_get(t, io, node, name, false, &target);
	if (!r) {
		if (is_user(name))
			r = get_sealed(t, node, &target, name, value, size);
		else
			r = get_stored(&target, name, value, size);
		target_put(t, node, &target);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* ---- list ---------------------------------------------------------------- */

/* The names as the user knows them, from `from` to `to`, which is as large. */
static size_t translate(struct tree *t, const struct target *target, bool sealed, const char *from,
			size_t size, char *to)
{
	char plain[XATTRS_NAME_MAX + 1];
	size_t used = 0;

	for (const char *name = from; name < from + size; name += strlen(name) + 1) {
		const char *shown = NULL;

		if (is_passed_through(t, name))
			shown = name;
		else if (sealed && is_user(name) &&
			 !xattrs_name_decode(t->keys, &target->owner, name, plain))
			shown = plain;
		if (!shown)
			continue;
		strcpy(to + used, shown);
		used += strlen(shown) + 1;
	}
	return used;
}

static ssize_t list_of(struct tree *t, const struct target *target, bool sealed, char *list,
		       size_t size)
{
	char *from = malloc(2 * XATTRS_VALUE_MAX);
	ssize_t got;

	if (!from)
		return -ENOMEM;
	got = listxattr(target->path, from, XATTRS_VALUE_MAX);
	if (got < 0) {
		got = errno == EOPNOTSUPP ? 0 : -errno;
	} else {
		char *to = from + XATTRS_VALUE_MAX;

		got = copy_out(to, translate(t, target, sealed, from, (size_t)got, to), list, size);
	}
	free(from);
	return got;
}

ssize_t tree_listxattr(struct tree *t, struct io *io, struct node *node, char *list, size_t size)
{
	bool sealed = node->type == S_IFREG || node->type == S_IFDIR;
	struct target target;
	ssize_t r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = sealed ? target_sealed(t, io, node, false, &target) : target_plain(t, node, &target);
	if (!r) {
		r = list_of(t, &target, sealed, list, size);
		target_put(t, node, &target);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* ---- set and remove ------------------------------------------------------ */

static int set_sealed(struct tree *t, const struct target *target, const char *name,
		      const void *value, size_t size, int flags)
{
	char stored[XATTRS_NAME_MAX + 1];
	uint8_t *raw;
	int r = xattrs_name_encode(t->keys, &target->owner, name, stored);

	if (r)
		return r;
	if (size > XATTRS_VALUE_MAX - XATTRS_OVERHEAD)
		return -E2BIG;
	raw = malloc(size + XATTRS_OVERHEAD);
	if (!raw)
		return -ENOMEM;
	r = xattrs_value_seal(t->keys, t->suite, &target->owner, name, value, size, raw);
	if (!r && setxattr(target->path, stored, raw, size + XATTRS_OVERHEAD, flags))
		r = -errno;
	free(raw);
	return r;
}

int tree_setxattr(struct tree *t, struct io *io, struct node *node, const char *name,
		  const void *value, size_t size, int flags)
{
	struct target target;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = target_get(t, io, node, name, true, &target);
	if (!r) {
		if (is_user(name))
			r = set_sealed(t, &target, name, value, size, flags);
		else if (setxattr(target.path, name, value, size, flags))
			r = -errno;
		target_put(t, node, &target);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

static int remove_sealed(struct tree *t, const struct target *target, const char *name)
{
	char stored[XATTRS_NAME_MAX + 1];
	int r = xattrs_name_encode(t->keys, &target->owner, name, stored);

	if (r)
		return r == -ERANGE ? -ENODATA : r;
	return removexattr(target->path, stored) ? -errno : 0;
}

int tree_removexattr(struct tree *t, struct io *io, struct node *node, const char *name)
{
	struct target target;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = target_get(t, io, node, name, true, &target);
	if (!r) {
		if (is_user(name))
			r = remove_sealed(t, &target, name);
		else if (removexattr(target.path, name))
			r = -errno;
		target_put(t, node, &target);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}
