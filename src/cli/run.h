/* SPDX-License-Identifier: MIT */
/*
 * run - many jobs at once: hands (threads with a slot of the engine each) that
 * take the next job while there is one, and help with the large ones else.
 * A job that fails does not stop the others.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <stdatomic.h>
#include <stdint.h>

#include "cli/job.h"

/* What is to be done; answers are those of inputs_next. */
struct run_source {
	int (*next)(void *arg, struct input *next);
	void *arg;
};

/* What was done so far; read at any time. */
struct run_counts {
	_Atomic uint64_t n_bytes;   /* of the inputs */
	_Atomic uint64_t n_done;    /* files */
	_Atomic uint64_t n_skipped; /* they were done already */
	_Atomic uint64_t n_skipped_bytes;
	_Atomic uint64_t n_failed;
};

struct run_options {
	uint32_t n_hands;	/* 1..ENGINE_MAX_SLOTS */
	uint32_t n_open;	/* files in work at a time, at most */
	void (*say)(void *arg); /* somebody asks by SIGUSR1 how far it is */
	void *arg;
};

/*
 * Do all of source: the exit status, that of the failures if they have the
 * same, else STATUS_SYSTEM.  SIGINT, SIGTERM and SIGHUP end it early, with no
 * output left half: *stopped_by is the signal, which stays blocked, or 0.
 */
int run_jobs(struct engine *e, const struct job_rules *rules, const struct run_source *source,
	     const struct run_options *options, struct run_counts *counts, int *stopped_by);

#endif /* CLI_RUN_H */
