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
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"

#define PART_MAGIC   "cryptfsJ"
#define RECORD_MAGIC "cryptfsR"

enum {
	SECTOR = 512,
	MAC_SIZE = 16,
	PART_MAC_AT = 16,
	RECORD_MAC_AT = 144,
	RECORD_SIZE = RECORD_MAC_AT + MAC_SIZE, /* then the payload */
};

struct journal {
	const struct keyring *keys;
	int fd;
	bool filled;	    /* lock */
	atomic_bool broken; /* it cannot be filled; without lock: asked before every write */
	uint64_t part_size;
	pthread_mutex_t lock;
	int part;	   /* that records go to */
	uint64_t position; /* in it, of the next record; 0: it has no header yet */
	uint64_t epoch;	   /* of it */
	uint64_t voided;   /* this epoch and those before */
	uint64_t appended; /* records */
	uint64_t synced;
	atomic_bool crowded; /* position says so; without lock: asked before every write */
};

/* Of a head and, for a record, its payload. */
static void mac_of(const struct keyring *keys, const uint8_t *head, size_t size,
		   const uint8_t *payload, size_t payload_size, uint8_t mac[MAC_SIZE])
{
	crypto_generichash_state state;

	/* None can fail: every size is a constant within the functions' bounds. */
	(void)crypto_generichash_init(&state, keys->directory, sizeof(keys->directory), MAC_SIZE);
	(void)crypto_generichash_update(&state, (const uint8_t *)"journal", 7);
	(void)crypto_generichash_update(&state, head, size);
	(void)crypto_generichash_update(&state, payload, payload_size);
	(void)crypto_generichash_final(&state, mac, MAC_SIZE);
}

static bool mac_is(const struct keyring *keys, const uint8_t *head, size_t size,
		   const uint8_t *payload, size_t payload_size)
{
	uint8_t mac[MAC_SIZE];

	mac_of(keys, head, size, payload, payload_size, mac);
	return secmem_equal(mac, head + size, MAC_SIZE);
}

/* ---- bytes ----------------------------------------------------------------- */

static void part_encode(const struct keyring *keys, uint64_t epoch, uint8_t raw[SECTOR])
{
	memset(raw, 0, SECTOR);
	memcpy(raw, PART_MAGIC, 8);
	bytes_put64(raw + 8, epoch);
	mac_of(keys, raw, PART_MAC_AT, NULL, 0, raw + PART_MAC_AT);
}

/* The epoch of a part; 0: void, or nothing of ours. */
static uint64_t part_decode(const struct keyring *keys, const uint8_t raw[SECTOR])
{
	if (memcmp(raw, PART_MAGIC, 8) != 0 || !mac_is(keys, raw, PART_MAC_AT, NULL, 0))
		return 0;
	return bytes_get64(raw + 8);
}

/* raw has the payload behind the head already. */
static void record_encode(const struct keyring *keys, const struct journal_record *r, uint8_t *raw)
{
	memset(raw, 0, RECORD_SIZE);
	memcpy(raw, RECORD_MAGIC, 8);
	bytes_put64(raw + 8, r->epoch);
	memcpy(raw + 16, r->id, KEYS_FILE_ID_SIZE);
	bytes_put64(raw + 48, r->inode);
	bytes_put64(raw + 56, r->sequence);
	bytes_put64(raw + 64, r->block);
	bytes_put64(raw + 72, r->length);
	bytes_put32(raw + 80, r->slot);
	bytes_put32(raw + 84, r->size);
	memcpy(raw + 88, r->half, FORMAT_HALF_SIZE);
	bytes_put64(raw + 120, (uint64_t)r->mtime.tv_sec);
	bytes_put32(raw + 128, (uint32_t)r->mtime.tv_nsec);
	mac_of(keys, raw, RECORD_MAC_AT, raw + RECORD_SIZE, r->size, raw + RECORD_MAC_AT);
}

/* raw is a head and `room` bytes after it. */
static bool record_decode(const struct keyring *keys, const uint8_t *raw, size_t room,
			  struct journal_record *r)
{
	uint32_t size = bytes_get32(raw + 84);

	if (memcmp(raw, RECORD_MAGIC, 8) != 0 || size > JOURNAL_PAYLOAD_MAX || size > room ||
	    !mac_is(keys, raw, RECORD_MAC_AT, raw + RECORD_SIZE, size))
		return false;
	memset(r, 0, sizeof(*r));
	r->epoch = bytes_get64(raw + 8);
	memcpy(r->id, raw + 16, KEYS_FILE_ID_SIZE);
	r->inode = bytes_get64(raw + 48);
	r->sequence = bytes_get64(raw + 56);
	r->block = bytes_get64(raw + 64);
	r->length = bytes_get64(raw + 72);
	r->slot = bytes_get32(raw + 80);
	r->size = size;
	memcpy(r->half, raw + 88, FORMAT_HALF_SIZE);
	r->mtime.tv_sec = (time_t)bytes_get64(raw + 120);
	r->mtime.tv_nsec = bytes_get32(raw + 128) % 1000000000;
	return r->slot < 2 && r->length <= FORMAT_MAX_LENGTH;
}

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
	j->fd = fd;
	j->part_size = size / 2 / SECTOR * SECTOR;
	j->epoch = 1;
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

	*fd = openat(dirfd, JOURNAL_FILE, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags,
		     0600);
	if (*fd < 0)
		return -errno;
	if (!fstat(*fd, &st) && S_ISREG(st.st_mode))
		return 0;
	fdio_close(*fd);
	*fd = -1;
	return -EIO;
}

int journal_new(int dirfd, const struct keyring *keys, uint64_t size, struct journal **out)
{
	int fd;
	int r = open_regular(dirfd, O_CREAT, &fd);

	*out = NULL;
	if (!r && ftruncate(fd, 0))
		r = -errno;
	if (!r)
		r = sync_dir(dirfd);
	if (r) {
		fdio_close(fd);
		return r;
	}
	*out = new_journal(fd, keys, size);
	return *out ? 0 : -ENOMEM;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	fdio_close(j->fd);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

void journal_empty(struct journal *j)
{
	(void)!ftruncate(j->fd, 0); /* void: what stays says nothing */
	j->filled = false;
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

bool journal_is_ready(struct journal *j)
{
	int r = 0;

	pthread_mutex_lock(&j->lock);
	if (!j->filled && !atomic_load(&j->broken)) {
		r = fill(j->fd, 2 * j->part_size);
		if (r)
			(void)!ftruncate(j->fd, 0);
		j->filled = !r;
		atomic_store(&j->broken, r != 0);
	}
	pthread_mutex_unlock(&j->lock);
	if (r)
		log_warn("no journal: %s; a power failure may cost more than it should",
			 strerror(-r));
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

	part_encode(j->keys, epoch, raw);
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
	uint64_t size = in_sectors(RECORD_SIZE + (uint64_t)record->size);
	uint8_t raw[RECORD_SIZE + JOURNAL_PAYLOAD_MAX];
	uint64_t at = (uint64_t)j->part * j->part_size + j->position;
	int r;

	if (j->position + size > j->part_size)
		return JOURNAL_FULL;
	record->epoch = j->epoch;
	record->at = at + RECORD_SIZE;
	memcpy(raw + RECORD_SIZE, payload, record->size);
	record_encode(j->keys, record, raw);
	r = fdio_pwrite_full(j->fd, raw, RECORD_SIZE + (size_t)record->size, (off_t)at);
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
	if (fdatasync(fd))
		return -errno;
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
	int r = 0;

	pthread_mutex_lock(&j->lock);
	if (epoch > j->voided && j->filled)
		r = write_part(j, 1 - j->part, 0);
	pthread_mutex_unlock(&j->lock);
	if (!r && fdatasync(j->fd))
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
	uint8_t raw[RECORD_SIZE + JOURNAL_PAYLOAD_MAX];
	struct journal_record record;
	int r = 0;

	while (!r && position + RECORD_SIZE <= j->part_size) {
		uint64_t left = j->part_size - position;
		ssize_t got = fdio_pread_some(j->fd, raw, left < sizeof(raw) ? left : sizeof(raw),
					      (off_t)(start + position));

		if (got < RECORD_SIZE)
			return got < 0 ? (int)got : 0;
		/* One that is not whole was not durable, and nothing after it was. */
		if (!record_decode(j->keys, raw, (size_t)got - RECORD_SIZE, &record) ||
		    record.epoch != epoch)
			return 0;
		record.at = start + position + RECORD_SIZE;
		position += in_sectors(RECORD_SIZE + (uint64_t)record.size);
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
		epochs[i] = r ? 0 : part_decode(j->keys, raw);
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

int journal_load(int dirfd, const struct keyring *keys, struct journal **out,
		 struct journal_record **records, size_t *n)
{
	struct loaded l = { 0 };
	struct journal *j = NULL;
	int fd;
	int r;

	*out = NULL;
	*records = NULL;
	*n = 0;
	r = open_regular(dirfd, 0, &fd);
	if (r)
		return r == -ENOENT ? 0 : r;
	j = new_journal(fd, keys, 0);
	if (!j)
		return -ENOMEM;
	r = load(j, &l);
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
