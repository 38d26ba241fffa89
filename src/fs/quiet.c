/* SPDX-License-Identifier: MIT */
/* A mount of our own, which has no place in any tree: see quiet.h. */
#include "fs/quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#include "base/fdio.h"

int quiet_open(int dirfd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME,
				   .attr_clr = MOUNT_ATTR__ATIME };
	int fd = open_tree(dirfd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0 && !mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return fd;
	fdio_close(fd);
	fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}
