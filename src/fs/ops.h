/* SPDX-License-Identifier: MIT */
/*
 * ops - FUSE callbacks: translate, call the tree, reply exactly once; nothing
 * else.  A node id is a pointer to its struct node, but for the root's.
 *
 * A READ is replied from, and a WRITE encrypted in, the slot of the thread
 * that serves the request.
 */
#ifndef FS_OPS_H
#define FS_OPS_H

#include "fs/device.h"
#include "fs/io.h"
#include "fs/tree.h"

/* A session's userdata; borrowed by it. */
struct ops_context {
	struct device device; /* first: see device_attach */
	struct tree *tree;
	struct fuse_session *session; /* for telling the kernel what it does not ask */
	double attr_timeout;	      /* seconds the kernel may believe what it was told */
	double negative_timeout;      /* the same for names that do not exist */
	bool caches_listings;	      /* the kernel may keep them */
	bool acl;		      /* POSIX ACLs are the kernel's to check */
	bool no_xattr;		      /* extended attributes are not offered */
	bool writeback;		      /* wanted; from INIT on: agreed with the kernel */
	/* Pages from the kernel's cache that came to be written, and were answered. */
	atomic_ulong cached_writes, cached_writes_done;
	/* Borrowed. */
	struct seek *seek;
	void (*ready)(void *arg); /* called when the kernel has said INIT */
	void *ready_arg;
};

extern const struct fuse_lowlevel_ops ops_table;

/* The slot of the calling thread, which received its requests into it. */
void ops_set_io(struct io *io);

#endif /* FS_OPS_H */
