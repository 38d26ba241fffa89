/* SPDX-License-Identifier: MIT */
/*
 * undo - for changing a file where it lies: what the window that is being
 * changed held before, in a file .cryptfs-undo.INODE beside it.  As long as
 * that is there, the file is as it was from the window on, but for the window
 * itself, and changed before it.
 *
 * Results: 0, UNDO_NONE or a negative errno.
 */
#ifndef FS_UNDO_H
#define FS_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNDO_PREFIX ".cryptfs-undo."

enum {
	UNDO_NONE = 1, /* nothing was begun, or it was finished */
	UNDO_KEY_SIZE = 16,
};

/* The file at path, open as fd; borrowed. */
struct undo_file {
	const char *path;
	int fd;
	uint8_t key[UNDO_KEY_SIZE]; /* tells with what it is changed */
};

struct undo_window {
	uint64_t start;
	uint64_t size;
};

bool undo_is_there(const struct undo_file *f);

/* Save a window, on disk, in place of any saved before. */
int undo_save(const struct undo_file *f, const struct undo_window *w);

/*
 * Put the saved window back and say which it is.  -EKEYREJECTED if it was
 * saved under another key, -EBADMSG if it is none.
 */
int undo_restore(const struct undo_file *f, struct undo_window *w);

/* All is changed and on disk: remove it. */
int undo_finish(const struct undo_file *f);

#endif /* FS_UNDO_H */
