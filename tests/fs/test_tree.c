/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/xattr.h>

#include "file_fixture.h"
#include "fs/dirrec.h"
#include "fs/links.h"
#include "fs/names.h"
#include "fs/tree.h"

static struct tempdir dir;
static struct tree *tree;
static struct node *root;
static const struct caller me;

/* ---- the backing's answer to a rename, where a test asks for one -------------- */

static int rename_error;
static int renames_before_error;

int __real_renameat2(int from, const char *old, int to, const char *now, unsigned int flags);
int __wrap_renameat2(int from, const char *old, int to, const char *now, unsigned int flags);
int __wrap_renameat2(int from, const char *old, int to, const char *now, unsigned int flags)
{
	if (!rename_error || renames_before_error-- > 0)
		return __real_renameat2(from, old, to, now, flags);
	errno = rename_error;
	rename_error = 0;
	return -1;
}

/* ---- setting up ---------------------------------------------------------------- */

static void mount_tree(void)
{
	assert_int_equal(tree_new(&store, dir.fd, &tree), 0);
	root = tree_nodes(tree) ? nodes_root(tree_nodes(tree)) : NULL;
}

/* As after the death of a mount: nothing is settled. */
static void remount(void)
{
	tree_free(tree);
	mount_tree();
}

static void remount_settled(void)
{
	tree_settle(tree, io, true);
	remount();
}

static int setup(void **state)
{
	(void)state;
	fixture_suite(CIPHER_AES_256_GCM);
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

/* ---- short words for what tests do ----------------------------------------------- */

static int try_lookup(struct node *in, const char *name)
{
	struct tree_entry entry;

	return tree_lookup(tree, in, name, &entry);
}

static struct node *lookup(struct node *in, const char *name)
{
	struct tree_entry entry;

	assert_int_equal(tree_lookup(tree, in, name, &entry), 0);
	return entry.node;
}

static struct node *make_dir(struct node *in, const char *name)
{
	struct tree_entry entry;

	assert_int_equal(tree_mkdir(tree, in, name, 0755, &me, &entry), 0);
	assert_true(S_ISDIR(entry.st.st_mode));
	return entry.node;
}

static struct node *make_link(struct node *in, const char *name, const char *target)
{
	struct tree_entry entry;

	assert_int_equal(tree_symlink(tree, in, name, target, &me, &entry), 0);
	assert_int_equal(entry.st.st_size, strlen(target));
	return entry.node;
}

static void put(struct node *open_file, uint64_t offset, const char *text)
{
	memcpy(io->data + IO_DATA, text, strlen(text));
	assert_int_equal(tree_write(tree, io, open_file, offset, strlen(text), false), 0);
}

static struct node *make_file(struct node *in, const char *name, const char *content)
{
	struct tree_entry entry;

	assert_int_equal(tree_create(tree, io, in, name, 0644, &me, &entry), 0);
	put(entry.node, 0, content);
	tree_release(tree, entry.node);
	return entry.node;
}

static void assert_open_holds(struct node *file, const char *content)
{
	const void *data;
	size_t done;

	assert_int_equal(tree_read(tree, io, file, 0, 4096, &data, &done), 0);
	assert_int_equal(done, strlen(content));
	assert_memory_equal(data, content, done);
}

static int try_open(struct node *in, const char *name)
{
	struct tree_entry entry;
	bool keep;
	int r = tree_lookup(tree, in, name, &entry);

	if (!r)
		r = tree_open(tree, io, entry.node, O_RDONLY, &keep);
	if (!r)
		tree_release(tree, entry.node);
	return r;
}

static void assert_file(struct node *in, const char *name, const char *content)
{
	struct node *file = lookup(in, name);
	struct stat st;
	bool keep;

	assert_int_equal(tree_getattr(tree, file, &st), 0);
	assert_int_equal(st.st_size, strlen(content));
	assert_int_equal(tree_open(tree, io, file, O_RDONLY, &keep), 0);
	assert_open_holds(file, content);
	tree_release(tree, file);
}

static void assert_link(struct node *in, const char *name, const char *target)
{
	static char found[LINKS_PLAIN_MAX + 1];
	struct node *link = lookup(in, name);
	struct stat st;

	assert_int_equal(tree_readlink(tree, link, found), 0);
	assert_string_equal(found, target);
	assert_int_equal(tree_getattr(tree, link, &st), 0);
	assert_int_equal(st.st_size, strlen(target));
}

static int try_enter(struct node *in, const char *name)
{
	struct listing *l;
	bool keep;
	int r = tree_opendir(tree, lookup(in, name), &l, &keep);

	if (!r)
		tree_closedir(tree, l);
	return r;
}

static int move(struct node *from, const char *old, struct node *to, const char *now,
		unsigned int flags)
{
	return tree_rename(tree, io, from, old, to, now, flags, &me);
}

/* How often a listing of the directory shows name; *total counts all entries. */
static int times_listed(struct node *in, const char *name, int *total)
{
	struct listing_item item;
	struct listing *l;
	bool keep;
	off_t at = 0;
	int n = 0;

	*total = 0;
	assert_int_equal(tree_opendir(tree, in, &l, &keep), 0);
	for (; !tree_list(tree, l, at, &item); at = item.next) {
		if (item.is_dot)
			continue;
		(*total)++;
		n += !strcmp(item.name, name);
	}
	tree_closedir(tree, l);
	return n;
}

static int entries_in(struct node *in)
{
	int total;

	(void)times_listed(in, "", &total);
	return total;
}

static const char *long_name(char c)
{
	static char names[4][NAMES_PLAIN_MAX + 1];
	char *name = names[c % 4];

	memset(name, c, NAMES_PLAIN_MAX);
	return name;
}

static const char *long_target(char c, size_t size)
{
	static char targets[4][LINKS_PLAIN_MAX + 1];
	char *target = targets[c % 4];

	memset(target, c, size);
	target[size] = '\0';
	return target;
}

/* ---- the backing tree, by hand ----------------------------------------------------- */

static int dirfd_of(struct node *in)
{
	int fd;

	assert_int_equal(nodes_dirfd(tree_nodes(tree), in, &fd), 0);
	nodes_dirfd_put(tree_nodes(tree), in); /* few enough to stay open */
	return fd;
}

static const char *stored(struct node *in, const char *plain)
{
	static struct names_stored names[4];
	static int next;
	struct names_stored *name = &names[next++ % 4];

	assert_true(names_encode(&keys, in->dir_id, plain, name) >= 0);
	return name->name;
}

/* As somebody does who can write to the backing tree, and knows which entry is which. */
static void move_by_hand(struct node *from, const char *old, struct node *to, const char *now,
			 unsigned int flags)
{
	assert_int_equal(__real_renameat2(dirfd_of(from), stored(from, old), dirfd_of(to),
					  stored(to, now), flags),
			 0);
}

/* Files and directories that are really in a backing directory. */
static int backing_count(struct node *in)
{
	DIR *d = fdopendir(openat(dirfd_of(in), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int n = -2;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The record of a directory as its file says. */
static struct format_dir_record record_of(struct node *in)
{
	struct format_dir_record record;
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	int fd = openat(dirfd_of(in), DIRREC_FILE, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fdio_pread_full(fd, raw, sizeof(raw), 0), 0);
	close(fd);
	assert_int_equal(format_dir_record_decode(raw, sizeof(raw), &keys, &record), 0);
	return record;
}

static struct format_header header_of(struct node *in, const char *name)
{
	int fd = openat(dirfd_of(in), stored(in, name), O_RDONLY | O_CLOEXEC);
	struct format_header header;

	assert_true(fd >= 0);
	header = header_on_disk(fd);
	close(fd);
	return header;
}

static void binding_of(struct node *in, const char *name, uint8_t binding[FORMAT_BINDING_SIZE])
{
	format_binding(&keys, in->dir_id, stored(in, name), binding);
}

static void assert_only_binding(const uint8_t bindings[2][FORMAT_BINDING_SIZE], struct node *in,
				const char *name)
{
	static const uint8_t none[FORMAT_BINDING_SIZE];
	uint8_t wanted[FORMAT_BINDING_SIZE];

	binding_of(in, name, wanted);
	assert_memory_equal(bindings[0], wanted, sizeof(wanted));
	assert_memory_equal(bindings[1], none, sizeof(none));
}

/* ---- entries ------------------------------------------------------------------------ */

static void what_is_made_is_found_by_the_next_mount(void **state)
{
	struct node *a = make_dir(root, "a");
	struct node *b = make_dir(a, "b");

	(void)state;
	make_file(b, "file", "content");
	make_link(b, "link", "../target");
	remount();
	b = lookup(lookup(root, "a"), "b");
	assert_file(b, "file", "content");
	assert_link(b, "link", "../target");
	assert_int_equal(entries_in(b), 2);
	assert_int_equal(try_lookup(b, "other"), -ENOENT);
}

static void names_of_any_length_work(void **state)
{
	char name[NAMES_PLAIN_MAX + 2];

	(void)state;
	for (size_t size = 1; size <= NAMES_PLAIN_MAX; size++) {
		memset(name, 'n', size);
		name[size] = '\0';
		make_file(root, name, "x");
	}
	remount();
	assert_int_equal(entries_in(root), NAMES_PLAIN_MAX);
	for (size_t size = NAMES_PLAIN_MAX; size >= 1; size--) {
		int total;

		name[size] = '\0';
		assert_file(root, name, "x");
		assert_int_equal(times_listed(root, name, &total), 1);
		assert_int_equal(tree_unlink(tree, root, name), 0);
	}
	assert_int_equal(backing_count(root), 1); /* the record; no sidecar */
	memset(name, 'n', NAMES_PLAIN_MAX + 1);
	name[NAMES_PLAIN_MAX + 1] = '\0';
	assert_int_equal(try_lookup(root, name), -ENAMETOOLONG);
}

static void a_name_that_is_taken_stays_as_it_is(void **state)
{
	const char *names[] = { "short", long_name('a') };
	struct tree_entry entry;

	(void)state;
	for (int i = 0; i < 2; i++) {
		make_file(root, names[i], "content");
		assert_int_equal(tree_create(tree, io, root, names[i], 0600, &me, &entry), -EEXIST);
		assert_int_equal(tree_mkdir(tree, root, names[i], 0700, &me, &entry), -EEXIST);
		assert_int_equal(tree_symlink(tree, root, names[i], "t", &me, &entry), -EEXIST);
		assert_int_equal(tree_mknod(tree, io, root, names[i], S_IFIFO, 0, &me, &entry),
				 -EEXIST);
		assert_int_equal(
			tree_link(tree, io, lookup(root, names[i]), root, names[i], &entry),
			-EEXIST);
		remount();
		assert_file(root, names[i], "content");
	}
}

static void symlinks_of_any_length_work(void **state)
{
	static const size_t sizes[] = { 1, 100, 2000, 3000, 3040, 3050, 4000, 4095 };
	char name[2] = "a";

	(void)state;
	for (int i = 0; i < 8; i++, name[0]++)
		make_link(root, name, long_target('t', sizes[i]));
	remount();
	name[0] = 'a';
	for (int i = 0; i < 8; i++, name[0]++) {
		assert_link(root, name, long_target('t', sizes[i]));
		assert_int_equal(tree_unlink(tree, root, name), 0);
	}
	assert_int_equal(backing_count(root), 1);
}

static void a_fifo_is_a_fifo(void **state)
{
	struct tree_entry entry;

	(void)state;
	assert_int_equal(tree_mknod(tree, io, root, "pipe", S_IFIFO | 0600, 0, &me, &entry), 0);
	assert_true(S_ISFIFO(entry.st.st_mode));
	assert_int_equal(move(root, "pipe", root, "tube", 0), 0);
	remount();
	assert_true(S_ISFIFO(lookup(root, "tube")->type));
	assert_int_equal(try_open(root, "tube"), -ENXIO);
	assert_int_equal(tree_unlink(tree, root, "tube"), 0);
}

static void the_wrong_kind_of_removal_is_refused(void **state)
{
	struct node *d = make_dir(root, "d");

	(void)state;
	make_file(root, "f", "x");
	make_link(root, "l", "d");
	assert_int_equal(tree_unlink(tree, root, "d"), -EISDIR);
	assert_int_equal(tree_rmdir(tree, root, "f"), -ENOTDIR);
	assert_int_equal(tree_rmdir(tree, root, "l"), -ENOTDIR);
	assert_int_equal(tree_rmdir(tree, root, "none"), -ENOENT);
	make_file(d, "f", "x");
	assert_int_equal(tree_rmdir(tree, root, "d"), -ENOTEMPTY);
	assert_file(d, "f", "x");
	assert_int_equal(tree_unlink(tree, d, "f"), 0);
	assert_int_equal(tree_rmdir(tree, root, "d"), 0);
	assert_int_equal(try_lookup(root, "d"), -ENOENT);
}

static void touch_by_hand(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void leftovers_do_not_keep_a_directory(void **state)
{
	static const char hash[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	struct node *d = make_dir(root, "d");
	char name[128];

	(void)state;
	touch_by_hand(dirfd_of(d), NAMES_TEMPORARY "0123456789abcdef");
	(void)snprintf(name, sizeof(name), "long.%s.name", hash);
	touch_by_hand(dirfd_of(d), name);
	(void)snprintf(name, sizeof(name), "link.%s", hash);
	touch_by_hand(dirfd_of(d), name);
	assert_int_equal(entries_in(d), 0);
	assert_int_equal(tree_rmdir(tree, root, "d"), 0);
}

static void a_strangers_file_keeps_a_directory(void **state)
{
	struct node *d = make_dir(root, "d");

	(void)state;
	touch_by_hand(dirfd_of(d), "README");
	assert_int_equal(entries_in(d), 1);
	assert_int_equal(tree_rmdir(tree, root, "d"), -ENOTEMPTY);
	remount();
	d = lookup(root, "d");
	assert_int_equal(try_open(d, "cryptfs-damaged-README"), -EIO);
	assert_int_equal(move(d, "cryptfs-damaged-README", d, "x", 0), -EIO);
	assert_int_equal(tree_unlink(tree, d, "cryptfs-damaged-README"), 0);
	assert_int_equal(tree_rmdir(tree, root, "d"), 0);
}

/* ---- open files ----------------------------------------------------------------------- */

static void an_open_file_outlives_its_name(void **state)
{
	struct node *file = make_file(root, "f", "content");
	struct stat st;
	bool keep;

	(void)state;
	assert_int_equal(tree_open(tree, io, file, O_RDWR, &keep), 0);
	assert_int_equal(tree_unlink(tree, root, "f"), 0);
	make_file(root, "f", "another");
	put(file, 7, "!");
	assert_open_holds(file, "content!");
	assert_int_equal(tree_getattr(tree, file, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(tree_fsync(tree, file, false), 0);
	tree_release(tree, file);
	assert_int_equal(tree_open(tree, io, file, O_RDWR, &keep), -ESTALE);
	tree_settle(tree, io, true);
	assert_file(root, "f", "another");
}

static void an_open_file_outlives_being_overwritten(void **state)
{
	struct node *file = make_file(root, "f", "content");
	bool keep;

	(void)state;
	make_file(root, "g", "another");
	assert_int_equal(tree_open(tree, io, file, O_RDWR, &keep), 0);
	assert_int_equal(move(root, "g", root, "f", 0), 0);
	put(file, 0, "C");
	assert_open_holds(file, "Content");
	tree_release(tree, file);
	assert_file(root, "f", "another");
	assert_int_equal(try_lookup(root, "g"), -ENOENT);
}

static void a_file_may_be_renamed_while_it_is_written(void **state)
{
	struct node *d = make_dir(root, "d");
	struct node *file = make_file(root, "f", "content");
	bool keep;

	(void)state;
	assert_int_equal(tree_open(tree, io, file, O_RDWR, &keep), 0);
	assert_int_equal(move(root, "f", d, long_name('x'), 0), 0);
	put(file, 0, "C");
	assert_int_equal(tree_fsync(tree, file, true), 0);
	tree_release(tree, file);
	remount();
	assert_file(lookup(root, "d"), long_name('x'), "Content");
}

static void truncating_opens_and_sizes_are_seen_at_once(void **state)
{
	struct node *file = make_file(root, "f", "content");
	struct stat st = { .st_size = 10000 };
	bool keep;

	(void)state;
	assert_int_equal(tree_setattr(tree, io, file, &st, TREE_SET_SIZE, &st), 0);
	assert_int_equal(st.st_size, 10000);
	st.st_size = 3;
	assert_int_equal(tree_setattr(tree, io, file, &st, TREE_SET_SIZE, &st), 0);
	assert_file(root, "f", "con");
	assert_int_equal(tree_open(tree, io, file, O_WRONLY | O_TRUNC, &keep), 0);
	tree_release(tree, file);
	assert_file(root, "f", "");
}

static void hard_links_are_one_file(void **state)
{
	struct node *d = make_dir(root, "d");
	struct node *file = make_file(root, "f", "content");
	struct tree_entry entry;
	bool keep;

	(void)state;
	assert_int_equal(tree_link(tree, io, file, d, long_name('h'), &entry), 0);
	assert_ptr_equal(entry.node, file);
	assert_int_equal(entry.st.st_nlink, 2);
	assert_int_equal(move(root, "f", d, long_name('h'), 0), 0); /* POSIX: nothing happens */
	assert_file(root, "f", "content");
	remount();
	d = lookup(root, "d");
	file = lookup(d, long_name('h'));
	assert_ptr_equal(lookup(root, "f"), file);
	assert_int_equal(tree_open(tree, io, file, O_RDWR, &keep), 0);
	put(file, 0, "C");
	tree_release(tree, file);
	assert_int_equal(tree_unlink(tree, root, "f"), 0);
	assert_file(d, long_name('h'), "Content");
	assert_int_equal(move(d, long_name('h'), root, "g", 0), 0);
	remount_settled();
	assert_file(root, "g", "Content");
}

static void symlinks_and_directories_get_no_second_name(void **state)
{
	struct tree_entry entry;

	(void)state;
	assert_int_equal(tree_link(tree, io, make_link(root, "l", "t"), root, "m", &entry), -EPERM);
	assert_int_equal(tree_link(tree, io, make_dir(root, "d"), root, "e", &entry), -EPERM);
	assert_int_equal(backing_count(root), 3);
}

/* ---- renaming --------------------------------------------------------------------------- */

enum kind { FILE_KIND, LONG_FILE, DIR_KIND, LINK_KIND, LONG_LINK, HALF_LINK, N_KINDS };

/* Something of a kind, called name, that knows what it is. */
static void make_kind(enum kind kind, struct node *in, const char *name, char mark)
{
	const char text[] = { mark, 0 };

	switch (kind) {
	case DIR_KIND:
		make_file(make_dir(in, name), text, text);
		break;
	case LINK_KIND:
		make_link(in, name, text);
		break;
	case LONG_LINK:
		make_link(in, name, long_target(mark, 4095));
		break;
	case HALF_LINK: /* fits when it is sealed once, not when twice */
		make_link(in, name, long_target(mark, 2500));
		break;
	default:
		make_file(in, name, text);
	}
}

static const char *name_for(enum kind kind, char mark)
{
	static const char *names[] = { "a", "b", "c", "d" };

	return kind == LONG_FILE ? long_name(mark) : names[mark - 'a'];
}

static void assert_kind(enum kind kind, struct node *in, const char *name, char mark)
{
	const char text[] = { mark, 0 };

	if (kind == DIR_KIND)
		assert_file(lookup(in, name), text, text);
	else if (kind == LINK_KIND)
		assert_link(in, name, text);
	else if (kind == LONG_LINK)
		assert_link(in, name, long_target(mark, 4095));
	else if (kind == HALF_LINK)
		assert_link(in, name, long_target(mark, 2500));
	else
		assert_file(in, name, text);
}

static void anything_can_be_renamed_and_back(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < N_KINDS; kind++) {
		const char *a = name_for(kind, 'a');
		const char *b = name_for(kind, 'b');
		struct node *d = make_dir(root, "dir");

		make_kind(kind, root, a, 'a');
		assert_int_equal(move(root, a, d, b, 0), 0);
		assert_int_equal(try_lookup(root, a), -ENOENT);
		assert_kind(kind, d, b, 'a');
		assert_int_equal(entries_in(d), 1);
		remount();
		d = lookup(root, "dir");
		assert_kind(kind, d, b, 'a');
		assert_int_equal(move(d, b, d, a, 0), 0);
		assert_kind(kind, d, a, 'a');
		remount_settled();
		d = lookup(root, "dir");
		assert_kind(kind, d, a, 'a');
		assert_int_equal(move(d, a, root, a, RENAME_NOREPLACE), 0);
		assert_kind(kind, root, a, 'a');
		assert_int_equal(backing_count(d), 1); /* no sidecar is left */
		assert_int_equal(move(root, a, root, "old", 0), 0);
		assert_int_equal(tree_rmdir(tree, root, "dir"), 0);
		if (kind == DIR_KIND)
			assert_int_equal(tree_unlink(tree, lookup(root, "old"), "a"), 0);
		assert_int_equal(kind == DIR_KIND ? tree_rmdir(tree, root, "old")
						  : tree_unlink(tree, root, "old"),
				 0);
		assert_int_equal(backing_count(root), 1);
	}
}

static void a_settled_link_keeps_no_sidecar_that_only_two_names_needed(void **state)
{
	(void)state;
	make_kind(HALF_LINK, root, "a", 'a');
	assert_int_equal(backing_count(root), 2); /* with the record */
	assert_int_equal(move(root, "a", root, "b", 0), 0);
	assert_int_equal(backing_count(root), 3);
	remount_settled();
	assert_kind(HALF_LINK, root, "b", 'a');
	assert_int_equal(backing_count(root), 2);
}

static void anything_can_be_renamed_over_what_it_may_replace(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < N_KINDS; kind++)
		for (enum kind over = 0; over < N_KINDS; over++) {
			const char *a = name_for(kind, 'a');
			const char *b = name_for(over, 'b');
			int wanted = 0;

			make_kind(kind, root, a, 'a');
			make_kind(over, root, b, 'b');
			if (kind == DIR_KIND && over == DIR_KIND)
				wanted = -ENOTEMPTY;
			else if (kind == DIR_KIND)
				wanted = -ENOTDIR;
			else if (over == DIR_KIND)
				wanted = -EISDIR;
			assert_int_equal(move(root, a, root, b, RENAME_NOREPLACE), -EEXIST);
			assert_kind(over, root, b, 'b');
			assert_int_equal(move(root, a, root, b, 0), wanted);
			remount();
			if (wanted) {
				assert_kind(kind, root, a, 'a');
				assert_kind(over, root, b, 'b');
			} else {
				assert_int_equal(try_lookup(root, a), -ENOENT);
				assert_kind(kind, root, b, 'a');
				if (kind != DIR_KIND) {
					assert_int_equal(tree_unlink(tree, root, b), 0);
					assert_int_equal(backing_count(root), 1);
				}
			}
			teardown(NULL);
			setup(NULL);
		}
}

static void any_two_things_can_be_exchanged(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < N_KINDS; kind++)
		for (enum kind other = 0; other < N_KINDS; other++)
			for (int apart = 0; apart < 2; apart++) {
				const char *a = name_for(kind, 'a');
				const char *b = name_for(other, 'b');
				struct node *d = apart ? make_dir(root, "dir") : root;

				make_kind(kind, root, a, 'a');
				make_kind(other, d, b, 'b');
				assert_int_equal(move(root, a, d, b, RENAME_EXCHANGE), 0);
				assert_kind(kind, d, b, 'a');
				assert_kind(other, root, a, 'b');
				remount();
				d = apart ? lookup(root, "dir") : root;
				assert_kind(kind, d, b, 'a');
				assert_kind(other, root, a, 'b');
				assert_int_equal(move(d, b, root, a, RENAME_EXCHANGE), 0);
				remount_settled();
				d = apart ? lookup(root, "dir") : root;
				assert_kind(kind, root, a, 'a');
				assert_kind(other, d, b, 'b');
				teardown(NULL);
				setup(NULL);
			}
}

static void a_directory_replaces_an_empty_one(void **state)
{
	struct node *a = make_dir(root, "a");

	(void)state;
	make_file(a, "f", "content");
	make_dir(root, "b");
	assert_int_equal(move(root, "a", root, "b", 0), 0);
	assert_file(a, "f", "content"); /* who is inside stays inside */
	remount();
	assert_int_equal(try_lookup(root, "a"), -ENOENT);
	assert_file(lookup(root, "b"), "f", "content");
}

static void impossible_renames_change_nothing(void **state)
{
	struct node *a = make_dir(root, "a");
	struct node *b = make_dir(a, "b");

	(void)state;
	make_file(b, "f", "content");
	assert_int_equal(move(root, "a", b, "x", 0), -EINVAL);
	assert_int_equal(move(root, "none", b, "x", 0), -ENOENT);
	assert_int_equal(move(root, "a", root, "none", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(move(root, "a", root, "y", RENAME_WHITEOUT | RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(move(root, "a", root, "a", 0), 0);
	assert_int_equal(move(root, "a", root, "a", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(move(root, "a", root, "a", RENAME_EXCHANGE), 0);
	remount();
	assert_file(lookup(lookup(root, "a"), "b"), "f", "content");
}

/* The backing refuses the system call after so many others. */
static void refuse_rename(enum kind kind, unsigned int flags, int others)
{
	const char *a = name_for(kind, 'a');
	const char *b = name_for(kind, 'b');
	bool over_empty = kind == DIR_KIND && !flags;

	make_kind(kind, root, a, 'a');
	if (over_empty)
		make_dir(root, b);
	else
		make_kind(kind, root, b, 'b');
	rename_error = EIO;
	renames_before_error = others;
	if (move(root, a, root, b, flags) == 0) {
		assert_int_equal(rename_error, EIO); /* there were fewer */
		rename_error = 0;
		return;
	}
	assert_int_equal(rename_error, 0);
	for (int settled = 0; settled < 2; settled++) {
		assert_kind(kind, root, a, 'a');
		if (over_empty)
			assert_int_equal(entries_in(lookup(root, b)), 0);
		else
			assert_kind(kind, root, b, 'b');
		remount_settled();
	}
}

static void a_rename_that_the_backing_refuses_changes_nothing(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < N_KINDS; kind++)
		for (int others = 0; others < 2; others++) {
			refuse_rename(kind, 0, others);
			teardown(NULL);
			setup(NULL);
			refuse_rename(kind, RENAME_EXCHANGE, others);
			teardown(NULL);
			setup(NULL);
		}
}

/* ---- bindings ----------------------------------------------------------------------------- */

static void files_swapped_by_hand_do_not_open(void **state)
{
	struct node *d = make_dir(root, "d");

	(void)state;
	make_file(root, "a", "1");
	make_file(root, "b", "2");
	make_file(d, "c", "3");
	move_by_hand(root, "a", root, "b", RENAME_EXCHANGE);
	remount();
	assert_int_equal(try_open(root, "a"), -EIO);
	assert_int_equal(try_open(root, "b"), -EIO);
	d = lookup(root, "d");
	assert_file(d, "c", "3");
	move_by_hand(root, "a", d, "c", RENAME_EXCHANGE);
	remount();
	assert_int_equal(try_open(root, "a"), -EIO);
	assert_int_equal(try_open(lookup(root, "d"), "c"), -EIO);
	assert_int_equal(tree_unlink(tree, root, "a"), 0); /* it can be removed */
}

static void directories_swapped_by_hand_are_not_entered(void **state)
{
	struct node *a = make_dir(root, "a");

	(void)state;
	make_dir(root, "b");
	make_dir(a, "c");
	move_by_hand(root, "b", a, "c", RENAME_EXCHANGE);
	remount();
	assert_int_equal(try_enter(root, "b"), -EIO);
	assert_int_equal(try_enter(lookup(root, "a"), "c"), -EIO);
	assert_int_equal(try_lookup(lookup(root, "b"), "x"), -EIO);
	assert_int_equal(entries_in(root), 2);
}

static void symlinks_swapped_by_hand_are_not_followed(void **state)
{
	static char target[LINKS_PLAIN_MAX + 1];

	(void)state;
	make_link(root, "a", "1");
	make_link(root, "b", "2");
	move_by_hand(root, "a", root, "b", RENAME_EXCHANGE);
	remount();
	assert_int_equal(tree_readlink(tree, lookup(root, "a"), target), -EIO);
	assert_int_equal(tree_readlink(tree, lookup(root, "b"), target), -EIO);
}

/* Put another name of a thing in the place of something else. */
static void link_by_hand(const char *from, const char *to)
{
	assert_int_equal(unlinkat(dir.fd, stored(root, to), 0), 0);
	assert_int_equal(linkat(dir.fd, stored(root, from), dir.fd, stored(root, to), 0), 0);
}

static void a_file_linked_by_hand_does_not_open_even_while_it_is_open(void **state)
{
	struct node *file;
	bool keep;

	(void)state;
	make_file(root, "a", "1");
	make_file(root, "b", "2");
	tree_settle(tree, io, true);
	link_by_hand("a", "b");
	remount();
	file = lookup(root, "a");
	assert_int_equal(tree_open(tree, io, file, O_RDONLY, &keep), 0);
	assert_int_equal(try_open(root, "b"), -EIO);
	assert_int_equal(try_open(root, "a"), 0);
	/* Overwriting the one would destroy the other. */
	assert_int_equal(tree_open(tree, io, lookup(root, "b"), O_WRONLY | O_TRUNC, &keep), -EIO);
	assert_open_holds(file, "1");
	assert_int_equal(tree_unlink(tree, root, "b"), 0);
	tree_release(tree, file);
	assert_file(root, "a", "1");
	make_file(root, "b", "3");
	assert_file(root, "b", "3");
}

static void a_symlink_linked_by_hand_is_not_followed(void **state)
{
	static char target[LINKS_PLAIN_MAX + 1];
	struct node *link;

	(void)state;
	make_link(root, "a", "1");
	make_link(root, "b", "2");
	link_by_hand("a", "b");
	remount();
	link = lookup(root, "b");
	assert_link(root, "a", "1");
	/* Nor from what the kernel has cached of the other one. */
	assert_ptr_not_equal(link, lookup(root, "a"));
	assert_int_equal(tree_readlink(tree, link, target), -EIO);
}

static void directories_swapped_while_they_are_known_are_not_entered(void **state)
{
	struct node *a = make_dir(root, "a");
	struct node *b = make_dir(root, "b");

	(void)state;
	make_file(a, "x", "1");
	make_file(b, "x", "2");
	move_by_hand(root, "a", root, "b", RENAME_EXCHANGE);
	assert_int_equal(try_enter(root, "a"), -EIO);
	assert_int_equal(try_enter(root, "b"), -EIO);
	move_by_hand(root, "a", root, "b", RENAME_EXCHANGE);
	assert_file(lookup(root, "a"), "x", "1");
	assert_file(lookup(root, "b"), "x", "2");
}

static void a_vault_of_hard_linked_files_is_read_as_ever(void **state)
{
	int names = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct node *a;

	(void)state;
	/* A snapshot made of links, say. */
	make_file(root, "a", "1");
	make_file(root, "b", "2");
	tree_settle(tree, io, true);
	assert_int_equal(linkat(dir.fd, stored(root, "a"), names, ".cryptfs-tmp.other", 0), 0);
	remount();
	a = lookup(root, "a");
	assert_file(root, "a", "1");
	assert_ptr_equal(lookup(root, "a"), a);
	assert_int_equal(move(root, "a", root, "c", 0), 0);
	assert_ptr_equal(lookup(root, "c"), a);
	assert_file(root, "c", "1");
	close(names);
}

static void a_symlink_with_a_stranger_beside_its_seal_is_damaged(void **state)
{
	char text[LINKS_STORED_MAX + 1];
	char forged[LINKS_STORED_MAX + 8];
	char target[LINKS_PLAIN_MAX + 1];
	const char *name;

	(void)state;
	make_link(root, "a", "target");
	name = stored(root, "a");
	assert_int_equal(links_read(dir.fd, name, text), 0);
	(void)snprintf(forged, sizeof(forged), "AAAA.%s", text);
	assert_int_equal(unlinkat(dir.fd, name, 0), 0);
	assert_int_equal(symlinkat(forged, dir.fd, name), 0);
	remount();
	/* The second seal opens; but then lstat, which does not read it, would be wrong. */
	assert_int_equal(tree_readlink(tree, lookup(root, "a"), target), -EIO);
}

/* A thing of a kind opens or enters as itself: 0 or -errno. */
static int try_use(enum kind kind, struct node *in, const char *name)
{
	static char target[LINKS_PLAIN_MAX + 1];

	if (kind == DIR_KIND)
		return try_enter(in, name);
	if (kind == LINK_KIND)
		return tree_readlink(tree, lookup(in, name), target);
	return try_open(in, name);
}

static const enum kind bound_kinds[] = { FILE_KIND, DIR_KIND, LINK_KIND };

static void an_interrupted_rename_is_valid_in_both_places_and_no_third(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		enum kind kind = bound_kinds[i];

		make_kind(kind, root, "a", 'a');
		assert_int_equal(move(root, "a", root, "b", 0), 0);
		remount();
		assert_int_equal(try_use(kind, root, "b"), 0);
		move_by_hand(root, "b", root, "a", 0); /* as if the last step were missing */
		remount();
		assert_kind(kind, root, "a", 'a');
		move_by_hand(root, "a", root, "c", 0);
		remount();
		assert_int_equal(try_use(kind, root, "c"), -EIO);
		teardown(NULL);
		setup(NULL);
	}
}

static void settling_leaves_a_renamed_thing_one_place(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		enum kind kind = bound_kinds[i];

		make_kind(kind, root, "a", 'a');
		assert_int_equal(move(root, "a", root, "b", 0), 0);
		remount_settled();
		if (kind == FILE_KIND)
			assert_only_binding(header_of(root, "b").bindings, root, "b");
		if (kind == DIR_KIND)
			assert_only_binding(record_of(lookup(root, "b")).bindings, root, "b");
		assert_kind(kind, root, "b", 'a');
		move_by_hand(root, "b", root, "a", 0);
		remount();
		assert_int_equal(try_use(kind, root, "a"), -EIO);
		teardown(NULL);
		setup(NULL);
	}
}

static void settling_after_an_interrupted_rename_leaves_one_place(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) { /* a symlink is settled when it is renamed again */
		enum kind kind = bound_kinds[i];

		make_kind(kind, root, "a", 'a');
		remount_settled();
		assert_int_equal(move(root, "a", root, "b", 0), 0);
		move_by_hand(root, "b", root, "a", 0);
		remount();
		assert_kind(kind, root, "a", 'a');
		remount_settled();
		move_by_hand(root, "a", root, "b", 0);
		remount();
		assert_int_equal(try_use(kind, root, "b"), -EIO);
		teardown(NULL);
		setup(NULL);
	}
}

static void a_rename_that_failed_leaves_one_place_when_settled(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		enum kind kind = bound_kinds[i];

		make_kind(kind, root, "a", 'a');
		rename_error = EIO;
		assert_int_equal(move(root, "a", root, "b", 0), -EIO);
		remount_settled();
		move_by_hand(root, "a", root, "b", 0);
		remount();
		assert_int_equal(try_use(kind, root, "b"), -EIO);
		teardown(NULL);
		setup(NULL);
	}
}

static void exchanged_things_have_one_place_when_settled(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		enum kind kind = bound_kinds[i];

		make_kind(kind, root, "a", 'a');
		make_kind(kind, root, "b", 'b');
		assert_int_equal(move(root, "a", root, "b", RENAME_EXCHANGE), 0);
		remount_settled();
		assert_kind(kind, root, "a", 'b');
		move_by_hand(root, "a", root, "b", RENAME_EXCHANGE);
		remount();
		assert_int_equal(try_use(kind, root, "a"), -EIO);
		assert_int_equal(try_use(kind, root, "b"), -EIO);
		teardown(NULL);
		setup(NULL);
	}
}

static void a_settled_tree_has_no_dirty_file(void **state)
{
	struct node *d = make_dir(root, "d");
	char name[16];

	(void)state;
	for (int i = 0; i < 300; i++) { /* more than one batch */
		(void)snprintf(name, sizeof(name), "%d", i);
		make_file(d, name, "x");
	}
	assert_true(header_of(d, "7").flags & FORMAT_DIRTY);
	tree_settle(tree, io, true);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		assert_false(header_of(d, name).flags & FORMAT_DIRTY);
		assert_file(d, name, "x");
	}
}

/* Cut, but for the last call of it; the header knows how long the file is. */
static void a_cut_that_a_death_stopped_shows_in_the_size(void **state)
{
	static char content[1000];
	struct stat shorter = { .st_size = 500 };
	struct tree_entry entry;
	struct node *f;
	int fd;

	(void)state;
	memset(content, 'x', sizeof(content) - 1);
	f = make_file(root, "f", content);
	assert_int_equal(tree_setattr(tree, io, f, &shorter, TREE_SET_SIZE, &entry.st), 0);
	fd = openat(dir.fd, stored(root, "f"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, FORMAT_CONTENT_START + 999), 0);
	close(fd);
	remount();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tree_lookup(tree, root, "f", &entry), 0);
		tree_correct_size(tree, io, &entry);
		assert_int_equal(entry.st.st_size, 500);
	}
	content[500] = '\0';
	assert_file(root, "f", content);
}

/* ---- records of directories ---------------------------------------------------------------- */

static void an_empty_directory_without_a_record_is_damage_and_can_be_removed(void **state)
{
	(void)state;
	make_file(root, "f", "content");
	assert_int_equal(unlinkat(dir.fd, stored(root, "f"), 0), 0);
	assert_int_equal(mkdirat(dir.fd, stored(root, "f"), 0700), 0);
	assert_int_equal(mkdirat(dir.fd, stored(root, "d"), 0700), 0);
	remount();
	assert_int_equal(try_enter(root, "f"), -EIO);
	assert_int_equal(try_enter(root, "d"), -EIO);
	assert_int_equal(try_lookup(lookup(root, "d"), "x"), -EIO);
	assert_int_equal(tree_rmdir(tree, root, "f"), 0);
	make_dir(root, "new");
	assert_int_equal(move(root, "new", root, "d", 0), 0);
	assert_int_equal(try_enter(root, "d"), 0);
}

static void a_directory_that_was_being_made_is_no_entry_and_goes_with_its_parent(void **state)
{
	struct node *d = make_dir(root, "d");

	(void)state;
	/* As a death before it gets its name leaves it. */
	make_dir(d, "half");
	assert_int_equal(__real_renameat2(dirfd_of(d), stored(d, "half"), dirfd_of(d),
					  ".cryptfs-tmp.0123456789abcdef", 0),
			 0);
	remount();
	d = lookup(root, "d");
	assert_int_equal(entries_in(d), 0);
	assert_int_equal(try_lookup(d, "half"), -ENOENT);
	assert_int_equal(tree_rmdir(tree, root, "d"), 0);
	assert_int_equal(backing_count(root), 1);
}

static void a_directory_with_entries_and_no_record_is_damage(void **state)
{
	struct node *d = make_dir(root, "d");
	int fd = dirfd_of(d);
	char path[32];

	(void)state;
	make_file(d, "f", "content");
	assert_int_equal(unlinkat(fd, DIRREC_FILE, 0), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)removexattr(path, DIRREC_XATTR);
	remount();
	assert_int_equal(try_enter(root, "d"), -EIO);
}

static void a_record_is_repaired_from_its_copy(void **state)
{
	struct node *d = make_dir(root, "d");
	struct format_dir_record before = record_of(d);
	struct format_dir_record after;
	char path[32];
	uint8_t raw[100];
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd_of(d));
	if (getxattr(path, DIRREC_XATTR, raw, sizeof(raw)) < 0)
		skip(); /* no attributes here */
	make_file(d, "f", "content");
	fd = openat(dirfd_of(d), DIRREC_FILE, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damage", 6, 20), 6);
	close(fd);
	remount();
	d = lookup(root, "d");
	assert_file(d, "f", "content");
	after = record_of(d);
	assert_memory_equal(&after, &before, sizeof(after));
}

static void the_root_is_bound_too(void **state)
{
	struct node *d = make_dir(root, "d");
	struct tree *other = NULL;
	int fd = openat(dirfd_of(d), ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(tree_new(&store, fd, &other), -EIO);
	assert_null(other);
	close(fd);
}

static void a_root_without_a_record_is_damage_even_if_it_is_empty(void **state)
{
	struct tree *other = NULL;
	struct tempdir empty;

	(void)state;
	tempdir_make(&empty);
	assert_int_equal(tree_new(&store, empty.fd, &other), -EIO);
	assert_null(other);
	assert_int_equal(tempdir_count(&empty), 0);
	tempdir_remove(&empty);
}

/* ---- listing --------------------------------------------------------------------------------- */

enum { MANY = 2000 };

static void what_stays_is_listed_once_while_others_come_and_go(void **state)
{
	static uint8_t seen[MANY];
	struct node *d = make_dir(root, "d");
	struct listing_item item;
	struct listing *l;
	bool keep;
	char name[16];
	off_t at = 0;
	int n = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		make_file(d, name, "x");
	}
	assert_int_equal(tree_opendir(tree, d, &l, &keep), 0);
	for (; !tree_list(tree, l, at, &item); at = item.next) {
		if (item.is_dot)
			continue;
		if (item.name[0] != '+')
			seen[atoi(item.name)]++;
		/* Odd ones go and new ones come, before and behind. */
		if (++n % 4 == 0) {
			(void)snprintf(name, sizeof(name), "%d", n % MANY | 1);
			(void)tree_unlink(tree, d, name);
			(void)snprintf(name, sizeof(name), "+%d", n);
			if (n < 2 * MANY)
				make_file(d, name, "y");
		}
	}
	tree_closedir(tree, l);
	for (int i = 0; i < MANY; i++)
		assert_in_range(seen[i], i % 2 ? 0 : 1, 1);
}

static void a_listing_can_go_on_from_anywhere(void **state)
{
	static struct listing_item items[300];
	struct listing_item item;
	struct listing *l;
	bool keep;
	char name[16];
	off_t at = 0;
	int n = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		make_file(root, name, "x");
	}
	assert_int_equal(tree_opendir(tree, root, &l, &keep), 0);
	for (; !tree_list(tree, l, at, &items[n]); n++)
		at = items[n].next;
	assert_int_equal(n, 202);
	for (int i = n - 1; i >= 0; i -= 7) {
		for (int again = 0; again < 2; again++) {
			assert_int_equal(tree_list(tree, l, i ? items[i - 1].next : 0, &item), 0);
			assert_string_equal(item.name, items[i].name);
		}
	}
	tree_closedir(tree, l);
}

static bool forbids_seeks;

off_t __real_lseek64(int fd, off_t offset, int whence);
off_t __wrap_lseek64(int fd, off_t offset, int whence);
off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
	if (!forbids_seeks || (whence == SEEK_SET && !offset))
		return __real_lseek64(fd, offset, whence);
	errno = EINVAL;
	return -1;
}

/* As the kernel does when the reader's buffer is full; several readings of the directory. */
static void a_listing_goes_back_a_little_without_a_seek(void **state)
{
	enum { FILES = 700, STEP = 37, BACK = 30 };
	static struct listing_item items[FILES + 3];
	struct listing_item item;
	struct listing *l;
	bool keep;
	char name[160];
	int n = 0;

	(void)state;
	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "%0150d", i);
		make_file(root, name, "x");
	}
	assert_int_equal(tree_opendir(tree, root, &l, &keep), 0);
	forbids_seeks = true;
	while (!tree_list(tree, l, n ? items[n - 1].next : 0, &items[n])) {
		n++;
		for (int i = n - BACK; n % STEP == 0 && i < n; i++) {
			assert_int_equal(tree_list(tree, l, items[i - 1].next, &item), 0);
			assert_string_equal(item.name, items[i].name);
		}
	}
	assert_int_equal(n, FILES + 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tree_list(tree, l, items[n - 1].next, &item), -ENOENT);
	assert_int_equal(tree_list(tree, l, items[n - BACK].next, &item), 0);
	assert_string_equal(item.name, items[n - BACK + 1].name);
	forbids_seeks = false;
	tree_closedir(tree, l);
}

static void a_listed_entry_that_is_gone_is_not_found(void **state)
{
	struct listing_item item;
	struct tree_entry entry;
	struct listing *l;
	bool keep;
	off_t at = 0;

	(void)state;
	make_file(root, "f", "content");
	assert_int_equal(tree_opendir(tree, root, &l, &keep), 0);
	do {
		assert_int_equal(tree_list(tree, l, at, &item), 0);
		at = item.next;
	} while (item.is_dot);
	assert_int_equal(tree_list_lookup(tree, l, &item, &entry), 0);
	assert_int_equal(entry.st.st_size, 7);
	assert_int_equal(tree_unlink(tree, root, "f"), 0);
	assert_int_equal(tree_list_lookup(tree, l, &item, &entry), -ENOENT);
	tree_closedir(tree, l);
}

/* ---- attributes ---------------------------------------------------------------------------------
 */

static bool has_attributes(void)
{
	struct node *d = make_dir(root, "probe");
	bool yes = !tree_setxattr(tree, io, d, "user.x", "1", 1, 0);

	assert_int_equal(tree_rmdir(tree, root, "probe"), 0);
	return yes;
}

static void attributes_belong_to_one_file(void **state)
{
	struct node *f;
	struct node *g;
	char value[100];
	char list[200];

	(void)state;
	if (!has_attributes())
		skip();
	f = make_file(root, "f", "1");
	g = make_file(root, "g", "2");
	assert_int_equal(tree_setxattr(tree, io, f, "user.name", "value", 5, 0), 0);
	assert_int_equal(tree_setxattr(tree, io, f, "user.name", "v", 1, XATTR_CREATE), -EEXIST);
	assert_int_equal(tree_setxattr(tree, io, f, "user.none", "v", 1, XATTR_REPLACE), -ENODATA);
	assert_int_equal(move(root, "f", root, "h", 0), 0);
	remount_settled();
	f = lookup(root, "h");
	g = lookup(root, "g");
	assert_int_equal(tree_getxattr(tree, io, f, "user.name", NULL, 0), 5);
	assert_int_equal(tree_getxattr(tree, io, f, "user.name", value, 4), -ERANGE);
	assert_int_equal(tree_getxattr(tree, io, f, "user.name", value, 5), 5);
	assert_memory_equal(value, "value", 5);
	assert_int_equal(tree_getxattr(tree, io, g, "user.name", value, 5), -ENODATA);
	assert_int_equal(tree_listxattr(tree, io, g, list, sizeof(list)), 0);
	assert_int_equal(tree_listxattr(tree, io, f, list, sizeof(list)), 10);
	assert_string_equal(list, "user.name");
	assert_int_equal(tree_listxattr(tree, io, f, list, 9), -ERANGE);
	assert_int_equal(tree_removexattr(tree, io, f, "user.name"), 0);
	assert_int_equal(tree_removexattr(tree, io, f, "user.name"), -ENODATA);
	assert_int_equal(tree_setxattr(tree, io, f, "other.name", "v", 1, 0), -EOPNOTSUPP);
}

static void a_directorys_record_is_none_of_its_attributes(void **state)
{
	struct node *d;
	char value[100];
	char list[200];

	(void)state;
	if (!has_attributes())
		skip();
	d = make_dir(root, "d");
	assert_int_equal(tree_listxattr(tree, io, d, list, sizeof(list)), 0);
	assert_int_equal(tree_getxattr(tree, io, d, DIRREC_XATTR, value, sizeof(value)), -ENODATA);
	assert_int_equal(tree_setxattr(tree, io, d, "user.x", "", 0, 0), 0);
	assert_int_equal(tree_getxattr(tree, io, d, "user.x", value, sizeof(value)), 0);
	assert_int_equal(tree_listxattr(tree, io, d, list, sizeof(list)), 7);
}

static void setting_modes_and_times_touches_nothing_else(void **state)
{
	struct node *f = make_file(root, "f", "content");
	struct stat st = { .st_mode = 0640, .st_mtim = { 1000, 5 } };

	(void)state;
	assert_int_equal(tree_setattr(tree, io, f, &st, TREE_SET_MODE | TREE_SET_MTIME, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	assert_int_equal(st.st_size, 7);
	remount_settled();
	assert_int_equal(tree_getattr(tree, lookup(root, "f"), &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	assert_int_equal(st.st_mtim.tv_nsec, 5);
	assert_file(root, "f", "content");
}

/* ---- many threads ---------------------------------------------------------------------------- */

enum { CLIENTS = 3, ROUNDS = 500, SHARED_NAMES = 6 };

static struct node *shared_dirs[2];

/*
 * The kernel lets nobody look into a directory while entries of it are made,
 * moved or removed.  What is known already may be opened and used meanwhile.
 */
static pthread_rwlock_t dir_locks[2] = { PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER };

static const char *shared_name(unsigned int *random)
{
	static const char *const names[SHARED_NAMES] = { "a", "b", "c", "d", "e", "f" };

	return names[(unsigned int)rand_r(random) % SHARED_NAMES];
}

/* What a file may hold: one line, whoever wrote it. */
static bool use_file(struct io *mine, struct node *file)
{
	static const char line[] = "a line that all write";
	const void *data;
	size_t done;
	bool keep;
	bool good = true;
	int r = tree_open(tree, mine, file, O_RDWR, &keep);

	if (r)
		return r == -ENOENT || r == -ESTALE; /* unlinked meanwhile */
	memcpy(mine->data + IO_DATA, line, sizeof(line));
	good = !tree_write(tree, mine, file, 0, sizeof(line), false) &&
	       !tree_read(tree, mine, file, 0, 100, &data, &done) && done == sizeof(line) &&
	       !memcmp(data, line, done);
	tree_release(tree, file);
	return good;
}

static bool make_and_use(struct io *mine, int in, const char *name)
{
	struct tree_entry entry;
	bool good;
	int r;

	pthread_rwlock_wrlock(&dir_locks[in]);
	r = tree_create(tree, mine, shared_dirs[in], name, 0600, &me, &entry);
	pthread_rwlock_unlock(&dir_locks[in]);
	if (!r) {
		tree_release(tree, entry.node);
	} else if (r == -EEXIST) {
		pthread_rwlock_rdlock(&dir_locks[in]);
		r = tree_lookup(tree, shared_dirs[in], name, &entry);
		pthread_rwlock_unlock(&dir_locks[in]);
	}
	if (r)
		return r == -ENOENT;
	good = use_file(mine, entry.node);
	nodes_forget(tree_nodes(tree), entry.node, 1);
	return good;
}

static bool list_all(struct node *in)
{
	struct listing_item item;
	struct listing *l;
	bool keep;
	bool good = true;
	off_t at = 0;

	if (tree_opendir(tree, in, &l, &keep))
		return false;
	for (; !tree_list(tree, l, at, &item); at = item.next) {
		struct tree_entry entry;

		if (item.is_dot)
			continue;
		good = good && !item.damaged;
		if (!tree_list_lookup(tree, l, &item, &entry))
			nodes_forget(tree_nodes(tree), entry.node, 1);
	}
	tree_closedir(tree, l);
	return good;
}

static bool remove_one(int in, const char *name)
{
	int r;

	pthread_rwlock_wrlock(&dir_locks[in]);
	r = tree_unlink(tree, shared_dirs[in], name);
	pthread_rwlock_unlock(&dir_locks[in]);
	return !r || r == -ENOENT;
}

static bool rename_one(struct io *mine, int from, int to, unsigned int *random)
{
	const char *old = shared_name(random);
	int r;

	pthread_rwlock_wrlock(&dir_locks[0]);
	pthread_rwlock_wrlock(&dir_locks[1]);
	r = tree_rename(tree, mine, shared_dirs[from], old, shared_dirs[to], shared_name(random),
			rand_r(random) % 2 ? RENAME_EXCHANGE : 0, &me);
	pthread_rwlock_unlock(&dir_locks[1]);
	pthread_rwlock_unlock(&dir_locks[0]);
	return !r || r == -ENOENT;
}

static bool one_round(struct io *mine, unsigned int *random)
{
	int in = rand_r(random) % 2;
	bool good = true;

	switch (rand_r(random) % 8) {
	case 0:
		return remove_one(in, shared_name(random));
	case 1:
	case 2:
		return rename_one(mine, in, rand_r(random) % 2, random);
	case 3:
		pthread_rwlock_rdlock(&dir_locks[in]);
		good = list_all(shared_dirs[in]);
		pthread_rwlock_unlock(&dir_locks[in]);
		return good;
	case 4:
		tree_settle(tree, mine, true);
		return true;
	default:
		return make_and_use(mine, in, shared_name(random));
	}
}

static void *client(void *arg)
{
	static char failed[] = "an answer that cannot be";
	unsigned int random = (unsigned int)(uintptr_t)arg;
	char *complaint = NULL;
	struct io *mine;

	if (io_new(&store, &mine))
		return failed;
	for (int i = 0; i < ROUNDS && !complaint; i++)
		if (!one_round(mine, &random))
			complaint = failed;
	io_free(mine);
	return complaint;
}

static void threads_share_the_tree(void **state)
{
	pthread_t threads[CLIENTS];
	void *complaints[CLIENTS];

	(void)state;
	shared_dirs[0] = make_dir(root, "x");
	shared_dirs[1] = make_dir(root, "y");
	for (uintptr_t i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, client, (void *)(i + 1)), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_join(threads[i], &complaints[i]), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_null(complaints[i]);
	remount_settled();
	for (int i = 0; i < 2; i++) {
		struct node *in = lookup(root, i ? "y" : "x");

		for (char name[] = "a"; name[0] <= 'f'; name[0]++) {
			int r = try_open(in, name);

			assert_true(!r || r == -ENOENT);
		}
	}
}

static void a_removed_directory_is_there_for_who_stands_in_it(void **state)
{
	struct node *d = make_dir(root, "d");
	struct listing *l;
	bool keep;
	struct stat st;

	(void)state;
	assert_int_equal(tree_rmdir(tree, root, "d"), 0);
	assert_int_equal(tree_getattr(tree, d, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	st.st_mode = 0711;
	st.st_mtim = (struct timespec){ 1000, 7 };
	assert_int_equal(tree_setattr(tree, io, d, &st, TREE_SET_MODE | TREE_SET_MTIME, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	assert_int_equal(tree_opendir(tree, d, &l, &keep), 0);
	tree_closedir(tree, l);
}

static void what_nobody_releases_is_settled_at_the_end(void **state)
{
	struct tree_entry entry;

	(void)state;
	assert_int_equal(tree_create(tree, io, root, "f", 0644, &me, &entry), 0);
	put(entry.node, 0, "x");
	tree_let_go(tree);
	tree_settle(tree, io, true);
	assert_false(header_of(root, "f").flags & FORMAT_DIRTY);
}

static atomic_bool settle_enough;

static void *settle_all_the_time(void *arg)
{
	struct io *mine = arg;

	while (!atomic_load(&settle_enough))
		tree_settle(tree, mine, true);
	return NULL;
}

static void a_directory_can_be_removed_while_it_is_settled(void **state)
{
	pthread_t settler;
	struct io *mine;
	int r = 0;

	(void)state;
	assert_int_equal(io_new(&store, &mine), 0);
	atomic_store(&settle_enough, false);
	assert_int_equal(pthread_create(&settler, NULL, settle_all_the_time, mine), 0);
	for (int i = 0; i < 5000 && !r; i++) {
		struct node *made = make_dir(root, "old");

		r = tree_rename(tree, io, root, "old", root, "new", 0, &me);
		if (!r)
			r = tree_rmdir(tree, root, "new");
		nodes_forget(tree_nodes(tree), made, 1);
	}
	atomic_store(&settle_enough, true);
	assert_int_equal(pthread_join(settler, NULL), 0);
	io_free(mine);
	assert_int_equal(r, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_made_is_found_by_the_next_mount),
		test(names_of_any_length_work),
		test(a_name_that_is_taken_stays_as_it_is),
		test(symlinks_of_any_length_work),
		test(a_fifo_is_a_fifo),
		test(the_wrong_kind_of_removal_is_refused),
		test(leftovers_do_not_keep_a_directory),
		test(a_strangers_file_keeps_a_directory),
		test(an_open_file_outlives_its_name),
		test(an_open_file_outlives_being_overwritten),
		test(a_file_may_be_renamed_while_it_is_written),
		test(truncating_opens_and_sizes_are_seen_at_once),
		test(hard_links_are_one_file),
		test(symlinks_and_directories_get_no_second_name),
		test(anything_can_be_renamed_and_back),
		test(a_settled_link_keeps_no_sidecar_that_only_two_names_needed),
		test(anything_can_be_renamed_over_what_it_may_replace),
		test(any_two_things_can_be_exchanged),
		test(a_directory_replaces_an_empty_one),
		test(impossible_renames_change_nothing),
		test(a_rename_that_the_backing_refuses_changes_nothing),
		test(files_swapped_by_hand_do_not_open),
		test(directories_swapped_by_hand_are_not_entered),
		test(symlinks_swapped_by_hand_are_not_followed),
		test(a_file_linked_by_hand_does_not_open_even_while_it_is_open),
		test(a_symlink_linked_by_hand_is_not_followed),
		test(directories_swapped_while_they_are_known_are_not_entered),
		test(a_vault_of_hard_linked_files_is_read_as_ever),
		test(a_symlink_with_a_stranger_beside_its_seal_is_damaged),
		test(an_interrupted_rename_is_valid_in_both_places_and_no_third),
		test(settling_leaves_a_renamed_thing_one_place),
		test(settling_after_an_interrupted_rename_leaves_one_place),
		test(a_rename_that_failed_leaves_one_place_when_settled),
		test(exchanged_things_have_one_place_when_settled),
		test(a_settled_tree_has_no_dirty_file),
		test(a_cut_that_a_death_stopped_shows_in_the_size),
		test(an_empty_directory_without_a_record_is_damage_and_can_be_removed),
		test(a_directory_that_was_being_made_is_no_entry_and_goes_with_its_parent),
		test(a_directory_with_entries_and_no_record_is_damage),
		test(a_record_is_repaired_from_its_copy),
		test(the_root_is_bound_too),
		test(a_root_without_a_record_is_damage_even_if_it_is_empty),
		test(what_stays_is_listed_once_while_others_come_and_go),
		test(a_listing_can_go_on_from_anywhere),
		test(a_listing_goes_back_a_little_without_a_seek),
		test(a_listed_entry_that_is_gone_is_not_found),
		test(attributes_belong_to_one_file),
		test(a_directorys_record_is_none_of_its_attributes),
		test(setting_modes_and_times_touches_nothing_else),
		test(threads_share_the_tree),
		test(what_nobody_releases_is_settled_at_the_end),
		test(a_removed_directory_is_there_for_who_stands_in_it),
		test(a_directory_can_be_removed_while_it_is_settled),
	};

	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
