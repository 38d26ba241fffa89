/* SPDX-License-Identifier: MIT */
/* States of a disk: see disk.h for the model. */
#include "disk.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512 };

uint64_t disk_random(uint64_t *seed, uint64_t n)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return (z ^ z >> 31) % n;
}

/* A name on the disk. */
struct entry {
	int dir;
	int inode;
	const char *name;
};

struct disk {
	const struct record *record;
	const struct disk_choice *choice;
	uint64_t seed;
	int metadata;	/* operations before this one, as far as they are metadata */
	int *data;	/* per inode: writes before this one are durable */
	int *last_size; /* per inode: one after the last change of size or the making */
	int *last_any;	/* per inode: one after the last metadata operation */
	uint64_t *sizes;
	struct entry *entries;
	int n_entries;
	int *made; /* per inode: which operation, + 1; 0: not there */
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void die(const char *what)
{
	perror(what);
	abort();
}

static bool is_metadata(const struct op *op)
{
	return op->kind <= OP_TRUNCATE;
}

/* ---- what is durable -------------------------------------------------------- */

static void touch(struct disk *d, const struct op *op, int next)
{
	d->last_any[op->inode] = next;
	d->last_any[op->dir] = next;
	d->last_any[op->to_dir] = next;
	d->last_any[op->replaced] = next;
	if (op->kind == OP_MAKE || op->kind == OP_TRUNCATE)
		d->last_size[op->inode] = next;
}

static void sync_inode(struct disk *d, const struct op *op, int at)
{
	int upto = op->kind == OP_SYNC ? d->last_any[op->inode] : d->last_size[op->inode];

	if (upto > d->metadata)
		d->metadata = upto;
	d->data[op->inode] = at;
}

/* A write that makes a file longer is metadata, too, of the time it is durable. */
static void resize(struct disk *d, const struct op *op, int at)
{
	uint64_t *size = &d->sizes[op->inode];

	if (op->kind == OP_TRUNCATE) {
		*size = op->offset;
	} else if (op->offset + op->size > *size) {
		*size = op->offset + op->size;
		d->last_any[op->inode] = at;
		d->last_size[op->inode] = at;
	}
}

static void find_durable(struct disk *d)
{
	for (int i = 0; i < d->choice->n_ops; i++) {
		const struct op *op = &d->record->ops[i];

		if (op->kind == OP_WRITE || op->kind == OP_TRUNCATE)
			resize(d, op, i);
		if (is_metadata(op))
			touch(d, op, i + 1);
		else if (op->kind == OP_SYNC || op->kind == OP_SYNC_DATA)
			sync_inode(d, op, i);
		else if (op->kind == OP_SYNC_ALL) {
			d->metadata = i;
			for (int k = 1; k <= d->record->n_inodes; k++)
				d->data[k] = i;
		}
	}
}

/* ---- names ------------------------------------------------------------------- */

static int find(const struct disk *d, int dir, const char *name)
{
	for (int i = 0; i < d->n_entries; i++)
		if (d->entries[i].dir == dir && !strcmp(d->entries[i].name, name))
			return i;
	return -1;
}

static void add_entry(struct disk *d, int dir, const char *name, int inode)
{
	int at = find(d, dir, name);

	if (at < 0) {
		at = d->n_entries++;
		d->entries = must(realloc(d->entries, (size_t)d->n_entries * sizeof(struct entry)));
	}
	d->entries[at] = (struct entry){ dir, inode, name };
}

static void remove_entry(struct disk *d, int dir, const char *name)
{
	int at = find(d, dir, name);

	if (at >= 0)
		d->entries[at] = d->entries[--d->n_entries];
}

static void replay_names(struct disk *d)
{
	for (int i = 0; i < d->metadata; i++) {
		const struct op *op = &d->record->ops[i];

		if (op->kind == OP_MAKE)
			d->made[op->inode] = i + 1;
		if ((op->kind == OP_MAKE && op->name) || op->kind == OP_LINK)
			add_entry(d, op->dir, op->name, op->inode);
		if (op->kind == OP_UNLINK)
			remove_entry(d, op->dir, op->name);
		if (op->kind == OP_RENAME) {
			remove_entry(d, op->dir, op->name);
			add_entry(d, op->to_dir, op->to_name, op->inode);
			if (op->flags & RENAME_EXCHANGE)
				add_entry(d, op->dir, op->name, op->replaced);
		}
	}
}

/* ---- content ----------------------------------------------------------------- */

/* Page k of an inode as it was in memory before operation `end`. */
static void page_at(const struct disk *d, int inode, uint64_t k, int end, uint8_t page[PAGE])
{
	uint64_t start = k * PAGE;

	memset(page, 0, PAGE);
	for (int i = d->made[inode]; i < end; i++) {
		const struct op *op = &d->record->ops[i];
		uint64_t from;
		uint64_t to;

		if (op->inode != inode)
			continue;
		if (op->kind == OP_TRUNCATE && op->offset < start + PAGE) {
			from = op->offset > start ? op->offset - start : 0;
			memset(page + from, 0, PAGE - from);
		}
		if (op->kind != OP_WRITE || op->offset >= start + PAGE ||
		    op->offset + op->size <= start)
			continue;
		from = op->offset > start ? op->offset : start;
		to = op->offset + op->size < start + PAGE ? op->offset + op->size : start + PAGE;
		memcpy(page + (from - start), op->data + (from - op->offset), to - from);
	}
}

static bool touches_page(const struct op *op, int inode, uint64_t k)
{
	if (op->inode != inode)
		return false;
	if (op->kind == OP_TRUNCATE)
		return op->offset < (k + 1) * PAGE;
	return op->kind == OP_WRITE && op->offset < (k + 1) * PAGE &&
	       op->offset + op->size > k * PAGE;
}

/* The moments between which a page's content may be from. */
static void page_limits(const struct disk *d, int inode, uint64_t k, int *low, int *high)
{
	bool exists = false;

	*low = d->data[inode];
	*high = d->choice->n_ops;
	for (int i = d->made[inode]; i < *high; i++) {
		const struct op *op = &d->record->ops[i];
		bool cut_off = op->kind == OP_TRUNCATE && op->offset <= k * PAGE;

		if (!touches_page(op, inode, k))
			continue;
		if (cut_off && i >= d->metadata) {
			*high = i;
		} else if (cut_off) {
			exists = false;
			if (*low < i + 1)
				*low = i + 1;
		} else if (op->kind == OP_WRITE && !exists) {
			exists = true;
			if (i >= d->metadata && i >= d->data[inode])
				*high = i;
		}
	}
	if (*low > *high)
		*low = *high;
}

/* The moment before a random one of the last few changes of a page. */
static int choose_moment(struct disk *d, int low, int high)
{
	switch (d->choice->style) {
	case DISK_ALL:
	case DISK_DATA:
		return high;
	case DISK_NONE:
	case DISK_METADATA:
		return low;
	case DISK_COINS:
		return disk_random(&d->seed, 2) ? low : high;
	case DISK_LAST:
		if (high - low > 6)
			low = high - 6;
		__attribute__((fallthrough));
	default:
		return low + (int)disk_random(&d->seed, (uint64_t)(high - low) + 1);
	}
}

static void make_page(struct disk *d, int inode, uint64_t k, uint8_t page[PAGE])
{
	uint8_t before[PAGE];
	bool torn;
	int low;
	int high;
	int at;
	int write;

	page_limits(d, inode, k, &low, &high);
	at = choose_moment(d, low, high);
	page_at(d, inode, k, at, page);
	torn = (d->choice->style == DISK_TORN || d->choice->style == DISK_LAST) &&
	       disk_random(&d->seed, 2);
	if (!torn)
		return;
	/* Between that moment and the change before it that may not be there. */
	for (write = at - 1; write >= low; write--)
		if (touches_page(&d->record->ops[write], inode, k))
			break;
	if (write < low)
		return;
	page_at(d, inode, k, write, before);
	for (int i = 0; i < PAGE; i += SECTOR)
		if (disk_random(&d->seed, 2))
			memcpy(page + i, before + i, SECTOR);
}

static uint64_t size_of(struct disk *d, int inode)
{
	int low = d->data[inode];
	int high = d->metadata > low ? d->metadata : low;
	int moment = d->choice->style == DISK_METADATA && disk_random(&d->seed, 2)
			     ? high
			     : choose_moment(d, low, high);
	uint64_t size = 0;

	for (int i = d->made[inode]; i < high; i++) {
		const struct op *op = &d->record->ops[i];

		if (op->inode != inode)
			continue;
		if (op->kind == OP_TRUNCATE && (i < d->metadata || i < low))
			size = op->offset;
		if (op->kind == OP_WRITE && i < moment && op->offset + op->size > size)
			size = op->offset + op->size;
	}
	return size;
}

static void make_content(struct disk *d, int inode, int fd)
{
	uint64_t size = size_of(d, inode);
	uint8_t page[PAGE];

	if (ftruncate(fd, (off_t)size))
		die("ftruncate");
	for (uint64_t k = 0; k * PAGE < size; k++) {
		size_t n = size - k * PAGE < PAGE ? (size_t)(size - k * PAGE) : PAGE;

		make_page(d, inode, k, page);
		if (pwrite(fd, page, n, (off_t)(k * PAGE)) != (ssize_t)n)
			die("pwrite");
	}
}

static void make_attributes(const struct disk *d, int inode, int fd)
{
	for (int i = d->made[inode]; i < d->metadata; i++) {
		const struct op *op = &d->record->ops[i];

		if (op->inode != inode)
			continue;
		if (op->kind == OP_XATTR && fsetxattr(fd, op->name, op->data, op->size, 0))
			die("fsetxattr");
		if (op->kind == OP_UNXATTR)
			(void)fremovexattr(fd, op->name);
	}
}

/*
 * The times that were set last, unless it was written to since; a write that was not
 * there may have moved them nevertheless.
 */
static void make_times(const struct disk *d, int inode, int fd)
{
	const struct op *set = NULL;

	for (int i = d->made[inode]; i < d->choice->n_ops; i++) {
		const struct op *op = &d->record->ops[i];

		if (op->inode != inode)
			continue;
		if (op->kind == OP_TIMES && i < d->metadata)
			set = op->size ? op : NULL;
		if (op->kind == OP_WRITE || op->kind == OP_TRUNCATE)
			set = NULL;
	}
	if (set && futimens(fd, (const struct timespec *)(const void *)set->data))
		die("futimens");
}

/* ---- the directory ------------------------------------------------------------ */

struct place {
	int inode;
	int dirfd;
	const char *name;
};

static void make_dir(struct disk *d, int inode, int fd);

static void make_inode(struct disk *d, const struct entry *e, int dirfd)
{
	const struct op *op = &d->record->ops[d->made[e->inode] - 1];
	int fd;

	if (S_ISLNK(op->mode)) {
		if (symlinkat((const char *)op->data, dirfd, e->name))
			die("symlinkat");
		return;
	}
	if (S_ISDIR(op->mode)) {
		if (mkdirat(dirfd, e->name, op->mode & 07777))
			die("mkdirat");
		fd = openat(dirfd, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		make_attributes(d, e->inode, fd);
		make_dir(d, e->inode, fd);
		close(fd);
		return;
	}
	if (!S_ISREG(op->mode)) {
		if (mknodat(dirfd, e->name, op->mode, op->rdev))
			die("mknodat");
		return;
	}
	fd = openat(dirfd, e->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, op->mode & 07777);
	if (fd < 0)
		die("openat");
	make_content(d, e->inode, fd);
	make_attributes(d, e->inode, fd);
	make_times(d, e->inode, fd);
	close(fd);
}

/* Hard links are made within one pass: the first name's path is remembered. */
static struct place *places;
static int n_places;

static const struct place *made_before(int inode)
{
	for (int i = 0; i < n_places; i++)
		if (places[i].inode == inode)
			return &places[i];
	return NULL;
}

static void make_dir(struct disk *d, int inode, int fd)
{
	for (int i = 0; i < d->n_entries; i++) {
		const struct entry *e = &d->entries[i];
		const struct place *there;

		if (e->dir != inode)
			continue;
		there = made_before(e->inode);
		if (there) {
			if (linkat(there->dirfd, there->name, fd, e->name, 0))
				die("linkat");
			continue;
		}
		make_inode(d, e, fd);
		places = must(realloc(places, (size_t)(n_places + 1) * sizeof(*places)));
		places[n_places++] = (struct place){ e->inode, fcntl(fd, F_DUPFD_CLOEXEC, 3),
						     e->name };
	}
}

void disk_make(const struct record *record, const struct disk_choice *choice, int dirfd)
{
	size_t n = (size_t)record->n_inodes + 1;
	struct disk d = { .record = record, .choice = choice, .seed = choice->seed };
	int most = choice->n_ops;

	d.data = must(calloc(n, sizeof(int)));
	d.last_size = must(calloc(n, sizeof(int)));
	d.last_any = must(calloc(n, sizeof(int)));
	d.made = must(calloc(n, sizeof(int)));
	d.sizes = must(calloc(n, sizeof(uint64_t)));
	find_durable(&d);
	if (choice->style == DISK_ALL || choice->style == DISK_METADATA)
		d.metadata = most;
	else if (choice->style != DISK_NONE && choice->style != DISK_DATA)
		d.metadata += (int)disk_random(&d.seed, (uint64_t)(most - d.metadata) + 1);
	replay_names(&d);
	d.made[1] = 1;
	make_attributes(&d, 1, dirfd);
	make_dir(&d, 1, dirfd);
	for (int i = 0; i < n_places; i++)
		close(places[i].dirfd);
	free(places);
	places = NULL;
	n_places = 0;
	free(d.data);
	free(d.last_size);
	free(d.last_any);
	free(d.made);
	free(d.sizes);
	free(d.entries);
}
