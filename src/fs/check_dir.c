/* SPDX-License-Identifier: MIT */
/*
 * Directories: their records, the names in them, what is beside the entries,
 * and the entries that are no regular files.
 *
 * A directory is listed once; what belongs to an entry but is found by the
 * hash of its name (targets, markers) is collected meanwhile and compared at
 * the end.  Where a name does not authenticate nothing that might belong to
 * it is removed.
 */
#include "fs/check_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/links.h"
#include "fs/special.h"

/* What tell_with takes for the result of a repair that nobody asked for. */
enum { NOT_TRIED = 1 };

/* Directories are walked by recursion: what needs much stack is not part of that. */
#define APART __attribute__((noinline))

enum { MAX_DEPTH = 4000 }; /* of directories; each has descriptors open */

static int trouble(struct check *c, const struct check_dir *dir, const struct check_entry *entry,
		   int error)
{
	const struct check_what what = { .error = error };

	check_tell(c, error == EIO ? CHECK_UNREADABLE : CHECK_NO_ACCESS, dir, entry, &what);
	return 0; /* said; others can be looked at */
}

/* Tell of something with the result of its repair, or NOT_TRIED. */
static void tell_with(struct check *c, enum check_kind kind, const struct check_dir *dir,
		      const struct check_entry *entry, int repair)
{
	const struct check_what what = { .tried = repair != NOT_TRIED, .repair = repair };

	check_tell(c, kind, dir, entry, &what);
}

/* ---- records ------------------------------------------------------------- */

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

bool check_dir_is_empty(int dirfd)
{
	int fd = fdio_openat_quietly(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool none = d;

	while (none && (entry = readdir(d)))
		none = is_dots(entry->d_name) || names_are_ours(entry->d_name);
	if (d)
		(void)closedir(d); /* only read */
	else
		fdio_close(fd);
	return none;
}

static void binding_of(const struct check *c, const struct check_dir *dir,
		       uint8_t binding[FORMAT_BINDING_SIZE])
{
	static const uint8_t no_parent[FORMAT_DIR_ID_SIZE];

	format_binding(c->keys, dir->parent ? dir->parent->id : no_parent, dir->stored, binding);
}

static bool is_bound(const struct format_dir_record *record,
		     const uint8_t binding[FORMAT_BINDING_SIZE])
{
	return !memcmp(record->bindings[0], binding, FORMAT_BINDING_SIZE) ||
	       !memcmp(record->bindings[1], binding, FORMAT_BINDING_SIZE);
}

/* No good copy. */
static void judge_lost(struct check *c, struct check_dir *dir, const struct dirrec_copies *copies)
{
	bool none = copies->file == DIRREC_MISSING && copies->xattr == DIRREC_MISSING;

	if (copies->conflict) {
		check_tell(c, CHECK_RECORD_CONFLICT, dir, NULL, NULL);
	} else if (none && dir->parent && !copies->xattr_is_possible &&
		   check_dir_is_empty(dir->fd)) {
		/* With attributes one would still be there. */
		tell_with(c, CHECK_UNFINISHED_DIRECTORY, dir, NULL,
			  c->options.repair ? repair_remove_dir(dir->parent->fd, dir->stored)
					    : NOT_TRIED);
	} else {
		check_tell(c, CHECK_RECORD_LOST, dir, NULL, NULL);
	}
}

/* The copy that is not as it should be, if there is one. */
static void judge_copies(struct check *c, struct check_dir *dir, const struct dirrec_copies *copies,
			 struct format_dir_record *record,
			 const uint8_t binding[FORMAT_BINDING_SIZE])
{
	bool twice = dir->in_place && !bytes_are_zero(record->bindings[1], FORMAT_BINDING_SIZE);
	bool damaged = copies->file == DIRREC_DAMAGED || copies->xattr == DIRREC_DAMAGED;
	bool missing = copies->file == DIRREC_MISSING || copies->differ ||
		       (copies->xattr == DIRREC_MISSING && copies->xattr_is_possible);

	if (dir->in_place) {
		memset(record->bindings, 0, sizeof(record->bindings));
		memcpy(record->bindings[0], binding, FORMAT_BINDING_SIZE);
	}
	/* One repair is good for all of it. */
	if (damaged)
		tell_with(c, CHECK_RECORD_DAMAGED, dir, NULL,
			  c->options.repair ? repair_record(c, dir, record) : NOT_TRIED);
	else if (missing && !twice)
		tell_with(c, CHECK_RECORD_MISSING, dir, NULL,
			  c->options.repair ? repair_record(c, dir, record) : NOT_TRIED);
	if (twice)
		tell_with(c, CHECK_TWO_PLACES, dir, NULL,
			  c->options.repair ? repair_record(c, dir, record) : NOT_TRIED);
}

static APART int judge_record(struct check *c, struct check_dir *dir)
{
	uint8_t binding[FORMAT_BINDING_SIZE];
	struct format_dir_record record;
	struct dirrec_copies copies;
	int r;

	binding_of(c, dir, binding);
	r = dirrec_inspect(dir->fd, c->keys, dir->named ? binding : NULL, &copies, &record);
	if (r < 0)
		return trouble(c, dir, NULL, -r);
	if (r) {
		judge_lost(c, dir, &copies);
		return 0;
	}
	memcpy(dir->id, record.id, sizeof(dir->id));
	dir->has_id = true;
	dir->in_place = dir->named && is_bound(&record, binding);
	if (dir->named && !dir->in_place)
		check_tell(c, CHECK_MISPLACED, dir, NULL, NULL);
	if (dir->in_place && !check_is_new(c, c->dir_ids, dir->id))
		check_tell(c, CHECK_DUPLICATE, dir, NULL, NULL);
	judge_copies(c, dir, &copies, &record, binding);
	return 0;
}

int check_dir_enter(struct check *c, const struct check_entry *entry, int root_fd,
		    struct check_dir **out)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct check_dir *dir = calloc(1, sizeof(*dir));

	*out = NULL;
	if (!dir)
		return -ENOMEM;
	atomic_init(&dir->refs, 1);
	dir->copy = SALVAGE_NOWHERE;
	dir->fd = fdio_openat_quietly(entry ? entry->dir->fd : root_fd, entry ? entry->stored : ".",
				      flags);
	if (dir->fd < 0 || fstat(dir->fd, &dir->st)) {
		int error = errno;

		fdio_close(dir->fd);
		free(dir);
		if (!entry)
			return -error;
		(void)trouble(c, entry->dir, entry, error);
		return 0;
	}
	dir->named = true;
	if (entry) {
		check_dir_ref(entry->dir);
		dir->named = entry->named;
		dir->depth = entry->dir->depth + 1;
		dir->parent = entry->dir;
		strcpy(dir->name, entry->name);
		strcpy(dir->stored, entry->stored);
	}
	pthread_mutex_lock(&c->lock);
	c->counts.directories++;
	pthread_mutex_unlock(&c->lock);
	(void)judge_record(c, dir);
	if (dir->has_id)
		check_attrs(c, dir->fd, dir->id, sizeof(dir->id), dir, NULL);
	salvage_begin_dir(c, dir);
	*out = dir;
	return 0;
}

/* ---- entries ------------------------------------------------------------- */

int check_entry_find(struct check *c, struct check_dir *dir, const char *stored,
		     struct check_entry *entry)
{
	static const uint8_t no_id[FORMAT_DIR_ID_SIZE];
	int r;

	entry->dir = dir;
	entry->named = false;
	if (strlen(stored) > NAMES_STORED_MAX)
		return -ENOENT; /* of no filesystem we know */
	strcpy(entry->stored, stored);
	r = dir->has_id ? names_decode_at(c->keys, dir->id, dir->fd, stored, entry->name)
			: names_decode(c->keys, no_id, stored, entry->name);
	if (r == NAMES_OURS)
		strcpy(entry->name, stored); /* should there be something to say */
	else if (r)
		names_show_damaged(stored, entry->name);
	entry->named = r == 0 && dir->has_id;
	if (fstatat(dir->fd, stored, &entry->st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return r < 0 || r == NAMES_OURS ? r : 0;
}

static void count_as(struct check *c, uint64_t *counter)
{
	pthread_mutex_lock(&c->lock);
	(*counter)++;
	pthread_mutex_unlock(&c->lock);
}

static int look_at_dir(struct check *c, const struct check_entry *entry)
{
	struct check_dir *dir;
	int r;

	if (entry->dir->depth == MAX_DEPTH)
		return trouble(c, entry->dir, entry, ENAMETOOLONG);
	r = check_dir_enter(c, entry, -1, &dir);

	if (r || !dir)
		return r;
	r = check_dir_walk(c, dir);
	check_dir_unref(c, dir);
	return r;
}

static APART int look_at_link(struct check *c, const struct check_entry *entry)
{
	const struct links_place place = { entry->dir->id, entry->stored };
	char target[LINKS_PLAIN_MAX + 1];
	char text[LINKS_TEXT_MAX + 1];
	int r;

	count_as(c, &c->counts.symlinks);
	if (!entry->named)
		return 0; /* its seal names it: told with the name */
	r = links_read(entry->dir->fd, entry->stored, text);
	if (!r)
		r = links_open(c->keys, c->suite, text, &place, target);
	if (r < 0)
		return trouble(c, entry->dir, entry, -r);
	if (r) {
		check_tell(c, CHECK_SYMLINK, entry->dir, entry, NULL);
		return 0;
	}
	if (links_has_two_seals(text))
		tell_with(c, CHECK_TWO_PLACES, entry->dir, entry,
			  c->options.repair ? repair_symlink(c, entry, target) : NOT_TRIED);
	salvage_symlink(c, entry, target);
	return 0;
}

static int look_at_special(struct check *c, const struct check_entry *entry)
{
	const struct special s = { .dir_id = entry->dir->id,
				   .stored = entry->stored,
				   .mode = entry->st.st_mode,
				   .rdev = entry->st.st_rdev };

	int allowed;

	count_as(c, &c->counts.specials);
	if (!entry->named)
		return 0;
	allowed = special_is_allowed(entry->dir->fd, c->keys, &s);
	if (allowed < 0)
		return trouble(c, entry->dir, entry, -allowed);
	if (!allowed) {
		check_tell(c, CHECK_SPECIAL, entry->dir, entry, NULL);
		return 0;
	}
	if (special_is_allowed_twice(entry->dir->fd, c->keys, &s))
		tell_with(c, CHECK_MARKER_TWICE, entry->dir, entry,
			  c->options.repair ? repair_marker(c, entry) : NOT_TRIED);
	salvage_special(c, entry);
	return 0;
}

int check_entry_look(struct check *c, const struct check_entry *entry)
{
	if (!entry->named && entry->dir->has_id)
		check_tell(c, CHECK_NAME, entry->dir, entry, NULL);
	if (S_ISREG(entry->st.st_mode))
		return check_jobs_add(c->jobs, entry);
	if (S_ISDIR(entry->st.st_mode))
		return look_at_dir(c, entry);
	if (S_ISLNK(entry->st.st_mode))
		return look_at_link(c, entry);
	return look_at_special(c, entry);
}

/* ---- what lies beside entries --------------------------------------------- */

/* The names of things found by the hash of their owner's. */
struct beside {
	struct check_set *wanted; /* by the entries there are */
	size_t n_found;
	bool damaged_names; /* whose they might be */
};

/* A name link.HASH or node.HASH as a key: 96 bits of the hash, and which. */
static void key_of(const char *name, uint8_t key[CHECK_KEY_SIZE])
{
	memcpy(key, name + strlen(LINKS_SIDECAR), CHECK_KEY_SIZE - 1);
	key[CHECK_KEY_SIZE - 1] = (uint8_t)name[0];
}

_Static_assert(sizeof(LINKS_SIDECAR) == sizeof(NAMES_MARKER), "one key for both");

static int note_wanted(struct beside *b, const struct check_entry *entry)
{
	uint8_t key[CHECK_KEY_SIZE];
	char name[64];
	int r;

	if (S_ISLNK(entry->st.st_mode) && links_has_sidecar(entry->dir->fd, entry->stored))
		links_sidecar_name(entry->stored, name);
	else if (special_is(entry->st.st_mode))
		special_marker_name(entry->stored, name);
	else
		return 0;
	key_of(name, key);
	r = check_set_add(b->wanted, key);
	return r < 0 ? r : 0;
}

static bool is_target(const char *name)
{
	return !strncmp(name, LINKS_SIDECAR, strlen(LINKS_SIDECAR));
}

static bool is_marker(const char *name)
{
	return !strncmp(name, NAMES_MARKER, strlen(NAMES_MARKER));
}

/* Nobody's: it may go, unless it is somebody's whom we cannot name. */
static void tell_left(struct check *c, enum check_kind kind, const struct check_entry *entry,
		      bool may_go)
{
	if (may_go)
		tell_with(c, kind, entry->dir, entry,
			  c->options.repair ? repair_remove(entry->dir->fd, entry->stored)
					    : NOT_TRIED);
	else
		check_tell(c, kind, entry->dir, entry, NULL);
}

/* Something that is no entry. */
static void look_at_ours(struct check *c, struct beside *b, const struct check_entry *entry)
{
	char owner[NAMES_STORED_MAX + 1];

	if (!strcmp(entry->stored, DIRREC_FILE))
		return;
	if (is_target(entry->stored) || is_marker(entry->stored))
		b->n_found++;
	else if (!names_sidecar_owner(entry->stored, owner))
		tell_left(c, CHECK_TEMPORARY, entry, true);
	else if (faccessat(entry->dir->fd, owner, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
		tell_left(c, CHECK_NAME_LEFT, entry, !b->damaged_names);
}

/* A second time through the list, for targets and markers that nobody wants. */
static APART int look_beside(struct check *c, struct check_dir *dir, const struct beside *b, DIR *d)
{
	uint8_t key[CHECK_KEY_SIZE];
	struct check_entry entry;
	const struct dirent *e;

	rewinddir(d);
	while ((e = readdir(d))) {
		if ((!is_target(e->d_name) && !is_marker(e->d_name)) ||
		    check_entry_find(c, dir, e->d_name, &entry) != NAMES_OURS)
			continue;
		key_of(e->d_name, key);
		if (!check_set_has(b->wanted, key))
			tell_left(c, is_target(e->d_name) ? CHECK_TARGET_LEFT : CHECK_MARKER_LEFT,
				  &entry, !b->damaged_names);
	}
	return 0;
}

static int walk_list(struct check *c, struct check_dir *dir, struct beside *b, DIR *d,
		     struct check_entry *entry)
{
	const struct dirent *e;
	int r = 0;

	errno = 0;
	while (!r && !check_is_stopped(c) && (e = readdir(d))) {
		if (is_dots(e->d_name))
			continue;
		r = check_entry_find(c, dir, e->d_name, entry);
		if (r == NAMES_OURS) {
			look_at_ours(c, b, entry);
			r = 0;
		} else if (r == -ENOENT || r == -EACCES || r == -EIO) {
			r = r == -ENOENT ? 0 : trouble(c, dir, entry, -r);
		} else if (!r) {
			b->damaged_names = b->damaged_names || !entry->named;
			r = note_wanted(b, entry);
			if (!r)
				r = check_entry_look(c, entry);
		}
		errno = 0;
	}
	return !r && errno ? trouble(c, dir, NULL, errno) : r;
}

/* Whether any name does not authenticate; then sidecars may be what is left of it. */
static bool has_damaged_name(struct check *c, struct check_dir *dir, DIR *d)
{
	char plain[NAMES_PLAIN_MAX + 1];
	const struct dirent *e;
	bool any = !dir->has_id;

	while (!any && (e = readdir(d)))
		any = !is_dots(e->d_name) &&
		      names_decode_at(c->keys, dir->id, dir->fd, e->d_name, plain) == NAMES_DAMAGED;
	rewinddir(d);
	return any;
}

int check_dir_walk(struct check *c, struct check_dir *dir)
{
	int fd = fdio_openat_quietly(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct check_entry *entry = malloc(sizeof(*entry));
	struct beside b = { .wanted = check_set_new() };
	int r = -ENOMEM;

	if (!d) {
		r = trouble(c, dir, NULL, errno);
		fdio_close(fd);
	} else if (entry && b.wanted) {
		/* Only who removes needs to know beforehand. */
		b.damaged_names = c->options.repair && has_damaged_name(c, dir, d);
		r = walk_list(c, dir, &b, d, entry);
		if (!r && b.n_found && !check_is_stopped(c))
			r = look_beside(c, dir, &b, d);
	}
	if (d)
		(void)closedir(d); /* only read */
	check_set_free(b.wanted);
	free(entry);
	return r;
}
