/* SPDX-License-Identifier: MIT */
/*
 * compare_meta - what two things have but for name, type and content: owner, mode,
 * modification time, extended attributes and ACLs.
 */
#ifndef FS_COMPARE_META_H
#define FS_COMPARE_META_H

#include "fs/compare.h"
#include "fs/crawl.h"

struct compare_meta {
	/* For each difference: its kind, and the attribute that it is of, or NULL. */
	void (*differs)(void *arg, enum compare_kind kind, const char *attribute);
	void *arg;
};

/*
 * Tell how node (in h->from) and other (in h->to), which are of one type, differ.  A time is the
 * same if one of the two has no fractions of seconds, as some filesystems have none.
 * Symlinks have no mode, and attributes for root only.  Attributes are compared that copy
 * keeps (copy_keeps_attribute).  0, or -errno when attributes of one could not be read.
 */
int compare_meta(struct crawl_hand *h, const struct side_node *node, const struct side_node *other,
		 const struct compare_meta *told);

#endif /* FS_COMPARE_META_H */
