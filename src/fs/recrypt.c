/* SPDX-License-Identifier: MIT */
/*
 * Copying trees: see recrypt.h for the contract.
 *
 * A file is made, filled, and closed; some hundred of them are brought to disk
 * together, and only then get their times.  So whatever of the copy has the time of
 * change of its original was durable before it had that, and need not be looked at
 * again.  Everything else, if it is there at all, is made anew.
 */
#include "fs/recrypt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/check.h"
#include "fs/links.h"
#include "fs/special.h"
#include "fs/tree.h"

enum {
	PENDING = 256,
	PENDING_BYTES = 256 << 20,
	PATH_SIZE = 4096, /* for messages; longer ones are cut */
};

/* What waits for its data to be on disk. */
struct pending {
	struct node *from, *to;
	struct stat st;
};

/* A file with several names: its original's inode, and the copy. */
struct linked {
	ino_t ino;
	struct node *to;
};

struct job {
	const struct recrypt *how;
	struct tree *from, *to;
	struct io *from_io, *to_io;
	int sync_fd; /* open from the beginning, so that no failed write is missed */
	struct pending pending[PENDING];
	size_t n_pending;
	uint64_t pending_bytes;
	void *linked; /* a tree of them, for tsearch(3) */
	char path[PATH_SIZE];
};

/* One entry, in both trees. */
struct pair {
	struct node *from_dir, *to_dir;
	const char *name;
	struct tree_entry from;
	struct tree_entry to; /* node is NULL: not there */
};

static const struct caller nobody_else = { 0 };

/* What concerns one thing, and not all that follow. */
static bool is_fatal(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM || r == -EMFILE ||
	       r == -ENFILE || r == -ECANCELED;
}

/* Say that this cannot be copied, and go on; or pass on why nothing can. */
static int fail(struct job *j, int r)
{
	if (!r || is_fatal(r))
		return r;
	atomic_fetch_add(&j->how->counts->failed, 1);
	j->how->failed(j->how->arg, *j->path ? j->path + 1 : ".", -r);
	return 0;
}

/* ---- attributes ---------------------------------------------------------- */

static int copy_attribute(struct job *j, const struct pending *p, const char *name, void *value)
{
	ssize_t n = tree_getxattr(j->from, j->from_io, p->from, name, value, XATTR_SIZE_MAX);

	if (n < 0)
		return n == -ENODATA ? 0 : (int)n;
	return tree_setxattr(j->to, j->to_io, p->to, name, value, (size_t)n, 0);
}

static int copy_attributes(struct job *j, const struct pending *p)
{
	char *list = malloc(XATTR_LIST_MAX + XATTR_SIZE_MAX);
	ssize_t n;
	int r = 0;

	if (!list)
		return -ENOMEM;
	n = tree_listxattr(j->from, j->from_io, p->from, list, XATTR_LIST_MAX);
	if (n < 0)
		r = n == -EOPNOTSUPP ? 0 : (int)n;
	for (const char *name = list; !r && n > 0 && name < list + n; name += strlen(name) + 1)
		r = copy_attribute(j, p, name, list + XATTR_LIST_MAX);
	free(list);
	return r;
}

static int set(struct job *j, const struct pending *p, unsigned int valid)
{
	struct stat st;

	return tree_setattr(j->to, j->to_io, p->to, &p->st, valid, &st);
}

/*
 * The owner first, as a change of it clears capabilities; the mode after the
 * attributes, which it may forbid to set; and last the times, which say that all is there.
 */
static int copy_looks(struct job *j, const struct pending *p)
{
	bool link = S_ISLNK(p->st.st_mode);
	int r = set(j, p, TREE_SET_UID | TREE_SET_GID);

	if (!r && !link)
		r = copy_attributes(j, p);
	if (!r && !link)
		r = set(j, p, TREE_SET_MODE);
	return r ? r : set(j, p, TREE_SET_ATIME | TREE_SET_MTIME);
}

/* ---- what waits ---------------------------------------------------------- */

/* Everything written is on disk, and says so. */
static int flush(struct job *j)
{
	int r = 0;

	if (!j->n_pending)
		return 0;
	tree_settle(j->to, j->to_io, true);
	if (syncfs(j->sync_fd))
		r = -errno;
	for (size_t i = 0; i < j->n_pending; i++) {
		struct pending *p = &j->pending[i];

		if (!r)
			r = fail(j, copy_looks(j, p));
		nodes_forget(tree_nodes(j->from), p->from, 1);
		nodes_forget(tree_nodes(j->to), p->to, 1);
	}
	j->n_pending = 0;
	j->pending_bytes = 0;
	return r;
}

/* Take over both nodes. */
static int wait_for_disk(struct job *j, struct pair *p)
{
	j->pending[j->n_pending++] = (struct pending){ .from = p->from.node,
						       .to = p->to.node,
						       .st = p->from.st };
	j->pending_bytes += (uint64_t)p->from.st.st_size;
	p->from.node = p->to.node = NULL;
	return j->n_pending == PENDING || j->pending_bytes >= PENDING_BYTES ? flush(j) : 0;
}

/* ---- content ------------------------------------------------------------- */

static int copy_hole(struct job *j, const struct pair *p, uint64_t at, uint64_t end)
{
	const struct file_range zeros = {
		.kind = FILE_PUNCH, .offset = at, .size = end - at, .extend = true
	};

	return tree_allocate(j->to, j->to_io, p->to.node, &zeros);
}

static int copy_piece(struct job *j, const struct pair *p, uint64_t at, size_t size, size_t *done)
{
	const void *data;
	int r = tree_read(j->from, j->from_io, p->from.node, at, size, &data, done);

	if (r || !*done)
		return r;
	memcpy(j->to_io->data + IO_DATA, data, *done);
	return tree_write(j->to, j->to_io, p->to.node, at, *done, false);
}

/* Where what lies at `at` ends, a hole or data; at most `length`. */
static uint64_t stretch(const struct pair *p, uint64_t at, uint64_t length, bool *hole)
{
	uint64_t end;

	*hole = false;
	if (tree_seek(p->from.node, at, true, &end))
		return length;
	if (end > at)
		return end < length ? end : length;
	*hole = true;
	return tree_seek(p->from.node, at, false, &end) || end > length ? length : end;
}

static int copy_open(struct job *j, const struct pair *p)
{
	uint64_t length = (uint64_t)p->from.st.st_size;
	uint64_t at = 0;
	int r = 0;

	while (at < length && !r) {
		bool hole;
		uint64_t end = stretch(p, at, length, &hole);
		size_t done;

		if (atomic_load(j->how->stop))
			return -ECANCELED;
		if (hole) {
			r = copy_hole(j, p, at, end);
			at = end;
			continue;
		}
		done = end - at < IO_MAX_SIZE ? (size_t)(end - at) : IO_MAX_SIZE;
		r = copy_piece(j, p, at, done, &done);
		if (!r && !done)
			r = -EIO; /* it ends before its length */
		at += done;
		atomic_fetch_add(&j->how->counts->bytes, done);
		atomic_fetch_add(&j->how->counts->work, done);
	}
	return r;
}

static int copy_content(struct job *j, struct pair *p)
{
	bool keep_cache;
	int r = tree_open(j->from, j->from_io, p->from.node, O_RDONLY, &keep_cache);

	if (r)
		return r;
	r = tree_create(j->to, j->to_io, p->to_dir, p->name, S_IFREG | 0600, &nobody_else, &p->to);
	if (!r) {
		r = copy_open(j, p);
		tree_release(j->to, p->to.node);
	}
	tree_release(j->from, p->from.node);
	return r;
}

/* ---- several names ------------------------------------------------------- */

static int by_inode(const void *a, const void *b)
{
	const struct linked *x = a;
	const struct linked *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static struct node *find_linked(struct job *j, const struct pair *p)
{
	const struct linked wanted = { .ino = p->from.st.st_ino };
	struct linked *const *found = tfind(&wanted, &j->linked, by_inode);

	return found ? (*found)->to : NULL;
}

/* The copy is known by its original's inode from now on; with a reference. */
static int remember(struct job *j, const struct pair *p)
{
	struct linked *l;

	if (p->from.st.st_nlink < 2 || S_ISLNK(p->from.st.st_mode))
		return 0;
	l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct linked){ .ino = p->from.st.st_ino, .to = p->to.node };
	if (!tsearch(l, &j->linked, by_inode)) {
		free(l);
		return -ENOMEM;
	}
	nodes_ref(tree_nodes(j->to), l->to);
	return 0;
}

/* ---- entries ------------------------------------------------------------- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool has_target(struct job *j, const struct pair *p, const char *target)
{
	char other[LINKS_PLAIN_MAX + 1];

	return !tree_readlink(j->to, p->to.node, other) && strcmp(target, other) == 0;
}

/* Whether the copy is there and complete. */
static bool is_complete(struct job *j, const struct pair *p, const char *target)
{
	if (!p->to.node || (p->from.st.st_mode & S_IFMT) != (p->to.st.st_mode & S_IFMT) ||
	    !same_time(&p->from.st.st_mtim, &p->to.st.st_mtim))
		return false;
	if (S_ISREG(p->from.st.st_mode))
		return p->from.st.st_size == p->to.st.st_size;
	return S_ISLNK(p->from.st.st_mode) ? has_target(j, p, target)
					   : p->from.st.st_rdev == p->to.st.st_rdev;
}

/* Away with what is not. */
static int drop(struct job *j, struct pair *p)
{
	if (!p->to.node)
		return 0;
	nodes_forget(tree_nodes(j->to), p->to.node, 1);
	p->to.node = NULL;
	return tree_unlink(j->to, p->to_dir, p->name);
}

/* One more name of a file that was copied as another. */
static int copy_name(struct job *j, struct pair *p, struct node *known)
{
	struct stat st;
	int r = tree_getattr(j->to, known, &st);

	if (r || (p->to.node && p->to.st.st_ino == st.st_ino))
		return r;
	r = drop(j, p);
	return r ? r : tree_link(j->to, j->to_io, known, p->to_dir, p->name, &p->to);
}

static int copy_new(struct job *j, struct pair *p, const char *target)
{
	const struct stat *st = &p->from.st;

	if (S_ISREG(st->st_mode))
		return copy_content(j, p);
	if (S_ISLNK(st->st_mode))
		return tree_symlink(j->to, p->to_dir, p->name, target, &nobody_else, &p->to);
	return tree_mknod(j->to, j->to_io, p->to_dir, p->name, (st->st_mode & S_IFMT) | 0600,
			  st->st_rdev, &nobody_else, &p->to);
}

/* Anything but a directory.  What it needs on the stack is not for every level of the tree. */
__attribute__((noinline)) static int copy_leaf(struct job *j, struct pair *p)
{
	char target[LINKS_PLAIN_MAX + 1] = "";
	struct node *known = find_linked(j, p);
	int r = 0;

	if (known) {
		atomic_fetch_add(&j->how->counts->work, (uint64_t)p->from.st.st_size);
		return copy_name(j, p, known);
	}
	if (S_ISLNK(p->from.st.st_mode))
		r = tree_readlink(j->from, p->from.node, target);
	if (r)
		return r;
	if (is_complete(j, p, target)) {
		atomic_fetch_add(&j->how->counts->work, (uint64_t)p->from.st.st_size);
		return remember(j, p);
	}
	r = drop(j, p);
	if (!r)
		r = copy_new(j, p, target);
	if (!r)
		r = remember(j, p);
	return r ? r : wait_for_disk(j, p);
}

/* ---- directories --------------------------------------------------------- */

static int copy_entries(struct job *j, struct node *from, struct node *to);

/* Let us work in it: what it has of an earlier run may not. */
static int reopen(struct job *j, struct node *dir)
{
	const struct stat ours = { .st_mode = S_IFDIR | 0700 };
	struct stat st;
	int r = tree_setattr(j->to, j->to_io, dir, &ours, TREE_SET_MODE, &st);

	/* Else what is made in it would inherit. */
	(void)tree_removexattr(j->to, j->to_io, dir, TREE_ACL_DEFAULT);
	return r;
}

static int copy_dir(struct job *j, struct pair *p)
{
	struct pending looks = { .st = p->from.st };
	int r;

	if (p->to.node && S_ISDIR(p->to.st.st_mode)) {
		r = reopen(j, p->to.node);
	} else {
		r = drop(j, p);
		if (!r)
			r = tree_mkdir(j->to, p->to_dir, p->name, 0700, &nobody_else, &p->to);
	}
	if (!r)
		r = copy_entries(j, p->from.node, p->to.node);
	/* Whoever may not enter it then has to be done in it. */
	if (!r && geteuid() != 0 && (p->from.st.st_mode & 0700) != 0700)
		r = flush(j);
	looks.from = p->from.node;
	looks.to = p->to.node;
	return r ? r : copy_looks(j, &looks);
}

static int copy_pair(struct job *j, struct pair *p)
{
	int r = tree_lookup(j->to, p->to_dir, p->name, &p->to);

	if (r) {
		p->to.node = NULL;
		if (r != -ENOENT)
			return r;
	}
	return S_ISDIR(p->from.st.st_mode) ? copy_dir(j, p) : copy_leaf(j, p);
}

static int copy_entry(struct job *j, struct listing *l, const struct listing_item *item,
		      struct pair *p)
{
	int r;

	if (atomic_load(j->how->stop))
		return -ECANCELED;
	if (item->damaged)
		return -EIO;
	r = tree_list_lookup(j->from, l, item, &p->from);
	if (r) {
		p->from.node = NULL;
		return r;
	}
	tree_correct_size(j->from, j->from_io, &p->from);
	r = copy_pair(j, p);
	atomic_fetch_add(&j->how->counts->files, 1);
	if (S_ISREG(p->from.st.st_mode))
		atomic_fetch_add(&j->how->counts->work, CHECK_WORK_FILE);
	if (p->to.node)
		nodes_forget(tree_nodes(j->to), p->to.node, 1);
	if (p->from.node)
		nodes_forget(tree_nodes(j->from), p->from.node, 1);
	return r;
}

static int copy_listed(struct job *j, struct listing *l, struct pair *p)
{
	struct listing_item *item = malloc(sizeof(*item));
	size_t length = strlen(j->path);
	int r = item ? 0 : -ENOMEM;

	for (off_t at = 0; !r; at = item->next) {
		size_t n;

		r = tree_list(j->from, l, at, item);
		if (r == -ENOENT) {
			r = 0;
			break;
		}
		if (r || item->is_dot)
			continue;
		n = strlen(item->name);
		if (length + 1 + n < sizeof(j->path)) {
			j->path[length] = '/';
			memcpy(j->path + length + 1, item->name, n + 1);
		}
		p->name = item->name;
		p->from.node = p->to.node = NULL;
		r = fail(j, copy_entry(j, l, item, p));
		j->path[length] = '\0';
	}
	free(item);
	return r;
}

static int copy_entries(struct job *j, struct node *from, struct node *to)
{
	struct pair *p = malloc(sizeof(*p));
	struct listing *l = NULL;
	bool keep_cache;
	int r = p ? tree_opendir(j->from, from, &l, &keep_cache) : -ENOMEM;

	if (!r) {
		*p = (struct pair){ .from_dir = from, .to_dir = to };
		r = copy_listed(j, l, p);
		tree_closedir(j->from, l);
	}
	free(p);
	return r;
}

/* ---- all of it ----------------------------------------------------------- */

static int copy_root(struct job *j)
{
	struct pending looks = { .from = nodes_root(tree_nodes(j->from)),
				 .to = nodes_root(tree_nodes(j->to)) };
	int r = tree_getattr(j->from, looks.from, &looks.st);

	if (!r)
		r = reopen(j, looks.to);
	if (!r)
		r = copy_entries(j, looks.from, looks.to);
	if (!r)
		r = flush(j);
	if (!r)
		r = fail(j, copy_looks(j, &looks));
	if (!r && syncfs(j->sync_fd))
		r = -errno;
	return r;
}

/* Nodes go with their trees; what is told to stop leaves some waiting. */
int recrypt_run(const struct recrypt *how)
{
	struct job *j = calloc(1, sizeof(*j));
	int r = -ENOMEM;

	if (!j)
		goto out;
	j->how = how;
	j->sync_fd = openat(how->to_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = j->sync_fd < 0 ? -errno : 0;
	if (!r)
		r = io_new(how->from, &j->from_io);
	if (!r)
		r = io_new(how->to, &j->to_io);
	if (!r)
		r = tree_new(how->from, how->from_fd, &j->from);
	if (!r)
		r = tree_new(how->to, how->to_fd, &j->to);
	if (!r)
		r = copy_root(j);
out:
	if (j) {
		tdestroy(j->linked, free);
		tree_free(j->to);
		tree_free(j->from);
		io_free(j->to_io);
		io_free(j->from_io);
		fdio_close(j->sync_fd);
		free(j);
	}
	return r;
}
