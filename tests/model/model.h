/* SPDX-License-Identifier: MIT */
/*
 * model.h - what the parts of the model-based tester share: two directories in
 * which the same is done in step, one in a mount, one on a plain filesystem.
 *
 * Every choice of a step is drawn from the seed, the number of the step and
 * what the plain directory holds then, so that a step does the same again if
 * others before it are left out.  What differs between the sides ends the
 * process through diverge(); nothing here returns an error.
 */
#ifndef CRYPTFS_MODEL_H
#define CRYPTFS_MODEL_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

enum { MOUNT, PLAIN, SIDES };

enum {
	N_HANDLES = 8,
	MAX_IO = 1 << 21, /* of one read or write */
	MAX_PATH = 3400,  /* of a path that is picked; the root comes before it */
	N_HISTORY = 48,	  /* operations shown at a divergence */
	EXIT_DIVERGED = 1,
	EXIT_BROKEN = 2, /* the tester's own trouble */
};

/* One open file, on both sides; fd[] are -1 where there is none. */
struct handle {
	int fd[SIDES];
	int flags;	     /* as opened */
	mode_t type;	     /* S_IFMT bits */
	uint8_t *map[SIDES]; /* a mapping that is kept, or NULL */
	size_t map_size;
	bool map_writable;
};

/* What one call answered on one side. */
struct answer {
	long value;
	int error;
};

/* From the command line. */
struct options {
	const char *root[SIDES];
	uint64_t seed;
	unsigned long steps;   /* per seed */
	unsigned long seconds; /* 0: one seed only */
	unsigned long remount; /* ask for a remount every so many steps; 0: never */
	unsigned long crash;   /* the same for deaths of the mount process */
	unsigned int jobs;
	bool users;	/* be several users; the mount is with allow_other */
	bool no_huge;	/* no holes of gigabytes: they cost as much as data there */
	bool writeback; /* the kernel owns times until it has written */
	bool shrink;
	bool verbose;
	int ask, answer; /* pipes to who remounts */
};

struct world {
	const struct options *o;
	int root[SIDES]; /* O_PATH descriptors */
	char root_path[SIDES][PATH_MAX / 4];
	bool direct[SIDES]; /* O_DIRECT does not ask for alignment there */
	bool on_tmpfs;	    /* the plain side; it knows less than others */
	uint64_t seed;
	unsigned long step;
	uint64_t rng;
	const uint8_t *skipped; /* per step, or NULL */

	const char *op; /* name of the current one */
	mode_t subject; /* S_IFMT bits of what it is about, 0 if unknown */
	uid_t user;	/* who does it */
	struct handle handles[N_HANDLES];
	struct timespec start; /* a time older than this was set by us */

	char history[N_HISTORY][320];
	unsigned long n_said;
	uint8_t *data[SIDES]; /* MAX_IO bytes each */
};

/* ---- model.c ---- */

/* Ends this process with the seed, the step, the last operations and this. */
__attribute__((format(printf, 2, 3), noreturn)) void diverge(struct world *w, const char *format,
							     ...);

/* The tester itself is in trouble. */
__attribute__((format(printf, 1, 2), noreturn)) void broken(const char *format, ...);

/* Note the operation that comes, for the history. */
__attribute__((format(printf, 2, 3))) void say(struct world *w, const char *format, ...);

/* Become the user of this step, and root again. */
void user_enter(const struct world *w);
void user_leave(const struct world *w);

/*
 * Do CALL in the mount and then on the plain side; in it SIDE is the side.
 * Where the mount may answer as it did (known.c), the plain side is left out
 * and both answers are the mount's.
 */
#define IN_STEP(w, a, call)                                                                        \
	do {                                                                                       \
		for (int SIDE = MOUNT; SIDE < SIDES; SIDE++) {                                     \
			long value_;                                                               \
			user_enter(w);                                                             \
			errno = 0;                                                                 \
			value_ = (long)(call);                                                     \
			(a)[SIDE].value = value_;                                                  \
			(a)[SIDE].error = value_ < 0 ? errno : 0;                                  \
			user_leave(w);                                                             \
			if (SIDE == MOUNT && known_answer(w, (a)[MOUNT].error)) {                  \
				(a)[PLAIN] = (a)[MOUNT];                                           \
				break;                                                             \
			}                                                                          \
		}                                                                                  \
	} while (0)

/* ---- known.c: what is rightly different ---- */

/* True if the mount may fail with this errno where a plain filesystem need not. */
bool known_answer(const struct world *w, int error);

/* A chown that changes neither takes set-id bits away on ext4; FUSE is not told of it. */
bool chown_of_nothing(uid_t uid, gid_t gid);

/* A regular file held with O_PATH only may answer ESTALE once it has no name. */
bool known_stale(const struct handle *h);

/*
 * With writeback the kernel may tell the time of a write before it writes the
 * page (because of a rename, a link or an attribute in between): the page then
 * moves the stored time, which is seen when the kernel has forgotten the file.
 */
bool known_later(const struct world *w, const struct timespec *was, const struct timespec *is);

/*
 * The mode as far as it is compared.  When somebody outside the file's group
 * writes, ext4 takes S_ISGID away even where the group may not run it; the
 * kernel does not tell a FUSE filesystem who is in the group.
 */
mode_t known_mode(const struct world *w, mode_t mode);

/* ---- pick.c: choices ---- */

uint64_t draw(struct world *w);
uint64_t below(struct world *w, uint64_t n); /* 0 to n - 1 */
bool one_in(struct world *w, uint64_t n);
void start_step(struct world *w, unsigned long step);

/* A file name, mostly of one letter; size must be NAME_MAX + 2. */
void pick_name(struct world *w, char *name);

enum pick {
	PICK_ANY,  /* mostly something that exists */
	PICK_FILE, /* a regular file if one is found soon */
	PICK_DIR,
	PICK_NEW, /* mostly a name that is free */
};

/* A path below the root, into MAX_PATH + NAME_MAX + 2 bytes; sets w->subject. */
enum { PATH_SIZE = MAX_PATH + NAME_MAX + 2 };
void pick_path(struct world *w, enum pick what, char *path);

off_t pick_offset(struct world *w, off_t size);
size_t pick_length(struct world *w);
mode_t pick_mode(struct world *w);
const uint8_t *pick_bytes(struct world *w, size_t size); /* no two calls alike */
void pick_time(struct world *w, struct timespec *ts);

/* An open handle, or NULL; of regular files if want_file. */
struct handle *pick_handle(struct world *w, bool want_file);
struct handle *free_handle(struct world *w); /* closes one if it must */
void close_handle(struct handle *h);

/* A path in the history: escaped, long runs of one character counted. */
const char *show(const char *path);

/* ---- compare.c ---- */

/* Both answered alike. */
void same_answer(struct world *w, const struct answer *a);
/* What these two say is alike; also_atime where it was just set. */
void same_stat(struct world *w, const struct stat *st, const char *what, bool also_atime);
void same_path(struct world *w, const char *path, bool also_atime); /* itself and its directory */
void same_handle(struct world *w, const struct handle *h);
void same_range(struct world *w, const int *fd, off_t offset, size_t size);
void same_content(struct world *w, const int *fd, const char *what);
void same_attributes(struct world *w, const char *const *path, const char *what);
void same_listing(struct world *w, const int *fd, const char *what);
void same_tree(struct world *w);

/* How everything in the mount looks, to be compared after a remount. */
struct snapshot;
struct snapshot *snapshot_take(struct world *w);
void snapshot_compare(struct world *w, struct snapshot *was); /* frees it */

/* ---- listing.c: sorted names ---- */

struct entry {
	char name[NAME_MAX + 1];
	unsigned char type;
	ino_t ino;
};

struct listing {
	struct entry *entries; /* sorted, without . and .. */
	size_t n;
	unsigned int dots; /* how many of . and .. came */
};

/* List fd from its beginning; 0 or -errno. listing_free takes what it filled. */
int listing_read(int fd, struct listing *l);
void listing_free(struct listing *l);

/* ---- ops_*.c ---- */

struct operation {
	const char *name;
	unsigned int weight;
	void (*run)(struct world *w);
};

extern const struct operation path_operations[], handle_operations[]; /* end with a NULL name */

#endif
