/* SPDX-License-Identifier: MIT */
/*
 * The check as a whole: what it keeps, how findings are told, and the way to
 * where it starts.  See check.h for the contract.
 */
#include "fs/check_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/journal.h"
#include "fs/vault_files.h"

int check_new(const struct check_options *options, struct check **out)
{
	struct check *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->options = *options;
	c->store = options->store;
	c->keys = options->store->keys;
	c->suite = c->store->suite == CIPHER_XOR ? CIPHER_AES_256_GCM : c->store->suite;
	pthread_mutex_init(&c->lock, NULL);
	c->file_ids = check_set_new();
	c->dir_ids = check_set_new();
	c->linked = check_set_new();
	if (c->file_ids && c->dir_ids && c->linked)
		r = check_jobs_new(c, options->threads, &c->jobs);
	if (r)
		check_free(c);
	else
		*out = c;
	return r;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	check_jobs_free(c->jobs);
	check_set_free(c->linked);
	check_set_free(c->dir_ids);
	check_set_free(c->file_ids);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

bool check_is_stopped(const struct check *c)
{
	return atomic_load_explicit(c->options.stop, memory_order_relaxed) ||
	       atomic_load_explicit(&c->given_up, memory_order_relaxed);
}

void check_counts(struct check *c, struct check_counts *counts)
{
	pthread_mutex_lock(&c->lock);
	*counts = c->counts;
	pthread_mutex_unlock(&c->lock);
}

bool check_is_new(struct check *c, struct check_set *set, const uint8_t key[CHECK_KEY_SIZE])
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = check_set_add(set, key);
	pthread_mutex_unlock(&c->lock);
	return r != 0; /* without memory: as if it were */
}

/* ---- paths --------------------------------------------------------------- */

/* Which of its two names a thing has in a path. */
typedef const char *(*name_of)(const struct check_dir *dir);

static const char *shown_name(const struct check_dir *dir)
{
	return dir->name;
}

static const char *stored_name(const struct check_dir *dir)
{
	return dir->stored;
}

/* prefix, the names of dir and above it, and last, which may be empty, with slashes between. */
static char *join(const char *prefix, const struct check_dir *dir, const char *last, name_of name)
{
	size_t size = strlen(prefix) + 1 + strlen(last) + 1;
	const struct check_dir *d;
	char *path;
	char *at;

	for (d = dir; d->parent; d = d->parent)
		size += strlen(name(d)) + 1;
	path = malloc(size);
	if (!path)
		return NULL;
	at = path + size - 1 - strlen(last);
	strcpy(at, last);
	for (d = dir; d->parent; d = d->parent) {
		size_t n = strlen(name(d));

		if (*at)
			*--at = '/';
		at -= n;
		memcpy(at, name(d), n);
	}
	if (*prefix) {
		if (*at)
			*--at = '/';
		at -= strlen(prefix);
		memcpy(at, prefix, strlen(prefix));
	}
	memmove(path, at, strlen(at) + 1);
	return path;
}

char *check_path(const struct check_dir *dir, const struct check_entry *entry)
{
	return join("", dir, entry ? entry->name : "", shown_name);
}

/* ---- telling ------------------------------------------------------------- */

/* c->lock is held. */
static void count(struct check *c, const struct check_finding *f)
{
	struct check_counts *n = &c->counts;

	if (f->has_range)
		n->bytes_bad += f->end - f->start;
	n->failed += f->outcome == CHECK_NOT_REPAIRED;
	if (f->outcome == CHECK_REPAIRED)
		n->repaired++;
	else if (check_kind_level(f->kind) == CHECK_DAMAGE)
		n->damaged++;
	else if (check_kind_level(f->kind) == CHECK_LEFTOVER)
		n->leftovers++;
	else
		n->troubles++;
}

static void tell(struct check *c, enum check_kind kind, const char *path, const char *stored,
		 const struct check_what *what)
{
	struct check_finding f = { .kind = kind, .path = path, .stored = stored };

	if (what) {
		f.detail = what->detail;
		f.has_range = what->has_range;
		f.start = what->start;
		f.end = what->end;
		f.error = what->error;
	}
	if (what && what->tried) {
		f.outcome = what->repair ? CHECK_NOT_REPAIRED : CHECK_REPAIRED;
		f.error = what->repair ? -what->repair : 0;
	}
	pthread_mutex_lock(&c->lock);
	count(c, &f);
	if (c->options.found)
		c->options.found(c->options.arg, &f);
	pthread_mutex_unlock(&c->lock);
}

void check_tell(struct check *c, enum check_kind kind, const struct check_dir *dir,
		const struct check_entry *entry, const struct check_what *what)
{
	char *path = check_path(dir, entry);
	char *stored = join("tree", dir, entry ? entry->stored : "", stored_name);

	/* Without memory: better without its place than not at all. */
	tell(c, kind, path ? path : "?", stored ? stored : "?", what);
	free(stored);
	free(path);
}

/* ---- the configuration ---------------------------------------------------- */

static void tell_copy(struct check *c, enum vault_copy_state state, enum vault_copy which,
		      bool repaired)
{
	struct check_what what = { .tried = c->options.repair, .repair = repaired ? 0 : -EIO };
	const char *name = vault_files_name(which);

	if (state == VAULT_COPY_MISSING)
		tell(c, CHECK_CONFIG_MISSING, name, name, &what);
	else if (state == VAULT_COPY_DAMAGED)
		tell(c, CHECK_CONFIG_DAMAGED, name, name, &what);
	else if (state == VAULT_COPY_OTHER)
		tell(c, CHECK_CONFIG_OTHER, name, name, &what);
}

void check_config(struct check *c, const struct vault *v)
{
	const char *temporary = vault_files_temporary();
	struct check_what what = { .tried = c->options.repair };
	struct vault_health health;

	vault_health(v, &health);
	tell_copy(c, health.primary, VAULT_PRIMARY, health.repaired);
	tell_copy(c, health.backup, VAULT_BACKUP, health.repaired);
	if (faccessat(vault_fd(v), temporary, F_OK, AT_SYMLINK_NOFOLLOW))
		return;
	if (c->options.repair)
		what.repair = repair_remove(vault_fd(v), temporary);
	tell(c, CHECK_TEMPORARY, temporary, temporary, &what);
}

void check_journal(struct check *c)
{
	const struct check_what what = { .tried = c->options.repair };

	tell(c, CHECK_JOURNAL, JOURNAL_FILE, JOURNAL_FILE, &what);
}

/* ---- directories on the way ---------------------------------------------- */

void check_dir_ref(struct check_dir *dir)
{
	atomic_fetch_add(&dir->refs, 1);
}

void check_dir_unref(struct check *c, struct check_dir *dir)
{
	while (dir && atomic_fetch_sub(&dir->refs, 1) == 1) {
		struct check_dir *parent = dir->parent;

		salvage_end_dir(c, dir);
		fdio_close(dir->fd);
		free(dir);
		dir = parent;
	}
}

/* ---- the tree ------------------------------------------------------------ */

/* The entry that is shown as name: 0, -ENOENT or another -errno. */
static int find_by_name(struct check *c, struct check_dir *dir, const char *name,
			struct check_entry *entry)
{
	struct names_stored stored;
	int r = dir->has_id ? names_encode(c->keys, dir->id, name, &stored) : -ENOENT;

	if (r >= 0)
		r = check_entry_find(c, dir, stored.name, entry);
	if (r == -ENOENT && names_is_damaged_show(name)) {
		r = check_entry_find(c, dir, names_damaged_stored(name), entry);
		if (!r && strcmp(entry->name, name) != 0)
			r = -ENOENT;
	}
	return r > 0 ? -ENOENT : r;
}

/* Go down the subpath; what lies at its end is looked at. */
static int look_below(struct check *c, struct check_dir *root, char *subpath)
{
	struct check_dir *dir = root;
	struct check_entry entry;
	char *rest = subpath;
	char *name;
	int r = 0;

	check_dir_ref(dir);
	while (!r && (name = strsep(&rest, "/"))) {
		struct check_dir *next;

		if (!*name || !strcmp(name, "."))
			continue;
		r = find_by_name(c, dir, name, &entry);
		if (r)
			break;
		if (!rest || !rest[strspn(rest, "/")]) {
			r = check_entry_look(c, &entry);
			break;
		}
		r = S_ISDIR(entry.st.st_mode) ? check_dir_enter(c, &entry, -1, &next) : -ENOTDIR;
		if (!r && !next)
			break; /* told already */
		if (!r) {
			check_dir_unref(c, dir);
			dir = next;
		}
	}
	check_dir_unref(c, dir);
	return r;
}

static bool is_whole(const char *subpath)
{
	return !subpath || !subpath[strspn(subpath, "/.")];
}

int check_tree(struct check *c, int root_fd)
{
	struct check_dir *root;
	char *subpath = NULL;
	int r = check_dir_enter(c, NULL, root_fd, &root);

	if (r)
		return r;
	if (is_whole(c->options.subpath)) {
		r = check_dir_walk(c, root);
	} else {
		subpath = strdup(c->options.subpath);
		r = subpath ? look_below(c, root, subpath) : -ENOMEM;
	}
	check_dir_unref(c, root);
	check_jobs_finish(c->jobs);
	free(subpath);
	return r ? r : -atomic_load(&c->given_up);
}

/* ---- how much there is ---------------------------------------------------- */

static void survey_dir(int fd, _Atomic uint64_t *work, const atomic_bool *stop)
{
	DIR *d = fdopendir(fd);
	const struct dirent *entry;
	struct stat st;

	if (!d) {
		fdio_close(fd);
		return;
	}
	while (!atomic_load_explicit(stop, memory_order_relaxed) && (entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub = fdio_openat_quietly(dirfd(d), entry->d_name,
						      O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
							      O_CLOEXEC);
			if (sub >= 0)
				survey_dir(sub, work, stop);
		} else if (S_ISREG(st.st_mode)) {
			atomic_fetch_add(work, check_work(&st));
		}
	}
	(void)closedir(d); /* only read */
}

void check_survey(int root_fd, _Atomic uint64_t *work, const atomic_bool *stop)
{
	int fd = fdio_openat_quietly(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		survey_dir(fd, work, stop);
}
