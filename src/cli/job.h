/* SPDX-License-Identifier: MIT */
/*
 * job - one input to one output: what `cryptfs encrypt` and `decrypt` do with
 * a file, from opening it to the name of the result.  Says what fails in one
 * line each.
 *
 * Results are exit statuses.
 */
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cli/inputs.h"
#include "engine/engine.h"
#include "fs/container_keys.h"
#include "fs/convert.h"
#include "fs/vault.h"

/* What all jobs of a run share; borrowed by them. */
struct job_rules {
	enum convert_way way;
	struct container_keys *keys;	/* SEAL, OPEN */
	struct container_header header; /* SEAL: suite, kdf, salt; the id is each job's own */
	const struct vault_secret *xor_key;
	bool force;		   /* replace what has the output's name */
	bool resumes;		   /* leave alone what is done already */
	bool is_many;		   /* who runs the jobs brings their names to disk in the end */
	bool is_in_place;	   /* outputs take the place of their inputs */
	_Atomic uint64_t *n_bytes; /* as in struct convert_spec */
};

struct job;

enum {
	JOB_DONE = -1, /* there is nothing left to do */
	JOB_MORE = -2, /* there is a further conversion */
};

/*
 * Open the input and begin the output ("-": standard input and output), whose
 * names are borrowed: STATUS_OK and *out, what went wrong, or JOB_DONE.
 */
int job_new(const struct job_rules *rules, const struct input *files, struct job **out);

/* The conversion, for hands to work at. */
struct convert *job_convert(struct job *j);

/*
 * Its result is r.  JOB_MORE if another one follows; else the output is finished
 * and the job freed, and this is the exit status.
 */
int job_end(struct job *j, int r);

#endif /* CLI_JOB_H */
