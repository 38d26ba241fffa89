/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"
#include "fs/node.h"

static struct tempdir dir;
static struct nodes *nodes;
static struct node *root;

enum { MAX_FDS = 2 };

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	assert_int_equal(nodes_new(dir.fd, MAX_FDS, &nodes), 0);
	root = nodes_root(nodes);
	return 0;
}

static void remove_tree(const char *path)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s/*", path);
	assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
	(void)state;
	nodes_free(nodes);
	remove_tree(dir.path);
	tempdir_remove(&dir);
	return 0;
}

/* A backing inode that only the table knows. */
static struct stat inode(ino_t ino, mode_t type)
{
	return (struct stat){ .st_dev = 77, .st_ino = ino, .st_mode = type | 0600 };
}

static struct node *get(ino_t ino, struct node *parent, const char *name, bool kernel)
{
	struct stat st = inode(ino, S_IFREG);
	struct node *node = nodes_get(nodes, &st, parent, name, kernel);

	assert_non_null(node);
	return node;
}

static struct node *get_dir(ino_t ino, struct node *parent, const char *name)
{
	struct stat st = inode(ino, S_IFDIR);
	struct node *node = nodes_get(nodes, &st, parent, name, true);

	assert_non_null(node);
	return node;
}

struct wanted {
	struct stat st;
	bool found;
};

static void compare(void *arg, struct node *node)
{
	struct wanted *w = arg;

	w->found = w->found || (!node->gone && node->ino == w->st.st_ino &&
				node->type == (w->st.st_mode & S_IFMT));
}

/* True if the table knows the inode, wherever that is. */
static bool known(ino_t ino, mode_t type)
{
	struct wanted w = { .st = inode(ino, type) };

	nodes_each(nodes, compare, &w);
	return w.found;
}

static void assert_path(struct node *node, const char *wanted)
{
	char path[256];

	nodes_path(nodes, node, path, sizeof(path));
	assert_string_equal(path, wanted);
}

/* A directory that is really there, under parent. */
static struct node *real_dir(struct node *parent, const char *name)
{
	struct stat st;
	struct node *node;
	int fd;

	assert_int_equal(nodes_dirfd(nodes, parent, &fd), 0);
	assert_int_equal(mkdirat(fd, name, 0700), 0);
	assert_int_equal(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	nodes_dirfd_put(nodes, parent);
	node = nodes_get(nodes, &st, parent, name, true);
	assert_non_null(node);
	return node;
}

/* ---- counts ---------------------------------------------------------------- */

static void an_inode_has_one_node_however_often_it_is_found(void **state)
{
	struct node *node = get(5, root, "a", true);

	(void)state;
	assert_ptr_equal(get(5, root, "a", true), node);
	assert_ptr_equal(get(5, root, "a", false), node);
	assert_ptr_not_equal(get(6, root, "b", true), node);
	nodes_unref(nodes, node);
	nodes_forget(nodes, node, 1);
	assert_true(known(5, S_IFREG));
	nodes_forget(nodes, node, 1);
	assert_false(known(5, S_IFREG));
	assert_true(known(6, S_IFREG));
}

static void a_node_lives_while_the_kernel_or_anybody_here_holds_it(void **state)
{
	struct node *node = get(5, root, "a", true);

	(void)state;
	nodes_ref(nodes, node);
	assert_ptr_equal(get(5, root, "a", true), node);
	nodes_forget(nodes, node, 2);
	assert_true(known(5, S_IFREG));
	nodes_unref(nodes, node);
	assert_false(known(5, S_IFREG));
}

static void forgetting_more_than_was_looked_up_is_forgetting_all(void **state)
{
	struct node *node = get(5, root, "a", true);

	(void)state;
	nodes_ref(nodes, node);
	nodes_forget(nodes, node, UINT64_MAX);
	assert_true(known(5, S_IFREG));
	nodes_unref(nodes, node);
	assert_false(known(5, S_IFREG));
}

static void a_parent_lives_as_long_as_its_children(void **state)
{
	struct node *a = get_dir(10, root, "a");
	struct node *b = get_dir(11, a, "b");
	struct node *c = get(12, b, "c", true);

	(void)state;
	nodes_forget(nodes, a, 1); /* the kernel forgets in any order */
	nodes_forget(nodes, b, 1);
	assert_true(known(10, S_IFDIR));
	assert_true(known(11, S_IFDIR));
	assert_path(c, "a/b/c");
	nodes_forget(nodes, c, 1);
	assert_false(known(10, S_IFDIR));
	assert_false(known(11, S_IFDIR));
	assert_false(known(12, S_IFREG));
}

static void a_deep_chain_goes_with_its_last_child(void **state)
{
	struct node *at = root;
	ino_t ino = 100;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct node *child = get_dir(ino++, at, "d");

		if (at != root)
			nodes_forget(nodes, at, 1);
		at = child;
	}
	assert_true(known(100, S_IFDIR));
	nodes_forget(nodes, at, 1);
	for (ino_t i = 100; i < ino; i++)
		assert_false(known(i, S_IFDIR));
}

static void what_is_held_at_the_end_is_freed_with_the_table(void **state)
{
	struct node *a = get_dir(10, root, "a");

	(void)state; /* the leak checker has the last word */
	for (ino_t i = 20; i < 30; i++)
		(void)get(i, a, "x", true);
	(void)get(20, root, "y", false);
}

static void the_table_finds_everything_when_it_has_grown(void **state)
{
	enum { N = 5000 };
	static struct node *all[N];
	char name[16];

	(void)state;
	for (ino_t i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "%d", (int)i);
		all[i] = get(1000 + i, root, name, true);
	}
	for (ino_t i = 0; i < N; i++) {
		struct stat st = inode(1000 + i, S_IFREG);

		(void)snprintf(name, sizeof(name), "%d", (int)i);
		assert_ptr_equal(nodes_find(nodes, &st, root, name), all[i]);
		nodes_unref(nodes, all[i]);
	}
	for (ino_t i = 0; i < N; i++)
		nodes_forget(nodes, all[i], 1);
	for (ino_t i = 0; i < N; i++)
		assert_false(known(1000 + i, S_IFREG));
}

/* ---- names ----------------------------------------------------------------- */

static void the_name_used_last_is_the_first(void **state)
{
	struct node *a = get_dir(10, root, "a");
	struct node *node = get(5, root, "x", true);

	(void)state;
	assert_path(node, "x");
	nodes_share(nodes, node);
	(void)get(5, a, "y", true);
	assert_path(node, "a/y");
	(void)get(5, root, "x", true);
	assert_path(node, "x");
}

static void a_hard_link_outlives_the_other_names(void **state)
{
	struct node *a = get_dir(10, root, "a");
	struct node *node = get(5, root, "x", true);

	(void)state;
	nodes_share(nodes, node);
	(void)get(5, a, "y", true);
	nodes_unlinked(nodes, node, a, "y", false);
	assert_path(node, "x");
	assert_true(known(5, S_IFREG));
	nodes_forget(nodes, a, 1);
	assert_false(known(10, S_IFDIR)); /* the name in it kept it */
	nodes_unlinked(nodes, node, root, "x", true);
	nodes_forget(nodes, node, 2);
}

/* What is bound to its place was put in the other one by hand. */
static void what_is_not_shared_is_another_node_in_another_place(void **state)
{
	struct stat st = inode(5, S_IFREG);
	struct node *node = get(5, root, "x", true);
	struct node *other;
	struct node *found;

	(void)state;
	assert_null(nodes_find(nodes, &st, root, "y"));
	other = get(5, root, "y", true);
	assert_ptr_not_equal(other, node);
	assert_path(node, "x");
	assert_path(other, "y");
	nodes_unlinked(nodes, other, root, "y", false);
	found = nodes_find(nodes, &st, root, "x");
	assert_ptr_equal(found, node); /* and not the one without a place */
	nodes_unref(nodes, found);
	assert_ptr_equal(nodes_get_shared(nodes, &st, root, "x", true), node);
	assert_ptr_equal(get(5, root, "z", true), node);
	assert_ptr_not_equal(get_dir(10, root, "d"), get_dir(10, root, "e"));
}

static void an_unlinked_node_is_not_found_when_its_inode_is_used_anew(void **state)
{
	struct node *old = get(5, root, "a", true);
	struct location at;
	struct node *new;

	(void)state;
	nodes_unlinked(nodes, old, root, "a", true);
	assert_false(known(5, S_IFREG));
	assert_int_equal(nodes_locate(nodes, old, &at), -ESTALE);
	assert_path(old, "(unlinked)");
	new = get(5, root, "b", true);
	assert_ptr_not_equal(new, old);
	nodes_forget(nodes, old, 1); /* takes nothing of the new one with it */
	assert_true(known(5, S_IFREG));
	assert_path(new, "b");
}

static void an_inode_of_another_type_is_another_node(void **state)
{
	struct node *file = get(5, root, "a", true);
	struct node *d = get_dir(5, root, "a");

	(void)state;
	assert_ptr_not_equal(file, d);
	assert_ptr_equal(get(5, root, "a", true), file);
}

static void unlinking_a_name_that_is_not_known_changes_nothing(void **state)
{
	struct node *node = get(5, root, "a", true);

	(void)state;
	nodes_unlinked(nodes, node, root, "b", false);
	assert_path(node, "a");
	assert_true(known(5, S_IFREG));
}

static void a_renamed_node_is_where_it_went(void **state)
{
	struct node *a = get_dir(10, root, "a");
	struct node *b = get_dir(11, root, "b");
	struct node *node = get(5, a, "x", true);

	(void)state;
	assert_int_equal(nodes_renamed(nodes, node, a, "x", b, "y"), 0);
	assert_path(node, "b/y");
	assert_ptr_equal(get(5, b, "y", true), node);
	nodes_forget(nodes, a, 1);
	assert_false(known(10, S_IFDIR)); /* nothing is in it any more */
	nodes_forget(nodes, b, 1);
	assert_true(known(11, S_IFDIR));
	assert_int_equal(nodes_renamed(nodes, node, b, "y", b, "y"), 0);
	assert_path(node, "b/y");
	assert_int_equal(nodes_renamed(nodes, node, b, "y", root, "z"), 0);
	assert_false(known(11, S_IFDIR));
	assert_path(node, "z");
}

static void a_replaced_node_answers_to_its_new_inode_only(void **state)
{
	struct stat now = inode(6, S_IFREG);
	struct node *node = get(5, root, "a", true);

	(void)state;
	nodes_replaced(nodes, node, &now);
	assert_false(known(5, S_IFREG));
	assert_ptr_equal(get(6, root, "a", true), node);
	nodes_forget(nodes, node, 2);
	assert_false(known(6, S_IFREG));
}

static void a_path_that_is_too_long_is_shortened(void **state)
{
	struct node *a = get_dir(10, root, "0123456789");
	struct node *b = get_dir(11, a, "0123456789");
	struct node *c = get(12, b, "leaf", true);
	char path[256];

	(void)state;
	assert_path(root, "");
	for (size_t size = 8; size < 40; size++) {
		memset(path, 'x', sizeof(path));
		nodes_path(nodes, c, path, size);
		assert_true(strlen(path) < size);
		assert_int_equal(path[size], 'x');
		if (size > 10)
			assert_string_equal(path + strlen(path) - 4, "leaf");
	}
	assert_path(c, "0123456789/0123456789/leaf");
}

/* ---- descriptors ------------------------------------------------------------- */

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* True if fd is the directory of node. */
static bool is_dir_of(int fd, const struct node *node)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_ino == node->ino && st.st_dev == node->dev;
}

static void only_so_many_descriptors_are_kept(void **state)
{
	int before = open_fds();
	struct node *dirs[10];
	int fd;

	(void)state;
	for (int i = 0; i < 10; i++)
		dirs[i] = real_dir(root, (char[]){ (char)('a' + i), 0 });
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 10; i++) {
			assert_int_equal(nodes_dirfd(nodes, dirs[i], &fd), 0);
			assert_true(is_dir_of(fd, dirs[i]));
			nodes_dirfd_put(nodes, dirs[i]);
			assert_true(open_fds() <= before + MAX_FDS);
		}
}

static void a_descriptor_in_use_is_never_closed(void **state)
{
	struct node *dirs[6];
	int fds[6];
	int again;

	(void)state;
	for (int i = 0; i < 6; i++) {
		dirs[i] = real_dir(root, (char[]){ (char)('a' + i), 0 });
		assert_int_equal(nodes_dirfd(nodes, dirs[i], &fds[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		assert_true(is_dir_of(fds[i], dirs[i]));
		assert_int_equal(nodes_dirfd(nodes, dirs[i], &again), 0);
		assert_int_equal(again, fds[i]);
		nodes_dirfd_put(nodes, dirs[i]);
		assert_true(is_dir_of(fds[i], dirs[i]));
	}
	for (int i = 0; i < 6; i++)
		nodes_dirfd_put(nodes, dirs[i]);
}

static void a_descriptor_that_is_used_again_stays(void **state)
{
	struct node *a = real_dir(root, "a");
	struct node *b = real_dir(root, "b");
	struct node *c = real_dir(root, "c");
	int fd;

	(void)state;
	assert_int_equal(nodes_dirfd(nodes, a, &fd), 0);
	nodes_dirfd_put(nodes, a);
	assert_int_equal(nodes_dirfd(nodes, b, &fd), 0);
	nodes_dirfd_put(nodes, b);
	assert_int_equal(nodes_dirfd(nodes, a, &fd), 0);
	nodes_dirfd_put(nodes, a);
	assert_int_equal(nodes_dirfd(nodes, c, &fd), 0);
	nodes_dirfd_put(nodes, c);
	assert_true(a->fd >= 0);
	assert_int_equal(b->fd, -1);
	assert_true(c->fd >= 0);
}

static void many_users_at_once_leave_no_more_than_are_allowed(void **state)
{
	int before = open_fds();
	struct node *dirs[8];
	int fd;

	(void)state;
	for (int i = 0; i < 8; i++) {
		dirs[i] = real_dir(root, (char[]){ (char)('a' + i), 0 });
		assert_int_equal(nodes_dirfd(nodes, dirs[i], &fd), 0);
	}
	for (int i = 0; i < 8; i++)
		nodes_dirfd_put(nodes, dirs[i]);
	assert_true(open_fds() <= before + MAX_FDS);
}

static void forgotten_directories_keep_no_descriptor(void **state)
{
	int before = open_fds();
	struct node *a = real_dir(root, "a");
	struct node *b = real_dir(a, "b");
	int fd;

	(void)state;
	assert_int_equal(nodes_dirfd(nodes, b, &fd), 0);
	assert_true(is_dir_of(fd, b));
	nodes_dirfd_put(nodes, b);
	nodes_forget(nodes, b, 1);
	nodes_forget(nodes, a, 1);
	assert_int_equal(open_fds(), before);
}

static void a_node_is_located_by_its_directory_and_name(void **state)
{
	struct node *a = real_dir(root, "a");
	struct node *b = real_dir(a, "b");
	struct location at;

	(void)state;
	assert_int_equal(nodes_locate(nodes, b, &at), 0);
	assert_ptr_equal(at.parent, a);
	assert_string_equal(at.name, "b");
	assert_true(is_dir_of(at.dirfd, a));
	nodes_forget(nodes, a, 1);
	nodes_forget(nodes, b, 1); /* the location holds its directory */
	assert_true(is_dir_of(at.dirfd, a));
	location_put(nodes, &at);
}

static void something_else_in_a_directorys_place_is_not_entered(void **state)
{
	struct node *a = real_dir(root, "a");
	int fd;

	(void)state;
	assert_int_equal(renameat(dir.fd, "a", dir.fd, "away"), 0);
	assert_int_equal(nodes_dirfd(nodes, a, &fd), -ENOENT);
	assert_int_equal(mkdirat(dir.fd, "a", 0700), 0);
	assert_int_equal(nodes_dirfd(nodes, a, &fd), -ESTALE);
	assert_int_equal(unlinkat(dir.fd, "a", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("away", dir.fd, "a"), 0);
	assert_int_not_equal(nodes_dirfd(nodes, a, &fd), 0);
	assert_int_equal(unlinkat(dir.fd, "a", 0), 0);
	assert_int_equal(renameat(dir.fd, "away", dir.fd, "a"), 0);
	assert_int_equal(nodes_dirfd(nodes, a, &fd), 0);
	nodes_dirfd_put(nodes, a);
}

/* ---- the bound -------------------------------------------------------------- */

enum { CROWD = 1000 };

/* Pick up to n, give them back, and say how many there were. */
static size_t pick(struct node *picked[], size_t n)
{
	size_t found = nodes_pick(nodes, picked, n);

	for (size_t i = 0; i < found; i++)
		nodes_unref(nodes, picked[i]);
	return found;
}

static void only_what_the_kernel_alone_holds_is_picked(void **state)
{
	struct node *parent = get_dir(10, root, "parent");
	struct node *idle = get(20, parent, "idle", true);
	struct node *held = get(21, root, "held", true);
	struct node *ours = get(22, root, "ours", false);
	struct node *gone = get(23, root, "gone", true);
	struct node *leaf = get_dir(11, root, "leaf");
	struct node *picked[8];
	size_t n;

	(void)state;
	nodes_ref(nodes, held);
	nodes_unlinked(nodes, gone, root, "gone", true);
	n = pick(picked, 8);
	/* Nor the root, nor a directory with something in it; and none twice. */
	assert_int_equal(n, 2);
	assert_ptr_not_equal(picked[0], picked[1]);
	for (size_t i = 0; i < n; i++)
		assert_true(picked[i] == idle || picked[i] == leaf);
	nodes_forget(nodes, idle, 1);
	assert_int_equal(pick(picked, 1), 1);
	assert_true(picked[0] == parent || picked[0] == leaf);
	nodes_unref(nodes, ours);
}

static void what_was_asked_for_since_is_spared_once(void **state)
{
	struct node *wanted = get(20, root, "wanted", true);
	struct node *other = get(21, root, "other", true);
	struct node *picked[1];
	struct location at;

	(void)state;
	for (int i = 0; i < 4; i++) {
		if (i % 2) {
			(void)get(20, root, "wanted", true);
		} else {
			assert_int_equal(nodes_locate(nodes, wanted, &at), 0);
			location_put(nodes, &at);
		}
		assert_int_equal(pick(picked, 1), 1);
		assert_ptr_equal(picked[0], other);
	}
	nodes_forget(nodes, other, 1);
	assert_int_equal(pick(picked, 1), 1);
	assert_ptr_equal(picked[0], wanted);
}

static void a_round_of_picks_meets_everything(void **state)
{
	static bool met[CROWD];
	struct node *picked[7];
	char name[16];

	(void)state;
	memset(met, 0, sizeof(met));
	for (ino_t i = 0; i < CROWD; i++) {
		(void)snprintf(name, sizeof(name), "%d", (int)i);
		(void)get(1000 + i, root, name, true);
	}
	for (size_t left = CROWD, n; left; left -= n) {
		n = nodes_pick(nodes, picked, left < 7 ? left : 7);
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++) {
			assert_false(met[picked[i]->ino - 1000]);
			met[picked[i]->ino - 1000] = true;
			nodes_forget(nodes, picked[i], 1);
			nodes_unref(nodes, picked[i]);
		}
	}
	assert_int_equal(nodes_count(nodes), 1);
	assert_int_equal(pick(picked, 7), 0);
}

static void count_call(void *arg)
{
	(*(int *)arg)++;
}

static void more_nodes_than_the_bound_are_told_of(void **state)
{
	int calls = 0;
	struct node *node;

	(void)state;
	nodes_bound(nodes, 3, count_call, &calls);
	(void)get(5, root, "a", true);
	(void)get(6, root, "b", true);
	assert_int_equal(nodes_count(nodes), 3);
	assert_int_equal(calls, 0);
	node = get(7, root, "c", true);
	assert_int_equal(calls, 1);
	(void)get(7, root, "c", true); /* no new one */
	assert_int_equal(calls, 1);
	nodes_forget(nodes, node, 2);
	assert_int_equal(nodes_count(nodes), 3);
	(void)get(8, root, "d", false);
	assert_int_equal(calls, 2);
}

static void a_node_with_several_names_is_found_under_each(void **state)
{
	struct node *a = real_dir(root, "a");
	struct node *node = get(5, root, "x", true);
	struct location at;
	unsigned int seen = 0;

	(void)state;
	nodes_share(nodes, node);
	(void)get(5, a, "y", true);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(nodes_locate_nth(nodes, node, i, &at), 0);
		seen |= at.parent == a && !strcmp(at.name, "y") ? 1 : 0;
		seen |= at.parent == root && !strcmp(at.name, "x") ? 2 : 0;
		location_put(nodes, &at);
	}
	assert_int_equal(seen, 3);
	assert_int_equal(nodes_locate_nth(nodes, node, 2, &at), -ESTALE);
}

/* ---- many threads -------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 3000, DIRS = 5 };

static struct stat dir_stats[DIRS];

/* What lookups, opens and forgets of several clients do to the table. */
static void *client(void *arg)
{
	static char no_node[] = "no node or descriptor";
	static char other_dir[] = "the descriptor of another directory";
	unsigned int random = (unsigned int)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		int which = rand_r(&random) % DIRS;
		struct stat st = inode((ino_t)(500 + rand_r(&random) % 20), S_IFREG);
		struct node *d = nodes_get(nodes, &dir_stats[which], root,
					   (char[]){ (char)('a' + which), 0 }, true);
		struct node *node = d ? nodes_get(nodes, &st, d, "x", i % 2) : NULL;
		char path[64];
		int fd;

		if (!d || !node || nodes_dirfd(nodes, d, &fd))
			return no_node;
		if (!is_dir_of(fd, d))
			return other_dir;
		nodes_forget(nodes, d, 1);
		nodes_path(nodes, node, path, sizeof(path));
		if (i % 2 && nodes_get(nodes, &st, d, "x", true) != node)
			return no_node;
		nodes_dirfd_put(nodes, d);
		if (i % 2)
			nodes_forget(nodes, node, 2);
		else
			nodes_unref(nodes, node);
	}
	return NULL;
}

static atomic_bool clients_ended;

/* What trimming does meanwhile. */
static void *picker(void *arg)
{
	struct node *picked[8];

	while (!atomic_load(&clients_ended))
		(void)pick(picked, 8);
	return arg;
}

/* A symlink whose inode becomes another one, with its lookups coming and going. */
static void *replacer(void *arg)
{
	struct stat now = inode(600, S_IFLNK);
	struct node *link = nodes_get(nodes, &now, root, "link", false);

	for (now.st_ino = 601; link && now.st_ino < 601 + ROUNDS; now.st_ino++) {
		nodes_replaced(nodes, link, &now);
		if (nodes_get(nodes, &now, root, "link", true) != link)
			break;
		nodes_forget(nodes, link, 1);
	}
	if (link)
		nodes_unref(nodes, link);
	return link && now.st_ino == 601 + ROUNDS ? NULL : arg;
}

static void threads_share_the_table(void **state)
{
	static char not_found[] = "a replaced node is not found";
	void *complaint;
	pthread_t picking;
	pthread_t replacing;
	pthread_t threads[THREADS];
	void *complaints[THREADS];
	int before = open_fds();

	(void)state;
	for (int i = 0; i < DIRS; i++) {
		const char name[] = { (char)('a' + i), 0 };

		assert_int_equal(mkdirat(dir.fd, name, 0700), 0);
		assert_int_equal(fstatat(dir.fd, name, &dir_stats[i], 0), 0);
	}
	atomic_store(&clients_ended, false);
	assert_int_equal(pthread_create(&picking, NULL, picker, NULL), 0);
	assert_int_equal(pthread_create(&replacing, NULL, replacer, not_found), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, client, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], &complaints[i]), 0);
	assert_int_equal(pthread_join(replacing, &complaint), 0);
	atomic_store(&clients_ended, true);
	assert_int_equal(pthread_join(picking, NULL), 0);
	assert_null(complaint);
	for (int i = 0; i < THREADS; i++)
		assert_null(complaints[i]);
	/* Everything was given back: nothing is known, nothing is open. */
	for (int i = 0; i < DIRS; i++)
		assert_false(known(dir_stats[i].st_ino, S_IFDIR));
	assert_int_equal(nodes_count(nodes), 1);
	assert_int_equal(open_fds(), before);
}

static void a_new_inode_is_not_the_one_that_had_its_number(void **state)
{
	struct stat st = inode(5, S_IFREG);
	struct node *old = get(5, root, "old", true);
	struct node *made;

	(void)state;
	nodes_made(nodes, &st); /* the old one is unlinked, but not yet forgotten here */
	made = get(5, root, "made", true);
	assert_ptr_not_equal(made, old);
	nodes_unlinked(nodes, old, root, "old", true);
	assert_true(known(5, S_IFREG));
	assert_ptr_equal(get(5, root, "made", true), made);
}

static void a_chain_of_closed_directories_does_not_exhaust_the_stack(void **state)
{
	struct node *bottom = root;
	int fd;

	(void)state;
	for (ino_t i = 0; i < 100000; i++)
		bottom = get_dir(1000 + i, bottom, "below");
	assert_int_equal(nodes_dirfd(nodes, bottom, &fd), -ENAMETOOLONG);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_walk_comes_by_everything_that_stays(void **state)
{
	enum { N = 3000, STEP = 16 };
	static bool seen[N + 1];
	struct node *some[STEP];
	size_t hand = 0;
	size_t n;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (ino_t i = 1; i <= N / 2; i++)
		(void)get(1000 + i, root, "x", true);
	for (ino_t more = N / 2 + 1; (n = nodes_walk(nodes, &hand, some, STEP));) {
		for (size_t i = 0; i < n; i++) {
			if (some[i] != root)
				seen[some[i]->ino - 1000] = true;
			nodes_unref(nodes, some[i]);
		}
		/* The table grows under way. */
		for (int i = 0; i < 40 && more <= N; i++, more++)
			(void)get(1000 + more, root, "x", true);
	}
	for (ino_t i = 1; i <= N / 2; i++)
		assert_true(seen[i]);
	assert_int_equal(nodes_walk(nodes, &hand, some, STEP), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(an_inode_has_one_node_however_often_it_is_found),
		test(a_node_lives_while_the_kernel_or_anybody_here_holds_it),
		test(forgetting_more_than_was_looked_up_is_forgetting_all),
		test(a_parent_lives_as_long_as_its_children),
		test(a_deep_chain_goes_with_its_last_child),
		test(what_is_held_at_the_end_is_freed_with_the_table),
		test(the_table_finds_everything_when_it_has_grown),
		test(the_name_used_last_is_the_first),
		test(a_hard_link_outlives_the_other_names),
		test(what_is_not_shared_is_another_node_in_another_place),
		test(an_unlinked_node_is_not_found_when_its_inode_is_used_anew),
		test(an_inode_of_another_type_is_another_node),
		test(unlinking_a_name_that_is_not_known_changes_nothing),
		test(a_renamed_node_is_where_it_went),
		test(a_replaced_node_answers_to_its_new_inode_only),
		test(a_path_that_is_too_long_is_shortened),
		test(only_so_many_descriptors_are_kept),
		test(a_descriptor_in_use_is_never_closed),
		test(a_descriptor_that_is_used_again_stays),
		test(many_users_at_once_leave_no_more_than_are_allowed),
		test(forgotten_directories_keep_no_descriptor),
		test(a_node_is_located_by_its_directory_and_name),
		test(something_else_in_a_directorys_place_is_not_entered),
		test(a_new_inode_is_not_the_one_that_had_its_number),
		test(a_chain_of_closed_directories_does_not_exhaust_the_stack),
		test(only_what_the_kernel_alone_holds_is_picked),
		test(what_was_asked_for_since_is_spared_once),
		test(a_round_of_picks_meets_everything),
		test(more_nodes_than_the_bound_are_told_of),
		test(a_node_with_several_names_is_found_under_each),
		test(threads_share_the_table),
		test(a_walk_comes_by_everything_that_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
