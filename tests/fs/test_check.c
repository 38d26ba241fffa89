/* SPDX-License-Identifier: MIT */
/*
 * What a dead mount leaves, made with the tree itself: it is found to be no
 * damage, told as what it is, and gone after a repair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/fs.h>

#include "file_fixture.h"
#include "fs/check.h"
#include "fs/check_ranges.h"
#include "fs/check_set.h"
#include "fs/dirrec.h"
#include "fs/links.h"
#include "fs/tree.h"

static struct tempdir dir;
static struct tree *tree;
static struct node *root;
static const struct caller me;

/* ---- a backing filesystem that fails once, after so many calls ------------------- */

static int writes_left = -1;
static int cuts_left = -1;

static bool is_due(int *left)
{
	return *left >= 0 && (*left)-- == 0;
}

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	if (!is_due(&writes_left))
		return __real_pwrite64(fd, data, size, offset);
	errno = EIO;
	return -1;
}

int __real_ftruncate64(int fd, off64_t size);
int __wrap_ftruncate64(int fd, off64_t size);
int __wrap_ftruncate64(int fd, off64_t size)
{
	if (!is_due(&cuts_left))
		return __real_ftruncate64(fd, size);
	errno = EIO;
	return -1;
}

/* And without attributes, where a test asks for that. */
static bool no_attributes;

ssize_t __real_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *value, size_t size)
{
	if (!no_attributes)
		return __real_fgetxattr(fd, name, value, size);
	errno = EOPNOTSUPP;
	return -1;
}

int __real_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	if (!no_attributes)
		return __real_fsetxattr(fd, name, value, size, flags);
	errno = EOPNOTSUPP;
	return -1;
}

/* ---- setting up -------------------------------------------------------------------- */

static void mount_tree(void)
{
	assert_int_equal(tree_new(&store, dir.fd, &tree), 0);
	root = nodes_root(tree_nodes(tree));
}

static int setup(void **state)
{
	(void)state;
	fixture_suite(CIPHER_AES_256_GCM);
	no_attributes = false;
	tempdir_make(&dir);
	assert_int_equal(dirrec_make_root(dir.fd, &keys), 0);
	mount_tree();
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	tree_free(tree);
	(void)snprintf(command, sizeof(command), "find %s -mindepth 1 -delete", dir.path);
	assert_int_equal(system(command), 0);
	tempdir_remove(&dir);
	return 0;
}

static struct node *make_file(const char *name, size_t size)
{
	struct tree_entry entry;

	assert_int_equal(tree_create(tree, io, root, name, 0644, &me, &entry), 0);
	memset(io->data + IO_DATA, 'x', size);
	assert_int_equal(tree_write(tree, io, entry.node, 0, size, false), 0);
	return entry.node; /* open */
}

static void settle(void)
{
	tree_settle(tree, io, true);
}

static void rename_to(const char *from, const char *to, unsigned int flags)
{
	assert_int_equal(tree_rename(tree, io, root, from, root, to, flags, &me), 0);
}

/* ---- checking ------------------------------------------------------------------------ */

enum { MAX_FOUND = 16 };

static struct {
	unsigned int n;
	enum check_kind kinds[MAX_FOUND];
	enum check_outcome outcomes[MAX_FOUND];
	char paths[MAX_FOUND][256];
	uint64_t starts[MAX_FOUND], ends[MAX_FOUND];
} told;

static void found(void *arg, const struct check_finding *f)
{
	(void)arg;
	assert_true(told.n < MAX_FOUND);
	told.kinds[told.n] = f->kind;
	told.outcomes[told.n] = f->outcome;
	told.starts[told.n] = f->start;
	told.ends[told.n] = f->end;
	(void)snprintf(told.paths[told.n++], sizeof(told.paths[0]), "%s", f->path);
}

static struct check_counts run_check(bool repair)
{
	static const atomic_bool never;
	const struct check_options options = {
		.store = &store, .repair = repair, .threads = 2, .stop = &never, .found = found
	};
	struct check_counts counts;
	struct check *c;

	memset(&told, 0, sizeof(told));
	assert_int_equal(check_new(&options, &c), 0);
	assert_int_equal(check_tree(c, dir.fd), 0);
	check_counts(c, &counts);
	check_free(c);
	return counts;
}

static void assert_told(enum check_kind kind, const char *path)
{
	for (unsigned int i = 0; i < told.n; i++)
		if (told.kinds[i] == kind && !strcmp(told.paths[i], path))
			return;
	fail_msg("nothing of the kind %s about %s", check_kind_name(kind), path);
}

/* The mount dies; this is all that is left, and goes. */
static void assert_goes(unsigned int n, enum check_kind kind, const char *path)
{
	tree_free(tree);
	tree = NULL;
	for (int repair = 0; repair < 2; repair++) {
		struct check_counts counts = run_check(repair);

		assert_int_equal(told.n, n);
		assert_told(kind, path);
		assert_int_equal(counts.damaged, 0);
		assert_int_equal(counts.leftovers, repair ? 0 : n);
		assert_int_equal(counts.repaired, repair ? n : 0);
	}
	assert_int_equal(run_check(false).leftovers, 0);
	assert_int_equal(told.n, 0);
	mount_tree();
}

static void assert_holds(const char *name, size_t size)
{
	struct tree_entry entry;
	const void *data;
	bool keep;
	size_t done;

	assert_int_equal(tree_lookup(tree, root, name, &entry), 0);
	assert_int_equal(entry.st.st_size, size);
	assert_int_equal(tree_open(tree, io, entry.node, O_RDONLY, &keep), 0);
	assert_int_equal(tree_read(tree, io, entry.node, 0, size + 1, &data, &done), 0);
	assert_int_equal(done, size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(((const uint8_t *)data)[i], 'x');
	tree_release(tree, entry.node);
}

/* ---- what is left ---------------------------------------------------------------------- */

static void a_file_that_was_not_settled(void **state)
{
	(void)state;
	tree_release(tree, make_file("small", 100));
	assert_goes(1, CHECK_UNSETTLED, "small");
	assert_holds("small", 100);
	tree_release(tree, make_file("large", 500000));
	assert_goes(1, CHECK_UNSETTLED, "large");
	assert_holds("large", 500000);
}

static void a_file_that_was_growing(void **state)
{
	struct node *f = make_file("file", 1000);

	(void)state;
	/* The header that says so, block 0, then its entry, which fails. */
	writes_left = 2;
	memset(io->data + IO_DATA, 'x', 5000);
	assert_int_equal(tree_write(tree, io, f, 0, 5000, false), -EIO);
	assert_int_equal(writes_left, -1);
	tree_release(tree, f);
	assert_goes(1, CHECK_UNFINISHED_CHANGE, "file");
	assert_holds("file", 1000);
}

static void a_file_that_was_being_cut(void **state)
{
	struct node *f = make_file("file", 500000);
	struct stat st = { .st_size = 300000 };

	(void)state;
	cuts_left = 0;
	assert_int_equal(tree_setattr(tree, io, f, &st, TREE_SET_SIZE, &st), -EIO);
	assert_int_equal(cuts_left, -1);
	tree_release(tree, f);
	assert_goes(1, CHECK_UNFINISHED_CHANGE, "file");
	assert_holds("file", 300000);
}

static void things_that_were_renamed(void **state)
{
	struct tree_entry entry;
	char far[2501];

	(void)state;
	memset(far, 't', 2500);
	far[2500] = 0;
	tree_release(tree, make_file("f", 5000));
	settle();
	rename_to("f", "file", 0);
	assert_goes(1, CHECK_TWO_PLACES, "file");
	assert_holds("file", 5000);
	assert_int_equal(tree_mkdir(tree, root, "d", 0755, &me, &entry), 0);
	rename_to("d", "dir", 0);
	assert_goes(1, CHECK_TWO_PLACES, "dir");
	assert_int_equal(tree_symlink(tree, root, "l", "target", &me, &entry), 0);
	rename_to("l", "link", 0);
	assert_goes(1, CHECK_TWO_PLACES, "link");
	assert_int_equal(tree_symlink(tree, root, "l", far, &me, &entry), 0);
	rename_to("l", "far", 0);
	assert_goes(1, CHECK_TWO_PLACES, "far");
}

static void special_files_that_were_exchanged(void **state)
{
	struct tree_entry entry;

	(void)state;
	assert_int_equal(tree_mknod(tree, io, root, "fifo", S_IFIFO | 0600, 0, &me, &entry), 0);
	assert_int_equal(tree_mknod(tree, io, root, "sock", S_IFSOCK | 0600, 0, &me, &entry), 0);
	rename_to("fifo", "sock", RENAME_EXCHANGE);
	assert_goes(2, CHECK_MARKER_TWICE, "fifo");
	assert_int_equal(tree_lookup(tree, root, "fifo", &entry), 0);
	assert_true(S_ISSOCK(entry.st.st_mode));
}

static void a_directory_that_was_being_removed_where_there_are_no_attributes(void **state)
{
	struct tree_entry entry;
	char name[300];

	(void)state;
	no_attributes = true;
	memset(name, 'n', 200);
	name[200] = 0;
	assert_int_equal(tree_mkdir(tree, root, name, 0755, &me, &entry), 0);
	assert_int_equal(tree_mkdir(tree, root, "whole", 0755, &me, &entry), 0);
	assert_int_equal(run_check(false).leftovers, 0);
	assert_int_equal(told.n, 0); /* one copy of each record is all that can be */
	(void)snprintf(name, sizeof(name), "find %s/long.* -name .cryptfs-dir -delete", dir.path);
	assert_int_equal(system(name), 0);
	for (int repair = 0; repair < 2; repair++) {
		assert_int_equal(run_check(repair).damaged, 0);
		assert_int_equal(told.n, 1);
		assert_int_equal(told.kinds[0], CHECK_UNFINISHED_DIRECTORY);
	}
	assert_int_equal(run_check(false).leftovers, 0);
	assert_int_equal(tempdir_count(&dir), 2); /* the record, and the other one */
}

static void a_file_with_holes_is_not_read_where_there_are_holes(void **state)
{
	const uint64_t length = (uint64_t)1 << 40;
	struct node *f = make_file("file", 5000);
	struct stat st = { .st_size = (off_t)length };
	struct check_counts counts;

	(void)state;
	assert_int_equal(tree_setattr(tree, io, f, &st, TREE_SET_SIZE, &st), 0);
	memset(io->data + IO_DATA, 'x', 5000);
	assert_int_equal(tree_write(tree, io, f, length / 2 - 100, 5000, false), 0);
	tree_release(tree, f);
	settle();
	counts = run_check(false);
	assert_int_equal(told.n, 0);
	assert_true(counts.bytes > 10000 && counts.bytes < 16 << 20);
}

/* ---- what is not repaired ------------------------------------------------------------------ */

/* A bit of the stored file at this offset. */
static void flip(const char *name, off_t offset)
{
	struct names_stored stored;
	struct format_dir_record record;
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	uint8_t byte;
	int fd;

	assert_int_equal(tempdir_read(&dir, ".cryptfs-dir", raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(format_dir_record_decode(raw, sizeof(raw), &keys, &record), 0);
	assert_int_equal(names_encode(&keys, record.id, name, &stored), 0);
	fd = openat(dir.fd, stored.name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

static void a_block_that_was_being_written_is_told_from_a_forged_one(void **state)
{
	struct check_counts counts;

	(void)state;
	tree_release(tree, make_file("file", 500000));
	flip("file", (off_t)format_block_offset(7));
	flip("file", (off_t)format_block_offset(8));
	flip("file", (off_t)format_block_offset(100));
	for (int repair = 0; repair < 2; repair++) {
		counts = run_check(repair);
		assert_int_equal(told.n, 3);
		assert_told(CHECK_TORN, "file");
		assert_told(CHECK_UNSETTLED, "file"); /* and stays so, for that is why */
		assert_int_equal(counts.damaged, 2);
		assert_int_equal(counts.bytes_bad, 3 * BLOCK);
	}
	settle();
	flip("file", (off_t)format_block_offset(9));
	counts = run_check(true);
	assert_told(CHECK_FORGED, "file");
	assert_int_equal(counts.bytes_bad, 4 * BLOCK);
	assert_int_equal(told.starts[0], 7 * BLOCK);
	assert_int_equal(told.ends[0], 10 * BLOCK);
}

/* ---- small parts
 * --------------------------------------------------------------------------------- */

static void a_set_has_what_was_added(void **state)
{
	struct check_set *set = check_set_new();
	uint8_t key[CHECK_KEY_SIZE] = { 0 };

	(void)state;
	assert_non_null(set);
	assert_false(check_set_has(set, key));
	for (uint32_t i = 0; i < 100000; i++) {
		memcpy(key, &i, sizeof(i));
		assert_int_equal(check_set_add(set, key), 1);
	}
	for (uint32_t i = 0; i < 200000; i++) {
		memcpy(key, &i, sizeof(i));
		assert_int_equal(check_set_has(set, key), i < 100000);
	}
	assert_int_equal(check_set_add(set, key), 1);
	assert_int_equal(check_set_add(set, key), 0);
	check_set_free(set);
}

static void ranges_are_joined_where_they_touch(void **state)
{
	struct check_ranges r = { 0 };

	(void)state;
	assert_int_equal(check_ranges_add(&r, 30, 40, 1), 0);
	assert_int_equal(check_ranges_add(&r, 0, 10, 1), 0);
	assert_int_equal(check_ranges_add(&r, 20, 30, 1), 0);
	assert_int_equal(check_ranges_add(&r, 10, 15, 2), 0);
	check_ranges_join(&r);
	assert_int_equal(r.n, 3);
	assert_int_equal(r.list[0].end, 10);
	assert_int_equal(r.list[1].end, 15);
	assert_int_equal(r.list[2].start, 20);
	assert_int_equal(r.list[2].end, 40);
	check_ranges_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_that_was_not_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_was_growing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_was_being_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(things_that_were_renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(special_files_that_were_exchanged, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_directory_that_was_being_removed_where_there_are_no_attributes, setup,
			teardown),
		cmocka_unit_test_setup_teardown(a_file_with_holes_is_not_read_where_there_are_holes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_block_that_was_being_written_is_told_from_a_forged_one, setup, teardown),
		cmocka_unit_test(a_set_has_what_was_added),
		cmocka_unit_test(ranges_are_joined_where_they_touch),
	};

	alarm(100);
	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
