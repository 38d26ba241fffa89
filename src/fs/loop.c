/* SPDX-License-Identifier: MIT */
/*
 * Receiving threads: see loop.h.
 *
 * A thread waits for a request or on the bench.  SIGUSR1, whose handler does
 * nothing, makes either return: to wipe the slot of a thread that had nothing
 * to do for a while, and to end.
 */
#include "fs/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "engine/sync.h"
#include "fs/wire.h"

enum { IDLE_TICKS = 5 };

struct thread {
	pthread_t id;
	struct loop *loop;
	struct io *io;
	bool started;
	bool reads;	     /* not on the bench */
	atomic_bool to_wipe; /* serves nothing, and did since the last wipe */
	atomic_ulong requests;
	unsigned long seen_requests;
	unsigned int idle_ticks;
};

struct loop {
	struct fuse_session *se;
	struct crew *crew;
	unsigned long seen_requests;
	pthread_t caller;
	int done_signal;
	atomic_bool stopping;
	pthread_mutex_t gate; /* nobody serves before all threads are there */
	uint32_t n;
	struct thread threads[];
};

static void do_nothing(int signal)
{
	(void)signal;
}

static int catch_wakeups(void)
{
	struct sigaction action = { .sa_handler = do_nothing };

	return sigaction(SIGUSR1, &action, NULL) ? -errno : 0;
}

static void serve(struct thread *self, const struct fuse_buf *buf)
{
	struct loop *l = self->loop;
	uint32_t kind = wire_opcode(buf->mem, buf->size);
	uint64_t start = sync_now_ns();
	bool away = crew_begin(l->crew, kind);

	atomic_fetch_add_explicit(&self->requests, 1, memory_order_relaxed);
	atomic_store_explicit(&self->to_wipe, false, memory_order_relaxed);
	fuse_session_process_buf(l->se, buf);
	atomic_store_explicit(&self->to_wipe, true, memory_order_relaxed);
	crew_end(l->crew, kind, away, sync_now_ns() - start);
}

/* Wait for a request and serve it: 0, or what ended the session. */
static int serve_one(struct thread *self)
{
	struct fuse_buf buf = { .mem = self->io->data + IO_REQUEST };
	int n = -EINTR;

	if (!self->reads)
		self->reads = crew_wait(self->loop->crew);
	if (self->reads)
		n = fuse_session_receive_buf(self->loop->se, &buf);
	if (n == -EINTR) {
		if (self->io->used)
			io_wipe(self->io);
		atomic_store_explicit(&self->to_wipe, false, memory_order_relaxed);
	}
	if (n == -EAGAIN)
		self->reads = false;
	if (n == -EINTR || n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n ? n : -ENODEV;
	serve(self, &buf);
	return 0;
}

static void *run(void *arg)
{
	struct thread *self = arg;
	struct loop *l = self->loop;
	int r = 0;

	pthread_mutex_lock(&l->gate);
	pthread_mutex_unlock(&l->gate);
	ops_set_io(self->io);
	while (!r && !l->stopping && !fuse_session_exited(l->se))
		r = serve_one(self);
	if (r && r != -ENODEV)
		log_error("cannot receive requests: %s", strerror(-r));
	/* Not when stopping: libfuse drops what others have received then. */
	if (r)
		fuse_session_exit(l->se);
	cipher_thread_fini();
	(void)pthread_kill(l->caller, l->done_signal);
	return NULL;
}

int loop_start(struct fuse_session *se, struct device *device, const struct store *store,
	       int done_signal, struct loop **out)
{
	uint32_t n = device->crew.n;
	struct loop *l = calloc(1, sizeof(*l) + n * sizeof(l->threads[0]));
	int r;

	*out = NULL;
	if (!l)
		return -ENOMEM;
	l->se = se;
	l->crew = &device->crew;
	l->caller = pthread_self();
	l->done_signal = done_signal;
	l->n = n;
	pthread_mutex_init(&l->gate, NULL);
	pthread_mutex_lock(&l->gate);
	r = catch_wakeups();
	for (uint32_t i = 0; i < n && !r; i++) {
		l->threads[i].loop = l;
		r = io_new(store, &l->threads[i].io);
	}
	for (uint32_t i = 0; i < n && !r; i++) {
		r = -pthread_create(&l->threads[i].id, NULL, run, &l->threads[i]);
		l->threads[i].started = !r;
	}
	l->stopping = r != 0;
	pthread_mutex_unlock(&l->gate);
	if (r)
		loop_stop(l);
	else
		*out = l;
	return r;
}

void loop_tick(struct loop *l)
{
	unsigned long all = 0;

	for (uint32_t i = 0; i < l->n; i++) {
		struct thread *t = &l->threads[i];
		unsigned long requests = atomic_load_explicit(&t->requests, memory_order_relaxed);

		t->idle_ticks = requests == t->seen_requests ? t->idle_ticks + 1 : 0;
		t->seen_requests = requests;
		/* Again, if it came just before a wait. */
		if (t->idle_ticks >= IDLE_TICKS &&
		    atomic_load_explicit(&t->to_wipe, memory_order_relaxed))
			(void)pthread_kill(t->id, SIGUSR1);
		all += requests;
	}
	if (all == l->seen_requests)
		crew_rescue(l->crew);
	l->seen_requests = all;
}

/* Wake a thread until it is gone: a signal may come just before its read. */
static void end(struct thread *t)
{
	for (;;) {
		struct timespec soon;

		(void)pthread_kill(t->id, SIGUSR1);
		(void)clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 10 * 1000 * 1000;
		soon.tv_sec += soon.tv_nsec / 1000000000;
		soon.tv_nsec %= 1000000000;
		if (!pthread_timedjoin_np(t->id, NULL, &soon))
			return;
	}
}

void loop_stop(struct loop *l)
{
	if (!l)
		return;
	l->stopping = true;
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->threads[i].started)
			end(&l->threads[i]);
		io_free(l->threads[i].io);
	}
	fuse_session_exit(l->se);
	free(l);
}
