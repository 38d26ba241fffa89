/* SPDX-License-Identifier: MIT */
/* Going through trees with several threads, by way of a plain side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "fs/crawl.h"
#include "sides.h"

enum { MAX_SEEN = 512 };

/* What the visitor was told, in order. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t n;
	char lines[MAX_SEEN][64];

	/* What it answers. */
	const char *unwanted;
	const char *closed; /* not entered */
	const char *kept;   /* to be done later */
	struct crawl_item *kept_item;
	bool stops; /* after the first visit */
	bool waits; /* in the first visit, until everything was walked */
	bool is_walked;
	atomic_bool stop;

	struct crawl *crawl;
	/* An errand that each visit of this name offers. */
	const char *offers;
	uint32_t n_helping;
	uint32_t n_helped;
	uint32_t n_wanted; /* helpers to wait for */
	struct crawl_hand *owner;
	bool owner_helped;
} seen;

static int setup(void **state)
{
	(void)state;
	sides_setup();
	memset(&seen, 0, sizeof(seen));
	(void)pthread_mutex_init(&seen.lock, NULL);
	(void)pthread_cond_init(&seen.changed, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sides_teardown();
	return 0;
}

static void note(const char *what, const struct crawl_dir *dir, const char *name)
{
	char path[48];

	crawl_path(dir, name, path, sizeof(path));
	(void)pthread_mutex_lock(&seen.lock);
	assert_true(seen.n < MAX_SEEN);
	(void)snprintf(seen.lines[seen.n++], sizeof(seen.lines[0]), "%s %s", what, path);
	(void)pthread_cond_broadcast(&seen.changed);
	(void)pthread_mutex_unlock(&seen.lock);
}

/* How many lines say this; *at is the place of the last one. */
static uint32_t count(const char *line, uint32_t *at)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < seen.n; i++) {
		if (strcmp(seen.lines[i], line) != 0)
			continue;
		n++;
		if (at)
			*at = i;
	}
	return n;
}

static void assert_seen(const char *line, uint32_t n)
{
	if (count(line, NULL) != n)
		fail_msg("'%s' came %u times, not %u", line, count(line, NULL), n);
}

static void assert_order(const char *first, const char *second)
{
	uint32_t a = 0;
	uint32_t b = 0;

	if (count(first, &a) != 1 || count(second, &b) != 1 || a >= b)
		fail_msg("'%s' is not before '%s'", first, second);
}

/* ---- the visitor -------------------------------------------------------------------- */

static bool is(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static bool wants(void *arg, const struct crawl_dir *dir, const char *name,
		  const struct side_node *node)
{
	(void)arg;
	(void)dir;
	assert_true(node->st.st_ino != 0);
	return !is(name, seen.unwanted);
}

static bool enter(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	(void)arg;
	(void)h;
	if (!dir->is_above)
		note("enter", dir, NULL);
	return dir->is_above || !is(dir->name, seen.closed);
}

static void help(void *arg, struct crawl_hand *h)
{
	assert_ptr_equal(arg, &seen);
	(void)pthread_mutex_lock(&seen.lock);
	seen.owner_helped |= h == seen.owner;
	seen.n_helping++;
	(void)pthread_cond_broadcast(&seen.changed);
	while (seen.n_helping < seen.n_wanted) /* all at the same time */
		(void)pthread_cond_wait(&seen.changed, &seen.lock);
	seen.n_helped++;
	(void)pthread_mutex_unlock(&seen.lock);
}

static void wait_until_walked(void)
{
	(void)pthread_mutex_lock(&seen.lock);
	while (seen.waits && !seen.is_walked)
		(void)pthread_cond_wait(&seen.changed, &seen.lock);
	(void)pthread_mutex_unlock(&seen.lock);
}

static void say_walked(void)
{
	(void)pthread_mutex_lock(&seen.lock);
	seen.is_walked = true;
	(void)pthread_cond_broadcast(&seen.changed);
	(void)pthread_mutex_unlock(&seen.lock);
}

/* Have as many as are wanted help, and let them go. */
static void offer(struct crawl_hand *h)
{
	struct crawl_errand errand = { .help = help, .arg = &seen };

	seen.owner = h;
	crawl_offer(seen.crawl, &errand);
	(void)pthread_mutex_lock(&seen.lock);
	while (seen.n_helping < seen.n_wanted)
		(void)pthread_cond_wait(&seen.changed, &seen.lock);
	(void)pthread_mutex_unlock(&seen.lock);
	crawl_withdraw(seen.crawl, &errand);
	assert_int_equal(seen.n_helped, seen.n_wanted); /* nobody is at it any more */
	memset(&errand, 0xff, sizeof(errand));
}

static bool visit(void *arg, struct crawl_hand *h, struct crawl_item *item)
{
	(void)arg;
	if (is(item->name, seen.kept)) {
		seen.kept_item = item;
		note("keep", item->dir, item->name);
		return true;
	}
	wait_until_walked();
	for (int i = 0; seen.waits && i < 1000; i++)
		(void)sched_yield(); /* a chance for others to be too early */
	if (is(item->name, seen.offers))
		offer(h);
	note("visit", item->dir, item->name);
	if (seen.stops)
		atomic_store(&seen.stop, true);
	return false;
}

static void leave(void *arg, struct crawl_hand *h, struct crawl_dir *dir)
{
	(void)arg;
	(void)h;
	if (!dir->is_above)
		note("leave", dir, NULL);
}

static void failed(void *arg, const struct crawl_dir *dir, const char *name, int error)
{
	(void)arg;
	assert_int_equal(error, -EIO);
	note("fail", dir, name);
}

static const struct crawl_visitor visitor = {
	.wants = wants, .enter = enter, .visit = visit, .leave = leave, .failed = failed
};

static struct crawl *begin(uint32_t n_hands)
{
	const struct crawl_spec spec = {
		.from = plain, .n_hands = n_hands, .stop = &seen.stop, .visitor = &visitor
	};

	seen.n = 0;
	assert_int_equal(crawl_new(&spec, &seen.crawl), 0);
	return seen.crawl;
}

static void crawl_all(uint32_t n_hands)
{
	struct crawl *c = begin(n_hands);

	assert_int_equal(crawl_add(c, "", ""), 0);
	crawl_free(c);
}

static void make(const char *path)
{
	size_t size = strlen(path);

	if (path[size - 1] == '/')
		assert_int_equal(mkdirat(plain_dir.fd, path, 0700), 0);
	else
		tempdir_write(&plain_dir, path, "x", 1);
}

static void make_some(void)
{
	make("a/");
	make("a/in/");
	make("a/in/file");
	make("a/file");
	make("b/");
	make("c");
}

/* ---- tests ---------------------------------------------------------------------------- */

static void everything_is_seen_once_and_left_when_it_is_done(void **state)
{
	(void)state;
	make_some();
	for (uint32_t n = 1; n <= 4; n++) {
		crawl_all(n);
		assert_int_equal(seen.n, 11);
		assert_order("enter a", "enter a/in");
		assert_order("visit a/in/file", "leave a/in");
		assert_order("leave a/in", "leave a");
		assert_order("visit a/file", "leave a");
		assert_order("enter b", "leave b");
		assert_order("visit c", "leave ");
		assert_order("leave b", "leave ");
		assert_order("leave a", "leave ");
	}
}

static void one_hand_alone_goes_in_order(void **state)
{
	static const char *const expected[] = {
		"enter ",  "enter a", "visit a/file", "enter a/in", "visit a/in/file", "leave a/in",
		"leave a", "enter b", "leave b",      "visit c",    "leave ",
	};

	(void)state;
	make_some();
	crawl_all(1);
	for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_string_equal(seen.lines[i], expected[i]);
}

static void more_than_the_queue_holds_gets_through(void **state)
{
	char name[32];

	(void)state;
	make("many/");
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "many/%d", i);
		make(name);
	}
	crawl_all(3);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "visit many/%d", i);
		assert_order(name, "leave many");
	}
}

static void what_is_unwanted_or_not_entered_stays_unseen(void **state)
{
	(void)state;
	make_some();
	seen.unwanted = "file";
	seen.closed = "b";
	make("b/inside");
	crawl_all(2);
	assert_seen("visit a/file", 0);
	assert_seen("visit a/in/file", 0);
	assert_seen("visit b/inside", 0);
	assert_seen("enter b", 1);
	assert_seen("leave b", 1); /* it was to be entered */
	assert_seen("visit c", 1);
}

static void a_path_that_is_not_there_is_the_callers(void **state)
{
	struct crawl *c;

	(void)state;
	make_some();
	c = begin(2);
	assert_int_equal(crawl_add(c, "nothing", "x"), -ENOENT);
	assert_int_equal(crawl_add(c, "c", "elsewhere/c"), 0);
	assert_int_equal(crawl_add(c, "b", "b"), 0);
	crawl_free(c);
	assert_int_equal(seen.n, 3);
	assert_order("enter b", "leave b");
	assert_seen("visit c", 1);
}

static void a_directory_waits_for_what_is_kept(void **state)
{
	struct crawl_hand h = { .from.side = plain };
	struct crawl *c;

	(void)state;
	make_some();
	seen.kept = "file";
	make("only/");
	make("only/file");
	c = begin(1);
	assert_int_equal(crawl_add(c, "only", "only"), 0);
	assert_seen("keep only/file", 1);
	assert_seen("leave only", 0);
	crawl_done(c, &h, seen.kept_item);
	assert_seen("leave only", 1);
	crawl_free(c);
}

static void who_is_stopped_leaves_what_was_entered(void **state)
{
	(void)state;
	make_some();
	seen.stops = true;
	crawl_all(1);
	assert_seen("visit a/file", 1);
	assert_seen("visit a/in/file", 0);
	assert_seen("enter b", 0);
	assert_seen("visit c", 0);
	assert_seen("leave a", 1);
	assert_seen("leave ", 1);
}

static void what_was_found_before_a_stop_is_not_visited_after_it(void **state)
{
	struct crawl *c;

	(void)state;
	make_some();
	seen.stops = true;
	seen.waits = true;
	c = begin(2);
	assert_int_equal(crawl_add(c, "", ""), 0);
	say_walked(); /* the other hand is at the first one of three */
	while (!atomic_load(&seen.stop))
		(void)sched_yield();
	crawl_free(c);
	assert_seen("visit a/file", 1);
	assert_seen("visit a/in/file", 0);
	assert_seen("visit c", 0);
	assert_seen("leave a/in", 1);
	assert_seen("leave ", 1);
}

/* ---- a side that fails ------------------------------------------------------------------ */

static const struct side_ops *real;

static int find_or_fail(struct side_hand *h, const struct side_node *d, const char *name,
			struct side_node *node)
{
	if (is(name, "c"))
		return -EIO;
	return is(name, "b") ? -ENOENT : real->find(h, d, name, node); /* gone meanwhile */
}

static int list_or_fail(struct side_hand *h, const struct side_node *d,
			int (*add)(void *arg, const char *name, bool is_damaged), void *arg)
{
	int r = is(d->name, "a") ? add(arg, "file", false) : real->list(h, d, add, arg);

	return is(d->name, "a") && !r ? -EIO : r;
}

static void what_fails_is_told_and_the_others_go_on(void **state)
{
	struct side_ops ops = *plain->ops;

	(void)state;
	make_some();
	real = plain->ops;
	ops.find = find_or_fail;
	ops.list = list_or_fail;
	plain->ops = &ops;
	crawl_all(3);
	plain->ops = real;
	assert_seen("fail a", 1); /* its names */
	assert_seen("fail c", 1);
	assert_seen("leave a", 1);
	assert_seen("enter b", 0);
	assert_seen("fail b", 0);
}

/* ---- errands ---------------------------------------------------------------------------- */

static void all_others_help_who_asks(void **state)
{
	(void)state;
	make_some();
	seen.offers = "c"; /* the last one; the walker has nothing else to do either */
	seen.n_wanted = 3;
	crawl_all(4);
	assert_int_equal(seen.n_helped, 3);
	assert_false(seen.owner_helped);
	assert_order("visit c", "leave ");
}

static void who_asks_after_the_end_of_the_walk_is_helped(void **state)
{
	struct crawl *c;

	(void)state;
	make("only");
	seen.offers = "only";
	seen.waits = true;
	seen.n_wanted = 2;
	c = begin(3);
	assert_int_equal(crawl_add(c, "only", "only"), 0);
	say_walked();
	crawl_free(c); /* who went by now would be missing */
	assert_int_equal(seen.n_helped, 2);
	assert_seen("visit only", 1);
}

static void who_is_alone_asks_in_vain(void **state)
{
	(void)state;
	make_some();
	seen.offers = "file";
	crawl_all(1);
	assert_int_equal(seen.n_helped, 0);
	assert_seen("visit a/file", 1);
}

#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(everything_is_seen_once_and_left_when_it_is_done),
		UNIT(one_hand_alone_goes_in_order),
		UNIT(more_than_the_queue_holds_gets_through),
		UNIT(what_is_unwanted_or_not_entered_stays_unseen),
		UNIT(a_path_that_is_not_there_is_the_callers),
		UNIT(a_directory_waits_for_what_is_kept),
		UNIT(who_is_stopped_leaves_what_was_entered),
		UNIT(what_was_found_before_a_stop_is_not_visited_after_it),
		UNIT(what_fails_is_told_and_the_others_go_on),
		UNIT(all_others_help_who_asks),
		UNIT(who_asks_after_the_end_of_the_walk_is_helped),
		UNIT(who_is_alone_asks_in_vain),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, fixture_engine, fixture_engine_end);
}
