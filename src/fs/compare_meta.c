/* SPDX-License-Identifier: MIT */
/* Metadata of two things: see compare_meta.h for the contract. */
#include "fs/compare_meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/copy.h"

enum { LIST_MAX = 65536 }; /* bytes of names, or of a value: the kernel's limit */

/* The attributes of one of the two. */
struct attributes {
	struct side_hand *hand;
	const struct side_node *node;
	ssize_t size;
	char names[LIST_MAX];
	char value[LIST_MAX];
};

static int read_names(struct attributes *a, struct side_hand *hand, const struct side_node *node)
{
	a->hand = hand;
	a->node = node;
	a->size = side_listxattr(hand, node, a->names, LIST_MAX);
	if (a->size == -EOPNOTSUPP)
		a->size = 0;
	return a->size < 0 ? (int)a->size : 0;
}

static bool has(const struct attributes *a, const char *name)
{
	for (const char *n = a->names; n < a->names + a->size; n += strlen(n) + 1)
		if (!strcmp(n, name))
			return true;
	return false;
}

static ssize_t read_value(struct attributes *a, const char *name)
{
	return side_getxattr(a->hand, a->node, name, a->value, LIST_MAX);
}

/* What does not open is told by who reads the vault; here it differs. */
static bool is_same(struct attributes *a, struct attributes *b, const char *name)
{
	ssize_t n = read_value(a, name);

	return n >= 0 && read_value(b, name) == n && !memcmp(a->value, b->value, (size_t)n);
}

static void compare_attributes(struct attributes *a, struct attributes *b,
			       const struct compare_meta *told)
{
	bool privileged = geteuid() == 0;

	for (const char *n = a->names; n < a->names + a->size; n += strlen(n) + 1)
		if (copy_keeps_attribute(n, privileged) && !(has(b, n) && is_same(a, b, n)))
			told->differs(told->arg, COMPARE_ATTRIBUTE, n);
	for (const char *n = b->names; n < b->names + b->size; n += strlen(n) + 1)
		if (copy_keeps_attribute(n, privileged) && !has(a, n))
			told->differs(told->arg, COMPARE_ATTRIBUTE, n);
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && (a->tv_nsec == b->tv_nsec || !a->tv_nsec || !b->tv_nsec);
}

int compare_meta(struct crawl_hand *h, const struct side_node *node, const struct side_node *other,
		 const struct compare_meta *told)
{
	const struct stat *x = &node->st;
	const struct stat *y = &other->st;
	struct attributes *a = NULL;
	struct attributes *b = NULL;
	int r = 0;

	if (x->st_uid != y->st_uid || x->st_gid != y->st_gid)
		told->differs(told->arg, COMPARE_OWNER, NULL);
	if (!S_ISLNK(x->st_mode) && x->st_mode != y->st_mode)
		told->differs(told->arg, COMPARE_MODE, NULL);
	if (!is_same_time(&x->st_mtim, &y->st_mtim))
		told->differs(told->arg, COMPARE_TIME, NULL);
	if (S_ISLNK(x->st_mode) && geteuid() != 0)
		return 0;
	a = malloc(sizeof(*a));
	b = malloc(sizeof(*b));
	if (!a || !b)
		r = -ENOMEM;
	if (!r)
		r = read_names(a, &h->from, node);
	if (!r)
		r = read_names(b, &h->to, other);
	if (!r)
		compare_attributes(a, b, told);
	free(a);
	free(b);
	return r;
}
