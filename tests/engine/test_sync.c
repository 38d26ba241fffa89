/* SPDX-License-Identifier: MIT */
/* Semaphores between processes, and what waking is measured to cost. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/pace.h"
#include "engine/sync.h"

static struct sync_sem *sems; /* two, in shared memory */

static int setup(void **state)
{
	(void)state;
	sems = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sems == MAP_FAILED)
		return -1;
	return sync_sem_init(&sems[0], 0) || sync_sem_init(&sems[1], 0);
}

static int teardown(void **state)
{
	(void)state;
	return munmap(sems, 4096);
}

static void units_are_taken_as_often_as_posted(void **state)
{
	(void)state;
	assert_int_equal(sync_sem_trywait(sems), SYNC_NONE);
	sync_sem_post(sems);
	sync_sem_post(sems);
	sync_sem_wait(sems);
	assert_int_equal(sync_sem_trywait(sems), 0);
	assert_int_equal(sync_sem_trywait(sems), SYNC_NONE);
	assert_int_equal(sync_sem_init(sems, 2), 0);
	assert_int_equal(sync_sem_trywait(sems), 0);
	assert_int_equal(sync_sem_timedwait(sems, 1000000), 0);
}

static void a_wait_that_times_out_took_its_time(void **state)
{
	uint64_t start = sync_now_ns();

	(void)state;
	assert_int_equal(sync_sem_timedwait(sems, 3000), SYNC_NONE);
	assert_true(sync_now_ns() - start >= 3000000);
	assert_int_equal(sync_sem_timedwait(sems, 0), SYNC_NONE);
}

static void a_unit_wakes_another_process(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		for (int i = 0; i < 1000; i++) {
			sync_sem_wait(&sems[0]);
			sync_sem_post(&sems[1]);
		}
		_exit(0);
	}
	for (int i = 0; i < 1000; i++) {
		sync_sem_post(&sems[0]);
		assert_int_equal(sync_sem_timedwait(&sems[1], 20000000), 0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(sync_sem_trywait(&sems[0]), SYNC_NONE);
}

static void on_signal(int signal)
{
	(void)signal;
	sync_sem_post(&sems[1]);
}

static void *post_after_signal(void *arg)
{
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	sync_sem_wait(&sems[1]); /* the handler has run */
	sync_sem_post(&sems[0]);
	return NULL;
}

static void a_signal_does_not_end_a_wait(void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct sigaction old;
	pthread_t self = pthread_self();
	pthread_t thread;

	(void)state;
#if defined(__SANITIZE_THREAD__)
	skip(); /* it holds signals back until the wait is over */
#endif
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	for (int timed = 0; timed <= 1; timed++) {
		assert_int_equal(pthread_create(&thread, NULL, post_after_signal, &self), 0);
		if (timed)
			assert_int_equal(sync_sem_timedwait(&sems[0], 20000000), 0);
		else
			sync_sem_wait(&sems[0]);
		pthread_join(thread, NULL);
	}
	assert_int_equal(sync_sem_trywait(&sems[0]), SYNC_NONE);
	sigaction(SIGUSR1, &old, NULL);
}

static void measuring_gives_sane_costs(void **state)
{
	struct pace p = { 0 };

	(void)state;
	assert_int_equal(cipher_init(), 0);
	assert_int_equal(pace_measure(&p), 0);
	assert_in_range(p.wake_ns, 500, 1000000);
	for (uint32_t s = CIPHER_AES_256_GCM; s <= CIPHER_XOR; s++)
		assert_in_range(p.kib_ns[s], 1, 1000000);
	cipher_thread_fini();
}

static void waking_must_pay(void **state)
{
	const struct pace p = { .wake_ns = 10000, .kib_ns = { 1000, 100, 200, 10 } };

	(void)state;
	/* 20 us of work for each worker; 1 KiB of AES takes 0.1 us. */
	assert_int_equal(pace_workers(&p, CIPHER_AES_256_GCM, 4096), 0);
	assert_int_equal(pace_workers(&p, CIPHER_AES_256_GCM, 199 * 1024), 0);
	assert_int_equal(pace_workers(&p, CIPHER_AES_256_GCM, 200 * 1024), 1);
	assert_int_equal(pace_workers(&p, CIPHER_AES_256_GCM, 1000 * 1024), 5);
	assert_int_equal(pace_workers(&p, CIPHER_CHACHA20_POLY1305, 1000 * 1024), 10);
	assert_int_equal(pace_workers(&p, CIPHER_XOR, 1000 * 1024), 0);
	assert_int_equal(pace_workers(&p, 4711, 20 * 1024), 1); /* no such suite: no harm */
	for (uint32_t s = 1; s <= 3; s++) {
		uint32_t size = pace_threshold(&p, s);

		assert_int_equal(pace_workers(&p, s, size), 1);
		assert_int_equal(pace_workers(&p, s, size - 1), 0);
	}
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(units_are_taken_as_often_as_posted),
		S(a_wait_that_times_out_took_its_time),
		S(a_unit_wakes_another_process),
		S(a_signal_does_not_end_a_wait),
		cmocka_unit_test(measuring_gives_sane_costs),
		cmocka_unit_test(waking_must_pay),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
