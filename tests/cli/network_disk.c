/* SPDX-License-Identifier: MIT */
/*
 * Loaded before the C library, every filesystem is like some network filesystems: no files without
 * a name, and no rename that leaves alone what is there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

int openat(int dirfd, const char *path, int flags, ...)
{
	static int (*next)(int, const char *, int, ...);
	mode_t mode;
	va_list args;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "openat64");
	va_start(args, flags);
	mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return next(dirfd, path, flags, mode);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned int flags)
{
	if (flags) {
		errno = EINVAL;
		return -1;
	}
	return renameat(from, old, to, new);
}
