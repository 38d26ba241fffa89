/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: see pool.h for the contract.
 *
 * Only the supervisor (or pool_stop, after it has ended) touches members and
 * talks with the zygote; other threads raise the target and kick.
 */
#include "engine/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "engine/queue.h"
#include "engine/worker.h"

enum pool_rest {
	NO_REST = 0,
	REST_ASKED,  /* by SIGTERM */
	REST_FORCED, /* by SIGKILL */
};

enum {
	BUSY_TICK_MS = 200,
	REST_TICK_MS = 20,
	IDLE_TICK_MS = 1000,
	LONG_TICKS = 2, /* a queue that is long so often in a row wants one more */
	STOP_MS = 2000, /* workers that are told to end and do not are killed */
};

static uint64_t ms(uint64_t n)
{
	return n * 1000000;
}

static struct shm_worker *line_of(struct pool *p, uint32_t i)
{
	return &p->arena->shm->workers[i];
}

static struct queue_owner owner_of(struct pool *p, uint32_t i)
{
	return (struct queue_owner){ (uint8_t)i, (uint16_t)p->members[i].generation };
}

static uint32_t count_asked(const struct pool *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		n += p->members[i].asked;
	return n;
}

static void kick(struct pool *p)
{
	(void)eventfd_write(p->kick, 1); /* fails only when it is kicked already */
}

/* Something was repaired or nobody is left: let everyone look again. */
static void stir(struct pool *p)
{
	sync_sem_post(&p->arena->shm->work);
	for (uint32_t i = 0; i < p->arena->slots; i++)
		sync_sem_post(&p->arena->shm->batches[i].done);
}

static void kill_member(struct pool *p, uint32_t i)
{
	if (p->members[i].pidfd >= 0)
		(void)pidfd_send_signal(p->members[i].pidfd, SIGKILL, NULL, 0);
}

/* --- starting ------------------------------------------------------------ */

/* Go on with those there are; say why once. */
static void give_up_growing(struct pool *p, const char *why)
{
	uint32_t n = count_asked(p);

	if (!p->complained)
		log_warn("cannot start a worker: %s; going on with %u", why, n);
	p->complained = true;
	p->retry_ns = sync_now_ns() + ms(POOL_RETRY_MS);
	atomic_store(&p->limit, n);
	atomic_store(&p->target, n);
	stir(p);
}

static void forget(struct pool *p, uint32_t i)
{
	struct pool_member *m = &p->members[i];

	fdio_close(m->pidfd);
	m->pidfd = -1;
	m->asked = false;
	m->has_task = false;
	atomic_store(&line_of(p, i)->state, WORKER_NONE);
}

static void lose_zygote(struct pool *p)
{
	if (p->zygote.pid < 0)
		return;
	atomic_store(&p->usable, false);
	atomic_store(&p->target, 0);
	if (!atomic_load(&p->stopping))
		log_error("the process that starts workers has died; going on without workers");
	zygote_stop(&p->zygote);
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++) {
		kill_member(p, i); /* they are dying anyway */
		if (p->members[i].asked && p->members[i].pidfd < 0)
			forget(p, i);
	}
	stir(p);
}

static void ask_for(struct pool *p, uint32_t i)
{
	struct pool_member *m = &p->members[i];

	m->generation = (m->generation + 1) & 0xffff;
	m->asked = true;
	m->since_ns = sync_now_ns();
	atomic_store(&line_of(p, i)->state, WORKER_STARTING);
	if (zygote_request(&p->zygote, i, m->generation))
		lose_zygote(p);
}

static void grow_to_target(struct pool *p)
{
	uint32_t n = count_asked(p);
	uint32_t target = atomic_load(&p->target);

	for (uint32_t i = 0; i < p->options.max && n < target; i++) {
		if (p->members[i].asked)
			continue;
		ask_for(p, i);
		if (p->zygote.pid < 0)
			return;
		n++;
	}
}

/* --- events -------------------------------------------------------------- */

static void log_end(const struct zygote_report *r)
{
	if (WIFSIGNALED(r->value))
		log_warn("a worker died of signal %d", WTERMSIG(r->value));
	else if (WEXITSTATUS(r->value))
		log_warn("a worker ended with status %d", WEXITSTATUS(r->value));
}

static void read_report(struct pool *p, const struct zygote_report *r, int pidfd)
{
	struct pool_member *m = &p->members[r->index];

	if (r->event == ZYGOTE_ENDED) {
		log_end(r);
	} else if (!m->asked || m->generation != r->generation || m->pidfd >= 0) {
		fdio_close(pidfd); /* not one that was asked for */
	} else if (r->event == ZYGOTE_STARTED && pidfd >= 0) {
		m->pidfd = pidfd;
		p->complained = false;
		atomic_fetch_add(&p->started, 1);
		atomic_fetch_add(&p->alive, 1);
	} else {
		fdio_close(pidfd);
		forget(p, r->index);
		give_up_growing(p, r->event == ZYGOTE_FAILED ? strerror(r->value)
							     : "no descriptor came");
	}
}

static void read_reports(struct pool *p)
{
	struct zygote_report r;
	int pidfd;

	for (;;) {
		int error = zygote_receive(&p->zygote, &r, &pidfd);

		if (error == -EAGAIN)
			return;
		if (error || r.index >= ENGINE_MAX_WORKERS) {
			fdio_close(pidfd);
			lose_zygote(p);
			return;
		}
		read_report(p, &r, pidfd);
	}
}

/* This worker is gone: make good what it left. */
static void bury(struct pool *p, uint32_t i)
{
	uint32_t state = atomic_load(&line_of(p, i)->state);
	bool told = state == WORKER_LEAVING;

	if (worker_repair(p->arena, owner_of(p, i)))
		atomic_fetch_add(&p->repaired, 1);
	forget(p, i);
	atomic_fetch_sub(&p->alive, 1);
	if (!told)
		atomic_fetch_add(&p->died, 1);
	if (state == WORKER_STARTING && !atomic_load(&p->stopping))
		give_up_growing(p, "it died while starting");
	stir(p);
}

static void handle_events(struct pool *p, int timeout_ms)
{
	struct pollfd fds[2 + ENGINE_MAX_WORKERS] = {
		{ .fd = p->kick, .events = POLLIN },
		{ .fd = p->zygote.socket, .events = POLLIN },
	};
	struct pollfd *pidfds = fds + 2;
	eventfd_t ignored;

	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		pidfds[i] = (struct pollfd){ .fd = p->members[i].pidfd, .events = POLLIN };
	if (poll(fds, 2 + ENGINE_MAX_WORKERS, timeout_ms) <= 0)
		return;
	if (fds[0].revents)
		(void)eventfd_read(p->kick, &ignored);
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		if (pidfds[i].revents)
			bury(p, i);
	if (fds[1].revents)
		read_reports(p);
}

/* --- looking around, every tick ------------------------------------------ */

static void check_member(struct pool *p, uint32_t i, uint64_t now)
{
	struct pool_member *m = &p->members[i];
	struct queue_ref ref;

	if (m->pidfd < 0) { /* not there, or asked for in vain */
		if (m->asked && now - m->since_ns > ms(POOL_START_MS))
			lose_zygote(p);
		return;
	}
	if (atomic_load(&line_of(p, i)->state) == WORKER_STARTING) {
		if (now - m->since_ns > ms(POOL_START_MS))
			kill_member(p, i);
		return;
	}
	if (queue_claimed_by(&p->arena->shm->queue, owner_of(p, i), &ref, NULL)) {
		m->has_task = false;
		return;
	}
	if (!m->has_task || m->ticket != ref.ticket) {
		m->has_task = true;
		m->ticket = ref.ticket;
		m->since_ns = now;
	} else if (now - m->since_ns > ms(POOL_STUCK_MS)) {
		kill_member(p, i);
	}
}

/* Nobody but workers works, and a task waits beside idle ones: they sleep on, or are stopped. */
static void check_sleepers(struct pool *p, uint32_t waiting, uint32_t oldest, uint64_t now)
{
	if (!waiting || !p->has_oldest || oldest != p->oldest) {
		p->has_oldest = waiting;
		p->oldest = oldest;
		p->oldest_ns = now;
		return;
	}
	if (now - p->oldest_ns <= ms(POOL_STUCK_MS))
		return;
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		if (!p->members[i].has_task &&
		    atomic_load(&line_of(p, i)->state) != WORKER_STARTING)
			kill_member(p, i);
}

/* Whoever of the workers; n is not more than there are. */
static void tell_to_end(struct pool *p, uint32_t n)
{
	const struct task t = { .type = TASK_TERMINATE };
	struct queue_ref ref;

	while (n-- > 0) {
		(void)queue_put(&p->arena->shm->queue, &t, &ref); /* full: they are not idle */
		sync_sem_post(&p->arena->shm->work);
	}
}

/* One more while the queue stays long, only the fewest after a long time without work. */
static void resize(struct pool *p, uint32_t waiting, uint64_t now)
{
	uint32_t alive = atomic_load(&p->alive);
	bool may_grow = true;

	if (p->active || !alive) {
		p->last_wake_ns = now;
	} else if (now - p->last_wake_ns > ms(p->options.idle_ms)) {
		uint32_t asked = count_asked(p);

		p->last_wake_ns = now;
		atomic_store(&p->target, p->options.min);
		if (asked > p->options.min)
			tell_to_end(p, asked - p->options.min);
	}
	if (alive >= p->options.at_once && alive < p->options.max)
		may_grow = idle_processors(&p->processors) > 0;
	p->long_ticks = alive && waiting > alive && may_grow ? p->long_ticks + 1 : 0;
	if (p->long_ticks >= LONG_TICKS) {
		p->long_ticks = 0;
		pool_want(p, alive + 1);
	}
}

static void look_around(struct pool *p)
{
	uint64_t now = sync_now_ns();
	uint32_t oldest = 0;
	uint32_t waiting = queue_waiting(&p->arena->shm->queue, &oldest);
	uint64_t wakes = atomic_load(&p->wakes);

	p->active = waiting || wakes != p->seen_wakes;
	p->seen_wakes = wakes;
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		check_member(p, i, now);
	if (p->options.strict)
		check_sleepers(p, waiting, oldest, now);
	if (!p->options.fixed)
		resize(p, waiting, now);
	if (atomic_load(&p->limit) < p->options.max && now > p->retry_ns)
		atomic_store(&p->limit, p->options.max);
}

/* Who is being started is told when it is there. */
static void send_to_rest(struct pool *p, int how)
{
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++) {
		if (p->members[i].pidfd < 0)
			continue;
		if (how == REST_FORCED)
			kill_member(p, i);
		else if (atomic_load(&line_of(p, i)->state) != WORKER_STARTING)
			(void)pidfd_send_signal(p->members[i].pidfd, SIGTERM, NULL, 0);
	}
}

/* With nobody to look after there is nothing to look around for. */
static int tick_ms(struct pool *p)
{
	if (atomic_load(&p->resting))
		return REST_TICK_MS;
	if (!count_asked(p))
		return atomic_load(&p->limit) < p->options.max ? IDLE_TICK_MS : -1;
	return p->active ? BUSY_TICK_MS : IDLE_TICK_MS;
}

static void *watch(void *arg)
{
	struct pool *p = arg;

	(void)pthread_setname_np(pthread_self(), "supervisor");
	while (!atomic_load(&p->stopping)) {
		int resting = atomic_load(&p->resting);

		if (resting)
			send_to_rest(p, resting);
		else if (p->zygote.pid >= 0)
			grow_to_target(p);
		handle_events(p, tick_ms(p));
		look_around(p);
	}
	return NULL;
}

/* --- for the other threads ------------------------------------------------ */

int pool_start(struct pool *p, const struct arena *a, const struct pool_options *options)
{
	int r;

	*p = (struct pool){ .arena = a, .options = *options };
	p->zygote = (struct zygote){ .pid = -1, .pidfd = -1, .socket = -1 };
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		p->members[i].pidfd = -1;
	p->kick = -1;
	atomic_store(&p->limit, options->max);
	if (!options->max)
		return 0;
	p->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->kick < 0)
		return -errno;
	r = zygote_start(a, options->spin_us, &p->zygote);
	if (r)
		log_warn("cannot fork: %s; going on without workers", strerror(-r));
	return 0;
}

int pool_watch(struct pool *p)
{
	sigset_t all;
	sigset_t old;
	int r;

	if (p->zygote.pid < 0 || p->watched)
		return 0;
	sigfillset(&all); /* signals are for the main thread */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&p->thread, NULL, watch, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return r;
	p->watched = true;
	atomic_store(&p->usable, true);
	pool_want(p, p->options.min);
	return 0;
}

static void wait_for_ends(struct pool *p, uint64_t timeout_ms)
{
	uint64_t end = sync_now_ns() + ms(timeout_ms);

	while (count_asked(p) && p->zygote.pid >= 0 && sync_now_ns() < end)
		handle_events(p, 50);
}

void pool_stop(struct pool *p)
{
	if (!p->arena)
		return;
	atomic_store(&p->stopping, true);
	atomic_store(&p->usable, false);
	if (p->watched) {
		kick(p);
		(void)pthread_join(p->thread, NULL);
	}
	tell_to_end(p, count_asked(p));
	queue_close(&p->arena->shm->queue);
	wait_for_ends(p, STOP_MS);
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		kill_member(p, i);
	wait_for_ends(p, STOP_MS);
	zygote_stop(&p->zygote);
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		fdio_close(p->members[i].pidfd);
	fdio_close(p->kick);
	p->arena = NULL;
}

void pool_want(struct pool *p, uint32_t n)
{
	uint32_t limit = atomic_load(&p->limit);
	uint32_t now = atomic_load(&p->target);

	if (n > limit)
		n = limit;
	while (now < n) {
		if (!atomic_compare_exchange_weak(&p->target, &now, n))
			continue;
		kick(p);
		return;
	}
}

static bool is_empty(struct pool *p)
{
	for (uint32_t i = 0; i < ENGINE_MAX_WORKERS; i++)
		if (atomic_load(&line_of(p, i)->state) != WORKER_NONE)
			return false;
	return true;
}

int pool_rest(struct pool *p)
{
	const struct timespec pause = { .tv_nsec = 5 * 1000 * 1000 };
	uint64_t start = sync_now_ns();
	int r = 0;

	if (!p->watched)
		return 0;
	atomic_store(&p->target, 0);
	atomic_store(&p->resting, REST_ASKED);
	while (!r && !is_empty(p)) {
		uint64_t waited = sync_now_ns() - start;

		if (waited > ms(STOP_MS))
			atomic_store(&p->resting, REST_FORCED);
		if (waited > ms(POOL_REST_MS))
			r = -ETIMEDOUT;
		kick(p);
		(void)nanosleep(&pause, NULL);
	}
	atomic_store(&p->resting, NO_REST);
	return r;
}

bool pool_can_work(struct pool *p)
{
	return atomic_load(&p->usable) && (atomic_load(&p->alive) || atomic_load(&p->limit));
}

void pool_wake(struct pool *p, uint32_t n)
{
	if (!atomic_load(&p->alive))
		return;
	/* Also the full barrier between putting tasks and looking for sleepers. */
	atomic_fetch_add(&p->wakes, 1);
	for (uint32_t i = 0; i < p->options.max && n; i++) {
		if (atomic_load(&line_of(p, i)->state) != WORKER_PARKED)
			continue;
		sync_sem_post(&p->arena->shm->work);
		n--;
	}
}
