/* SPDX-License-Identifier: MIT */
/*
 * fixture - what the tests of the disk format share: keys that are the same
 * in every run, and a directory that is gone afterwards.  Include it after
 * <cmocka.h>.
 */
#ifndef TESTS_FS_FIXTURE_H
#define TESTS_FS_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "engine/cipher.h"
#include "engine/keys.h"

/* The keys of the master key 0, 1, 2 … 31. */
static inline void fixture_keys(struct keyring *keys)
{
	uint8_t master[KEYS_MASTER_SIZE];

	for (size_t i = 0; i < sizeof(master); i++)
		master[i] = (uint8_t)i;
	assert_int_equal(keys_derive(master, keys), 0);
}

/* The key of the file with this id. */
static inline void fixture_file_key(const struct keyring *keys, const uint8_t *id,
				    enum cipher_suite suite, struct cipher_key *key)
{
	uint8_t secret[32];

	keys_file(keys, id, secret);
	assert_int_equal(cipher_key_set(key, suite, secret), 0);
}

struct tempdir {
	char path[64];
	int fd; /* O_PATH, as the filesystem has them */
};

static inline void tempdir_make(struct tempdir *dir)
{
	strcpy(dir->path, "/tmp/cryptfs-test-XXXXXX");
	assert_non_null(mkdtemp(dir->path));
	dir->fd = open(dir->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir->fd >= 0);
}

/* Remove the directory and what is in it; its directories must be empty. */
static inline void tempdir_remove(struct tempdir *dir)
{
	DIR *d;
	struct dirent *entry;

	assert_int_equal(chmod(dir->path, 0700), 0);
	d = opendir(dir->path);
	assert_non_null(d);
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(dir->fd, entry->d_name, 0))
			assert_int_equal(unlinkat(dir->fd, entry->d_name, AT_REMOVEDIR), 0);
	closedir(d);
	close(dir->fd);
	assert_int_equal(rmdir(dir->path), 0);
}

/* Entries in the directory, without "." and "..". */
static inline int tempdir_count(const struct tempdir *dir)
{
	DIR *d = opendir(dir->path);
	int n = -2;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline void tempdir_write(const struct tempdir *dir, const char *name, const void *content,
				 size_t size)
{
	int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fdio_write_full(fd, content, size), 0);
	close(fd);
}

/* Size of the file name, read into content (room bytes). */
static inline size_t tempdir_read(const struct tempdir *dir, const char *name, void *content,
				  size_t room)
{
	int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = fdio_read_all(fd, content, room);
	assert_true(n >= 0);
	close(fd);
	return (size_t)n;
}

static inline int tempdir_has(const struct tempdir *dir, const char *name)
{
	return faccessat(dir->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#endif /* TESTS_FS_FIXTURE_H */
