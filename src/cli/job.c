/* SPDX-License-Identifier: MIT */
/* One input to one output: see job.h for the contract. */
#include "cli/job.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/attrs.h"
#include "fs/exitcode.h"
#include "fs/newfile.h"
#include "fs/undo.h"

struct job {
	const struct job_rules *rules;
	const char *input;
	const char *output;
	bool was_found;
	int in;
	struct stat in_stat;
	struct newfile file; /* of a regular output */
	int out;	     /* of any other */
	struct container_keyset *keyset;
	struct convert *convert;
	bool is_rewritten; /* by xor in place, window by window */
	struct undo_file undo;
	struct undo_window window;
};

enum {
	WINDOW_SIZE = 16 << 20,
};

/* ---- saying what failed ------------------------------------------------ */

static const char *shown(const char *path, const char *stream)
{
	return strcmp(path, "-") ? path : stream;
}

static const char *verb(const struct job *j)
{
	return j->rules->way == CONVERT_OPEN ? "decrypt" : "encrypt";
}

/* Who was told to end (-ECANCELED; reads that a signal ended) has nothing to say. */
static int fail_system(const struct job *j, int error)
{
	if (error != -ECANCELED && error != -EINTR)
		log_error("cannot %s %s: %s", verb(j), shown(j->input, "standard input"),
			  strerror(-error));
	return STATUS_SYSTEM;
}

static int fail(const struct job *j, int status, const char *why)
{
	log_error("cannot %s %s: %s", verb(j), shown(j->input, "standard input"), why);
	return status;
}

static int fail_output(const struct job *j, int error)
{
	log_error("cannot write %s: %s", shown(j->output, "standard output"),
		  error == NEWFILE_EXISTS ? "it is there already (--force replaces it)"
					  : strerror(-error));
	return error == NEWFILE_EXISTS ? STATUS_USAGE : STATUS_SYSTEM;
}

static int fail_container(const struct job *j, int r)
{
	switch (r) {
	case CONTAINER_NOT_ONE:
		return fail(j, STATUS_NOT_FOUND, "not encrypted by cryptfs encrypt");
	case CONTAINER_DAMAGED:
		return fail(j, STATUS_DAMAGED, "its header is damaged");
	case CONTAINER_TOO_NEW:
		return fail(j, STATUS_SYSTEM, "made by a newer cryptfs (update cryptfs)");
	case CONTAINER_WRONG_KEY:
		return fail(j, STATUS_WRONG_KEY, "wrong passphrase or key (try again)");
	default:
		return fail(j, STATUS_SYSTEM, exitcode_vault_message(r));
	}
}

static int fail_convert(const struct job *j, int r)
{
	char why[80];

	switch (r) {
	case CONVERT_DAMAGED:
		(void)snprintf(why, sizeof(why), "damaged at byte %" PRIu64 " of its content",
			       convert_where(j->convert));
		return fail(j, STATUS_DAMAGED, why);
	case CONVERT_CUT:
		return fail(j, STATUS_DAMAGED, "damaged: its end is missing");
	case CONVERT_CHANGED:
		return fail(j, STATUS_SYSTEM, "it changed while it was read");
	default:
		return fail_system(j, r);
	}
}

/* ---- opening ----------------------------------------------------------- */

static int open_input(struct job *j)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY;

	if (j->was_found || j->rules->is_in_place)
		flags |= O_NOFOLLOW;
	if (j->is_rewritten)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	j->in = strcmp(j->input, "-") ? open(j->input, flags)
				      : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	if (j->in < 0 || fstat(j->in, &j->in_stat))
		return fail_system(j, -errno);
	if (S_ISDIR(j->in_stat.st_mode))
		return fail(j, STATUS_USAGE, strerror(EISDIR));
	if (!j->rules->is_in_place)
		return STATUS_OK;
	if (!S_ISREG(j->in_stat.st_mode))
		return fail(j, STATUS_USAGE, "not a file that could be replaced");
	if (j->in_stat.st_nlink > 1)
		return fail(j, STATUS_USAGE, "it has other names (hard links), which would stay");
	return STATUS_OK;
}

/* A pipe or device that is there is written to as it is. */
static int open_stream(struct job *j, const struct stat *st)
{
	if (strcmp(j->output, "-") == 0)
		j->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	else if (S_ISDIR(st->st_mode))
		errno = EISDIR;
	else
		j->out = open(j->output, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return j->out < 0 ? fail_output(j, -errno) : STATUS_OK;
}

/* What a run made has the time of its input. */
static bool is_done_already(const struct job *j, const struct stat *st)
{
	const struct timespec *a = &j->in_stat.st_mtim;
	const struct timespec *b = &st->st_mtim;

	return j->rules->resumes && S_ISREG(st->st_mode) && a->tv_sec == b->tv_sec &&
	       (a->tv_nsec == b->tv_nsec || b->tv_nsec == 0);
}

static int begin_file(struct job *j)
{
	int r = newfile_begin(j->output, &j->file);

	return r ? fail_output(j, r) : STATUS_OK;
}

static int open_output(struct job *j)
{
	struct stat st;
	bool is_there = strcmp(j->output, "-") != 0 && stat(j->output, &st) == 0;

	if (j->rules->is_in_place)
		return begin_file(j);
	if (strcmp(j->output, "-") == 0 || (is_there && !S_ISREG(st.st_mode)))
		return open_stream(j, &st);
	if (is_there && st.st_dev == j->in_stat.st_dev && st.st_ino == j->in_stat.st_ino)
		return fail(j, STATUS_USAGE, "input and output are the same file");
	if (is_there && is_done_already(j, &st))
		return JOB_DONE;
	if (is_there && !j->rules->force)
		return fail_output(j, NEWFILE_EXISTS);
	return begin_file(j);
}

/* An empty file may be one of /proc, that is not empty at all. */
static bool reads_as_stream(const struct job *j)
{
	return !S_ISREG(j->in_stat.st_mode) || j->in_stat.st_size == 0;
}

/* In place, what is in the file says whether it was done. */
static bool is_done_in_place(const struct job *j, const uint8_t raw[CONTAINER_HEADER_SIZE])
{
	struct container_header header;
	bool is_container = container_header_decode(raw, &header) != CONTAINER_NOT_ONE;

	return j->rules->is_in_place && j->rules->resumes &&
	       is_container == (j->rules->way == CONVERT_SEAL);
}

/* The first bytes of a container: their number or -errno. */
static ssize_t read_header(struct job *j, uint8_t raw[CONTAINER_HEADER_SIZE])
{
	size_t done = 0;

	if (!reads_as_stream(j))
		return fdio_pread_some(j->in, raw, CONTAINER_HEADER_SIZE, 0);
	while (done < CONTAINER_HEADER_SIZE) {
		ssize_t n = read(j->in, raw + done, CONTAINER_HEADER_SIZE - done);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int read_container(struct job *j, struct convert_spec *spec)
{
	uint8_t raw[CONTAINER_HEADER_SIZE] = { 0 };
	struct container_header header;
	ssize_t n = read_header(j, raw);
	int r;

	if (n < 0)
		return fail_system(j, (int)n);
	if (is_done_in_place(j, raw))
		return JOB_DONE;
	r = container_header_decode(raw, &header);
	if (!r)
		r = container_keys_get(j->rules->keys, &header, &j->keyset);
	if (!r)
		r = container_header_check(raw, container_keyset_ring(j->keyset));
	if (r)
		return fail_container(j, r);
	spec->key.suite = header.suite;
	memcpy(spec->key.id, header.id, sizeof(header.id));
	spec->in.offset = CONTAINER_HEADER_SIZE;
	return STATUS_OK;
}

static int write_container(struct job *j, struct convert_spec *spec)
{
	struct container_header header = j->rules->header;
	uint8_t raw[CONTAINER_HEADER_SIZE] = { 0 };
	int r;

	if (j->rules->is_in_place) {
		ssize_t n = fdio_pread_some(j->in, raw, sizeof(raw), 0);

		if (n < 0)
			return fail_system(j, (int)n);
		if (is_done_in_place(j, raw))
			return JOB_DONE;
	}
	if (getrandom(header.id, sizeof(header.id), 0) != (ssize_t)sizeof(header.id))
		return fail(j, STATUS_SYSTEM, "no random bytes to be had");
	r = container_keys_get(j->rules->keys, &header, &j->keyset);
	if (r)
		return fail_container(j, r);
	container_header_encode(&header, container_keyset_ring(j->keyset), raw);
	r = spec->out.is_stream ? fdio_write_full(spec->out.fd, raw, sizeof(raw))
				: fdio_pwrite_full(spec->out.fd, raw, sizeof(raw), 0);
	if (r)
		return fail_output(j, r);
	spec->key.suite = header.suite;
	memcpy(spec->key.id, header.id, sizeof(header.id));
	spec->out.offset = CONTAINER_HEADER_SIZE;
	return STATUS_OK;
}

/* Have the conversion of the window. */
static int convert_window(struct job *j)
{
	const struct vault_secret *key = j->rules->xor_key;
	const struct convert_spec spec = {
		.way = CONVERT_XOR,
		.key = { .suite = CIPHER_XOR, .xor_key = key->bytes, .xor_size = key->size },
		.in = { .fd = j->in,
			.offset = j->window.start,
			.size = j->window.start + j->window.size },
		.out = { .fd = j->in },
		.n_bytes = j->rules->n_bytes,
	};

	convert_free(j->convert);
	return convert_new(&spec, &j->convert);
}

/* Go to the window that starts there, with its bytes saved: 0 or -errno. */
static int save_window(struct job *j, uint64_t start)
{
	uint64_t left = (uint64_t)j->in_stat.st_size - start;
	int r;

	j->window = (struct undo_window){ start, left < WINDOW_SIZE ? left : WINDOW_SIZE };
	r = undo_save(&j->undo, &j->window);
	return r ? r : convert_window(j);
}

static int fail_rewrite(const struct job *j, int r)
{
	if (r == -EKEYREJECTED)
		return fail(j, STATUS_WRONG_KEY, "another key was used for what is done of it");
	if (r == -EBADMSG)
		return fail(j, STATUS_DAMAGED, "what was saved of it is damaged");
	return fail_system(j, r);
}

/* Begin, or go on where an earlier run was stopped. */
static int begin_rewrite(struct job *j)
{
	const struct vault_secret *key = j->rules->xor_key;
	int status = open_input(j);
	int r;

	if (status)
		return status;
	j->undo = (struct undo_file){ .path = j->input, .fd = j->in };
	(void)crypto_generichash(j->undo.key, sizeof(j->undo.key), key->bytes, key->size, NULL, 0);
	if (j->rules->resumes) {
		r = undo_restore(&j->undo, &j->window);
		if (r == UNDO_NONE)
			return fail(j, STATUS_USAGE, "nothing to resume: not begun, or all done");
		if (!r)
			r = convert_window(j);
	} else if (undo_is_there(&j->undo)) {
		return fail(j, STATUS_USAGE, "an earlier run did a part of it (--resume goes on)");
	} else {
		r = save_window(j, 0);
	}
	return r ? fail_rewrite(j, r) : STATUS_OK;
}

static int begin(struct job *j)
{
	const struct job_rules *rules = j->rules;
	struct convert_spec spec = { .way = rules->way, .n_bytes = rules->n_bytes };
	int status = open_input(j);

	if (!status)
		status = open_output(j);
	if (status)
		return status;
	spec.in = (struct convert_end){ .fd = j->in,
					.is_stream = reads_as_stream(j),
					.size = (uint64_t)j->in_stat.st_size };
	spec.out.is_stream = j->out >= 0;
	spec.out.fd = spec.out.is_stream ? j->out : j->file.fd;
	if (rules->way == CONVERT_XOR) {
		spec.key.suite = CIPHER_XOR;
		spec.key.xor_key = rules->xor_key->bytes;
		spec.key.xor_size = rules->xor_key->size;
	} else {
		status = rules->way == CONVERT_OPEN ? read_container(j, &spec)
						    : write_container(j, &spec);
		if (status)
			return status;
		spec.key.keys = container_keyset_ring(j->keyset);
	}
	return convert_new(&spec, &j->convert) ? fail_system(j, -ENOMEM) : STATUS_OK;
}

static void job_free(struct job *j)
{
	convert_free(j->convert);
	if (j->keyset)
		container_keys_put(j->rules->keys, j->keyset);
	newfile_discard(&j->file);
	fdio_close(j->out);
	fdio_close(j->in);
	free(j);
}

int job_new(const struct job_rules *rules, const struct input *files, struct job **out)
{
	struct job *j = calloc(1, sizeof(*j));
	int status;

	*out = NULL;
	if (!j) {
		log_error("cannot begin %s: %s", files->path, strerror(ENOMEM));
		return STATUS_SYSTEM;
	}
	*j = (struct job){ .rules = rules,
			   .input = files->path,
			   .output = files->output,
			   .was_found = files->was_found,
			   .in = -1,
			   .out = -1 };
	j->file = (struct newfile){ .fd = -1, .dirfd = -1 };
	j->is_rewritten = rules->is_in_place && rules->way == CONVERT_XOR;
	status = j->is_rewritten ? begin_rewrite(j) : begin(j);
	if (status)
		job_free(j);
	else
		*out = j;
	return status;
}

struct convert *job_convert(struct job *j)
{
	return j->convert;
}

/* ---- ending ------------------------------------------------------------ */

static bool has_changed(const struct job *j)
{
	struct stat now;

	return S_ISREG(j->in_stat.st_mode) &&
	       (fstat(j->in, &now) || now.st_size != j->in_stat.st_size ||
		now.st_mtim.tv_sec != j->in_stat.st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != j->in_stat.st_mtim.tv_nsec);
}

/* User attributes and ACLs, as far as they can be had; mode is what is left to set. */
static void keep_attributes(const struct job *j, mode_t *mode)
{
	int r = attrs_copy_user(j->in, j->file.fd);

	if (r)
		log_warn("%s does not have all attributes of its input: %s", j->output,
			 strerror(-r));
	r = attrs_copy_acl(j->in, j->file.fd, mode);
	if (r)
		log_warn("%s does not have the ACL of its input, and its group no rights: %s",
			 j->output, strerror(r < 0 ? -r : EOPNOTSUPP));
}

/* Bring the output to its name: the exit status. */
static int finish(struct job *j)
{
	const struct job_rules *rules = j->rules;
	struct stat *st = &j->in_stat;
	const struct newfile_end end = {
		.like = S_ISREG(st->st_mode) ? st : NULL,
		.replace = rules->force || rules->is_in_place,
		.syncs_name = !rules->is_many,
	};
	int r = 0;

	if (rules->is_in_place && (st->st_uid != geteuid() || st->st_gid != getegid()) &&
	    fchown(j->file.fd, st->st_uid, st->st_gid))
		r = -errno;
	if (!r && end.like)
		keep_attributes(j, &st->st_mode);
	if (!r)
		r = newfile_commit(&j->file, &end);
	return r ? fail_output(j, r) : STATUS_OK;
}

/* A window is done, or not: on to the next one. */
static int end_window(struct job *j, int r)
{
	const struct timespec times[2] = { j->in_stat.st_atim, j->in_stat.st_mtim };
	uint64_t end = j->window.start + j->window.size;
	int status = STATUS_OK;

	if (!r && fsync(j->in))
		r = -errno;
	if (!r && end < (uint64_t)j->in_stat.st_size) {
		r = save_window(j, end);
		if (!r)
			return JOB_MORE;
	}
	if (!r && futimens(j->in, times))
		r = -errno;
	if (!r)
		r = undo_finish(&j->undo);
	if (r)
		status = fail_rewrite(j, r);
	if (r)
		log_warn("%s is done in part (run it again with --resume)", j->input);
	job_free(j);
	return status;
}

int job_end(struct job *j, int r)
{
	int status = STATUS_OK;

	if (j->is_rewritten)
		return end_window(j, r);

	if (!r && has_changed(j))
		r = CONVERT_CHANGED;
	if (r) {
		status = fail_convert(j, r);
	} else if (j->out < 0) {
		status = finish(j);
	}
	job_free(j);
	return status;
}
