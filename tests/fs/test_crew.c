/* SPDX-License-Identifier: MIT */
/* Who reads next: by itself, and with threads that pass requests around. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/crew.h"

enum { QUICK = 3, SLOW = 7, QUICK_NS = 1000, SLOW_NS = 2 * CREW_SLOW_NS };

static struct crew crew;

/* How many are called and have not come yet. */
static int n_called(void)
{
	int n;

	assert_int_equal(sem_getvalue(&crew.bench, &n), 0);
	return n;
}

static uint32_t n_readers(void)
{
	return atomic_load(&crew.readers);
}

/* Requests of this kind took so long lately. */
static void learn(uint32_t kind, uint64_t took_ns)
{
	for (int i = 0; i < 64; i++) {
		atomic_fetch_add(&crew.serving, 1);
		crew_end(&crew, kind, false, took_ns);
	}
}

/* A crew of n that knows QUICK; one of them, the test, reads. */
static void gather(uint32_t n)
{
	assert_int_equal(crew_init(&crew, n), 0);
	learn(QUICK, QUICK_NS);
	assert_true(crew_wait(&crew));
}

static int disband(void **state)
{
	(void)state;
	crew_fini(&crew);
	return 0;
}

/* ---- one by one ------------------------------------------------------------ */

static void one_is_called_at_the_start(void **state)
{
	(void)state;
	assert_int_equal(crew_init(&crew, 3), 0);
	assert_int_equal(n_called(), 1);
	assert_true(crew_wait(&crew));
	assert_int_equal(n_called(), 0);
	assert_int_equal(n_readers(), 1);
}

static void a_quick_request_keeps_its_place(void **state)
{
	(void)state;
	gather(3);
	for (int i = 0; i < 10; i++) {
		assert_false(crew_begin(&crew, QUICK));
		assert_int_equal(atomic_load(&crew.serving), 1);
		crew_end(&crew, QUICK, false, QUICK_NS);
	}
	assert_int_equal(atomic_load(&crew.serving), 0);
	assert_int_equal(n_called(), 0);
	assert_int_equal(n_readers(), 1);
}

static void an_unknown_request_hands_it_over(void **state)
{
	(void)state;
	gather(3);
	assert_true(crew_begin(&crew, SLOW));
	assert_int_equal(n_called(), 1);
	assert_int_equal(n_readers(), 1);
	assert_true(crew_wait(&crew)); /* another one */
	crew_end(&crew, SLOW, true, SLOW_NS);
	assert_int_equal(n_readers(), 2);
	assert_int_equal(atomic_load(&crew.serving), 0);
	assert_true(crew_begin(&crew, SLOW)); /* the other reads: nobody is called */
	assert_int_equal(n_called(), 0);
	assert_int_equal(n_readers(), 1);
}

static void what_was_slow_becomes_quick_and_slow_again(void **state)
{
	(void)state;
	gather(2);
	learn(SLOW, QUICK_NS);
	assert_false(crew_begin(&crew, SLOW));
	crew_end(&crew, SLOW, false, UINT64_MAX); /* once is enough, if it was that long */
	assert_true(crew_begin(&crew, SLOW));
	crew_end(&crew, SLOW, true, SLOW_NS);
	learn(SLOW, QUICK_NS);
	assert_false(crew_begin(&crew, SLOW));
	assert_false(crew_begin(&crew, QUICK));
}

static void great_kinds_count_as_one(void **state)
{
	(void)state;
	gather(2);
	learn(CREW_KINDS, QUICK_NS);
	assert_false(crew_begin(&crew, 1000));
	assert_false(crew_begin(&crew, UINT32_MAX));
	assert_true(crew_begin(&crew, CREW_KINDS - 2));
	assert_true(crew_begin(&crew, 0));
}

static void the_last_reader_does_not_leave(void **state)
{
	(void)state;
	gather(3);
	assert_false(crew_leave(&crew));
	crew_call(&crew);
	assert_true(crew_leave(&crew));
	assert_false(crew_leave(&crew));
	assert_int_equal(n_readers(), 1);
}

static void no_more_are_called_than_there_are(void **state)
{
	(void)state;
	gather(3);
	for (int i = 0; i < 5; i++)
		crew_call(&crew);
	assert_int_equal(n_readers(), 3);
	assert_int_equal(n_called(), 2);
}

static void one_alone_keeps_its_place_whatever_it_serves(void **state)
{
	(void)state;
	gather(1);
	assert_false(crew_begin(&crew, SLOW));
	crew_rescue(&crew);
	crew_call(&crew);
	crew_end(&crew, SLOW, false, SLOW_NS);
	assert_false(crew_leave(&crew));
	assert_int_equal(n_called(), 0);
	assert_int_equal(n_readers(), 1);
}

static void only_when_every_reader_serves_one_is_rescued(void **state)
{
	(void)state;
	gather(4);
	crew_rescue(&crew);
	assert_int_equal(n_called(), 0);
	assert_false(crew_begin(&crew, QUICK));
	crew_rescue(&crew);
	assert_int_equal(n_called(), 1);
	crew_rescue(&crew); /* who is called will read */
	assert_int_equal(n_called(), 1);
	assert_true(crew_wait(&crew));
	crew_rescue(&crew);
	assert_int_equal(n_called(), 0);
	assert_false(crew_begin(&crew, QUICK));
	crew_rescue(&crew);
	assert_int_equal(n_called(), 1);
}

static void who_came_to_the_rescue_stays_as_long_as_it_takes(void **state)
{
	(void)state;
	gather(3);
	assert_false(crew_begin(&crew, QUICK)); /* and it hangs */
	crew_rescue(&crew);
	assert_true(crew_wait(&crew));
	for (int i = 0; i < 3; i++) {
		assert_false(crew_begin(&crew, QUICK));
		crew_end(&crew, QUICK, false, QUICK_NS);
		assert_false(crew_leave(&crew));
	}
	assert_true(crew_begin(&crew, SLOW)); /* not without somebody in its place */
	assert_true(crew_wait(&crew));
	assert_false(crew_leave(&crew));
	crew_end(&crew, SLOW, true, SLOW_NS);
	assert_true(crew_leave(&crew));
	crew_end(&crew, QUICK, false, SLOW_NS); /* at last */
	assert_true(crew_leave(&crew));
	assert_false(crew_leave(&crew));
}

/* ---- threads --------------------------------------------------------------- */

enum { N_THREADS = 4, N_REQUESTS = 6000 };

static int ends[2]; /* requests go in at the first and come out at the second */
static atomic_bool stopping;
static atomic_uint served[N_REQUESTS];

static bool is_served(uint32_t number)
{
	return atomic_load(&served[number]);
}

/*
 * Some requests, of which most are slow and some should be quick, hang until
 * the one after them is served: by another thread, that is.
 */
static bool waits_for_the_next(uint32_t number)
{
	return number % 3 == 1 && number + 1 < N_REQUESTS;
}

static void serve(uint32_t number)
{
	bool waits = waits_for_the_next(number);
	uint32_t kind = waits && number % 32 ? SLOW : QUICK;
	bool away = crew_begin(&crew, kind);

	while (waits && !is_served(number + 1))
		(void)sched_yield();
	atomic_fetch_add(&served[number], 1);
	crew_end(&crew, kind, away, kind == SLOW ? SLOW_NS : QUICK_NS);
}

/* As a thread that serves a mount: wait to be called, read, serve, read on, leave. */
static void *work(void *arg)
{
	bool reads = false;

	(void)arg;
	while (!atomic_load(&stopping)) {
		struct pollfd ready = { .fd = ends[1], .events = POLLIN };
		uint32_t number;

		if (!reads)
			reads = crew_wait(&crew);
		if (!reads)
			continue;
		if (recv(ends[1], &number, sizeof(number), 0) == sizeof(number)) {
			if (number % 5 == 0)
				crew_call(&crew);
			serve(number);
		} else if (crew_leave(&crew)) {
			reads = false;
		} else {
			(void)poll(&ready, 1, -1);
		}
	}
	return NULL;
}

static void do_nothing(int signal)
{
	(void)signal;
}

static void start(pthread_t threads[N_THREADS])
{
	const struct sigaction action = { .sa_handler = do_nothing };

	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(crew_init(&crew, N_THREADS), 0);
	atomic_store(&stopping, false);
	memset(served, 0, sizeof(served));
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
}

/* A signal may come just before a wait: again, until it is gone. */
static void stop(pthread_t threads[N_THREADS])
{
	atomic_store(&stopping, true);
	for (int i = 0; i < N_THREADS; i++)
		while (pthread_tryjoin_np(threads[i], NULL) == EBUSY) {
			(void)pthread_kill(threads[i], SIGUSR1);
			(void)sched_yield();
		}
	close(ends[0]);
	close(ends[1]);
}

static void a_signal_ends_every_wait(void **state)
{
	pthread_t threads[N_THREADS];

	(void)state;
	for (int i = 0; i < 20; i++) {
		start(threads);
		for (int j = i; j < N_THREADS; j++)
			(void)pthread_kill(threads[j], SIGUSR1);
		stop(threads);
		if (i < 19)
			crew_fini(&crew);
	}
}

static void each_request_is_served_once_and_none_waits_for_ever(void **state)
{
	pthread_t threads[N_THREADS];

	(void)state;
	start(threads);
	for (uint32_t i = 0; i < N_REQUESTS; i++) {
		assert_int_equal(send(ends[0], &i, sizeof(i), 0), sizeof(i));
		while (i % 7 == 0 && !is_served(i) && !waits_for_the_next(i))
			crew_rescue(&crew);
	}
	for (uint32_t i = 0; i < N_REQUESTS; i++)
		while (!is_served(i))
			crew_rescue(&crew);
	stop(threads);
	for (uint32_t i = 0; i < N_REQUESTS; i++)
		assert_int_equal(atomic_load(&served[i]), 1);
	assert_int_equal(atomic_load(&crew.serving), 0);
	assert_true(n_readers() >= 1);
}

#define T(f) cmocka_unit_test_teardown(f, disband)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_is_called_at_the_start),
		T(a_quick_request_keeps_its_place),
		T(an_unknown_request_hands_it_over),
		T(what_was_slow_becomes_quick_and_slow_again),
		T(great_kinds_count_as_one),
		T(the_last_reader_does_not_leave),
		T(no_more_are_called_than_there_are),
		T(one_alone_keeps_its_place_whatever_it_serves),
		T(only_when_every_reader_serves_one_is_rescued),
		T(who_came_to_the_rescue_stays_as_long_as_it_takes),
		T(a_signal_ends_every_wait),
		T(each_request_is_served_once_and_none_waits_for_ever),
	};

	alarm(100); /* a hang is a failure */
	return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
