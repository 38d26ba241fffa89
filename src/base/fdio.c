/* SPDX-License-Identifier: MIT */
/* Whole reads and writes: see fdio.h for the contract. */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t fdio_pread_some(int fd, void *data, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)data + done, size - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int fdio_pread_full(int fd, void *data, size_t size, off_t offset)
{
	ssize_t n = fdio_pread_some(fd, data, size, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -ENODATA;
}

int fdio_pwrite_full(int fd, const void *data, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const char *)data + done, size - done,
				   offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

int fdio_write_full(int fd, const void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(fd, (const char *)data + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Drop the first done bytes of a list of n iovecs. */
static void skip(struct iovec **iov, size_t *n, size_t done)
{
	while (*n && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

ssize_t fdio_preadv_some(int fd, struct iovec *iov, size_t n, off_t offset)
{
	ssize_t total = 0;

	skip(&iov, &n, 0);
	if (n == 1)
		return fdio_pread_some(fd, iov->iov_base, iov->iov_len, offset);
	while (n) {
		ssize_t r = preadv(fd, iov, n < IOV_MAX ? (int)n : IOV_MAX, offset + total);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		total += r;
		skip(&iov, &n, (size_t)r);
	}
	return total;
}

int fdio_pwritev_full(int fd, struct iovec *iov, size_t n, off_t offset)
{
	skip(&iov, &n, 0);
	if (n == 1)
		return fdio_pwrite_full(fd, iov->iov_base, iov->iov_len, offset);
	while (n) {
		ssize_t r = pwritev(fd, iov, n < IOV_MAX ? (int)n : IOV_MAX, offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EIO;
		offset += r;
		skip(&iov, &n, (size_t)r);
	}
	return 0;
}

ssize_t fdio_read_all(int fd, void *data, size_t size)
{
	size_t done = 0;

	for (;;) {
		char extra;
		size_t room = size - done;
		ssize_t n = room ? read(fd, (char *)data + done, room) : read(fd, &extra, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return (ssize_t)done;
		if (!room)
			return -EFBIG;
		done += (size_t)n;
	}
}

int fdio_openat_quietly(int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dirfd, name, flags) : fd; /* another owner's */
}

int fdio_open_dir(int dirfd)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	char path[32];
	int fd = openat(dirfd, ".", flags);

	if (fd < 0 && errno == EACCES) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
		fd = open(path, flags);
	}
	return fd < 0 ? -errno : fd;
}

void fdio_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void)close(fd); /* nothing was deferred to it */
	errno = saved;
}

void fdio_stand_apart(void)
{
	(void)close_range(3, ~0U, CLOSE_RANGE_UNSHARE); /* before Linux 5.9: not to be had */
}

static bool is_same_dir(int a, int b)
{
	struct stat x;
	struct stat y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int fdio_lies_in(int fd, int above)
{
	int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = at < 0 ? -errno : 0;

	while (!r) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		bool top = up >= 0 && is_same_dir(at, up);

		if (is_same_dir(at, above))
			r = 1;
		else if (up < 0)
			r = -errno;
		fdio_close(at);
		at = up;
		if (top)
			break;
	}
	fdio_close(at);
	return r;
}
