/* SPDX-License-Identifier: MIT */
/* Attributes of the user's namespace: names and values. */
#include "fs/check_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/secmem.h"
#include "fs/xattrs.h"

/* Where attributes are looked at, and what for. */
struct look {
	struct check *c;
	int fd;
	struct xattrs_owner owner;
	const struct check_dir *dir;
	const struct check_entry *entry;
	check_attr_copy copy; /* NULL: nobody wants the values */
	void *arg;
};

static void tell(const struct look *l, enum check_kind kind, const char *detail)
{
	const struct check_what what = { .detail = detail };

	if (!l->copy)
		check_tell(l->c, kind, l->dir, l->entry, &what);
}

static void look_at_value(const struct look *l, const char *stored, const char *plain,
			  uint8_t *value)
{
	ssize_t size = fgetxattr(l->fd, stored, value, XATTRS_VALUE_MAX);
	int r;

	if (size < 0) {
		if (errno != ENODATA)
			tell(l, CHECK_XATTR_VALUE, plain);
		return;
	}
	r = xattrs_value_open(l->c->keys, l->c->suite, &l->owner, plain, value, (size_t)size);
	if (r)
		tell(l, CHECK_XATTR_VALUE, plain);
	else if (l->copy)
		l->copy(l->arg, plain, value + XATTRS_OVERHEAD, (size_t)size - XATTRS_OVERHEAD);
}

static void look_at_all(const struct look *l, const char *list, size_t size, uint8_t *value)
{
	char plain[XATTRS_NAME_MAX + 1];

	for (const char *stored = list; stored < list + size; stored += strlen(stored) + 1) {
		int r = xattrs_name_decode(l->c->keys, &l->owner, stored, plain);

		if (!r)
			look_at_value(l, stored, plain, value);
		else if (r != XATTRS_FOREIGN)
			tell(l, CHECK_XATTR_NAME, stored);
	}
}

static void look(const struct look *l)
{
	char *list = NULL;
	uint8_t *value = NULL;
	ssize_t size = flistxattr(l->fd, NULL, 0);

	if (size <= 0)
		return; /* as a rule; or there can be none */
	list = malloc(XATTRS_VALUE_MAX);
	value = malloc(XATTRS_VALUE_MAX);
	if (list && value) {
		size = flistxattr(l->fd, list, XATTRS_VALUE_MAX);
		if (size > 0)
			look_at_all(l, list, (size_t)size, value);
		secmem_wipe(value, XATTRS_VALUE_MAX);
	}
	free(value);
	free(list);
}

void check_attrs(struct check *c, int fd, const uint8_t *id, size_t id_size,
		 const struct check_dir *dir, const struct check_entry *entry)
{
	const struct look l = {
		.c = c, .fd = fd, .owner = { id, id_size }, .dir = dir, .entry = entry
	};

	look(&l);
}

void check_attrs_copy(struct check *c, int fd, const uint8_t *id, size_t id_size,
		      check_attr_copy copy, void *arg)
{
	const struct look l = {
		.c = c, .fd = fd, .owner = { id, id_size }, .copy = copy, .arg = arg
	};

	look(&l);
}
