/* SPDX-License-Identifier: MIT */
/*
 * What must be alike on both sides.  A time that was set is equal to the
 * nanosecond; one that the filesystem chose is not older than this run on
 * either side, so that a time which moved without reason, or did not move, is
 * seen wherever it had been set before.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PIECE = 1 << 18, SPARSE = 8 << 20, LIST_SIZE = 65536 };

static bool before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

void same_answer(struct world *w, const struct answer *a)
{
	if (a[MOUNT].value != a[PLAIN].value || a[MOUNT].error != a[PLAIN].error)
		diverge(w, "the mount answered %ld (%s), the plain side %ld (%s)", a[MOUNT].value,
			strerror(a[MOUNT].error), a[PLAIN].value, strerror(a[PLAIN].error));
}

static void same_number(struct world *w, const char *what, const char *field, uint64_t mount,
			uint64_t plain)
{
	if (mount != plain)
		diverge(w, "%s: %s is %#llo (%llu) in the mount, %#llo (%llu) on the plain side",
			show(what), field, (unsigned long long)mount, (unsigned long long)mount,
			(unsigned long long)plain, (unsigned long long)plain);
}

static bool is_recent(const struct world *w, const struct timespec *t)
{
	struct timespec soon;

	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec++;
	return !before(t, &w->start) && before(t, &soon);
}

static void same_time(struct world *w, const char *what, const char *field,
		      const struct timespec *mount, const struct timespec *plain)
{
	if (mount->tv_sec == plain->tv_sec && mount->tv_nsec == plain->tv_nsec)
		return;
	if (!is_recent(w, mount) || !is_recent(w, plain))
		diverge(w, "%s: %s is %lld.%09ld in the mount, %lld.%09ld on the plain side",
			show(what), field, (long long)mount->tv_sec, mount->tv_nsec,
			(long long)plain->tv_sec, plain->tv_nsec);
}

void same_stat(struct world *w, const struct stat *st, const char *what, bool also_atime)
{
	const struct stat *m = &st[MOUNT], *p = &st[PLAIN];

	same_number(w, what, "mode", known_mode(w, m->st_mode), known_mode(w, p->st_mode));
	same_number(w, what, "number of links", m->st_nlink, p->st_nlink);
	same_number(w, what, "owner", m->st_uid, p->st_uid);
	same_number(w, what, "group", m->st_gid, p->st_gid);
	if (S_ISREG(p->st_mode) || S_ISLNK(p->st_mode))
		same_number(w, what, "size", (uint64_t)m->st_size, (uint64_t)p->st_size);
	if (S_ISCHR(p->st_mode) || S_ISBLK(p->st_mode))
		same_number(w, what, "device", m->st_rdev, p->st_rdev);
	/*
	 * Writing to a FIFO moves its time on ext4, not on FUSE; a directory that
	 * is removed loses its record, which moves it in the mount.
	 */
	if (!S_ISFIFO(p->st_mode) && p->st_nlink)
		same_time(w, what, "modification time", &m->st_mtim, &p->st_mtim);
	if (also_atime)
		same_time(w, what, "access time", &m->st_atim, &p->st_atim);
}

static void same_path_once(struct world *w, const char *path, bool also_atime)
{
	struct stat st[SIDES];
	struct answer a[SIDES];

	for (int side = MOUNT; side < SIDES; side++) {
		a[side].value = fstatat(w->root[side], path, &st[side], AT_SYMLINK_NOFOLLOW);
		a[side].error = a[side].value ? errno : 0;
	}
	if (a[MOUNT].error != a[PLAIN].error)
		diverge(w, "stat of %s: the mount answered %s, the plain side %s", show(path),
			strerror(a[MOUNT].error), strerror(a[PLAIN].error));
	if (!a[PLAIN].value)
		same_stat(w, st, path, also_atime);
}

void same_path(struct world *w, const char *path, bool also_atime)
{
	char above[PATH_SIZE];
	char *slash;

	same_path_once(w, path, also_atime);
	strcpy(above, path);
	slash = strrchr(above, '/');
	if (slash)
		*slash = '\0';
	else
		strcpy(above, ".");
	same_path_once(w, above, false);
}

void same_handle(struct world *w, const struct handle *h)
{
	struct stat st[SIDES];
	off_t at[SIDES];

	if (known_stale(h))
		return;
	for (int side = MOUNT; side < SIDES; side++) {
		if (fstat(h->fd[side], &st[side]))
			diverge(w, "fstat on the %s side: %s", side == MOUNT ? "mount's" : "plain",
				strerror(errno));
		at[side] = lseek(h->fd[side], 0, SEEK_CUR);
	}
	same_stat(w, st, "the open file", false);
	if (h->type == S_IFREG)
		same_number(w, "the open file", "file position", (uint64_t)at[MOUNT],
			    (uint64_t)at[PLAIN]);
}

void same_range(struct world *w, const int *fd, off_t offset, size_t size)
{
	ssize_t got[SIDES];

	for (int side = MOUNT; side < SIDES; side++) {
		got[side] = pread(fd[side], w->data[side], size, offset);
		if (got[side] < 0)
			diverge(w, "reading %zu bytes at %lld on the %s side: %s", size,
				(long long)offset, side == MOUNT ? "mount's" : "plain",
				strerror(errno));
	}
	if (got[MOUNT] != got[PLAIN])
		diverge(w, "reading %zu bytes at %lld gave %zd in the mount, %zd on the plain side",
			size, (long long)offset, got[MOUNT], got[PLAIN]);
	if (!memcmp(w->data[MOUNT], w->data[PLAIN], (size_t)got[PLAIN]))
		return;
	for (ssize_t i = 0;; i++)
		if (w->data[MOUNT][i] != w->data[PLAIN][i])
			diverge(w,
				"byte %lld is 0x%02x in the mount, 0x%02x on the plain side (read "
				"of %zu at %lld)",
				(long long)(offset + i), w->data[MOUNT][i], w->data[PLAIN][i], size,
				(long long)offset);
}

void same_content(struct world *w, const int *fd, const char *what)
{
	struct stat st[SIDES];
	off_t end, at = 0;

	if (fstat(fd[MOUNT], &st[MOUNT]) || fstat(fd[PLAIN], &st[PLAIN]))
		broken("fstat: %s", strerror(errno));
	same_number(w, what, "size", (uint64_t)st[MOUNT].st_size, (uint64_t)st[PLAIN].st_size);
	end = st[PLAIN].st_size;
	while (at < end) {
		/* Of big files with holes, the data and a little around it. */
		if (end > SPARSE) {
			off_t data = lseek(fd[PLAIN], at, SEEK_DATA);

			if (data < 0)
				data = end - 1;
			if (data > at + 2 * PIECE)
				at = data - 5000;
		}
		same_range(w, fd, at, PIECE);
		at += PIECE;
	}
	same_range(w, fd, end > 100 ? end - 100 : 0, 200);
}

/* ---- attributes -------------------------------------------------------------- */

struct names {
	char text[LIST_SIZE];
	const char *sorted[256];
	size_t n;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int list_attributes(const char *path, struct names *names)
{
	ssize_t size = llistxattr(path, names->text, sizeof(names->text));

	names->n = 0;
	if (size < 0)
		return errno;
	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names->text + at) + 1)
		if (names->n < 256 && strcmp(names->text + at, "security.selinux"))
			names->sorted[names->n++] = names->text + at;
	qsort(names->sorted, names->n, sizeof(names->sorted[0]), by_text);
	return 0;
}

void same_attributes(struct world *w, const char *const *path, const char *what)
{
	static struct names names[SIDES];
	static uint8_t value[SIDES][LIST_SIZE];
	int error[SIDES];

	for (int side = MOUNT; side < SIDES; side++)
		error[side] = list_attributes(path[side], &names[side]);
	if (error[MOUNT] != error[PLAIN])
		diverge(w, "listing attributes of %s: the mount answered %s, the plain side %s",
			show(what), strerror(error[MOUNT]), strerror(error[PLAIN]));
	same_number(w, what, "number of attributes", names[MOUNT].n, names[PLAIN].n);
	for (size_t i = 0; i < names[PLAIN].n; i++) {
		ssize_t got[SIDES];

		if (strcmp(names[MOUNT].sorted[i], names[PLAIN].sorted[i]))
			diverge(w, "%s: attribute %s in the mount, %s on the plain side",
				show(what), show(names[MOUNT].sorted[i]),
				show(names[PLAIN].sorted[i]));
		for (int side = MOUNT; side < SIDES; side++)
			got[side] = lgetxattr(path[side], names[side].sorted[i], value[side],
					      LIST_SIZE);
		if (got[MOUNT] != got[PLAIN] ||
		    (got[PLAIN] > 0 && memcmp(value[MOUNT], value[PLAIN], (size_t)got[PLAIN])))
			diverge(w, "%s: attribute %s differs (%zd and %zd bytes)", show(what),
				show(names[PLAIN].sorted[i]), got[MOUNT], got[PLAIN]);
	}
}

/* ---- directories ------------------------------------------------------------- */

static void same_names(struct world *w, const struct listing *l, const char *what)
{
	size_t n = l[MOUNT].n < l[PLAIN].n ? l[PLAIN].n : l[MOUNT].n;

	for (size_t i = 0; i < n; i++) {
		const struct entry *m = i < l[MOUNT].n ? &l[MOUNT].entries[i] : NULL;
		const struct entry *p = i < l[PLAIN].n ? &l[PLAIN].entries[i] : NULL;

		if (!m || !p || strcmp(m->name, p->name))
			diverge(w, "listing %s: %s in the mount where the plain side has %s",
				show(what), m ? show(m->name) : "nothing",
				p ? show(p->name) : "nothing");
		if (m->type != p->type)
			diverge(w, "listing %s: %s has type %d in the mount, %d on the plain side",
				show(what), show(p->name), m->type, p->type);
	}
	same_number(w, what, "number of . and ..", l[MOUNT].dots, l[PLAIN].dots);
}

/* False if neither side can list it. */
static bool read_both(struct world *w, const int *fd, struct listing *l, const char *what)
{
	int r[SIDES];

	for (int side = MOUNT; side < SIDES; side++)
		r[side] = listing_read(fd[side], &l[side]);
	if (r[MOUNT] != r[PLAIN])
		diverge(w, "listing %s: the mount answered %s, the plain side %s", show(what),
			strerror(-r[MOUNT]), strerror(-r[PLAIN]));
	if (!r[PLAIN])
		same_names(w, l, what);
	return !r[PLAIN];
}

void same_listing(struct world *w, const int *fd, const char *what)
{
	struct listing l[SIDES];

	if (!read_both(w, fd, l, what))
		return;
	listing_free(&l[MOUNT]);
	listing_free(&l[PLAIN]);
}

/* ---- the whole tree ---------------------------------------------------------- */

enum { MAX_INODES = 4096 };

struct walk {
	struct world *w;
	ino_t inodes[MAX_INODES][SIDES];
	size_t n;
};

/* Names are of one file on one side exactly if they are on the other. */
static void same_identity(struct walk *k, const struct stat *st, const char *what)
{
	for (size_t i = 0; i < k->n; i++) {
		bool mount = k->inodes[i][MOUNT] == st[MOUNT].st_ino;
		bool plain = k->inodes[i][PLAIN] == st[PLAIN].st_ino;

		if (mount != plain)
			diverge(k->w, "%s: another name of the same file on the %s side only",
				show(what), mount ? "mount's" : "plain");
		if (mount)
			return;
	}
	if (k->n == MAX_INODES)
		return;
	k->inodes[k->n][MOUNT] = st[MOUNT].st_ino;
	k->inodes[k->n++][PLAIN] = st[PLAIN].st_ino;
}

static void same_target(struct world *w, const int *dir, const char *name, const char *what)
{
	char text[SIDES][PATH_MAX + 1];
	ssize_t size[SIDES];

	for (int side = MOUNT; side < SIDES; side++) {
		size[side] = readlinkat(dir[side], name, text[side], sizeof(text[side]));
		if (size[side] < 0)
			diverge(w, "%s: readlink on the %s side: %s", show(what),
				side == MOUNT ? "mount's" : "plain", strerror(errno));
	}
	if (size[MOUNT] != size[PLAIN] || memcmp(text[MOUNT], text[PLAIN], (size_t)size[PLAIN]))
		diverge(w, "%s: the targets differ (%zd and %zd bytes)", show(what), size[MOUNT],
			size[PLAIN]);
}

/* Open NAME on both sides; false if both refuse. */
static bool open_both(struct world *w, const int *dir, const char *name, int flags, int *fd,
		      const char *what)
{
	int error[SIDES];

	for (int side = MOUNT; side < SIDES; side++) {
		fd[side] = openat(dir[side], name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags);
		error[side] = fd[side] < 0 ? errno : 0;
	}
	if (error[MOUNT] != error[PLAIN])
		diverge(w, "opening %s: the mount answered %s, the plain side %s", show(what),
			strerror(error[MOUNT]), strerror(error[PLAIN]));
	return !error[PLAIN];
}

static void close_both(const int *fd)
{
	close(fd[MOUNT]);
	close(fd[PLAIN]);
}

static void walk_directory(struct walk *k, const int *dir, const char *what);

static void walk_entry(struct walk *k, const int *dir, const char *name)
{
	char path[SIDES][NAME_MAX + 32];
	struct stat st[SIDES];
	int fd[SIDES];

	for (int side = MOUNT; side < SIDES; side++) {
		if (fstatat(dir[side], name, &st[side], AT_SYMLINK_NOFOLLOW)) {
			if (errno == EACCES && side == MOUNT &&
			    fstatat(dir[PLAIN], name, &st[PLAIN], AT_SYMLINK_NOFOLLOW) &&
			    errno == EACCES)
				return;
			diverge(k->w, "%s: stat on the %s side: %s", show(name),
				side == MOUNT ? "mount's" : "plain", strerror(errno));
		}
		snprintf(path[side], sizeof(path[side]), "/proc/self/fd/%d/%s", dir[side], name);
	}
	same_stat(k->w, st, name, false);
	same_identity(k, st, name);
	same_attributes(k->w, (const char *const[]){ path[MOUNT], path[PLAIN] }, name);
	switch (st[PLAIN].st_mode & S_IFMT) {
	case S_IFLNK:
		same_target(k->w, dir, name, name);
		break;
	case S_IFREG:
		if (open_both(k->w, dir, name, O_NOATIME * (geteuid() == 0), fd, name)) {
			same_content(k->w, fd, name);
			close_both(fd);
		}
		break;
	case S_IFDIR:
		if (open_both(k->w, dir, name, O_DIRECTORY, fd, name)) {
			walk_directory(k, fd, name);
			close_both(fd);
		}
		break;
	}
}

static void walk_directory(struct walk *k, const int *dir, const char *what)
{
	struct listing l[SIDES];

	if (!read_both(k->w, dir, l, what))
		return;
	for (size_t i = 0; i < l[PLAIN].n; i++) {
		struct stat st;

		if (!fstatat(dir[MOUNT], l[MOUNT].entries[i].name, &st, AT_SYMLINK_NOFOLLOW))
			same_number(k->w, l[MOUNT].entries[i].name,
				    "inode number (listed, then asked for)",
				    l[MOUNT].entries[i].ino, st.st_ino);
		walk_entry(k, dir, l[PLAIN].entries[i].name);
	}
	listing_free(&l[MOUNT]);
	listing_free(&l[PLAIN]);
}

void same_tree(struct world *w)
{
	struct walk *k = calloc(1, sizeof(*k));
	struct stat st[SIDES];
	int fd[SIDES];

	if (!k)
		broken("no memory");
	k->w = w;
	if (open_both(w, w->root, ".", O_DIRECTORY, fd, ".")) {
		for (int side = MOUNT; side < SIDES; side++)
			fstat(fd[side], &st[side]);
		same_stat(w, st, ".", false);
		walk_directory(k, fd, ".");
		close_both(fd);
	}
	free(k);
}

/* ---- before and after a remount ---------------------------------------------- */

struct sight {
	char *path;
	struct stat st;
};

struct snapshot {
	struct sight *sights;
	size_t n;
};

static void look_at(struct world *w, struct snapshot *s, int dir, const char *above)
{
	struct listing l;

	if (listing_read(dir, &l))
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct sight *more = realloc(s->sights, (s->n + 1) * sizeof(*more));
		struct sight *new;
		int fd;

		if (!more)
			broken("no memory");
		s->sights = more;
		new = &s->sights[s->n];
		if (asprintf(&new->path, "%s/%s", above, l.entries[i].name) < 0)
			broken("no memory");
		if (fstatat(dir, l.entries[i].name, &new->st, AT_SYMLINK_NOFOLLOW)) {
			free(new->path);
			continue;
		}
		s->n++;
		if (!S_ISDIR(new->st.st_mode))
			continue;
		fd = openat(dir, l.entries[i].name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0) {
			look_at(w, s, fd, s->sights[s->n - 1].path);
			close(fd);
		}
	}
	listing_free(&l);
}

struct snapshot *snapshot_take(struct world *w)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	int fd;

	if (!s)
		broken("no memory");
	fd = openat(w->root[MOUNT], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		diverge(w, "opening the mount: %s", strerror(errno));
	look_at(w, s, fd, "");
	close(fd);
	return s;
}

static void snapshot_free(struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->sights[i].path);
	free(s->sights);
	free(s);
}

void snapshot_compare(struct world *w, struct snapshot *was)
{
	struct snapshot *is = snapshot_take(w);

	if (was->n != is->n)
		diverge(w, "%zu things before the remount, %zu after it", was->n, is->n);
	for (size_t i = 0; i < is->n; i++) {
		const struct stat *a = &was->sights[i].st, *b = &is->sights[i].st;

		if (strcmp(was->sights[i].path, is->sights[i].path))
			diverge(w, "%s before the remount, %s after it", show(was->sights[i].path),
				show(is->sights[i].path));
		if (a->st_mode != b->st_mode || a->st_nlink != b->st_nlink ||
		    a->st_uid != b->st_uid || a->st_gid != b->st_gid || a->st_rdev != b->st_rdev ||
		    (!S_ISDIR(a->st_mode) && a->st_size != b->st_size))
			diverge(w,
				"%s was mode %o, %lu links, %lld bytes, is mode %o, %lu links, "
				"%lld bytes after the remount",
				show(is->sights[i].path), a->st_mode, (unsigned long)a->st_nlink,
				(long long)a->st_size, b->st_mode, (unsigned long)b->st_nlink,
				(long long)b->st_size);
		/* A symlink is made anew when it is settled after a rename. */
		if (a->st_ino != b->st_ino && !S_ISLNK(a->st_mode))
			diverge(w, "%s was inode %lu, is %lu after the remount",
				show(is->sights[i].path), (unsigned long)a->st_ino,
				(unsigned long)b->st_ino);
		if ((a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
		     a->st_mtim.tv_nsec != b->st_mtim.tv_nsec) &&
		    !known_later(w, &a->st_mtim, &b->st_mtim))
			diverge(w,
				"%s was modified at %lld.%09ld, at %lld.%09ld after the remount "
				"(mode %o)",
				show(is->sights[i].path), (long long)a->st_mtim.tv_sec,
				a->st_mtim.tv_nsec, (long long)b->st_mtim.tv_sec,
				b->st_mtim.tv_nsec, a->st_mode);
	}
	snapshot_free(is);
	snapshot_free(was);
}
