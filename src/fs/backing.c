/* SPDX-License-Identifier: MIT */
/* Opening stored files: see backing.h for the contract. */
#include "fs/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "base/fdio.h"

/* Our own file, whose mode keeps even us out: lift it for the moment. */
static int open_lifted(int dirfd, const char *name, int flags)
{
	struct stat st;
	int fd;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return -1;
	if (fchmodat(dirfd, name, (st.st_mode & 07777) | 0600, AT_SYMLINK_NOFOLLOW))
		return -1;
	fd = openat(dirfd, name, flags);
	(void)!fchmodat(dirfd, name, st.st_mode & 07777, AT_SYMLINK_NOFOLLOW);
	return fd;
}

/* O_NONBLOCK: a FIFO that somebody put there must not hang us. */
int backing_open(int dirfd, const char *name, int accmode, bool lift)
{
	int flags = accmode | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = fdio_openat_quietly(dirfd, name, flags);

	if (fd < 0 && errno == EACCES && lift) {
		fd = open_lifted(dirfd, name, flags);
		if (fd < 0)
			errno = EACCES;
	}
	return fd;
}

static bool is_linux(unsigned int major, unsigned int minor)
{
	struct utsname u;
	unsigned int is[2];

	return !uname(&u) && sscanf(u.release, "%u.%u", &is[0], &is[1]) == 2 &&
	       (is[0] > major || (is[0] == major && is[1] >= minor));
}

bool backing_keeps_positions(int dirfd)
{
	struct statfs st;

	if (fstatfs(dirfd, &st))
		return false;
	if (st.f_type == TMPFS_MAGIC)
		return is_linux(6, 6); /* "libfs: Add directory operations for stable offsets" */
	return st.f_type != RAMFS_MAGIC && st.f_type != OVERLAYFS_SUPER_MAGIC;
}
