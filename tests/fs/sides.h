/* SPDX-License-Identifier: MIT */
/*
 * sides - a plain directory and a vault, each in a directory of its own and as a side, with the
 * thread's hand.  Include it after <cmocka.h>.
 */
#ifndef TESTS_FS_SIDES_H
#define TESTS_FS_SIDES_H

#include <errno.h>
#include <sys/xattr.h>

#include "file_fixture.h"
#include "fs/dirrec.h"
#include "fs/side.h"
#include "fs/tree.h"

static struct tempdir plain_dir;
static struct tempdir vault_dir;
static struct tree *tree;
static struct side *plain;
static struct side *vault;

static inline void sides_mount(void)
{
	assert_int_equal(tree_new(&store, vault_dir.fd, &tree), 0);
	assert_int_equal(side_vault_new(&store, tree, &vault), 0);
}

/* As if the process had died and another one had opened the vault. */
static inline void sides_mount_again(void)
{
	side_free(vault);
	tree_free(tree);
	sides_mount();
}

static inline void sides_setup(void)
{
	fixture_suite(CIPHER_AES_256_GCM);
	tempdir_make(&plain_dir);
	assert_int_equal(side_plain_new(plain_dir.fd, &plain), 0);
	tempdir_make(&vault_dir);
	assert_int_equal(dirrec_make_root(vault_dir.fd, &keys), 0);
	sides_mount();
}

static inline void sides_empty(struct tempdir *dir)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "find %s -mindepth 1 -delete", dir->path);
	assert_int_equal(system(command), 0);
	tempdir_remove(dir);
}

static inline void sides_teardown(void)
{
	side_free(vault);
	tree_free(tree);
	side_free(plain);
	sides_empty(&vault_dir);
	sides_empty(&plain_dir);
}

/* ---- short ways ------------------------------------------------------------------- */

static inline struct side_node find(struct side_hand *h, const char *path)
{
	struct side_node node;

	assert_int_equal(side_find_path(h, path, &node), 0);
	return node;
}

static inline int look(struct side_hand *h, const char *path)
{
	struct side_node node;
	int r = side_find_path(h, path, &node);

	side_drop(h, &node);
	return r;
}

/* A new file in the root, open and without a name, with this text in it. */
static inline struct side_node begin_file(struct side_hand *h, const char *text)
{
	struct side_node root = find(h, "");
	struct side_node node = SIDE_NODE_NONE;

	assert_int_equal(side_create(h, &root, &node), 0);
	if (*text)
		assert_int_equal(side_write(h, &node, 0, text, strlen(text)), 0);
	side_drop(h, &root);
	return node;
}

static inline void make_file(struct side_hand *h, const char *name, const char *text)
{
	struct side_node root = find(h, "");
	struct side_node node = begin_file(h, text);

	assert_int_equal(side_name(h, &root, &node, name), 0);
	side_drop(h, &node);
	side_drop(h, &root);
}

static inline void assert_text(struct side_hand *h, const char *path, const char *text)
{
	struct side_node node = find(h, path);
	static uint8_t buffer[SIDE_MAX_SIZE];
	const void *data;
	size_t done;

	assert_int_equal(side_open(h, &node), 0);
	assert_int_equal(node.st.st_size, strlen(text));
	assert_int_equal(side_read(h, &node, 0, SIDE_MAX_SIZE, buffer, &data, &done), 0);
	assert_int_equal(done, strlen(text));
	assert_memory_equal(data, text, done);
	side_drop(h, &node);
}

/* The names in a directory, joined by spaces. */
static inline void assert_names(struct side_hand *h, const char *path, const char *expected)
{
	struct side_node dir = find(h, path);
	struct side_name *names;
	char joined[512] = "";
	size_t n;

	assert_int_equal(side_list(h, &dir, &names, &n), 0);
	for (size_t i = 0; i < n; i++) {
		strcat(joined, i ? " " : "");
		strcat(joined, names[i].text);
		assert_false(names[i].is_damaged);
	}
	assert_string_equal(joined, expected);
	side_names_free(names, n);
	side_drop(h, &dir);
}

#endif /* TESTS_FS_SIDES_H */
