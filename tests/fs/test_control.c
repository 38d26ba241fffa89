/* SPDX-License-Identifier: MIT */
/* The control socket, asked and mistreated; its directory as for a mount. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/control.h"

static struct control_name name;
static char path[108];
static struct control *c;

/* Where the body of the last question was. */
static const uint8_t *last_body;

static char *echo(void *arg, const struct control_question *q)
{
	char *answer = NULL;

	last_body = q->body;
	if (strcmp(q->command, "nothing") == 0 ||
	    asprintf(&answer, "%s%s%.*s", (const char *)arg, q->command, (int)q->body_size,
		     (const char *)q->body) < 0)
		return NULL;
	return answer;
}

/* What others use at the same time is not opened in earnest. */
static bool looks_open;

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st)
{
	int r = __real_fstat64(fd, st);

	if (looks_open)
		st->st_mode |= 010;
	return r;
}

static char greeting[] = "you said ";

static bool find_path(const char *directory)
{
	(void)snprintf(path, sizeof(path), "%s/%u:%u.sock", directory, name.major, name.minor);
	return !access(path, F_OK);
}

static int open_and_start(const struct control_name *which, control_answer *answer, void *arg,
			  struct control **out)
{
	int r = control_open(which, answer, arg, out);

	return r ? r : control_start(*out);
}

/* A device that no mount has. */
static int setup(void **state)
{
	char directory[2][64];

	(void)state;
	name = (struct control_name){ getuid(), 4000000000U, (unsigned int)getpid() };
	if (open_and_start(&name, echo, greeting, &c))
		return 0; /* then the tests are skipped */
	(void)snprintf(directory[0], sizeof(directory[0]), "/run/user/%u/cryptfs", name.owner);
	(void)snprintf(directory[1], sizeof(directory[1]), "/tmp/cryptfs-%u", name.owner);
	if (!find_path(name.owner ? directory[0] : "/run/cryptfs") && !find_path(directory[1]))
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	control_stop(c);
	c = NULL;
	return 0;
}

static void need_control(void)
{
	if (!c)
		skip();
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void assert_answers(void)
{
	char *reply;

	assert_int_equal(control_ask(&name, "hello", &reply), 0);
	assert_string_equal(reply, "you said hello");
	free(reply);
}

static void a_command_is_answered(void **state)
{
	(void)state;
	need_control();
	assert_answers();
	assert_answers();
}

static void a_body_is_handed_over_and_wiped(void **state)
{
	static char long_body[CONTROL_BODY_MAX + 1];
	struct control_question q = { "say", "\nsecret 7\n", 10 };
	char *reply;

	(void)state;
	need_control();
	assert_int_equal(control_tell(&name, &q, &reply), 0);
	assert_string_equal(reply, "you said say\nsecret 7\n");
	free(reply);
	for (int i = 0; i < 10; i++)
		assert_int_equal(last_body[i], 0);
	memset(long_body, 'x', sizeof(long_body));
	q = (struct control_question){ "say", long_body, CONTROL_BODY_MAX };
	assert_int_equal(control_tell(&name, &q, &reply), 0);
	assert_int_equal(strlen(reply), strlen("you said say") + CONTROL_BODY_MAX);
	free(reply);
	q.body_size++;
	assert_int_equal(control_tell(&name, &q, &reply), CONTROL_SILENT);
	assert_answers();
}

static void a_size_that_is_none_gets_no_answer(void **state)
{
	static const char *const lines[] = { "say \n",	   "say x\n",
					     "say -1\n",   "say 1x\nx",
					     "say 8193\n", "say 99999999999999999999\n",
					     "say 1 \nx" };
	char byte;

	(void)state;
	need_control();
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = dial();

		assert_true(send(fd, lines[i], strlen(lines[i]), MSG_NOSIGNAL) > 0);
		assert_true(recv(fd, &byte, 1, 0) <= 0);
		close(fd);
	}
	assert_answers();
}

static void its_process_is_known(void **state)
{
	pid_t pid = 0;

	(void)state;
	need_control();
	assert_int_equal(control_process(&name, &pid), 0);
	assert_int_equal(pid, getpid());
	assert_answers();
}

static void an_unknown_command_is_an_error_and_no_more(void **state)
{
	char *reply;

	(void)state;
	need_control();
	assert_int_equal(control_ask(&name, "nothing", &reply), 0);
	assert_string_equal(reply, "{\"error\": \"unknown command\"}");
	free(reply);
	assert_answers();
}

static void garbage_gets_no_answer(void **state)
{
	char garbage[3 * CONTROL_COMMAND_MAX];
	char byte;
	int fd;

	(void)state;
	need_control();
	memset(garbage, 0xff, sizeof(garbage));
	fd = dial();
	(void)!send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
	assert_answers();
}

static void who_says_nothing_is_hung_up_on(void **state)
{
	char byte;
	int fds[3];

	(void)state;
	need_control();
	for (size_t i = 0; i < 3; i++)
		fds[i] = dial();
	close(fds[0]);
	assert_int_equal(send(fds[1], "half a com", 10, MSG_NOSIGNAL), 10);
	assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
	assert_answers();
	close(fds[1]);
	close(fds[2]);
}

static void it_stops_while_somebody_dawdles(void **state)
{
	int fd;

	(void)state;
	need_control();
	fd = dial();
	control_stop(c);
	c = NULL;
	close(fd);
}

static void the_socket_is_its_owners_alone(void **state)
{
	struct stat st;

	(void)state;
	need_control();
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	*strrchr(path, '/') = '\0';
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(st.st_uid, getuid());
}

static void without_a_socket_nobody_is_there(void **state)
{
	char *reply;

	(void)state;
	need_control();
	control_stop(c);
	c = NULL;
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(control_ask(&name, "hello", &reply), CONTROL_NOBODY);
	assert_null(reply);
}

/* What a killed process leaves: a socket that nobody listens at. */
static void a_stale_socket_is_found_dead_and_replaced(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char *reply;

	(void)state;
	need_control();
	control_stop(c);
	c = NULL;
	strcpy(a.sun_path, path);
	*strrchr(path, '/') = '\0';
	assert_true(!mkdir(path, 0700) || errno == EEXIST); /* others may be there */
	assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(control_ask(&name, "hello", &reply), CONTROL_NOBODY);
	assert_int_equal(open_and_start(&name, echo, greeting, &c), 0);
	assert_answers();
}

/* Its device was given to another mount while it was settling. */
static void the_socket_of_a_successor_stays(void **state)
{
	struct control *successor;

	(void)state;
	need_control();
	assert_int_equal(open_and_start(&name, echo, greeting, &successor), 0);
	control_stop(c);
	c = successor;
	assert_answers();
}

static struct control *late_successor;
static pthread_t starting;
static int between; /* the answers of fstatat(2) to come before it starts; 0: it does not */

static void *start_successor(void *arg)
{
	(void)arg;
	if (open_and_start(&name, echo, greeting, &late_successor))
		late_successor = NULL;
	return NULL;
}

int __real_fstatat64(int fd, const char *file, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *file, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *file, struct stat *st, int flags)
{
	int r = __real_fstatat64(fd, file, st, flags);

	if (between && !--between) {
		assert_int_equal(pthread_create(&starting, NULL, start_successor, NULL), 0);
		usleep(200 * 1000); /* enough to take the name, if nothing keeps it from that */
	}
	return r;
}

/* The same, in the moment between looking and removing. */
static void the_socket_of_a_successor_in_between_stays(void **state)
{
	(void)state;
	need_control();
	between = 1;
	control_stop(c);
	assert_int_equal(pthread_join(starting, NULL), 0);
	c = late_successor;
	assert_non_null(c);
	assert_answers();
}

static void a_directory_that_others_may_enter_is_refused(void **state)
{
	struct control *other;
	char *reply;

	(void)state;
	need_control();
	looks_open = true;
	assert_int_equal(control_ask(&name, "hello", &reply), CONTROL_UNSAFE);
	assert_int_equal(open_and_start(&name, echo, greeting, &other), CONTROL_UNSAFE);
	looks_open = false;
	assert_answers();
}

#define C(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		C(a_command_is_answered),
		C(a_body_is_handed_over_and_wiped),
		C(a_size_that_is_none_gets_no_answer),
		C(its_process_is_known),
		C(an_unknown_command_is_an_error_and_no_more),
		C(garbage_gets_no_answer),
		C(who_says_nothing_is_hung_up_on),
		C(it_stops_while_somebody_dawdles),
		C(the_socket_is_its_owners_alone),
		C(without_a_socket_nobody_is_there),
		C(a_stale_socket_is_found_dead_and_replaced),
		C(the_socket_of_a_successor_stays),
		C(the_socket_of_a_successor_in_between_stays),
		C(a_directory_that_others_may_enter_is_refused),
	};

	(void)umask(0); /* as in the mount process */
	alarm(60);	/* a hang is a failure */
	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
