/* SPDX-License-Identifier: MIT */
/*
 * What a mount may answer though a plain filesystem does otherwise, and why.
 * Each line is in docs/architecture.md, "Limits", or goes when the feature
 * comes.  Whatever is not in this table is a defect.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct known {
	const char *op;
	int error;
	mode_t subject; /* 0: whatever it is about */
};

static const struct known table[] = {
	/* A symlink is sealed for its name. */
	{ "link", EPERM, S_IFLNK },
	/* FUSE has no way to ask for it. */
	{ "fallocate that moves", EOPNOTSUPP, 0 },
};

bool known_answer(const struct world *w, int error)
{
	if (!error)
		return false;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].error == error && !strcmp(table[i].op, w->op) &&
		    (!table[i].subject || table[i].subject == w->subject))
			return true;
	return false;
}

bool chown_of_nothing(uid_t uid, gid_t gid)
{
	return uid == (uid_t)-1 && gid == (gid_t)-1;
}

bool known_later(const struct world *w, const struct timespec *was, const struct timespec *is)
{
	return w->o->writeback && was->tv_sec >= w->start.tv_sec && is->tv_sec >= was->tv_sec &&
	       is->tv_sec - was->tv_sec < 60;
}

mode_t known_mode(const struct world *w, mode_t mode)
{
	bool no_right = S_ISREG(mode) && !(mode & S_IXGRP);

	return w->o->users && no_right ? mode & ~(mode_t)S_ISGID : mode;
}

bool known_stale(const struct handle *h)
{
	struct stat st;

	return h->type == S_IFREG && h->flags & O_PATH && !fstat(h->fd[PLAIN], &st) &&
	       st.st_nlink == 0;
}
