/* SPDX-License-Identifier: MIT */
/* The content of one file, from side to side; holes stay holes. */
#include "fs/copy_internal.h"

#include <errno.h>

/* The data from offset to end: 0, COPY_CHANGED if it is not there any more, or -errno. */
static int copy_data(struct copy *c, struct crawl_hand *h, struct side_node *from,
		     struct side_node *node, const uint64_t range[2], bool *is_source)
{
	uint64_t offset = range[0];
	const void *data;
	size_t done;
	int r = 0;

	while (!r && offset < range[1]) {
		uint64_t left = range[1] - offset;
		size_t size = left < SIDE_MAX_SIZE ? (size_t)left : SIDE_MAX_SIZE;

		if (copy_is_stopped(c))
			return -ECANCELED;
		*is_source = true;
		r = side_read(&h->from, from, offset, size, side_buffer(&h->to), &data, &done);
		if (!r && !done)
			r = COPY_CHANGED;
		if (r)
			break;
		*is_source = false;
		r = side_write(&h->to, node, offset, data, done);
		if (r)
			break;
		offset += done;
		atomic_fetch_add(&c->rules.counts->bytes, done);
		atomic_fetch_add(&c->rules.counts->sized, done);
	}
	return r;
}

/* The next stretch of data from offset on: 0, -ENXIO if there is none, or -errno. */
static int next_data(struct crawl_hand *h, struct side_node *from, uint64_t offset,
		     uint64_t range[2])
{
	uint64_t size = (uint64_t)from->st.st_size;
	int r = 0;

	range[0] = offset;
	range[1] = size;
	if (from->is_dense)
		return 0;
	r = side_seek(&h->from, from, offset, false, &range[0]);
	if (!r)
		r = side_seek(&h->from, from, range[0], true, &range[1]);
	if (r == -ENXIO)
		return r;
	if (r) { /* a filesystem that does not know holes */
		range[0] = offset;
		range[1] = size;
	}
	if (range[1] > size)
		range[1] = size;
	return range[0] < range[1] ? 0 : -ENXIO;
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int copy_content(struct copy *c, struct crawl_hand *h, struct side_node *from,
		 struct side_node *node, bool *is_source)
{
	const struct stat before = from->st;
	uint64_t size = (uint64_t)before.st_size;
	uint64_t range[2];
	uint64_t offset = 0;
	int r = 0;

	while (!r && offset < size) {
		*is_source = true;
		r = next_data(h, from, offset, range);
		if (r == -ENXIO) {
			*is_source = false;
			r = side_set_size(&h->to, node, size);
			range[0] = range[1] = size;
		} else if (!r) {
			r = copy_data(c, h, from, node, range, is_source);
		}
		atomic_fetch_add(&c->rules.counts->sized, range[0] - offset); /* a hole */
		offset = range[1];
	}
	if (r)
		return r;
	*is_source = true;
	r = side_stat(&h->from, from);
	return r ? r : is_unchanged(&before, &from->st) ? 0 : COPY_CHANGED;
}
