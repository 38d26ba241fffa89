/* SPDX-License-Identifier: MIT */
/* Mounts, found and asked: see mounted.h for the contract. */
#include "cli/mounted.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

enum { MAX_LINKS = 8 };

/* ---- finding ------------------------------------------------------------ */

/*
 * The absolute path of an entry that is not touched itself, only its folder;
 * 0 or -errno.
 */
static int locate(const char *path, char out[PATH_MAX])
{
	char folder[PATH_MAX];
	char *last;
	size_t size;

	if (strcmp(path, ".") == 0)
		return getcwd(out, PATH_MAX) ? 0 : -errno;
	size = strlen(path);
	while (size > 1 && path[size - 1] == '/')
		size--;
	if (!size || size >= sizeof(folder))
		return size ? -ENAMETOOLONG : -ENOENT;
	memcpy(folder, path, size);
	folder[size] = '\0';
	last = strrchr(folder, '/');
	last = last ? last + 1 : folder;
	if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return realpath(folder, out) ? 0 : -errno;
	path += last - folder;
	size -= (size_t)(last - folder);
	*last = '\0';
	if (!realpath(*folder ? folder : ".", out))
		return -errno;
	if (strlen(out) + 1 + size >= PATH_MAX)
		return -ENAMETOOLONG;
	if (out[1])
		strcat(out, "/");
	strncat(out, path, size);
	return 0;
}

/* Follow a link at an absolute path, which becomes where it points: true if it is one. */
static bool follow(char path[PATH_MAX])
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	size_t folder;

	if (n <= 0)
		return false;
	target[n] = '\0';
	folder = target[0] == '/' ? 0 : (size_t)(strrchr(path, '/') + 1 - path);
	if (folder + (size_t)n >= PATH_MAX)
		return false;
	memcpy(path + folder, target, (size_t)n + 1);
	return true;
}

static int find(const char *path, struct mountinfo *m)
{
	char from[PATH_MAX];
	char at[PATH_MAX];
	int r = snprintf(from, sizeof(from), "%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;

	for (int i = 0; i < MAX_LINKS && !r; i++) {
		r = locate(from, at);
		if (!r)
			r = mountinfo_find(at, m);
		if (r != MOUNTINFO_NONE || !follow(at))
			return r;
		memcpy(from, at, sizeof(from));
		r = 0;
	}
	return r ? r : MOUNTINFO_NONE;
}

static bool is_ours(const struct mountinfo *m)
{
	return !strcmp(m->type, "fuse.cryptfs") && m->has_user;
}

int mounted_look(const char *path, struct mountinfo *m)
{
	int r = find(path, m);

	return !r && is_ours(m) ? STATUS_OK : STATUS_MOUNTPOINT;
}

int mounted_find(const char *path, struct mountinfo *m)
{
	int r = find(path, m);

	if (!r && !is_ours(m))
		r = MOUNTINFO_NONE;
	if (!r)
		return STATUS_OK;
	if (r == MOUNTINFO_NONE)
		log_error("%s: not a mount of cryptfs (see: findmnt -t fuse.cryptfs)", path);
	else
		log_error("%s: %s", path, strerror(-r));
	return STATUS_MOUNTPOINT;
}

/* ---- all of them --------------------------------------------------------- */

struct gathering {
	struct mountinfo *all;
	int n;
};

static int gather(void *arg, const struct mountinfo *m)
{
	struct gathering *g = arg;
	struct mountinfo *more;

	if (!is_ours(m) || (geteuid() && m->user != geteuid()))
		return 0;
	more = realloc(g->all, (size_t)(g->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memmove(more + 1, more, (size_t)g->n * sizeof(*more));
	more[0] = *m;
	g->all = more;
	g->n++;
	return 0;
}

int mounted_all(struct mountinfo **all)
{
	struct gathering g = { 0 };
	int r = mountinfo_each(gather, &g);

	if (r)
		free(g.all);
	*all = r ? NULL : g.all;
	return r ? r : g.n;
}

/* ---- asking ------------------------------------------------------------- */

static const char *why(int r)
{
	switch (r) {
	case CONTROL_NOBODY:
		return "its process is gone or has no socket (if it is dead, unmount it)";
	case CONTROL_SILENT:
		return "its process does not answer";
	case CONTROL_UNSAFE:
		return "others may write where its socket is";
	case -EACCES:
	case -EPERM:
		return "permission denied (run as the user who mounted it)";
	default:
		return strerror(-r);
	}
}

static int answered(const struct mountinfo *m, int r)
{
	if (!r)
		return STATUS_OK;
	log_error("cannot ask the mount on %s: %s", m->point, why(r));
	return STATUS_SYSTEM;
}

struct control_name mounted_name(const struct mountinfo *m)
{
	return (struct control_name){ m->user, m->major, m->minor };
}

int mounted_ask(const struct mountinfo *m, const char *command, char **reply)
{
	const struct control_name name = mounted_name(m);

	return answered(m, control_ask(&name, command, reply));
}

int mounted_tell(const struct mountinfo *m, const struct control_question *q, char **reply)
{
	const struct control_name name = mounted_name(m);

	return answered(m, control_tell(&name, q, reply));
}
