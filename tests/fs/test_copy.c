/* SPDX-License-Identifier: MIT */
/* Copies from a plain directory into a vault and back, and what may come between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <sys/types.h>

#include "fs/copy.h"
#include "sides.h"

enum { MAX_TOLD = 32, MIB = 1 << 20 };

static struct tempdir out_dir;
static struct side *out;	 /* another plain one, to copy back into */
static struct side_hand hand[3]; /* of plain, vault and out */
static struct side_hand *const from = &hand[0];
static struct side_hand *const to = &hand[1];
static struct side_hand *const back = &hand[2];

static struct copy_counts counts;
static atomic_bool stop;
static struct {
	uint32_t n;
	char paths[MAX_TOLD][64];
	int errors[MAX_TOLD];
	bool is_source[MAX_TOLD];
} told;

static void take_hands(void)
{
	assert_int_equal(side_hand_new(plain, from), 0);
	assert_int_equal(side_hand_new(vault, to), 0);
	assert_int_equal(side_hand_new(out, back), 0);
}

static void free_hands(void)
{
	for (int i = 0; i < 3; i++)
		side_hand_free(&hand[i]);
}

static int setup(void **state)
{
	(void)state;
	sides_setup();
	tempdir_make(&out_dir);
	assert_int_equal(side_plain_new(out_dir.fd, &out), 0);
	take_hands();
	atomic_store(&stop, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free_hands();
	side_free(out);
	sides_empty(&out_dir);
	sides_teardown();
	return 0;
}

static void failed(void *arg, const struct copy_failure *f)
{
	(void)arg;
	if (told.n == MAX_TOLD)
		return;
	(void)snprintf(told.paths[told.n], sizeof(told.paths[0]), "%s", f->path);
	told.errors[told.n] = f->error;
	told.is_source[told.n++] = f->is_source;
}

static void assert_told(uint32_t i, const char *path, int error, bool is_source)
{
	assert_true(i < told.n);
	assert_string_equal(told.paths[i], path);
	assert_int_equal(told.errors[i], error);
	assert_int_equal(told.is_source[i], is_source);
}

static struct copy_rules rules(struct side *a, struct side *b)
{
	return (struct copy_rules){ .from = a,
				    .to = b,
				    .n_hands = 2, /* with ours and the fixture's, all slots */
				    .stop = &stop,
				    .failed = failed,
				    .counts = &counts };
}

static void copy_with(const struct copy_rules *r, const char *path, const char *place)
{
	struct copy *c;

	memset(&counts, 0, sizeof(counts));
	memset(&told, 0, sizeof(told));
	assert_int_equal(copy_new(r, &c), 0);
	copy_add(c, path, place);
	copy_free(c);
	assert_int_equal(counts.failed, told.n);
}

static void copy_in(void)
{
	const struct copy_rules r = rules(plain, vault);

	copy_with(&r, "", "");
}

static void copy_back(void)
{
	const struct copy_rules r = rules(vault, out);

	copy_with(&r, "", "");
}

static struct stat stat_of(const struct tempdir *dir, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

/* A file of this size in plain whose bytes tell where they are. */
static uint8_t *make_large(const char *name, size_t size)
{
	uint8_t *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)((i * 2654435761U) >> 13);
	tempdir_write(&plain_dir, name, bytes, size);
	return bytes;
}

static void path_in(const struct tempdir *dir, const char *name, char path[128])
{
	(void)snprintf(path, 128, "%s/%s", dir->path, name);
}

/* ---- all of it ------------------------------------------------------------------------- */

static void everything_of_a_file_comes_along(void **state)
{
	const struct timespec times[2] = { { 1000, 5 }, { 2000, 123456789 } };
	char path[128];
	char value[8];
	struct stat st;

	(void)state;
	make_file(from, "file", "content");
	path_in(&plain_dir, "file", path);
	assert_int_equal(setxattr(path, "user.a", "value", 5, 0), 0);
	assert_int_equal(mkdirat(plain_dir.fd, "dir", 0700), 0);
	assert_int_equal(symlinkat("target", plain_dir.fd, "dir/link"), 0);
	assert_int_equal(mkfifoat(plain_dir.fd, "dir/fifo", 0600), 0);
	assert_int_equal(fchmodat(plain_dir.fd, "dir/fifo", 0642, 0), 0);
	assert_int_equal(fchmodat(plain_dir.fd, "file", 0404, 0), 0);
	assert_int_equal(fchmodat(plain_dir.fd, "dir", 0510, 0), 0);
	assert_int_equal(utimensat(plain_dir.fd, "file", times, 0), 0);
	assert_int_equal(utimensat(plain_dir.fd, "dir", times, 0), 0);
	copy_in();
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.files, 3);
	assert_int_equal(counts.bytes, 7);
	copy_back();
	assert_int_equal(told.n, 0);
	assert_text(back, "file", "content");
	path_in(&out_dir, "file", path);
	assert_int_equal(getxattr(path, "user.a", value, sizeof(value)), 5);
	assert_memory_equal(value, "value", 5);
	st = stat_of(&out_dir, "file");
	assert_int_equal(st.st_mode, S_IFREG | 0404);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	st = stat_of(&out_dir, "dir");
	assert_int_equal(st.st_mode, S_IFDIR | 0510);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(stat_of(&out_dir, "dir/fifo").st_mode, S_IFIFO | 0642);
	assert_true(S_ISLNK(stat_of(&out_dir, "dir/link").st_mode));
	assert_int_equal(fchmodat(plain_dir.fd, "dir", 0700, 0), 0);
	assert_int_equal(fchmodat(out_dir.fd, "dir", 0700, 0), 0);
}

static void large_files_come_whole_by_several_hands(void **state)
{
	const size_t size = 7 * MIB + 12345;
	uint8_t *bytes = make_large("large", size);
	uint8_t *got = malloc(size + 1);

	(void)state;
	copy_in();
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.bytes, size);
	assert_int_equal(counts.sized, size);
	copy_back();
	assert_int_equal(told.n, 0);
	assert_int_equal(tempdir_read(&out_dir, "large", got, size + 1), size);
	assert_memory_equal(got, bytes, size);
	free(got);
	free(bytes);
}

static void holes_stay_holes(void **state)
{
	const off_t size = 40 * MIB;
	int fd = openat(plain_dir.fd, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;
	char got[8];

	(void)state;
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, "middle", 6, 17 * MIB + 3), 6);
	close(fd);
	copy_in();
	assert_int_equal(told.n, 0);
	assert_true(counts.bytes < MIB);
	assert_int_equal(counts.sized, size);
	copy_back();
	st = stat_of(&out_dir, "sparse");
	assert_int_equal(st.st_size, size);
	assert_true(st.st_blocks * 512 < MIB);
	fd = openat(out_dir.fd, "sparse", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, got, 6, 17 * MIB + 3), 6);
	assert_memory_equal(got, "middle", 6);
	close(fd);
}

static void names_of_one_file_stay_names_of_one_file(void **state)
{
	(void)state;
	make_file(from, "one", "content");
	assert_int_equal(mkdirat(plain_dir.fd, "dir", 0700), 0);
	assert_int_equal(linkat(plain_dir.fd, "one", plain_dir.fd, "dir/two", 0), 0);
	assert_int_equal(linkat(plain_dir.fd, "one", plain_dir.fd, "three", 0), 0);
	make_file(from, "alone", "content");
	copy_in();
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.files, 4);
	assert_int_equal(counts.bytes, 14); /* once */
	copy_back();
	assert_int_equal(stat_of(&out_dir, "one").st_nlink, 3);
	assert_true(stat_of(&out_dir, "one").st_ino == stat_of(&out_dir, "dir/two").st_ino);
	assert_true(stat_of(&out_dir, "one").st_ino == stat_of(&out_dir, "three").st_ino);
	assert_int_equal(stat_of(&out_dir, "alone").st_nlink, 1);
}

/* ---- what is there already ---------------------------------------------------------------- */

static void what_is_there_is_left_alone_and_told(void **state)
{
	(void)state;
	make_file(from, "file", "new");
	make_file(from, "more", "more");
	make_file(to, "file", "there");
	copy_in();
	assert_int_equal(told.n, 1);
	assert_told(0, "file", -EEXIST, false);
	assert_text(to, "file", "there");
	assert_text(to, "more", "more");
}

static void what_is_there_is_replaced_on_demand(void **state)
{
	struct copy_rules r = rules(plain, vault);

	(void)state;
	make_file(from, "file", "new");
	make_file(to, "file", "there");
	r.replaces = true;
	copy_with(&r, "", "");
	assert_int_equal(told.n, 0);
	assert_text(to, "file", "new");
	assert_names(to, "", "file"); /* nothing is left of the exchange */
}

static void a_directory_and_a_file_do_not_replace_each_other(void **state)
{
	struct copy_rules r = rules(plain, vault);
	struct side_node root = find(to, "");
	struct side_node node;

	(void)state;
	assert_int_equal(side_mkdir(to, &root, "file", &node), 0);
	side_drop(to, &node);
	side_drop(to, &root);
	make_file(to, "dir", "a file");
	make_file(from, "file", "x");
	assert_int_equal(mkdirat(plain_dir.fd, "dir", 0700), 0);
	tempdir_write(&plain_dir, "dir/inside", "x", 1);
	r.replaces = true;
	copy_with(&r, "", "");
	assert_int_equal(told.n, 2);
	assert_told(strcmp(told.paths[0], "dir") ? 1 : 0, "dir", -ENOTDIR, false);
	assert_told(strcmp(told.paths[0], "dir") ? 0 : 1, "file", -EISDIR, false);
	assert_text(to, "dir", "a file");
}

static void a_second_run_goes_on_where_the_first_one_ended(void **state)
{
	struct copy_rules r = rules(plain, out);

	(void)state;
	make_file(from, "done", "done");
	copy_with(&r, "", "");
	make_file(from, "new", "new");
	r.resumes = true;
	copy_with(&r, "", "");
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.skipped, 1);
	assert_int_equal(counts.bytes, 3);
	assert_int_equal(counts.sized, 7);
	assert_int_equal(utimensat(plain_dir.fd, "done", NULL, 0), 0); /* it looks changed */
	copy_with(&r, "", "");
	assert_told(0, "done", -EEXIST, false);
	r.replaces = true;
	copy_with(&r, "", "");
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.bytes, 4);
}

static void what_a_dead_run_left_unsettled_is_made_anew(void **state)
{
	struct copy_rules r = rules(plain, vault);

	(void)state;
	make_file(from, "file", "content");
	copy_in();
	free_hands();
	sides_mount_again();
	take_hands();
	r.from = plain;
	r.to = vault;
	r.resumes = true;
	copy_with(&r, "", "");
	assert_int_equal(told.n, 0);
	assert_int_equal(counts.skipped, 0);
	assert_int_equal(counts.bytes, 7);
	tree_settle(tree, io, true);
	free_hands();
	sides_mount_again();
	take_hands();
	r.to = vault;
	copy_with(&r, "", "");
	assert_int_equal(counts.skipped, 1);
	assert_text(to, "file", "content");
}

/* ---- what comes between ----------------------------------------------------------------- */

static const struct side_ops *real;
static struct side_ops hooked;
static void (*in_between)(void);

static int read_and_more(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
			 void *buffer, const void **data, size_t *done)
{
	int r = real->read(h, node, offset, size, buffer, data, done);
	void (*once)(void) = offset ? NULL : in_between; /* of a file's first piece only */

	if (once)
		once();
	return r;
}

static int write_nothing(struct side_hand *h, struct side_node *node, uint64_t offset,
			 const void *data, size_t size)
{
	bool is_due = offset == 2 * MIB;

	return is_due ? -ENOSPC : real->write(h, node, offset, data, size);
}

static void hook(struct side *side, struct side_ops *ops)
{
	real = side->ops;
	*ops = *real;
	side->ops = ops;
}

static void unhook(struct side *side)
{
	side->ops = real;
}

static void copy_in_with(void (*meanwhile)(void))
{
	in_between = meanwhile;
	hook(plain, &hooked);
	hooked.read = read_and_more;
	copy_in();
	unhook(plain);
}

static void cut_source(void)
{
	int fd = openat(plain_dir.fd, "large", O_RDWR | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, MIB + 1), 0);
	close(fd);
}

static void append_to_source(void)
{
	int fd = openat(plain_dir.fd, "large", O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
}

static void change_source(void)
{
	int fd = openat(plain_dir.fd, "large", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "other", 5, 100), 5);
	close(fd);
	assert_int_equal(utimensat(plain_dir.fd, "large", NULL, 0), 0);
}

static void a_source_that_changes_meanwhile_is_not_there(void **state)
{
	static void (*const changes[])(void) = { cut_source, append_to_source, change_source };

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct timespec old[2] = { { 1, 0 }, { 1, 0 } };

		free(make_large("large", 5 * MIB));
		assert_int_equal(utimensat(plain_dir.fd, "large", old, 0), 0);
		copy_in_with(changes[i]);
		assert_int_equal(told.n, 1);
		assert_told(0, "large", COPY_CHANGED, true);
		assert_names(to, "", "");
	}
}

static void stop_it(void)
{
	atomic_store(&stop, true);
}

static int read_half(struct side_hand *h, struct side_node *node, uint64_t offset, size_t size,
		     void *buffer, const void **data, size_t *done)
{
	return real->read(h, node, offset, offset ? size : size / 2, buffer, data, done);
}

static void a_piece_that_comes_short_is_a_change(void **state)
{
	(void)state;
	free(make_large("large", 5 * MIB));
	hook(plain, &hooked);
	hooked.read = read_half;
	copy_in();
	unhook(plain);
	assert_int_equal(told.n, 1);
	assert_told(0, "large", COPY_CHANGED, true);
	assert_names(to, "", "");
}

static atomic_bool second_was_read;
static uint64_t written_to;

/* The first piece is read last. */
static int read_first_last(struct side_hand *h, struct side_node *node, uint64_t offset,
			   size_t size, void *buffer, const void **data, size_t *done)
{
	int r = real->read(h, node, offset, size, buffer, data, done);

	if (offset == MIB)
		atomic_store(&second_was_read, true);
	while (!offset && !atomic_load(&second_was_read))
		(void)sched_yield();
	for (int i = 0; !offset && i < 1000; i++)
		(void)sched_yield(); /* a chance for it to be written, too */
	return r;
}

static int write_in_order(struct side_hand *h, struct side_node *node, uint64_t offset,
			  const void *data, size_t size)
{
	if (offset != written_to)
		return -EBADF;
	written_to += size;
	return real->write(h, node, offset, data, size); /* both sides are plain */
}

static void files_grow_from_their_beginning_whoever_is_faster(void **state)
{
	const struct copy_rules r = rules(plain, out);
	const struct side_ops *plain_ops = plain->ops;
	const struct side_ops *out_ops = out->ops;
	struct side_ops reads = *plain->ops;
	struct side_ops writes = *out->ops;

	(void)state;
	free(make_large("large", 5 * MIB));
	real = plain_ops;
	reads.read = read_first_last;
	writes.write = write_in_order;
	plain->ops = &reads;
	out->ops = &writes;
	copy_with(&r, "", "");
	plain->ops = plain_ops;
	out->ops = out_ops;
	assert_int_equal(told.n, 0);
	assert_int_equal(written_to, 5 * MIB);
}

static void who_is_stopped_leaves_nothing_half(void **state)
{
	(void)state;
	free(make_large("large", 5 * MIB));
	copy_in_with(stop_it);
	assert_int_equal(told.n, 0); /* who stopped it knows */
	assert_int_equal(counts.files, 0);
	assert_names(to, "", "");
	atomic_store(&stop, false);
	copy_in();
	assert_int_equal(told.n, 0);
	assert_names(to, "", "large");
}

static void a_target_that_fails_costs_one_file(void **state)
{
	(void)state;
	free(make_large("large", 5 * MIB));
	make_file(from, "more", "more");
	hook(vault, &hooked);
	hooked.write = write_nothing;
	copy_in();
	unhook(vault);
	assert_int_equal(told.n, 1);
	assert_told(0, "large", -ENOSPC, false);
	assert_names(to, "", "more");
}

static void without_their_first_name_others_cannot_be(void **state)
{
	struct copy_rules r = rules(plain, vault);

	(void)state;
	r.n_hands = 1; /* either of two may come first */
	free(make_large("large", 5 * MIB));
	assert_int_equal(linkat(plain_dir.fd, "large", plain_dir.fd, "other", 0), 0);
	hook(vault, &hooked);
	hooked.write = write_nothing;
	copy_with(&r, "", "");
	unhook(vault);
	assert_int_equal(told.n, 2);
	assert_told(0, "large", -ENOSPC, false);
	assert_told(1, "other", COPY_LINK_FAILED, false);
	assert_names(to, "", "");
}

/* The stored file of what has this name in the vault's root. */
static void spoil(const char *name)
{
	struct side_node node = find(to, name);
	DIR *d = opendir(vault_dir.path);
	struct dirent *e;
	struct stat st;
	int fd = -1;

	while (fd < 0 && (e = readdir(d)))
		if (!fstatat(vault_dir.fd, e->d_name, &st, 0) && st.st_ino == node.st.st_ino)
			fd = openat(vault_dir.fd, e->d_name, O_RDWR | O_CLOEXEC);
	closedir(d);
	side_drop(to, &node);
	assert_true(fd >= 0);
	for (off_t at = 0; at < st.st_size; at += 64)
		assert_int_equal(pwrite(fd, "spoilt", 6, at), 6);
	close(fd);
}

static void what_is_damaged_is_told_and_not_there(void **state)
{
	(void)state;
	make_file(to, "fine", "fine");
	make_file(to, "damaged", "content that will be spoilt");
	spoil("damaged");
	free_hands();
	sides_mount_again();
	take_hands();
	copy_back();
	assert_int_equal(told.n, 1);
	assert_told(0, "damaged", -EBADMSG, true);
	assert_int_equal(counts.damaged, 1);
	assert_names(back, "", "fine");
}

/* ---- parts ------------------------------------------------------------------------------ */

static void a_source_that_is_not_there_is_told(void **state)
{
	const struct copy_rules r = rules(plain, vault);

	(void)state;
	copy_with(&r, "nothing", "somewhere");
	assert_int_equal(told.n, 1);
	assert_told(0, "nothing", -ENOENT, true);
}

static void a_place_gets_its_parents(void **state)
{
	const struct copy_rules r = rules(plain, vault);

	(void)state;
	make_file(from, "file", "content");
	copy_with(&r, "file", "in/a/place");
	assert_int_equal(told.n, 0);
	assert_text(to, "in/a/place", "content");
}

static void shards_share_everything_out(void **state)
{
	enum { N = 40, SHARDS = 3 };
	struct copy_rules r = rules(plain, out);
	uint64_t files = 0;
	char name[32];

	(void)state;
	for (int i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		make_file(from, name, "x");
	}
	assert_int_equal(linkat(plain_dir.fd, "0", plain_dir.fd, "link", 0), 0);
	r.n_shards = SHARDS;
	for (r.shard = 0; r.shard < SHARDS; r.shard++) {
		copy_with(&r, "", "");
		assert_int_equal(told.n, 0); /* none is there already */
		assert_true(counts.files > 0 && counts.files < N);
		files += counts.files;
	}
	assert_int_equal(files, N + 1);
	assert_int_equal(stat_of(&out_dir, "link").st_nlink, 2);
}

static void the_survey_says_how_much_there_will_be(void **state)
{
	struct copy_rules r = rules(plain, vault);
	struct stat st;
	_Atomic uint64_t total = 0;

	(void)state;
	make_file(from, "file", "content");
	assert_int_equal(mkdirat(plain_dir.fd, "dir", 0700), 0);
	tempdir_write(&plain_dir, "dir/skipped", "skipped", 7);
	assert_int_equal(mkdirat(plain_dir.fd, "more", 0700), 0);
	free(make_large("more/large", 3 * MIB));
	st = stat_of(&plain_dir, "dir");
	r.skip_dev = st.st_dev;
	r.skip_ino = st.st_ino;
	side_hand_free(to);
	copy_survey(&r, "", "", &total);
	assert_int_equal(total, 3 * MIB + 7);
	copy_with(&r, "", "");
	assert_int_equal(counts.sized, total);
	assert_int_equal(side_hand_new(vault, to), 0);
	assert_names(to, "", "file more");
}

#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(everything_of_a_file_comes_along),
		UNIT(large_files_come_whole_by_several_hands),
		UNIT(holes_stay_holes),
		UNIT(names_of_one_file_stay_names_of_one_file),
		UNIT(what_is_there_is_left_alone_and_told),
		UNIT(what_is_there_is_replaced_on_demand),
		UNIT(a_directory_and_a_file_do_not_replace_each_other),
		UNIT(a_second_run_goes_on_where_the_first_one_ended),
		UNIT(what_a_dead_run_left_unsettled_is_made_anew),
		UNIT(a_source_that_changes_meanwhile_is_not_there),
		UNIT(a_piece_that_comes_short_is_a_change),
		UNIT(files_grow_from_their_beginning_whoever_is_faster),
		UNIT(who_is_stopped_leaves_nothing_half),
		UNIT(a_target_that_fails_costs_one_file),
		UNIT(without_their_first_name_others_cannot_be),
		UNIT(what_is_damaged_is_told_and_not_there),
		UNIT(a_source_that_is_not_there_is_told),
		UNIT(a_place_gets_its_parents),
		UNIT(shards_share_everything_out),
		UNIT(the_survey_says_how_much_there_will_be),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
