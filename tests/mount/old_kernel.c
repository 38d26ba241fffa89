/* SPDX-License-Identifier: MIT */
/*
 * Loaded before the C library, this answers like a kernel before 6.18: a
 * message with FUSE_NOTIFY_PRUNE is not known.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTIFY_PRUNE = 9 };

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct fuse_out_header head = { 0 };

	if (count && iov[0].iov_len >= sizeof(head))
		memcpy(&head, iov[0].iov_base, sizeof(head));
	if (head.len && !head.unique && head.error == NOTIFY_PRUNE) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_writev, fd, iov, count);
}
