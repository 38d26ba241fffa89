/* SPDX-License-Identifier: MIT */
/*
 * attrs - what a file keeps besides content, mode and times where there is no vault: its user
 * attributes and ACLs, from one descriptor to another.
 */
#ifndef FS_ATTRS_H
#define FS_ATTRS_H

#include <sys/types.h>

enum {
	ATTRS_NO_ACL = 1, /* the target's filesystem does not take it */
};

/*
 * Attributes `user.*` of from become those of to, which must be writable: 0, or the last -errno
 * of one that could not be kept, after all others.  A filesystem without any is fine.
 */
int attrs_copy_user(int from, int to);

/*
 * The ACLs of from become those of to: none if it has none.  *mode, of from, is what is to be
 * set after that (without an ACL its bits of the group mean something else): 0, ATTRS_NO_ACL,
 * with *mode for nobody of the group, or -errno.
 */
int attrs_copy_acl(int from, int to, mode_t *mode);

#endif /* FS_ATTRS_H */
