/* SPDX-License-Identifier: MIT */
/*
 * Open files: one struct file per node, shared by all handles; and settling,
 * which gives the files of the recent past a header without DIRTY.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/backing.h"
#include "fs/journal.h"

enum {
	/* By then the kernel has mostly written the content by itself. */
	SETTLE_AFTER_MS = 30 * 1000,
	/* So many files are cheaper to sync with their whole filesystem. */
	SYNC_TOGETHER = 16,
};

/* ---- the backing file ---------------------------------------------------- */

/* Where the mode of our own file keeps even us out, it is lifted for the moment. */
static int open_mode(struct tree *t, const struct location *at, int accmode, bool may_lift)
{
	return backing_open(at->dirfd, at->name, accmode, may_lift && !t->privileged);
}

/* 0, FILE_DAMAGED if it is something else, or -errno. */
static int open_backing(struct tree *t, struct node *node, bool write, int *fd, bool *writable)
{
	struct location at;
	struct stat st;
	int r = nodes_locate(t->nodes, node, &at);

	if (r)
		return r;
	*writable = !t->store->read_only;
	*fd = open_mode(t, &at, *writable ? O_RDWR : O_RDONLY, write || !*writable);
	if (*fd < 0 && *writable && !write) {
		*writable = false;
		*fd = open_mode(t, &at, O_RDONLY, true);
	}
	if (*fd < 0)
		r = errno == ELOOP || errno == ENXIO ? FILE_DAMAGED : -errno;
	else if (fstat(*fd, &st))
		r = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_ino != node->ino)
		r = FILE_DAMAGED;
	location_put(t->nodes, &at);
	if (r && *fd >= 0)
		fdio_close(*fd);
	return r;
}

bool tree_is_unbound(struct tree *t, int dirfd, const char *stored, const struct stat *st)
{
	struct location at = { .dirfd = dirfd };
	struct stat found;
	bool yes;
	int fd;

	strcpy(at.name, stored);
	fd = open_mode(t, &at, O_RDONLY, true);
	yes = fd >= 0 && !fstat(fd, &found) && S_ISREG(found.st_mode) &&
	      found.st_ino == st->st_ino && file_peek_unbound(t->store, fd) > 0;
	fdio_close(fd);
	return yes;
}

/* Whether the file may be where the node says it is. */
static int check_place(struct tree *t, struct node *node, struct file *f)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	struct location at;
	int r = nodes_locate(t->nodes, node, &at);

	if (r)
		return r;
	r = tree_enter(t, at.parent);
	if (!r) {
		format_binding(t->keys, at.parent->dir_id, at.name, binding);
		r = file_is_bound(f, binding) ? 0 : FILE_DAMAGED;
	}
	location_put(t->nodes, &at);
	return r;
}

/* Open node->file; node->lock is held.  *what says what is damaged. */
static int open_file(struct tree *t, struct io *io, struct node *node, bool write,
		     const char **what)
{
	struct file *f;
	bool writable;
	int fd;
	int r = open_backing(t, node, write, &fd, &writable);

	if (r == FILE_DAMAGED)
		*what = "something else is in the place of the content file";
	if (r)
		return r;
	r = file_open(t->store, io, fd, writable, node->trusted, &f);
	if (r == FILE_DAMAGED)
		*what = "the header does not authenticate or does not fit the size";
	if (r)
		return r;
	if (node->barrier)
		file_set_barrier(f);
	r = check_place(t, node, f);
	if (r == FILE_DAMAGED)
		*what = "the file belongs somewhere else";
	if (r)
		file_close(f);
	else
		node->file = f;
	return r;
}

static int upgrade_file(struct tree *t, struct node *node)
{
	bool writable;
	int fd;
	int r = open_backing(t, node, true, &fd, &writable);

	if (!r)
		file_upgrade(node->file, fd);
	return r == FILE_DAMAGED ? -EIO : r;
}

int tree_file_get(struct tree *t, struct io *io, struct node *node, bool write)
{
	const char *what = NULL;
	int r = 0;

	if (write && t->store->read_only)
		return -EROFS;
	lock_take(&node->lock);
	if (!node->file)
		r = open_file(t, io, node, write, &what);
	else if (write && !file_writable(node->file))
		r = upgrade_file(t, node);
	if (!r)
		node->opens++;
	lock_drop(&node->lock);
	return what ? tree_damaged(t, node, UINT64_MAX, what) : r;
}

/*
 * Changes of content move both times of a file alike, settling it only ctime:
 * who died in one leaves a file that is seen here.
 */
static bool may_be_cut_off(const struct tree *t, const struct stat *st)
{
	return t->store->suite != CIPHER_XOR && S_ISREG(st->st_mode) &&
	       st->st_mtim.tv_sec == st->st_ctim.tv_sec &&
	       st->st_mtim.tv_nsec == st->st_ctim.tv_nsec;
}

bool tree_file_get_quietly(struct tree *t, struct io *io, struct node *node)
{
	const char *what;
	bool got;

	lock_take(&node->lock);
	got = node->file || !open_file(t, io, node, false, &what);
	if (got)
		node->opens++;
	lock_drop(&node->lock);
	return got;
}

void tree_correct_size(struct tree *t, struct io *io, struct tree_entry *entry)
{
	struct node *node = entry->node;
	bool known;

	if (node->type != S_IFREG || !may_be_cut_off(t, &entry->st))
		return;
	pthread_rwlock_rdlock(&t->rename_lock);
	lock_take(&node->lock);
	known = node->seen || node->file;
	lock_drop(&node->lock);
	/* Damage is told when somebody wants the content. */
	if (!known && tree_file_get_quietly(t, io, node)) {
		entry->st.st_size = (off_t)file_length(node->file);
		tree_file_put(t, node);
	}
	pthread_rwlock_unlock(&t->rename_lock);
}

/* Under node->lock; gives the file to be closed, or NULL. */
static struct file *put(struct tree *t, struct node *node)
{
	struct file *f = node->file;
	struct stat st;

	if (--node->opens)
		return NULL;
	/* Before anybody can open it anew and find nothing left to sync. */
	if (file_is_unsettled(f) && (!file_is_suspect(f) || file_was_changed(f)))
		tree_settle_later(t, node);
	node->file = NULL;
	node->trusted = !file_is_suspect(f);
	node->barrier = file_has_barrier(f);
	node->seen = !fstat(file_fd(f), &st);
	if (node->seen) {
		node->seen_mtime = st.st_mtim;
		node->seen_size = st.st_size;
	}
	return f;
}

void tree_file_put(struct tree *t, struct node *node)
{
	struct file *f;

	lock_take(&node->lock);
	f = put(t, node);
	lock_drop(&node->lock);
	file_close(f);
}

bool tree_file_put_if_gone(struct tree *t, struct node *node)
{
	struct file *f = NULL;
	struct stat st;
	bool gone;

	lock_take(&node->lock);
	gone = node->opens == 1 && !fstat(file_fd(node->file), &st) && !st.st_nlink;
	if (gone)
		f = put(t, node);
	lock_drop(&node->lock);
	file_close(f);
	return gone;
}

void tree_forget(struct tree *t, struct node *node, uint64_t n)
{
	bool kept = node->type == S_IFREG && __atomic_load_n(&node->kept, __ATOMIC_ACQUIRE);

	if (kept)
		nodes_ref(t->nodes, node);
	if (nodes_forget(t->nodes, node, n) && kept &&
	    __atomic_exchange_n(&node->kept, false, __ATOMIC_ACQ_REL)) {
		tree_file_put(t, node);
		tree_journal_drop(t, node);
	}
	if (kept)
		nodes_unref(t->nodes, node);
}

static void let_go(void *arg, struct node *node)
{
	if (node->type != S_IFREG)
		return;
	__atomic_store_n(&node->kept, false, __ATOMIC_RELEASE);
	while (node->opens)
		tree_file_put(arg, node);
}

void tree_let_go(struct tree *t)
{
	/* What fails stays for the next mount. */
	if (t->store->journal && !tree_checkpoint(t))
		(void)journal_empty(t->store->journal); /* void: it says nothing */
	nodes_each(t->nodes, let_go, t);
}

/* ---- handles ------------------------------------------------------------- */

/* The kernel's pages are true if nobody else wrote since we saw the file. */
static bool may_keep_cache(struct node *node)
{
	struct stat st;
	bool keep;

	lock_take(&node->lock);
	keep = node->opens > 1 ||
	       (node->seen && !fstat(file_fd(node->file), &st) && st.st_size == node->seen_size &&
		st.st_mtim.tv_sec == node->seen_mtime.tv_sec &&
		st.st_mtim.tv_nsec == node->seen_mtime.tv_nsec);
	lock_drop(&node->lock);
	return keep;
}

/* A file that is whole, and was found where it must not be. */
static bool belongs_elsewhere(struct tree *t, struct io *io, int fd)
{
	int again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct file *f = NULL;
	bool yes = again >= 0 && !file_open(t->store, io, again, false, true, &f);

	file_close(f);
	return yes;
}

/* A new, empty content in the place of one that cannot be opened; fd is taken. */
static int start_anew(struct tree *t, struct io *io, struct node *node, int fd)
{
	uint8_t binding[FORMAT_BINDING_SIZE] = { 0 };
	struct location at;
	struct stat st;
	int r = nodes_locate(t->nodes, node, &at);

	if (r) {
		fdio_close(fd);
		return r;
	}
	format_binding(t->keys, at.parent->dir_id, at.name, binding);
	location_put(t->nodes, &at);
	if (fstat(fd, &st))
		r = -errno;
	else if (st.st_nlink > 1 && belongs_elsewhere(t, io, fd))
		r = -EIO; /* the name can be removed; the content is another one's */
	else if (ftruncate(fd, 0))
		r = -errno;
	if (r) {
		fdio_close(fd);
		return r;
	}
	r = file_create(t->store, io, fd, binding, &node->file);
	if (!r && st.st_nlink > 1)
		r = file_unbind(node->file, io);
	if (r) {
		file_close(node->file);
		node->file = NULL;
	}
	return r;
}

/* Open a damaged file that is to be overwritten anyway. */
static int overwrite_damaged(struct tree *t, struct io *io, struct node *node)
{
	bool writable;
	int fd;
	int r = 0;

	lock_take(&node->lock);
	if (!node->file) {
		r = open_backing(t, node, true, &fd, &writable);
		if (!r)
			r = start_anew(t, io, node, fd);
		node->trusted = !r;
	}
	if (!r)
		node->opens++;
	lock_drop(&node->lock);
	return r == FILE_DAMAGED ? -EIO : r;
}

/* What a handle with these flags must be allowed. */
static int access_mask(int flags)
{
	const int exec = 040; /* the kernel's FMODE_EXEC: read only to be run */
	int accmode = flags & O_ACCMODE;
	int mask = accmode == O_WRONLY || flags & exec ? 0 : R_OK;

	if (accmode != O_RDONLY || flags & O_TRUNC)
		mask |= W_OK;
	return flags & exec ? mask | X_OK : mask;
}

int tree_open(struct tree *t, struct io *io, struct node *node, int flags, bool *keep_cache)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	uint64_t bad;
	int r;

	*keep_cache = false;
	if (node->type != S_IFREG)
		return node->type == S_IFDIR ? -EISDIR : -ENXIO;
	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_check_access(t, node, access_mask(flags));
	if (!r)
		r = tree_file_get(t, io, node, write);
	if (r == -EIO && flags & O_TRUNC)
		r = overwrite_damaged(t, io, node);
	pthread_rwlock_unlock(&t->rename_lock);
	if (r)
		return r;
	if ((flags & O_ACCMODE) != O_WRONLY)
		file_count_reads(node->file);
	if (flags & O_TRUNC)
		r = tree_file_truncate(t, io, node, 0, &bad);
	else
		*keep_cache = may_keep_cache(node);
	if (r)
		tree_file_put(t, node);
	return r > 0 ? tree_damaged(t, node, bad, "does not authenticate") : r;
}

void tree_release(struct tree *t, struct node *node)
{
	nodes_ref(t->nodes, node);
	tree_file_put(t, node);
	tree_journal_drop(t, node);
	nodes_unref(t->nodes, node);
}

int tree_is_suspect(struct tree *t, struct io *io, struct node *node)
{
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = tree_file_get(t, io, node, false);
	if (!r) {
		r = file_is_suspect(node->file);
		tree_file_put(t, node);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

int tree_read(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
	      const void **data, size_t *done)
{
	uint64_t bad;
	int r = file_read(node->file, io, offset, size, data, done, &bad);

	return r > 0 ? tree_damaged(t, node, bad, "does not authenticate") : r;
}

int tree_write(struct tree *t, struct io *io, struct node *node, uint64_t offset, size_t size,
	       bool append)
{
	uint64_t bad;
	int r = tree_file_write(t, io, node, offset, size, append, &bad);

	return r > 0 ? tree_damaged(t, node, bad, "does not authenticate") : r;
}

void tree_kill_set_id(struct node *node)
{
	mode_t set_id = S_ISUID;
	struct stat st;

	if (fstat(file_fd(node->file), &st))
		return;
	/* Where nobody of the group may run it, S_ISGID is no right to lose. */
	if (st.st_mode & S_IXGRP)
		set_id |= S_ISGID;
	/* Unless we are privileged, writing took them away already. */
	if (st.st_mode & set_id)
		(void)!fchmod(file_fd(node->file), st.st_mode & 07777 & ~set_id);
}

/* ---- syncing ------------------------------------------------------------- */

/* Records of dir and of all directories above it that are not durable yet. */
static int sync_records(struct tree *t, struct node *dir)
{
	struct location at;
	int fd;
	int r = 0;

	if (__atomic_load_n(&dir->record_unsynced, __ATOMIC_ACQUIRE)) {
		r = nodes_dirfd(t->nodes, dir, &fd);
		if (r)
			return r;
		r = dirrec_sync(fd);
		nodes_dirfd_put(t->nodes, dir);
		if (r)
			return r;
		__atomic_store_n(&dir->record_unsynced, false, __ATOMIC_RELEASE);
	}
	if (dir == nodes_root(t->nodes))
		return 0;
	r = nodes_locate(t->nodes, dir, &at);
	if (r)
		return r == -ESTALE ? 0 : r;
	r = sync_records(t, at.parent);
	location_put(t->nodes, &at);
	return r;
}

int tree_fsync(struct tree *t, struct node *node, bool data_only)
{
	struct location at;
	int r = file_sync(node->file, data_only);

	if (r)
		return r;
	pthread_rwlock_rdlock(&t->rename_lock);
	if (!nodes_locate(t->nodes, node, &at)) {
		r = sync_records(t, at.parent);
		location_put(t->nodes, &at);
	}
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

int tree_fsyncdir(struct tree *t, struct node *dir)
{
	int fd = -1;
	int dirfd;
	int r;

	pthread_rwlock_rdlock(&t->rename_lock);
	r = nodes_dirfd(t->nodes, dir, &dirfd);
	if (r)
		goto out;
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		r = -errno;
	fdio_close(fd);
	nodes_dirfd_put(t->nodes, dir);
	if (!r)
		r = sync_records(t, dir);
out:
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}

/* ---- settling ------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void tree_settle_later(struct tree *t, struct node *node)
{
	nodes_ref(t->nodes, node);
	pthread_mutex_lock(&t->settle_lock);
	if (node->on_settle_list) {
		pthread_mutex_unlock(&t->settle_lock);
		nodes_unref(t->nodes, node);
		return;
	}
	node->on_settle_list = true;
	node->settle_next = NULL;
	node->settle_after_ms = now_ms() + SETTLE_AFTER_MS;
	if (t->settle_last)
		t->settle_last->settle_next = node;
	else
		t->settle_first = node;
	t->settle_last = node;
	t->n_settle++;
	pthread_mutex_unlock(&t->settle_lock);
}

enum { BATCH = 256 };

/* Take up to n nodes off the list that are due. */
static size_t take_due(struct tree *t, bool all, struct node *batch[], size_t n)
{
	uint64_t now = now_ms();
	size_t taken = 0;

	pthread_mutex_lock(&t->settle_lock);
	while (taken < n && t->settle_first && (all || t->settle_first->settle_after_ms <= now)) {
		struct node *node = t->settle_first;

		t->settle_first = node->settle_next;
		if (!t->settle_first)
			t->settle_last = NULL;
		node->on_settle_list = false;
		batch[taken++] = node;
	}
	t->n_settle -= taken;
	pthread_mutex_unlock(&t->settle_lock);
	return taken;
}

static bool came_back(struct tree *t, struct node *node)
{
	bool yes;

	pthread_mutex_lock(&t->settle_lock);
	yes = node->on_settle_list;
	pthread_mutex_unlock(&t->settle_lock);
	return yes;
}

static int settle_dir(struct tree *t, struct node *dir)
{
	struct format_dir_record record = { 0 };
	struct location at;
	bool in_xattr;
	int fd;
	int r = nodes_locate(t->nodes, dir, &at);

	if (r)
		return r;
	format_binding(t->keys, at.parent->dir_id, at.name, record.bindings[0]);
	location_put(t->nodes, &at);
	memcpy(record.id, dir->dir_id, sizeof(record.id));
	r = nodes_dirfd(t->nodes, dir, &fd);
	if (r)
		return r;
	r = dirrec_write(fd, t->keys, &record, &in_xattr);
	nodes_dirfd_put(t->nodes, dir);
	return r;
}

static int settle_link(struct tree *t, struct node *link)
{
	char text[LINKS_TEXT_MAX + 1];
	struct links_place here;
	struct timespec times[2];
	struct location at;
	struct stat st;
	int r = nodes_locate(t->nodes, link, &at);

	if (r)
		return r;
	here.dir_id = at.parent->dir_id;
	here.stored = at.name;
	r = fstat(at.dirfd, &st) ? -errno : 0;
	if (!r)
		r = tree_reseal_link(t, link, at.dirfd, &here, NULL, text);
	if (!r) {
		/* Nothing happened to the directory that its user knows of. */
		times[0] = st.st_atim;
		times[1] = st.st_mtim;
		(void)utimensat(at.dirfd, ".", times, 0);
	}
	location_put(t->nodes, &at);
	return r;
}

/* The file's one binding is where it is now. */
static void bind_here(struct tree *t, struct node *node)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	struct location at;

	if (nodes_locate(t->nodes, node, &at))
		return;
	format_binding(t->keys, at.parent->dir_id, at.name, binding);
	file_bind_only(node->file, binding);
	location_put(t->nodes, &at);
}

/* What was synced before the node was opened here is durable, unless it came back. */
static void settle_file(struct tree *t, struct io *io, struct node *node, bool synced)
{
	if (tree_file_get(t, io, node, true))
		return; /* unlinked, or damaged and said so */
	if (!came_back(t, node)) {
		bind_here(t, node);
		(void)file_settle(node->file, io, synced); /* else it stays DIRTY */
	}
	tree_file_put(t, node);
}

static void sync_backing(struct tree *t)
{
	int fd = openat(t->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd))
		log_warn("cannot sync the vault's filesystem: %s", strerror(errno));
	fdio_close(fd);
}

static void settle_node(struct tree *t, struct io *io, struct node *node, bool synced)
{
	if (node->type == S_IFREG) {
		pthread_rwlock_rdlock(&t->rename_lock);
		settle_file(t, io, node, synced);
		pthread_rwlock_unlock(&t->rename_lock);
	} else {
		/*
		 * A link gets a new inode, and a record must not come back into a
		 * directory that is being removed: nobody may look meanwhile.
		 */
		pthread_rwlock_wrlock(&t->rename_lock);
		if (node->type == S_IFDIR)
			(void)settle_dir(t, node); /* else two bindings stay */
		else
			(void)settle_link(t, node);
		pthread_rwlock_unlock(&t->rename_lock);
	}
	nodes_unref(t->nodes, node);
}

void tree_settle_open(struct tree *t, struct node *node)
{
	bool unsettled;

	if (node->type != S_IFREG)
		return;
	lock_take(&node->lock);
	unsettled = node->file && file_is_unsettled(node->file) &&
		    (!file_is_suspect(node->file) || file_was_changed(node->file));
	lock_drop(&node->lock);
	if (unsettled)
		tree_settle_later(t, node);
}

void tree_settle(struct tree *t, struct io *io, bool all)
{
	struct node *batch[BATCH];
	size_t left;
	size_t n;

	tree_checkpoint_if_older(t, all ? 0 : SETTLE_AFTER_MS);
	pthread_mutex_lock(&t->settle_lock);
	left = t->n_settle; /* what fails comes back: once is enough */
	pthread_mutex_unlock(&t->settle_lock);
	for (bool synced = false; left; left -= n) {
		n = take_due(t, all, batch, left < BATCH ? left : BATCH);
		if (!n)
			break;
		if (!synced && n >= SYNC_TOGETHER) {
			sync_backing(t);
			synced = true;
		}
		for (size_t i = 0; i < n; i++)
			settle_node(t, io, batch[i], synced);
		synced = synced && all; /* then nobody writes any more */
	}
}
