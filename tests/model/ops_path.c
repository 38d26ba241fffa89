/* SPDX-License-Identifier: MIT */
/* The operations that take a path. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE	 (1 << 1)
#define RENAME_WHITEOUT	 (1 << 2)
#endif

/* A path with its root before it. */
enum { WHOLE_SIZE = PATH_SIZE + PATH_MAX / 4 };

static bool is_device(mode_t type)
{
	return type == S_IFCHR || type == S_IFBLK;
}

/* Open on both sides into a free handle, or none where both refuse. */
static struct handle *open_in_step(struct world *w, const char *path, int flags, mode_t mode)
{
	struct handle *h = free_handle(w);
	struct answer a[SIDES];
	struct stat st;

	IN_STEP(w, a,
		h->fd[SIDE] = openat(w->root[SIDE], path,
				     (w->direct[SIDE] ? flags : flags & ~O_DIRECT) | O_NONBLOCK |
					     O_CLOEXEC,
				     mode));
	for (int side = MOUNT; side < SIDES; side++)
		a[side].value = a[side].value < 0 ? -1 : 0;
	same_answer(w, a);
	if (a[PLAIN].value) {
		h->fd[MOUNT] = h->fd[PLAIN] = -1;
		return NULL;
	}
	h->flags = flags;
	h->type = fstat(h->fd[PLAIN], &st) ? 0 : st.st_mode & S_IFMT;
	same_handle(w, h);
	return h;
}

static void run_open(struct world *w)
{
	static const int access[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_RDWR };
	static const int more[] = { O_CREAT,   O_CREAT,	 O_CREAT,    O_CREAT | O_EXCL, O_TRUNC,
				    O_APPEND,  O_APPEND, O_NOFOLLOW, O_DIRECTORY,      O_PATH,
				    O_NOATIME, O_SYNC,	 O_DSYNC,    O_DIRECT };
	char path[PATH_SIZE];
	int flags = access[below(w, 6)];
	mode_t mode = pick_mode(w);

	pick_path(w, one_in(w, 3) ? PICK_NEW : PICK_FILE, path);
	for (uint64_t i = below(w, 4); i; i--)
		flags |= more[below(w, sizeof(more) / sizeof(more[0]))];
	if (is_device(w->subject)) /* what it leads to is not our subject */
		flags |= O_PATH;
	if (w->subject && w->subject != S_IFREG) /* means something else there */
		flags &= ~O_DIRECT;
	say(w, "open %s flags %#o mode %o", show(path), flags, mode);
	open_in_step(w, path, flags, mode);
	same_path(w, path, false);
}

static void run_tmpfile(struct world *w)
{
	char path[PATH_SIZE];
	mode_t mode = pick_mode(w);
	int flags = O_TMPFILE | (one_in(w, 6) ? O_WRONLY : O_RDWR) | (one_in(w, 4) ? O_EXCL : 0);

	pick_path(w, PICK_DIR, path);
	say(w, "open %s with O_TMPFILE, flags %#o mode %o", show(path), flags, mode);
	open_in_step(w, path, flags, mode);
	same_path(w, path, false);
}

static void run_mkdir(struct world *w)
{
	char path[PATH_SIZE];
	mode_t mode = pick_mode(w);
	struct answer a[SIDES];

	pick_path(w, PICK_NEW, path);
	if (!one_in(w, 4))
		mode |= 0700;
	say(w, "mkdir %s mode %o", show(path), mode);
	IN_STEP(w, a, mkdirat(w->root[SIDE], path, mode));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_unlink(struct world *w)
{
	char path[PATH_SIZE];
	struct answer a[SIDES];
	int flags = one_in(w, 3) ? AT_REMOVEDIR : 0;

	pick_path(w, flags && !one_in(w, 5) ? PICK_DIR : PICK_ANY, path);
	say(w, "%s %s", flags ? "rmdir" : "unlink", show(path));
	IN_STEP(w, a, unlinkat(w->root[SIDE], path, flags));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_rename(struct world *w)
{
	static const unsigned int odd[] = { RENAME_NOREPLACE,
					    RENAME_EXCHANGE,
					    RENAME_EXCHANGE,
					    RENAME_WHITEOUT,
					    RENAME_NOREPLACE | RENAME_EXCHANGE,
					    RENAME_NOREPLACE | RENAME_WHITEOUT };
	char from[PATH_SIZE], to[PATH_SIZE];
	unsigned int flags = one_in(w, 2) ? odd[below(w, 6)] : 0;
	struct answer a[SIDES];
	mode_t subject;

	pick_path(w, PICK_ANY, from);
	subject = w->subject;
	pick_path(w, one_in(w, 2) ? PICK_NEW : PICK_ANY, to);
	w->subject = subject;
	if (flags & RENAME_WHITEOUT)
		w->op = "rename with whiteout";
	say(w, "rename %s to %s flags %u", show(from), show(to), flags);
	IN_STEP(w, a, renameat2(w->root[SIDE], from, w->root[SIDE], to, flags));
	same_answer(w, a);
	same_path(w, from, false);
	same_path(w, to, false);
}

static void run_link(struct world *w)
{
	char from[PATH_SIZE], to[PATH_SIZE];
	int flags = one_in(w, 3) ? AT_SYMLINK_FOLLOW : 0;
	struct answer a[SIDES];
	struct stat st;

	pick_path(w, PICK_NEW, to);
	pick_path(w, one_in(w, 3) ? PICK_ANY : PICK_FILE, from);
	if (flags)
		w->subject = fstatat(w->root[PLAIN], from, &st, 0) ? 0 : st.st_mode & S_IFMT;
	say(w, "link %s to %s flags %#x", show(from), show(to), flags);
	IN_STEP(w, a, linkat(w->root[SIDE], from, w->root[SIDE], to, flags));
	same_answer(w, a);
	same_path(w, from, false);
	same_path(w, to, false);
}

/* Never with .., which might lead out of the root. */
static void pick_target(struct world *w, char *target)
{
	static const size_t sizes[] = { 1, 100, 2900, 2950, 3000, 3050, 4094, 4095, 4096 };
	size_t size;

	if (one_in(w, 3)) {
		size = one_in(w, 3) ? 1 + (size_t)below(w, 4095) : sizes[below(w, 9)];
		memset(target, 'y', size);
		target[size] = '\0';
		for (size_t i = 200; i < size; i += 200)
			target[i] = '/';
	} else if (one_in(w, 10)) {
		strcpy(target, one_in(w, 2) ? "" : ".");
	} else {
		pick_name(w, target);
	}
}

static void run_symlink(struct world *w)
{
	char path[PATH_SIZE], target[4097], got[SIDES][4097];
	struct answer a[SIDES];

	pick_path(w, PICK_NEW, path);
	pick_target(w, target);
	say(w, "symlink %s to %s", show(path), show(target));
	IN_STEP(w, a, symlinkat(target, w->root[SIDE], path));
	same_answer(w, a);
	same_path(w, path, false);
	if (a[PLAIN].value)
		return;
	IN_STEP(w, a, readlinkat(w->root[SIDE], path, got[SIDE], sizeof(got[SIDE])));
	same_answer(w, a);
	if (a[PLAIN].value > 0 && memcmp(got[MOUNT], got[PLAIN], (size_t)a[PLAIN].value))
		diverge(w, "the target differs");
}

static void run_readlink(struct world *w)
{
	char path[PATH_SIZE], got[SIDES][4097];
	size_t size = one_in(w, 4) ? 1 + (size_t)below(w, 50) : 4097;
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	say(w, "readlink %s into %zu bytes", show(path), size);
	IN_STEP(w, a, readlinkat(w->root[SIDE], path, got[SIDE], size));
	same_answer(w, a);
	if (a[PLAIN].value > 0 && memcmp(got[MOUNT], got[PLAIN], (size_t)a[PLAIN].value))
		diverge(w, "the target differs");
}

static void run_mknod(struct world *w)
{
	static const mode_t types[] = { S_IFIFO, S_IFIFO, S_IFSOCK, S_IFCHR,
					S_IFBLK, S_IFREG, 0,	    S_IFDIR };
	char path[PATH_SIZE];
	mode_t type = types[below(w, 8)], mode = type | pick_mode(w);
	dev_t device = is_device(type) && !one_in(w, 4) ? makedev((unsigned int)below(w, 4096),
								  (unsigned int)below(w, 1 << 20))
							: 0;
	struct answer a[SIDES];

	pick_path(w, PICK_NEW, path);
	say(w, "mknod %s mode %o device %#llx", show(path), mode, (unsigned long long)device);
	IN_STEP(w, a, mknodat(w->root[SIDE], path, mode, device));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_chmod(struct world *w)
{
	char path[PATH_SIZE];
	mode_t mode = pick_mode(w);
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	if (w->subject == S_IFDIR && !one_in(w, 4))
		mode |= 0700;
	say(w, "chmod %s mode %o", show(path), mode);
	IN_STEP(w, a, fchmodat(w->root[SIDE], path, mode, 0));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_chown(struct world *w)
{
	static const uid_t ids[] = { (uid_t)-1, (uid_t)-1, 0,	  0,	      1001,
				     1002,	2000,	   65534, 4000000000U };
	char path[PATH_SIZE];
	uid_t uid = ids[below(w, 9)], gid = ids[below(w, 9)];
	int flags = one_in(w, 2) ? AT_SYMLINK_NOFOLLOW : 0;
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	if (chown_of_nothing(uid, gid))
		return;
	say(w, "chown %s to %d:%d flags %#x", show(path), (int)uid, (int)gid, flags);
	IN_STEP(w, a, fchownat(w->root[SIDE], path, uid, gid, flags));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_utimens(struct world *w)
{
	char path[PATH_SIZE];
	struct timespec ts[2];
	int flags = one_in(w, 2) ? AT_SYMLINK_NOFOLLOW : 0;
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	pick_time(w, &ts[0]);
	pick_time(w, &ts[1]);
	say(w, "utimensat %s to %lld.%09ld %lld.%09ld flags %#x", show(path),
	    (long long)ts[0].tv_sec, ts[0].tv_nsec, (long long)ts[1].tv_sec, ts[1].tv_nsec, flags);
	IN_STEP(w, a, utimensat(w->root[SIDE], path, ts, flags));
	same_answer(w, a);
	same_path(w, path, !a[PLAIN].value && ts[0].tv_nsec != UTIME_OMIT && w->subject != S_IFLNK);
}

static void run_truncate(struct world *w)
{
	char path[PATH_SIZE], whole[SIDES][WHOLE_SIZE];
	struct answer a[SIDES];
	struct stat st;
	off_t size;

	pick_path(w, PICK_FILE, path);
	if (fstatat(w->root[PLAIN], path, &st, 0))
		st.st_size = 0;
	size = pick_offset(w, st.st_size);
	/* The kernel sees nothing to do then, and it owns the time; nor does tmpfs. */
	if ((w->o->writeback || w->on_tmpfs) && size == st.st_size)
		return;
	for (int side = MOUNT; side < SIDES; side++)
		snprintf(whole[side], WHOLE_SIZE, "%s/%s", w->root_path[side], path);
	say(w, "truncate %s to %lld", show(path), (long long)size);
	IN_STEP(w, a, truncate(whole[SIDE], size));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_stat(struct world *w)
{
	char path[PATH_SIZE];
	struct answer a[SIDES];
	struct stat st[SIDES];

	pick_path(w, PICK_ANY, path);
	say(w, "stat %s", show(path));
	IN_STEP(w, a, fstatat(w->root[SIDE], path, &st[SIDE], 0));
	same_answer(w, a);
	if (!a[PLAIN].value)
		same_stat(w, st, path, false);
}

static void run_access(struct world *w)
{
	char path[PATH_SIZE];
	int mode = (int)below(w, 8);
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	say(w, "access %s mode %d", show(path), mode);
	IN_STEP(w, a, faccessat(w->root[SIDE], path, mode, AT_EACCESS));
	same_answer(w, a);
}

/* ---- attributes -------------------------------------------------------------- */

static const char *pick_attribute(struct world *w)
{
	static char text[NAME_MAX + 2];
	static const char *const names[] = { "user.a",
					     "user.a",
					     "user.b",
					     "user.c",
					     "trusted.t",
					     "user.cryptfs.dir",
					     "user.cryptfs.AAAA",
					     "user.",
					     "nosuch.a",
					     "user.\xff\x01 x" };

	if (!one_in(w, 8))
		return names[below(w, sizeof(names) / sizeof(names[0]))];
	memset(text, 'x', sizeof(text));
	memcpy(text, "user.", 5);
	text[one_in(w, 3) ? 5 + 160 : 5 + 1 + below(w, 160)] = '\0';
	return text;
}

static void run_setxattr(struct world *w)
{
	static const int flags[] = { 0, 0, 0, XATTR_CREATE, XATTR_REPLACE };
	char path[PATH_SIZE], whole[SIDES][WHOLE_SIZE];
	const char *name = pick_attribute(w);
	size_t size = one_in(w, 6) ? 0 : (size_t)below(w, 200);
	int flag = flags[below(w, 5)];
	bool follow = one_in(w, 4), remove = one_in(w, 4);
	const uint8_t *value = pick_bytes(w, size);
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	for (int side = MOUNT; side < SIDES; side++)
		snprintf(whole[side], WHOLE_SIZE, "%s/%s", w->root_path[side], path);
	say(w, "%s attribute %s of %s, %zu bytes, flags %d%s", remove ? "remove" : "set",
	    show(name), show(path), size, flag, follow ? ", following" : "");
	if (remove && follow)
		IN_STEP(w, a, removexattr(whole[SIDE], name));
	else if (remove)
		IN_STEP(w, a, lremovexattr(whole[SIDE], name));
	else if (follow)
		IN_STEP(w, a, setxattr(whole[SIDE], name, value, size, flag));
	else
		IN_STEP(w, a, lsetxattr(whole[SIDE], name, value, size, flag));
	same_answer(w, a);
	same_path(w, path, false);
}

static void run_getxattr(struct world *w)
{
	char path[PATH_SIZE], whole[SIDES][WHOLE_SIZE];
	char got[SIDES][1000];
	const char *name = pick_attribute(w);
	size_t size = one_in(w, 3) ? (size_t)below(w, 100) : one_in(w, 4) ? 0 : 1000;
	bool list = one_in(w, 3);
	struct answer a[SIDES];

	pick_path(w, PICK_ANY, path);
	for (int side = MOUNT; side < SIDES; side++)
		snprintf(whole[side], WHOLE_SIZE, "%s/%s", w->root_path[side], path);
	say(w, "%s %s of %s into %zu bytes", list ? "list attributes, not" : "get attribute",
	    show(name), show(path), size);
	if (list)
		IN_STEP(w, a, llistxattr(whole[SIDE], got[SIDE], size));
	else
		IN_STEP(w, a, lgetxattr(whole[SIDE], name, got[SIDE], size));
	same_answer(w, a);
	if (!list && size && a[PLAIN].value > 0 &&
	    memcmp(got[MOUNT], got[PLAIN], (size_t)a[PLAIN].value))
		diverge(w, "the value differs");
	if (list && !a[PLAIN].value)
		same_attributes(w, (const char *const[]){ whole[MOUNT], whole[PLAIN] }, path);
}

/* ---- directories ------------------------------------------------------------- */

static void open_dirs(struct world *w, const char *path, int *fd)
{
	struct answer a[SIDES];

	IN_STEP(w, a, fd[SIDE] = openat(w->root[SIDE], path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (int side = MOUNT; side < SIDES; side++)
		a[side].value = a[side].value < 0 ? -1 : 0;
	same_answer(w, a);
}

/* Going back to where telldir was gives what came then. */
static void seek_in(struct world *w, int fd, const char *side)
{
	DIR *dir = fdopendir(fd);
	char names[64][NAME_MAX + 1];
	long at[64];
	size_t n = 0;
	struct dirent *d;

	if (!dir)
		broken("fdopendir: %s", strerror(errno));
	do {
		at[n] = telldir(dir);
		d = readdir(dir);
		strcpy(names[n], d ? d->d_name : "");
		n++;
	} while (d && n < 64);
	for (int i = 0; i < 4; i++) {
		size_t j = (size_t)below(w, n);

		seekdir(dir, at[j]);
		d = readdir(dir);
		if (strcmp(names[j], d ? d->d_name : ""))
			diverge(w, "going back in the listing on the %s side gave %s, not %s", side,
				d ? show(d->d_name) : "nothing", show(names[j]));
	}
	closedir(dir);
}

static void run_list(struct world *w)
{
	char path[PATH_SIZE];
	int fd[SIDES];

	pick_path(w, PICK_DIR, path);
	say(w, "list %s", show(path));
	open_dirs(w, path, fd);
	if (fd[PLAIN] < 0)
		return;
	same_listing(w, fd, path);
	seek_in(w, fd[MOUNT], "mount's");
	seek_in(w, fd[PLAIN], "plain");
}

enum { CROWD = 120 };

/* List while every other file goes: what stays comes exactly once. */
static void list_while_changing(struct world *w, int at, int fd, const char *path, const char *side)
{
	DIR *dir = fdopendir(fd);
	unsigned int seen[CROWD] = { 0 };
	unsigned int until = 0;
	struct dirent *d;
	char name[PATH_SIZE + 16];

	if (!dir)
		broken("fdopendir: %s", strerror(errno));
	for (unsigned int i = 0; (d = readdir(dir)); i++) {
		if (d->d_name[0] == 'f')
			seen[atoi(d->d_name + 1) % CROWD]++;
		if (i == 3)
			for (; until < CROWD; until += 2) {
				snprintf(name, sizeof(name), "%s/f%u", path, until);
				if (unlinkat(at, name, 0))
					diverge(w, "unlink on the %s side: %s", side,
						strerror(errno));
			}
	}
	closedir(dir);
	for (unsigned int i = 0; i < CROWD; i++)
		if (seen[i] > 1 || (i % 2 && !seen[i]))
			diverge(w, "f%u came %u times in the listing on the %s side", i, seen[i],
				side);
}

static void run_crowd(struct world *w)
{
	char path[PATH_SIZE], name[PATH_SIZE + 16];
	struct answer a[SIDES];
	int fd[SIDES];

	pick_path(w, PICK_NEW, path);
	say(w, "mkdir %s and fill it with %d files", show(path), CROWD);
	IN_STEP(w, a, mkdirat(w->root[SIDE], path, 0777));
	same_answer(w, a);
	if (a[PLAIN].value)
		return;
	for (unsigned int i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "%s/f%u", path, i);
		IN_STEP(w, a, mknodat(w->root[SIDE], name, S_IFREG | 0666, 0));
		same_answer(w, a);
		if (a[PLAIN].value) /* the umask may forbid it */
			return;
	}
	open_dirs(w, path, fd);
	if (fd[PLAIN] >= 0) {
		list_while_changing(w, w->root[MOUNT], fd[MOUNT], path, "mount's");
		list_while_changing(w, w->root[PLAIN], fd[PLAIN], path, "plain");
	}
	for (unsigned int i = 1; i < CROWD; i += 2) {
		snprintf(name, sizeof(name), "%s/f%u", path, i);
		IN_STEP(w, a, unlinkat(w->root[SIDE], name, 0));
		same_answer(w, a);
	}
	IN_STEP(w, a, unlinkat(w->root[SIDE], path, AT_REMOVEDIR));
	same_answer(w, a);
	same_path(w, path, false);
}

/* A directory so deep that no path leads there in one call. */
static void run_deep(struct world *w)
{
	char name[NAME_MAX + 1];
	int at[SIDES], next[SIDES];
	struct answer a[SIDES];

	say(w, "go down 30 directories with long names");
	memset(name, 'd', 200);
	name[200] = '\0';
	for (int side = MOUNT; side < SIDES; side++)
		at[side] = openat(w->root[side], ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 30 && at[PLAIN] >= 0; i++) {
		IN_STEP(w, a, mkdirat(at[SIDE], name, 0777));
		same_answer(w, a);
		IN_STEP(w, a,
			next[SIDE] = openat(at[SIDE], name, O_PATH | O_DIRECTORY | O_CLOEXEC));
		if ((next[MOUNT] < 0) != (next[PLAIN] < 0))
			diverge(w, "level %d opens on one side only", i);
		for (int side = MOUNT; side < SIDES; side++) {
			close(at[side]);
			at[side] = next[side];
		}
	}
	if (at[PLAIN] < 0)
		return;
	IN_STEP(w, a, mknodat(at[SIDE], "file", S_IFREG | 0666, 0));
	same_answer(w, a);
	IN_STEP(w, a, symlinkat("file", at[SIDE], "link"));
	same_answer(w, a);
	same_listing(w, at, "the deepest");
	for (int side = MOUNT; side < SIDES; side++)
		close(at[side]);
}

static void remove_below(struct world *w, const int *at, const char *name)
{
	struct answer a[SIDES];
	struct listing l;
	int fd[SIDES];

	IN_STEP(w, a, unlinkat(at[SIDE], name, 0));
	same_answer(w, a);
	if (a[PLAIN].error != EISDIR)
		return;
	for (int side = MOUNT; side < SIDES; side++)
		fd[side] = openat(at[side], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if ((fd[MOUNT] < 0) != (fd[PLAIN] < 0))
		diverge(w, "%s opens on one side only", show(name));
	if (fd[PLAIN] >= 0) {
		if (!listing_read(fd[PLAIN], &l))
			for (size_t i = 0; i < l.n; i++)
				remove_below(w, fd, l.entries[i].name);
		listing_free(&l);
		close(fd[MOUNT]);
		close(fd[PLAIN]);
	}
	IN_STEP(w, a, unlinkat(at[SIDE], name, AT_REMOVEDIR));
	same_answer(w, a);
}

static void run_prune(struct world *w)
{
	struct listing l;

	say(w, "remove half of the root, and what is below");
	if (listing_read(w->root[PLAIN], &l))
		return;
	for (size_t i = 0; i < l.n; i++)
		if (one_in(w, 2))
			remove_below(w, w->root, l.entries[i].name);
	listing_free(&l);
	same_path(w, ".", false);
}

const struct operation path_operations[] = {
	{ "open", 60, run_open },	  { "tmpfile", 4, run_tmpfile },
	{ "mkdir", 20, run_mkdir },	  { "unlink", 24, run_unlink },
	{ "rename", 40, run_rename },	  { "link", 14, run_link },
	{ "symlink", 10, run_symlink },	  { "readlink", 4, run_readlink },
	{ "mknod", 8, run_mknod },	  { "chmod", 10, run_chmod },
	{ "chown", 10, run_chown },	  { "utimens", 14, run_utimens },
	{ "truncate", 12, run_truncate }, { "stat", 6, run_stat },
	{ "access", 6, run_access },	  { "setxattr", 14, run_setxattr },
	{ "getxattr", 8, run_getxattr },  { "list", 8, run_list },
	{ "crowd", 1, run_crowd },	  { "deep", 1, run_deep },
	{ "prune", 5, run_prune },	  { NULL, 0, NULL },
};
