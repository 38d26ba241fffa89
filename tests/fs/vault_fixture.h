/* SPDX-License-Identifier: MIT */
/*
 * vault_fixture - a vault's directory with a journal and one file, without anything
 * that is mounted.  Include it after <cmocka.h>.
 */
#ifndef TESTS_FS_VAULT_FIXTURE_H
#define TESTS_FS_VAULT_FIXTURE_H

#include "file_fixture.h"
#include "fs/journal.h"
#include "fs/replay.h"

static char work[64];
static int vault_fd;
static int tree_fd;

static inline int start_vault(void **state)
{
	int r = fixture_engine(state);

	(void)snprintf(work, sizeof(work), "/dev/shm/cryptfs-test.XXXXXX");
	assert_non_null(mkdtemp(work));
	vault_fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(vault_fd >= 0);
	assert_int_equal(mkdirat(vault_fd, "tree", 0700), 0);
	tree_fd = openat(vault_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree_fd >= 0);
	return r;
}

static inline int end_vault(void **state)
{
	(void)unlinkat(tree_fd, "file", 0);
	(void)unlinkat(vault_fd, "tree", AT_REMOVEDIR);
	(void)unlinkat(vault_fd, JOURNAL_FILE, 0);
	(void)rmdir(work);
	close(tree_fd);
	close(vault_fd);
	return fixture_engine_end(state);
}

/* The one file, empty. */
static inline int backing_in_vault(void)
{
	int fd = openat(tree_fd, "file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static inline void begin_journal(void)
{
	assert_int_equal(journal_new(vault_fd, &keys, JOURNAL_SIZE_MIN, &store.journal), 0);
	assert_true(journal_is_ready(store.journal));
}

static inline void drop_journal(void)
{
	journal_free(store.journal);
	store.journal = NULL;
}

/* The process is gone: so does the next mount begin. */
static inline void mount_again(void)
{
	struct replay_result result;

	drop_journal();
	assert_int_equal(replay_vault(&store, io, vault_fd, tree_fd, &result), 0);
}

/* As tree_checkpoint does. */
static inline void checkpoint(struct file *f)
{
	uint64_t epoch;
	uint64_t in_place;

	assert_int_equal(journal_switch(store.journal, &epoch), 0);
	assert_int_equal(file_checkpoint(f, epoch, &in_place), 0);
	file_checkpoint_done(f, in_place);
	assert_int_equal(journal_void(store.journal, epoch), 0);
}

#endif /* TESTS_FS_VAULT_FIXTURE_H */
