/* SPDX-License-Identifier: MIT */
/* What the check_*.c and salvage.c share and nobody else may see. */
#ifndef FS_CHECK_INTERNAL_H
#define FS_CHECK_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>

#include "fs/check.h"
#include "fs/check_set.h"
#include "fs/dirrec.h"
#include "fs/file.h"
#include "fs/names.h"
#include "fs/salvage.h"

struct check_jobs;

struct check {
	struct check_options options;
	const struct store *store;
	const struct keyring *keys;
	enum cipher_suite suite; /* for links and attributes: an AEAD */
	struct check_jobs *jobs;
	struct check_set *file_ids;
	struct check_set *dir_ids;
	struct check_set *linked; /* inodes with several names that were seen */
	pthread_mutex_t lock;	  /* guards the sets and the counts, and is held while telling */
	struct check_counts counts;
	atomic_int given_up; /* errno of what makes going on senseless, or 0 */
};

/* A directory on the way, kept while anything in it is looked at. */
struct check_dir {
	struct check_dir *parent; /* referenced; NULL for the root */
	atomic_uint refs;
	int fd; /* of the backing directory, opened for reading */
	unsigned int depth;
	bool named;    /* its name authenticates */
	bool in_place; /* and its record says that it belongs there */
	bool has_id;
	uint8_t id[FORMAT_DIR_ID_SIZE];
	struct stat st;
	struct salvage_dir copy;
	char name[NAMES_PLAIN_MAX + 1]; /* as shown; empty for the root */
	char stored[NAMES_STORED_MAX + 1];
};

/* Something in a directory. */
struct check_entry {
	struct check_dir *dir;
	struct stat st;
	bool named; /* the name authenticates */
	char name[NAMES_PLAIN_MAX + 1];
	char stored[NAMES_STORED_MAX + 1];
};

/* What looking at a regular file costs, in the unit of check_survey. */
static inline uint64_t check_work(const struct stat *st)
{
	uint64_t stored = (uint64_t)st->st_blocks * 512;
	uint64_t size = (uint64_t)st->st_size;

	return CHECK_WORK_FILE + (stored < size ? stored : size);
}

/* check.c */

bool check_is_stopped(const struct check *c);

/* What a finding says beside its kind and place. */
struct check_what {
	const char *detail;
	bool has_range;
	uint64_t start, end;
	int error;  /* errno of what is told */
	bool tried; /* a repair was: */
	int repair; /* its result, 0 or -errno */
};

/* Tell of an entry, or with entry NULL of the directory itself. */
void check_tell(struct check *c, enum check_kind kind, const struct check_dir *dir,
		const struct check_entry *entry, const struct check_what *what);

/* The plain path of an entry, or of dir itself, on the heap; NULL without memory. */
char *check_path(const struct check_dir *dir, const struct check_entry *entry);

void check_dir_ref(struct check_dir *dir);
void check_dir_unref(struct check *c, struct check_dir *dir);

/* True the first time a key of 16 bytes is met. */
bool check_is_new(struct check *c, struct check_set *set, const uint8_t key[CHECK_KEY_SIZE]);

/* check_dir.c */

/*
 * Open and judge the directory of an entry (NULL: the root, root_fd): 0, also
 * with *out NULL if it cannot be read, which is told; or -errno.
 */
int check_dir_enter(struct check *c, const struct check_entry *entry, int root_fd,
		    struct check_dir **out);
/* True if a directory holds no entry, whatever else is in it. */
bool check_dir_is_empty(int dirfd);
/* All that is in it. */
int check_dir_walk(struct check *c, struct check_dir *dir);
/* Fill in an entry by its stored name: 0, NAMES_OURS, -ENOENT or -errno. */
int check_entry_find(struct check *c, struct check_dir *dir, const char *stored,
		     struct check_entry *entry);
/* Check what an entry is. */
int check_entry_look(struct check *c, const struct check_entry *entry);

/* check_file.c: threads that look at regular files */

int check_jobs_new(struct check *c, uint32_t threads, struct check_jobs **out);
/* Wait until all is done, and end the threads. */
void check_jobs_finish(struct check_jobs *jobs);
void check_jobs_free(struct check_jobs *jobs);
/* Have a regular file looked at, now or later; waits while there is much to do. */
int check_jobs_add(struct check_jobs *jobs, const struct check_entry *entry);
/* Wait until all that was added is done. */
void check_jobs_drain(struct check_jobs *jobs);

/* check_attrs.c: attributes of the user's namespace */

void check_attrs(struct check *c, int fd, const uint8_t *id, size_t id_size,
		 const struct check_dir *dir, const struct check_entry *entry);

/* Give what authenticates to copy(arg, name, value, size); tells nothing. */
typedef void (*check_attr_copy)(void *arg, const char *name, const void *value, size_t size);
void check_attrs_copy(struct check *c, int fd, const uint8_t *id, size_t id_size,
		      check_attr_copy copy, void *arg);

/* check_repair.c: everything that writes to the vault; 0 or -errno */

int repair_remove(int dirfd, const char *stored);
/* A directory without entries; -ENOTEMPTY if it has some. */
int repair_remove_dir(int dirfd, const char *stored);
int repair_record(struct check *c, const struct check_dir *dir,
		  const struct format_dir_record *record);
int repair_symlink(struct check *c, const struct check_entry *entry, const char *target);
int repair_marker(struct check *c, const struct check_entry *entry);
/* Settle a file whose every block opens, bound to this place only. */
int repair_file(struct check *c, struct io *io, const struct check_entry *entry,
		const uint8_t binding[FORMAT_BINDING_SIZE], bool renew_header);

#endif /* FS_CHECK_INTERNAL_H */
