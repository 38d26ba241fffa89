/* SPDX-License-Identifier: MIT */
/* FUSE callbacks: see ops.h. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/links.h"
#include "fs/seek.h"
#include "fs/wire.h"
#include "fs/xattrs.h"

/* Replies are put together in the slot, far behind a request's arguments. */
enum {
	REPLY_AT = 512 * 1024,
	REPLY_SIZE = 256 * 1024,
};

static _Thread_local struct io *my_io;

void ops_set_io(struct io *io)
{
	my_io = io;
}

static char *reply_buffer(void)
{
	my_io->used = true;
	return (char *)my_io->data + REPLY_AT;
}

/* The request at hand takes the set-id bits of its file away. */
static bool kills_set_id(void)
{
	return wire_kills_set_id(my_io->data + IO_REQUEST);
}

static struct ops_context *context(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct tree *tree_of(fuse_req_t req)
{
	return context(req)->tree;
}

static struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
	if (ino == FUSE_ROOT_ID)
		return nodes_root(tree_nodes(tree_of(req)));
	return (struct node *)(uintptr_t)ino;
}

static struct caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct caller){ .uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask };
}

static void count(atomic_ulong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Reply 0 or -errno. */
static void reply_result(fuse_req_t req, int r)
{
	(void)fuse_reply_err(req, -r); /* a caller that is gone needs none */
}

/* What the kernel is about to be told of a node. */
static void remember(struct node *node, const struct stat *st)
{
	__atomic_store_n(&node->told_set_id, (st->st_mode & (S_ISUID | S_ISGID)) != 0,
			 __ATOMIC_RELAXED);
}

/* The kernel keeps the mode it was told, unless it is told that it changed. */
static void kill_set_id(fuse_req_t req, fuse_ino_t ino)
{
	struct node *node = node_of(req, ino);

	if (!__atomic_exchange_n(&node->told_set_id, false, __ATOMIC_RELAXED))
		return;
	tree_kill_set_id(node);
	(void)fuse_lowlevel_notify_inval_inode(context(req)->session, ino, -1, 0);
}

static struct fuse_entry_param param_of(fuse_req_t req, const struct tree_entry *entry)
{
	remember(entry->node, &entry->st);
	return (struct fuse_entry_param){ .ino = (fuse_ino_t)(uintptr_t)entry->node,
					  .attr = entry->st,
					  .attr_timeout = context(req)->attr_timeout,
					  .entry_timeout = context(req)->attr_timeout };
}

/* Reply an entry, or take its lookup back if nobody wants it any more. */
static void reply_entry(fuse_req_t req, int r, const struct tree_entry *entry)
{
	struct tree *t = tree_of(req);
	struct fuse_entry_param e;

	if (r) {
		reply_result(req, r);
		return;
	}
	e = param_of(req, entry);
	if (fuse_reply_entry(req, &e))
		tree_forget(t, entry->node, 1);
}

/* The kernel is asked to collect writes, or the user told that it cannot. */
static void want_writeback(struct ops_context *c, struct fuse_conn_info *conn)
{
	if (!c->writeback)
		return;
	c->writeback = conn->capable & FUSE_CAP_WRITEBACK_CACHE;
	if (c->writeback)
		conn->want |= FUSE_CAP_WRITEBACK_CACHE;
	else
		log_warn("this kernel cannot collect writes: mounted without writeback");
}

/* A default ACL comes in the place of the umask, so that is left to us. */
static void want_acl(const struct ops_context *c, struct fuse_conn_info *conn)
{
	const unsigned int both = FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;

	if (!c->acl)
		return;
	if ((conn->capable & both) == both)
		conn->want |= both;
	else
		log_warn("this kernel has no ACLs for FUSE: mounted without");
}

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ops_context *c = userdata;
	const unsigned int wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
				    FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS |
				    FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS;

	/*
	 * No splice: content is decrypted where it lies.  No READDIRPLUS_AUTO: it
	 * falls back to names alone, and then costs a LOOKUP for each of them.  No
	 * AUTO_INVAL_DATA: nobody else writes the vault.
	 */
	conn->want = conn->capable & wanted;
	want_writeback(c, conn);
	want_acl(c, conn);
	conn->max_write = IO_MAX_SIZE;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (c->ready)
		c->ready(c->ready_arg);
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct tree_entry entry;
	int r = tree_lookup(tree_of(req), node_of(req, parent), name, &entry);

	if (r == -ENOENT && context(req)->negative_timeout > 0) {
		const struct fuse_entry_param none = {
			.entry_timeout = context(req)->negative_timeout
		};

		(void)fuse_reply_entry(req, &none);
		return;
	}
	if (!r)
		tree_correct_size(tree_of(req), my_io, &entry);
	reply_entry(req, r, &entry);
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	if (ino != FUSE_ROOT_ID)
		tree_forget(tree_of(req), node_of(req, ino), n);
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		if (forgets[i].ino != FUSE_ROOT_ID)
			tree_forget(tree_of(req), node_of(req, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, fuse_ino_t ino, int r, const struct stat *st)
{
	if (r) {
		reply_result(req, r);
		return;
	}
	remember(node_of(req, ino), st);
	(void)fuse_reply_attr(req, st, context(req)->attr_timeout);
}

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	reply_attr(req, ino, tree_getattr(tree_of(req), node_of(req, ino), &st), &st);
}

/*
 * With writeback the kernel tells by these two, and no others, what the time
 * of a change is that it has written out.  Whoever may write another owner's
 * file may not set its times; close() and fsync() must not fail for that.  Nor
 * may sync() because the kernel speaks of a file that is no more.
 */
static bool forgive_times(fuse_req_t req, struct node *node, int to_set, int r, struct stat *st)
{
	if (!context(req)->writeback || to_set != (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME))
		return false;
	if (r == -ESTALE)
		*st = (struct stat){ .st_ino = node->ino, .st_mode = node->type };
	return r == -ESTALE || (r == -EPERM && !tree_getattr(tree_of(req), node, st));
}

static void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			struct fuse_file_info *fi)
{
	static const struct {
		int theirs;
		unsigned int ours;
	} bits[] = {
		{ FUSE_SET_ATTR_MODE, TREE_SET_MODE },	 { FUSE_SET_ATTR_UID, TREE_SET_UID },
		{ FUSE_SET_ATTR_GID, TREE_SET_GID },	 { FUSE_SET_ATTR_SIZE, TREE_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, TREE_SET_ATIME }, { FUSE_SET_ATTR_MTIME, TREE_SET_MTIME },
	};
	struct stat wanted = *attr;
	struct ops_context *c = context(req);
	struct node *node = node_of(req, ino);
	struct stat st;
	unsigned int valid = (kills_set_id() ? TREE_KILL_SET_ID : 0) | (fi ? 0 : TREE_BY_NAME);
	int r;

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		valid |= to_set & bits[i].theirs ? bits[i].ours : 0;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		wanted.st_atim.tv_nsec = UTIME_NOW;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		wanted.st_mtim.tv_nsec = UTIME_NOW;
	r = tree_setattr(c->tree, my_io, node, &wanted, valid, &st);
	if (r && (r != -EPERM || fi) && forgive_times(req, node, to_set, r, &st))
		r = 0;
	reply_attr(req, ino, r, &st);
}

static void ops_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	reply_result(req, tree_access(tree_of(req), node_of(req, ino), mask));
}

static void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[LINKS_PLAIN_MAX + 1];
	int r = tree_readlink(tree_of(req), node_of(req, ino), target);

	if (r)
		reply_result(req, r);
	else
		(void)fuse_reply_readlink(req, target);
}

static void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	const struct caller caller = caller_of(req);
	struct tree_entry entry;
	int r = tree_mknod(tree_of(req), my_io, node_of(req, parent), name, mode, rdev, &caller,
			   &entry);

	reply_entry(req, r, &entry);
}

static void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const struct caller caller = caller_of(req);
	struct tree_entry entry;
	int r = tree_mkdir(tree_of(req), node_of(req, parent), name, mode, &caller, &entry);

	reply_entry(req, r, &entry);
}

static void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	const struct caller caller = caller_of(req);
	struct tree_entry entry;
	int r = tree_symlink(tree_of(req), node_of(req, parent), name, target, &caller, &entry);

	reply_entry(req, r, &entry);
}

static void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct tree_entry entry;
	int r = tree_link(tree_of(req), my_io, node_of(req, ino), node_of(req, parent), name,
			  &entry);

	reply_entry(req, r, &entry);
}

static void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_result(req, tree_unlink(tree_of(req), node_of(req, parent), name));
}

static void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_result(req, tree_rmdir(tree_of(req), node_of(req, parent), name));
}

static void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		       const char *newname, unsigned int flags)
{
	const struct caller caller = caller_of(req);

	reply_result(req, tree_rename(tree_of(req), my_io, node_of(req, parent), name,
				      node_of(req, newparent), newname, flags, &caller));
}

/* ---- files --------------------------------------------------------------- */

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct tree *t = tree_of(req);
	struct node *node = node_of(req, ino);
	bool kills = kills_set_id();
	bool keep_cache;
	int r = tree_open(t, my_io, node, fi->flags, &keep_cache);

	if (r) {
		reply_result(req, r);
		return;
	}
	if (kills)
		kill_set_id(req, ino);
	if (keep_cache)
		count(&context(req)->device.opens_kept);
	fi->keep_cache = keep_cache;
	if (fuse_reply_open(req, fi))
		tree_release(t, node);
}

static void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		       struct fuse_file_info *fi)
{
	const struct caller caller = caller_of(req);
	struct tree *t = tree_of(req);
	struct fuse_entry_param e;
	struct tree_entry entry;
	/* Of wire_translate: a file without a name. */
	int r = strcmp(name, "/") != 0
			? tree_create(t, my_io, node_of(req, parent), name, mode, &caller, &entry)
			: tree_create_nameless(t, my_io, node_of(req, parent), mode, &caller,
					       &entry);

	if (r) {
		reply_result(req, r);
		return;
	}
	e = param_of(req, &entry);
	fi->keep_cache = 1;
	if (fuse_reply_create(req, &e, fi)) {
		tree_release(t, entry.node);
		tree_forget(t, entry.node, 1);
	}
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	tree_release(tree_of(req), node_of(req, ino));
	reply_result(req, 0);
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	const void *data;
	size_t done;
	int r = tree_read(tree_of(req), my_io, node_of(req, ino), (uint64_t)offset, size, &data,
			  &done);

	(void)fi;
	if (r)
		reply_result(req, r);
	else
		(void)fuse_reply_buf(req, data, done);
}

static void ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	struct ops_context *c = context(req);
	uint8_t *payload = my_io->data + IO_DATA;
	bool kills = kills_set_id();
	/* With writeback the kernel knows of an end that we have not seen yet. */
	bool append = fi->flags & O_APPEND && !c->writeback;
	bool cached = fi->writepage;
	int r;

	if (cached)
		atomic_fetch_add(&c->cached_writes, 1);
	/* The loop receives such that it lies there already. */
	if ((const uint8_t *)buf != payload)
		memmove(payload, buf, size);
	r = tree_write(tree_of(req), my_io, node_of(req, ino), (uint64_t)offset, size, append);
	if (!r && kills)
		kill_set_id(req, ino);
	if (r)
		reply_result(req, r);
	else
		(void)fuse_reply_write(req, size);
	if (cached)
		atomic_fetch_add(&c->cached_writes_done, 1);
}

static void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)fi;
	reply_result(req, tree_fsync(tree_of(req), node_of(req, ino), datasync));
}

/* ---- ranges -------------------------------------------------------------- */

/* These requests do not say whether the caller may leave set-id bits as they are. */
static void kill_set_id_of_others(fuse_req_t req, fuse_ino_t ino)
{
	if (fuse_req_ctx(req)->uid)
		kill_set_id(req, ino);
}

static void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t size,
			  struct fuse_file_info *fi)
{
	struct file_range range = { .kind = FILE_RESERVE,
				    .offset = (uint64_t)offset,
				    .size = (uint64_t)size,
				    .extend = !(mode & FALLOC_FL_KEEP_SIZE) };
	int r = 0;

	(void)fi;
	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
		break;
	case FALLOC_FL_ZERO_RANGE:
		range.kind = FILE_ZERO;
		break;
	case FALLOC_FL_PUNCH_HOLE:
		range.kind = FILE_PUNCH;
		break;
	default:
		r = -EOPNOTSUPP;
	}
	if (!r)
		r = tree_allocate(tree_of(req), my_io, node_of(req, ino), &range);
	if (!r)
		kill_set_id_of_others(req, ino);
	reply_result(req, r);
}

static void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		      struct fuse_file_info *fi)
{
	const struct seek_request request = { .req = req,
					      .ino = ino,
					      .node = node_of(req, ino),
					      .offset = (uint64_t)offset,
					      .hole = whence == SEEK_HOLE };

	(void)fi;
	/* With writeback we do not even know the end: from now on the kernel answers. */
	if (context(req)->writeback)
		reply_result(req, -ENOSYS);
	else if (whence != SEEK_DATA && whence != SEEK_HOLE)
		reply_result(req, -EINVAL);
	else
		seek_answer(context(req)->seek, &request);
}

static void ops_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
				struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
				struct fuse_file_info *fi_out, size_t size, int flags)
{
	const struct tree_copy copy = { .from = node_of(req, ino_in),
					.to = node_of(req, ino_out),
					.from_offset = (uint64_t)off_in,
					.to_offset = (uint64_t)off_out,
					.size = size };
	ssize_t r = flags ? -EINVAL : tree_copy(tree_of(req), my_io, &copy);

	(void)fi_in;
	(void)fi_out;
	if (r >= 0)
		kill_set_id_of_others(req, ino_out);
	if (r < 0)
		reply_result(req, (int)r);
	else
		(void)fuse_reply_write(req, (size_t)r);
}

/* ---- directories --------------------------------------------------------- */

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct tree *t = tree_of(req);
	struct listing *l;
	bool keep_cache;
	int r = tree_opendir(t, node_of(req, ino), &l, &keep_cache);

	if (r) {
		reply_result(req, r);
		return;
	}
	/* A kept listing spares READDIRPLUS; it must not bring a LOOKUP per entry. */
	fi->cache_readdir = context(req)->caches_listings;
	if (keep_cache)
		count(&context(req)->device.listings_kept);
	fi->keep_cache = keep_cache;
	fi->fh = (uintptr_t)l;
	if (fuse_reply_open(req, fi))
		tree_closedir(t, l);
}

static struct listing *listing_of(const struct fuse_file_info *fi)
{
	return (struct listing *)(uintptr_t)fi->fh;
}

static void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	tree_closedir(tree_of(req), listing_of(fi));
	reply_result(req, 0);
}

/*
 * Add an item with its attributes if there is room: the bytes used, 0 for
 * none, or -errno; -ENOENT if it vanished meanwhile.
 */
static ssize_t add_plus(fuse_req_t req, struct listing *l, const struct listing_item *item,
			char *buf, size_t room)
{
	struct fuse_entry_param e = { .attr = { .st_ino = item->ino, .st_mode = item->type } };
	size_t size = fuse_add_direntry_plus(req, NULL, 0, item->name, NULL, 0);
	struct tree_entry entry;
	int r;

	if (size > room)
		return 0;
	if (!item->is_dot) {
		r = tree_list_lookup(tree_of(req), l, item, &entry);
		if (r && r != -EACCES)
			return r;
		/* Who may only read the directory sees names. */
		if (!r) {
			tree_correct_size(tree_of(req), my_io, &entry);
			e = param_of(req, &entry);
		}
	}
	return (ssize_t)fuse_add_direntry_plus(req, buf, room, item->name, &e, item->next);
}

static ssize_t add_plain(fuse_req_t req, struct listing *l, const struct listing_item *item,
			 char *buf, size_t room)
{
	const struct stat st = { .st_ino = item->ino, .st_mode = item->type };
	size_t size = fuse_add_direntry(req, buf, room, item->name, &st, item->next);

	(void)l;
	return size > room ? 0 : (ssize_t)size;
}

static void list(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi,
		 ssize_t (*add)(fuse_req_t req, struct listing *l, const struct listing_item *item,
				char *buf, size_t room))
{
	struct listing *l = listing_of(fi);
	struct listing_item item;
	char *buf = reply_buffer();
	size_t used = 0;
	int r;

	if (size > REPLY_SIZE)
		size = REPLY_SIZE;
	while (!(r = tree_list(tree_of(req), l, offset, &item))) {
		ssize_t n = add(req, l, &item, buf + used, size - used);

		if (n == 0)
			break;
		if (n < 0 && n != -ENOENT) {
			r = (int)n;
			break;
		}
		used += n > 0 ? (size_t)n : 0;
		offset = item.next;
	}
	/* What was found before an error is told first; the error comes again. */
	if (r && r != -ENOENT && !used)
		reply_result(req, r);
	else
		(void)fuse_reply_buf(req, buf, used);
}

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, offset, fi, add_plain);
}

static void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			    struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, offset, fi, add_plus);
}

static void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	reply_result(req, tree_fsyncdir(tree_of(req), node_of(req, ino)));
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int r = tree_statfs(tree_of(req), &st);

	(void)ino;
	if (r)
		reply_result(req, r);
	else
		(void)fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ------------------------------------------------- */

/* Where they are not offered, say so once: the kernel does not ask again. */
static bool refuse_xattr(fuse_req_t req)
{
	bool refuse = context(req)->no_xattr;

	if (refuse)
		(void)fuse_reply_err(req, ENOSYS);
	return refuse;
}

static void reply_xattr(fuse_req_t req, ssize_t r, const char *value, size_t size)
{
	if (r < 0)
		reply_result(req, (int)r);
	else if (!size)
		(void)fuse_reply_xattr(req, (size_t)r);
	else
		(void)fuse_reply_buf(req, value, (size_t)r);
}

static void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *value = reply_buffer();
	ssize_t r;

	if (refuse_xattr(req))
		return;
	if (size > XATTRS_VALUE_MAX)
		size = XATTRS_VALUE_MAX;
	r = tree_getxattr(tree_of(req), my_io, node_of(req, ino), name, value, size);
	reply_xattr(req, r, value, size);
}

static void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *names = reply_buffer();
	ssize_t r;

	if (refuse_xattr(req))
		return;
	if (size > XATTRS_VALUE_MAX)
		size = XATTRS_VALUE_MAX;
	r = tree_listxattr(tree_of(req), my_io, node_of(req, ino), names, size);
	reply_xattr(req, r, names, size);
}

/* As by chmod: setting an ACL takes the set-gid bit away from who is not in the group. */
static void drop_set_gid(fuse_req_t req, fuse_ino_t ino)
{
	struct tree *t = tree_of(req);
	struct node *node = node_of(req, ino);
	struct stat st;

	if (tree_getattr(t, node, &st) || !(st.st_mode & S_ISGID))
		return;
	st.st_mode &= ~(mode_t)S_ISGID;
	(void)tree_setattr(t, my_io, node, &st, TREE_SET_MODE, &st);
}

static void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			 size_t size, int flags)
{
	int r;

	if (refuse_xattr(req))
		return;
	r = tree_setxattr(tree_of(req), my_io, node_of(req, ino), name, value, size,
			  flags & ~WIRE_KILL_SET_GID);
	if (!r && flags & WIRE_KILL_SET_GID)
		drop_set_gid(req, ino);
	reply_result(req, r);
}

static void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!refuse_xattr(req))
		reply_result(req, tree_removexattr(tree_of(req), my_io, node_of(req, ino), name));
}

/*
 * What is not here answers ENOSYS, after which the kernel does not ask again:
 * flush (nothing is deferred), locks (local).
 */
const struct fuse_lowlevel_ops ops_table = {
	.init = ops_init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.forget_multi = ops_forget_multi,
	.getattr = ops_getattr,
	.setattr = ops_setattr,
	.access = ops_access,
	.readlink = ops_readlink,
	.mknod = ops_mknod,
	.mkdir = ops_mkdir,
	.symlink = ops_symlink,
	.link = ops_link,
	.unlink = ops_unlink,
	.rmdir = ops_rmdir,
	.rename = ops_rename,
	.open = ops_open,
	.create = ops_create,
	.release = ops_release,
	.read = ops_read,
	.write = ops_write,
	.fsync = ops_fsync,
	.fallocate = ops_fallocate,
	.lseek = ops_lseek,
	.copy_file_range = ops_copy_file_range,
	.opendir = ops_opendir,
	.releasedir = ops_releasedir,
	.readdir = ops_readdir,
	.readdirplus = ops_readdirplus,
	.fsyncdir = ops_fsyncdir,
	.statfs = ops_statfs,
	.getxattr = ops_getxattr,
	.listxattr = ops_listxattr,
	.setxattr = ops_setxattr,
	.removexattr = ops_removexattr,
};
