/* SPDX-License-Identifier: MIT */
/* Waiting for signals: see watch.h for the contract. */
#include "cli/watch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

/* SIGUSR2 is ours: it ends the thread. */
static void set_of_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGUSR1);
	(void)sigaddset(set, SIGUSR2);
}

void watch_die_of(int number)
{
	sigset_t set;

	(void)signal(number, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, number);
	(void)raise(number);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Who asked just before the end is answered: SIGUSR2, sent to the thread, comes first. */
static bool was_asked(void)
{
	const struct timespec now = { 0 };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	return sigtimedwait(&set, NULL, &now) == SIGUSR1;
}

static void *wait_for_signals(void *arg)
{
	struct watch *w = arg;
	sigset_t set;
	int number;

	set_of_signals(&set);
	while (!sigwait(&set, &number) && number != SIGUSR2) {
		if (number == SIGUSR1) {
			progress_say(w->progress);
		} else if (w->stopped_by) {
			watch_die_of(number);
		} else {
			w->stopped_by = number;
			atomic_store(&w->stop, true);
		}
	}
	if (was_asked())
		progress_say(w->progress);
	return NULL;
}

void watch_hold_questions(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* fails for bad arguments only */
}

void watch_start(struct watch *w, struct progress *progress)
{
	sigset_t set;
	int r;

	w->progress = progress;
	set_of_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = pthread_create(&w->thread, NULL, wait_for_signals, w);
	w->is_running = !r;
	if (!r)
		return;
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	log_warn("cannot wait for signals: %s", strerror(r));
}

void watch_stop(struct watch *w)
{
	if (!w->is_running)
		return;
	(void)pthread_kill(w->thread, SIGUSR2);
	(void)pthread_join(w->thread, NULL);
	w->is_running = false;
}

void watch_pass_on(const struct watch *w)
{
	if (!w->stopped_by)
		return;
	(void)fflush(stdout);
	watch_die_of(w->stopped_by);
}
