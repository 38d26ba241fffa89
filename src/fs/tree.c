/* SPDX-License-Identifier: MIT */
/*
 * The tree: where names are, what directories are called inside, attributes.
 * See tree.h for the contract.
 */
#include "fs/tree_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/log.h"

enum { BLKSIZE = 128 * 1024 }; /* st_blksize: what stdio and cp read at once */

/* Directory descriptors to keep: a quarter of what this process may open. */
static uint32_t max_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 4 > 4096)
		return 4096;
	return limit.rlim_cur / 4 < 16 ? 16 : (uint32_t)(limit.rlim_cur / 4);
}

int tree_new(const struct store *store, int root_fd, struct tree **out)
{
	struct tree *t = calloc(1, sizeof(*t));
	int r;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->store = store;
	t->keys = store->keys;
	t->suite = store->suite == CIPHER_XOR ? CIPHER_AES_256_GCM : store->suite;
	t->root_fd = root_fd;
	t->privileged = geteuid() == 0;
	pthread_rwlock_init(&t->rename_lock, NULL);
	pthread_mutex_init(&t->settle_lock, NULL);
	pthread_mutex_init(&t->checkpoint_lock, NULL);
	pthread_mutex_init(&t->journal_lock, NULL);
	r = nodes_new(root_fd, max_fds(), &t->nodes);
	if (!r)
		r = tree_enter(t, nodes_root(t->nodes));
	if (r) {
		tree_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	nodes_free(t->nodes);
	free(t->journalled);
	pthread_mutex_destroy(&t->journal_lock);
	pthread_mutex_destroy(&t->checkpoint_lock);
	pthread_mutex_destroy(&t->settle_lock);
	pthread_rwlock_destroy(&t->rename_lock);
	free(t);
}

struct nodes *tree_nodes(struct tree *t)
{
	return t->nodes;
}

int tree_damaged(struct tree *t, struct node *node, uint64_t block, const char *what)
{
	char path[1024];

	lock_take(&node->lock);
	if (node->damage_logged == block + 2) {
		lock_drop(&node->lock);
		return -EIO;
	}
	node->damage_logged = block + 2; /* 1 for UINT64_MAX, never 0 */
	lock_drop(&node->lock);

	nodes_path(t->nodes, node, path, sizeof(path));
	if (block == UINT64_MAX)
		log_error("damaged: tree/%s: %s", path, what);
	else
		log_error("damaged: tree/%s: block %llu: %s", path, (unsigned long long)block,
			  what);
	return -EIO;
}

/* ---- directories --------------------------------------------------------- */

/* The binding of a directory where it is now. */
static int dir_binding(struct tree *t, struct node *dir, uint8_t binding[FORMAT_BINDING_SIZE])
{
	static const uint8_t no_parent[FORMAT_DIR_ID_SIZE];
	struct location at;
	int r;

	if (dir == nodes_root(t->nodes)) {
		format_binding(t->keys, no_parent, "", binding);
		return 0;
	}
	r = nodes_locate(t->nodes, dir, &at);
	if (r)
		return r;
	r = tree_enter(t, at.parent);
	if (!r)
		format_binding(t->keys, at.parent->dir_id, at.name, binding);
	location_put(t->nodes, &at);
	return r;
}

static int read_record(struct tree *t, struct node *dir)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	struct format_dir_record record;
	int fd;
	int r = dir_binding(t, dir, binding);

	if (!r)
		r = nodes_dirfd(t->nodes, dir, &fd);
	if (r)
		return r;
	r = dirrec_read_at(fd, t->keys, t->store->read_only, binding, &record);
	nodes_dirfd_put(t->nodes, dir);
	if (r)
		return r;
	if (memcmp(record.bindings[0], binding, sizeof(binding)) != 0 &&
	    memcmp(record.bindings[1], binding, sizeof(binding)) != 0)
		return DIRREC_DAMAGED;
	dir->rebound = !bytes_are_zero(record.bindings[1], FORMAT_BINDING_SIZE);
	memcpy(dir->dir_id, record.id, sizeof(dir->dir_id));
	return 0;
}

int tree_enter(struct tree *t, struct node *dir)
{
	bool rebound = false;
	int r = 0;

	if (__atomic_load_n(&dir->entered, __ATOMIC_ACQUIRE))
		return 0;
	if (dir->type != S_IFDIR)
		return -ENOTDIR;
	lock_take(&dir->lock);
	if (!dir->entered) {
		r = read_record(t, dir);
		rebound = dir->rebound;
		__atomic_store_n(&dir->entered, r == 0, __ATOMIC_RELEASE);
	}
	lock_drop(&dir->lock);
	if (r == DIRREC_MISSING)
		return tree_damaged(t, dir, UINT64_MAX, "directory record missing");
	if (r > 0)
		return tree_damaged(t, dir, UINT64_MAX, "directory record does not belong here");
	if (!r && rebound && !t->store->read_only)
		tree_settle_later(t, dir);
	return r;
}

/* ---- names --------------------------------------------------------------- */

int tree_spot(struct tree *t, struct node *dir, const char *name, struct spot *spot)
{
	int r = tree_enter(t, dir);

	if (r)
		return r;
	spot->dir = dir;
	spot->damaged = false;
	r = names_encode(t->keys, dir->dir_id, name, &spot->stored);
	spot->is_long = r == NAMES_LONG;
	if (r < 0)
		return r;
	return nodes_dirfd(t->nodes, dir, &spot->dirfd);
}

void spot_put(struct tree *t, struct spot *spot)
{
	nodes_dirfd_put(t->nodes, spot->dir);
}

void spot_binding(const struct tree *t, const struct spot *spot,
		  uint8_t binding[FORMAT_BINDING_SIZE])
{
	format_binding(t->keys, spot->dir->dir_id, spot->stored.name, binding);
}

/* Find the entry that is shown as `shown`; its stored name goes to spot. */
static int find_damaged(struct tree *t, struct spot *spot, const char *shown)
{
	int fd = openat(spot->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char name[NAMES_PLAIN_MAX + 1];
	struct dirent *entry;
	int r = -ENOENT;

	if (!d) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	while (r == -ENOENT) {
		errno = 0;
		entry = readdir(d);
		if (!entry)
			break;
		if (strlen(entry->d_name) > NAMES_STORED_MAX)
			continue;
		names_show_damaged(entry->d_name, name);
		if (strcmp(name, shown) != 0 ||
		    names_decode_at(t->keys, spot->dir->dir_id, spot->dirfd, entry->d_name, name) !=
			    NAMES_DAMAGED)
			continue;
		strcpy(spot->stored.name, entry->d_name);
		spot->is_long = false;
		spot->stored.sealed_size = 0;
		spot->damaged = true;
		r = 0;
	}
	if (r && errno)
		r = -errno;
	(void)closedir(d);
	return r;
}

int tree_spot_existing(struct tree *t, struct node *dir, const char *name, struct spot *spot,
		       struct stat *st)
{
	int r = tree_spot(t, dir, name, spot);

	if (r)
		return r;
	r = tree_stat_at(t, dir, spot->dirfd, spot->stored.name, st);
	if (r == -ENOENT && names_is_damaged_show(name)) {
		r = find_damaged(t, spot, name);
		if (!r)
			r = tree_stat_at(t, dir, spot->dirfd, spot->stored.name, st);
	}
	if (r)
		spot_put(t, spot);
	return r;
}

/* ---- attributes ---------------------------------------------------------- */

/*
 * Whether what is stored, size bytes, can be told to be one seal by its length.
 * Two have a dot between them; and the text of a longer one lies elsewhere.
 */
static bool is_one_seal(size_t size)
{
	enum { SHORTEST = (CIPHER_NONCE_SIZE + CIPHER_TAG_SIZE + 1) / 3 * 4 + 3 };

	return size > 1 && (size % 2 == 0 || size <= 2 * SHORTEST);
}

/* Bytes of the target in a seal whose text has size bytes. */
static off_t target_size(size_t size)
{
	size = size / 4 * 3 + (size % 4 ? size % 4 - 1 : 0);
	return size > CIPHER_NONCE_SIZE + CIPHER_TAG_SIZE
		       ? (off_t)(size - CIPHER_NONCE_SIZE - CIPHER_TAG_SIZE)
		       : 0;
}

/* Read and opened: 0, or -errno if it cannot be read. */
static int open_link_size(const struct tree *t, const struct node *dir, int dirfd,
			  const char *stored, off_t *out)
{
	const struct links_place place = { dir->dir_id, stored };
	char text[LINKS_TEXT_MAX + 1];
	char target[LINKS_PLAIN_MAX + 1];
	int r = links_read(dirfd, stored, text);

	if (!r)
		r = links_open(t->keys, t->suite, text, &place, target);
	*out = r ? 0 : (off_t)strlen(target);
	return r < 0 ? r : 0;
}

/*
 * Bytes of a symlink's target, in the place of what is stored.  It is read only
 * where the length of that does not tell, as reading counts as an access; 0 if
 * it is damaged then.  0 or -errno.
 */
static int link_size(const struct tree *t, const struct node *dir, int dirfd, const char *stored,
		     off_t *size)
{
	if (!is_one_seal((size_t)*size))
		return open_link_size(t, dir, dirfd, stored, size);
	*size = target_size((size_t)*size);
	return 0;
}

/* The plaintext size of a regular file that a backing stat speaks of. */
static void fix_file_size(const struct tree *t, struct stat *st)
{
	st->st_blksize = BLKSIZE;
	if (t->store->suite != CIPHER_XOR)
		st->st_size = (off_t)format_length((uint64_t)st->st_size);
}

/* A special file that nobody made here is shown as a file that cannot be opened. */
static int check_special(const struct tree *t, const struct node *dir, int dirfd,
			 const char *stored, struct stat *st)
{
	const struct special s = {
		.dir_id = dir->dir_id, .stored = stored, .mode = st->st_mode, .rdev = st->st_rdev
	};
	int r = special_is_allowed(dirfd, t->keys, &s);

	if (r)
		return r < 0 ? r : 0;
	st->st_mode = S_IFREG | (st->st_mode & 07777);
	st->st_rdev = 0;
	st->st_size = 0;
	fix_file_size(t, st);
	return 0;
}

int tree_stat_at(struct tree *t, const struct node *dir, int dirfd, const char *stored,
		 struct stat *st)
{
	if (fstatat(dirfd, stored, st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (special_is(st->st_mode))
		return check_special(t, dir, dirfd, stored, st);
	if (S_ISLNK(st->st_mode))
		return link_size(t, dir, dirfd, stored, &st->st_size);
	if (S_ISREG(st->st_mode))
		fix_file_size(t, st);
	return 0;
}

static int stat_dir(struct tree *t, struct node *dir, struct stat *st)
{
	int fd;
	int r = nodes_dirfd(t->nodes, dir, &fd);

	if (r)
		return r;
	if (fstat(fd, st))
		r = -errno;
	nodes_dirfd_put(t->nodes, dir);
	return r;
}

/* If the file is open its descriptor knows, even when it has no name left. */
static int stat_open_file(struct tree *t, struct node *node, struct stat *st)
{
	int r = -ENOENT;

	lock_take(&node->lock);
	if (node->file)
		r = fstat(file_fd(node->file), st) ? -errno : 0;
	lock_drop(&node->lock);
	if (!r)
		fix_file_size(t, st);
	return r;
}

/* A FIFO, link or the like whose last name is gone. */
static int stat_held(struct node *node, struct stat *st)
{
	char text[LINKS_TEXT_MAX + 1];
	int r = -ESTALE;

	if (node->type == S_IFREG || node->type == S_IFDIR)
		return r;
	lock_take(&node->lock);
	if (node->held_fd >= 0)
		r = fstat(node->held_fd, st) ? -errno : 0;
	if (!r && S_ISLNK(st->st_mode)) /* nobody knows any more what it was sealed for */
		st->st_size = links_read(node->held_fd, "", text) ? 0
								  : target_size(strcspn(text, "."));
	lock_drop(&node->lock);
	return r;
}

static int stat_by_name(struct tree *t, struct node *node, struct stat *st)
{
	struct location at;
	int r = nodes_locate(t->nodes, node, &at);

	if (r)
		return r == -ESTALE ? stat_held(node, st) : r;
	r = tree_stat_at(t, at.parent, at.dirfd, at.name, st);
	if (!r && (st->st_ino != node->ino || (st->st_mode & S_IFMT) != node->type))
		r = -ESTALE;
	location_put(t->nodes, &at);
	return r;
}

/* tree_getattr with the rename lock held. */
static int stat_node(struct tree *t, struct node *node, struct stat *st)
{
	if (node->type == S_IFDIR)
		return stat_dir(t, node, st);
	if (node->type == S_IFREG && !stat_open_file(t, node, st))
		return 0;
	return stat_by_name(t, node, st);
}

int tree_getattr(struct tree *t, struct node *node, struct stat *st)
{
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = stat_node(t, node, st);
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

struct node *tree_get_node(struct tree *t, struct node *dir, int dirfd, const char *stored,
			   const struct stat *st, bool kernel)
{
	struct node *known;

	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return nodes_get(t->nodes, st, dir, stored, kernel);
	known = nodes_find(t->nodes, st, dir, stored);
	if (known)
		nodes_unref(t->nodes, known);
	if (!known && tree_is_unbound(t, dirfd, stored, st))
		return nodes_get_shared(t->nodes, st, dir, stored, kernel);
	return nodes_get(t->nodes, st, dir, stored, kernel);
}

int tree_new_entry(struct tree *t, const struct spot *spot, int fd, struct tree_entry *entry)
{
	int r = 0;

	if (fd < 0)
		r = tree_stat_at(t, spot->dir, spot->dirfd, spot->stored.name, &entry->st);
	else if (fstat(fd, &entry->st))
		r = -errno;
	else
		fix_file_size(t, &entry->st);
	if (r)
		return r;
	nodes_made(t->nodes, &entry->st);
	entry->node = nodes_get(t->nodes, &entry->st, spot->dir, spot->stored.name, true);
	return entry->node ? 0 : -ENOMEM;
}

int tree_lookup(struct tree *t, struct node *dir, const char *name, struct tree_entry *entry)
{
	struct spot spot;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_spot_existing(t, dir, name, &spot, &entry->st);
	if (r)
		goto out;
	entry->node = tree_get_node(t, dir, spot.dirfd, spot.stored.name, &entry->st, true);
	if (!entry->node)
		r = -ENOMEM;
	spot_put(t, &spot);
out:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* A node by descriptor (the open file's) or by directory and name. */
struct handle {
	int fd;	    /* of the open file, or -1 */
	int own_fd; /* what at.name, a path, leads to; or -1 */
	int flag;   /* for calls with at: AT_SYMLINK_NOFOLLOW, or 0 for such a path */
	bool located;
	struct location at;
};

/* What is held though its last name is gone, by way of its descriptor. */
static int handle_held(struct tree *t, struct node *node, struct handle *h)
{
	int fd;

	if (node->type == S_IFDIR) {
		if (nodes_dirfd(t->nodes, node, &fd))
			return -ESTALE;
		h->own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		nodes_dirfd_put(t->nodes, node);
	} else if (node->type != S_IFREG) {
		lock_take(&node->lock);
		if (node->held_fd >= 0)
			h->own_fd = fcntl(node->held_fd, F_DUPFD_CLOEXEC, 3);
		lock_drop(&node->lock);
	}
	if (h->own_fd < 0)
		return -ESTALE;
	h->at.dirfd = AT_FDCWD;
	h->flag = 0;
	(void)snprintf(h->at.name, sizeof(h->at.name), "/proc/self/fd/%d", h->own_fd);
	return 0;
}

static int handle_get(struct tree *t, struct node *node, struct handle *h)
{
	int r;

	h->fd = -1;
	h->own_fd = -1;
	h->flag = AT_SYMLINK_NOFOLLOW;
	h->located = false;
	if (node == nodes_root(t->nodes)) {
		h->at.dirfd = t->root_fd;
		strcpy(h->at.name, ".");
		return 0;
	}
	lock_take(&node->lock);
	if (node->type == S_IFREG && node->file) {
		file_touch(node->file);
		h->fd = fcntl(file_fd(node->file), F_DUPFD_CLOEXEC, 3);
	}
	lock_drop(&node->lock);
	if (h->fd >= 0)
		return 0;
	r = nodes_locate(t->nodes, node, &h->at);
	h->located = !r;
	return r == -ESTALE ? handle_held(t, node, h) : r;
}

static void handle_put(struct tree *t, struct handle *h)
{
	fdio_close(h->fd);
	fdio_close(h->own_fd);
	if (h->located)
		location_put(t->nodes, &h->at);
}

/* The inode of a descriptor, wherever it is. */
static int access_fd(int fd, int mask)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return faccessat(AT_FDCWD, path, mask, AT_EACCESS) ? -errno : 0;
}

static int access_dir(struct tree *t, struct node *dir, int mask)
{
	int fd;
	int r = nodes_dirfd(t->nodes, dir, &fd);

	if (r)
		return r;
	r = access_fd(fd, mask);
	nodes_dirfd_put(t->nodes, dir);
	return r;
}

static int access_node(struct tree *t, struct node *node, int mask)
{
	struct location at;
	struct handle h;
	int r;

	if (node->type == S_IFDIR)
		return access_dir(t, node, mask);
	r = nodes_locate(t->nodes, node, &at);
	if (!r) {
		/* By its name: one must be allowed to search the directory, too. */
		r = faccessat(at.dirfd, at.name, mask, AT_EACCESS | AT_SYMLINK_NOFOLLOW) ? -errno
											 : 0;
		location_put(t->nodes, &at);
		return r;
	}
	if (r != -ESTALE)
		return r;
	r = handle_get(t, node, &h); /* without a name, but open */
	if (r)
		return r;
	r = access_fd(h.fd >= 0 ? h.fd : h.own_fd, mask);
	handle_put(t, &h);
	return r;
}

/* The same where only our own user asks and nobody checked before. */
int tree_check_access(struct tree *t, struct node *node, int mask)
{
	return t->store->alone && !t->privileged ? access_node(t, node, mask) : 0;
}

int tree_access(struct tree *t, struct node *node, int mask)
{
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = access_node(t, node, mask);
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

static int set_owner(const struct handle *h, const struct stat *attr, unsigned int valid)
{
	uid_t uid = valid & TREE_SET_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = valid & TREE_SET_GID ? attr->st_gid : (gid_t)-1;
	int r = h->fd >= 0 ? fchown(h->fd, uid, gid)
			   : fchownat(h->at.dirfd, h->at.name, uid, gid, h->flag);

	return r ? -errno : 0;
}

static int set_mode(const struct handle *h, const struct stat *attr)
{
	mode_t mode = attr->st_mode & 07777;
	int r = h->fd >= 0 ? fchmod(h->fd, mode) : fchmodat(h->at.dirfd, h->at.name, mode, h->flag);

	return r ? -errno : 0;
}

static int set_times(const struct handle *h, const struct stat *attr, unsigned int valid)
{
	const struct timespec leave = { 0, UTIME_OMIT };
	struct timespec times[2];
	int r;

	times[0] = valid & TREE_SET_ATIME ? attr->st_atim : leave;
	times[1] = valid & TREE_SET_MTIME ? attr->st_mtim : leave;
	r = h->fd >= 0 ? futimens(h->fd, times)
		       : utimensat(h->at.dirfd, h->at.name, times, h->flag);
	return r ? -errno : 0;
}

static int set_size(struct tree *t, struct io *io, struct node *node, off_t size, bool kill_set_id)
{
	uint64_t bad;
	int r = tree_file_get(t, io, node, true);

	if (r)
		return r;
	r = tree_file_truncate(t, io, node, (uint64_t)size, &bad);
	if (r > 0)
		r = tree_damaged(t, node, bad, "does not authenticate");
	if (!r && kill_set_id)
		tree_kill_set_id(node);
	tree_file_put(t, node);
	return r;
}

int tree_setattr(struct tree *t, struct io *io, struct node *node, const struct stat *attr,
		 unsigned int valid, struct stat *st)
{
	struct handle h;
	int r = 0;

	pthread_rwlock_rdlock(&t->rename_lock);
	if (valid & TREE_SET_SIZE && valid & TREE_BY_NAME)
		r = tree_check_access(t, node, W_OK);
	if (!r && valid & TREE_SET_SIZE)
		r = node->type == S_IFREG
			    ? set_size(t, io, node, attr->st_size, valid & TREE_KILL_SET_ID)
			    : -EINVAL;
	if (!r && valid & ~(unsigned int)(TREE_SET_SIZE | TREE_KILL_SET_ID | TREE_BY_NAME)) {
		r = handle_get(t, node, &h);
		if (!r) {
			if (valid & (TREE_SET_UID | TREE_SET_GID))
				r = set_owner(&h, attr, valid);
			if (!r && valid & TREE_SET_MODE)
				r = set_mode(&h, attr);
			if (!r && valid & (TREE_SET_ATIME | TREE_SET_MTIME))
				r = set_times(&h, attr, valid);
			handle_put(t, &h);
		}
	}
	if (!r)
		r = stat_node(t, node, st);
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

int tree_statfs(struct tree *t, struct statvfs *st)
{
	if (fstatvfs(t->root_fd, st))
		return -errno;
	st->f_namemax = NAMES_PLAIN_MAX;
	return 0;
}
