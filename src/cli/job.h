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
	_Atomic uint64_t *n_bytes; /* as in struct convert_spec */
};

struct job;

/*
 * Open input and begin output ("-": standard input and output), both borrowed:
 * STATUS_OK and *out, or what went wrong.
 */
int job_new(const struct job_rules *rules, const char *input, const char *output, struct job **out);

/* The conversion, for hands to work at. */
struct convert *job_convert(struct job *j);

/* Its result is r: finish the output and free the job.  The exit status. */
int job_end(struct job *j, int r);

#endif /* CLI_JOB_H */
