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

static int make_temporary_name(struct newfile *f)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(f->temporary, sizeof(f->temporary), PREFIX "%016" PRIx64, random);
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

static int open_file(struct newfile *f)
{
	int r;

	f->fd = openat(f->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (f->fd >= 0 || !has_no_tmpfile(errno))
		return f->fd < 0 ? -errno : 0;
	r = make_temporary_name(f);
	if (r)
		return r;
	f->fd = openat(f->dirfd, f->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	if (f->fd >= 0)
		return 0;
	r = -errno;
	f->temporary[0] = '\0';
	return r;
}

int newfile_begin(const char *path, struct newfile *f)
{
	int r;

	*f = (struct newfile){ .fd = -1, .dirfd = -1 };
	r = open_directory(path, f);
	if (!r)
		r = open_file(f);
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

/* Give the file without a name this one: 0 or -errno. */
static int link_as(const struct newfile *f, const char *name)
{
	char self[32];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, self, f->dirfd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/* Without the flag (some network filesystems have none) a link refuses what is there, too. */
static int rename_to_free(const struct newfile *f)
{
	if (renameat2(f->dirfd, f->temporary, f->dirfd, f->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	if (linkat(f->dirfd, f->temporary, f->dirfd, f->name, 0))
		return -errno;
	return unlinkat(f->dirfd, f->temporary, 0) ? -errno : 0;
}

static int give_name(struct newfile *f, bool replace)
{
	int r;

	if (!f->temporary[0]) {
		r = link_as(f, f->name);
		if (r != -EEXIST || !replace)
			return r;
		r = make_temporary_name(f); /* only a rename replaces */
		if (!r)
			r = link_as(f, f->temporary);
		if (r) {
			f->temporary[0] = '\0';
			return r;
		}
	}
	if (replace)
		r = renameat(f->dirfd, f->temporary, f->dirfd, f->name) ? -errno : 0;
	else
		r = rename_to_free(f);
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
