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
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"

/* The group of a new entry: the caller's, or the directory's where it says so. */
static int inherit(int dirfd, const struct caller *caller, gid_t *gid)
{
	struct stat st;

	if (fstat(dirfd, &st))
		return -errno;
	*gid = st.st_mode & S_ISGID ? st.st_gid : caller->gid;
	return 0;
}

/* The mode of what is made in a directory: the umask counts where no default ACL does. */
static mode_t masked(const struct tree *t, int dirfd, mode_t mode, const struct caller *caller)
{
	char path[32];

	if (t->store->acl && caller->umask) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
		if (getxattr(path, TREE_ACL_DEFAULT, NULL, 0) > 0)
			return mode;
	}
	return mode & ~caller->umask;
}

int tree_give_away(const struct tree *t, const struct spot *spot, const struct caller *caller,
		   mode_t mode)
{
	struct stat st;
	gid_t gid = 0;
	int r = inherit(spot->dirfd, caller, &gid);

	if (r)
		return r;
	if (t->privileged && (caller->uid || gid) &&
	    fchownat(spot->dirfd, spot->stored.name, caller->uid, gid, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISDIR(mode) ? (mode & 0700) == 0700 : !(mode & (S_ISUID | S_ISGID)))
		return 0;
	if (fstatat(spot->dirfd, spot->stored.name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	/*
	 * Of what a directory has, an inherited ACL and set-gid bit included, the
	 * owner's rights may go; the set-id bits of others went with the owner.
	 */
	mode = S_ISDIR(mode) ? st.st_mode & 07777 & (~(mode_t)0700 | mode)
			     : (st.st_mode & 07777) | (mode & (S_ISUID | S_ISGID));
	return fchmodat(spot->dirfd, spot->stored.name, mode, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int give_file_away(const struct tree *t, const struct spot *spot, int fd,
			  const struct caller *caller, mode_t mode)
{
	struct stat st;
	gid_t gid = 0;
	int r;

	if (!t->privileged)
		return 0;
	r = inherit(spot->dirfd, caller, &gid);
	if (r)
		return r;
	if ((caller->uid || gid) && fchown(fd, caller->uid, gid))
		return -errno;
	mode &= S_ISUID | S_ISGID; /* chown took these away */
	if (mode && (fstat(fd, &st) || fchmod(fd, (st.st_mode & 07777) | mode)))
		return -errno;
	return 0;
}

/* The record of the new directory made at `made`, which is to be at spot. */
static int make_record(struct tree *t, const struct spot *made, const struct spot *spot,
		       struct format_dir_record *record, bool *in_xattr)
{
	int fd;
	int r;

	memset(record, 0, sizeof(*record));
	spot_binding(t, spot, record->bindings[0]);
	if (getrandom(record->id, sizeof(record->id), 0) != sizeof(record->id))
		return -EIO;
	fd = openat(made->dirfd, made->stored.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = dirrec_write(fd, t->keys, record, in_xattr);
	fdio_close(fd);
	return r;
}

/* The entry of a directory just made, whose record need not be read again. */
static int enter_new(struct tree *t, const struct spot *spot,
		     const struct format_dir_record *record, bool in_xattr,
		     struct tree_entry *entry)
{
	int r = tree_new_entry(t, spot, -1, entry);

	if (r)
		return r;
	lock_take(&entry->node->lock);
	memcpy(entry->node->dir_id, record->id, sizeof(record->id));
	entry->node->record_unsynced = !in_xattr;
	__atomic_store_n(&entry->node->entered, true, __ATOMIC_RELEASE);
	lock_drop(&entry->node->lock);
	return 0;
}

/* The whole directory gets its name: 0, -EEXIST or another -errno. */
static int name_dir(const struct spot *made, const struct spot *spot)
{
	int r = renameat2(made->dirfd, made->stored.name, spot->dirfd, spot->stored.name,
			  RENAME_NOREPLACE);

	/* Some filesystems lack that; on none does a directory replace one that holds a record. */
	if (r && errno == EINVAL)
		r = renameat(made->dirfd, made->stored.name, spot->dirfd, spot->stored.name);
	if (!r)
		return 0;
	return errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST : -errno;
}

/*
 * Make a directory that has its record before it has its name, so that one
 * without is always damage.
 */
static int make_dir(struct tree *t, const struct spot *spot, mode_t mode,
		    const struct caller *caller, struct tree_entry *entry)
{
	struct format_dir_record record;
	struct spot made = *spot;
	bool in_xattr;
	int r = names_temporary(made.stored.name);

	/* Ours to write into until the record is there. */
	if (!r && mkdirat(made.dirfd, made.stored.name, mode | 0700))
		r = -errno;
	if (r)
		return r;
	r = make_record(t, &made, spot, &record, &in_xattr);
	if (!r)
		r = tree_give_away(t, &made, caller, S_IFDIR | mode);
	if (!r)
		r = name_dir(&made, spot);
	if (r) {
		tree_remove_made(made.dirfd, made.stored.name);
		return r;
	}
	r = enter_new(t, spot, &record, in_xattr, entry);
	if (r)
		tree_remove_made(spot->dirfd, spot->stored.name);
	return r;
}

/* What could not be taken away again keeps its name. */
static bool is_absent(const struct spot *spot)
{
	return faccessat(spot->dirfd, spot->stored.name, F_OK, AT_SYMLINK_NOFOLLOW) &&
	       errno == ENOENT;
}

int tree_mkdir(struct tree *t, struct node *dir, const char *name, mode_t mode,
	       const struct caller *caller, struct tree_entry *entry)
{
	struct spot spot;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot(t, dir, name, &spot);
	if (r)
		goto unlock;
	mode = masked(t, spot.dirfd, mode, caller);
	r = names_sidecar_write(spot.dirfd, &spot.stored);
	if (!r) {
		r = make_dir(t, &spot, mode & 01777, caller, entry);
		if (r && r != -EEXIST && is_absent(&spot))
			names_sidecar_remove(spot.dirfd, spot.stored.name);
	}
	spot_put(t, &spot);
unlock:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* Undo: the entry and its sidecar; one that cannot be removed keeps its name. */
static void take_away(const struct spot *spot)
{
	if (!unlinkat(spot->dirfd, spot->stored.name, 0) || errno == ENOENT)
		names_sidecar_remove(spot->dirfd, spot->stored.name);
}

static int open_nameless(const struct spot *spot, mode_t mode)
{
	int fd = openat(spot->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 07777);

	if (fd < 0 && (errno == EISDIR || errno == EINVAL))
		return -EOPNOTSUPP;
	return fd < 0 ? -errno : fd;
}

/*
 * A new file that has no name yet: it gets one when it is whole, so that no
 * death leaves a file without a header.  *named: the backing filesystem
 * cannot do that, and the file has its name already.
 */
static int make_nameless(const struct spot *spot, mode_t mode, bool *named)
{
	int fd = open_nameless(spot, mode);

	*named = fd == -EOPNOTSUPP;
	if (*named)
		fd = openat(spot->dirfd, spot->stored.name,
			    O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
			    mode & 07777);
	return *named && fd < 0 ? -errno : fd;
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

/* Owner and content of a new file that will be bound so, in this order; fd is taken. */
static int finish_file(struct tree *t, struct io *io, const struct spot *spot, int fd,
		       const uint8_t binding[FORMAT_BINDING_SIZE], mode_t mode,
		       const struct caller *caller, struct file **file)
{
	int r = give_file_away(t, spot, fd, caller, mode);

	if (r) {
		fdio_close(fd);
		return r;
	}
	return file_create(t->store, io, fd, binding, file);
}

/* What was just made is open. */
static void open_new(struct node *node, struct file *file)
{
	lock_take(&node->lock);
	node->file = file;
	node->opens = 1;
	node->trusted = true;
	lock_drop(&node->lock);
}

/* Make a regular file at spot: its node in entry, opened once. */
static int create_at(struct tree *t, struct io *io, const struct spot *spot, mode_t mode,
		     const struct caller *caller, struct tree_entry *entry)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	struct file *file = NULL;
	bool named = false;
	int r = names_sidecar_write(spot->dirfd, &spot->stored);

	if (r)
		return r;
	mode = masked(t, spot->dirfd, mode, caller);
	r = make_nameless(spot, mode, &named);
	if (r < 0) {
		if (r != -EEXIST)
			names_sidecar_remove(spot->dirfd, spot->stored.name);
		return r;
	}
	spot_binding(t, spot, binding);
	r = finish_file(t, io, spot, r, binding, mode, caller, &file);
	if (!r && !named) {
		r = give_name(t, file_fd(file), spot);
		named = !r;
	}
	if (!r)
		r = tree_new_entry(t, spot, file_fd(file), entry);
	if (r) {
		file_close(file);
		if (named)
			take_away(spot);
		else if (r != -EEXIST)
			names_sidecar_remove(spot->dirfd, spot->stored.name);
		return r;
	}
	open_new(entry->node, file);
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

/* In the directory of spot, which has no name; the node has no place. */
static int create_nameless_in(struct tree *t, struct io *io, const struct spot *spot, mode_t mode,
			      const struct caller *caller, struct tree_entry *entry)
{
	uint8_t nowhere[FORMAT_BINDING_SIZE];
	struct file *file = NULL;
	int r = open_nameless(spot, mode);
	int fd = r;

	if (r < 0)
		return r;
	if (getrandom(nowhere, sizeof(nowhere), 0) != sizeof(nowhere)) {
		fdio_close(fd);
		return -EIO;
	}
	r = finish_file(t, io, spot, fd, nowhere, mode, caller, &file);
	if (!r && fstat(file_fd(file), &entry->st))
		r = -errno;
	if (!r) {
		nodes_made(t->nodes, &entry->st);
		entry->node = nodes_get(t->nodes, &entry->st, NULL, NULL, true);
		r = entry->node ? 0 : -ENOMEM;
	}
	if (r)
		file_close(file);
	else
		open_new(entry->node, file);
	return r;
}

int tree_create_nameless(struct tree *t, struct io *io, struct node *dir, mode_t mode,
			 const struct caller *caller, struct tree_entry *entry)
{
	struct spot spot = { .dir = dir };
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_enter(t, dir);
	if (!r)
		r = nodes_dirfd(t->nodes, dir, &spot.dirfd);
	if (!r) {
		mode = masked(t, spot.dirfd, mode, caller);
		r = create_nameless_in(t, io, &spot, mode, caller, entry);
		spot_put(t, &spot);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r ? r : tree_getattr(t, entry->node, &entry->st);
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
	mode = masked(t, spot->dirfd, mode, caller);
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
	r = tree_give_away(t, spot, caller, mode);
	if (!r)
		r = tree_new_entry(t, spot, -1, entry);
	if (r) {
		take_away(spot);
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
	r = tree_give_away(t, spot, caller, S_IFLNK);
	if (!r)
		r = tree_new_entry(t, spot, -1, entry);
	if (r) {
		take_away(spot);
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
	if (!r)
		nodes_share(t->nodes, node);
	tree_file_put(t, node);
	return r;
}

/* The entry of a name just made; without one it is taken away again. */
static int linked(struct tree *t, const struct spot *spot, struct tree_entry *entry)
{
	int r = tree_stat_at(t, spot->dir, spot->dirfd, spot->stored.name, &entry->st);

	if (!r) {
		entry->node = nodes_get(t->nodes, &entry->st, spot->dir, spot->stored.name, true);
		r = entry->node ? 0 : -ENOMEM;
	}
	if (r) {
		take_away(spot);
		special_forget(spot->dirfd, spot->stored.name);
	}
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
	return r ? r : linked(t, spot, entry);
}

/* A file that was made without a name, and still has none. */
static bool is_nameless(struct tree *t, struct node *node)
{
	struct location at;

	if (node->type != S_IFREG)
		return false;
	if (nodes_locate(t->nodes, node, &at))
		return true;
	location_put(t->nodes, &at);
	return false;
}

/* Its first name; nobody else gives it one meanwhile. */
static int name_nameless(struct tree *t, struct io *io, struct node *node, const struct spot *spot,
			 struct tree_entry *entry)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	int r = tree_file_get(t, io, node, true);

	if (r)
		return r;
	spot_binding(t, spot, binding);
	r = file_bind_both(node->file, io, binding, binding);
	if (!r)
		r = names_sidecar_write(spot->dirfd, &spot->stored);
	if (!r)
		r = give_name(t, file_fd(node->file), spot);
	if (!r) {
		file_bind_only(node->file, binding);
		r = linked(t, spot, entry);
	} else if (r != -EEXIST) {
		names_sidecar_remove(spot->dirfd, spot->stored.name);
	}
	tree_file_put(t, node);
	return r;
}

/* Lock such that *nameless stays true if it is. */
static void lock_to_link(struct tree *t, struct node *node, bool *nameless)
{
	pthread_rwlock_rdlock(&t->rename_lock);
	*nameless = is_nameless(t, node);
	if (!*nameless)
		return;
	pthread_rwlock_unlock(&t->rename_lock);
	pthread_rwlock_wrlock(&t->rename_lock);
	*nameless = is_nameless(t, node);
}

int tree_link(struct tree *t, struct io *io, struct node *node, struct node *dir, const char *name,
	      struct tree_entry *entry)
{
	struct spot spot;
	bool nameless;
	int r = 0;

	lock_to_link(t, node, &nameless);
	if (!nameless)
		r = unbind(t, io, node);
	if (!r)
		r = tree_spot(t, dir, name, &spot);
	if (!r) {
		r = nameless ? name_nameless(t, io, node, &spot, entry)
			     : link_at(t, node, &spot, entry);
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
