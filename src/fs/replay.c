/* SPDX-License-Identifier: MIT */
/*
 * Replaying a journal: see replay.h.  Files are found by inode number, in one
 * walk that looks at names only; if one is missing then (the vault was copied
 * since, or it is gone), by the id in every header.
 */
#include "fs/replay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/backing.h"
#include "fs/file.h"
#include "fs/journal.h"

struct replay {
	const struct store *store;
	struct io *io;
	struct journal *journal;
	struct journal_record *records; /* by file, then by block; the last of each block */
	size_t n;
	bool *done; /* per record: its file was found */
	size_t left;
	bool by_id;
};

/* ---- the records ----------------------------------------------------------- */

/* By file and block, then as they were written. */
static int compare(const void *a, const void *b)
{
	const struct journal_record *x = a;
	const struct journal_record *y = b;
	int r = memcmp(x->id, y->id, sizeof(x->id));

	if (!r && x->block != y->block)
		return x->block < y->block ? -1 : 1;
	if (!r && x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return r ? r : x->at < y->at ? -1 : 1;
}

static bool same_file(const struct journal_record *a, const struct journal_record *b)
{
	return !memcmp(a->id, b->id, sizeof(a->id));
}

/* Leave the last record of each block only, sorted. */
static void sort(struct replay *p)
{
	size_t kept = 0;

	if (p->n)
		qsort(p->records, p->n, sizeof(*p->records), compare);
	for (size_t i = 0; i < p->n; i++) {
		if (kept && same_file(&p->records[kept - 1], &p->records[i]) &&
		    p->records[kept - 1].block == p->records[i].block)
			kept--;
		p->records[kept++] = p->records[i];
	}
	p->n = kept;
}

static size_t count_files(const struct replay *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += !i || !same_file(&p->records[i - 1], &p->records[i]);
	return n;
}

/* ---- a file ------------------------------------------------------------------ */

static int replay_small(struct replay *p, int fd, const struct journal_record *record)
{
	uint8_t payload[JOURNAL_PAYLOAD_MAX];
	int r = journal_read(p->journal, record->at, payload, record->size);

	return r ? r : file_replay_small(p->store, p->io, fd, record, payload);
}

static int replay_block(struct replay *p, struct file *f, const struct journal_record *record)
{
	uint8_t payload[JOURNAL_PAYLOAD_MAX];
	int r = journal_read(p->journal, record->at, payload, record->size);

	return r ? r : file_replay(f, p->io, record, payload);
}

static int replay_blocks(struct replay *p, int fd, size_t first, size_t end)
{
	struct file *f = NULL;
	int again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r = again < 0 ? -errno : file_open_to_replay(p->store, p->io, again, &f);

	/* Of a damaged one nothing can be put in place. */
	for (; !r && first < end; first++)
		r = replay_block(p, f, &p->records[first]);
	file_close(f);
	return r > 0 ? 0 : r;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static struct timespec newest(const struct replay *p, size_t first, size_t end)
{
	struct timespec t = p->records[first].mtime;

	for (size_t i = first + 1; i < end; i++)
		if (is_later(&p->records[i].mtime, &t))
			t = p->records[i].mtime;
	return t;
}

/* All records of the file fd, from index first on; that of small content comes last. */
static int replay_file(struct replay *p, int fd, size_t first)
{
	struct timespec times[2] = { { 0, UTIME_OMIT } };
	size_t end = first;
	size_t small = first;
	struct stat st;
	int r = fstat(fd, &st) ? -errno : 0;

	if (r)
		return r;

	for (; end < p->n && same_file(&p->records[first], &p->records[end]); end++)
		small += p->records[end].block != JOURNAL_SMALL;
	if (small < end)
		r = replay_small(p, fd, &p->records[small]);
	if (r >= 0 && first < small)
		r = replay_blocks(p, fd, first, small);
	/*
	 * Each change in the journal touches the inode, too; where that is on the
	 * disk, so is what somebody may have set the time to since.
	 */
	times[1] = newest(p, first, end);
	if (!is_later(&times[1], &st.st_ctim))
		times[1] = st.st_mtim;
	(void)futimens(fd, times);
	if (r >= 0)
		r = fsync(fd) ? -errno : 0;
	for (size_t i = first; i < end; i++)
		p->done[i] = true;
	p->left--;
	return r;
}

static bool has_id(int fd, const uint8_t id[KEYS_FILE_ID_SIZE])
{
	uint8_t raw[2][FORMAT_HEADER_SIZE];
	uint8_t found[KEYS_FILE_ID_SIZE];

	if (fdio_pread_full(fd, raw, sizeof(raw), 0))
		return false;
	for (int i = 0; i < 2; i++)
		if (!format_header_peek(raw[i], found) && !memcmp(found, id, sizeof(found)))
			return true;
	return false;
}

/* ---- the walk ---------------------------------------------------------------- */

static bool is_wanted(const struct replay *p, ino_t inode)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->done[i] && (p->by_id || p->records[i].inode == inode))
			return true;
	return false;
}

static int visit_file(struct replay *p, int dirfd, const char *name, ino_t inode)
{
	struct stat st;
	int fd;
	int r = 0;

	if (!is_wanted(p, inode))
		return 0;
	fd = backing_open(dirfd, name, O_RDWR, geteuid() != 0);
	if (fd < 0)
		return 0; /* a FIFO, a link, not ours */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		for (size_t i = 0; i < p->n && !r; i++)
			if (!p->done[i] && has_id(fd, p->records[i].id))
				r = replay_file(p, fd, i);
	fdio_close(fd);
	return r;
}

/* A directory on the way down, and those in it that are still to be walked. */
struct level {
	struct level *above;
	dev_t device;
	ino_t inode;
	char *names; /* one after the other, each with its zero; the last one comes first */
	size_t size;
	size_t room;
};

static int push(struct level **top, int dirfd)
{
	struct level *level = calloc(1, sizeof(*level));
	struct stat st;

	if (!level)
		return -ENOMEM;
	if (fstat(dirfd, &st)) {
		free(level);
		return -errno;
	}
	level->device = st.st_dev;
	level->inode = st.st_ino;
	level->above = *top;
	*top = level;
	return 0;
}

static void pop(struct level **top)
{
	struct level *level = *top;

	*top = level->above;
	free(level->names);
	free(level);
}

static int remember_dir(struct level *level, const char *name)
{
	size_t size = strlen(name) + 1;

	if (level->room - level->size < size) {
		size_t room = 2 * level->room + size;
		char *more = realloc(level->names, room);

		if (!more)
			return -ENOMEM;
		level->names = more;
		level->room = room;
	}
	memcpy(level->names + level->size, name, size);
	level->size += size;
	return 0;
}

/* The last name that is remembered, no more: in place until the next one is. */
static const char *next_dir(struct level *level)
{
	size_t at = level->size - 1;

	while (at && level->names[at - 1])
		at--;
	level->size = at;
	return level->names + at;
}

static int visit(struct replay *p, int dirfd, struct level *level, const struct dirent *entry)
{
	struct stat st;
	unsigned char type = entry->d_type;

	if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
		return 0;
	if (type == DT_UNKNOWN && !fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
		type = (unsigned char)IFTODT(st.st_mode);
	if (type == DT_DIR)
		return remember_dir(level, entry->d_name);
	return type == DT_REG ? visit_file(p, dirfd, entry->d_name, entry->d_ino) : 0;
}

/* All that lies in a directory: files now, directories later. */
static int visit_all(struct replay *p, int dirfd, struct level *level)
{
	int fd = fdio_open_dir(dirfd);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!d) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	while (!r && p->left && (entry = readdir(d)))
		r = visit(p, fd, level, entry);
	(void)closedir(d);
	return r;
}

/* Take *fd down into a directory; one that keeps us out is passed over. */
static int go_down(struct replay *p, struct level **top, int *fd, const char *name)
{
	int below = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (below < 0)
		return errno == EACCES || errno == ENOENT ? 0 : -errno;
	fdio_close(*fd);
	*fd = below;
	r = push(top, *fd);
	return r ? r : visit_all(p, *fd, *top);
}

/* And up again, if that is where it came from. */
static int go_up(struct level **top, int *fd)
{
	struct level *above = (*top)->above;
	struct stat st;
	int up;

	pop(top);
	if (!above)
		return 0;
	up = openat(*fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (up < 0)
		return -errno;
	fdio_close(*fd);
	*fd = up;
	if (fstat(up, &st))
		return -errno;
	return st.st_dev == above->device && st.st_ino == above->inode ? 0 : -ESTALE;
}

/* With one descriptor, however deep it goes. */
static int walk(struct replay *p, int root_fd)
{
	struct level *top = NULL;
	int fd = fdio_open_dir(root_fd);
	int r = fd < 0 ? fd : push(&top, fd);

	if (!r)
		r = visit_all(p, fd, top);
	while (!r && p->left && top) {
		if (top->size)
			r = go_down(p, &top, &fd, next_dir(top));
		else
			r = go_up(&top, &fd);
	}
	while (top)
		pop(&top);
	fdio_close(fd);
	return r;
}

static int put_in_place(struct replay *p, int root_fd)
{
	int r;

	p->done = calloc(p->n + 1, sizeof(*p->done));
	if (!p->done)
		return -ENOMEM;
	r = walk(p, root_fd);
	p->by_id = true;
	if (!r && p->left)
		r = walk(p, root_fd);
	free(p->done);
	return r;
}

int replay_vault(const struct store *store, struct io *io, int dirfd, int root_fd,
		 struct replay_result *result)
{
	struct replay p = { .store = store, .io = io };
	int r;

	memset(result, 0, sizeof(*result));
	r = journal_load(dirfd, store->keys, store->read_only, &p.journal, &p.records, &p.n);
	if (r || !p.journal)
		return r;
	result->n_records = p.n;
	if (store->read_only)
		goto out;
	sort(&p);
	result->n_files = p.left = count_files(&p);
	r = put_in_place(&p, root_fd);
	result->n_found = result->n_files - p.left;
	if (!r)
		r = journal_empty(p.journal);
out:
	free(p.records);
	journal_free(p.journal);
	return r;
}

/* ---- without a change ---------------------------------------------------------- */

struct replay_pending {
	struct replay found; /* records, sorted */
};

int replay_pending_new(const struct store *store, int dirfd, struct replay_pending **out)
{
	struct replay_pending *p = calloc(1, sizeof(*p));
	int r;

	*out = NULL;
	if (!p)
		return -ENOMEM;
	r = journal_load(dirfd, store->keys, true, &p->found.journal, &p->found.records,
			 &p->found.n);
	if (r || !p->found.n) {
		replay_pending_free(p);
		return r;
	}
	sort(&p->found);
	*out = p;
	return 0;
}

void replay_pending_free(struct replay_pending *p)
{
	if (!p)
		return;
	free(p->found.records);
	journal_free(p->found.journal);
	free(p);
}

static int compare_key(const void *key, const void *record)
{
	const struct journal_record *x = key;
	const struct journal_record *y = record;
	int r = memcmp(x->id, y->id, sizeof(x->id));

	return r ? r : x->block < y->block ? -1 : x->block > y->block;
}

bool replay_is_pending(const struct replay_pending *p, const uint8_t *id, uint64_t sequence,
		       uint64_t block)
{
	struct journal_record key = { .block = block };
	const struct journal_record *found;

	if (!p)
		return false;
	memcpy(key.id, id, sizeof(key.id));
	found = bsearch(&key, p->found.records, p->found.n, sizeof(key), compare_key);
	return found && found->sequence >= sequence;
}
