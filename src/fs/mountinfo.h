/* SPDX-License-Identifier: MIT */
/*
 * mountinfo - what the kernel says of a mount in /proc/self/mountinfo, which
 * can be read without touching the mount itself: that may hang.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive
 * MOUNTINFO_* is an answer.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
	MOUNTINFO_NONE = 1, /* nothing is mounted there */
	MOUNTINFO_NONSENSE, /* not a line of mountinfo */
};

struct mountinfo {
	unsigned int id; /* "mnt_id" in /proc/PID/fdinfo */
	unsigned int major;
	unsigned int minor;
	char point[PATH_MAX];
	char type[64]; /* "fuse.cryptfs"; a longer one is cut */
	bool has_user; /* FUSE only: */
	uid_t user;    /* who mounted it */
};

/* Take one line apart; it is changed on the way.  0 or MOUNTINFO_NONSENSE. */
int mountinfo_parse(char *line, struct mountinfo *m);

/* What is mounted on top at this absolute path: 0, MOUNTINFO_NONE or -errno. */
int mountinfo_find(const char *point, struct mountinfo *m);

/*
 * Visit every mount, in the order in which they were made, until a visit returns
 * other than 0: that, 0 or -errno.
 */
int mountinfo_each(int (*visit)(void *arg, const struct mountinfo *m), void *arg);

#endif /* FS_MOUNTINFO_H */
