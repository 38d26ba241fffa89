/* SPDX-License-Identifier: MIT */
/*
 * All that a check writes to the vault.  Each of these leaves what the mount
 * itself would leave after settling, in an order that a death may cut off
 * anywhere; times stay.
 */
#include "fs/check_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/backing.h"
#include "fs/links.h"
#include "fs/special.h"

/* The directory's times as they were before something in it was put in order. */
static void restore_times(int fd, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	(void)futimens(fd, times); /* another owner's: they move */
}

int repair_remove(int dirfd, const char *stored)
{
	struct stat st;
	bool known = !fstat(dirfd, &st);

	if (unlinkat(dirfd, stored, 0))
		return errno == EISDIR ? repair_remove_dir(dirfd, stored) : -errno;
	if (known)
		restore_times(dirfd, &st);
	return 0;
}

/* Take what is beside entries out of a directory that has none; fd is taken. */
static void clear_out(int fd)
{
	DIR *d = fdopendir(fd);
	const struct dirent *entry;

	if (!d) {
		fdio_close(fd);
		return;
	}
	while ((entry = readdir(d)))
		if (names_are_ours(entry->d_name))
			(void)unlinkat(dirfd(d), entry->d_name, 0);
	(void)closedir(d); /* only read */
}

int repair_remove_dir(int dirfd, const char *stored)
{
	struct stat st;
	bool known = !fstat(dirfd, &st);
	int fd = openat(dirfd, stored, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (!check_dir_is_empty(fd)) {
		fdio_close(fd);
		return -ENOTEMPTY;
	}
	clear_out(fd);
	if (unlinkat(dirfd, stored, AT_REMOVEDIR))
		return -errno;
	names_sidecar_remove(dirfd, stored);
	if (known)
		restore_times(dirfd, &st);
	return 0;
}

int repair_record(struct check *c, const struct check_dir *dir,
		  const struct format_dir_record *record)
{
	bool in_xattr;
	int r = dirrec_write(dir->fd, c->keys, record, &in_xattr);

	if (!r)
		r = dirrec_sync(dir->fd);
	if (!r)
		restore_times(dir->fd, &dir->st);
	return r;
}

int repair_symlink(struct check *c, const struct check_entry *entry, const char *target)
{
	const struct links_place place = { entry->dir->id, entry->stored };
	struct stat st = entry->st;
	struct stat dir_st;
	char text[LINKS_TEXT_MAX + 1];
	int r = links_seal(c->keys, c->suite, target, &place, NULL, text);

	if (!r && fstat(entry->dir->fd, &dir_st))
		r = -errno;
	if (!r)
		r = links_replace(entry->dir->fd, entry->stored, text, &st);
	if (!r)
		restore_times(entry->dir->fd, &dir_st);
	return r;
}

int repair_marker(struct check *c, const struct check_entry *entry)
{
	const struct special s = { .dir_id = entry->dir->id,
				   .stored = entry->stored,
				   .mode = entry->st.st_mode,
				   .rdev = entry->st.st_rdev };
	struct stat dir_st;
	int r = fstat(entry->dir->fd, &dir_st) ? -errno : 0;

	if (!r)
		r = special_allow_only(entry->dir->fd, c->keys, &s);
	if (!r)
		restore_times(entry->dir->fd, &dir_st);
	return r;
}

/* Open the file again, to be written to. */
static int open_writable(struct check *c, struct io *io, const struct check_entry *entry,
			 struct file **file)
{
	struct stat st;
	int fd = backing_open(entry->dir->fd, entry->stored, O_RDWR, geteuid() != 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		r = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_ino != entry->st.st_ino)
		r = -ESTALE;
	if (r) {
		fdio_close(fd);
		return r;
	}
	return file_open(c->store, io, fd, true, false, file);
}

int repair_file(struct check *c, struct io *io, const struct check_entry *entry,
		const uint8_t binding[FORMAT_BINDING_SIZE], bool renew_header)
{
	struct file *file;
	int r = open_writable(c, io, entry, &file);

	if (r)
		return r < 0 ? r : -EIO;
	/* Before it settles: the header that is written then takes that slot's place. */
	if (renew_header)
		r = file_renew_header(file, io);
	if (!r && file_is_bound(file, binding))
		file_bind_only(file, binding);
	if (!r)
		r = file_settle(file, io, false);
	restore_times(file_fd(file), &entry->st);
	if (!r && renew_header)
		r = file_sync(file, false);
	file_close(file);
	return r < 0 ? r : r ? -EIO : 0;
}
