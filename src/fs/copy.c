/* SPDX-License-Identifier: MIT */
/*
 * Copying trees: see copy.h for the contract.
 *
 * What takes the place of something gets a name of its own first and is then renamed
 * over it.  Files with several names: the first one that a hand comes to is
 * copied, those that come meanwhile wait for it, and the rest are linked to it.  As the walk
 * is in order, a run that resumes another begins with the name that is there.
 */
#include "fs/copy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODE_NEEDED = 0700 }; /* of a directory, to make something in it */

bool copy_is_stopped(const struct copy *c)
{
	return c->rules.stop && atomic_load(c->rules.stop);
}

void copy_fail(struct copy *c, const struct copy_about *about, int error, bool is_source)
{
	char path[4096];
	const struct copy_failure f = { .path = path, .error = error, .is_source = is_source };

	if (error == -ECANCELED || (copy_is_stopped(c) && error == COPY_LINK_FAILED))
		return;
	crawl_path(about->dir, about->name, path, sizeof(path));
	(void)pthread_mutex_lock(&c->telling);
	atomic_fetch_add(&c->rules.counts->failed, 1);
	if (is_source && error == -EBADMSG)
		atomic_fetch_add(&c->rules.counts->damaged, 1);
	c->rules.failed(c->rules.arg, &f);
	(void)pthread_mutex_unlock(&c->telling);
}

/* ---- what is wanted ------------------------------------------------------ */

/* FNV-1a, as it is simple and the same everywhere: nobody is to be kept from choosing shards. */
static uint64_t hash(const void *bytes, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ULL;
	return h ^ h >> 32;
}

/* All names of one file fall to one shard, by what they have in common. */
uint32_t copy_shard_of(const char *place, const struct stat *st, uint32_t n_shards)
{
	uint64_t ino = st->st_ino;
	uint64_t h = st->st_nlink > 1 ? hash(&ino, sizeof(ino)) : hash(place, strlen(place));

	return (uint32_t)(h % n_shards);
}

static bool wants(void *arg, const struct crawl_dir *dir, const char *name,
		  const struct side_node *node)
{
	struct copy *c = arg;
	const struct copy_rules *rules = &c->rules;
	bool is_dir = S_ISDIR(node->st.st_mode);
	bool yes = true;
	char *place;

	if (is_dir && rules->skip_ino && node->st.st_ino == rules->skip_ino &&
	    node->st.st_dev == rules->skip_dev)
		return false;
	if (!rules->wants && (!rules->n_shards || is_dir))
		return true;
	place = crawl_place(dir, name);
	if (!place)
		return true; /* what comes next says so */
	if (rules->wants && !dir->is_above)
		yes = rules->wants(rules->arg, place, is_dir);
	if (yes && rules->n_shards && !is_dir)
		yes = copy_shard_of(place, &node->st, rules->n_shards) == rules->shard;
	free(place);
	return yes;
}

/* ---- directories --------------------------------------------------------- */

/* Have the directory dir/name, made if need be, by us or by somebody else meanwhile. */
static int have_dir(struct side_hand *h, const struct side_node *dir, const char *name,
		    struct side_node *node)
{
	int r = side_find(h, dir, name, node);

	if (r == -ENOENT)
		r = side_mkdir(h, dir, name, node);
	if (r == -EEXIST)
		r = side_find(h, dir, name, node);
	return r;
}

static int set_mode(struct side_hand *h, const struct side_node *node)
{
	struct stat st = node->st;

	st.st_mode |= MODE_NEEDED;
	return side_set(h, node, &st, TREE_SET_MODE);
}

/* Its own mode keeps its owner out; it comes back when the directory is left. */
static int open_up(const struct copy *c, struct side_hand *h, const struct side_node *node)
{
	bool may = c->privileged || (node->st.st_mode & MODE_NEEDED) == MODE_NEEDED;

	return may ? 0 : set_mode(h, node);
}

/* The import of another shard may have left it, with such a mode: once each. */
static bool is_open_again(const struct copy *c, struct side_hand *h, const struct side_node *dir,
			  uint32_t *tries)
{
	return !c->privileged && (*tries)++ < c->rules.n_shards && !set_mode(h, dir);
}

/* The directory at place, and those above it. */
static int have_path(struct side_hand *h, const char *place, struct side_node *node)
{
	char name[256];
	int r = side_find_path(h, "", node);

	while (!r && *place) {
		struct side_node dir = *node;
		size_t size = strcspn(place, "/");

		*node = (struct side_node)SIDE_NODE_NONE;
		r = size < sizeof(name) ? 0 : -ENAMETOOLONG;
		if (!r) {
			memcpy(name, place, size);
			name[size] = '\0';
			r = have_dir(h, &dir, name, node);
		}
		side_drop(h, &dir);
		if (!r && !S_ISDIR(node->st.st_mode))
			r = -ENOTDIR;
		place += size + (place[size] == '/');
	}
	return r;
}

static int have_its_place(struct copy *c, struct side_hand *h, struct crawl_dir *dir)
{
	uint32_t tries = 0;
	int r;

	if (dir->is_above)
		return have_path(h, dir->place, &dir->to);
	if (!*dir->name)
		return side_find_path(h, "", &dir->to);
	do {
		r = have_dir(h, &dir->parent->to, dir->name, &dir->to);
	} while (r == -EACCES && is_open_again(c, h, &dir->parent->to, &tries));
	return r;
}

static bool enter(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	struct copy *c = arg;
	const struct copy_about about = { dir, NULL };
	int r = have_its_place(c, &h->to, dir);

	if (!r && !S_ISDIR(dir->to.st.st_mode))
		r = -ENOTDIR;
	if (!r)
		r = open_up(c, &h->to, &dir->to);
	if (!r)
		return true;
	copy_fail(c, &about, r, false);
	side_drop(&h->to, &dir->to);
	return false;
}

static bool is_held(const struct side_node *node)
{
	return node->node || node->fd >= 0;
}

static void leave(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	struct copy *c = arg;
	const struct copy_about about = { dir, NULL };
	int r;

	if (dir->is_above || !is_held(&dir->to))
		return;
	r = copy_dress(c, h, &about, &dir->from, &dir->to);
	if (r)
		copy_fail(c, &about, r, false);
}

/* ---- what is there already ------------------------------------------------------- */

enum there {
	THERE_NOTHING,
	THERE_REPLACED, /* it is to be */
	THERE_SAME,
};

static bool has_same_target(struct crawl_hand *h, const struct side_node *a,
			    const struct side_node *b)
{
	char x[SIDE_TARGET_MAX];
	char y[SIDE_TARGET_MAX];

	return !side_readlink(&h->from, a, x) && !side_readlink(&h->to, b, y) && !strcmp(x, y);
}

static bool is_same(struct crawl_hand *h, const struct side_node *from,
		    const struct side_node *there)
{
	const struct stat *a = &from->st;
	const struct stat *b = &there->st;

	if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
		return false;
	if (S_ISREG(a->st_mode))
		return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
	if (S_ISLNK(a->st_mode))
		return has_same_target(h, from, there);
	return a->st_rdev == b->st_rdev;
}

/* What looks the same may be what a run that died had not brought to disk. */
static int look_at_same(struct crawl_hand *h, struct side_node *node, enum there *there)
{
	int r = S_ISREG(node->st.st_mode) ? side_is_suspect(&h->to, node) : 0;

	*there = r ? THERE_REPLACED : THERE_SAME; /* also if it is damaged */
	return r < 0 && r != -EBADMSG ? r : 0;
}

/* 0 and what is there (held only if it is the same), -EEXIST, -EISDIR or another -errno. */
static int look(struct copy *c, struct crawl_hand *h, const struct crawl_item *item,
		enum there *there, struct side_node *node)
{
	int r = side_find(&h->to, &item->dir->to, item->name, node);

	*there = THERE_NOTHING;
	if (r)
		return r == -ENOENT ? 0 : r;
	if (S_ISDIR(node->st.st_mode))
		r = -EISDIR;
	else if (c->rules.resumes && is_same(h, &item->from, node))
		r = look_at_same(h, node, there);
	else if (c->rules.replaces)
		*there = THERE_REPLACED;
	else
		r = -EEXIST;
	if (r || *there != THERE_SAME)
		side_drop(&h->to, node);
	return r;
}

/* ---- making -------------------------------------------------------------- */

/* What failed, for copy_fail. */
struct result {
	int error;
	bool is_source;
};

static struct result make_file(struct copy *c, struct crawl_hand *h, struct crawl_item *item,
			       const char *name)
{
	const struct copy_about about = { item->dir, item->name };
	struct side_node node = SIDE_NODE_NONE;
	bool is_source = true;
	int r = side_open(&h->from, &item->from);

	if (!r) {
		is_source = false;
		r = side_create(&h->to, &item->dir->to, &node);
	}
	if (!r)
		r = copy_content(c, h, &item->from, &node, &is_source);
	if (!r) {
		is_source = false;
		r = copy_dress(c, h, &about, &item->from, &node);
	}
	if (!r)
		r = side_name(&h->to, &item->dir->to, &node, name);
	side_drop(&h->to, &node);
	return (struct result){ r, is_source };
}

static struct result make_symlink(struct crawl_hand *h, struct crawl_item *item, const char *name,
				  struct side_node *node)
{
	char target[SIDE_TARGET_MAX];
	int r = side_readlink(&h->from, &item->from, target);

	if (r)
		return (struct result){ r, true };
	r = side_symlink(&h->to, &item->dir->to, name, target, node);
	return (struct result){ r, false };
}

/* A symlink or special file: made, and dressed. */
static struct result make_other(struct copy *c, struct crawl_hand *h, struct crawl_item *item,
				const char *name)
{
	const struct copy_about about = { item->dir, item->name };
	const struct stat *st = &item->from.st;
	struct side_node node = SIDE_NODE_NONE;
	struct result result = { 0 };

	if (S_ISLNK(st->st_mode))
		result = make_symlink(h, item, name, &node);
	else
		result.error = side_mknod(&h->to, &item->dir->to, name, st->st_mode, st->st_rdev,
					  &node);
	if (!result.error)
		result.error = copy_dress(c, h, &about, &item->from, &node);
	side_drop(&h->to, &node);
	return result;
}

static struct result make_as(struct copy *c, struct crawl_hand *h, struct crawl_item *item,
			     const char *name)
{
	return S_ISREG(item->from.st.st_mode) ? make_file(c, h, item, name)
					      : make_other(c, h, item, name);
}

/* Make it under a name of its own, then take the place of what is there. */
static struct result replace(struct copy *c, struct crawl_hand *h, struct crawl_item *item,
			     struct result (*make)(struct copy *c, struct crawl_hand *h,
						   struct crawl_item *item, const char *name))
{
	char name[NEWFILE_TEMPORARY_SIZE];
	struct result result = { .error = newfile_temporary_name(name) };

	if (!result.error)
		result = make(c, h, item, name);
	if (result.error)
		return result;
	result.error = side_rename(&h->to, &item->dir->to, name, item->name);
	if (result.error)
		(void)side_unlink(&h->to, &item->dir->to, name);
	return result;
}

/* What needs no copying counts as done. */
static void count_size(struct copy *c, const struct crawl_item *item)
{
	if (S_ISREG(item->from.st.st_mode))
		atomic_fetch_add(&c->rules.counts->sized, (uint64_t)item->from.st.st_size);
}

static struct result copy_once(struct copy *c, struct crawl_hand *h, struct crawl_item *item)
{
	const struct copy_about about = { item->dir, item->name };
	struct side_node node;
	struct result result = { 0 };
	enum there there;

	result.error = look(c, h, item, &there, &node);
	if (result.error)
		return result;
	switch (there) {
	case THERE_NOTHING:
		return make_as(c, h, item, item->name);
	case THERE_REPLACED:
		return replace(c, h, item, make_as);
	case THERE_SAME:
		atomic_fetch_add(&c->rules.counts->skipped, 1);
		count_size(c, item);
		/* A file has its name last; others may have been cut off before that. */
		if (!S_ISREG(item->from.st.st_mode))
			result.error = copy_dress(c, h, &about, &item->from, &node);
		side_drop(&h->to, &node);
	}
	return result;
}

static struct result copy_item(struct copy *c, struct crawl_hand *h, struct crawl_item *item)
{
	struct result result;
	uint32_t tries = 0;

	do {
		result = copy_once(c, h, item);
	} while (result.error == -EACCES && !result.is_source &&
		 is_open_again(c, &h->to, &item->dir->to, &tries));
	return result;
}

/* ---- names of one file --------------------------------------------------------- */

/* Another name for what is at place. */
static int make_link(struct crawl_hand *h, const struct crawl_item *item, const char *place,
		     const char *name)
{
	struct side_node first;
	int r = side_find_path(&h->to, place, &first);

	if (r)
		return r;
	r = side_link(&h->to, &first, &item->dir->to, name);
	side_drop(&h->to, &first);
	return r;
}

/* In the place of what is there, unless that is it. */
static int replace_by_link(struct copy *c, struct crawl_hand *h, const struct crawl_item *item,
			   const char *place)
{
	char name[NEWFILE_TEMPORARY_SIZE];
	struct side_node first;
	struct side_node node;
	bool is_it;
	bool may;
	int r = side_find_path(&h->to, place, &first);

	if (r)
		return r;
	r = side_find(&h->to, &item->dir->to, item->name, &node);
	is_it = !r && node.st.st_ino == first.st.st_ino && node.st.st_dev == first.st.st_dev;
	may = c->rules.replaces || (c->rules.resumes && !r && is_same(h, &item->from, &node));
	side_drop(&h->to, &first);
	side_drop(&h->to, &node);
	if (!may)
		return -EEXIST;
	if (is_it) {
		atomic_fetch_add(&c->rules.counts->skipped, 1);
		return 0;
	}
	r = newfile_temporary_name(name);
	if (!r)
		r = make_link(h, item, place, name);
	if (r)
		return r;
	r = side_rename(&h->to, &item->dir->to, name, item->name);
	if (r)
		(void)side_unlink(&h->to, &item->dir->to, name);
	return r;
}

/* place is NULL if the first name was not copied. */
static void link_item(struct copy *c, struct crawl_hand *h, struct crawl_item *item,
		      const char *place)
{
	const struct copy_about about = { item->dir, item->name };
	int r = place ? make_link(h, item, place, item->name) : COPY_LINK_FAILED;

	if (r == -EEXIST)
		r = replace_by_link(c, h, item, place);
	if (r)
		copy_fail(c, &about, r, false);
	else
		atomic_fetch_add(&c->rules.counts->files, 1);
	count_size(c, item);
}

static bool may_be_linked(const struct copy *c, const struct stat *st)
{
	return st->st_nlink > 1 && !(S_ISLNK(st->st_mode) && side_is_vault(c->rules.to));
}

/* The first name of several is copied, or not (with NULL): now the others. */
static void finish_link(struct copy *c, struct crawl_hand *h, struct copy_link *link, char *place)
{
	struct crawl_item *item = copy_links_finish(c->links, link, place);

	while (item) {
		struct crawl_item *next = item->next;

		link_item(c, h, item, place);
		crawl_done(c->crawl, h, item);
		item = next;
	}
}

static bool visit(void *arg, struct crawl_hand *h, struct crawl_item *item)
{
	struct copy *c = arg;
	const struct copy_about about = { item->dir, item->name };
	enum copy_link_state state = COPY_LINK_FIRST;
	struct copy_link *link = NULL;
	const char *place = NULL;
	struct result result;

	if (may_be_linked(c, &item->from.st))
		state = copy_links_take(c->links, item, &link, &place);
	if (state == COPY_LINK_KEPT)
		return true;
	if (state != COPY_LINK_FIRST) {
		link_item(c, h, item, place);
		return false;
	}
	result = copy_item(c, h, item);
	if (result.error)
		copy_fail(c, &about, result.error, result.is_source);
	else
		atomic_fetch_add(&c->rules.counts->files, 1);
	if (link)
		finish_link(c, h, link, result.error ? NULL : crawl_place(item->dir, item->name));
	return false;
}

static void not_found(void *arg, const struct crawl_dir *dir, const char *name, int error)
{
	const struct copy_about about = { dir, name };

	copy_fail(arg, &about, error, true);
}

/* ---- how much there is ------------------------------------------------------------ */

struct survey {
	struct copy copy; /* for `wants` */
	_Atomic uint64_t *total;
};

static bool survey_wants(void *arg, const struct crawl_dir *dir, const char *name,
			 const struct side_node *node)
{
	struct survey *s = arg;

	return wants(&s->copy, dir, name, node);
}

static bool survey_enter(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	(void)arg;
	(void)h;
	(void)dir;
	return true;
}

static bool survey_visit(void *arg, struct crawl_hand *h, struct crawl_item *item)
{
	struct survey *s = arg;

	(void)h;
	if (S_ISREG(item->from.st.st_mode))
		atomic_fetch_add(s->total, (uint64_t)item->from.st.st_size);
	return false;
}

static void survey_leave(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	(void)arg;
	(void)h;
	(void)dir;
}

/* Whoever copies it will say so. */
static void survey_failed(void *arg, const struct crawl_dir *dir, const char *name, int error)
{
	(void)arg;
	(void)dir;
	(void)name;
	(void)error;
}

void copy_survey(const struct copy_rules *rules, const char *path, const char *place,
		 _Atomic uint64_t *total)
{
	static const struct crawl_visitor looks = { .wants = survey_wants,
						    .enter = survey_enter,
						    .visit = survey_visit,
						    .leave = survey_leave,
						    .failed = survey_failed };
	struct survey s = { .copy = { .rules = *rules }, .total = total };
	const struct crawl_spec spec = {
		.from = rules->from, .n_hands = 1, .stop = rules->stop, .visitor = &looks, .arg = &s
	};
	struct crawl *crawl;

	if (crawl_new(&spec, &crawl))
		return;
	(void)crawl_add(crawl, path, place);
	crawl_free(crawl);
}

/* ---- beginning and end ------------------------------------------------- */

static const struct crawl_visitor visitor = {
	.wants = wants,
	.enter = enter,
	.visit = visit,
	.leave = leave,
	.failed = not_found,
};

int copy_new(const struct copy_rules *rules, struct copy **out)
{
	struct copy *c = calloc(1, sizeof(*c));
	const struct crawl_spec spec = { .from = rules->from,
					 .to = rules->to,
					 .n_hands = rules->n_hands,
					 .stop = rules->stop,
					 .visitor = &visitor,
					 .arg = c };
	int r;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->rules = *rules;
	c->privileged = geteuid() == 0;
	(void)pthread_mutex_init(&c->telling, NULL); /* the default kind cannot fail */
	r = copy_links_new(&c->links);
	if (!r)
		r = crawl_new(&spec, &c->crawl);
	if (r) {
		copy_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void copy_add(struct copy *c, const char *path, const char *place)
{
	struct crawl_dir top = { .path = (char *)(uintptr_t)path }; /* not written to */
	const struct copy_about about = { &top, NULL };
	int r = copy_is_stopped(c) ? 0 : crawl_add(c->crawl, path, place);

	if (r)
		copy_fail(c, &about, r, true);
}

void copy_free(struct copy *c)
{
	if (!c)
		return;
	crawl_free(c->crawl);
	copy_links_free(c->links);
	(void)pthread_mutex_destroy(&c->telling);
	free(c);
}
