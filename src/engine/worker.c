/* SPDX-License-Identifier: MIT */
/*
 * A worker's life: see worker.h for the contract.
 *
 * A worker says PARKED before it looks at the queue for the last time, and a
 * producer puts its task before it looks for PARKED workers; so one of the two
 * sees the other, and no task waits beside a sleeping worker.
 */
#include "engine/worker.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/secmem.h"
#include "engine/batch.h"
#include "engine/sandbox.h"

enum { MAX_DEATHS = 16 }; /* a task that so many workers died with is to blame itself */

/* Between SIGTERM's handler and the loop. */
static struct shm_worker *own_line;
static _Thread_local volatile sig_atomic_t at_work;
static _Thread_local volatile sig_atomic_t must_end;

static struct shm_worker *line_of(const struct arena *a, struct queue_owner owner)
{
	return &a->shm->workers[owner.index];
}

static void leave(struct shm_worker *line)
{
	atomic_store(&line->state, WORKER_LEAVING);
}

static void on_sigterm(int signal)
{
	(void)signal;
	if (at_work) {
		must_end = 1;
		return;
	}
	leave(own_line);
	_exit(0);
}

/* Take one task and do it: 0, QUEUE_EMPTY, or QUEUE_CLOSED to end. */
static int do_one(const struct worker *w)
{
	struct shm_worker *line = line_of(w->arena, w->owner);
	struct task_undo undo;
	struct queue_ref ref;
	struct task t;
	int r = queue_take(&w->arena->shm->queue, w->owner, &ref, &t);

	if (r)
		return r;
	if (t.type == TASK_TERMINATE) {
		leave(line); /* first: this must not look like an accident */
		(void)queue_complete(&w->arena->shm->queue, w->owner, ref);
		return QUEUE_CLOSED;
	}
	undo = arena_undo(w->arena, w->owner.index, ref.ticket);
	batch_do_task(w->arena, w->owner, ref, &t, &undo);
	atomic_fetch_add_explicit(&line->tasks, 1, memory_order_relaxed);
	return 0;
}

static uint32_t next_ticket(const struct worker *w)
{
	return atomic_load_explicit(&w->arena->shm->queue.next_ticket, memory_order_relaxed);
}

/*
 * Do what is there: QUEUE_EMPTY when there is no more, QUEUE_CLOSED to end.
 * *n is how many there were, *seen the next ticket before the last look.
 */
static int drain(const struct worker *w, uint32_t *n, uint32_t *seen)
{
	int r;

	*n = 0;
	at_work = 1;
	for (;;) {
		*seen = next_ticket(w);
		r = do_one(w);
		if (r)
			break;
		++*n;
		if (must_end)
			break;
	}
	at_work = 0;
	return must_end ? QUEUE_CLOSED : r;
}

/* Wait a little for a task after those seen, without giving up the CPU: true if one came. */
static bool spin(const struct worker *w, uint32_t seen)
{
	uint64_t end = sync_now_ns() + w->spin_us * 1000ULL;

	while (sync_now_ns() < end) {
		for (int i = 0; i < 16; i++)
			sync_pause();
		if (next_ticket(w) != seen)
			return true;
	}
	return false;
}

/* Sleep until there may be work; true if it must be looked for. */
static void park(const struct worker *w)
{
	struct shm_worker *line = line_of(w->arena, w->owner);
	uint32_t oldest;

	/* No plaintext lies about while nothing happens. */
	secmem_wipe(w->arena->shm->undo[w->owner.index], ENGINE_BLOCK_SIZE);
	atomic_store(&line->state, WORKER_PARKED);
	if (!queue_waiting(&w->arena->shm->queue, &oldest))
		sync_sem_wait(&w->arena->shm->work);
	atomic_store(&line->state, WORKER_BUSY);
}

void worker_loop(const struct worker *w)
{
	struct shm_worker *line = line_of(w->arena, w->owner);
	uint32_t seen;
	uint32_t n;

	atomic_store(&line->state, WORKER_BUSY);
	while (drain(w, &n, &seen) == QUEUE_EMPTY) {
		/* Who found nothing looks no further: others do all the work. */
		if (!n || !w->spin_us || !spin(w, seen))
			park(w);
	}
	secmem_wipe(w->arena->shm->undo[w->owner.index], ENGINE_BLOCK_SIZE);
	leave(line);
}

/*
 * Use each suite once, a forgery included: what is allocated on first use is
 * there before allocating is forbidden.
 */
static void warm_up(void)
{
	static const uint8_t zeros[CIPHER_KEY_SIZE];
	uint8_t data[64] = { 0 };
	uint8_t tag[CIPHER_TAG_SIZE];
	static struct cipher_key key; /* see cipher.h on stacks */

	for (enum cipher_suite s = CIPHER_AES_256_GCM; s < CIPHER_XOR; s++) {
		if (cipher_key_set(&key, s, zeros))
			continue;
		(void)cipher_seal(&key, zeros, zeros, 16, data, sizeof(data), tag);
		tag[0] ^= 1;
		(void)cipher_open(&key, zeros, zeros, 16, data, sizeof(data), tag);
	}
}

/* The terminal's signals are for the mount process; SIGTERM ends this one. */
static void set_signals(void)
{
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = SIG_IGN };
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)sigaction(ignored[i], &action, NULL);
	action.sa_handler = on_sigterm;
	(void)sigaction(SIGTERM, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void worker_main(const struct worker *w, pid_t parent)
{
	sandbox_die_with(parent);
	sandbox_close_all_but(-1);
	(void)prctl(PR_SET_NAME, "cryptfs-worker", 0, 0, 0);
	own_line = line_of(w->arena, w->owner);
	if (secmem_harden_process())
		_exit(1);
	warm_up();
	set_signals();
	if (sandbox_enter())
		_exit(1);
	worker_loop(w);
	_exit(0);
}

/* Put the task at hand back, or give it up. */
static void return_task(const struct arena *a, struct queue_owner owner, struct queue_ref ref,
			struct task *t)
{
	struct queue *q = &a->shm->queue;
	struct task_undo undo = arena_undo(a, owner.index, ref.ticket);
	struct task_slot slot;

	if (task_check(t, a->slots)) { /* TERMINATE among others: told, and gone */
		(void)queue_complete(q, owner, ref);
		return;
	}
	slot = arena_slot(a, t->slot);
	task_undo(t, &slot, &undo);
	q->tasks[ref.entry].task.deaths = t->deaths + 1;
	if (t->deaths < MAX_DEATHS)
		(void)queue_put_back(q, owner, ref);
	else if (!queue_complete(q, owner, ref))
		batch_handed_in(a, t->slot, t->batch, 1);
}

bool worker_repair(const struct arena *a, struct queue_owner owner)
{
	struct queue_ref ref;
	struct task t;
	bool had_task = false;

	while (!queue_claimed_by(&a->shm->queue, owner, &ref, &t)) {
		return_task(a, owner, ref, &t);
		had_task = true;
	}
	atomic_store(&line_of(a, owner)->mark, 0);
	secmem_wipe(a->shm->undo[owner.index], ENGINE_BLOCK_SIZE);
	return had_task;
}
