/* SPDX-License-Identifier: MIT */
/*
 * watch - signals of a long command, by a thread of their own: SIGINT, SIGTERM and SIGHUP ask it
 * to end (a second one does not ask), SIGUSR1 how far it is.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cli/progress.h"

struct watch {
	atomic_bool stop; /* set when a signal asks for it */
	struct progress *progress;
	pthread_t thread;
	bool is_running;
	int stopped_by;
};

/* From now on SIGUSR1 waits for watch_start; before there are threads. */
void watch_hold_questions(void);

/*
 * Start; progress may be NULL.  All of these signals are blocked from now on, in this thread and
 * in those that it starts.  Without memory for the thread they are not, and just end it.
 */
void watch_start(struct watch *w, struct progress *progress);

/* End; never started is fine. */
void watch_stop(struct watch *w);

/* If a signal ended the work, let it end this process, as whoever started it will want to see. */
void watch_pass_on(const struct watch *w);

/* Of this signal, though it is blocked or handled. */
void watch_die_of(int number);

#endif /* CLI_WATCH_H */
