/* SPDX-License-Identifier: MIT */
/*
 * A side that is a plain directory: see side.h for the contract.  Of what is
 * neither a directory nor an open file only the place is kept; it is asked and changed
 * by single-component *at() calls from its directory.
 */
#include "fs/side.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/newfile.h"

struct plain {
	struct side side;
	int root_fd;
};

static int root_of(const struct side_hand *h)
{
	return ((const struct plain *)h->side)->root_fd;
}

static int hand_new(struct side_hand *h)
{
	h->buffer = malloc(SIDE_MAX_SIZE);
	return h->buffer ? 0 : -ENOMEM;
}

static void hand_free(struct side_hand *h)
{
	free(h->buffer);
}

/* ---- finding ------------------------------------------------------------- */

/* Fill st and is_dense from what fstat or fstatat answered. */
static void note(struct side_node *node)
{
	node->is_dense = node->st.st_blocks * 512 >= node->st.st_size;
}

/* With what a directory is entered and listed. */
static int open_dir(struct side_node *node)
{
	struct stat found;

	node->fd = openat(node->dirfd, node->name,
			  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	if (node->fd < 0)
		return -errno;
	if (!fstat(node->fd, &found) && found.st_ino == node->st.st_ino &&
	    found.st_dev == node->st.st_dev)
		return 0;
	fdio_close(node->fd);
	node->fd = -1;
	return -ESTALE; /* another one by now */
}

static int find(struct side_hand *h, const struct side_node *dir, const char *name,
		struct side_node *node)
{
	(void)h;
	node->dirfd = dir->fd;
	node->name = name;
	if (fstatat(node->dirfd, name, &node->st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	note(node);
	return S_ISDIR(node->st.st_mode) ? open_dir(node) : 0;
}

/* The directory that path is in, below the root and by no symlink. */
static int open_parent(int root_fd, const char *path, const char *slash)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	char *parent = strndup(path, (size_t)(slash - path));
	int fd = parent ? (int)syscall(SYS_openat2, root_fd, parent, &how, sizeof(how)) : -1;
	int r = fd < 0 ? -errno : fd;

	free(parent);
	return r;
}

static int find_path(struct side_hand *h, const char *path, struct side_node *node)
{
	const char *slash = root_of(h) == AT_FDCWD ? NULL : strrchr(path, '/');

	if (slash) {
		node->own_dirfd = open_parent(root_of(h), path, slash);
		if (node->own_dirfd < 0)
			return node->own_dirfd;
	}
	node->dirfd = slash ? node->own_dirfd : root_of(h);
	node->name = slash ? slash + 1 : *path ? path : ".";
	if (fstatat(node->dirfd, node->name, &node->st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	note(node);
	return S_ISDIR(node->st.st_mode) ? open_dir(node) : 0;
}

static void drop(struct side_hand *h, struct side_node *node)
{
	(void)h;
	if (node->is_unnamed && node->temporary[0])
		(void)unlinkat(node->dirfd, node->temporary, 0);
	fdio_close(node->fd);
	fdio_close(node->own_dirfd);
}

static int stat_node(struct side_hand *h, struct side_node *node)
{
	(void)h;
	if (fstat(node->fd, &node->st))
		return -errno;
	note(node);
	return 0;
}

static int is_suspect(struct side_hand *h, const struct side_node *node)
{
	(void)h;
	(void)node;
	return 0;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int list(struct side_hand *h, const struct side_node *dir,
		int (*add)(void *arg, const char *name, bool is_damaged), void *arg)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	(void)h;
	if (!d) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	for (errno = 0; !r && (entry = readdir(d)); errno = 0)
		if (!is_dot(entry->d_name))
			r = add(arg, entry->d_name, false);
	if (!r && errno)
		r = -errno;
	(void)closedir(d);
	return r;
}

/* ---- reading ------------------------------------------------------------- */

static int open_file(struct side_hand *h, struct side_node *node)
{
	ino_t ino = node->st.st_ino;

	(void)h;
	node->fd = fdio_openat_quietly(node->dirfd, node->name,
				       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (node->fd < 0)
		return -errno;
	if (fstat(node->fd, &node->st))
		return -errno;
	note(node);
	return S_ISREG(node->st.st_mode) && node->st.st_ino == ino ? 0 : -ESTALE;
}

static int read_file(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
		     void *buffer, const void **data, size_t *done)
{
	ssize_t n = fdio_pread_some(node->fd, buffer, size, (off_t)offset);

	(void)h;
	*data = buffer;
	*done = n < 0 ? 0 : (size_t)n;
	return n < 0 ? (int)n : 0;
}

static int seek(struct side_hand *h, struct side_node *node, uint64_t offset, bool hole,
		uint64_t *found)
{
	off_t at = lseek(node->fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA);

	(void)h;
	if (at < 0)
		return -errno;
	*found = (uint64_t)at;
	return 0;
}

static int read_link(struct side_hand *h, const struct side_node *node, char *target)
{
	ssize_t n = readlinkat(node->dirfd, node->name, target, SIDE_TARGET_MAX);

	(void)h;
	if (n < 0)
		return -errno;
	if (n >= SIDE_TARGET_MAX)
		return -ENAMETOOLONG;
	target[n] = '\0';
	return 0;
}

/* A path that leads to the node by its directory, for calls that have no *at(). */
static int path_of(const struct side_node *node, char path[PATH_MAX])
{
	int n = node->dirfd == AT_FDCWD
			? snprintf(path, PATH_MAX, "%s", node->name)
			: snprintf(path, PATH_MAX, "/proc/self/fd/%d/%s", node->dirfd, node->name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static ssize_t list_xattrs(struct side_hand *h, const struct side_node *node, char *names,
			   size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	(void)h;
	if (node->fd >= 0)
		n = flistxattr(node->fd, names, size);
	else
		n = path_of(node, path) ? -1 : llistxattr(path, names, size);
	return n < 0 ? -errno : n;
}

static ssize_t get_xattr(struct side_hand *h, const struct side_node *node, const char *name,
			 void *value, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	(void)h;
	if (node->fd >= 0)
		n = fgetxattr(node->fd, name, value, size);
	else
		n = path_of(node, path) ? -1 : lgetxattr(path, name, value, size);
	return n < 0 ? -errno : n;
}

/* ---- making and changing --------------------------------------------------- */

static int make_dir(struct side_hand *h, const struct side_node *dir, const char *name,
		    struct side_node *node)
{
	if (mkdirat(dir->fd, name, 0700))
		return -errno;
	return find(h, dir, name, node);
}

static int make_symlink(struct side_hand *h, const struct side_node *dir, const char *name,
			const char *target, struct side_node *node)
{
	if (symlinkat(target, dir->fd, name))
		return -errno;
	return find(h, dir, name, node);
}

static int make_special(struct side_hand *h, const struct side_node *dir, const char *name,
			mode_t mode, dev_t rdev, struct side_node *node)
{
	if (mknodat(dir->fd, name, (mode & S_IFMT) | 0600, rdev))
		return -errno;
	return find(h, dir, name, node);
}

static int make_link(struct side_hand *h, const struct side_node *node, const struct side_node *dir,
		     const char *name)
{
	(void)h;
	return linkat(node->dirfd, node->name, dir->fd, name, 0) ? -errno : 0;
}

static int create(struct side_hand *h, const struct side_node *dir, struct side_node *node)
{
	(void)h;
	node->dirfd = dir->fd;
	node->fd = newfile_open(dir->fd, node->temporary);
	if (node->fd < 0)
		return node->fd;
	node->is_unnamed = true;
	return fstat(node->fd, &node->st) ? -errno : 0;
}

static int name_file(struct side_hand *h, const struct side_node *dir, struct side_node *node,
		     const char *name)
{
	int r = node->temporary[0] ? newfile_rename(dir->fd, node->temporary, name)
				   : newfile_link(node->fd, dir->fd, name);

	(void)h;
	if (!r)
		node->is_unnamed = false;
	return r;
}

static void *buffer(struct side_hand *h)
{
	return h->buffer;
}

static int write_file(struct side_hand *h, struct side_node *node, uint64_t offset,
		      const void *data, size_t size)
{
	(void)h;
	return fdio_pwrite_full(node->fd, data, size, (off_t)offset);
}

static int set_size(struct side_hand *h, struct side_node *node, uint64_t size)
{
	(void)h;
	return ftruncate(node->fd, (off_t)size) ? -errno : 0;
}

static int set_xattr(struct side_hand *h, const struct side_node *node, const char *name,
		     const void *value, size_t size)
{
	char path[PATH_MAX];
	int r;

	(void)h;
	if (node->fd >= 0)
		r = fsetxattr(node->fd, name, value, size, 0);
	else
		r = path_of(node, path) ? -1 : lsetxattr(path, name, value, size, 0);
	return r ? -errno : 0;
}

static int remove_xattr(struct side_hand *h, const struct side_node *node, const char *name)
{
	char path[PATH_MAX];
	int r;

	(void)h;
	if (node->fd >= 0)
		r = fremovexattr(node->fd, name);
	else
		r = path_of(node, path) ? -1 : lremovexattr(path, name);
	return r ? -errno : 0;
}

static int set_owner(const struct side_node *node, uid_t uid, gid_t gid)
{
	return node->fd >= 0 ? fchown(node->fd, uid, gid)
			     : fchownat(node->dirfd, node->name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

static int set_mode(const struct side_node *node, mode_t mode)
{
	return node->fd >= 0 ? fchmod(node->fd, mode)
			     : fchmodat(node->dirfd, node->name, mode, AT_SYMLINK_NOFOLLOW);
}

static int set_times(const struct side_node *node, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	return node->fd >= 0 ? futimens(node->fd, times)
			     : utimensat(node->dirfd, node->name, times, AT_SYMLINK_NOFOLLOW);
}

static int set(struct side_hand *h, const struct side_node *node, const struct stat *st,
	       unsigned int what)
{
	uid_t uid = what & TREE_SET_UID ? st->st_uid : (uid_t)-1;
	gid_t gid = what & TREE_SET_GID ? st->st_gid : (gid_t)-1;

	(void)h;
	if (what & (TREE_SET_UID | TREE_SET_GID) && set_owner(node, uid, gid))
		return -errno;
	if (what & TREE_SET_MODE && set_mode(node, st->st_mode & 07777))
		return -errno;
	if (what & (TREE_SET_ATIME | TREE_SET_MTIME) && set_times(node, st))
		return -errno;
	return 0;
}

static int rename_in(struct side_hand *h, const struct side_node *dir, const char *old_name,
		     const char *new_name)
{
	(void)h;
	return renameat(dir->fd, old_name, dir->fd, new_name) ? -errno : 0;
}

static int unlink_in(struct side_hand *h, const struct side_node *dir, const char *name)
{
	(void)h;
	return unlinkat(dir->fd, name, 0) ? -errno : 0;
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

int side_plain_new(int root_fd, struct side **out)
{
	struct plain *p = calloc(1, sizeof(*p));

	*out = NULL;
	if (!p)
		return -ENOMEM;
	p->side.ops = &ops;
	p->root_fd = root_fd;
	*out = &p->side;
	return 0;
}

bool side_is_vault(const struct side *s)
{
	return s->ops != &ops;
}
