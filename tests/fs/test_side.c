/* SPDX-License-Identifier: MIT */
/* What both kinds of side promise, and what only one of them does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sides.h"

static struct side_hand hand;
static struct side_hand *const h = &hand;

static int setup(void **state)
{
	sides_setup();
	assert_int_equal(side_hand_new(*state ? vault : plain, h), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	side_hand_free(h);
	sides_teardown();
	return 0;
}

/* ---- both -------------------------------------------------------------------------- */

static void what_is_not_there_is_not_found(void **state)
{
	(void)state;
	make_file(h, "file", "x");
	assert_int_equal(look(h, "nothing"), -ENOENT);
	assert_int_equal(look(h, "nothing/in/it"), -ENOENT);
	assert_int_equal(look(h, "file/in/it"), -ENOTDIR);
	assert_int_equal(look(h, "file"), 0);
}

static void a_file_is_seen_when_it_has_its_name(void **state)
{
	struct side_node root = find(h, "");
	struct side_node node = begin_file(h, "content");

	(void)state;
	assert_true(S_ISREG(node.st.st_mode));
	assert_int_equal(node.st.st_mode & 077, 0);
	assert_names(h, "", "");
	assert_int_equal(side_name(h, &root, &node, "file"), 0);
	assert_names(h, "", "file");
	side_drop(h, &node);
	side_drop(h, &root);
	assert_text(h, "file", "content");
}

static void a_file_that_got_no_name_leaves_nothing(void **state)
{
	struct tempdir *dir = *state ? &vault_dir : &plain_dir;
	int before = tempdir_count(dir);
	struct side_node node = begin_file(h, "content");

	side_drop(h, &node);
	assert_names(h, "", "");
	assert_int_equal(tempdir_count(dir), before);
}

static void a_name_that_is_taken_stays_the_others(void **state)
{
	struct side_node root = find(h, "");
	struct side_node node;

	(void)state;
	make_file(h, "file", "first");
	node = begin_file(h, "second");
	assert_int_equal(side_name(h, &root, &node, "file"), -EEXIST);
	side_drop(h, &node);
	assert_int_equal(side_mkdir(h, &root, "file", &node), -EEXIST);
	side_drop(h, &node);
	assert_int_equal(side_symlink(h, &root, "file", "x", &node), -EEXIST);
	side_drop(h, &node);
	assert_int_equal(side_mknod(h, &root, "file", S_IFIFO, 0, &node), -EEXIST);
	side_drop(h, &node);
	side_drop(h, &root);
	assert_names(h, "", "file");
	assert_text(h, "file", "first");
}

static void names_come_in_order(void **state)
{
	static const char *const names[] = { "b", "a", "aa", "B", "c", "a.b", "\xc3\xa9", "a b" };
	struct side_node root = find(h, "");
	struct side_node node;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(side_mkdir(h, &root, names[i], &node), 0);
		assert_true(S_ISDIR(node.st.st_mode));
		side_drop(h, &node);
	}
	side_drop(h, &root);
	assert_names(h, "", "B a a b a.b aa b c \xc3\xa9");
}

static void reading_ends_at_the_end(void **state)
{
	struct side_node node;
	uint8_t *buffer = malloc(SIDE_MAX_SIZE);
	const void *data;
	size_t done;

	(void)state;
	make_file(h, "file", "0123456789");
	node = find(h, "file");
	assert_int_equal(side_open(h, &node), 0);
	assert_int_equal(side_read(h, &node, 3, 4, buffer, &data, &done), 0);
	assert_int_equal(done, 4);
	assert_memory_equal(data, "3456", 4);
	assert_int_equal(side_read(h, &node, 8, 100, buffer, &data, &done), 0);
	assert_int_equal(done, 2);
	assert_memory_equal(data, "89", 2);
	assert_int_equal(side_read(h, &node, 10, 100, buffer, &data, &done), 0);
	assert_int_equal(done, 0);
	side_drop(h, &node);
	free(buffer);
}

static void holes_are_told(void **state)
{
	const uint64_t mib = 1 << 20;
	struct side_node root = find(h, "");
	struct side_node node = begin_file(h, "");
	uint64_t at;

	(void)state;
	memset(side_buffer(h), 'x', 4096);
	assert_int_equal(side_write(h, &node, 4 * mib, side_buffer(h), 4096), 0);
	assert_int_equal(side_set_size(h, &node, 9 * mib + 5), 0);
	assert_int_equal(side_name(h, &root, &node, "file"), 0);
	side_drop(h, &node);
	side_drop(h, &root);
	node = find(h, "file");
	assert_int_equal(side_open(h, &node), 0);
	assert_int_equal(node.st.st_size, 9 * mib + 5);
	assert_false(node.is_dense);
	assert_int_equal(side_seek(h, &node, 0, true, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(side_seek(h, &node, 0, false, &at), 0);
	assert_true(at <= 4 * mib && at > 3 * mib);
	assert_int_equal(side_seek(h, &node, 4 * mib, true, &at), 0);
	assert_true(at > 4 * mib && at < 5 * mib);
	assert_int_equal(side_seek(h, &node, at, false, &at), -ENXIO);
	side_drop(h, &node);
}

static void symlinks_are_not_followed(void **state)
{
	struct side_node root = find(h, "");
	char target[SIDE_TARGET_MAX];
	struct side_node node;

	(void)state;
	assert_int_equal(side_mkdir(h, &root, "dir", &node), 0);
	side_drop(h, &node);
	assert_int_equal(side_symlink(h, &root, "link", "dir", &node), 0);
	side_drop(h, &node);
	side_drop(h, &root);
	node = find(h, "link");
	assert_true(S_ISLNK(node.st.st_mode));
	assert_int_equal(side_readlink(h, &node, target), 0);
	assert_string_equal(target, "dir");
	side_drop(h, &node);
	assert_int_not_equal(look(h, "link/x"), 0);
	assert_int_not_equal(look(h, "link/x"), -ENOENT);
}

static void a_file_may_have_several_names(void **state)
{
	struct side_node root = find(h, "");
	struct side_node one;
	struct side_node two;

	(void)state;
	make_file(h, "one", "content");
	one = find(h, "one");
	assert_int_equal(side_link(h, &one, &root, "two"), 0);
	assert_int_equal(side_link(h, &one, &root, "two"), -EEXIST);
	side_drop(h, &one);
	one = find(h, "one");
	two = find(h, "two");
	assert_int_equal(two.st.st_nlink, 2);
	assert_true(one.st.st_ino == two.st.st_ino);
	side_drop(h, &one);
	side_drop(h, &two);
	assert_int_equal(side_unlink(h, &root, "one"), 0);
	assert_int_equal(side_unlink(h, &root, "one"), -ENOENT);
	side_drop(h, &root);
	assert_text(h, "two", "content");
}

static void a_rename_replaces(void **state)
{
	struct side_node root = find(h, "");

	(void)state;
	make_file(h, "new", "new");
	make_file(h, "old", "old one");
	assert_int_equal(side_rename(h, &root, "new", "old"), 0);
	side_drop(h, &root);
	assert_names(h, "", "old");
	assert_text(h, "old", "new");
}

static void special_files_are_ours_alone_at_first(void **state)
{
	struct side_node root = find(h, "");
	struct side_node node;

	(void)state;
	assert_int_equal(side_mknod(h, &root, "fifo", S_IFIFO | 0666, 0, &node), 0);
	side_drop(h, &node);
	side_drop(h, &root);
	node = find(h, "fifo");
	assert_true(S_ISFIFO(node.st.st_mode));
	assert_int_equal(node.st.st_mode & 077, 0);
	side_drop(h, &node);
}

static void attributes_are_kept(void **state)
{
	struct side_node node;
	char value[16];

	(void)state;
	make_file(h, "file", "x");
	node = find(h, "file");
	assert_int_equal(side_getxattr(h, &node, "user.a", value, sizeof(value)), -ENODATA);
	assert_int_equal(side_setxattr(h, &node, "user.a", "value", 5), 0);
	assert_int_equal(side_setxattr(h, &node, "user.b", "", 0), 0);
	assert_int_equal(side_getxattr(h, &node, "user.a", NULL, 0), 5);
	assert_int_equal(side_getxattr(h, &node, "user.a", value, 4), -ERANGE);
	assert_int_equal(side_getxattr(h, &node, "user.a", value, sizeof(value)), 5);
	assert_memory_equal(value, "value", 5);
	assert_int_equal(side_listxattr(h, &node, NULL, 0), 2 * sizeof("user.a"));
	assert_int_equal(side_removexattr(h, &node, "user.a"), 0);
	assert_int_equal(side_removexattr(h, &node, "user.a"), -ENODATA);
	assert_int_equal(side_listxattr(h, &node, value, sizeof(value)), sizeof("user.b"));
	assert_string_equal(value, "user.b");
	side_drop(h, &node);
}

static void mode_and_times_are_set(void **state)
{
	const struct stat st = { .st_mode = S_IFREG | 0641,
				 .st_atim = { 1000, 7 },
				 .st_mtim = { 2000, 123456789 } };
	struct side_node node;

	(void)state;
	make_file(h, "file", "x");
	node = find(h, "file");
	assert_int_equal(side_set(h, &node, &st, TREE_SET_MODE | TREE_SET_ATIME | TREE_SET_MTIME),
			 0);
	side_drop(h, &node);
	node = find(h, "file");
	assert_int_equal(node.st.st_mode, S_IFREG | 0641);
	assert_int_equal(node.st.st_atim.tv_sec, 1000);
	assert_int_equal(node.st.st_mtim.tv_sec, 2000);
	assert_int_equal(node.st.st_mtim.tv_nsec, 123456789);
	side_drop(h, &node);
}

/* ---- a plain directory ---------------------------------------------------------------- */

static void nothing_outside_of_a_plain_tree_is_found(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(plain_dir.fd, "dir", 0700), 0);
	assert_int_equal(symlinkat("/etc", plain_dir.fd, "out"), 0);
	assert_int_equal(look(h, "dir/../../etc"), -EXDEV);
	assert_int_equal(look(h, "/etc/passwd"), -EXDEV);
	assert_int_equal(look(h, "out/passwd"), -ELOOP);
}

static void what_was_exchanged_meanwhile_is_not_opened(void **state)
{
	struct side_node node;

	(void)state;
	make_file(h, "file", "what was found");
	make_file(h, "other", "what is there now");
	node = find(h, "file");
	assert_int_equal(renameat(plain_dir.fd, "other", plain_dir.fd, "file"), 0);
	assert_int_equal(side_open(h, &node), -ESTALE);
	side_drop(h, &node);
	node = find(h, "file");
	assert_int_equal(unlinkat(plain_dir.fd, "file", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", plain_dir.fd, "file"), 0);
	assert_int_equal(side_open(h, &node), -ELOOP);
	side_drop(h, &node);
}

/* ---- a vault ------------------------------------------------------------------------------ */

/* Every file of the vault's directory that is longer than a header's page. */
static void spoil_files(void)
{
	DIR *d = opendir(vault_dir.path);
	struct dirent *entry;
	struct stat st;

	while ((entry = readdir(d))) {
		int fd = entry->d_type == DT_REG
				 ? openat(vault_dir.fd, entry->d_name, O_RDWR | O_CLOEXEC)
				 : -1;

		if (fd < 0)
			continue;
		assert_int_equal(fstat(fd, &st), 0);
		if (st.st_size > 3 * 4096)
			assert_int_equal(pwrite(fd, "spoilt", 6, st.st_size - 100), 6);
		close(fd);
	}
	closedir(d);
}

static void what_does_not_authenticate_is_told_from_what_cannot_be_read(void **state)
{
	struct side_node root = find(h, "");
	struct side_node node = begin_file(h, "");
	uint8_t *buffer = malloc(SIDE_MAX_SIZE);
	const void *data;
	size_t done = 1;

	(void)state;
	memset(side_buffer(h), 'x', 20000);
	assert_int_equal(side_write(h, &node, 0, side_buffer(h), 20000), 0);
	assert_int_equal(side_name(h, &root, &node, "file"), 0);
	side_drop(h, &node);
	side_drop(h, &root);
	spoil_files();
	node = find(h, "file");
	assert_int_equal(side_open(h, &node), 0);
	assert_int_equal(side_read(h, &node, 0, 4096, buffer, &data, &done), 0);
	assert_int_equal(side_read(h, &node, 0, 20000, buffer, &data, &done), -EBADMSG);
	assert_int_equal(done, 0);
	side_drop(h, &node);
	free(buffer);
}

static void a_file_is_suspect_until_it_is_settled(void **state)
{
	struct side_node node;

	(void)state;
	make_file(h, "file", "x");
	side_hand_free(h);
	sides_mount_again();
	assert_int_equal(side_hand_new(vault, h), 0);
	node = find(h, "file");
	assert_int_equal(side_is_suspect(h, &node), 1);
	side_drop(h, &node);
	make_file(h, "second", "y");
	tree_settle(tree, io, true);
	side_hand_free(h);
	sides_mount_again();
	assert_int_equal(side_hand_new(vault, h), 0);
	node = find(h, "second");
	assert_int_equal(side_is_suspect(h, &node), 0);
	side_drop(h, &node);
}

static void a_hand_of_a_vault_takes_a_slot(void **state)
{
	struct side_hand more[3];

	(void)state;
	assert_int_equal(side_hand_new(vault, &more[0]), 0);
	assert_int_equal(side_hand_new(vault, &more[1]), 0);
	assert_int_equal(side_hand_new(vault, &more[2]), -EBUSY);
	side_hand_free(&more[2]); /* {0} is fine */
	side_hand_free(&more[1]);
	assert_int_equal(side_hand_new(vault, &more[1]), 0);
	side_hand_free(&more[1]);
	side_hand_free(&more[0]);
}

static void a_symlink_of_a_vault_has_one_name(void **state)
{
	struct side_node root = find(h, "");
	struct side_node node;

	(void)state;
	assert_int_equal(side_symlink(h, &root, "link", "target", &node), 0);
	assert_int_equal(side_link(h, &node, &root, "other"), -EPERM);
	side_drop(h, &node);
	side_drop(h, &root);
	assert_names(h, "", "link");
}

#define OF_PLAIN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define OF_VAULT(f) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, &vault)
#define OF_BOTH(f)                                                                                 \
	{ #f ", plain", f, setup, teardown, NULL },                                                \
	{                                                                                          \
#f ", vault", f, setup, teardown, &vault                                           \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_BOTH(what_is_not_there_is_not_found),
		OF_BOTH(a_file_is_seen_when_it_has_its_name),
		OF_BOTH(a_file_that_got_no_name_leaves_nothing),
		OF_BOTH(a_name_that_is_taken_stays_the_others),
		OF_BOTH(names_come_in_order),
		OF_BOTH(reading_ends_at_the_end),
		OF_BOTH(holes_are_told),
		OF_BOTH(symlinks_are_not_followed),
		OF_BOTH(a_file_may_have_several_names),
		OF_BOTH(a_rename_replaces),
		OF_BOTH(special_files_are_ours_alone_at_first),
		OF_BOTH(attributes_are_kept),
		OF_BOTH(mode_and_times_are_set),
		OF_PLAIN(nothing_outside_of_a_plain_tree_is_found),
		OF_PLAIN(what_was_exchanged_meanwhile_is_not_opened),
		OF_VAULT(what_does_not_authenticate_is_told_from_what_cannot_be_read),
		OF_VAULT(a_file_is_suspect_until_it_is_settled),
		OF_VAULT(a_hand_of_a_vault_takes_a_slot),
		OF_VAULT(a_symlink_of_a_vault_has_one_name),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
