/* SPDX-License-Identifier: MIT */
/*
 * fdio - whole reads and writes on descriptors: short transfers and EINTR are
 * dealt with here and nowhere else.
 *
 * Results: 0 is done; a negative errno is a failure, of which nothing is
 * known about how much was transferred.
 */
#ifndef BASE_FDIO_H
#define BASE_FDIO_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Read size bytes at offset: 0, -ENODATA when the file ends before, -errno. */
int fdio_pread_full(int fd, void *data, size_t size, off_t offset);

/* Read up to size bytes at offset, stopping only at the end of the file. */
ssize_t fdio_pread_some(int fd, void *data, size_t size, off_t offset);

/* Write size bytes at offset: 0 or -errno. */
int fdio_pwrite_full(int fd, const void *data, size_t size, off_t offset);

/* Write size bytes at the descriptor's position: 0 or -errno. */
int fdio_write_full(int fd, const void *data, size_t size);

/*
 * As pread_some and pwrite_full, scattered and gathered.  iov is the caller's
 * and is changed; n may be any number (split at IOV_MAX here).
 */
ssize_t fdio_preadv_some(int fd, struct iovec *iov, size_t n, off_t offset);
int fdio_pwritev_full(int fd, struct iovec *iov, size_t n, off_t offset);

/*
 * Read from the descriptor's position to its end into data, at most size
 * bytes: the number of bytes, -EFBIG if there are more, or -errno.
 */
ssize_t fdio_read_all(int fd, void *data, size_t size);

/*
 * Give this thread descriptors of its own: 0, 1, 2 and what it opens from here on.
 *
 * For a thread that asks the mount which its own process serves.  It cannot be
 * killed while it waits for the answer; were /dev/fuse open in it, a killed
 * process would wait for itself for ever.
 */
void fdio_stand_apart(void);

/*
 * openat(2) of what is only looked at: reading leaves the access time alone
 * where we may ask for that.
 */
int fdio_openat_quietly(int dirfd, const char *name, int flags);

/*
 * Open the directory dirfd (which may be O_PATH) itself, for reading; takes no
 * right to search it, as opening "." in it would.  A descriptor or -errno.
 */
int fdio_open_dir(int dirfd);

/* Whether the directory fd is the directory `above` or lies below it: 1, 0 or -errno. */
int fdio_lies_in(int fd, int above);

/* close(2) if fd >= 0, keeping errno. */
void fdio_close(int fd);

#endif /* BASE_FDIO_H */
