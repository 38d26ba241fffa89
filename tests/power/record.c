/* SPDX-License-Identifier: MIT */
/* Wrapped calls: see record.h. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static struct {
	struct record record;
	bool on;
	int room;
	ino_t *numbers; /* of inode i + 1 */
	int clock_offset;
} rec;

static uint64_t rec_random;

void record_seed(uint64_t seed)
{
	rec_random = seed;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static int inode_of(ino_t number)
{
	for (int i = 0; i < rec.record.n_inodes; i++)
		if (rec.numbers[i] == number)
			return i + 1;
	return 0;
}

static int new_inode(ino_t number)
{
	rec.numbers = must(realloc(rec.numbers, (size_t)(rec.record.n_inodes + 1) * sizeof(ino_t)));
	rec.numbers[rec.record.n_inodes] = number;
	return ++rec.record.n_inodes;
}

void record_start(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		abort();
	(void)new_inode(st.st_ino);
	rec.on = true;
}

const struct record *record_get(void)
{
	return &rec.record;
}

void record_stop(void)
{
	for (int i = 0; i < rec.record.n_ops; i++) {
		free(rec.record.ops[i].name);
		free(rec.record.ops[i].to_name);
		free(rec.record.ops[i].data);
	}
	free(rec.record.ops);
	free(rec.numbers);
	memset(&rec, 0, sizeof(rec));
}

void record_pause(int paused)
{
	rec.on = !paused;
}

void record_advance_clock(int seconds)
{
	rec.clock_offset += seconds;
}

static struct op *add(enum op_kind kind)
{
	struct op *op;

	if (rec.record.n_ops == rec.room) {
		rec.room = rec.room ? rec.room * 2 : 256;
		rec.record.ops = must(realloc(rec.record.ops, (size_t)rec.room * sizeof(*op)));
	}
	op = &rec.record.ops[rec.record.n_ops++];
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	return op;
}

static void set_data(struct op *op, const void *data, size_t size)
{
	op->data = must(malloc(size + 1));
	memcpy(op->data, data, size);
	op->data[size] = 0;
	op->size = size;
}

static int inode_of_fd(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : inode_of(st.st_ino);
}

static int inode_at(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) ? 0 : inode_of(st.st_ino);
}

/* An inode was made, at name unless that is NULL. */
static void made(int dirfd, const char *name, const struct stat *st, const char *target)
{
	int inode = new_inode(st->st_ino);
	struct op *op = add(OP_MAKE);

	op->inode = inode;
	op->mode = st->st_mode;
	op->rdev = st->st_rdev;
	if (target)
		set_data(op, target, strlen(target));
	if (!name)
		return;
	op->dir = inode_of_fd(dirfd);
	op->name = must(strdup(name));
}

static void made_at(int dirfd, const char *name, const char *target)
{
	struct stat st;

	if (!rec.on || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return;
	made(dirfd, name, &st, target);
}

/* ---- the calls ------------------------------------------------------------- */

int __real_openat64(int dirfd, const char *name, int flags, ...);
int __wrap_openat64(int dirfd, const char *name, int flags, ...);
int __wrap_openat64(int dirfd, const char *name, int flags, ...)
{
	bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
	bool makes = flags & O_CREAT && !nameless;
	bool existed = makes && !faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW);
	struct stat st;
	mode_t mode = 0;
	va_list args;
	int fd;

	if (makes || nameless) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	fd = __real_openat64(dirfd, name, flags, mode);
	if (!rec.on || fd < 0)
		return fd;
	if ((nameless || (makes && !existed)) && !fstat(fd, &st))
		made(dirfd, nameless ? NULL : name, &st, NULL);
	if (flags & O_TRUNC)
		abort(); /* nobody does that */
	return fd;
}

static void wrote(int fd, const void *data, ssize_t size, off_t offset)
{
	int inode = rec.on && size > 0 ? inode_of_fd(fd) : 0;
	struct op *op;

	if (!inode)
		return;
	op = add(OP_WRITE);
	op->inode = inode;
	op->offset = (uint64_t)offset;
	set_data(op, data, (size_t)size);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t n = __real_pwrite64(fd, data, size, offset);

	wrote(fd, data, n, offset);
	return n;
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	off_t offset = lseek(fd, 0, SEEK_CUR);
	ssize_t n = __real_write(fd, data, size);

	if (offset >= 0)
		wrote(fd, data, n, offset);
	return n;
}

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t offset)
{
	size_t size = 0;
	uint8_t *flat;
	ssize_t done;

	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;
	flat = must(malloc(size + 1));
	size = 0;
	for (int i = 0; i < n; i++) {
		memcpy(flat + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	done = __real_pwritev64(fd, iov, n, offset);
	wrote(fd, flat, done, offset);
	free(flat);
	return done;
}

int __real_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length)
{
	int r = __real_ftruncate64(fd, length);
	int inode = rec.on && !r ? inode_of_fd(fd) : 0;
	struct op *op;

	if (inode) {
		op = add(OP_TRUNCATE);
		op->inode = inode;
		op->offset = (uint64_t)length;
	}
	return r;
}

int __real_linkat(int from, const char *old, int to, const char *now, int flags);
int __wrap_linkat(int from, const char *old, int to, const char *now, int flags);
int __wrap_linkat(int from, const char *old, int to, const char *now, int flags)
{
	int r = __real_linkat(from, old, to, now, flags);
	struct op *op;

	if (rec.on && !r) {
		op = add(OP_LINK);
		op->inode = inode_at(to, now);
		op->dir = inode_of_fd(to);
		op->name = must(strdup(now));
	}
	return r;
}

int __real_unlinkat(int dirfd, const char *name, int flags);
int __wrap_unlinkat(int dirfd, const char *name, int flags);
int __wrap_unlinkat(int dirfd, const char *name, int flags)
{
	int inode = rec.on ? inode_at(dirfd, name) : 0;
	int r = __real_unlinkat(dirfd, name, flags);
	struct op *op;

	if (inode && !r) {
		op = add(OP_UNLINK);
		op->inode = inode;
		op->dir = inode_of_fd(dirfd);
		op->name = must(strdup(name));
	}
	return r;
}

int __real_renameat2(int from, const char *old, int to, const char *now, unsigned int flags);
int __wrap_renameat2(int from, const char *old, int to, const char *now, unsigned int flags);
int __wrap_renameat2(int from, const char *old, int to, const char *now, unsigned int flags)
{
	int moved = rec.on ? inode_at(from, old) : 0;
	int replaced = rec.on ? inode_at(to, now) : 0;
	int r = __real_renameat2(from, old, to, now, flags);
	struct op *op;

	if (rec.on && !r) {
		op = add(OP_RENAME);
		op->inode = moved;
		op->replaced = replaced;
		op->dir = inode_of_fd(from);
		op->to_dir = inode_of_fd(to);
		op->name = must(strdup(old));
		op->to_name = must(strdup(now));
		op->flags = flags;
	}
	return r;
}

int __wrap_renameat(int from, const char *old, int to, const char *now);
int __wrap_renameat(int from, const char *old, int to, const char *now)
{
	return __wrap_renameat2(from, old, to, now, 0);
}

int __real_mkdirat(int dirfd, const char *name, mode_t mode);
int __wrap_mkdirat(int dirfd, const char *name, mode_t mode);
int __wrap_mkdirat(int dirfd, const char *name, mode_t mode)
{
	int r = __real_mkdirat(dirfd, name, mode);

	if (!r)
		made_at(dirfd, name, NULL);
	return r;
}

int __real_mknodat(int dirfd, const char *name, mode_t mode, dev_t rdev);
int __wrap_mknodat(int dirfd, const char *name, mode_t mode, dev_t rdev);
int __wrap_mknodat(int dirfd, const char *name, mode_t mode, dev_t rdev)
{
	int r = __real_mknodat(dirfd, name, mode, rdev);

	if (!r)
		made_at(dirfd, name, NULL);
	return r;
}

int __real_symlinkat(const char *target, int dirfd, const char *name);
int __wrap_symlinkat(const char *target, int dirfd, const char *name);
int __wrap_symlinkat(const char *target, int dirfd, const char *name)
{
	int r = __real_symlinkat(target, dirfd, name);

	if (!r)
		made_at(dirfd, name, target);
	return r;
}

static void set_attribute(int inode, const char *name, const void *value, size_t size)
{
	struct op *op;

	if (!inode)
		return;
	op = add(value ? OP_XATTR : OP_UNXATTR);
	op->inode = inode;
	op->name = must(strdup(name));
	if (value)
		set_data(op, value, size);
}

int __real_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	int r = __real_fsetxattr(fd, name, value, size, flags);

	if (rec.on && !r)
		set_attribute(inode_of_fd(fd), name, value, size);
	return r;
}

static int inode_of_path(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : inode_of(st.st_ino);
}

int __real_setxattr(const char *path, const char *name, const void *value, size_t size, int flags);
int __wrap_setxattr(const char *path, const char *name, const void *value, size_t size, int flags);
int __wrap_setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	int r = __real_setxattr(path, name, value, size, flags);

	if (rec.on && !r)
		set_attribute(inode_of_path(path), name, value, size);
	return r;
}

int __real_fremovexattr(int fd, const char *name);
int __wrap_fremovexattr(int fd, const char *name);
int __wrap_fremovexattr(int fd, const char *name)
{
	int r = __real_fremovexattr(fd, name);

	if (rec.on && !r)
		set_attribute(inode_of_fd(fd), name, NULL, 0);
	return r;
}

int __real_removexattr(const char *path, const char *name);
int __wrap_removexattr(const char *path, const char *name);
int __wrap_removexattr(const char *path, const char *name)
{
	int r = __real_removexattr(path, name);

	if (rec.on && !r)
		set_attribute(inode_of_path(path), name, NULL, 0);
	return r;
}

/* ---- syncs and the clock --------------------------------------------------- */

static int synced(enum op_kind kind, int fd)
{
	int inode = rec.on ? inode_of_fd(fd) : 0;

	if (inode || (rec.on && kind == OP_SYNC_ALL))
		add(kind)->inode = inode;
	return 0;
}

/* Of what is no time to keep, nothing. */
static void set_times(int inode, const struct timespec times[2])
{
	struct op *op;

	if (!rec.on || !inode)
		return;
	op = add(OP_TIMES);
	op->inode = inode;
	if (times && times[1].tv_nsec != UTIME_NOW && times[1].tv_nsec != UTIME_OMIT)
		set_data(op, times, 2 * sizeof(*times));
}

int __real_futimens(int fd, const struct timespec times[2]);
int __wrap_futimens(int fd, const struct timespec times[2]);
int __wrap_futimens(int fd, const struct timespec times[2])
{
	int r = __real_futimens(fd, times);

	if (!r)
		set_times(inode_of_fd(fd), times);
	return r;
}

int __real_utimensat(int dirfd, const char *name, const struct timespec times[2], int flags);
int __wrap_utimensat(int dirfd, const char *name, const struct timespec times[2], int flags);
int __wrap_utimensat(int dirfd, const char *name, const struct timespec times[2], int flags)
{
	int r = __real_utimensat(dirfd, name, times, flags);

	if (!r)
		set_times(inode_at(dirfd, name), times);
	return r;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return synced(OP_SYNC, fd);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return synced(OP_SYNC_DATA, fd);
}

int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	return synced(OP_SYNC_ALL, fd);
}

/* The same random bytes in every run: what happened can be repeated. */
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned int flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned int flags)
{
	uint8_t *b = bytes;

	(void)flags;
	for (size_t i = 0; i < size; i++) {
		rec_random = rec_random * 6364136223846793005U + 1442695040888963407U;
		b[i] = (uint8_t)(rec_random >> 56);
	}
	return (ssize_t)size;
}

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int r = __real_clock_gettime(clock, now);

	now->tv_sec += rec.clock_offset;
	return r;
}
