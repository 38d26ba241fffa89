/* SPDX-License-Identifier: MIT */
/* Which files: see inputs.h for the contract. */
#include "cli/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/attrs.h"
#include "fs/exitcode.h"
#include "fs/undo.h"

/* A directory that was made, to be dressed when nothing more comes into it. */
struct made {
	struct made *next; /* the one made before */
	mode_t mode;
	struct timespec times[2];
	dev_t dev; /* of the directory that it is made for: */
	ino_t ino;
	const char *like; /* its path; in `path`, too */
	char path[];
};

struct inputs {
	struct inputs_spec spec;
	struct stat dest; /* of it */
	FILE *list;
	char *line;
	size_t line_room;
	FTS *tree;    /* that is walked, or NULL */
	size_t cut;   /* of a path in it, so many bytes are not part of the output's */
	char *prefix; /* and this is put before it */
	struct made *made;
	uint64_t n_left_out;
	char *first_left_out;
};

enum {
	FAILED = -1,
	FOUND = 0,
	NO_MORE = 1,
	AGAIN = 2, /* nothing here; go on */
};

static int fail_saying(const struct inputs *in, const char *path, const char *why)
{
	if (!in->spec.only_looks)
		log_error("cannot read %s: %s", path, why);
	return FAILED;
}

static int fail(const struct inputs *in, const char *path, int error)
{
	return fail_saying(in, path, strerror(error));
}

static bool is_wanted(const struct inputs *in, const char *path, bool is_directory)
{
	return !in->spec.patterns || patterns_want(in->spec.patterns, path, is_directory);
}

/* ---- outputs ----------------------------------------------------------- */

/* The place of a relative path under the destination, in new memory, or NULL. */
static char *place(const struct inputs *in, const char *relative, bool is_file)
{
	size_t size = strlen(relative);
	const size_t suffix = sizeof(INPUTS_SUFFIX) - 1;
	const char *add = "";
	char *path;

	if (is_file && in->spec.suffix == INPUTS_ADD)
		add = INPUTS_SUFFIX;
	if (is_file && in->spec.suffix == INPUTS_TAKE && size > suffix &&
	    strcmp(relative + size - suffix, INPUTS_SUFFIX) == 0 &&
	    relative[size - suffix - 1] != '/')
		size -= suffix;
	if (asprintf(&path, "%s/%.*s%s", in->spec.dest, (int)size, relative, add) < 0)
		return NULL;
	return path;
}

/* Have a directory, and remember to dress it like the other one, st: 0 or FAILED. */
static int make_directory(struct inputs *in, const char *path, const char *like,
			  const struct stat *st)
{
	size_t size = strlen(path) + 1;
	size_t like_size = strlen(like) + 1;
	struct made *made;

	if (mkdir(path, 0700) && errno != EEXIST) {
		log_error("cannot make %s: %s", path, strerror(errno));
		return FAILED;
	}
	made = malloc(sizeof(*made) + size + like_size);
	if (!made)
		return fail(in, path, ENOMEM);
	*made = (struct made){
		.next = in->made, .mode = st->st_mode & 0777, .dev = st->st_dev, .ino = st->st_ino
	};
	made->times[0] = st->st_atim;
	made->times[1] = st->st_mtim;
	memcpy(made->path, path, size);
	made->like = memcpy(made->path + size, like, like_size);
	in->made = made;
	return 0;
}

/* Have the directories above the place of a relative path: 0 or FAILED. */
static int make_parents(const struct inputs *in, const char *relative)
{
	char *path = in->spec.dest ? place(in, relative, false) : NULL;
	char *slash;
	int r = 0;

	if (!path)
		return in->spec.dest ? fail(in, relative, ENOMEM) : 0;
	slash = path + strlen(in->spec.dest);
	while (!r && (slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		r = mkdir(path, 0777) && errno != EEXIST ? FAILED : 0;
		if (r)
			log_error("cannot make %s: %s", path, strerror(errno));
		*slash = '/';
	}
	free(path);
	return r;
}

/* A pair from a path and its place: FOUND or FAILED. */
static int make_pair(const struct inputs *in, const char *path, const char *relative,
		     const struct stat *st, struct input *next)
{
	next->size = (uint64_t)st->st_size;
	next->path = strdup(path);
	next->output = in->spec.dest ? place(in, relative, true) : strdup(path);
	if (next->path && next->output)
		return FOUND;
	free(next->path);
	free(next->output);
	*next = (struct input){ 0 };
	return fail(in, path, ENOMEM);
}

/* ---- trees ------------------------------------------------------------- */

static int leave_out(struct inputs *in, const char *path)
{
	if (!in->n_left_out++)
		in->first_left_out = strdup(path); /* NULL is shown as such */
	return AGAIN;
}

static void close_tree(struct inputs *in)
{
	if (in->tree)
		(void)fts_close(in->tree);
	in->tree = NULL;
	free(in->prefix);
	in->prefix = NULL;
}

/* Walk path; outputs are called prefix + what follows the first cut bytes. */
static int open_tree(struct inputs *in, const char *path, size_t cut, const char *prefix)
{
	char *paths[] = { (char *)(uintptr_t)path, NULL }; /* not written to */

	in->cut = cut;
	in->prefix = strdup(prefix);
	in->tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
	if (in->tree && in->prefix)
		return AGAIN;
	close_tree(in);
	return fail(in, path, errno);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int enter_directory(struct inputs *in, FTSENT *entry, const char *relative)
{
	struct stat st;
	char *path;
	int r = AGAIN;

	if (!in->spec.dest)
		return AGAIN;
	if (is_same(entry->fts_statp, &in->dest) && entry->fts_level > 0) {
		(void)fts_set(in->tree, entry, FTS_SKIP); /* outputs are no inputs */
		return AGAIN;
	}
	path = *relative ? place(in, relative, false) : strdup(in->spec.dest);
	if (!path)
		return fail(in, entry->fts_path, ENOMEM);
	if (stat(path, &st) == 0 && is_same(&st, entry->fts_statp)) {
		r = fail_saying(in, entry->fts_path,
				"outputs would go into it (name another directory)");
	} else if (*relative && !in->spec.only_looks &&
		   make_directory(in, path, entry->fts_path, entry->fts_statp)) {
		r = FAILED;
	}
	if (r == FAILED)
		(void)fts_set(in->tree, entry, FTS_SKIP);
	free(path);
	return r;
}

/* What was found: FOUND, AGAIN or FAILED. */
static int take_entry(struct inputs *in, FTSENT *entry, const char *relative, struct input *next)
{
	bool is_directory = entry->fts_info == FTS_D;

	if (strncmp(entry->fts_name, UNDO_PREFIX, sizeof(UNDO_PREFIX) - 1) == 0)
		return AGAIN; /* ours */
	if (entry->fts_level > 0 && !is_wanted(in, relative, is_directory)) {
		if (is_directory)
			(void)fts_set(in->tree, entry, FTS_SKIP);
		return AGAIN;
	}
	switch (entry->fts_info) {
	case FTS_D:
		return enter_directory(in, entry, relative);
	case FTS_DP:
		return AGAIN;
	case FTS_F:
		next->was_found = true;
		return make_pair(in, entry->fts_path, relative, entry->fts_statp, next);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return fail(in, entry->fts_path, entry->fts_errno);
	case FTS_DC:
		return fail(in, entry->fts_path, ELOOP);
	default:
		return leave_out(in, entry->fts_path);
	}
}

static int next_of_tree(struct inputs *in, struct input *next)
{
	const char *rest;
	char *relative;
	FTSENT *entry;
	int r;

	errno = 0;
	entry = fts_read(in->tree);
	if (!entry) {
		int error = errno;

		close_tree(in);
		return error ? fail(in, "a directory", error) : AGAIN;
	}
	rest = entry->fts_path + (in->cut < entry->fts_pathlen ? in->cut : entry->fts_pathlen);
	rest += strspn(rest, "/");
	if (asprintf(&relative, "%s%s%s", in->prefix, *in->prefix && *rest ? "/" : "", rest) < 0)
		return fail(in, entry->fts_path, ENOMEM);
	r = take_entry(in, entry, relative, next);
	free(relative);
	return r;
}

/* ---- operands and lists ------------------------------------------------ */

static int take_file(struct inputs *in, const char *path, const char *relative,
		     const struct stat *st, struct input *next)
{
	return is_wanted(in, relative, false) ? make_pair(in, path, relative, st, next) : AGAIN;
}

static int check_directory(const struct inputs *in, const char *path)
{
	if (in->spec.recursive)
		return 0;
	return fail_saying(in, path, "a directory (-r goes into it)");
}

static int take_operand(struct inputs *in, const char *path, struct input *next)
{
	size_t size = strlen(path);
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	struct stat st;

	if (stat(path, &st))
		return fail(in, path, errno);
	if (!S_ISDIR(st.st_mode))
		return take_file(in, path, last, &st, next);
	if (check_directory(in, path))
		return FAILED;
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		last = "";
	return open_tree(in, path, size, last);
}

/* True if no component of it is "..", which would lead out of the destination. */
static bool stays_inside(const char *path)
{
	while (path) {
		if (strncmp(path, "..", 2) == 0 && (path[2] == '/' || path[2] == '\0'))
			return false;
		path = strchr(path, '/');
		if (path)
			path++;
	}
	return true;
}

static int take_listed(struct inputs *in, const char *path, struct input *next)
{
	const char *relative = path;
	struct stat st;

	while (*relative == '/' || strncmp(relative, "./", 2) == 0)
		relative++;
	if (!stays_inside(relative))
		return fail_saying(in, path, "it leads out of the destination by ..");
	if (stat(path, &st))
		return fail(in, path, errno);
	if (S_ISDIR(st.st_mode) && check_directory(in, path))
		return FAILED;
	if (!in->spec.only_looks && make_parents(in, relative))
		return FAILED;
	if (!S_ISDIR(st.st_mode))
		return take_file(in, path, relative, &st, next);
	return open_tree(in, path, strlen(path), strcmp(relative, ".") ? relative : "");
}

static int next_of_list(struct inputs *in, struct input *next)
{
	char end = in->spec.zero_ended ? '\0' : '\n';
	ssize_t n;

	errno = 0;
	n = getdelim(&in->line, &in->line_room, end, in->list);
	if (n < 0) {
		int error = ferror(in->list) ? errno : 0;

		if (in->list != stdin)
			(void)fclose(in->list); /* only read */
		in->list = NULL;
		return error && error != EINTR ? fail(in, in->spec.list, error) : AGAIN;
	}
	if (n && in->line[n - 1] == end)
		in->line[n - 1] = '\0';
	return in->line[0] ? take_listed(in, in->line, next) : AGAIN;
}

int inputs_next(struct inputs *in, struct input *next)
{
	int r = AGAIN;

	*next = (struct input){ 0 };
	while (r == AGAIN) {
		if (in->tree)
			r = next_of_tree(in, next);
		else if (*in->spec.operands)
			r = take_operand(in, *in->spec.operands++, next);
		else if (in->list)
			r = next_of_list(in, next);
		else
			r = NO_MORE;
	}
	return r;
}

/* ---- beginning and end ------------------------------------------------- */

static int open_list(struct inputs *in)
{
	if (!in->spec.list)
		return STATUS_OK;
	in->list = strcmp(in->spec.list, "-") ? fopen(in->spec.list, "re") : stdin;
	if (in->list)
		return STATUS_OK;
	(void)fail(in, in->spec.list, errno);
	return STATUS_SYSTEM;
}

int inputs_new(const struct inputs_spec *spec, struct inputs **out)
{
	struct inputs *in = calloc(1, sizeof(*in));
	int status = STATUS_SYSTEM;

	*out = NULL;
	if (!in) {
		log_error("cannot start: %s", strerror(ENOMEM));
		return status;
	}
	in->spec = *spec;
	if (spec->dest &&
	    ((mkdir(spec->dest, 0777) && errno != EEXIST) || stat(spec->dest, &in->dest))) {
		log_error("cannot make %s: %s", spec->dest, strerror(errno));
	} else if (spec->dest && !S_ISDIR(in->dest.st_mode)) {
		log_error("%s is not a directory: with several inputs it must be one", spec->dest);
		status = STATUS_USAGE;
	} else {
		status = open_list(in);
	}
	if (status) {
		free(in);
		return status;
	}
	*out = in;
	return STATUS_OK;
}

/* From the directory that it is made for, if that is still there: 0 or -errno. */
static int copy_attributes(struct made *made, int fd)
{
	int like = open(made->like, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int r = 0;
	int acl;

	if (like < 0 || fstat(like, &st))
		r = -errno;
	else if (st.st_dev != made->dev || st.st_ino != made->ino)
		r = -ESTALE;
	if (!r) {
		r = attrs_copy_user(like, fd);
		acl = attrs_copy_acl(like, fd, &made->mode);
		if (!r)
			r = acl == ATTRS_NO_ACL ? -EOPNOTSUPP : acl;
	}
	fdio_close(like);
	return r;
}

static void dress_directory(struct made *made)
{
	int fd = open(made->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : copy_attributes(made, fd);

	if (fd >= 0 && (fchmod(fd, made->mode) || futimens(fd, made->times)))
		r = -errno;
	if (r)
		log_warn("%s does not have all of its mode, times, attributes and ACL: %s",
			 made->path, strerror(-r));
	fdio_close(fd);
}

/* Children first, which were made later. */
static void dress_directories(struct inputs *in)
{
	while (in->made) {
		struct made *made = in->made;

		dress_directory(made);
		in->made = made->next;
		free(made);
	}
}

/* Names and directories; content was brought to disk before it got a name. */
static void sync_names(const struct inputs *in)
{
	int fd = open(in->spec.dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd))
		log_warn("cannot bring %s to disk: %s", in->spec.dest, strerror(errno));
	fdio_close(fd);
}

void inputs_free(struct inputs *in)
{
	if (!in)
		return;
	close_tree(in);
	if (in->list && in->list != stdin)
		(void)fclose(in->list); /* only read */
	dress_directories(in);
	if (in->spec.dest && !in->spec.only_looks)
		sync_names(in);
	if (in->n_left_out && !in->spec.only_looks)
		log_warn("left out %" PRIu64 " links and special files, the first one is %s",
			 in->n_left_out, in->first_left_out ? in->first_left_out : "?");
	free(in->first_left_out);
	free(in->line);
	free(in);
}
