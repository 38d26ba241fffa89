/* SPDX-License-Identifier: MIT */
/* A file's tag pages, direct-mapped by group: see tags.h. */
#include "fs/tags.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdio.h"

/* Only counted, for whoever is curious. */
static atomic_ulong n_hits, n_misses;

enum { FIRST_CAPACITY = 8 }; /* more than one request's groups: no thrashing */

struct page {
	uint64_t group;
	uint8_t entries[FORMAT_GROUP_BLOCKS * FORMAT_ENTRY_SIZE];
};

struct tags {
	pthread_mutex_t lock;
	struct page **pages;
	size_t capacity; /* a power of two, or 0 */
};

struct tags *tags_new(void)
{
	struct tags *t = calloc(1, sizeof(*t));

	if (t && pthread_mutex_init(&t->lock, NULL)) {
		free(t);
		t = NULL;
	}
	return t;
}

static void drop(struct tags *t)
{
	for (size_t i = 0; i < t->capacity; i++)
		free(t->pages[i]);
	free(t->pages);
	t->pages = NULL;
	t->capacity = 0;
}

void tags_free(struct tags *t)
{
	if (!t)
		return;
	drop(t);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void tags_drop(struct tags *t)
{
	pthread_mutex_lock(&t->lock);
	drop(t);
	pthread_mutex_unlock(&t->lock);
}

/* Make room for group without collisions among lower ones, up to the limit. */
static void grow(struct tags *t, uint64_t group)
{
	size_t capacity = t->capacity ? t->capacity : FIRST_CAPACITY;
	struct page **pages;

	while (capacity <= group && capacity < TAGS_MAX_PAGES)
		capacity *= 2;
	if (capacity == t->capacity)
		return;
	pages = calloc(capacity, sizeof(struct page *));
	if (!pages)
		return; /* the cache stays as it is */
	for (size_t i = 0; i < t->capacity; i++)
		if (t->pages[i])
			pages[t->pages[i]->group & (capacity - 1)] = t->pages[i];
	free(t->pages);
	t->pages = pages;
	t->capacity = capacity;
}

static struct page *find(const struct tags *t, uint64_t group)
{
	struct page *page;

	if (!t->capacity)
		return NULL;
	page = t->pages[group & (t->capacity - 1)];
	return page && page->group == group ? page : NULL;
}

/* A page to be filled for group; NULL without memory: then it is not cached. */
static struct page *claim(struct tags *t, uint64_t group)
{
	struct page **place;

	grow(t, group);
	if (!t->capacity)
		return NULL;
	place = &t->pages[group & (t->capacity - 1)];
	if (!*place)
		*place = malloc(sizeof(**place));
	if (*place)
		(*place)->group = group;
	return *place;
}

static size_t group_size(uint64_t group)
{
	return (size_t)format_group_blocks(group) * FORMAT_ENTRY_SIZE;
}

void tags_count(uint64_t *hits, uint64_t *misses)
{
	*hits = atomic_load_explicit(&n_hits, memory_order_relaxed);
	*misses = atomic_load_explicit(&n_misses, memory_order_relaxed);
}

void tags_fill(struct tags *t, uint64_t group, const uint8_t *entries)
{
	struct page *page;

	pthread_mutex_lock(&t->lock);
	page = claim(t, group);
	if (page)
		memcpy(page->entries, entries, group_size(group));
	pthread_mutex_unlock(&t->lock);
}

/* Copy n entries from block index of one group. */
static int read_group(struct tags *t, int fd, uint64_t index, uint32_t n, uint8_t *entries)
{
	uint64_t group = format_group(index);
	size_t at = (size_t)(index - format_group_first(group)) * FORMAT_ENTRY_SIZE;
	uint8_t raw[FORMAT_GROUP_BLOCKS * FORMAT_ENTRY_SIZE] = { 0 };
	struct page *page;
	ssize_t got;

	pthread_mutex_lock(&t->lock);
	page = find(t, group);
	if (page)
		memcpy(entries, page->entries + at, (size_t)n * FORMAT_ENTRY_SIZE);
	pthread_mutex_unlock(&t->lock);
	atomic_fetch_add_explicit(page ? &n_hits : &n_misses, 1, memory_order_relaxed);
	if (page)
		return 0;

	got = fdio_pread_some(fd, raw, group_size(group),
			      (off_t)format_entry_offset(format_group_first(group)));
	if (got < 0)
		return (int)got;
	memcpy(entries, raw + at, (size_t)n * FORMAT_ENTRY_SIZE);
	tags_fill(t, group, raw);
	return 0;
}

/* How many of n blocks from index on are in the group of index. */
static uint32_t in_group(uint64_t index, uint32_t n)
{
	uint64_t group = format_group(index);
	uint64_t left = format_group_first(group) + format_group_blocks(group) - index;

	return left < n ? (uint32_t)left : n;
}

int tags_read(struct tags *t, int fd, uint64_t first, uint32_t n, uint8_t *entries)
{
	while (n) {
		uint32_t step = in_group(first, n);
		int r = read_group(t, fd, first, step, entries);

		if (r)
			return r;
		first += step;
		n -= step;
		entries += (size_t)step * FORMAT_ENTRY_SIZE;
	}
	return 0;
}

void tags_store(struct tags *t, uint64_t first, uint32_t n, const uint8_t *entries)
{
	pthread_mutex_lock(&t->lock);
	while (n) {
		uint32_t step = in_group(first, n);
		uint64_t group = format_group(first);
		struct page *page = find(t, group);

		/* A whole group is known without asking the disk. */
		if (!page && step == format_group_blocks(group))
			page = claim(t, group);
		if (page)
			memcpy(page->entries + (size_t)(first - format_group_first(group)) *
						       FORMAT_ENTRY_SIZE,
			       entries, (size_t)step * FORMAT_ENTRY_SIZE);
		first += step;
		n -= step;
		entries += (size_t)step * FORMAT_ENTRY_SIZE;
	}
	pthread_mutex_unlock(&t->lock);
}
