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

enum {
	IDLE_TICKS = 5,
	FORGET_TRIES = 1000, /* of 10 ms */
};

struct thread {
	pthread_t id;
	struct loop *loop;
	struct io *io;
	struct latency *latency;
	bool started;
	bool reads;	       /* not on the bench */
	atomic_bool to_wipe;   /* serves nothing, and did since the last wipe */
	atomic_ulong requests; /* begun */
	atomic_ulong served;
	atomic_uint forgot; /* as the loop's */
	unsigned long seen_requests;
	unsigned int idle_ticks;
};

struct loop {
	struct fuse_session *se;
	struct crew *crew;
	struct park *park;
	atomic_uint forget; /* grows when all shall forget */
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

static void serve_now(struct thread *self, const struct fuse_buf *buf)
{
	struct loop *l = self->loop;
	uint32_t kind = wire_opcode(buf->mem, buf->size);
	uint64_t start = sync_now_ns();
	bool away = crew_begin(l->crew, kind);
	uint64_t took;

	atomic_store_explicit(&self->to_wipe, false, memory_order_relaxed);
	fuse_session_process_buf(l->se, buf);
	atomic_store_explicit(&self->to_wipe, true, memory_order_relaxed);
	took = sync_now_ns() - start;
	latency_note(self->latency, latency_of(kind), took);
	crew_end(l->crew, kind, away, took);
}

/*
 * Serve a request, unless it is to wait.  That we have begun is said before the
 * park is looked at, and who closes it looks at the threads afterwards.
 */
static void serve(struct thread *self, const struct fuse_buf *buf)
{
	unsigned long before = atomic_fetch_add(&self->requests, 1);

	if (!park_keeps(self->loop->park, buf->mem, buf->size))
		serve_now(self, buf);
	atomic_store_explicit(&self->served, before + 1, memory_order_release);
}

static void forget(struct thread *self, unsigned int forget)
{
	io_forget(self->io);
	atomic_store_explicit(&self->to_wipe, false, memory_order_relaxed);
	atomic_store(&self->forgot, forget);
}

/* Wait for a request and serve it: 0, or what ended the session. */
static int serve_one(struct thread *self)
{
	struct fuse_buf buf = { .mem = self->io->data + IO_REQUEST };
	unsigned int all = atomic_load(&self->loop->forget);
	int n = -EINTR;

	if (all != atomic_load_explicit(&self->forgot, memory_order_relaxed))
		forget(self, all);
	if (!self->reads)
		self->reads = crew_wait(self->loop->crew);
	if (self->reads)
		buf.size = park_take(self->loop->park, buf.mem, IO_REQUEST_MAX);
	if (buf.size)
		n = (int)buf.size;
	else if (self->reads)
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
	l->park = &device->park;
	l->caller = pthread_self();
	l->done_signal = done_signal;
	l->n = n;
	pthread_mutex_init(&l->gate, NULL);
	pthread_mutex_lock(&l->gate);
	r = catch_wakeups();
	for (uint32_t i = 0; i < n && !r; i++) {
		l->threads[i].loop = l;
		l->threads[i].latency = &device->latency[i];
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

static void wake_all(struct loop *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		(void)pthread_kill(l->threads[i].id, SIGUSR1);
}

bool loop_is_quiet(const struct loop *l)
{
	for (uint32_t i = 0; i < l->n; i++) {
		const struct thread *t = &l->threads[i];
		/* In this order: a request that ends in between is seen as served. */
		unsigned long begun = atomic_load(&t->requests);

		if (atomic_load(&t->served) < begun)
			return false;
	}
	return true;
}

static bool all_forgot(const struct loop *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (atomic_load(&l->threads[i].forgot) != atomic_load(&l->forget))
			return false;
	return true;
}

int loop_forget(struct loop *l)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

	atomic_fetch_add(&l->forget, 1);
	for (int i = 0; !all_forgot(l); i++) {
		if (i == FORGET_TRIES)
			return -ETIMEDOUT;
		wake_all(l); /* again: a signal may come just before a wait */
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

void loop_resume(struct loop *l)
{
	for (uint32_t i = 1; i < l->n && i < atomic_load(&l->park->n); i++)
		crew_call(l->crew);
	wake_all(l);
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
	if (atomic_load(&l->park->n) && !park_is_closed(l->park))
		wake_all(l); /* as loop_resume did, just before a wait perhaps */
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
