/* SPDX-License-Identifier: MIT */
/*
 * newfile - a file that appears under its name only when it is complete and
 * on disk: without a name until then (O_TMPFILE), or, where the filesystem
 * cannot do that, under a temporary name beside it, .cryptfs-tmp.HEX.
 *
 * Results: 0, NEWFILE_EXISTS or a negative errno.
 */
#ifndef FS_NEWFILE_H
#define FS_NEWFILE_H

#include <stdbool.h>
#include <sys/stat.h>

enum {
	NEWFILE_EXISTS = 1, /* something has the name, and may not be replaced */

	NEWFILE_TEMPORARY_SIZE = 32,
};

struct newfile {
	int fd; /* for reading and writing, mode 0600; -1: none */
	int dirfd;
	const char *name;			/* the last component; borrowed */
	char temporary[NEWFILE_TEMPORARY_SIZE]; /* empty: without a name */
};

/* Begin the file path, whose directory exists: 0 or -errno.  path is borrowed. */
int newfile_begin(const char *path, struct newfile *f);

struct newfile_end {
	const struct stat *like; /* gets its mode and times; or NULL */
	bool replace;		 /* it may take the place of another */
	bool syncs_name;	 /* bring the name to disk, too, not only the content */
};

/*
 * Bring it to disk and give it its name.  f is closed in any case; after a
 * failure nothing remains.
 */
int newfile_commit(struct newfile *f, const struct newfile_end *end);

/* Leave nothing; {-1, -1} is fine. */
void newfile_discard(struct newfile *f);

/* ---- the steps, for who keeps directories open ---------------------------------- */

/* A name that nobody has: 0 or -EIO. */
int newfile_temporary_name(char name[NEWFILE_TEMPORARY_SIZE]);

/*
 * A new file in dirfd, mode 0600, without a name, or where it must have one, under
 * this: the descriptor or -errno.
 */
int newfile_open(int dirfd, char temporary[NEWFILE_TEMPORARY_SIZE]);

/* Name it: 0, -EEXIST or another -errno.  Without a name, and with a temporary one. */
int newfile_link(int fd, int dirfd, const char *name);
int newfile_rename(int dirfd, const char *temporary, const char *name);

#endif /* FS_NEWFILE_H */
