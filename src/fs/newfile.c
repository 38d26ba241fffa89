/* SPDX-License-Identifier: MIT */
/* Files that appear complete: see newfile.h for the contract. */
#include "fs/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fdio.h"

#define PREFIX ".cryptfs-tmp."

int newfile_temporary_name(char name[NEWFILE_TEMPORARY_SIZE])
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(name, NEWFILE_TEMPORARY_SIZE, PREFIX "%016" PRIx64, random);
	return 0;
}

/* The directory of path, and its last component: 0 or -errno. */
static int open_directory(const char *path, struct newfile *f)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX] = ".";
	size_t size;

	f->name = slash ? slash + 1 : path;
	if (!*f->name)
		return -EISDIR;
	if (slash) {
		size = slash == path ? 1 : (size_t)(slash - path);
		if (size >= sizeof(directory))
			return -ENAMETOOLONG;
		memcpy(directory, path, size);
		directory[size] = '\0';
	}
	f->dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->dirfd < 0 ? -errno : 0;
}

static bool has_no_tmpfile(int error)
{
	return error == EOPNOTSUPP || error == EISDIR || error == ENOENT || error == EINVAL;
}

int newfile_open(int dirfd, char temporary[NEWFILE_TEMPORARY_SIZE])
{
	int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int r;

	temporary[0] = '\0';
	if (fd >= 0 || !has_no_tmpfile(errno))
		return fd < 0 ? -errno : fd;
	r = newfile_temporary_name(temporary);
	if (r)
		return r;
	fd = openat(dirfd, temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		return fd;
	r = -errno;
	temporary[0] = '\0';
	return r;
}

int newfile_begin(const char *path, struct newfile *f)
{
	int r;

	*f = (struct newfile){ .fd = -1, .dirfd = -1 };
	r = open_directory(path, f);
	if (!r) {
		f->fd = newfile_open(f->dirfd, f->temporary);
		r = f->fd < 0 ? f->fd : 0;
	}
	if (r)
		newfile_discard(f);
	return r;
}

/* Mode and times; not the owner, so no set-id bits either. */
static int dress(int fd, const struct stat *like)
{
	const struct timespec times[2] = { like->st_atim, like->st_mtim };

	if (fchmod(fd, like->st_mode & 0777) || futimens(fd, times))
		return -errno;
	return 0;
}

int newfile_link(int fd, int dirfd, const char *name)
{
	char self[32];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/* Without the flag (some network filesystems have none) a link refuses what is there, too. */
int newfile_rename(int dirfd, const char *temporary, const char *name)
{
	if (renameat2(dirfd, temporary, dirfd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	if (linkat(dirfd, temporary, dirfd, name, 0))
		return -errno;
	return unlinkat(dirfd, temporary, 0) ? -errno : 0;
}

static int give_name(struct newfile *f, bool replace)
{
	int r;

	if (!f->temporary[0]) {
		r = newfile_link(f->fd, f->dirfd, f->name);
		if (r != -EEXIST || !replace)
			return r;
		r = newfile_temporary_name(f->temporary); /* only a rename replaces */
		if (!r)
			r = newfile_link(f->fd, f->dirfd, f->temporary);
		if (r) {
			f->temporary[0] = '\0';
			return r;
		}
	}
	if (replace)
		r = renameat(f->dirfd, f->temporary, f->dirfd, f->name) ? -errno : 0;
	else
		r = newfile_rename(f->dirfd, f->temporary, f->name);
	if (!r)
		f->temporary[0] = '\0';
	return r;
}

int newfile_commit(struct newfile *f, const struct newfile_end *end)
{
	int r = end->like ? dress(f->fd, end->like) : 0;

	if (!r && fsync(f->fd))
		r = -errno;
	if (!r)
		r = give_name(f, end->replace);
	if (!r && end->syncs_name && fsync(f->dirfd) && errno != EINVAL)
		r = -errno; /* EINVAL: some filesystems have no such thing */
	newfile_discard(f);
	return r == -EEXIST ? NEWFILE_EXISTS : r;
}

void newfile_discard(struct newfile *f)
{
	if (f->temporary[0])
		(void)unlinkat(f->dirfd, f->temporary, 0); /* the failure before it counts */
	fdio_close(f->fd);
	fdio_close(f->dirfd);
	*f = (struct newfile){ .fd = -1, .dirfd = -1 };
}
