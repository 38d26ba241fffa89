/* SPDX-License-Identifier: MIT */
/* The files with several names that a copy has met, by their inodes. */
#include "fs/copy_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_BUCKETS = 1024 };

struct copy_link {
	struct copy_link *hash_next;
	dev_t dev;
	ino_t ino;
	bool is_done;
	char *place; /* of the name that was copied; NULL: none could be */
	struct crawl_item *kept;
};

struct copy_links {
	pthread_mutex_t lock;
	struct copy_link **buckets;
	size_t n_buckets, n;
};

int copy_links_new(struct copy_links **out)
{
	struct copy_links *l = calloc(1, sizeof(*l));

	*out = l;
	if (!l)
		return -ENOMEM;
	l->n_buckets = FIRST_BUCKETS;
	l->buckets = calloc(l->n_buckets, sizeof(struct copy_link *));
	(void)pthread_mutex_init(&l->lock, NULL); /* the default kind cannot fail */
	if (l->buckets)
		return 0;
	copy_links_free(l);
	*out = NULL;
	return -ENOMEM;
}

void copy_links_free(struct copy_links *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->buckets && i < l->n_buckets; i++) {
		while (l->buckets[i]) {
			struct copy_link *link = l->buckets[i];

			l->buckets[i] = link->hash_next;
			free(link->place);
			free(link);
		}
	}
	free(l->buckets);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

static size_t bucket_of(const struct copy_links *l, ino_t ino)
{
	return (size_t)(ino * 0x9e3779b97f4a7c15ULL >> 20) & (l->n_buckets - 1);
}

/* Twice as many; without memory the chains grow instead. */
static void widen(struct copy_links *l)
{
	struct copy_link **old = l->buckets;
	size_t n = l->n_buckets;
	struct copy_link **buckets = calloc(2 * n, sizeof(struct copy_link *));

	if (!buckets)
		return;
	l->buckets = buckets;
	l->n_buckets = 2 * n;
	for (size_t i = 0; i < n; i++) {
		while (old[i]) {
			struct copy_link *link = old[i];
			struct copy_link **to = &l->buckets[bucket_of(l, link->ino)];

			old[i] = link->hash_next;
			link->hash_next = *to;
			*to = link;
		}
	}
	free(old);
}

/* With the lock held; NULL without memory. */
static struct copy_link *find_or_add(struct copy_links *l, const struct stat *st, bool *is_new)
{
	struct copy_link *link = l->buckets[bucket_of(l, st->st_ino)];

	while (link && (link->ino != st->st_ino || link->dev != st->st_dev))
		link = link->hash_next;
	*is_new = !link;
	if (link)
		return link;
	if (l->n >= 2 * l->n_buckets)
		widen(l);
	link = calloc(1, sizeof(*link));
	if (link) {
		struct copy_link **to = &l->buckets[bucket_of(l, st->st_ino)];

		link->dev = st->st_dev;
		link->ino = st->st_ino;
		link->hash_next = *to;
		*to = link;
		l->n++;
	}
	return link;
}

enum copy_link_state copy_links_take(struct copy_links *l, struct crawl_item *item,
				     struct copy_link **link, const char **place)
{
	enum copy_link_state state = COPY_LINK_FIRST;
	bool is_new;

	(void)pthread_mutex_lock(&l->lock);
	*link = find_or_add(l, &item->from.st, &is_new);
	if (*link && (*link)->is_done) {
		*place = (*link)->place; /* changes no more */
		state = *place ? COPY_LINK_THERE : COPY_LINK_ABSENT;
	} else if (*link && !is_new) {
		item->next = (*link)->kept;
		(*link)->kept = item;
		state = COPY_LINK_KEPT;
	}
	(void)pthread_mutex_unlock(&l->lock);
	return state;
}

struct crawl_item *copy_links_finish(struct copy_links *l, struct copy_link *link, char *place)
{
	struct crawl_item *kept;

	if (!link) {
		free(place);
		return NULL;
	}
	(void)pthread_mutex_lock(&l->lock);
	link->is_done = true;
	link->place = place;
	kept = link->kept;
	link->kept = NULL;
	(void)pthread_mutex_unlock(&l->lock);
	return kept;
}
