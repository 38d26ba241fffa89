/* SPDX-License-Identifier: MIT */
/*
 * Deaths: of workers at placed instructions and at random ones, of the zygote,
 * of the mount process; workers that stop; fork() that fails.
 *
 * Deaths are placed with the linker's --wrap, in functions that the worker
 * calls in other files.  The plan lies in memory shared with the workers.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum place {
	NOWHERE,
	AFTER_TAKE,	 /* the task is claimed, nothing is done */
	BEFORE_BLOCK,	 /* the block is marked, its bytes are untouched */
	MID_BLOCK,	 /* half its bytes are changed */
	AFTER_BLOCK,	 /* all its bytes are changed, tag and status are not stored */
	BEFORE_COMPLETE, /* every status is stored, the task is not handed in */
	AFTER_COMPLETE,	 /* handed in, not counted */
	BEFORE_POST,	 /* counted as the last, done is not posted */
	N_PLACES,
};

struct plan {
	atomic_int place;
	atomic_int countdown; /* passes through the place until it happens; 0 is now */
	atomic_bool always;   /* not once, at every pass */
	atomic_bool hang;     /* instead of dying */
	atomic_int hung;      /* pid of who hangs */
	atomic_bool fork_fails;
};

static struct plan *plan;
static pid_t test_pid;
static atomic_int starting_complaints;

/* What the machine is said to have, and how often that was asked. */
static atomic_uint idle_now;
static atomic_int idle_looks;

uint32_t __wrap_idle_processors(struct idle *last);
uint32_t __wrap_idle_processors(struct idle *last)
{
	(void)last;
	atomic_fetch_add(&idle_looks, 1);
	return atomic_load(&idle_now);
}

static bool in_worker(void)
{
	return getpid() != test_pid;
}

static void here(enum place place)
{
	if (!in_worker() || atomic_load(&plan->place) != (int)place)
		return;
	if (atomic_fetch_sub(&plan->countdown, 1) != 0 && !atomic_load(&plan->always))
		return;
	if (atomic_load(&plan->hang)) {
		atomic_store(&plan->hung, getpid());
		for (;;)
			sync_pause();
	}
	syscall(SYS_kill, getpid(), SIGKILL); /* the filter kills for the attempt */
}

static void plan_death(enum place place, int passes)
{
	atomic_store(&plan->countdown, passes);
	atomic_store(&plan->place, (int)place);
}

/* Warming up is not at stake. */
static bool is_block(const struct cipher_key *key)
{
	return memcmp(key->secret, test_secret, sizeof(test_secret)) == 0 ||
	       key->suite == CIPHER_XOR;
}

int __real_cipher_seal(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, uint8_t *tag);
int __wrap_cipher_seal(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, uint8_t *tag);
int __wrap_cipher_seal(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, uint8_t *tag)
{
	int r;

	if (!is_block(key))
		return __real_cipher_seal(key, nonce, aad, aad_size, data, size, tag);
	here(BEFORE_BLOCK);
	if (in_worker() && atomic_load(&plan->place) == MID_BLOCK) {
		uint8_t copy[ENGINE_BLOCK_SIZE];

		memcpy(copy, data, size);
		__real_cipher_seal(key, nonce, aad, aad_size, copy, size, tag);
		if (atomic_load(&plan->countdown) == 0)
			memcpy(data, copy, size / 2);
		here(MID_BLOCK);
	}
	r = __real_cipher_seal(key, nonce, aad, aad_size, data, size, tag);
	here(AFTER_BLOCK);
	return r;
}

int __real_cipher_open(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, const uint8_t *tag);
int __wrap_cipher_open(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, const uint8_t *tag);
int __wrap_cipher_open(const struct cipher_key *key, const uint8_t *nonce, const void *aad,
		       size_t aad_size, void *data, size_t size, const uint8_t *tag)
{
	int r;

	if (!is_block(key))
		return __real_cipher_open(key, nonce, aad, aad_size, data, size, tag);
	here(BEFORE_BLOCK);
	if (in_worker() && atomic_load(&plan->place) == MID_BLOCK) {
		uint8_t copy[ENGINE_BLOCK_SIZE];

		memcpy(copy, data, size);
		__real_cipher_open(key, nonce, aad, aad_size, copy, size, tag);
		if (atomic_load(&plan->countdown) == 0)
			memcpy(data, copy, size / 2);
		here(MID_BLOCK);
	}
	r = __real_cipher_open(key, nonce, aad, aad_size, data, size, tag);
	here(AFTER_BLOCK);
	return r;
}

void __real_cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size);
void __wrap_cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size);
void __wrap_cipher_xor(const struct cipher_key *key, uint64_t position, void *data, size_t size)
{
	here(BEFORE_BLOCK);
	__real_cipher_xor(key, position, data, size / 2);
	here(MID_BLOCK);
	__real_cipher_xor(key, position + size / 2, (uint8_t *)data + size / 2, size - size / 2);
	here(AFTER_BLOCK);
}

int __real_queue_take(struct queue *q, struct queue_owner owner, struct queue_ref *ref,
		      struct task *task);
int __wrap_queue_take(struct queue *q, struct queue_owner owner, struct queue_ref *ref,
		      struct task *task);
int __wrap_queue_take(struct queue *q, struct queue_owner owner, struct queue_ref *ref,
		      struct task *task)
{
	int r = __real_queue_take(q, owner, ref, task);

	if (!r)
		here(AFTER_TAKE);
	return r;
}

int __real_queue_complete(struct queue *q, struct queue_owner owner, struct queue_ref ref);
int __wrap_queue_complete(struct queue *q, struct queue_owner owner, struct queue_ref ref);
int __wrap_queue_complete(struct queue *q, struct queue_owner owner, struct queue_ref ref)
{
	int r;

	here(BEFORE_COMPLETE);
	r = __real_queue_complete(q, owner, ref);
	here(AFTER_COMPLETE);
	return r;
}

void __real_sync_sem_post(struct sync_sem *s);
void __wrap_sync_sem_post(struct sync_sem *s);
void __wrap_sync_sem_post(struct sync_sem *s)
{
	here(BEFORE_POST);
	__real_sync_sem_post(s);
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	if (atomic_load(&plan->fork_fails)) {
		errno = EAGAIN;
		return -1;
	}
	return __real_fork();
}

void __wrap_log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void __wrap_log_warn(const char *format, ...)
{
	if (strstr(format, "cannot"))
		atomic_fetch_add(&starting_complaints, 1);
}

void __wrap_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void __wrap_log_error(const char *format, ...)
{
	(void)format;
}

static int make_plan(void **state)
{
	(void)state;
	atomic_store(&plan->place, NOWHERE);
	atomic_store(&plan->always, false);
	atomic_store(&plan->hang, false);
	atomic_store(&plan->hung, 0);
	atomic_store(&plan->fork_fails, false);
	atomic_store(&starting_complaints, 0);
	return 0;
}

static int check_nothing_is_left(void **state)
{
	char mine[64];
	struct dirent *d;
	DIR *dir = opendir("/dev/shm");
	int left = 0;

	(void)state;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	(void)snprintf(mine, sizeof(mine), "cryptfs-%d-", (int)test_pid);
	while (dir && (d = readdir(dir)))
		left += strncmp(d->d_name, mine, strlen(mine)) == 0;
	if (dir)
		closedir(dir);
	return left;
}

/* Its children, as the kernel lists them: how many (up to max). */
static int children_of(pid_t pid, pid_t *pids, int max)
{
	char path[64];
	FILE *f;
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	while (f && n < max && fscanf(f, "%d", &pids[n]) == 1)
		n++;
	if (f)
		fclose(f);
	return n;
}

static pid_t a_worker_of(struct engine *e)
{
	pid_t pids[ENGINE_MAX_WORKERS];

	return children_of(e->pool.zygote.pid, pids, ENGINE_MAX_WORKERS) ? pids[0] : 0;
}

static const struct engine_batch eight_blocks_and_a_bit = { .offset = 4016, .size = 35000 };
static const struct engine_batch one_mib = { .offset = 4096, .size = 1 << 20, .first_record = 1 };

static void death_at_any_place_changes_no_byte(void **state)
{
	(void)state;
	for (int place = AFTER_TAKE; place < N_PLACES; place++) {
		for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_XOR; s++) {
			struct engine *e = start_engine(1, true, 1);
			uint32_t slot = get_slot(e);

			plan_death((enum place)place, 0);
			check_round_trip(e, slot, s, eight_blocks_and_a_bit);
			assert_true(atomic_load(&plan->countdown) < 0);
			/* Again, when it opens, and not at the first occasion. */
			plan_death((enum place)place, place < BEFORE_COMPLETE ? 12 : 1);
			if (place == AFTER_TAKE)
				plan_death(AFTER_TAKE, 1);
			check_round_trip(e, slot, s, eight_blocks_and_a_bit);
			assert_true(atomic_load(&plan->countdown) < 0);
			plan_death(NOWHERE, 0);
			check_round_trip(e, slot, s, one_mib);
			WAIT_UNTIL(counters_of(e).workers_died == 2);
			WAIT_UNTIL(counters_of(e).workers_alive == 1);
			assert_int_equal(counters_of(e).workers_started, 3);
			assert_int_equal(counters_of(e).tasks_repaired,
					 place < AFTER_COMPLETE ? 2 : 0);
			assert_int_equal(counters_of(e).tasks_inline, 0);
			engine_stop(e);
			check_nothing_is_left(NULL);
		}
	}
}

/* Seal 1 MiB, take it in steps, and open it again: as it was. */
static void check_steps_with_deaths(struct engine *e, uint32_t slot, uint32_t step)
{
	static struct bytes sealed;
	static uint8_t tags[ENGINE_SLOT_BLOCKS][16];
	struct engine_batch b = one_mib;
	uint32_t blocks = b.size / ENGINE_BLOCK_SIZE;

	b.op = ENGINE_SEAL;
	set_key(e, slot, CIPHER_AES_256_GCM);
	fill_slot(e, slot);
	memcpy(&sealed, engine_slot_data(e, slot), sizeof(sealed));
	expect(&b, CIPHER_AES_256_GCM, engine_slot_records(e, slot), sealed.b, tags);
	assert_int_equal(engine_submit(e, slot, &b), 0);
	for (uint32_t n = step; n <= blocks; n += step) {
		size_t start = b.offset + (size_t)(n - step) * ENGINE_BLOCK_SIZE;

		assert_int_equal(engine_wait_first(e, slot, n), 0);
		assert_memory_equal(engine_slot_data(e, slot) + start, sealed.b + start,
				    (size_t)step * ENGINE_BLOCK_SIZE);
	}
	assert_int_equal(engine_wait(e, slot), 0);
	assert_memory_equal(engine_slot_data(e, slot), sealed.b, sizeof(sealed));
	for (uint32_t i = 0; i < blocks; i++)
		assert_memory_equal(engine_slot_records(e, slot)[1 + i].tag, tags[i], 16);
}

static void death_while_the_first_blocks_are_waited_for_changes_no_byte(void **state)
{
	(void)state;
	for (int place = AFTER_TAKE; place < N_PLACES; place++) {
		struct engine *e = start_engine(1, true, 1);
		uint32_t slot = get_slot(e);

		plan_death((enum place)place, 0);
		check_steps_with_deaths(e, slot, 64);
		assert_true(atomic_load(&plan->countdown) < 0);
		/* Again, in a task that is not the first; done is posted once for all. */
		plan_death((enum place)place, place == BEFORE_POST ? 0 : 3);
		if (place >= BEFORE_BLOCK && place < BEFORE_COMPLETE)
			plan_death((enum place)place, 70);
		check_steps_with_deaths(e, slot, 32);
		assert_true(atomic_load(&plan->countdown) < 0);
		plan_death(NOWHERE, 0);
		check_steps_with_deaths(e, slot, 1);
		WAIT_UNTIL(counters_of(e).workers_died == 2);
		assert_int_equal(counters_of(e).tasks_inline, 0);
		engine_stop(e);
		check_nothing_is_left(NULL);
	}
}

static void a_task_that_kills_every_worker_fails_in_the_end(void **state)
{
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 4096 };
	struct engine *e = start_engine(1, true, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	set_key(e, slot, CIPHER_AES_256_GCM);
	atomic_store(&plan->always, true);
	plan_death(MID_BLOCK, 0);
	assert_int_equal(engine_run(e, slot, &b), -EIO);
	assert_true(counters_of(e).workers_died > 10);
	plan_death(NOWHERE, 0);
	assert_int_equal(engine_run(e, slot, &b), 0);
	engine_stop(e);
}

struct killer {
	struct engine *e;
	atomic_bool stop;
	int kills;
};

static void *kill_at_random(void *arg)
{
	struct killer *k = arg;

	while (!atomic_load(&k->stop)) {
		pid_t pids[ENGINE_MAX_WORKERS];
		int n = children_of(k->e->pool.zygote.pid, pids, ENGINE_MAX_WORKERS);
		unsigned int random;

		(void)!getrandom(&random, sizeof(random), 0);
		if (n && !kill(pids[random % (unsigned int)n], SIGKILL))
			k->kills++;
		nanosleep(&(struct timespec){ .tv_nsec = (long)(random % 3000000) }, NULL);
	}
	return NULL;
}

static void workers_killed_at_random_change_no_byte(void **state)
{
	(void)state;
	for (int strict = 0; strict <= 1; strict++) {
		struct engine *e = start_engine(2, strict, 1);
		uint32_t slot = get_slot(e);
		struct killer k = { .e = e };
		uint64_t end = sync_now_ns() + 1000000000;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, kill_at_random, &k), 0);
		e->pace.wake_ns = 1; /* always worth it */
		while (sync_now_ns() < end) {
			check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
			check_round_trip(e, slot, CIPHER_XOR, one_mib);
			check_round_trip(e, slot, CIPHER_CHACHA20_POLY1305, one_mib);
			check_steps_with_deaths(e, slot, 64);
		}
		atomic_store(&k.stop, true);
		pthread_join(thread, NULL);
		assert_true(k.kills > 0);
		engine_stop(e);
	}
}

static void without_its_zygote_the_engine_goes_on_alone(void **state)
{
	(void)state;
	for (int strict = 0; strict <= 1; strict++) {
		struct engine *e = start_engine(2, strict, 1);
		uint32_t slot = get_slot(e);

		check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
		WAIT_UNTIL(counters_of(e).workers_alive == 2);
		assert_int_equal(kill(e->pool.zygote.pid, SIGKILL), 0);
		for (int i = 0; i < 5; i++)
			check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
		WAIT_UNTIL(counters_of(e).workers_alive == 0);
		check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
		assert_true(counters_of(e).tasks_inline > 0);
		engine_stop(e);
	}
}

static void a_failing_fork_means_fewer_workers_and_one_line(void **state)
{
	struct engine *e = start_engine(3, true, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	e->pace.wake_ns = 1;
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(counters_of(e).workers_alive == 3);
	atomic_store(&plan->fork_fails, true);
	assert_int_equal(kill(a_worker_of(e), SIGKILL), 0);
	WAIT_UNTIL(counters_of(e).workers_alive == 2);
	WAIT_UNTIL(counters_of(e).workers_target == 2);
	for (int i = 0; i < 20; i++)
		check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	assert_int_equal(atomic_load(&starting_complaints), 1);
	assert_int_equal(counters_of(e).workers_alive, 2);
	engine_stop(e);
}

static void with_no_fork_at_all_the_threads_do_the_work(void **state)
{
	struct engine *e;
	uint32_t slot;

	(void)state;
	e = start_engine(2, true, 1); /* a zygote, but no workers */
	slot = get_slot(e);
	atomic_store(&plan->fork_fails, true);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	assert_int_equal(counters_of(e).workers_started, 0);
	assert_int_equal(atomic_load(&starting_complaints), 1);
	engine_stop(e);

	e = start_engine(2, true, 1); /* not even a zygote */
	slot = get_slot(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	assert_int_equal(atomic_load(&starting_complaints), 2);
	engine_stop(e);
}

static void a_worker_that_hangs_with_a_task_is_replaced(void **state)
{
	(void)state;
	for (int stopped = 0; stopped <= 1; stopped++) {
		struct engine *e = start_engine(1, true, 1);
		struct engine_batch b = eight_blocks_and_a_bit;
		uint32_t slot = get_slot(e);

		atomic_store(&plan->hung, 0);
		atomic_store(&plan->hang, true);
		plan_death(MID_BLOCK, 3);
		set_key(e, slot, CIPHER_AES_256_GCM);
		b.op = ENGINE_SEAL;
		assert_int_equal(engine_submit(e, slot, &b), 0);
		WAIT_UNTIL(atomic_load(&plan->hung));
		if (stopped)
			assert_int_equal(kill(atomic_load(&plan->hung), SIGSTOP), 0);
		assert_int_equal(engine_wait(e, slot), 0);
		assert_int_equal(counters_of(e).workers_died, 1);
		assert_int_equal(counters_of(e).tasks_repaired, 1);
		check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
		engine_stop(e);
	}
}

static void a_queue_that_stays_long_gets_another_worker(void **state)
{
	const struct engine_options o = { .workers = ENGINE_WORKERS_AUTO,
					  .strict = true,
					  .slots = 4 };
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 35000 };
	struct engine *e;

	(void)state;
	assert_int_equal(engine_start(&o, &e), 0);
	e->pool.options.max = 3;
	atomic_store(&e->pool.limit, 3);
	e->pace.wake_ns = 1000000;
	assert_int_equal(engine_watch(e), 0);
	atomic_store(&plan->hang, true);
	plan_death(BEFORE_BLOCK, 0);
	for (uint32_t slot = 0; slot < 4; slot++) {
		assert_int_equal(get_slot(e), slot);
		set_key(e, slot, CIPHER_AES_256_GCM);
		assert_int_equal(engine_submit(e, slot, &b), 0);
		WAIT_UNTIL(atomic_load(&plan->hung));
	}
	WAIT_UNTIL(counters_of(e).workers_target >= 2);
	for (uint32_t slot = 0; slot < 4; slot++)
		assert_int_equal(engine_wait(e, slot), 0);
	engine_stop(e);
}

static void beyond_the_processors_workers_come_only_while_some_are_idle(void **state)
{
	const struct engine_options o = {
		.workers = 3, .elastic = true, .strict = true, .slots = 4
	};
	const struct engine_batch b = { .op = ENGINE_SEAL, .size = 35000 };
	struct engine *e;

	(void)state;
	atomic_store(&idle_now, 0);
	atomic_store(&idle_looks, 0);
	assert_int_equal(engine_start(&o, &e), 0);
	e->pool.options.at_once = 1;
	assert_int_equal(engine_watch(e), 0);
	atomic_store(&plan->hang, true);
	plan_death(BEFORE_BLOCK, 0);
	for (uint32_t slot = 0; slot < 4; slot++) {
		assert_int_equal(get_slot(e), slot);
		set_key(e, slot, CIPHER_AES_256_GCM);
		assert_int_equal(engine_submit(e, slot, &b), 0);
		WAIT_UNTIL(atomic_load(&plan->hung));
	}
	WAIT_UNTIL(atomic_load(&idle_looks) >= 4);
	assert_int_equal(counters_of(e).workers_target, 1);
	atomic_store(&idle_now, 1);
	WAIT_UNTIL(counters_of(e).workers_target >= 2);
	for (uint32_t slot = 0; slot < 4; slot++)
		assert_int_equal(engine_wait(e, slot), 0);
	engine_stop(e);
}

static void a_sleeper_that_is_stopped_is_replaced(void **state)
{
	struct engine *e = start_engine(1, true, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(atomic_load(&e->arena.shm->workers[0].state) == WORKER_PARKED);
	assert_int_equal(kill(a_worker_of(e), SIGSTOP), 0);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	assert_int_equal(counters_of(e).workers_died, 1);
	engine_stop(e);
}

static void a_worker_told_by_sigterm_leaves_in_order(void **state)
{
	struct engine *e = start_engine(1, true, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	for (uint64_t i = 1; i <= 3; i++) {
		check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
		WAIT_UNTIL(counters_of(e).workers_started == i);
		WAIT_UNTIL(atomic_load(&e->arena.shm->workers[0].state) >= WORKER_BUSY);
		assert_int_equal(kill(a_worker_of(e), SIGTERM), 0);
	}
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(counters_of(e).workers_started == 4);
	assert_int_equal(counters_of(e).workers_died, 0);
	engine_stop(e);
}

static void the_terminals_signals_reach_nobody(void **state)
{
	struct engine *e = start_engine(1, true, 1);
	uint32_t slot = get_slot(e);

	(void)state;
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(atomic_load(&e->arena.shm->workers[0].state) == WORKER_PARKED);
	assert_int_equal(kill(e->pool.zygote.pid, SIGINT), 0);
	assert_int_equal(kill(e->pool.zygote.pid, SIGTERM), 0);
	assert_int_equal(kill(a_worker_of(e), SIGINT), 0);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	assert_int_equal(counters_of(e).workers_died, 0);
	assert_int_equal(counters_of(e).workers_alive, 1);
	assert_int_not_equal(getsid(e->pool.zygote.pid), getsid(0));
	engine_stop(e);
}

/* The value of a line of /proc/PID/status, or -1. */
static int status_of(pid_t pid, const char *name)
{
	char path[64];
	char line[256];
	FILE *f;
	int value = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			value = atoi(line + strlen(name) + 1);
	if (f)
		fclose(f);
	return value;
}

/* Open descriptors from first on, or -1 if we may not look. */
static int descriptors_of(pid_t pid, int first)
{
	char path[64];
	struct dirent *d;
	DIR *dir;
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((d = readdir(dir)))
		n += d->d_name[0] != '.' && atoi(d->d_name) >= first;
	closedir(dir);
	return n;
}

static void a_worker_has_no_descriptors_and_a_filter(void **state)
{
	struct engine *e = start_engine(1, true, 1);
	uint32_t slot = get_slot(e);
	int first = 0;
	pid_t pid;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	first = 3; /* it keeps what the sanitizer reports to */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	first = 3;
#endif
#endif
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	pid = a_worker_of(e);
	assert_true(pid > 0);
	assert_int_equal(status_of(pid, "Seccomp:"), 2);
	assert_int_equal(status_of(pid, "NoNewPrivs:"), 1);
	assert_int_equal(status_of(e->pool.zygote.pid, "Threads:"), 1);
	if (geteuid() == 0) { /* others may not look into an undumpable process */
		assert_int_equal(descriptors_of(pid, first), 0);
		/* The worker's pidfd may not have been closed yet. */
		WAIT_UNTIL(descriptors_of(e->pool.zygote.pid, first) == 1);
	}
	engine_stop(e);
}

/* A mount process of its own: says its workers' numbers, then waits to be killed. */
static void be_a_mount_process(int out)
{
	pid_t pids[3];
	struct engine *e;
	uint32_t slot;

	test_pid = getpid();
	e = start_engine(2, true, 1);
	slot = get_slot(e);
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(children_of(e->pool.zygote.pid, pids, 2) == 2);
	pids[2] = e->pool.zygote.pid;
	(void)!write(out, pids, sizeof(pids));
	for (;;)
		pause();
}

static void nobody_outlives_the_mount_process(void **state)
{
	int ends[2];
	pid_t pids[3];
	pid_t pid;

	(void)state;
	/* Orphans come to us, so that we see them end. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		be_a_mount_process(ends[1]);
		_exit(1);
	}
	assert_int_equal(read(ends[0], pids, sizeof(pids)), sizeof(pids));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* The zygote first: it may be reaping them itself.  Hangs if one lives on. */
	for (int i = 2; i >= 0; i--) {
		(void)waitpid(pids[i], NULL, 0);
		assert_int_equal(kill(pids[i], 0), -1);
	}
	close(ends[0]);
	close(ends[1]);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

static void stopping_ends_even_those_that_do_not_listen(void **state)
{
	struct engine *e = start_engine(2, true, 1);
	uint32_t slot = get_slot(e);
	pid_t zygote = e->pool.zygote.pid;
	pid_t pids[2];

	(void)state;
	check_round_trip(e, slot, CIPHER_AES_256_GCM, one_mib);
	WAIT_UNTIL(children_of(zygote, pids, 2) == 2);
	assert_int_equal(kill(pids[0], SIGSTOP), 0);
	engine_stop(e);
	assert_int_equal(kill(pids[0], 0), -1);
	assert_int_equal(kill(pids[1], 0), -1);
	assert_int_equal(kill(zygote, 0), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_plan, check_nothing_is_left)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(death_at_any_place_changes_no_byte),
		T(death_while_the_first_blocks_are_waited_for_changes_no_byte),
		T(a_task_that_kills_every_worker_fails_in_the_end),
		T(workers_killed_at_random_change_no_byte),
		T(without_its_zygote_the_engine_goes_on_alone),
		T(a_failing_fork_means_fewer_workers_and_one_line),
		T(with_no_fork_at_all_the_threads_do_the_work),
		T(a_worker_that_hangs_with_a_task_is_replaced),
		T(a_queue_that_stays_long_gets_another_worker),
		T(beyond_the_processors_workers_come_only_while_some_are_idle),
		T(a_sleeper_that_is_stopped_is_replaced),
		T(a_worker_told_by_sigterm_leaves_in_order),
		T(the_terminals_signals_reach_nobody),
		T(a_worker_has_no_descriptors_and_a_filter),
		T(nobody_outlives_the_mount_process),
		T(stopping_ends_even_those_that_do_not_listen),
	};

	test_pid = getpid();
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (plan == MAP_FAILED)
		return 1;
	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("engine crash", tests, NULL, NULL);
}
