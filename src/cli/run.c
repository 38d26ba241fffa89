/* SPDX-License-Identifier: MIT */
/*
 * Many jobs at once: see run.h for the contract.
 *
 * A berth is a job in work.  Who works at it is counted, and the last one to
 * leave after its end finishes it.
 */
#include "cli/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <poll.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/exitcode.h"

enum {
	NUDGE_MS = 50, /* how often a thread that waits in a pipe is reminded to end */
	TICK_MS = 500,
};

struct berth {
	struct job *job; /* NULL: empty */
	struct input files;
	uint32_t n_users;
	bool is_over;
	int result;
};

struct run {
	struct engine *engine;
	const struct job_rules *rules;
	const struct run_source *source;
	struct run_counts *counts;
	const struct run_options *options;

	pthread_mutex_t taking; /* the next of the source */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct berth berths[ENGINE_MAX_SLOTS];
	uint32_t n_taken;  /* berths in use, or about to be */
	bool is_exhausted; /* the source is */
	bool is_stopping;
	int status;
	uint32_t n_hands; /* at work */
	int ended;	  /* eventfd: a hand has ended */
};

struct hand {
	struct run *run;
	pthread_t thread;
	struct convert_hand *convert;
};

/* ---- results ----------------------------------------------------------- */

/* With the lock held. */
static void count(struct run *run, int status)
{
	if (!status) {
		atomic_fetch_add(&run->counts->n_done, 1);
		return;
	}
	if (status == JOB_DONE)
		atomic_fetch_add(&run->counts->n_skipped, 1);
	if (status == JOB_DONE || run->is_stopping)
		return;
	atomic_fetch_add(&run->counts->n_failed, 1);
	run->status = !run->status || run->status == status ? status : STATUS_SYSTEM;
}

static void free_names(struct input *files)
{
	free(files->path);
	free(files->output);
}

/* ---- berths ------------------------------------------------------------ */

/* A job that another hand may help with, or NULL; with the lock held. */
static struct berth *find_work(struct run *run)
{
	for (uint32_t i = 0; i < ENGINE_MAX_SLOTS; i++) {
		struct berth *b = &run->berths[i];

		if (b->job && !b->is_over && convert_has_more(job_convert(b->job)))
			return b;
	}
	return NULL;
}

static struct berth *find_empty(struct run *run)
{
	for (uint32_t i = 0; i < ENGINE_MAX_SLOTS; i++)
		if (!run->berths[i].job)
			return &run->berths[i];
	return NULL; /* there are as many as n_open can be */
}

/* A job comes into work; with the lock held. */
static struct berth *enter(struct run *run, const struct berth *new)
{
	struct berth *b = find_empty(run);

	*b = *new;
	if (run->is_stopping)
		convert_cancel(job_convert(b->job), -ECANCELED);
	(void)pthread_cond_broadcast(&run->changed);
	return b;
}

/* Leave a job; finish it if nobody else will.  With the lock held, which is let go meanwhile. */
static void leave(struct run *run, struct berth *b)
{
	struct berth old = *b;
	int status;

	if (--b->n_users || !b->is_over)
		return;
	*b = (struct berth){ 0 };
	(void)pthread_mutex_unlock(&run->lock);
	status = job_end(old.job, old.result);
	(void)pthread_mutex_lock(&run->lock);
	if (status == JOB_MORE) {
		old.is_over = false;
		old.n_users = 0;
		enter(run, &old);
		return;
	}
	free_names(&old.files);
	count(run, status);
	run->n_taken--;
	(void)pthread_cond_broadcast(&run->changed);
}

/* Work at a job until nothing is left of it for this hand; with the lock held. */
static void work_at(struct run *run, struct berth *b, struct convert_hand *h)
{
	struct convert *c = job_convert(b->job);
	int r;

	b->n_users++;
	(void)pthread_mutex_unlock(&run->lock);
	do {
		r = convert_step(c, h);
	} while (r == CONVERT_MORE);
	(void)pthread_mutex_lock(&run->lock);
	if (r != CONVERT_OTHERS) {
		b->is_over = true;
		b->result = r;
	}
	leave(run, b);
}

/* Begin the next job of the source, with the lock held, which is let go meanwhile. */
static void begin(struct run *run, struct convert_hand *h)
{
	struct berth new = { 0 };
	int status = STATUS_OK;
	int r;

	run->n_taken++;
	(void)pthread_mutex_unlock(&run->lock);
	(void)pthread_mutex_lock(&run->taking);
	r = run->source->next(run->source->arg, &new.files);
	(void)pthread_mutex_unlock(&run->taking);
	if (!r)
		status = job_new(run->rules, &new.files, &new.job);
	(void)pthread_mutex_lock(&run->lock);
	if (new.job) {
		work_at(run, enter(run, &new), h);
		return;
	}
	free_names(&new.files);
	if (r > 0)
		run->is_exhausted = true;
	else
		count(run, r ? STATUS_SYSTEM : status);
	if (status == JOB_DONE)
		atomic_fetch_add(&run->counts->n_skipped_bytes, new.files.size);
	run->n_taken--;
	(void)pthread_cond_broadcast(&run->changed);
}

static void work(struct run *run, struct convert_hand *h)
{
	struct berth *b;

	(void)pthread_mutex_lock(&run->lock);
	for (;;) {
		bool may_begin = !run->is_exhausted && !run->is_stopping;

		if (may_begin && run->n_taken < run->options->n_open)
			begin(run, h);
		else if ((b = find_work(run)))
			work_at(run, b, h);
		else if (may_begin || run->n_taken)
			(void)pthread_cond_wait(&run->changed, &run->lock);
		else
			break;
	}
	run->n_hands--;
	(void)pthread_mutex_unlock(&run->lock);
	(void)eventfd_write(run->ended, 1); /* fails only when it is full of them */
}

static void *hand_main(void *arg)
{
	struct hand *h = arg;

	work(h->run, h->convert);
	cipher_thread_fini();
	return NULL;
}

/* ---- the main thread --------------------------------------------------- */

static void stop(struct run *run)
{
	(void)pthread_mutex_lock(&run->lock);
	run->is_stopping = true;
	for (uint32_t i = 0; i < ENGINE_MAX_SLOTS; i++)
		if (run->berths[i].job)
			convert_cancel(job_convert(run->berths[i].job), -ECANCELED);
	(void)pthread_cond_broadcast(&run->changed);
	(void)pthread_mutex_unlock(&run->lock);
}

static uint32_t hands_at_work(struct run *run)
{
	uint32_t n;

	(void)pthread_mutex_lock(&run->lock);
	n = run->n_hands;
	(void)pthread_mutex_unlock(&run->lock);
	return n;
}

/* The next signal that came, or 0. */
static int read_signal(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

/* Until all hands have ended: the signal that stopped them, or 0. */
static int watch(struct run *run, const struct hand *hands, uint32_t n, int signals)
{
	struct pollfd fds[2] = {
		{ .fd = run->ended, .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};
	int stopped_by = 0;
	eventfd_t ignored;

	while (hands_at_work(run)) {
		int caught = 0;

		(void)poll(fds, 2, stopped_by ? NUDGE_MS : TICK_MS);
		if (fds[0].revents)
			(void)eventfd_read(run->ended, &ignored);
		if (fds[1].revents)
			caught = read_signal(signals);
		if (caught == SIGUSR1) {
			run->options->say(run->options->arg);
		} else if (caught && !stopped_by) {
			stopped_by = caught;
			stop(run);
		}
		for (uint32_t i = 0; stopped_by && i < n; i++)
			(void)pthread_kill(hands[i].thread, SIGUSR2); /* joined later, so valid */
	}
	return stopped_by;
}

static void do_nothing(int signal)
{
	(void)signal;
}

/* Have signals come to a descriptor, and SIGUSR2 end waiting: its number or -errno. */
static int take_signals(void)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	const struct sigaction wake = { .sa_handler = do_nothing };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaddset(&set, caught[i]);
	(void)sigaction(SIGUSR2, &wake, NULL); /* fails for bad numbers only */
	(void)sigaction(SIGPIPE, &ignore, NULL);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Start up to n hands; fewer are fine: how many, or -errno if there is none. */
static int start_hands(struct run *run, struct hand *hands, uint32_t n)
{
	int r = -EINVAL;

	for (uint32_t i = 0; i < n; i++) {
		hands[i].run = run;
		r = convert_hand_new(run->engine, &hands[i].convert);
		(void)pthread_mutex_lock(&run->lock);
		run->n_hands++;
		(void)pthread_mutex_unlock(&run->lock);
		if (!r)
			r = -pthread_create(&hands[i].thread, NULL, hand_main, &hands[i]);
		if (!r)
			continue;
		(void)pthread_mutex_lock(&run->lock);
		run->n_hands--;
		(void)pthread_mutex_unlock(&run->lock);
		convert_hand_free(hands[i].convert);
		return i ? (int)i : r;
	}
	return (int)n;
}

static int run_with(struct run *run, uint32_t n_hands, int signals, int *stopped_by)
{
	struct hand *hands = calloc(n_hands, sizeof(*hands));
	int n = hands ? start_hands(run, hands, n_hands) : -ENOMEM;

	if (n > 0)
		*stopped_by = watch(run, hands, (uint32_t)n, signals);
	for (int i = 0; i < n; i++) {
		(void)pthread_join(hands[i].thread, NULL);
		convert_hand_free(hands[i].convert);
	}
	free(hands);
	if (n > 0)
		return run->status;
	log_error("cannot start a thread: %s", strerror(-n));
	return STATUS_SYSTEM;
}

int run_jobs(struct engine *e, const struct job_rules *rules, const struct run_source *source,
	     const struct run_options *options, struct run_counts *counts, int *stopped_by)
{
	struct run *run = calloc(1, sizeof(*run));
	int status = STATUS_SYSTEM;
	int signals = -1;

	*stopped_by = 0;
	if (!run) {
		log_error("cannot start: %s", strerror(ENOMEM));
		return status;
	}
	*run = (struct run){
		.engine = e, .rules = rules, .source = source, .counts = counts, .options = options
	};
	(void)pthread_mutex_init(&run->taking, NULL); /* the default kind cannot fail */
	(void)pthread_mutex_init(&run->lock, NULL);
	(void)pthread_cond_init(&run->changed, NULL);
	run->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	signals = take_signals();
	if (run->ended < 0 || signals < 0)
		log_error("cannot start: %s", strerror(run->ended < 0 ? errno : -signals));
	else
		status = run_with(run, options->n_hands, signals, stopped_by);
	fdio_close(signals);
	fdio_close(run->ended);
	(void)pthread_mutex_destroy(&run->taking);
	(void)pthread_mutex_destroy(&run->lock);
	(void)pthread_cond_destroy(&run->changed);
	free(run);
	return status;
}
