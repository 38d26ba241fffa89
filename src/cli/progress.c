/* SPDX-License-Identifier: MIT */
/* Bars and lines: see progress.h for the contract. */
#include "cli/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	BAR_MS = 200,
	LINE_MS = 1000,
	BAR_CELLS = 24,
};

struct progress {
	enum progress_style style;
	void (*ask)(void *arg, struct progress_state *state);
	void *arg;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards what follows, and standard error */
	pthread_cond_t wake;
	bool stop;
	size_t drawn; /* characters of a bar that are on the terminal */
	double started, last_time;
	uint64_t last_bytes;
	double rate; /* bytes a second, of the recent past */
};

int progress_by_name(const char *name, enum progress_style *style)
{
	static const char *const names[] = {
		[PROGRESS_NONE] = "none",
		[PROGRESS_BAR] = "bar",
		[PROGRESS_LINES] = "lines",
		[PROGRESS_JSON] = "json",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!names[i] || strcmp(name, names[i]) != 0)
			continue;
		*style = (enum progress_style)i;
		return 0;
	}
	return -EINVAL;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* How much of it is done, or less than 0 if nobody knows. */
static double share(const struct progress_state *s)
{
	if (!s->total)
		return -1;
	return s->done < s->total ? (double)s->done / (double)s->total : 1;
}

static double remaining(const struct progress *p, const struct progress_state *s, double time)
{
	double part = share(s);

	return part > 0.001 ? (time - p->started) * (1 - part) / part : -1;
}

static void measure(struct progress *p, const struct progress_state *s, double time)
{
	double passed = time - p->last_time;
	double rate;

	if (passed <= 0)
		return;
	rate = (double)(s->bytes - p->last_bytes) / passed;
	p->rate = p->last_time > p->started ? 0.7 * p->rate + 0.3 * rate : rate;
	p->last_time = time;
	p->last_bytes = s->bytes;
}

static void amount(double bytes, char *text, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t i = 0;

	while (bytes >= 1000 && i + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		i++;
	}
	(void)snprintf(text, size, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

static void compose(const struct progress *p, const struct progress_state *s, double time,
		    char *text, size_t size)
{
	double left = remaining(p, s, time);
	char bytes[32];
	char rate[32];
	int n;

	amount((double)s->bytes, bytes, sizeof(bytes));
	amount(p->rate, rate, sizeof(rate));
	n = snprintf(text, size, "%" PRIu64 " files, %s, %s/s", s->files, bytes, rate);
	if (share(s) >= 0)
		n += snprintf(text + n, size - (size_t)n, ", %.0f%%", share(s) * 100);
	if (left >= 0)
		(void)snprintf(text + n, size - (size_t)n, ", %.0f:%02.0f left",
			       (left - (double)((int)left % 60)) / 60, (double)((int)left % 60));
}

static void wipe_bar(struct progress *p)
{
	if (p->drawn)
		(void)fprintf(stderr, "\r%*s\r", (int)p->drawn, "");
	p->drawn = 0;
}

static void draw_bar(struct progress *p, const struct progress_state *s, double time)
{
	char cells[BAR_CELLS + 1];
	char text[128];
	int full = share(s) < 0 ? 0 : (int)(share(s) * BAR_CELLS);

	memset(cells, '.', BAR_CELLS);
	memset(cells, '#', (size_t)full);
	cells[BAR_CELLS] = '\0';
	compose(p, s, time, text, sizeof(text));
	wipe_bar(p);
	(void)fprintf(stderr, "[%s] %s", cells, text);
	p->drawn = strlen(text) + BAR_CELLS + 3;
}

static void print_json(const struct progress *p, const struct progress_state *s, double time)
{
	double left = remaining(p, s, time);
	json_t *o = json_pack("{s:I, s:I, s:f, s:o, s:o}", "files", (json_int_t)s->files, "bytes",
			      (json_int_t)s->bytes, "bytes_per_second", p->rate, "share",
			      share(s) < 0 ? json_null() : json_real(share(s)), "seconds_left",
			      left < 0 ? json_null() : json_real(left));
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

	if (text)
		(void)fprintf(stderr, "%s\n", text);
	free(text);
	json_decref(o);
}

/* p->lock is held. */
static void draw(struct progress *p, const struct progress_state *s)
{
	double time = now();
	char text[128];

	measure(p, s, time);
	if (p->style == PROGRESS_BAR) {
		draw_bar(p, s, time);
	} else if (p->style == PROGRESS_JSON) {
		print_json(p, s, time);
	} else {
		compose(p, s, time, text, sizeof(text));
		(void)fprintf(stderr, "%s\n", text);
	}
	(void)fflush(stderr);
}

static void wait_a_while(struct progress *p)
{
	long ms = p->style == PROGRESS_BAR ? BAR_MS : LINE_MS;
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!p->stop && pthread_cond_timedwait(&p->wake, &p->lock, &until) != ETIMEDOUT)
		;
}

static void *run(void *arg)
{
	struct progress *p = arg;
	struct progress_state state;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		wait_a_while(p);
		if (p->stop)
			break;
		pthread_mutex_unlock(&p->lock);
		p->ask(p->arg, &state);
		pthread_mutex_lock(&p->lock);
		draw(p, &state);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int progress_start(enum progress_style style, void (*ask)(void *arg, struct progress_state *state),
		   void *arg, struct progress **out)
{
	pthread_condattr_t monotonic;
	struct progress *p;
	int r;

	*out = NULL;
	if (style == PROGRESS_NONE)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->style = style;
	p->ask = ask;
	p->arg = arg;
	p->started = p->last_time = now();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = style == PROGRESS_QUIET ? 0 : -pthread_create(&p->thread, NULL, run, p);
	p->has_thread = style != PROGRESS_QUIET;
	if (r) {
		pthread_cond_destroy(&p->wake);
		pthread_mutex_destroy(&p->lock);
		free(p);
		return r;
	}
	*out = p;
	return 0;
}

void progress_say(struct progress *p)
{
	struct progress_state state;
	double time = now();
	char text[128];

	if (!p)
		return;
	p->ask(p->arg, &state);
	pthread_mutex_lock(&p->lock);
	if (p->style == PROGRESS_JSON) {
		draw(p, &state);
	} else {
		measure(p, &state, time);
		compose(p, &state, time, text, sizeof(text));
		wipe_bar(p);
		(void)fprintf(stderr, "%s\n", text);
	}
	pthread_mutex_unlock(&p->lock);
}

void progress_stop(struct progress *p)
{
	struct progress_state state;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (p->has_thread)
		(void)pthread_join(p->thread, NULL);
	if (p->style == PROGRESS_BAR) {
		wipe_bar(p);
	} else if (p->style != PROGRESS_QUIET) {
		p->ask(p->arg, &state);
		draw(p, &state);
	}
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void progress_hide(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	wipe_bar(p);
}

void progress_show(struct progress *p)
{
	if (p)
		pthread_mutex_unlock(&p->lock);
}
