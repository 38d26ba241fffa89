/* SPDX-License-Identifier: MIT */
/*
 * New entries.  A long name's sidecar is written before the entry; what was
 * made is taken away again when a later step fails.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fdio.h"

/* The group of a new entry: the caller's, or the directory's where it says so. */
static int inherit(int dirfd, const struct caller *caller, gid_t *gid, bool *setgid)
{
	struct stat st;

	if (fstat(dirfd, &st))
		return -errno;
	*setgid = st.st_mode & S_ISGID;
	*gid = *setgid ? st.st_gid : caller->gid;
	return 0;
}

/* Give what was made at spot to its owner, and the mode that it still lacks. */
static int give_away(const struct tree *t, const struct spot *spot, const struct caller *caller,
		     mode_t mode)
{
	bool setgid = false;
	gid_t gid = 0;
	int r = inherit(spot->dirfd, caller, &gid, &setgid);

	if (r)
		return r;
	if (t->privileged && (caller->uid || gid) &&
	    fchownat(spot->dirfd, spot->stored.name, caller->uid, gid, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISDIR(mode) ? (mode & 0700) == 0700 : !(mode & (S_ISUID | S_ISGID)))
		return 0;
	if (S_ISDIR(mode) && setgid)
		mode |= S_ISGID;
	return fchmodat(spot->dirfd, spot->stored.name, mode & 07777, AT_SYMLINK_NOFOLLOW) ? -errno
											   : 0;
}

static int give_file_away(const struct tree *t, const struct spot *spot, int fd,
			  const struct caller *caller, mode_t mode)
{
	bool setgid;
	gid_t gid = 0;
	int r;

	if (!t->privileged)
		return 0;
	r = inherit(spot->dirfd, caller, &gid, &setgid);
	if (r)
		return r;
	if ((caller->uid || gid) && fchown(fd, caller->uid, gid))
		return -errno;
	/* chown took these away. */
	if (mode & (S_ISUID | S_ISGID) && fchmod(fd, mode & 07777))
		return -errno;
	return 0;
}

static int make_record(struct tree *t, const struct spot *spot, struct format_dir_record *record,
		       bool *in_xattr)
{
	int fd;
	int r;

	memset(record, 0, sizeof(*record));
	spot_binding(t, spot, record->bindings[0]);
	if (getrandom(record->id, sizeof(record->id), 0) != sizeof(record->id))
		return -EIO;
	fd = openat(spot->dirfd, spot->stored.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = dirrec_write(fd, t->keys, record, in_xattr);
	if (r)
		(void)dirrec_remove(fd);
	fdio_close(fd);
	return r;
}

/* The entry of a directory just made, whose record need not be read again. */
static int enter_new(struct tree *t, const struct spot *spot,
		     const struct format_dir_record *record, bool in_xattr,
		     struct tree_entry *entry)
{
	int r = tree_new_entry(t, spot, entry);

	if (r)
		return r;
	lock_take(&entry->node->lock);
	memcpy(entry->node->dir_id, record->id, sizeof(record->id));
	entry->node->record_unsynced = !in_xattr;
	__atomic_store_n(&entry->node->entered, true, __ATOMIC_RELEASE);
	lock_drop(&entry->node->lock);
	return 0;
}

/* Undo: the entry and its sidecar; one that cannot be removed keeps its name. */
static void take_away(const struct spot *spot, int flags)
{
	if (!unlinkat(spot->dirfd, spot->stored.name, flags) || errno == ENOENT)
		names_sidecar_remove(spot->dirfd, spot->stored.name);
}

int tree_mkdir(struct tree *t, struct node *dir, const char *name, mode_t mode,
	       const struct caller *caller, struct tree_entry *entry)
{
	struct format_dir_record record;
	struct spot spot;
	bool in_xattr;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot(t, dir, name, &spot);
	if (r)
		goto unlock;
	r = names_sidecar_write(spot.dirfd, &spot.stored);
	if (r)
		goto out;
	/* Ours to write into until the record is there. */
	if (mkdirat(spot.dirfd, spot.stored.name, (mode & 01777) | 0700)) {
		r = -errno;
		if (r != -EEXIST)
			names_sidecar_remove(spot.dirfd, spot.stored.name);
		goto out;
	}
	r = make_record(t, &spot, &record, &in_xattr);
	if (!r)
		r = give_away(t, &spot, caller, S_IFDIR | (mode & 01777));
	if (!r)
		r = enter_new(t, &spot, &record, in_xattr, entry);
	if (r) {
		int fd = openat(spot.dirfd, spot.stored.name,
				O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0)
			(void)dirrec_remove(fd);
		fdio_close(fd);
		take_away(&spot, AT_REMOVEDIR);
	}
out:
	spot_put(t, &spot);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/*
 * A new file that has no name yet: it gets one when it is whole, so that no
 * death leaves a file without a header.  *named: the backing filesystem
 * cannot do that, and the file has its name already.
 */
static int make_nameless(const struct spot *spot, mode_t mode, bool *named)
{
	int fd = openat(spot->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 07777);

	*named = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
	if (*named)
		fd = openat(spot->dirfd, spot->stored.name,
			    O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
			    mode & 07777);
	return fd < 0 ? -errno : fd;
}

/* Give a nameless file its name. */
static int give_name(const struct tree *t, int fd, const struct spot *spot)
{
	char path[32];

	/* Naming a descriptor itself takes a capability; its link in /proc none. */
	if (t->privileged && !linkat(fd, "", spot->dirfd, spot->stored.name, AT_EMPTY_PATH))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, spot->dirfd, spot->stored.name, AT_SYMLINK_FOLLOW))
		return -errno;
	return 0;
}

/* Owner, content and name of a new file, in this order; fd is taken. */
static int finish_file(struct tree *t, struct io *io, const struct spot *spot, int fd, mode_t mode,
		       const struct caller *caller, struct file **file)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	int r = give_file_away(t, spot, fd, caller, mode);

	if (r) {
		fdio_close(fd);
		return r;
	}
	spot_binding(t, spot, binding);
	return file_create(t->store, io, fd, binding, file);
}

/* Make a regular file at spot: its node in entry, opened once. */
static int create_at(struct tree *t, struct io *io, const struct spot *spot, mode_t mode,
		     const struct caller *caller, struct tree_entry *entry)
{
	struct file *file = NULL;
	bool named = false;
	int r = names_sidecar_write(spot->dirfd, &spot->stored);

	if (r)
		return r;
	r = make_nameless(spot, mode, &named);
	if (r < 0) {
		if (r != -EEXIST)
			names_sidecar_remove(spot->dirfd, spot->stored.name);
		return r;
	}
	r = finish_file(t, io, spot, r, mode, caller, &file);
	if (!r && !named) {
		r = give_name(t, file_fd(file), spot);
		named = !r;
	}
	if (!r)
		r = tree_new_entry(t, spot, entry);
	if (r) {
		file_close(file);
		if (named)
			take_away(spot, 0);
		else if (r != -EEXIST)
			names_sidecar_remove(spot->dirfd, spot->stored.name);
		return r;
	}
	lock_take(&entry->node->lock);
	entry->node->file = file;
	entry->node->opens = 1;
	entry->node->trusted = true;
	lock_drop(&entry->node->lock);
	return 0;
}

int tree_create(struct tree *t, struct io *io, struct node *dir, const char *name, mode_t mode,
		const struct caller *caller, struct tree_entry *entry)
{
	struct spot spot;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot(t, dir, name, &spot);
	if (!r) {
		r = create_at(t, io, &spot, mode, caller, entry);
		spot_put(t, &spot);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

int tree_allow_special(struct tree *t, const struct spot *spot, mode_t mode, dev_t rdev)
{
	const struct special s = {
		.dir_id = spot->dir->dir_id, .stored = spot->stored.name, .mode = mode, .rdev = rdev
	};

	return special_is(mode) ? special_allow(spot->dirfd, t->keys, &s) : 0;
}

static void forget_sidecars(const struct spot *spot)
{
	names_sidecar_remove(spot->dirfd, spot->stored.name);
	special_forget(spot->dirfd, spot->stored.name);
}

static int make_node(struct tree *t, const struct spot *spot, mode_t mode, dev_t rdev,
		     const struct caller *caller, struct tree_entry *entry)
{
	int r = names_sidecar_write(spot->dirfd, &spot->stored);

	if (r)
		return r;
	r = tree_allow_special(t, spot, mode, rdev);
	if (r) {
		forget_sidecars(spot);
		return r;
	}
	if (mknodat(spot->dirfd, spot->stored.name, mode, rdev)) {
		r = -errno;
		if (r != -EEXIST)
			forget_sidecars(spot);
		return r;
	}
	r = give_away(t, spot, caller, mode);
	if (!r)
		r = tree_new_entry(t, spot, entry);
	if (r) {
		take_away(spot, 0);
		special_forget(spot->dirfd, spot->stored.name);
	}
	return r;
}

int tree_mknod(struct tree *t, struct io *io, struct node *dir, const char *name, mode_t mode,
	       dev_t rdev, const struct caller *caller, struct tree_entry *entry)
{
	struct spot spot;
	int r;

	if (S_ISREG(mode)) {
		r = tree_create(t, io, dir, name, mode, caller, entry);
		if (!r)
			tree_file_put(t, entry->node);
		return r;
	}
	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot(t, dir, name, &spot);
	if (!r) {
		r = make_node(t, &spot, mode, rdev, caller, entry);
		spot_put(t, &spot);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

static int make_link(struct tree *t, const struct spot *spot, const char *target,
		     const struct caller *caller, struct tree_entry *entry)
{
	const struct links_place place = { spot->dir->dir_id, spot->stored.name };
	char text[LINKS_TEXT_MAX + 1];
	int r = links_seal(t->keys, t->suite, target, &place, NULL, text);

	if (!r)
		r = names_sidecar_write(spot->dirfd, &spot->stored);
	if (r)
		return r;
	r = links_create(spot->dirfd, spot->stored.name, text);
	if (r) {
		if (r != -EEXIST)
			names_sidecar_remove(spot->dirfd, spot->stored.name);
		return r;
	}
	r = give_away(t, spot, caller, S_IFLNK);
	if (!r)
		r = tree_new_entry(t, spot, entry);
	if (r) {
		take_away(spot, 0);
		links_sidecar_remove(spot->dirfd, spot->stored.name);
	}
	return r;
}

int tree_symlink(struct tree *t, struct node *dir, const char *name, const char *target,
		 const struct caller *caller, struct tree_entry *entry)
{
	struct spot spot;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot(t, dir, name, &spot);
	if (!r) {
		r = make_link(t, &spot, target, caller, entry);
		spot_put(t, &spot);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* A second name frees the file from its first one: see docs/format.md. */
static int unbind(struct tree *t, struct io *io, struct node *node)
{
	int r;

	if (node->type == S_IFLNK)
		return -EPERM; /* sealed for one name; as many filesystems answer */
	if (node->type != S_IFREG)
		return 0;
	r = tree_file_get(t, io, node, true);
	if (r)
		return r;
	r = file_unbind(node->file, io);
	tree_file_put(t, node);
	return r;
}

static int link_at(struct tree *t, struct node *node, const struct spot *spot,
		   struct tree_entry *entry)
{
	struct location at;
	struct stat st;
	int r = nodes_locate(t->nodes, node, &at);

	if (r)
		return r;
	r = tree_stat_at(t, at.parent, at.dirfd, at.name, &st);
	if (!r)
		r = names_sidecar_write(spot->dirfd, &spot->stored);
	if (!r)
		r = tree_allow_special(t, spot, st.st_mode, st.st_rdev);
	if (!r && linkat(at.dirfd, at.name, spot->dirfd, spot->stored.name, 0))
		r = -errno;
	if (r && r != -EEXIST)
		forget_sidecars(spot);
	location_put(t->nodes, &at);
	if (r)
		return r;
	r = tree_stat_at(t, spot->dir, spot->dirfd, spot->stored.name, &entry->st);
	if (!r) {
		entry->node = nodes_get(t->nodes, &entry->st, spot->dir, spot->stored.name, true);
		r = entry->node ? 0 : -ENOMEM;
	}
	if (r) {
		take_away(spot, 0);
		special_forget(spot->dirfd, spot->stored.name);
	}
	return r;
}

int tree_link(struct tree *t, struct io *io, struct node *node, struct node *dir, const char *name,
	      struct tree_entry *entry)
{
	struct spot spot;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = unbind(t, io, node);
	if (!r)
		r = tree_spot(t, dir, name, &spot);
	if (!r) {
		r = link_at(t, node, &spot, entry);
		spot_put(t, &spot);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

int tree_readlink(struct tree *t, struct node *node, char *target)
{
	char text[LINKS_TEXT_MAX + 1];
	struct links_place place;
	struct location at;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = nodes_locate(t->nodes, node, &at);
	if (r)
		goto unlock;
	r = tree_enter(t, at.parent);
	if (!r)
		r = links_read(at.dirfd, at.name, text);
	if (!r) {
		place.dir_id = at.parent->dir_id;
		place.stored = at.name;
		r = links_open(t->keys, t->suite, text, &place, target);
	}
	location_put(t->nodes, &at);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r > 0 ? tree_damaged(t, node, UINT64_MAX, "symlink does not authenticate") : r;
}
