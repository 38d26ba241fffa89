/* SPDX-License-Identifier: MIT */
/*
 * Regular files: their headers, and every block.
 *
 * The walk puts files on a list; threads take them from it.  Who opened a file
 * goes through it in pieces that are groups of blocks, and who has nothing
 * else to do takes pieces of it, too: while one waits for the disk another
 * decrypts.  The last one out says what was found and closes the file.
 */
#include "fs/check_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "fs/backing.h"
#include "fs/check_ranges.h"
#include "fs/replay.h"

enum {
	MAX_WAITING = 64, /* files on the list */
	MAX_THREADS = 64, /* as there are slots */
	PIECE_GROUPS = 4, /* 1 MiB */
};

struct job {
	struct job *next;
	struct check_entry entry; /* its directory is referenced */
	uint8_t binding[FORMAT_BINDING_SIZE];
	bool first_name; /* of several: the others need not be read */
	bool in_place;
	struct file *file;
	struct file_state state;
	struct salvage_file copy;

	/* All under the lock of the list. */
	uint64_t at; /* where the next piece begins; a group does there */
	unsigned int busy;
	bool failed; /* no more pieces: stopped, or no memory */
	struct check_ranges bad;
	uint64_t bytes;
	uint64_t work_told;
};

struct check_jobs {
	struct check *c;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *waiting, **waiting_end;
	struct job *open; /* files with pieces to be had */
	unsigned int n_waiting;
	unsigned int n_busy; /* files that are not done, waiting or open */
	bool closed;
	uint32_t n_threads;
	pthread_t threads[MAX_THREADS];
	struct io *io[MAX_THREADS];
	uint32_t n_io;
	uint32_t n_started;
};

/* ---- one file: beginning -------------------------------------------------- */

static void tell(struct check *c, struct job *job, enum check_kind kind)
{
	check_tell(c, kind, job->entry.dir, &job->entry, NULL);
}

static void trouble(struct check *c, struct job *job, int error)
{
	const struct check_what what = { .error = error };

	check_tell(c, error == EIO ? CHECK_UNREADABLE : CHECK_NO_ACCESS, job->entry.dir,
		   &job->entry, &what);
}

/* Nothing at all is in it: a creation that died where files cannot be made without a name. */
static void remove_empty(struct check *c, struct job *job)
{
	const struct check_entry *e = &job->entry;
	struct check_what what = { .tried = c->options.repair };

	if (what.tried) {
		what.repair = repair_remove(e->dir->fd, e->stored);
		if (!what.repair)
			names_sidecar_remove(e->dir->fd, e->stored);
	}
	check_tell(c, CHECK_EMPTY_FILE, e->dir, e, &what);
}

static int open_backing(struct job *job)
{
	const struct check_entry *e = &job->entry;
	struct stat st;
	int fd = backing_open(e->dir->fd, e->stored, O_RDONLY, false);

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_ino == e->st.st_ino)
		return fd;
	fdio_close(fd);
	return -ESTALE;
}

static void judge_place(struct check *c, struct job *job)
{
	const struct check_entry *e = &job->entry;

	if (c->store->suite == CIPHER_XOR) {
		job->in_place = e->named;
		return;
	}
	job->in_place = e->named && file_is_bound(job->file, job->binding);
	if (e->named && !job->in_place)
		tell(c, job, CHECK_MISPLACED);
	if (job->in_place && job->first_name && !check_is_new(c, c->file_ids, file_id(job->file)))
		tell(c, job, CHECK_DUPLICATE);
}

/* Why a block (or JOURNAL_SMALL) does not open. */
static enum check_kind why_bad(const struct check *c, const struct job *job, uint64_t block)
{
	if (!(job->state.flags & FORMAT_DIRTY))
		return CHECK_FORGED;
	return replay_is_pending(c->options.pending, file_id(job->file), job->state.sequence, block)
		       ? CHECK_JOURNAL
		       : CHECK_TORN;
}

/* What is wrong with the frame; what of it has a range is told at the end. */
static void judge_frame(struct check *c, struct job *job)
{
	const struct file_state *s = &job->state;
	uint64_t longest = s->length > s->sealed ? s->length : s->sealed;
	bool small = s->flags & FORMAT_SMALL;
	bool dirty = s->flags & FORMAT_DIRTY;
	int r = 0;

	if (!s->damaged || (dirty && !s->is_small))
		return; /* its blocks will say */
	if (s->is_small && (dirty || !small)) {
		/* Neither of its headers opens what is there, or it was in blocks. */
		r = check_ranges_add(&job->bad, 0, longest,
				     dirty ? why_bad(c, job, JOURNAL_SMALL) : CHECK_CUT);
		job->at = s->length;
	} else if (s->length < s->sealed) {
		r = check_ranges_add(&job->bad, s->length, s->sealed, CHECK_CUT);
	} else if (s->backing_size >
		   (s->is_small ? format_small_size(s->sealed) : format_big_size(s->sealed))) {
		tell(c, job, CHECK_EXTENDED);
	} else if (!s->is_small) {
		tell(c, job, CHECK_SHAPE); /* small content says so itself */
	}
	job->failed = r;
}

/* True if there is a file now whose content is to be looked at. */
static bool begin(struct check *c, struct io *io, struct job *job)
{
	const struct check_entry *e = &job->entry;
	int fd = open_backing(job);
	int r;

	if (fd < 0) {
		trouble(c, job, -fd);
		return false;
	}
	if (c->store->suite != CIPHER_XOR && e->st.st_size == 0) {
		fdio_close(fd);
		remove_empty(c, job);
		return false;
	}
	r = file_open_anyhow(c->store, io, fd, &job->state, &job->file);
	if (r == FILE_DAMAGED)
		tell(c, job, CHECK_HEADER);
	else if (r)
		trouble(c, job, -r);
	if (r)
		return false;
	format_binding(c->keys, e->dir->id, e->stored, job->binding);
	judge_place(c, job);
	if (job->first_name) {
		judge_frame(c, job);
		check_attrs(c, file_fd(job->file), file_id(job->file), KEYS_FILE_ID_SIZE, e->dir,
			    e);
	}
	if (c->store->suite == CIPHER_XOR && !c->options.salvage)
		job->at = job->state.length; /* nothing in it could be wrong */
	salvage_begin_file(c, e, job->in_place, job->first_name, &job->copy);
	return job->first_name;
}

/* ---- its pieces ------------------------------------------------------------ */

/* Bytes of the piece that begins at a group's first byte. */
static size_t piece_size(const struct job *job)
{
	uint64_t first = format_group(job->at / FORMAT_BLOCK_SIZE);
	uint64_t end = format_group_first(first ? first + PIECE_GROUPS : 1) * FORMAT_BLOCK_SIZE;

	return (size_t)((end < job->state.length ? end : job->state.length) - job->at);
}

/* Take the next piece of a file; the lock is held. */
static bool take_piece(struct check *c, struct job *job, uint64_t *at, size_t *size)
{
	uint64_t end;

	if (job->failed || check_is_stopped(c) || job->at >= job->state.length)
		return false;
	while (file_skip_hole(job->file, job->at, &end)) {
		job->at = end;
		if (job->at >= job->state.length)
			return false;
	}
	*at = job->at;
	*size = piece_size(job);
	job->at += *size;
	return true;
}

/* The piece could not be read as a whole: block by block, then. */
static int read_blocks(struct check_jobs *jobs, struct io *io, struct job *job, uint64_t at,
		       size_t size, struct check_ranges *bad)
{
	uint64_t end = at + size;
	int r = 0;

	for (; at < end && !r && !check_is_stopped(jobs->c); at += FORMAT_BLOCK_SIZE) {
		size_t left = end - at < FORMAT_BLOCK_SIZE ? (size_t)(end - at) : FORMAT_BLOCK_SIZE;
		const void *data;
		uint64_t block;
		size_t done;
		int got = file_read(job->file, io, at, left, &data, &done, &block);

		if (!got && done == left)
			salvage_write(jobs->c, &job->copy, data, left, at);
		else if (got == -EIO)
			r = check_ranges_add(bad, at, at + left, CHECK_UNREADABLE);
		else if (got >= 0)
			r = check_ranges_add(bad, at, at + left,
					     why_bad(jobs->c, job, at / FORMAT_BLOCK_SIZE));
		else
			r = got;
	}
	return r;
}

static int read_small(struct check_jobs *jobs, struct io *io, struct job *job,
		      struct check_ranges *bad)
{
	size_t size = (size_t)job->state.length;
	const void *data;
	uint64_t block;
	size_t done;
	int r = file_read(job->file, io, 0, size, &data, &done, &block);

	if (!r && done == size)
		salvage_write(jobs->c, &job->copy, data, size, 0);
	else if (r >= 0 || r == -EIO)
		return check_ranges_add(bad, 0, size,
					r < 0 ? CHECK_UNREADABLE
					      : why_bad(jobs->c, job, JOURNAL_SMALL));
	return r < 0 ? r : 0;
}

static int read_piece(struct check_jobs *jobs, struct io *io, struct job *job, uint64_t at,
		      size_t size, struct check_ranges *bad)
{
	const void *data;
	uint64_t block;
	size_t done;
	int r;

	if (job->state.is_small)
		return read_small(jobs, io, job, bad);
	r = file_read(job->file, io, at, size, &data, &done, &block);
	if (!r && done == size)
		salvage_write(jobs->c, &job->copy, data, size, at);
	else if (r >= 0 || r == -EIO)
		r = read_blocks(jobs, io, job, at, size, bad);
	return r;
}

/* Work on one piece; the lock is held, but not meanwhile. */
static void do_piece(struct check_jobs *jobs, struct io *io, struct job *job, uint64_t at,
		     size_t size)
{
	struct check_ranges bad = { 0 };
	int r;

	pthread_mutex_unlock(&jobs->lock);
	r = read_piece(jobs, io, job, at, size, &bad);
	pthread_mutex_lock(&jobs->c->lock);
	jobs->c->counts.bytes += size;
	jobs->c->counts.work += size;
	pthread_mutex_unlock(&jobs->c->lock);
	pthread_mutex_lock(&jobs->lock);

	for (size_t i = 0; i < bad.n && !r; i++)
		r = check_ranges_add(&job->bad, bad.list[i].start, bad.list[i].end,
				     bad.list[i].why);
	check_ranges_fini(&bad);
	job->work_told += size;
	if (r) {
		job->failed = true;
		trouble(jobs->c, job, -r);
	}
}

/* ---- its end --------------------------------------------------------------- */

/* True if the file needs what settling does, or its header renewed. */
static void settle(struct check *c, struct io *io, struct job *job)
{
	const struct file_state *s = &job->state;
	bool change = s->flags & (FORMAT_GROWING | FORMAT_SHRINKING);
	bool dirty = s->flags & FORMAT_DIRTY;
	bool two = s->is_bound_twice && job->in_place;
	struct check_what what = { 0 };

	if (!dirty && !two && !s->slot_is_damaged)
		return;
	/* What does not open stays as it is, and so does the mark that says why. */
	what.tried = c->options.repair && !job->bad.n && !s->damaged && job->in_place;
	if (what.tried)
		what.repair = repair_file(c, io, &job->entry, job->binding, s->slot_is_damaged);
	if (change)
		check_tell(c, CHECK_UNFINISHED_CHANGE, job->entry.dir, &job->entry, &what);
	else if (dirty)
		check_tell(c, CHECK_UNSETTLED, job->entry.dir, &job->entry, &what);
	if (two)
		check_tell(c, CHECK_TWO_PLACES, job->entry.dir, &job->entry, &what);
	if (s->slot_is_damaged)
		check_tell(c, CHECK_HEADER_SLOT, job->entry.dir, &job->entry, &what);
}

static void tell_ranges(struct check *c, struct job *job)
{
	check_ranges_join(&job->bad);
	for (size_t i = 0; i < job->bad.n; i++) {
		const struct check_range *range = &job->bad.list[i];
		const struct check_what what = { .has_range = true,
						 .start = range->start,
						 .end = range->end };

		check_tell(c, (enum check_kind)range->why, job->entry.dir, &job->entry, &what);
	}
}

static void end(struct check_jobs *jobs, struct io *io, struct job *job)
{
	struct check *c = jobs->c;
	uint64_t work = check_work(&job->entry.st);

	if (job->file) {
		tell_ranges(c, job);
		if (!job->failed && !check_is_stopped(c) && job->first_name)
			settle(c, io, job);
		salvage_end_file(c, &job->entry, job->file, &job->copy, &job->state);
	}
	pthread_mutex_lock(&c->lock);
	c->counts.files += job->first_name && !check_is_stopped(c);
	c->counts.work += work > job->work_told ? work - job->work_told : 0;
	pthread_mutex_unlock(&c->lock);
	file_close(job->file);
	check_dir_unref(c, job->entry.dir);
	check_ranges_fini(&job->bad);
	free(job);
}

/* ---- threads ----------------------------------------------------------------- */

static void unlist(struct check_jobs *jobs, struct job *job)
{
	struct job **at = &jobs->open;

	while (*at && *at != job)
		at = &(*at)->next;
	if (*at)
		*at = job->next;
}

/* Pieces of a file until there are none; the lock is held. */
static void work_on(struct check_jobs *jobs, struct io *io, struct job *job)
{
	uint64_t at;
	size_t size;
	bool last;

	job->busy++;
	while (take_piece(jobs->c, job, &at, &size))
		do_piece(jobs, io, job, at, size);
	unlist(jobs, job);
	last = --job->busy == 0;
	if (!last)
		return;
	pthread_mutex_unlock(&jobs->lock);
	end(jobs, io, job);
	pthread_mutex_lock(&jobs->lock);
	jobs->n_busy--;
	pthread_cond_broadcast(&jobs->changed);
}

/* Open a file that waited; the lock is held. */
static void work_on_new(struct check_jobs *jobs, struct io *io, struct job *job)
{
	bool has_content = false;

	jobs->n_waiting--;
	pthread_mutex_unlock(&jobs->lock);
	if (!check_is_stopped(jobs->c))
		has_content = begin(jobs->c, io, job);
	pthread_mutex_lock(&jobs->lock);
	if (!has_content)
		job->failed = true; /* no piece of it */
	if (has_content && job->state.length > (uint64_t)IO_MAX_SIZE) {
		job->next = jobs->open;
		jobs->open = job;
	}
	pthread_cond_broadcast(&jobs->changed);
	work_on(jobs, io, job);
}

static void *run(void *arg)
{
	struct check_jobs *jobs = arg;
	struct io *io;

	pthread_mutex_lock(&jobs->lock);
	io = jobs->io[jobs->n_started++];
	while (!jobs->closed || jobs->n_busy) {
		struct job *job = jobs->open;

		if (job) {
			work_on(jobs, io, job);
			continue;
		}
		job = jobs->waiting;
		if (job) {
			jobs->waiting = job->next;
			if (!jobs->waiting)
				jobs->waiting_end = &jobs->waiting;
			work_on_new(jobs, io, job);
			continue;
		}
		pthread_cond_wait(&jobs->changed, &jobs->lock);
	}
	pthread_mutex_unlock(&jobs->lock);
	cipher_thread_fini();
	return NULL;
}

int check_jobs_add(struct check_jobs *jobs, const struct check_entry *entry)
{
	struct check *c = jobs->c;
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->entry = *entry;
	job->copy = SALVAGE_NO_FILE;
	job->first_name = true;
	if (entry->st.st_nlink > 1) {
		uint8_t key[CHECK_KEY_SIZE];

		bytes_put64(key, entry->st.st_ino);
		bytes_put64(key + 8, entry->st.st_dev);
		job->first_name = check_is_new(c, c->linked, key);
	}
	check_dir_ref(entry->dir);
	pthread_mutex_lock(&jobs->lock);
	while (jobs->n_waiting >= MAX_WAITING)
		pthread_cond_wait(&jobs->changed, &jobs->lock);
	*jobs->waiting_end = job;
	jobs->waiting_end = &job->next;
	jobs->n_waiting++;
	jobs->n_busy++;
	pthread_cond_broadcast(&jobs->changed);
	pthread_mutex_unlock(&jobs->lock);
	/* Its copy must be there before it gets a second name. */
	if (c->options.salvage && entry->st.st_nlink > 1)
		check_jobs_drain(jobs);
	return 0;
}

void check_jobs_drain(struct check_jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	while (jobs->n_busy)
		pthread_cond_wait(&jobs->changed, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
}

int check_jobs_new(struct check *c, uint32_t threads, struct check_jobs **out)
{
	struct check_jobs *jobs = calloc(1, sizeof(*jobs));
	int r = 0;

	*out = NULL;
	if (!jobs)
		return -ENOMEM;
	jobs->c = c;
	jobs->waiting_end = &jobs->waiting;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->changed, NULL);
	for (uint32_t i = 0; i < threads && i < MAX_THREADS && !r; i++) {
		r = io_new(c->store, &jobs->io[i]);
		jobs->n_io += !r;
	}
	for (uint32_t i = 0; i < jobs->n_io && !r; i++) {
		r = -pthread_create(&jobs->threads[i], NULL, run, jobs);
		jobs->n_threads += !r;
	}
	if (jobs->n_threads) {
		*out = jobs;
		return 0; /* fewer will do */
	}
	check_jobs_free(jobs);
	return r ? r : -EINVAL;
}

void check_jobs_finish(struct check_jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->closed = true;
	pthread_cond_broadcast(&jobs->changed);
	pthread_mutex_unlock(&jobs->lock);
	for (uint32_t i = 0; i < jobs->n_threads; i++) {
		(void)pthread_join(jobs->threads[i], NULL);
	}
	for (uint32_t i = 0; i < jobs->n_io; i++)
		io_free(jobs->io[i]);
	jobs->n_threads = jobs->n_io = 0;
}

void check_jobs_free(struct check_jobs *jobs)
{
	if (!jobs)
		return;
	check_jobs_finish(jobs);
	pthread_cond_destroy(&jobs->changed);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}
