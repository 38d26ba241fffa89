/* SPDX-License-Identifier: MIT */
/*
 * Loaded before the C library, this is a disk that fails: the N-th system call
 * on the vault of a kind, or every one from the N-th on, answers with an error,
 * or does half of the work first.  The file FAULT_CONTROL holds a struct plan,
 * mapped here and by who tests (faults.py, which knows its layout).
 *
 * What does not name a regular file, such as /dev/fuse and sockets, is left
 * alone.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
	CHANGES = 1,
	READS = 2,
	SYNCS = 4,
	GROWS = 8, /* those changes that need space, on most filesystems */
	WHOLE = 16,
};

enum how {
	ONCE,
	FROM_THEN_ON,
	HALF_ONCE,  /* a short count, and the rest is done when it is asked for */
	HALF_FAILS, /* whole pages of the first half, then the error, once */
	INTERRUPTED,
};

struct plan {
	_Atomic int32_t armed;
	int32_t kinds;
	int32_t how;
	int32_t error;
	_Atomic int32_t left;  /* calls until it strikes */
	_Atomic int32_t fired; /* how often it did */
	_Atomic int32_t calls; /* of these kinds, while armed */
};

static struct plan *plan;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULT_CONTROL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	plan = p == MAP_FAILED ? NULL : p;
	(void)close(fd);
}

enum verdict { GO_ON, HALF, FAIL };

static enum verdict judge(int kind)
{
	int left;

	if (!plan || !atomic_load(&plan->armed) || !(plan->kinds & kind))
		return GO_ON;
	/* Nobody is interrupted in these, nor can they do half of it. */
	if (kind & WHOLE && (plan->how == INTERRUPTED || plan->how == HALF_ONCE))
		return GO_ON;
	atomic_fetch_add(&plan->calls, 1);
	left = atomic_fetch_sub(&plan->left, 1);
	if (left > 1)
		return GO_ON;
	if (left < 1 && plan->how != FROM_THEN_ON && !(left == 0 && plan->how == HALF_FAILS))
		return GO_ON;
	atomic_fetch_add(&plan->fired, 1);
	if (kind & WHOLE && plan->how == HALF_FAILS && left == 1)
		atomic_fetch_sub(&plan->left, 1); /* there is no half of it: the error comes now */
	errno = plan->how == INTERRUPTED ? EINTR : plan->error; /* for FAIL */
	if (plan->how == HALF_ONCE || (plan->how == HALF_FAILS && left == 1))
		return HALF;
	return FAIL;
}

/* How many of size bytes at offset are done before it fails; 0 is an error at once. */
static size_t half(size_t size, off_t offset)
{
	size_t n = size / 2;

	if (plan->how == HALF_ONCE)
		return n ? n : size;
	/* A kernel takes the pages of the cache whole, or not at all. */
	n -= (size_t)((offset + (off_t)n) % 4096);
	if (n < size && n > 0)
		return n;
	atomic_fetch_sub(&plan->left, 1); /* the error comes now, not next */
	return 0;
}

static int is_regular(int fd)
{
	struct stat st;

	return plan && atomic_load(&plan->armed) && !fstat(fd, &st) && S_ISREG(st.st_mode);
}

#define REAL(name)                                                                                 \
	static __typeof__(name) *real;                                                             \
	if (!real)                                                                                 \
	*(void **)&real = dlsym(RTLD_NEXT, #name)

/* ---- content --------------------------------------------------------------- */

/* Whether it takes more space to write there: the file gets longer, or fills a hole. */
static int growth(int fd, size_t size, off_t offset)
{
	struct stat st;

	if (!plan || !atomic_load(&plan->armed) || !(plan->kinds & GROWS))
		return CHANGES;
	if (fstat(fd, &st) || offset + (off_t)size > st.st_size)
		return CHANGES | GROWS;
	return lseek(fd, offset, SEEK_HOLE) < offset + (off_t)size ? CHANGES | GROWS : CHANGES;
}

#define POSITIONED(name, buffer, kind)                                                             \
	ssize_t name(int fd, buffer data, size_t size, off64_t offset)                             \
	{                                                                                          \
		REAL(name);                                                                        \
		enum verdict v = judge(kind);                                                      \
		size_t n = v == HALF ? half(size, offset) : size;                                  \
                                                                                                   \
		return v == FAIL || !n ? -1 : real(fd, data, n, offset);                           \
	}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset);
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset);
POSITIONED(pread64, void *, READS)
POSITIONED(pwrite64, const void *, growth(fd, size, offset))

ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t offset, size_t room)
{
	(void)room;
	return pread64(fd, data, size, offset);
}

/* The first n bytes of a list, in a copy of it. */
static int shorten(const struct iovec *iov, int count, size_t n, struct iovec *out)
{
	int i = 0;

	for (; i < count && i < 64 && n; i++) {
		out[i] = iov[i];
		if (out[i].iov_len > n)
			out[i].iov_len = n;
		n -= out[i].iov_len;
	}
	return i;
}

static size_t size_of(const struct iovec *iov, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

#define VECTORED(name, kind)                                                                       \
	ssize_t name(int fd, const struct iovec *iov, int count, off64_t offset)                   \
	{                                                                                          \
		REAL(name);                                                                        \
		enum verdict v = judge(kind);                                                      \
		struct iovec part[64];                                                             \
		size_t n = v == HALF ? half(size_of(iov, count), offset) : 1;                      \
                                                                                                   \
		if (v == FAIL || !n)                                                               \
			return -1;                                                                 \
		if (v == HALF)                                                                     \
			return real(fd, part, shorten(iov, count, n, part), offset);               \
		return real(fd, iov, count, offset);                                               \
	}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset);
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset);
VECTORED(preadv64, READS)
VECTORED(pwritev64, growth(fd, size_of(iov, count), offset))

ssize_t read(int fd, void *data, size_t size)
{
	REAL(read);
	enum verdict v = is_regular(fd) ? judge(READS) : GO_ON;
	size_t n = v == HALF ? half(size, 0) : size;

	return v == FAIL || !n ? -1 : real(fd, data, n);
}

ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
ssize_t __read_chk(int fd, void *data, size_t size, size_t room)
{
	(void)room;
	return read(fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
	REAL(write);
	enum verdict v = is_regular(fd) ? judge(CHANGES | GROWS) : GO_ON;
	size_t n = v == HALF ? half(size, 0) : size;

	return v == FAIL || !n ? -1 : real(fd, data, n);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
			unsigned int flags)
{
	REAL(copy_file_range);
	return judge(CHANGES | GROWS) != GO_ON ? -1 : real(from, from_at, to, to_at, size, flags);
}

/* ---- what is done or is not ------------------------------------------------ */

#define ALL_OR_NOTHING(kind, name, parameters, arguments)                                          \
	int name parameters                                                                        \
	{                                                                                          \
		REAL(name);                                                                        \
		return judge(kind) != GO_ON ? -1 : real arguments;                                 \
	}

int ftruncate64(int fd, off64_t size);
ALL_OR_NOTHING(WHOLE | CHANGES, ftruncate64, (int fd, off64_t size), (fd, size))
int fallocate64(int fd, int mode, off64_t from, off64_t size);
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, fallocate64, (int fd, int mode, off64_t from, off64_t size),
	       (fd, mode, from, size))
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, mkdirat, (int dirfd, const char *name, mode_t mode),
	       (dirfd, name, mode))
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, mknodat,
	       (int dirfd, const char *name, mode_t mode, dev_t dev), (dirfd, name, mode, dev))
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, symlinkat,
	       (const char *target, int dirfd, const char *name), (target, dirfd, name))
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, linkat,
	       (int from, const char *a, int to, const char *b, int flags), (from, a, to, b, flags))
/* In the place of something that is there it needs no new entry. */
int renameat(int from, const char *a, int to, const char *b);
int renameat(int from, const char *a, int to, const char *b)
{
	REAL(renameat);
	int kind = WHOLE | CHANGES | (faccessat(to, b, F_OK, AT_SYMLINK_NOFOLLOW) ? GROWS : 0);

	return judge(kind) != GO_ON ? -1 : real(from, a, to, b);
}

/* Nor does an exchange. */
int renameat2(int from, const char *a, int to, const char *b, unsigned int flags);
int renameat2(int from, const char *a, int to, const char *b, unsigned int flags)
{
	REAL(renameat2);
	int kind = WHOLE | CHANGES | (flags & RENAME_EXCHANGE ? 0 : GROWS);

	return judge(kind) != GO_ON ? -1 : real(from, a, to, b, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, fsetxattr,
	       (int fd, const char *name, const void *value, size_t size, int flags),
	       (fd, name, value, size, flags))
int setxattr(const char *path, const char *name, const void *value, size_t size, int flags);
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, setxattr,
	       (const char *path, const char *name, const void *value, size_t size, int flags),
	       (path, name, value, size, flags))
int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags);
ALL_OR_NOTHING(WHOLE | CHANGES | GROWS, lsetxattr,
	       (const char *path, const char *name, const void *value, size_t size, int flags),
	       (path, name, value, size, flags))
ALL_OR_NOTHING(WHOLE | SYNCS, fsync, (int fd), (fd))
ALL_OR_NOTHING(WHOLE | SYNCS, fdatasync, (int fd), (fd))
ALL_OR_NOTHING(WHOLE | SYNCS, syncfs, (int fd), (fd))

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	REAL(fgetxattr);
	return judge(WHOLE | READS) != GO_ON ? -1 : real(fd, name, value, size);
}

ssize_t getxattr(const char *path, const char *name, void *value, size_t size);
ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
	REAL(getxattr);
	return judge(WHOLE | READS) != GO_ON ? -1 : real(path, name, value, size);
}

ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size);
ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	REAL(lgetxattr);
	return judge(WHOLE | READS) != GO_ON ? -1 : real(path, name, value, size);
}

ssize_t readlinkat(int dirfd, const char *name, char *text, size_t size)
{
	REAL(readlinkat);
	return judge(WHOLE | READS) != GO_ON ? -1 : real(dirfd, name, text, size);
}

int fstatat64(int dirfd, const char *name, struct stat64 *st, int flags);
int fstatat64(int dirfd, const char *name, struct stat64 *st, int flags)
{
	REAL(fstatat64);
	return judge(WHOLE | READS) != GO_ON ? -1 : real(dirfd, name, st, flags);
}

static int is_making(int flags)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	static int (*real)(int, const char *, int, ...);
	mode_t mode = 0;
	va_list args;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "openat64");
	if (is_making(flags)) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	if (judge(is_making(flags) ? WHOLE | CHANGES | GROWS : WHOLE | READS) != GO_ON)
		return -1;
	return real(dirfd, path, flags, mode);
}

int __openat64_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags)
{
	return openat64(dirfd, path, flags);
}

struct dirent64 *readdir64(DIR *d)
{
	REAL(readdir64);
	return judge(WHOLE | READS) != GO_ON ? NULL : real(d);
}

/* getdents64, which this C library has no good name for. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_getdents64 && judge(WHOLE | READS) != GO_ON)
		return -1;
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
