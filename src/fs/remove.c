/* SPDX-License-Identifier: MIT */
/*
 * Removing directories: see remove.h for the contract.
 *
 * A directory below the one that is removed is emptied by moving its own
 * directories up to the top.  So two descriptors do whatever the depth, and a
 * death leaves everything where the next try finds it.
 */
#include "fs/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

/* To list and to change, which its owner may not have been allowed. */
static DIR *open_dir(int dirfd, const char *name)
{
	int fd;
	DIR *dir;

	(void)!fchmodat(dirfd, name, 0700, 0); /* if that matters, what follows fails */
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		fdio_close(fd);
	return dir;
}

/* The next entry that is not a dot: NULL at the end, or with errno. */
static const struct dirent *next_entry(DIR *dir)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(dir);
	} while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
	return entry;
}

/* 1: it is a directory, 0: removed, or -errno. */
static int remove_file(int dirfd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_DIR && !unlinkat(dirfd, entry->d_name, 0))
		return 0;
	if (fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return 1;
	return unlinkat(dirfd, entry->d_name, 0) ? -errno : 0;
}

/* Give a directory a name of its own at the top. */
static int move_up(int dirfd, const char *name, int top_fd)
{
	static unsigned int number;
	char moved[32];
	int r;

	(void)!fchmodat(dirfd, name, 0700, 0); /* its ".." is going to change */
	do {
		(void)snprintf(moved, sizeof(moved), ".cryptfs-rm.%u", number++);
		r = faccessat(top_fd, moved, F_OK, AT_SYMLINK_NOFOLLOW) ? 0 : -EEXIST;
	} while (r);
	return renameat(dirfd, name, top_fd, moved) ? -errno : 0;
}

/* Empty a directory at the top, and remove it. */
static int flatten(int top_fd, const char *name)
{
	const struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (!unlinkat(top_fd, name, AT_REMOVEDIR))
		return 0;
	dir = open_dir(top_fd, name);
	if (!dir)
		return -errno;
	while (r >= 0 && (entry = next_entry(dir))) {
		r = remove_file(dirfd(dir), entry);
		if (r > 0)
			r = move_up(dirfd(dir), entry->d_name, top_fd);
	}
	if (r >= 0 && errno)
		r = -errno;
	(void)closedir(dir); /* only read */
	if (!r && unlinkat(top_fd, name, AT_REMOVEDIR) && errno != ENOTEMPTY)
		r = -errno; /* what readdir(3) did not show is for the next pass */
	return r;
}

/* One pass over the top: how many entries there were, or -errno. */
static int empty_once(DIR *top)
{
	const struct dirent *entry;
	int n = 0;
	int r = 0;

	rewinddir(top);
	while (r >= 0 && (entry = next_entry(top))) {
		n = 1;
		r = remove_file(dirfd(top), entry);
		if (r > 0)
			r = flatten(dirfd(top), entry->d_name);
	}
	if (r >= 0 && errno)
		r = -errno;
	return r < 0 ? r : n;
}

int remove_directory(int dirfd, const char *name)
{
	DIR *top = open_dir(dirfd, name);
	int r;

	if (!top)
		return errno == ENOENT ? 0 : -errno;
	do {
		r = empty_once(top);
	} while (r > 0);
	(void)closedir(top); /* only read */
	if (!r && unlinkat(dirfd, name, AT_REMOVEDIR))
		r = -errno;
	return r;
}
