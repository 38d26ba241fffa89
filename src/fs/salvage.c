/* SPDX-License-Identifier: MIT */
/* Copying out of a vault what authenticates: see salvage.h for the contract. */
#include "fs/salvage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/check_internal.h"

/* A file with several names, by the first that was copied. */
struct linked {
	dev_t dev;
	ino_t ino;
	char path[]; /* below the copy's root */
};

struct salvage {
	int fd;
	pthread_mutex_t lock;
	void *linked; /* a tree of them, for tsearch(3) */
};

/* ---- where to -------------------------------------------------------------- */

/* 0, SALVAGE_NOT_EMPTY or -errno. */
static int is_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!d) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	while (!r && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = SALVAGE_NOT_EMPTY;
	(void)closedir(d); /* only read */
	return r;
}

/* The directory that path is in, where a new one would be. */
static int parent_lies_in(const char *path, int above)
{
	char *copy = strdup(path);
	char *slash;
	int fd;
	int r;

	if (!copy)
		return -ENOMEM;
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = '\0';
	fd = open(slash ? copy : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : fdio_lies_in(fd, above);
	fdio_close(fd);
	free(copy);
	return r;
}

int salvage_new(const char *path, int vault_fd, struct salvage **out)
{
	struct salvage *s = calloc(1, sizeof(*s));
	int r;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0 && errno == ENOENT) {
		/* Looked at before anything is made, which could be in the vault. */
		r = parent_lies_in(path, vault_fd);
		if (r) {
			r = r > 0 ? SALVAGE_INSIDE : r;
			goto out;
		}
		if (mkdir(path, 0700)) {
			r = -errno;
			goto out;
		}
		s->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	r = s->fd < 0 ? -errno : fdio_lies_in(s->fd, vault_fd);
	if (r > 0)
		r = SALVAGE_INSIDE;
	if (!r)
		r = is_empty(s->fd);
	if (r)
		goto out;

	*out = s;
	s = NULL;
out:
	salvage_free(s);
	return r;
}

void salvage_free(struct salvage *s)
{
	if (!s)
		return;
	tdestroy(s->linked, free);
	pthread_mutex_destroy(&s->lock);
	fdio_close(s->fd);
	free(s);
}

/* ---- telling, and giving up -------------------------------------------------- */

static void not_copied(struct check *c, const struct check_dir *dir,
		       const struct check_entry *entry, const char *detail, int error)
{
	const struct check_what what = { .detail = detail, .error = error };

	check_tell(c, CHECK_NOT_COPIED, dir, entry, &what);
	if (error == ENOSPC || error == EDQUOT || error == EROFS)
		atomic_store(&c->given_up, error); /* so it would be with all the rest */
}

/* The name of a copy: one that says so if the thing is not proven to belong there. */
static const char *copy_name(const char *name, const char *stored, bool proven,
			     char shown[NAMES_PLAIN_MAX + 1])
{
	if (proven)
		return name; /* the shown one anyway, where the name is damaged */
	names_show_damaged(stored, shown);
	return shown;
}

static bool dir_is_proven(const struct check_dir *dir)
{
	return dir->in_place || !dir->has_id;
}

/* ---- what files and directories have in common --------------------------------- */

struct attrs {
	struct check *c;
	int fd; /* of the copy */
	const struct check_dir *dir;
	const struct check_entry *entry;
};

static void copy_attr(void *arg, const char *name, const void *value, size_t size)
{
	const struct attrs *a = arg;

	if (fsetxattr(a->fd, name, value, size, XATTR_CREATE))
		not_copied(a->c, a->dir, a->entry, name, errno);
}

/* Capabilities, access lists and the like, which a vault keeps as they are. */
static bool is_kept(const char *name)
{
	return !strncmp(name, "security.", 9) || !strncmp(name, "trusted.", 8) ||
	       !strncmp(name, "system.posix_acl_", 17);
}

/* As far as we may. */
static void copy_other_attrs(int from, int to)
{
	char list[4096];
	char value[4096];
	ssize_t size = flistxattr(from, list, sizeof(list));

	for (const char *name = list; size > 0 && name < list + size; name += strlen(name) + 1) {
		ssize_t got;

		if (!is_kept(name))
			continue;
		got = fgetxattr(from, name, value, sizeof(value));
		if (got >= 0)
			(void)fsetxattr(to, name, value, (size_t)got, 0);
	}
}

/* Owner, mode, attributes of the system, times, in this order. */
static void copy_looks(int from, int to, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	mode_t mode = st->st_mode & 07777;

	if (fchown(to, st->st_uid, st->st_gid))
		mode &= (mode_t) ~(S_ISUID | S_ISGID); /* not for another owner */
	(void)fchmod(to, mode);
	copy_other_attrs(from, to);
	(void)futimens(to, times);
}

/* ---- directories ------------------------------------------------------------- */

static int make_dir(const struct check_dir *dir)
{
	char shown[NAMES_PLAIN_MAX + 1];
	const char *name = copy_name(dir->name, dir->stored, dir_is_proven(dir), shown);
	int fd;

	if (mkdirat(dir->parent->copy.fd, name, 0700))
		return -errno;
	fd = openat(dir->parent->copy.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void salvage_begin_dir(struct check *c, struct check_dir *dir)
{
	struct attrs a = { .c = c, .dir = dir };
	int fd;

	if (!c->options.salvage)
		return;
	if (!dir->parent) {
		fd = fcntl(c->options.salvage->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			fd = -errno;
	} else {
		fd = dir->parent->copy.fd < 0 ? -ENOENT : make_dir(dir);
	}
	if (fd < 0) {
		not_copied(c, dir, NULL, NULL, -fd);
		return;
	}
	dir->copy.fd = a.fd = fd;
	if (dir->has_id)
		check_attrs_copy(c, dir->fd, dir->id, sizeof(dir->id), copy_attr, &a);
}

void salvage_end_dir(struct check *c, struct check_dir *dir)
{
	if (dir->copy.fd < 0)
		return;
	(void)c;
	copy_looks(dir->fd, dir->copy.fd, &dir->st);
	fdio_close(dir->copy.fd);
}

/* ---- files ---------------------------------------------------------------------- */

static int by_inode(const void *a, const void *b)
{
	const struct linked *x = a;
	const struct linked *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* The path of a copy below its root, after the inode that it is known by. */
static struct linked *linked_new(const struct check_entry *entry, const char *name)
{
	const struct check_dir *d;
	char shown[NAMES_PLAIN_MAX + 1];
	size_t size = strlen(name) + 1;
	struct linked *l;
	char *at;

	for (d = entry->dir; d->parent; d = d->parent)
		size += strlen(copy_name(d->name, d->stored, dir_is_proven(d), shown)) + 1;
	l = malloc(sizeof(*l) + size);
	if (!l)
		return NULL;
	l->dev = entry->st.st_dev;
	l->ino = entry->st.st_ino;
	at = l->path + size - strlen(name) - 1;
	strcpy(at, name);
	for (d = entry->dir; d->parent; d = d->parent) {
		const char *part = copy_name(d->name, d->stored, dir_is_proven(d), shown);

		*--at = '/';
		at -= strlen(part);
		memcpy(at, part, strlen(part));
	}
	return l;
}

static void remember(struct check *c, const struct check_entry *entry, const char *name)
{
	struct salvage *s = c->options.salvage;
	struct linked *l = linked_new(entry, name);

	pthread_mutex_lock(&s->lock);
	if (!l || !tsearch(l, &s->linked, by_inode)) {
		free(l);
		not_copied(c, entry->dir, entry, "as one with several names", ENOMEM);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Another name of a file that was copied; of one that was not that was told then. */
static void link_again(struct check *c, const struct check_entry *entry, const char *name)
{
	struct salvage *s = c->options.salvage;
	const struct linked wanted = { .dev = entry->st.st_dev, .ino = entry->st.st_ino };
	struct linked *const *found;

	pthread_mutex_lock(&s->lock);
	found = tfind(&wanted, &s->linked, by_inode);
	if (found && linkat(s->fd, (*found)->path, entry->dir->copy.fd, name, 0))
		not_copied(c, entry->dir, entry, NULL, errno);
	pthread_mutex_unlock(&s->lock);
}

void salvage_begin_file(struct check *c, const struct check_entry *entry, bool in_place,
			bool first_name, struct salvage_file *copy)
{
	char shown[NAMES_PLAIN_MAX + 1];
	const char *name = copy_name(entry->name, entry->stored, in_place, shown);

	if (entry->dir->copy.fd < 0)
		return;
	if (!first_name) {
		link_again(c, entry, name);
		return;
	}
	copy->fd = openat(entry->dir->copy.fd, name,
			  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (copy->fd < 0)
		not_copied(c, entry->dir, entry, NULL, errno);
	else if (entry->st.st_nlink > 1)
		remember(c, entry, name);
}

/* Where blocks of zeros, or of anything else, end that begin at `from`. */
static size_t skip(const uint8_t *data, size_t size, size_t from, bool zeros)
{
	while (from < size) {
		size_t n = size - from < FORMAT_BLOCK_SIZE ? size - from : FORMAT_BLOCK_SIZE;

		if (bytes_are_zero(data + from, n) != zeros)
			break;
		from += n;
	}
	return from;
}

void salvage_write(struct check *c, struct salvage_file *copy, const void *data, size_t size,
		   uint64_t at)
{
	const uint8_t *bytes = data;
	int r = 0;

	(void)c;
	if (copy->fd < 0)
		return;
	for (size_t from = skip(bytes, size, 0, true); from < size && !r;) {
		size_t to = skip(bytes, size, from, false);

		r = fdio_pwrite_full(copy->fd, bytes + from, to - from, (off_t)(at + from));
		from = skip(bytes, size, to, true);
	}
	if (r)
		atomic_store(&copy->error, -r);
}

void salvage_end_file(struct check *c, const struct check_entry *entry, const struct file *file,
		      struct salvage_file *copy, const struct file_state *state)
{
	struct attrs a = { .c = c, .fd = copy->fd, .dir = entry->dir, .entry = entry };
	bool dirty = state->flags & FORMAT_DIRTY;
	uint64_t length = dirty ? state->length : state->sealed;
	int error;

	if (copy->fd < 0)
		return;
	error = atomic_load(&copy->error);
	if (!error && ftruncate(copy->fd, (off_t)length))
		error = errno;
	check_attrs_copy(c, file_fd(file), file_id(file), KEYS_FILE_ID_SIZE, copy_attr, &a);
	copy_looks(file_fd(file), copy->fd, &entry->st);
	if (close(copy->fd) && !error)
		error = errno; /* what was put off */
	copy->fd = -1;
	if (error)
		not_copied(c, entry->dir, entry, NULL, error);
}

/* ---- everything else ---------------------------------------------------------------- */

static void copy_looks_at(int dirfd, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	(void)!fchownat(dirfd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
	if (!S_ISLNK(st->st_mode))
		(void)!fchmodat(dirfd, name, st->st_mode & 07777, 0);
	(void)utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW);
}

void salvage_symlink(struct check *c, const struct check_entry *entry, const char *target)
{
	if (entry->dir->copy.fd < 0)
		return;
	if (symlinkat(target, entry->dir->copy.fd, entry->name))
		not_copied(c, entry->dir, entry, NULL, errno);
	else
		copy_looks_at(entry->dir->copy.fd, entry->name, &entry->st);
}

static bool seen_before(struct check *c, const struct check_entry *entry)
{
	const struct linked wanted = { .dev = entry->st.st_dev, .ino = entry->st.st_ino };
	struct salvage *s = c->options.salvage;
	bool seen;

	pthread_mutex_lock(&s->lock);
	seen = tfind(&wanted, &s->linked, by_inode);
	pthread_mutex_unlock(&s->lock);
	return seen;
}

void salvage_special(struct check *c, const struct check_entry *entry)
{
	const struct stat *st = &entry->st;

	if (entry->dir->copy.fd < 0)
		return;
	if (st->st_nlink > 1 && seen_before(c, entry)) {
		link_again(c, entry, entry->name);
		return;
	}
	if (mknodat(entry->dir->copy.fd, entry->name, (st->st_mode & S_IFMT) | 0600, st->st_rdev)) {
		not_copied(c, entry->dir, entry, NULL, errno);
		return;
	}
	copy_looks_at(entry->dir->copy.fd, entry->name, st);
	if (st->st_nlink > 1)
		remember(c, entry, entry->name);
}
