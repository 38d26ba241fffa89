/* SPDX-License-Identifier: MIT */
/*
 * Replaying a journal: each record finds its file, wherever that is, and nothing
 * finds another one.  What deaths leave, also in a replay, test_file_journal tries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/resource.h>

#include "vault_fixture.h"

static struct image image;
static struct backup before; /* the file, without what is in the journal */
static struct backup journal_before;

static void journal_copy(bool put)
{
	int fd = openat(vault_fd, JOURNAL_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	if (put)
		backing_put(fd, &journal_before);
	else
		backing_save(fd, &journal_before);
	close(fd);
}

/* Write, fsync, change by way of the journal, die: the file is `before`, to become `image`. */
static int left_behind(uint64_t length)
{
	int backing = backing_in_vault();
	struct file *f = file_made(backing);

	image_resize(&image, 0);
	assert_int_equal(write_fill(f, 0, (size_t)length, 1), 0);
	image_write(&image, 0, (size_t)length, 1);
	assert_int_equal(file_settle(f, io, false), 0);
	file_close(f);

	begin_journal();
	f = file_opened(backing, true);
	file_use_journal(f);
	/* Not more than the smallest journal takes. */
	for (uint64_t at = 0; at + 10 < length; at += length / 10 + 7) {
		assert_int_equal(write_fill(f, at, 10, 2), 0);
		image_write(&image, at, 10, 2);
	}
	assert_int_equal(write_fill(f, length, 10, 3), 0);
	image_write(&image, length, 10, 3);
	assert_int_equal(file_sync(f, true), 0);
	file_close(f);
	drop_journal();
	backing_save(backing, &before);
	journal_copy(false);
	return backing;
}

static struct replay_result replay(void)
{
	struct replay_result result;

	assert_int_equal(replay_vault(&store, io, vault_fd, tree_fd, &result), 0);
	return result;
}

static uint64_t journal_size(void)
{
	struct stat st;

	assert_int_equal(fstatat(vault_fd, JOURNAL_FILE, &st, AT_SYMLINK_NOFOLLOW), 0);
	return (uint64_t)st.st_size;
}

static bool is_as_before(int backing)
{
	static uint8_t bytes[2][IMAGE_MAX];
	size_t size = (size_t)backing_size(backing);

	if (size != before.size)
		return false;
	assert_int_equal(pread(backing, bytes[0], size, 0), size);
	assert_int_equal(pread(before.fd, bytes[1], size, 0), size);
	return !memcmp(bytes[0], bytes[1], size);
}

static const uint64_t lengths[] = { 500, 3000, 5000, 50 * BLOCK + 9 };

static void puts_all_in_place_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		int backing = left_behind(lengths[i]);
		struct replay_result result = replay();

		assert_true(result.n_records > 0);
		assert_int_equal(result.n_files, 1);
		assert_int_equal(result.n_found, 1);
		assert_content_afresh(backing, &image);
		assert_int_equal(journal_size(), 0);
		assert_int_equal(replay().n_records, 0);

		/* The same journal again, and a third time: nothing changes any more. */
		for (int again = 0; again < 2; again++) {
			journal_copy(true);
			(void)replay();
			assert_content_afresh(backing, &image);
		}
		close(backing);
	}
}

static void a_read_only_one_changes_nothing_and_says_so(void **state)
{
	int backing = left_behind(5000);
	struct replay_result result;

	(void)state;
	store.read_only = true;
	result = replay();
	store.read_only = false;
	assert_true(result.n_records > 0);
	assert_true(is_as_before(backing));
	assert_true(journal_size() > 0);
	(void)replay();
	assert_content_afresh(backing, &image);
	close(backing);
}

/* For fsck, which must not take for damage what is only not in place yet. */
static void says_what_is_not_in_place_yet(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		int backing = left_behind(lengths[i]);
		struct format_header header = header_on_disk(backing);
		uint64_t last = lengths[i] > FORMAT_SMALL_MAX ? lengths[i] / BLOCK : JOURNAL_SMALL;
		struct replay_pending *p;
		uint8_t other[KEYS_FILE_ID_SIZE];

		assert_int_equal(replay_pending_new(&store, vault_fd, &p), 0);
		assert_non_null(p);
		assert_true(replay_is_pending(p, header.id, header.sequence, last));
		assert_true(replay_is_pending(p, header.id, header.sequence, 0) ==
			    (lengths[i] > FORMAT_SMALL_MAX));
		assert_false(replay_is_pending(p, header.id, header.sequence, 4));
		assert_false(replay_is_pending(p, header.id, header.sequence + 100, last));
		memcpy(other, header.id, sizeof(other));
		other[0] ^= 1;
		assert_false(replay_is_pending(p, other, header.sequence, last));
		replay_pending_free(p);
		assert_true(is_as_before(backing));

		(void)replay();
		assert_int_equal(replay_pending_new(&store, vault_fd, &p), 0);
		assert_null(p);
		assert_false(replay_is_pending(p, header.id, 0, last));
		close(backing);
	}
}

static void finds_a_file_that_was_moved_or_copied(void **state)
{
	int backing = left_behind(5000);
	int copy;

	(void)state;
	assert_int_equal(mkdirat(tree_fd, "dir", 0700), 0);
	assert_int_equal(renameat(tree_fd, "file", tree_fd, "dir/moved"), 0);
	assert_int_equal(replay().n_found, 1);
	assert_content_afresh(backing, &image);

	/* Another inode, as in a vault that was copied; an empty file and a stranger beside it. */
	copy = openat(tree_fd, "dir/copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(copy >= 0);
	backing_put(copy, &before);
	journal_copy(true);
	assert_int_equal(unlinkat(tree_fd, "dir/moved", 0), 0);
	assert_int_equal(mkfifoat(tree_fd, "pipe", 0600), 0);
	assert_int_equal(symlinkat("dir/copy", tree_fd, "link"), 0);
	assert_int_equal(replay().n_found, 1);
	assert_content_afresh(copy, &image);
	assert_int_equal(unlinkat(tree_fd, "dir/copy", 0), 0);
	assert_int_equal(unlinkat(tree_fd, "dir", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(tree_fd, "pipe", 0), 0);
	assert_int_equal(unlinkat(tree_fd, "link", 0), 0);
	close(copy);
	close(backing);
}

/* With fewer descriptors than it has levels. */
static void goes_down_a_deep_tree(void **state)
{
	enum { DEPTH = 300, DESCRIPTORS = 64 };
	int backing = left_behind(5000);
	struct rlimit limit;
	struct rlimit few;
	int fd = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	for (int i = 0; i < DEPTH; i++) {
		int below;

		assert_int_equal(mkdirat(fd, "a", 0700), 0);
		assert_int_equal(mkdirat(fd, "down", 0700), 0);
		assert_int_equal(mkdirat(fd, "z", 0700), 0);
		below = openat(fd, "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(fd);
		fd = below;
	}
	assert_int_equal(renameat(tree_fd, "file", fd, "file"), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = DESCRIPTORS;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(replay().n_found, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_content_afresh(backing, &image);

	assert_int_equal(unlinkat(fd, "file", 0), 0);
	for (int i = 0; i < DEPTH; i++) {
		int above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(fd);
		fd = above;
		assert_int_equal(unlinkat(fd, "a", AT_REMOVEDIR), 0);
		assert_int_equal(unlinkat(fd, "z", AT_REMOVEDIR), 0);
		assert_int_equal(unlinkat(fd, "down", AT_REMOVEDIR), 0);
	}
	close(fd);
	close(backing);
}

/* ---- nothing finds another file ----------------------------------------------------- */

/* The file is gone, and another one has its inode number: so it says, at least. */
static void leaves_another_file_alone(void **state)
{
	static struct image other;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (int claims = 0; claims < 2; claims++) {
			int backing = left_behind(lengths[i]);
			uint8_t slot[FORMAT_HEADER_SIZE];
			struct file *f;

			/* One of its header slots, as somebody might put it there. */
			assert_int_equal(pread(backing, slot, sizeof(slot), 0), sizeof(slot));
			slot[100] ^= 1;
			assert_int_equal(ftruncate(backing, 0), 0);
			f = file_made(backing);
			image_resize(&other, 0);
			assert_int_equal(write_fill(f, 0, 6000, 9), 0);
			image_write(&other, 0, 6000, 9);
			assert_int_equal(file_settle(f, io, false), 0);
			file_close(f);
			if (claims)
				assert_int_equal(pwrite(backing, slot, sizeof(slot), 0),
						 sizeof(slot));
			backing_save(backing, &before);
			assert_int_equal(replay().n_found, claims);
			assert_true(is_as_before(backing));
			assert_content_afresh(backing, &other);
			close(backing);
		}
}

/* An old journal, put back by somebody: whoever was settled since does not change. */
static void an_old_journal_changes_nothing_that_is_newer(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (int settled = 0; settled < 2; settled++) {
			int backing = left_behind(lengths[i]);
			struct file *f;

			(void)replay();
			f = file_opened(backing, false);
			for (uint64_t at = 0; at < image.length; at += BLOCK) {
				assert_int_equal(write_fill(f, at, 20, 7), 0);
				image_write(&image, at, 20, 7);
			}
			if (settled) {
				assert_int_equal(resize(f, lengths[i] - 100), 0);
				image_resize(&image, lengths[i] - 100);
				assert_int_equal(file_settle(f, io, false), 0);
			}
			file_close(f);
			backing_save(backing, &before);
			journal_copy(true);
			assert_int_equal(replay().n_found, 1);
			if (settled)
				assert_true(is_as_before(backing));
			assert_content_afresh(backing, &image);
			close(backing);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_all_in_place_once),
		cmocka_unit_test(a_read_only_one_changes_nothing_and_says_so),
		cmocka_unit_test(says_what_is_not_in_place_yet),
		cmocka_unit_test(finds_a_file_that_was_moved_or_copied),
		cmocka_unit_test(goes_down_a_deep_tree),
		cmocka_unit_test(leaves_another_file_alone),
		cmocka_unit_test(an_old_journal_changes_nothing_that_is_newer),
	};

	return cmocka_run_group_tests(tests, start_vault, end_vault);
}
