/* SPDX-License-Identifier: MIT */
/*
 * status - what a running mount tells about itself: one JSON object of
 * counters since its start, and what it decided.  Nothing of it is secret,
 * and making it does not touch the vault or the mount.
 */
#ifndef FS_STATUS_H
#define FS_STATUS_H

#include <time.h>

#include "fs/confine.h"
#include "fs/control.h"
#include "fs/device.h"
#include "fs/expiry.h"
#include "fs/io.h"
#include "fs/options.h"

/* Where it is looked up; all of it borrowed. */
struct status {
	const struct options *options;
	const struct store *store;
	struct device *device;
	const struct expiry *expiry;
	const atomic_bool *suspended;
	const struct confine_report *confine;
	struct timespec start; /* CLOCK_BOOTTIME */
};

/* Set the start to now. */
void status_start(struct status *s);

/* A control_answer: arg is a struct status, the command it knows is "status". */
char *status_answer(void *arg, const struct control_question *q);

#endif /* FS_STATUS_H */
