/* SPDX-License-Identifier: MIT */
/*
 * Removing entries.  Sidecars go after the entry, a directory's record before
 * it; damaged things can be removed like whole ones.
 */
#include "fs/tree_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

void tree_hold(struct node *node, const struct spot *spot, const struct stat *st)
{
	struct stat found;
	int fd;

	if (!node || S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || st->st_nlink > 1 ||
	    node->type != (st->st_mode & S_IFMT))
		return;
	fd = openat(spot->dirfd, spot->stored.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &found) || found.st_ino != st->st_ino)) {
		fdio_close(fd);
		fd = -1;
	}
	/* Without one it is unknown from now on; a symlink may have got a new inode. */
	lock_take(&node->lock);
	fdio_close(node->held_fd);
	node->held_fd = fd;
	lock_drop(&node->lock);
}

void tree_forget_name(struct tree *t, struct node *node, const struct spot *spot,
		      const struct stat *st)
{
	if (!node)
		return;
	nodes_unlinked(t->nodes, node, spot->dir, spot->stored.name,
		       S_ISDIR(st->st_mode) || st->st_nlink <= 1);
	if (S_ISREG(st->st_mode) && st->st_nlink <= 1)
		tree_journal_drop(t, node);
}

int tree_unlink(struct tree *t, struct node *dir, const char *name)
{
	struct spot spot;
	struct stat st;
	struct node *node;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot_existing(t, dir, name, &spot, &st);
	if (r)
		goto unlock;
	/* Found before: once it is unlinked, its number may be another one's. */
	node = nodes_find(t->nodes, &st, dir, spot.stored.name);
	tree_hold(node, &spot, &st);
	if (unlinkat(spot.dirfd, spot.stored.name, 0)) {
		r = -errno;
		goto out;
	}
	names_sidecar_remove(spot.dirfd, spot.stored.name);
	if (S_ISLNK(st.st_mode))
		links_sidecar_remove(spot.dirfd, spot.stored.name);
	if (special_is(st.st_mode))
		special_forget(spot.dirfd, spot.stored.name);
	tree_forget_name(t, node, &spot, &st);
out:
	if (node)
		nodes_unref(t->nodes, node);
	spot_put(t, &spot);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

void tree_remove_made(int dirfd, const char *stored)
{
	int fd = openat(dirfd, stored, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		(void)dirrec_remove(fd);
	fdio_close(fd);
	(void)unlinkat(dirfd, stored, AT_REMOVEDIR);
}

/* What a death may leave in a directory without entries. */
static bool is_leftover(const char *stored)
{
	return !strncmp(stored, "long.", 5) || !strncmp(stored, "link.", 5) ||
	       !strncmp(stored, NAMES_MARKER, sizeof(NAMES_MARKER) - 1) ||
	       !strncmp(stored, ".cryptfs-tmp.", 13);
}

/* With errno 0 at the end, and else if it cannot be read. */
static struct dirent *next_entry(DIR *d)
{
	errno = 0;
	return readdir(d);
}

int tree_clear_out(struct tree *t, int dirfd)
{
	static const uint8_t no_id[FORMAT_DIR_ID_SIZE];
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char plain[NAMES_PLAIN_MAX + 1];
	struct dirent *entry;
	int r = 0;

	if (!d) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	while (!r && (entry = next_entry(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    names_decode(t->keys, no_id, entry->d_name, plain) != NAMES_OURS)
			r = -ENOTEMPTY;
	if (!r)
		r = -errno; /* what could not be read may be entries */
	rewinddir(d);
	while (!r && (entry = readdir(d)))
		if (is_leftover(entry->d_name) && unlinkat(dirfd, entry->d_name, 0))
			tree_remove_made(dirfd, entry->d_name);
	(void)closedir(d);
	return r;
}

/* Remove the directory at spot, whose descriptor is fd. */
static int remove_dir(struct tree *t, const struct spot *spot, int fd)
{
	struct format_dir_record record;
	bool in_xattr;
	bool known;
	int r = tree_clear_out(t, fd);

	if (r)
		return r;
	known = !dirrec_read(fd, t->keys, true, &record);
	r = dirrec_remove(fd);
	if (!r && unlinkat(spot->dirfd, spot->stored.name, AT_REMOVEDIR)) {
		r = -errno;
		if (known)
			(void)dirrec_write(fd, t->keys, &record, &in_xattr);
	}
	return r;
}

int tree_rmdir(struct tree *t, struct node *dir, const char *name)
{
	struct spot spot;
	struct stat st;
	struct node *node = NULL;
	bool open = false;
	int node_fd;
	int fd = -1;
	int r;

	/* Whoever opened it while its record is gone would think it new: nobody may look. */
	pthread_rwlock_wrlock(&t->rename_lock);
	r = tree_spot_existing(t, dir, name, &spot, &st);
	if (r)
		goto unlock;
	r = tree_check_access(t, dir, W_OK | X_OK); /* before anything is touched */
	if (r)
		goto out;
	fd = openat(spot.dirfd, spot.stored.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	node = nodes_find(t->nodes, &st, dir, spot.stored.name);
	/* Opened while it can be: who stands in it still sees it, empty. */
	open = node && !nodes_dirfd(t->nodes, node, &node_fd);
	r = remove_dir(t, &spot, fd);
	if (r == -EACCES && !t->privileged) {
		/* Its own mode keeps us out, though its owner may remove it. */
		(void)!fchmodat(spot.dirfd, spot.stored.name, (st.st_mode & 07777) | 0700,
				AT_SYMLINK_NOFOLLOW);
		r = remove_dir(t, &spot, fd);
		if (r)
			(void)!fchmodat(spot.dirfd, spot.stored.name, st.st_mode & 07777,
					AT_SYMLINK_NOFOLLOW);
	}
	if (!r) {
		names_sidecar_remove(spot.dirfd, spot.stored.name);
		tree_forget_name(t, node, &spot, &st);
	}
out:
	if (open)
		nodes_dirfd_put(t->nodes, node);
	if (node)
		nodes_unref(t->nodes, node);
	fdio_close(fd);
	spot_put(t, &spot);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}
