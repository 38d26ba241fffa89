/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int add(struct listing *l, const struct dirent *d)
{
	struct entry *bigger;

	if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) {
		l->dots++;
		return 0;
	}
	if (!(l->n & (l->n - 1))) {
		bigger = realloc(l->entries, (l->n ? 2 * l->n : 1) * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		l->entries = bigger;
	}
	memcpy(l->entries[l->n].name, d->d_name, strlen(d->d_name) + 1);
	l->entries[l->n].type = d->d_type;
	l->entries[l->n].ino = d->d_ino;
	l->n++;
	return 0;
}

int listing_read(int fd, struct listing *l)
{
	DIR *dir = NULL;
	struct dirent *d;
	int own = -1;
	int r = 0;

	memset(l, 0, sizeof(*l));
	own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (own < 0)
		return -errno;
	dir = fdopendir(own);
	if (!dir) {
		r = -errno;
		close(own);
		return r;
	}
	for (;;) {
		errno = 0;
		d = readdir(dir);
		if (!d) {
			r = -errno;
			break;
		}
		r = add(l, d);
		if (r)
			break;
	}
	closedir(dir);
	if (r)
		listing_free(l);
	else if (l->n)
		qsort(l->entries, l->n, sizeof(*l->entries), by_name);
	return r;
}

void listing_free(struct listing *l)
{
	free(l->entries);
	memset(l, 0, sizeof(*l));
}
