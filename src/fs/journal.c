/* SPDX-License-Identifier: MIT */
/*
 * The vault's journal: see journal.h for the contract.
 *
 * Each part begins with a header of one sector that names its epoch, 0 if the
 * part is void.  Records follow each other from the next sector on, with the
 * same epoch; the first that is none ends them.  A record is written before the
 * next one is, under the lock, so whatever a sync made durable comes before
 * whatever it did not.
 */
#include "fs/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"

enum { SECTOR = JOURNAL_SECTOR };

struct journal {
	const struct keyring *keys;
	int path_fd;	    /* O_PATH, or -1 */
	int fd;		    /* -1 until it is needed; lock */
	bool filled;	    /* lock */
	atomic_bool broken; /* nothing more goes in; without lock: asked before every write */
	uint64_t part_size;
	pthread_mutex_t lock;
	int part;	   /* that records go to */
	uint64_t position; /* in it, of the next record; 0: it has no header yet */
	uint64_t epoch;	   /* of it */
	uint64_t voided;   /* this epoch and those before; the first one is the one after */
	uint64_t appended; /* records */
	uint64_t synced;
	atomic_bool crowded; /* position says so; without lock: asked before every write */
};

static uint64_t in_sectors(uint64_t size)
{
	return (size + SECTOR - 1) / SECTOR * SECTOR;
}

/* ---- making and ending ----------------------------------------------------- */

/* A journal over fd, which is its from now on, also on failure. */
static struct journal *new_journal(int fd, const struct keyring *keys, uint64_t size)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (j && pthread_mutex_init(&j->lock, NULL)) {
		free(j);
		j = NULL;
	}
	if (!j) {
		fdio_close(fd);
		return NULL;
	}
	j->keys = keys;
	j->path_fd = -1;
	j->fd = fd;
	j->part_size = size / 2 / SECTOR * SECTOR;
	return j;
}

static int sync_dir(int dirfd)
{
	int fd = fdio_open_dir(dirfd);
	int r = fd < 0 ? fd : fsync(fd) ? -errno : 0;

	fdio_close(fd);
	return r;
}

static int open_regular(int dirfd, int flags, int *fd)
{
	struct stat st;

	*fd = openat(dirfd, JOURNAL_FILE, O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
	if (*fd < 0)
		return -errno;
	if (!fstat(*fd, &st) && S_ISREG(st.st_mode))
		return 0;
	fdio_close(*fd);
	*fd = -1;
	return -EIO;
}

/*
 * Epochs of one mount follow each other and meet those of no other one: so nobody
 * can make up a part of records of several.
 */
static int draw_epoch(struct journal *j)
{
	if (getrandom(&j->voided, sizeof(j->voided), 0) != sizeof(j->voided))
		return -EIO;
	j->voided >>= 1;
	j->epoch = j->voided + 1;
	return 0;
}

/*
 * A file that is open for writing keeps its filesystem from becoming read-only: not
 * before it is needed.
 */
static int put_aside(struct journal *j, int dirfd)
{
	j->path_fd = openat(dirfd, JOURNAL_FILE, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (j->path_fd < 0)
		return -errno;
	fdio_close(j->fd);
	j->fd = -1;
	return 0;
}

/* lock is held. */
static int open_again(struct journal *j)
{
	char path[32];

	if (j->fd >= 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", j->path_fd);
	j->fd = open(path, O_RDWR | O_CLOEXEC);
	return j->fd < 0 ? -errno : 0;
}

/* One that root makes is the vault owner's, who may be the next to mount it. */
static int give_to_owner(int dirfd, int fd)
{
	struct stat dir;
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(dirfd, &dir) || fstat(fd, &st))
		return -errno;
	return dir.st_uid != st.st_uid && fchown(fd, dir.st_uid, dir.st_gid) ? -errno : 0;
}

int journal_new(int dirfd, const struct keyring *keys, uint64_t size, struct journal **out)
{
	int fd;
	int r = open_regular(dirfd, O_RDWR | O_CREAT, &fd);

	*out = NULL;
	if (!r && ftruncate(fd, 0))
		r = -errno;
	if (!r)
		r = give_to_owner(dirfd, fd);
	if (!r)
		r = sync_dir(dirfd);
	if (r) {
		fdio_close(fd);
		return r;
	}
	*out = new_journal(fd, keys, size);
	if (!*out)
		return -ENOMEM;
	r = draw_epoch(*out);
	if (!r)
		r = put_aside(*out, dirfd);
	if (r) {
		journal_free(*out);
		*out = NULL;
	}
	return r;
}

int journal_path_fd(const struct journal *j)
{
	return j ? j->path_fd : -1;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	fdio_close(j->fd);
	fdio_close(j->path_fd);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

int journal_empty(struct journal *j)
{
	j->filled = false;
	return j->fd >= 0 && ftruncate(j->fd, 0) ? -errno : 0;
}

/* Zeros first: syncing a record is then a matter of its bytes alone. */
static int fill(int fd, uint64_t size)
{
	static const uint8_t zeros[64 * 1024];
	int r = 0;

	for (uint64_t at = 0; at < size && !r; at += sizeof(zeros))
		r = fdio_pwrite_full(
			fd, zeros, size - at < sizeof(zeros) ? (size_t)(size - at) : sizeof(zeros),
			(off_t)at);
	return !r && fsync(fd) ? -errno : r;
}

/* From now on changes are made in place; what is in the journal counts as ever. */
static void give_up(struct journal *j, int r)
{
	if (!atomic_exchange(&j->broken, true))
		log_warn("no journal: %s; a power failure may cost more than it should",
			 strerror(-r));
}

bool journal_is_ready(struct journal *j)
{
	int r = 0;

	pthread_mutex_lock(&j->lock);
	if (!j->filled && !atomic_load(&j->broken)) {
		r = open_again(j);
		if (!r)
			r = fill(j->fd, 2 * j->part_size);
		if (r && j->fd >= 0)
			(void)!ftruncate(j->fd, 0);
		j->filled = !r;
	}
	pthread_mutex_unlock(&j->lock);
	if (r)
		give_up(j, r);
	return !journal_is_broken(j);
}

bool journal_is_broken(struct journal *j)
{
	return atomic_load_explicit(&j->broken, memory_order_relaxed);
}

/* ---- appending ------------------------------------------------------------- */

static int write_part(struct journal *j, int part, uint64_t epoch)
{
	uint8_t raw[SECTOR];

	journal_part_encode(j->keys, epoch, raw);
	return fdio_pwrite_full(j->fd, raw, sizeof(raw), (off_t)((uint64_t)part * j->part_size));
}

/* A part with a header, to append to. */
static int begin_part(struct journal *j)
{
	int r = 0;

	if (!j->position) {
		r = write_part(j, j->part, j->epoch);
		if (!r)
			j->position = SECTOR;
	}
	return r;
}

static int append(struct journal *j, struct journal_record *record, const void *payload)
{
	uint64_t size = in_sectors(JOURNAL_RECORD_SIZE + (uint64_t)record->size);
	uint8_t raw[JOURNAL_RECORD_SIZE + JOURNAL_PAYLOAD_MAX];
	uint64_t at = (uint64_t)j->part * j->part_size + j->position;
	int r;

	if (j->position + size > j->part_size)
		return JOURNAL_FULL;
	record->epoch = j->epoch;
	record->at = at + JOURNAL_RECORD_SIZE;
	memcpy(raw + JOURNAL_RECORD_SIZE, payload, record->size);
	journal_record_encode(j->keys, record, raw);
	r = fdio_pwrite_full(j->fd, raw, JOURNAL_RECORD_SIZE + (size_t)record->size, (off_t)at);
	if (r)
		return r;
	j->position += size;
	j->appended++;
	if (j->position > j->part_size / 2)
		atomic_store(&j->crowded, true);
	return 0;
}

int journal_append(struct journal *j, struct journal_record *record, const void *payload)
{
	int r;

	pthread_mutex_lock(&j->lock);
	r = begin_part(j);
	if (!r)
		r = append(j, record, payload);
	pthread_mutex_unlock(&j->lock);
	if (r < 0)
		give_up(j, r);
	return r;
}

int journal_read(struct journal *j, uint64_t at, void *payload, size_t size)
{
	return fdio_pread_full(j->fd, payload, size, (off_t)at);
}

int journal_sync(struct journal *j)
{
	uint64_t appended;
	int fd;

	pthread_mutex_lock(&j->lock);
	appended = j->appended;
	fd = j->synced < appended ? j->fd : -1;
	pthread_mutex_unlock(&j->lock);
	if (fd < 0)
		return 0;
	if (fdatasync(fd)) {
		int r = -errno;

		give_up(j,
			r); /* what was to be written may be lost, and the next sync not say so */
		return r;
	}
	pthread_mutex_lock(&j->lock);
	if (j->synced < appended)
		j->synced = appended;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

/* ---- checkpoints ----------------------------------------------------------- */

bool journal_is_crowded(struct journal *j)
{
	return atomic_load_explicit(&j->crowded, memory_order_relaxed);
}

int journal_switch(struct journal *j, uint64_t *epoch)
{
	int r = journal_sync(j);

	if (r)
		return r;
	pthread_mutex_lock(&j->lock);
	*epoch = j->epoch;
	if (j->voided + 1 < j->epoch && j->position) {
		*epoch = j->epoch - 1;
	} else if (j->position) {
		j->part = 1 - j->part;
		j->position = 0;
		j->epoch++;
		atomic_store(&j->crowded, false);
	} else {
		*epoch = j->epoch - 1;
	}
	pthread_mutex_unlock(&j->lock);
	/* What came in between is of that part, too. */
	return r ? r : journal_sync(j);
}

int journal_void(struct journal *j, uint64_t epoch)
{
	int fd = -1;
	int r = 0;

	pthread_mutex_lock(&j->lock);
	if (epoch > j->voided && j->filled) {
		fd = j->fd;
		r = write_part(j, 1 - j->part, 0);
	}
	pthread_mutex_unlock(&j->lock);
	if (!r && fd >= 0 && fdatasync(fd))
		r = -errno;
	if (r)
		return r;
	pthread_mutex_lock(&j->lock);
	if (epoch > j->voided)
		j->voided = epoch;
	pthread_mutex_unlock(&j->lock);
	return 0;
}

bool journal_is_live(struct journal *j, uint64_t epoch)
{
	bool live;

	pthread_mutex_lock(&j->lock);
	live = epoch > j->voided;
	pthread_mutex_unlock(&j->lock);
	return live;
}

/* ---- after a death --------------------------------------------------------- */

struct loaded {
	struct journal_record *records;
	size_t n;
	size_t room;
};

static int keep(struct loaded *l, const struct journal_record *record)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct journal_record *more = realloc(l->records, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->records = more;
		l->room = room;
	}
	l->records[l->n++] = *record;
	return 0;
}

/* Read the records of one part that has an epoch. */
static int load_part(struct journal *j, int part, uint64_t epoch, struct loaded *l)
{
	uint64_t start = (uint64_t)part * j->part_size;
	uint64_t position = SECTOR;
	uint8_t raw[JOURNAL_RECORD_SIZE + JOURNAL_PAYLOAD_MAX];
	struct journal_record record;
	int r = 0;

	while (!r && position + JOURNAL_RECORD_SIZE <= j->part_size) {
		uint64_t left = j->part_size - position;
		ssize_t got = fdio_pread_some(j->fd, raw, left < sizeof(raw) ? left : sizeof(raw),
					      (off_t)(start + position));

		if (got < JOURNAL_RECORD_SIZE)
			return got < 0 ? (int)got : 0;
		/* One that is not whole was not durable, and nothing after it was. */
		if (!journal_record_decode(j->keys, raw, (size_t)got, &record) ||
		    record.epoch != epoch)
			return 0;
		record.at = start + position + JOURNAL_RECORD_SIZE;
		position += in_sectors(JOURNAL_RECORD_SIZE + (uint64_t)record.size);
		r = keep(l, &record);
	}
	return r;
}

static int load(struct journal *j, struct loaded *l)
{
	uint64_t epochs[2];
	uint8_t raw[SECTOR];
	struct stat st;
	int first;
	int r = 0;

	if (fstat(j->fd, &st))
		return -errno;
	j->part_size = (uint64_t)st.st_size / 2 / SECTOR * SECTOR;
	for (int i = 0; i < 2 && !r; i++) {
		r = fdio_pread_full(j->fd, raw, sizeof(raw), (off_t)((uint64_t)i * j->part_size));
		epochs[i] = r ? 0 : journal_part_decode(j->keys, raw);
		if (r == -ENODATA)
			r = 0; /* cut off while it was made */
	}
	if (r)
		return r;
	first = epochs[0] > epochs[1];
	for (int i = 0; i < 2 && !r; i++) {
		int part = i ? 1 - first : first;

		if (epochs[part])
			r = load_part(j, part, epochs[part], l);
	}
	return r;
}

int journal_load_from(int fd, const struct keyring *keys, struct journal **out,
		      struct journal_record **records, size_t *n)
{
	struct loaded l = { 0 };
	struct journal *j = new_journal(fd, keys, 0);
	int r = j ? load(j, &l) : -ENOMEM;

	*out = NULL;
	*records = NULL;
	*n = 0;
	if (r) {
		free(l.records);
		journal_free(j);
		return r;
	}
	*records = l.records; /* the caller's from here on */
	*n = l.n;
	*out = j;
	return 0;
}

int journal_load(int dirfd, const struct keyring *keys, bool read_only, struct journal **out,
		 struct journal_record **records, size_t *n)
{
	int fd;
	int r = open_regular(dirfd, read_only ? O_RDONLY : O_RDWR, &fd);

	*out = NULL;
	*records = NULL;
	*n = 0;
	if (r)
		return r == -ENOENT ? 0 : r;
	if (!read_only && flock(fd, LOCK_EX)) {
		r = -errno;
		fdio_close(fd);
		return r;
	}
	return journal_load_from(fd, keys, out, records, n);
}
