/* SPDX-License-Identifier: MIT */
/*
 * The two copies of a directory's record: see dirrec.h for the contract.
 *
 * The file copy is the one believed: it is written first.  While a directory
 * is being renamed the copies may differ in their bindings, of which either
 * set is good; copies that differ in the id were not written by us.
 */
#include "fs/dirrec.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"

/* Open the file copy if it is a regular file: a descriptor, DIRREC_* or -errno. */
static int open_file(int dirfd, int access, int *fd)
{
	struct stat st;

	*fd = fdio_openat_quietly(dirfd, DIRREC_FILE, access | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT)
		return DIRREC_MISSING;
	if (*fd < 0) /* a symlink; a socket or a FIFO; a directory */
		return errno == ELOOP || errno == ENXIO || errno == EISDIR ? DIRREC_DAMAGED
									   : -errno;
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	fdio_close(*fd);
	*fd = -1;
	return DIRREC_DAMAGED;
}

/* 0, DIRREC_* or -errno. */
static int read_file(int dirfd, const struct keyring *keys, struct format_dir_record *record)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	ssize_t size;
	int fd;
	int r = open_file(dirfd, O_RDONLY, &fd);

	if (r)
		return r;
	size = fdio_read_all(fd, raw, sizeof(raw));
	fdio_close(fd);
	if (size < 0 && size != -EFBIG)
		return (int)size;
	if (size == 0) /* who made it died before writing it */
		return DIRREC_MISSING;
	if (size < 0 || format_dir_record_decode(raw, (size_t)size, keys, record))
		return DIRREC_DAMAGED;
	return 0;
}

/* 0, DIRREC_* or -errno; where there can be no attribute it is missing. */
static int read_xattr(int self, const struct keyring *keys, struct format_dir_record *record,
		      bool *possible)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	ssize_t size;

	*possible = self >= 0;
	if (self < 0)
		return DIRREC_MISSING;
	size = fgetxattr(self, DIRREC_XATTR, raw, sizeof(raw));
	*possible = size >= 0 || errno != EOPNOTSUPP;
	if (size < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return DIRREC_MISSING;
	if (size < 0 && errno != ERANGE)
		return -errno;
	if (size < 0 || format_dir_record_decode(raw, (size_t)size, keys, record))
		return DIRREC_DAMAGED;
	return 0;
}

/* Make the file copy anew; what cannot be a copy has been removed. */
static int create_file(int dirfd, int *fd)
{
	*fd = openat(dirfd, DIRREC_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	return *fd < 0 ? -errno : 0;
}

static int open_file_to_write(int dirfd, int *fd)
{
	int r = open_file(dirfd, O_WRONLY, fd);

	if (r == DIRREC_DAMAGED && unlinkat(dirfd, DIRREC_FILE, 0))
		return -errno;
	return r > 0 ? create_file(dirfd, fd) : r;
}

static int write_file(int dirfd, const uint8_t raw[FORMAT_DIR_RECORD_SIZE])
{
	int fd;
	int r = open_file_to_write(dirfd, &fd);

	if (r)
		return r;
	r = fdio_pwrite_full(fd, raw, FORMAT_DIR_RECORD_SIZE, 0);
	if (!r && ftruncate(fd, FORMAT_DIR_RECORD_SIZE))
		r = -errno;
	fdio_close(fd);
	return r;
}

/* True if the attribute was stored; if not, no older one stays. */
static bool write_xattr(int self, const uint8_t raw[FORMAT_DIR_RECORD_SIZE])
{
	if (self < 0)
		return false;
	if (fsetxattr(self, DIRREC_XATTR, raw, FORMAT_DIR_RECORD_SIZE, 0) == 0)
		return true;
	(void)fremovexattr(self, DIRREC_XATTR); /* there is none, as a rule */
	return false;
}

/* Bring the copy that is missing or damaged back from the other. */
static void repair(int dirfd, int self, const struct keyring *keys,
		   const struct format_dir_record *record, bool file_is_good)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	format_dir_record_encode(record, keys, raw);
	if (file_is_good)
		(void)write_xattr(self, raw); /* where there are none: as before */
	else if (write_file(dirfd, raw))
		log_warn("cannot restore a " DIRREC_FILE " from its second copy");
}

/* Judge the two copies: 0 and *record, DIRREC_* or -errno. */
static int choose(int file, int xattr, const struct format_dir_record *second,
		  struct format_dir_record *record)
{
	if (file == 0 && xattr == 0)
		return memcmp(record->id, second->id, sizeof(record->id)) ? DIRREC_DAMAGED : 0;
	if (file == 0)
		return 0;
	if (xattr == 0) {
		*record = *second;
		return 0;
	}
	if (file < 0 || xattr < 0)
		return file < 0 ? file : xattr;
	return file == DIRREC_DAMAGED || xattr == DIRREC_DAMAGED ? DIRREC_DAMAGED : DIRREC_MISSING;
}

static bool names_place(const struct format_dir_record *record,
			const uint8_t binding[FORMAT_BINDING_SIZE])
{
	return !memcmp(record->bindings[0], binding, FORMAT_BINDING_SIZE) ||
	       !memcmp(record->bindings[1], binding, FORMAT_BINDING_SIZE);
}

static int read_both(int dirfd, int self, const struct keyring *keys,
		     const uint8_t here[FORMAT_BINDING_SIZE], struct dirrec_copies *copies,
		     struct format_dir_record *record)
{
	struct format_dir_record second;
	int r;

	copies->file = read_file(dirfd, keys, record);
	copies->xattr = read_xattr(self, keys, &second, &copies->xattr_is_possible);
	r = choose(copies->file, copies->xattr, &second, record);
	copies->conflict = copies->file == 0 && copies->xattr == 0 && r;
	copies->differ = copies->file == 0 && copies->xattr == 0 &&
			 memcmp(record, &second, sizeof(second)) != 0;
	if (r == 0 && here && copies->xattr == 0 && !names_place(record, here) &&
	    names_place(&second, here))
		*record = second;
	return r;
}

int dirrec_inspect(int dirfd, const struct keyring *keys, const uint8_t here[FORMAT_BINDING_SIZE],
		   struct dirrec_copies *copies, struct format_dir_record *record)
{
	int self = fdio_open_dir(dirfd);
	int r = read_both(dirfd, self, keys, here, copies, record);

	fdio_close(self);
	return r;
}

int dirrec_read(int dirfd, const struct keyring *keys, bool read_only,
		struct format_dir_record *record)
{
	return dirrec_read_at(dirfd, keys, read_only, NULL, record);
}

int dirrec_read_at(int dirfd, const struct keyring *keys, bool read_only,
		   const uint8_t here[FORMAT_BINDING_SIZE], struct format_dir_record *record)
{
	int self = fdio_open_dir(dirfd);
	struct dirrec_copies copies;
	struct format_dir_record found;
	int r = read_both(dirfd, self, keys, here, &copies, &found);

	if (r == 0) {
		*record = found;
		if (!read_only && (copies.file > 0 || copies.xattr > 0))
			repair(dirfd, self, keys, record, copies.file == 0);
	}
	fdio_close(self);
	return r;
}

int dirrec_write(int dirfd, const struct keyring *keys, const struct format_dir_record *record,
		 bool *in_xattr)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	int self;
	int r;

	*in_xattr = false;
	format_dir_record_encode(record, keys, raw);
	r = write_file(dirfd, raw);
	if (r)
		return r;
	self = fdio_open_dir(dirfd);
	*in_xattr = write_xattr(self, raw);
	fdio_close(self);
	return 0;
}

/* Flush the directory itself; one that may not be read, with its whole filesystem. */
static int sync_dir(int dirfd, int file)
{
	int self = fdio_open_dir(dirfd);
	int r = 0;

	if (self == -EACCES)
		return syncfs(file) ? -errno : 0;
	if (self < 0)
		return self;
	if (fsync(self))
		r = -errno;
	fdio_close(self);
	return r;
}

int dirrec_sync(int dirfd)
{
	int fd;
	int r = open_file(dirfd, O_RDONLY, &fd);

	if (r)
		return r > 0 ? -EIO : r;
	r = fsync(fd) ? -errno : sync_dir(dirfd, fd);
	fdio_close(fd);
	return r;
}

int dirrec_make_root(int dirfd, const struct keyring *keys)
{
	static const uint8_t no_parent[FORMAT_DIR_ID_SIZE];
	struct format_dir_record record = { 0 };
	bool in_xattr;
	int r;

	randombytes_buf(record.id, sizeof(record.id));
	format_binding(keys, no_parent, "", record.bindings[0]);
	r = dirrec_write(dirfd, keys, &record, &in_xattr);
	return r ? r : dirrec_sync(dirfd);
}

int dirrec_remove(int dirfd)
{
	return unlinkat(dirfd, DIRREC_FILE, 0) && errno != ENOENT ? -errno : 0;
}
