/* SPDX-License-Identifier: MIT */
/* Files beside entries: see sidecar.h for the contract. */
#include "fs/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/base64.h"
#include "fs/names.h"

/* Open name for reading if it is a regular file: a descriptor, or as sidecar_read. */
static int open_regular(int dirfd, const char *name, int *fd)
{
	struct stat st;
	int r = 0;

	*fd = fdio_openat_quietly(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0) /* no file; a symlink; a socket */
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? SIDECAR_DAMAGED
									   : -errno;
	if (fstat(*fd, &st))
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = SIDECAR_DAMAGED;
	if (r) {
		fdio_close(*fd);
		*fd = -1;
	}
	return r;
}

int sidecar_read(int dirfd, const char *name, void *content, size_t room, size_t *size)
{
	ssize_t n;
	int fd;
	int r = open_regular(dirfd, name, &fd);

	if (r)
		return r;
	n = fdio_read_all(fd, content, room);
	fdio_close(fd);
	if (n < 0)
		return n == -EFBIG ? SIDECAR_DAMAGED : (int)n;
	*size = (size_t)n;
	return 0;
}

/* Make name, which does not exist, on disk: 0 or -errno, then it still does not exist. */
static int create(int dirfd, const char *name, const void *content, size_t size)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fdio_write_full(fd, content, size);
	if (!r && fsync(fd))
		r = -errno;
	fdio_close(fd);
	if (r)
		(void)unlinkat(dirfd, name, 0); /* the first error is the one to tell */
	return r;
}

/* Put a new file in the place of whatever has this name. */
static int replace(int dirfd, const char *name, const void *content, size_t size)
{
	char temporary[sizeof(NAMES_TEMPORARY) + BASE64_SIZE(12)];
	uint8_t random[12];
	int r;

	randombytes_buf(random, sizeof(random));
	memcpy(temporary, NAMES_TEMPORARY, sizeof(NAMES_TEMPORARY));
	base64_encode(random, sizeof(random), temporary + strlen(NAMES_TEMPORARY));
	r = create(dirfd, temporary, content, size);
	if (r)
		return r;
	if (renameat(dirfd, temporary, dirfd, name)) {
		r = -errno;
		(void)unlinkat(dirfd, temporary, 0); /* the first error is the one to tell */
	}
	return r;
}

/* True if name has exactly this content already. */
static bool is_there(int dirfd, const char *name, const void *content, size_t size)
{
	uint8_t found[SIDECAR_SIZE_MAX];
	size_t found_size;

	return sidecar_read(dirfd, name, found, sizeof(found), &found_size) == 0 &&
	       found_size == size && memcmp(found, content, size) == 0;
}

/* Flush a file that a killed process may have left in memory only. */
static int flush(int dirfd, const char *name)
{
	int fd;
	int r = open_regular(dirfd, name, &fd);

	if (r)
		return r < 0 ? r : -EIO;
	if (fsync(fd))
		r = -errno;
	fdio_close(fd);
	return r;
}

int sidecar_write(int dirfd, const char *name, const void *content, size_t size)
{
	int r = create(dirfd, name, content, size);

	if (r != -EEXIST)
		return r;
	if (is_there(dirfd, name, content, size))
		return flush(dirfd, name);
	return replace(dirfd, name, content, size);
}
