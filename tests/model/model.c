/* SPDX-License-Identifier: MIT */
/*
 * model - do the same in a mount and in a plain directory, and compare.
 *
 *   model [OPTION...] MOUNT PLAIN
 *
 *   --seed N        the first seed (1)
 *   --steps N       operations per seed (3000)
 *   --seconds N     go on with the next seeds that long, and no longer
 *   --jobs N        so many at once, each in a directory and with seeds of its own
 *   --remount N     ask for a remount about every N steps: "remount" goes to
 *                   descriptor 3, and one line comes back on 4 when it is done
 *   --crash N       the same, with "crash": kill the mount process, mount again
 *   --users         as root, be three users in turn; the mount has allow_other
 *   --no-huge       no files of terabytes: where holes are written out
 *   --skip LIST     leave out these steps, as --shrink prints them
 *   --shrink        after a divergence look for the steps that it takes
 *   --verbose       say every operation
 *
 * At the first divergence it says seed, step, what differs and the last
 * operations, and exits with 1.  The same options with that seed do it again.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMPARE_EVERY = 250 };

/* Where the last divergence was, for the process that shrinks; shared with its trials. */
static struct divergence {
	unsigned long step;
	const char *format; /* the same in all of them, as they are forks */
} * last;

/* ---- what a divergence says --------------------------------------------------- */

void broken(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "model: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	_exit(EXIT_BROKEN);
}

void diverge(struct world *w, const char *format, ...)
{
	unsigned long first = w->n_said > N_HISTORY ? w->n_said - N_HISTORY : 0;
	va_list args;

	for (unsigned long i = first; i < w->n_said; i++)
		fprintf(stderr, "  %s\n", w->history[i % N_HISTORY]);
	fprintf(stderr, "DIVERGED: seed %llu, step %lu: ", (unsigned long long)w->seed, w->step);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	fflush(stderr);
	if (last)
		*last = (struct divergence){ w->step, format };
	_exit(EXIT_DIVERGED);
}

void say(struct world *w, const char *format, ...)
{
	char *line = w->history[w->n_said++ % N_HISTORY];
	int n = snprintf(line, sizeof(w->history[0]), "%lu ", w->step);
	va_list args;

	if (w->user)
		n += snprintf(line + n, sizeof(w->history[0]) - (size_t)n, "[%u] ", w->user);
	va_start(args, format);
	vsnprintf(line + n, sizeof(w->history[0]) - (size_t)n, format, args);
	va_end(args);
	if (w->o->verbose)
		fprintf(stderr, "  %s\n", line);
}

/* ---- users --------------------------------------------------------------------- */

void user_enter(const struct world *w)
{
	gid_t groups[] = { w->user, 2000 };

	if (!w->user)
		return;
	if (setgroups(w->user == 1001 ? 2 : 1, groups) || setegid(w->user) || seteuid(w->user))
		broken("becoming user %u: %s", w->user, strerror(errno));
}

void user_leave(const struct world *w)
{
	int error = errno;

	if (!w->user)
		return;
	if (seteuid(0) || setegid(0) || setgroups(0, NULL))
		broken("becoming root again: %s", strerror(errno));
	errno = error;
}

/* ---- one seed ------------------------------------------------------------------ */

static void open_roots(struct world *w)
{
	struct statfs fs;

	for (int side = MOUNT; side < SIDES; side++) {
		w->direct[side] = !statfs(w->root_path[side], &fs) && fs.f_type == FUSE_SUPER_MAGIC;
		w->on_tmpfs = side == PLAIN && fs.f_type == TMPFS_MAGIC;
		w->root[side] = open(w->root_path[side], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (w->root[side] < 0)
			diverge(w, "opening %s: %s", w->root_path[side], strerror(errno));
	}
}

static void close_roots(struct world *w)
{
	close(w->root[MOUNT]);
	close(w->root[PLAIN]);
}

/* Ask whoever holds the other ends of the pipes to do this to the mount. */
static void ask(struct world *w, const char *what)
{
	char answer[64];

	if (dprintf(3, "%s\n", what) < 0 || read(4, answer, sizeof(answer)) <= 0)
		broken("nobody answers to '%s'", what);
	if (strncmp(answer, "done", 4))
		diverge(w, "%s: %s", what, answer);
}

static void close_handles(struct world *w)
{
	for (size_t i = 0; i < N_HANDLES; i++)
		close_handle(&w->handles[i]);
}

static void remount(struct world *w, bool crash)
{
	struct snapshot *before;

	say(w, "%s", crash ? "kill the mount process and mount again" : "remount");
	if (!crash || w->o->writeback)
		close_handles(w);
	same_tree(w);
	before = crash ? NULL : snapshot_take(w);
	if (!crash)
		close_roots(w);
	ask(w, crash ? "crash" : "remount");
	if (crash) {
		close_handles(w);
		close_roots(w);
		ask(w, "mount");
	}
	open_roots(w);
	if (before)
		snapshot_compare(w, before);
	same_tree(w);
}

static unsigned int weight_of(const struct operation *ops)
{
	unsigned int sum = 0;

	for (; ops->name; ops++)
		sum += ops->weight;
	return sum;
}

static void run_one(struct world *w, const struct operation *ops)
{
	uint64_t at = below(w, weight_of(ops));

	while (at >= ops->weight)
		at -= ops++->weight;
	w->op = ops->name;
	ops->run(w);
}

static void run_step(struct world *w, unsigned long step)
{
	static const uid_t users[] = { 0, 1001, 1001, 1002 };
	const struct options *o = w->o;

	start_step(w, step);
	if (o->users)
		w->user = users[below(w, 4)];
	if (o->remount && one_in(w, o->remount)) {
		remount(w, false);
	} else if (o->crash && one_in(w, o->crash)) {
		remount(w, true);
	} else {
		umask(one_in(w, 5) ? (mode_t)below(w, 01000) : 022);
		run_one(w, one_in(w, 2) ? path_operations : handle_operations);
		umask(0);
	}
	if (step % COMPARE_EVERY == 0)
		same_tree(w);
}

/* A directory for this seed on both sides. */
static void make_roots(struct world *w, unsigned int job, unsigned int trial)
{
	for (int side = MOUNT; side < SIDES; side++) {
		snprintf(w->root_path[side], sizeof(w->root_path[side]), "%s/%llu.%u.%u",
			 w->o->root[side], (unsigned long long)w->seed, job, trial);
		if (mkdir(w->root_path[side], 0777) || chmod(w->root_path[side], 0777))
			broken("%s: %s", w->root_path[side], strerror(errno));
	}
}

/* Remove it, which must work on both sides alike. */
static void remove_roots(struct world *w)
{
	char command[2 * PATH_MAX];

	close_handles(w);
	close_roots(w);
	for (int side = MOUNT; side < SIDES; side++) {
		snprintf(command, sizeof(command), "rm -rf -- '%s'", w->root_path[side]);
		if (system(command)) /* the user's modes may be in the way, on both sides */
			fprintf(stderr, "model: '%s' failed\n", command);
	}
}

/* Returns how many steps it did before its end or, unless 0, this time. */
static unsigned long run_seed(const struct options *o, uint64_t seed, unsigned int job,
			      unsigned int trial, const uint8_t *skipped, unsigned long steps,
			      time_t until)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned long step;

	if (!w)
		broken("no memory");
	w->o = o;
	w->seed = seed;
	for (int side = MOUNT; side < SIDES; side++)
		w->data[side] = malloc(MAX_IO);
	for (size_t i = 0; i < N_HANDLES; i++)
		w->handles[i].fd[MOUNT] = w->handles[i].fd[PLAIN] = -1;
	if (!w->data[MOUNT] || !w->data[PLAIN])
		broken("no memory");
	umask(0);
	clock_gettime(CLOCK_REALTIME, &w->start);
	w->start.tv_sec--;
	make_roots(w, job, trial);
	open_roots(w);
	for (step = 1; step <= steps && (!until || time(NULL) < until); step++)
		if (!skipped[step])
			run_step(w, step);
	same_tree(w);
	remove_roots(w);
	for (int side = MOUNT; side < SIDES; side++)
		free(w->data[side]);
	free(w);
	return step - 1;
}

/* In a process of its own, as a divergence ends it.  Returns its exit status. */
static int try_seed(const struct options *o, uint64_t seed, unsigned int trial,
		    const uint8_t *skipped, unsigned long steps)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		broken("fork: %s", strerror(errno));
	if (!child) {
		run_seed(o, seed, 0, trial, skipped, steps, 0);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child)
		broken("waitpid: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_DIVERGED;
}

/* ---- shrinking ----------------------------------------------------------------- */

static void print_skipped(const uint8_t *skipped, unsigned long steps)
{
	printf("--skip ");
	for (unsigned long i = 1, from; i <= steps; i++) {
		if (!skipped[i])
			continue;
		for (from = i; i < steps && skipped[i + 1]; i++)
			;
		printf("%lu-%lu,", from, i);
	}
	printf("0-0\n");
}

/* True if it still goes wrong in the same place without what is skipped. */
static bool still_diverges(const struct options *o, unsigned int trial, const uint8_t *skipped,
			   unsigned long steps)
{
	struct divergence first = *last;
	bool same;

	same = try_seed(o, o->seed, trial, skipped, steps) == EXIT_DIVERGED &&
	       last->step == first.step && last->format == first.format;
	*last = first;
	return same;
}

/* Leave out ever smaller parts as long as it still diverges. */
static int shrink(const struct options *o, uint8_t *skipped)
{
	unsigned int trial = 1;
	unsigned long steps;
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC), loud = dup(2);
	uint8_t *kept = malloc(o->steps + 2);

	last = mmap(NULL, sizeof(*last), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!kept || last == MAP_FAILED || quiet < 0 || loud < 0)
		broken("no memory");
	if (try_seed(o, o->seed, trial, skipped, o->steps) != EXIT_DIVERGED)
		return 0;
	steps = last->step < o->steps ? last->step : o->steps;
	dup2(quiet, 2);
	for (unsigned long part = steps / 2; part; part /= 2)
		for (unsigned long from = 1; from <= steps; from += part) {
			memcpy(kept, skipped, steps + 1);
			memset(skipped + from, 1, from + part > steps ? steps + 1 - from : part);
			if (memcmp(kept, skipped, steps + 1) &&
			    !still_diverges(o, ++trial, skipped, steps))
				memcpy(skipped, kept, steps + 1);
		}
	dup2(loud, 2);
	print_skipped(skipped, steps);
	fflush(stdout);
	free(kept);
	return try_seed(o, o->seed, ++trial, skipped, steps);
}

/* ---- the command line ------------------------------------------------------------ */

static uint8_t *parse_skipped(const char *list, unsigned long steps)
{
	uint8_t *skipped = calloc(1, steps + 2);
	unsigned long from, to;
	int n;

	if (!skipped)
		broken("no memory");
	while (list && sscanf(list, "%lu-%lu%n", &from, &to, &n) == 2) {
		for (; from <= to && from <= steps; from++)
			skipped[from] = 1;
		list += n;
		list += *list == ',';
	}
	return skipped;
}

/* One job: its seeds in turn until the time is over. */
static void run_job(const struct options *o, unsigned int job, const uint8_t *skipped)
{
	time_t until = o->seconds ? time(NULL) + (time_t)o->seconds : 0;
	uint64_t first = o->seed + job * 1000000ULL, seed = first;
	unsigned long done = 0;

	do {
		done += run_seed(o, seed++, job, 0, skipped, o->steps, until);
	} while (time(NULL) < until);
	printf("job %u: %lu operations, seeds %llu to %llu, no divergence\n", job, done,
	       (unsigned long long)first, (unsigned long long)seed - 1);
	fflush(stdout);
}

static int run_jobs(const struct options *o, const uint8_t *skipped)
{
	int worst = 0, status;

	for (unsigned int job = 0; job < o->jobs; job++) {
		pid_t child = fork();

		if (child < 0)
			broken("fork: %s", strerror(errno));
		if (!child) {
			run_job(o, job, skipped);
			_exit(0);
		}
	}
	while (wait(&status) > 0) {
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_DIVERGED;

		if (WIFSIGNALED(status))
			fprintf(stderr, "DIVERGED: a job died of signal %d\n", WTERMSIG(status));
		worst = code > worst ? code : worst;
	}
	return worst;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", 1, NULL, 's' },    { "steps", 1, NULL, 'n' },
		{ "seconds", 1, NULL, 't' }, { "jobs", 1, NULL, 'j' },
		{ "remount", 1, NULL, 'r' }, { "crash", 1, NULL, 'c' },
		{ "users", 0, NULL, 'u' },   { "no-huge", 0, NULL, 'h' },
		{ "skip", 1, NULL, 'k' },    { "shrink", 0, NULL, 'x' },
		{ "verbose", 0, NULL, 'v' }, { "writeback", 0, NULL, 'w' },
		{ NULL, 0, NULL, 0 }
	};
	struct options o = { .seed = 1, .steps = 3000, .jobs = 1 };
	const char *skip = NULL;
	uint8_t *skipped;
	int status;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case 's':
			o.seed = n;
			break;
		case 'n':
			o.steps = n;
			break;
		case 't':
			o.seconds = n;
			break;
		case 'j':
			o.jobs = (unsigned int)n;
			break;
		case 'r':
			o.remount = n;
			break;
		case 'c':
			o.crash = n;
			break;
		case 'u':
			o.users = true;
			break;
		case 'h':
			o.no_huge = true;
			break;
		case 'k':
			skip = optarg;
			break;
		case 'x':
			o.shrink = true;
			break;
		case 'v':
			o.verbose = true;
			break;
		case 'w':
			o.writeback = true;
			break;
		default:
			return EXIT_BROKEN;
		}
	}
	if (argc - optind != 2)
		broken("give the mount and a plain directory");
	o.root[MOUNT] = argv[optind];
	o.root[PLAIN] = argv[optind + 1];
	signal(SIGPIPE, SIG_IGN);
	skipped = parse_skipped(skip, o.steps);
	status = o.shrink ? shrink(&o, skipped) : run_jobs(&o, skipped);
	free(skipped);
	return status;
}
