/* SPDX-License-Identifier: MIT */
/* User attributes and ACLs: see attrs.h for the contract. */
#include "fs/attrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fs/tree.h"

enum { VALUE_MAX = 65536 }; /* bytes of a value, or of all names: the kernel's limit */

/* Another filesystem has no such thing: nothing was lost that it could have. */
static int answer(int error)
{
	return error == EOPNOTSUPP ? 0 : -error;
}

static int copy_one(int from, int to, const char *name, char value[VALUE_MAX])
{
	ssize_t n = fgetxattr(from, name, value, VALUE_MAX);

	if (n < 0)
		return errno == ENODATA ? 0 : answer(errno); /* it went away meanwhile */
	return fsetxattr(to, name, value, (size_t)n, 0) ? answer(errno) : 0;
}

int attrs_copy_user(int from, int to)
{
	char *names = NULL;
	int result = 0;
	ssize_t size = flistxattr(from, NULL, 0);

	if (size <= 0)
		return size ? answer(errno) : 0;
	names = malloc(2 * (size_t)VALUE_MAX);
	if (!names)
		return -ENOMEM;
	size = flistxattr(from, names, VALUE_MAX);
	if (size < 0)
		result = answer(errno);
	for (const char *n = names; n < names + size; n += strlen(n) + 1) {
		int r = strncmp(n, "user.", 5) ? 0 : copy_one(from, to, n, names + VALUE_MAX);

		if (r)
			result = r;
	}
	free(names);
	return result;
}

/* One of the two lists, or none: 0, ATTRS_NO_ACL or -errno. */
static int copy_list(int from, int to, const char *name)
{
	char *value = NULL;
	ssize_t n = fgetxattr(from, name, NULL, 0);
	int r = 0;

	if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return -errno;
	if (n < 0)
		return fremovexattr(to, name) && errno != ENODATA && errno != EOPNOTSUPP ? -errno
											 : 0;
	value = malloc(VALUE_MAX);
	if (!value)
		return -ENOMEM;
	n = fgetxattr(from, name, value, VALUE_MAX);
	if (n < 0)
		r = -errno;
	else if (fsetxattr(to, name, value, (size_t)n, 0))
		r = errno == EOPNOTSUPP ? ATTRS_NO_ACL : -errno;
	free(value);
	return r;
}

int attrs_copy_acl(int from, int to, mode_t *mode)
{
	struct stat st;
	int r = copy_list(from, to, TREE_ACL_ACCESS);

	if (r)
		*mode &= ~(mode_t)S_IRWXG;
	if (!r && fstat(from, &st))
		r = -errno;
	if (!r && S_ISDIR(st.st_mode))
		r = copy_list(from, to, TREE_ACL_DEFAULT);
	return r;
}
