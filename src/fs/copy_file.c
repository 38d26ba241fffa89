/* SPDX-License-Identifier: MIT */
/* The content of one file, from side to side; holes stay holes. */
#include "fs/copy_internal.h"

#include <errno.h>

/*
 * A stretch of data on its way: each hand reads the next piece of it, and they write in turn, as
 * the file must grow from its beginning.
 */
struct stretch {
	struct copy *copy;
	struct side_node *from;
	struct side_node *node;
	uint64_t end;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t turned;
	uint64_t read;	  /* pieces up to here were taken by somebody */
	uint64_t written; /* and those up to here are done */
	int error;
	bool is_source; /* of the error */
};

static size_t piece_at(const struct stretch *s, uint64_t offset)
{
	uint64_t left = s->end - offset;

	return left < SIDE_MAX_SIZE ? (size_t)left : SIDE_MAX_SIZE;
}

/* Take the next piece: false if there is none, or it failed. */
static bool take_piece(struct stretch *s, uint64_t *offset)
{
	bool yes;

	(void)pthread_mutex_lock(&s->lock);
	if (!s->error && copy_is_stopped(s->copy))
		s->error = -ECANCELED;
	yes = !s->error && s->read < s->end;
	*offset = s->read;
	if (yes)
		s->read += piece_at(s, s->read);
	(void)pthread_mutex_unlock(&s->lock);
	return yes;
}

/* Until all before it is written: true unless that failed. */
static bool wait_for_turn(struct stretch *s, uint64_t offset)
{
	bool yes;

	(void)pthread_mutex_lock(&s->lock);
	while (s->written != offset && !s->error)
		(void)pthread_cond_wait(&s->turned, &s->lock);
	yes = !s->error;
	(void)pthread_mutex_unlock(&s->lock);
	return yes;
}

static void end_turn(struct stretch *s, uint64_t offset, int error, bool is_source)
{
	(void)pthread_mutex_lock(&s->lock);
	if (!error) {
		s->written = offset + piece_at(s, offset);
	} else if (!s->error) {
		s->error = error;
		s->is_source = is_source;
	}
	(void)pthread_cond_broadcast(&s->turned);
	(void)pthread_mutex_unlock(&s->lock);
}

/* What is shorter than it was does not come back whole: COPY_CHANGED. */
static int read_piece(struct stretch *s, struct crawl_hand *h, uint64_t offset, const void **data)
{
	size_t size = piece_at(s, offset);
	size_t done;
	int r = side_read(&h->from, s->from, offset, size, side_buffer(&h->to), data, &done);

	return r ? r : done == size ? 0 : COPY_CHANGED;
}

static void copy_pieces(void *arg, struct crawl_hand *h)
{
	struct stretch *s = arg;
	struct copy_counts *counts = s->copy->rules.counts;
	const void *data;
	uint64_t offset;

	while (take_piece(s, &offset)) {
		size_t size = piece_at(s, offset);
		int r = read_piece(s, h, offset, &data);
		bool is_source = r != 0;

		if (!r && !wait_for_turn(s, offset))
			return;
		if (!r)
			r = side_write(&h->to, s->node, offset, data, size);
		if (!r) {
			atomic_fetch_add(&counts->bytes, size);
			atomic_fetch_add(&counts->sized, size);
		}
		end_turn(s, offset, r, is_source);
	}
}

/* The data of a range: 0, COPY_CHANGED if it is not there any more, or -errno. */
static int copy_data(struct copy *c, struct crawl_hand *h, struct side_node *from,
		     struct side_node *node, const uint64_t range[2], bool *is_source)
{
	struct stretch s = { .copy = c,
			     .from = from,
			     .node = node,
			     .end = range[1],
			     .read = range[0],
			     .written = range[0] };
	struct crawl_errand errand = { .help = copy_pieces, .arg = &s };
	bool is_long = range[1] - range[0] > SIDE_MAX_SIZE;

	(void)pthread_mutex_init(&s.lock, NULL); /* the default kind cannot fail */
	(void)pthread_cond_init(&s.turned, NULL);
	if (is_long)
		crawl_offer(c->crawl, &errand);
	copy_pieces(&s, h);
	if (is_long)
		crawl_withdraw(c->crawl, &errand);
	(void)pthread_cond_destroy(&s.turned);
	(void)pthread_mutex_destroy(&s.lock);
	*is_source = s.is_source;
	return s.error;
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
