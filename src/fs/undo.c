/* SPDX-License-Identifier: MIT */
/*
 * What was there before: see undo.h for the contract.
 *
 *   0  cryptfsU   8  start   16  size   24  which key (16)   40  the bytes
 *
 * It is replaced by a rename after its bytes are on disk, so it is always one
 * window or the next.
 */
#include "fs/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/newfile.h"

#define MAGIC "cryptfsU"

enum {
	HEAD_SIZE = 40,
	AT_START = 8,
	AT_SIZE = 16,
	AT_KEY = 24,
	PIECE = 1 << 18,
};

static int make_path(const struct undo_file *f, char path[PATH_MAX])
{
	const char *slash = strrchr(f->path, '/');
	struct stat st;
	int n;

	if (fstat(f->fd, &st))
		return -errno;
	n = snprintf(path, PATH_MAX, "%.*s" UNDO_PREFIX "%" PRIx64,
		     slash ? (int)(slash + 1 - f->path) : 0, f->path, (uint64_t)st.st_ino);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

struct place {
	int fd;
	uint64_t offset;
};

static int copy(struct place from, struct place to, uint64_t size)
{
	uint8_t *piece = malloc(PIECE);
	int r = piece ? 0 : -ENOMEM;

	for (uint64_t at = 0; !r && at < size; at += PIECE) {
		size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;

		r = fdio_pread_full(from.fd, piece, n, (off_t)(from.offset + at));
		if (!r)
			r = fdio_pwrite_full(to.fd, piece, n, (off_t)(to.offset + at));
	}
	free(piece);
	return r;
}

int undo_save(const struct undo_file *f, const struct undo_window *w)
{
	const struct newfile_end end = { .replace = true, .syncs_name = true };
	uint8_t head[HEAD_SIZE] = MAGIC;
	struct newfile new;
	char path[PATH_MAX];
	int r = make_path(f, path);

	if (!r)
		r = newfile_begin(path, &new);
	if (r)
		return r;
	bytes_put64(head + AT_START, w->start);
	bytes_put64(head + AT_SIZE, w->size);
	memcpy(head + AT_KEY, f->key, UNDO_KEY_SIZE);
	r = fdio_pwrite_full(new.fd, head, sizeof(head), 0);
	if (!r)
		r = copy((struct place){ f->fd, w->start }, (struct place){ new.fd, HEAD_SIZE },
			 w->size);
	if (r)
		newfile_discard(&new);
	return r ? r : newfile_commit(&new, &end);
}

bool undo_is_there(const struct undo_file *f)
{
	char path[PATH_MAX];
	struct stat st;

	return !make_path(f, path) && !lstat(path, &st);
}

static int restore_from(const struct undo_file *f, int fd, struct undo_window *w)
{
	uint8_t head[HEAD_SIZE];
	struct stat st;
	int r = fdio_pread_full(fd, head, sizeof(head), 0);

	if (r)
		return r == -ENODATA ? -EBADMSG : r;
	if (fstat(fd, &st))
		return -errno;
	*w = (struct undo_window){ bytes_get64(head + AT_START), bytes_get64(head + AT_SIZE) };
	if (memcmp(head, MAGIC, sizeof(MAGIC) - 1) != 0 ||
	    w->size != (uint64_t)st.st_size - HEAD_SIZE)
		return -EBADMSG;
	if (memcmp(head + AT_KEY, f->key, UNDO_KEY_SIZE) != 0)
		return -EKEYREJECTED;
	if (fstat(f->fd, &st))
		return -errno;
	if (w->start > (uint64_t)st.st_size || w->size > (uint64_t)st.st_size - w->start)
		return -EBADMSG; /* not of this file */
	return copy((struct place){ fd, HEAD_SIZE }, (struct place){ f->fd, w->start }, w->size);
}

int undo_restore(const struct undo_file *f, struct undo_window *w)
{
	char path[PATH_MAX];
	int r = make_path(f, path);
	int fd;

	if (r)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? UNDO_NONE : -errno;
	r = restore_from(f, fd, w);
	fdio_close(fd);
	return r;
}

int undo_finish(const struct undo_file *f)
{
	char path[PATH_MAX];
	int r = make_path(f, path);

	return r ? r : unlink(path) ? -errno : 0;
}
