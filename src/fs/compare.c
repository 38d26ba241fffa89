/* SPDX-License-Identifier: MIT */
/* Reading and comparing: see compare.h for the contract. */
#include "fs/compare.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/compare_meta.h"
#include "fs/crawl.h"

enum { LIST_MAX = 65536 }; /* bytes of attribute names and values: the kernel's limit */

struct compare {
	struct compare_rules rules;
	pthread_mutex_t telling;
};

static bool is_stopped(const struct compare *c)
{
	return c->rules.stop && atomic_load(c->rules.stop);
}

/* ---- telling ------------------------------------------------------------- */

/* What is in f, but for the path. */
static void tell(struct compare *c, const struct crawl_dir *dir, const char *name,
		 struct compare_finding f)
{
	char path[4096];

	crawl_path(dir, name, path, sizeof(path));
	f.path = path;
	(void)pthread_mutex_lock(&c->telling);
	c->rules.found(c->rules.arg, &f);
	(void)pthread_mutex_unlock(&c->telling);
}

static void tell_kind(struct compare *c, const struct crawl_dir *dir, const char *name,
		      enum compare_kind kind)
{
	tell(c, dir, name, (struct compare_finding){ .kind = kind });
}

/* Something could not be read. */
static void tell_error(struct compare *c, const struct crawl_dir *dir, const char *name, int error)
{
	tell(c, dir, name,
	     (struct compare_finding){ .kind = error == -EBADMSG ? COMPARE_DAMAGED
								 : COMPARE_TROUBLE,
				       .error = error });
}

/* In the other side: what is not there is missing. */
static void tell_other(struct compare *c, const struct crawl_dir *dir, const char *name, int error)
{
	if (error == -ENOENT)
		tell_kind(c, dir, name, COMPARE_MISSING);
	else
		tell(c, dir, name,
		     (struct compare_finding){
			     .kind = COMPARE_TROUBLE, .is_other = true, .error = error });
}

/* ---- attributes ------------------------------------------------------------------ */

static void read_attributes(struct compare *c, struct crawl_hand *h, const struct crawl_dir *dir,
			    const char *name, const struct side_node *node)
{
	char *list = malloc(2 * LIST_MAX);
	char *value = list + LIST_MAX;
	ssize_t size;

	if (!list) {
		tell_error(c, dir, name, -ENOMEM);
		return;
	}
	size = side_listxattr(&h->from, node, list, LIST_MAX);
	if (size < 0 && size != -EOPNOTSUPP)
		tell_error(c, dir, name, (int)size);
	for (const char *n = list; n < list + (size < 0 ? 0 : size); n += strlen(n) + 1) {
		ssize_t got = side_getxattr(&h->from, node, n, value, LIST_MAX);

		if (got < 0 && got != -ENODATA)
			tell(c, dir, name,
			     (struct compare_finding){ .kind = got == -EBADMSG ? COMPARE_DAMAGED
									       : COMPARE_TROUBLE,
						       .attribute = n,
						       .error = (int)got });
	}
	free(list);
}

/* Of what a difference in metadata is. */
struct thing {
	struct compare *compare;
	const struct crawl_dir *dir;
	const char *name;
};

static void tell_difference(void *arg, enum compare_kind kind, const char *attribute)
{
	const struct thing *t = arg;

	tell(t->compare, t->dir, t->name,
	     (struct compare_finding){ .kind = kind, .attribute = attribute });
}

static void compare_metadata(struct compare *c, struct crawl_hand *h, const struct thing *t,
			     const struct side_node *node, const struct side_node *other)
{
	const struct compare_meta told = { tell_difference, (void *)(uintptr_t)t };
	int r = c->rules.metadata ? compare_meta(h, node, other, &told) : 0;

	if (r)
		tell_error(c, t->dir, t->name, r);
}

/* ---- content --------------------------------------------------------------------- */

/* The first byte in which they differ; there is one. */
static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t size)
{
	size_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* Compare what was read at offset with the other file: whether to go on. */
static bool compare_piece(struct compare *c, struct crawl_hand *h, struct crawl_item *item,
			  struct side_node *other, uint64_t offset, const void *data, size_t size)
{
	const void *data_there;
	size_t there = 0;
	int r = side_read(&h->to, other, offset, size, side_buffer(&h->to), &data_there, &there);

	if (r) {
		tell_other(c, item->dir, item->name, r);
		return false;
	}
	if (there < size) {
		tell_kind(c, item->dir, item->name, COMPARE_SIZE);
		return false;
	}
	if (memcmp(data, data_there, size) == 0)
		return true;
	tell(c, item->dir, item->name,
	     (struct compare_finding){ .kind = COMPARE_CONTENT,
				       .offset = offset +
						 first_difference(data, data_there, size) });
	return false;
}

/* All of a file, which is open, and of the other, or NULL; holes are read if there is one. */
static void read_content(struct compare *c, struct crawl_hand *h, struct crawl_item *item,
			 struct side_node *other)
{
	uint64_t size = (uint64_t)item->from.st.st_size;
	uint64_t offset = 0;

	while (offset < size && !is_stopped(c)) {
		const void *data;
		size_t done = 0;
		int r = 0;

		if (!other && side_seek(&h->from, &item->from, offset, false, &offset) == -ENXIO)
			break;
		r = side_read(&h->from, &item->from, offset, SIDE_MAX_SIZE, NULL, &data, &done);
		if (r) {
			tell(c, item->dir, item->name,
			     (struct compare_finding){ .kind = r == -EBADMSG ? COMPARE_DAMAGED
									     : COMPARE_TROUBLE,
						       .has_offset = true,
						       .offset = offset,
						       .error = r });
			return;
		}
		if (!done)
			break;
		atomic_fetch_add(&c->rules.counts->bytes, done);
		if (other && !compare_piece(c, h, item, other, offset, data, done))
			return;
		offset += done;
	}
}

static void read_file(struct compare *c, struct crawl_hand *h, struct crawl_item *item,
		      struct side_node *other)
{
	int r = side_open(&h->from, &item->from);

	atomic_fetch_add(&c->rules.counts->files, 1);
	if (r) {
		tell_error(c, item->dir, item->name, r);
		return;
	}
	if (other && item->from.st.st_size != other->st.st_size) {
		tell_kind(c, item->dir, item->name, COMPARE_SIZE);
		other = NULL;
	}
	r = other ? side_open(&h->to, other) : 0;
	if (r) {
		tell_other(c, item->dir, item->name, r);
		other = NULL;
	}
	read_content(c, h, item, other);
	read_attributes(c, h, item->dir, item->name, &item->from);
}

static void read_link(struct compare *c, struct crawl_hand *h, struct crawl_item *item,
		      const struct side_node *other)
{
	char target[SIDE_TARGET_MAX];
	char there[SIDE_TARGET_MAX];
	int r = side_readlink(&h->from, &item->from, target);

	if (r)
		tell_error(c, item->dir, item->name, r);
	if (r || !other)
		return;
	r = side_readlink(&h->to, other, there);
	if (r)
		tell_other(c, item->dir, item->name, r);
	else if (strcmp(target, there) != 0)
		tell_kind(c, item->dir, item->name, COMPARE_TARGET);
}

/* ---- what crawl finds -------------------------------------------------------------- */

static bool is_held(const struct side_node *node)
{
	return node->node || node->fd >= 0;
}

/* What is in the other side: true if it can be compared. */
static bool find_other(struct compare *c, struct crawl_hand *h, struct crawl_item *item,
		       struct side_node *other)
{
	int r;

	if (!c->rules.other || !is_held(&item->dir->to))
		return false;
	r = side_find(&h->to, &item->dir->to, item->name, other);
	if (r) {
		tell_other(c, item->dir, item->name, r);
		return false;
	}
	if ((other->st.st_mode & S_IFMT) == (item->from.st.st_mode & S_IFMT))
		return true;
	tell_kind(c, item->dir, item->name, COMPARE_TYPE);
	side_drop(&h->to, other);
	return false;
}

static bool visit(void *arg, struct crawl_hand *h, struct crawl_item *item)
{
	struct compare *c = arg;
	struct side_node node;
	struct side_node *other = find_other(c, h, item, &node) ? &node : NULL;
	const struct thing thing = { c, item->dir, item->name };

	if (other)
		compare_metadata(c, h, &thing, &item->from, other);
	if (S_ISREG(item->from.st.st_mode)) {
		read_file(c, h, item, other);
	} else {
		atomic_fetch_add(&c->rules.counts->others, 1);
		if (S_ISLNK(item->from.st.st_mode))
			read_link(c, h, item, other);
		else if (other && item->from.st.st_rdev != other->st.st_rdev)
			tell_kind(c, item->dir, item->name, COMPARE_TYPE);
	}
	if (other)
		side_drop(&h->to, other);
	return false;
}

/* Names that only the other directory has; both lists are in order. */
static void find_extra(struct compare *c, struct crawl_hand *h, const struct crawl_dir *dir)
{
	struct side_name *ours = NULL;
	struct side_name *theirs = NULL;
	size_t n = 0;
	size_t n_theirs = 0;
	size_t i = 0;
	int r = side_list(&h->to, &dir->to, &theirs, &n_theirs);

	if (r)
		tell_other(c, dir, NULL, r);
	else if (side_list(&h->from, &dir->from, &ours, &n)) /* who goes through it says why */
		n_theirs = 0;
	for (size_t j = 0; !r && j < n_theirs; j++) {
		while (i < n && strcmp(ours[i].text, theirs[j].text) < 0)
			i++;
		if (i == n || strcmp(ours[i].text, theirs[j].text) != 0)
			tell_kind(c, dir, theirs[j].text, COMPARE_EXTRA);
	}
	side_names_free(ours, n);
	side_names_free(theirs, n_theirs);
}

/* The other directory, unless there is none to compare with. */
static int enter_other(struct crawl_hand *h, struct crawl_dir *dir)
{
	if (dir->is_above)
		return side_find_path(&h->to, dir->place, &dir->to);
	if (!*dir->name)
		return side_find_path(&h->to, "", &dir->to);
	return is_held(&dir->parent->to) ? side_find(&h->to, &dir->parent->to, dir->name, &dir->to)
					 : 0;
}

static bool enter(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	struct compare *c = arg;
	const struct thing thing = { c, dir, NULL };
	int r = c->rules.other ? enter_other(h, dir) : 0;

	if (r)
		tell_other(c, dir, NULL, r);
	else if (is_held(&dir->to) && !S_ISDIR(dir->to.st.st_mode))
		tell_kind(c, dir, NULL, COMPARE_TYPE);
	if (is_held(&dir->to) && !S_ISDIR(dir->to.st.st_mode))
		side_drop(&h->to, &dir->to);
	if (dir->is_above)
		return true;
	atomic_fetch_add(&c->rules.counts->directories, 1);
	read_attributes(c, h, dir, NULL, &dir->from);
	if (!is_held(&dir->to))
		return true;
	compare_metadata(c, h, &thing, &dir->from, &dir->to);
	find_extra(c, h, dir);
	return true;
}

static bool wants(void *arg, const struct crawl_dir *dir, const char *name,
		  const struct side_node *node)
{
	(void)arg;
	(void)dir;
	(void)name;
	(void)node;
	return true;
}

static void leave(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	(void)arg;
	(void)h;
	(void)dir;
}

static void failed(void *arg, const struct crawl_dir *dir, const char *name, int error)
{
	tell_error(arg, dir, name, error);
}

int compare_run(const struct compare_rules *rules, const char *path, const char *place)
{
	static const struct crawl_visitor visitor = {
		.wants = wants, .enter = enter, .visit = visit, .leave = leave, .failed = failed
	};
	struct compare c = { .rules = *rules };
	const struct crawl_spec spec = { .from = rules->side,
					 .to = rules->other,
					 .n_hands = rules->n_hands,
					 .stop = rules->stop,
					 .visitor = &visitor,
					 .arg = &c };
	struct crawl *crawl;
	int r = crawl_new(&spec, &crawl);

	if (r)
		return r;
	(void)pthread_mutex_init(&c.telling, NULL); /* the default kind cannot fail */
	r = crawl_add(crawl, path, place);
	crawl_free(crawl);
	(void)pthread_mutex_destroy(&c.telling);
	return r;
}
