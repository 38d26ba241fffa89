/* SPDX-License-Identifier: MIT */
/* cryptfs status: ask a mount for its counters. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/metrics.h"
#include "cli/mounted.h"
#include "engine/sync.h"

/* ---- asking ------------------------------------------------------------- */

static int ask(const struct mountinfo *m, json_t **reply)
{
	char *text;
	int status = mounted_ask(m, "status", &text);

	if (status)
		return status;
	*reply = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (json_is_object(*reply) && !json_object_get(*reply, "error"))
		return STATUS_OK;
	log_error("cannot ask the mount on %s: its answer makes no sense", m->point);
	return STATUS_SYSTEM;
}

/* ---- showing ------------------------------------------------------------ */

/* What is not there is 0 or "?": the mount may be of another version. */
static json_int_t number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "?";
}

static bool is_true(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

static void show_time(json_int_t seconds)
{
	if (seconds >= 86400)
		printf("%lld days ", seconds / 86400);
	printf("%lld:%02lld:%02lld", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

static void show_mount(const json_t *o, const struct mountinfo *m)
{
	printf("mount     %s (device %u:%u), %s\n", m->point, m->major, m->minor,
	       is_true(o, "read_only") ? "read-only" : "read-write");
	if (is_true(json_object_get(o, "suspended"), "now"))
		printf("suspended %lld requests wait (go on with: cryptfs resume)\n",
		       number(json_object_get(o, "suspended"), "waiting"));
	printf("process   %lld, cryptfs %s, up ", number(o, "pid"), text(o, "version"));
	show_time(number(o, "uptime_s"));
	printf("\ncipher    %s, %s\n", text(o, "suite"), text(o, "implementation"));
}

static void show_sandbox(const json_t *o)
{
	const json_t *s = json_object_get(o, "sandbox");
	const json_t *capabilities = json_object_get(s, "capabilities");
	const json_t *name;
	size_t i;

	if (number(s, "landlock"))
		printf("sandbox   Landlock %lld, ", number(s, "landlock"));
	else
		printf("sandbox   no Landlock, ");
	printf("%s, %s\n", is_true(s, "seccomp") ? "seccomp" : "no seccomp",
	       is_true(s, "no_new_privs") ? "no new privileges" : "new privileges possible");
	if (!json_array_size(capabilities))
		return;
	printf("rights    ");
	json_array_foreach(capabilities, i, name)
		printf("%s%s", i ? " " : "", json_string_value(name));
	printf("\n");
}

static void show_workers(const json_t *o)
{
	const json_t *w = json_object_get(o, "workers");
	const json_t *p = json_object_get(o, "auto");
	const json_t *mode = json_object_get(w, "mode");

	printf("workers   ");
	if (json_is_string(mode))
		printf("%s", json_string_value(mode));
	else
		printf("%lld", json_integer_value(mode));
	printf("%s: %lld alive, %lld wanted, at most %lld; %lld started, %lld died\n",
	       is_true(w, "strict") ? ", strict" : "", number(w, "alive"), number(w, "target"),
	       number(w, "max"), number(w, "started"), number(w, "died"));
	printf("decision  waking costs %.1f us, 1 KiB %lld ns; ",
	       json_real_value(json_object_get(p, "wake_us")), number(p, "kib_ns"));
	if (json_is_integer(json_object_get(p, "inline_max_size")))
		printf("one is woken for %lld KiB or more\n", number(p, "inline_max_size") / 1024);
	else
		printf("there is nobody to wake\n");
}

/* How a counter changed since it was asked for last; nothing the first time. */
struct change {
	const json_t *before; /* NULL: the first time */
	double seconds;
};

static void show_rate(json_int_t now, json_int_t then, const struct change *c)
{
	if (c->before)
		printf(" %12.0f/s", (double)(now - then) / c->seconds);
}

static void show_tasks(const json_t *o, const struct change *c)
{
	const json_t *t = json_object_get(o, "tasks");
	const json_t *n;
	size_t i;

	printf("content   %lld bytes encrypted or decrypted", number(o, "bytes"));
	show_rate(number(o, "bytes"), number(c->before, "bytes"), c);
	printf("\ntasks     %lld by receivers, %lld by workers", number(t, "inline"),
	       number(t, "workers"));
	json_array_foreach(json_object_get(t, "by_worker"), i, n)
		printf("%s%lld", i ? " " : " (", json_integer_value(n));
	printf("%s; %lld waiting now, %lld repaired\n", i ? ")" : "", number(t, "waiting"),
	       number(t, "repaired"));
}

/* Up to how many microseconds this part (1 is all) of n requests took; -1: longer than is told. */
static long long within(const json_t *buckets, json_int_t n, double part)
{
	json_int_t so_far = 0;

	for (size_t i = 0; i + 1 < json_array_size(buckets) && i < 63; i++) {
		so_far += json_integer_value(json_array_get(buckets, i));
		if ((double)so_far >= (double)n * part)
			return 1LL << i;
	}
	return -1;
}

static void show_within(const json_t *buckets, json_int_t n, double part)
{
	long long us = within(buckets, n, part);

	if (us < 0)
		printf(" %10s", "longer");
	else
		printf(" %7lld us", us);
}

static void show_latency(const json_t *o)
{
	json_t *all = json_object_get(o, "latency");
	const char *name;
	json_t *one;

	if (!json_object_size(all))
		return;
	printf("latency          served       mean   half in     99%% in\n");
	json_object_foreach(all, name, one)
	{
		const json_t *buckets = json_object_get(one, "buckets");
		const json_t *count;
		json_int_t n = 0;
		size_t i;

		json_array_foreach(buckets, i, count) n += json_integer_value(count);
		if (!n)
			continue;
		printf("  %-8s %12lld %7.1f us", name, n,
		       (double)number(one, "sum_us") / (double)n);
		show_within(buckets, n, 0.5);
		show_within(buckets, n, 0.99);
		printf("\n");
	}
}

static void show_cache(const json_t *o)
{
	const json_t *cache = json_object_get(o, "cache");
	const json_t *tags = json_object_get(cache, "tags");
	const json_t *kept = json_object_get(cache, "kept");

	printf("cache     tags: %lld at hand, %lld read; kept by the kernel: %lld opened files, "
	       "%lld "
	       "listings\n",
	       number(tags, "hits"), number(tags, "misses"), number(kept, "opens"),
	       number(kept, "listings"));
}

static void show_requests(const json_t *o, const struct change *c)
{
	json_t *requests = json_object_get(o, "requests");
	const json_t *then = json_object_get(c->before, "requests");
	const json_t *looks = json_object_get(o, "looks");
	const char *name;
	json_t *n;

	printf("looks     %lld found a request before sleeping, %lld did not\n",
	       number(looks, "hits"), number(looks, "misses"));
	printf("requests\n");
	json_object_foreach(requests, name, n)
	{
		printf("  %-16s %12lld", name, json_integer_value(n));
		show_rate(json_integer_value(n), number(then, name), c);
		printf("\n");
	}
}

static int show(const json_t *o, const struct mountinfo *m, const struct change *c)
{
	show_mount(o, m);
	show_sandbox(o);
	show_workers(o);
	show_tasks(o, c);
	show_cache(o);
	show_latency(o);
	show_requests(o, c);
	return cli_flush();
}

/* ---- the command -------------------------------------------------------- */

enum form {
	FORM_TEXT,
	FORM_JSON,
	FORM_METRICS,
	FORM_WATCH,
};

static int show_once(json_t *reply, const struct mountinfo *m, enum form form)
{
	const struct change none = { 0 };

	if (form == FORM_JSON)
		return cli_json(json_incref(reply));
	if (form == FORM_TEXT)
		return show(reply, m, &none);
	metrics_show(reply, m->point);
	return cli_flush();
}

/* Until the mount is gone, or a signal ends us. */
static int watch(const struct mountinfo *m)
{
	uint64_t then_ns = 0;
	json_t *before = NULL;
	json_t *now;
	int status;

	if (!isatty(STDOUT_FILENO)) {
		log_error("status: --watch needs a terminal (for programs: --json or --metrics)");
		return STATUS_USAGE;
	}
	while (!(status = ask(m, &now))) {
		uint64_t now_ns = sync_now_ns();
		const struct change change = { before, (double)(now_ns - then_ns) / 1e9 };

		printf("\033[H\033[2J"); /* from the top of an empty screen */
		status = show(now, m, &change);
		json_decref(before);
		before = now;
		then_ns = now_ns;
		if (status)
			break;
		(void)sleep(1);
	}
	json_decref(before);
	return status;
}

static int status_of(const char *path, enum form form)
{
	static struct mountinfo m;
	json_t *reply = NULL;
	int status = mounted_find(path, &m);

	if (status)
		return status;
	if (form == FORM_WATCH)
		return watch(&m);
	status = ask(&m, &reply);
	if (!status)
		status = show_once(reply, &m, form);
	json_decref(reply);
	return status;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, FORM_JSON },
		{ "metrics", no_argument, NULL, FORM_METRICS },
		{ "watch", no_argument, NULL, FORM_WATCH },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	enum form form = FORM_TEXT;
	const char *path;
	int status;
	int c;

	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		form = (enum form)c;
	}
	status = cli_operand(self, argc, argv, "MOUNTPOINT", &path);
	return status ? status : status_of(path, form);
}

const struct command cli_status = {
	.name = "status",
	.summary = "show the counters of a mount",
	.help = "usage: cryptfs status [--json | --metrics | --watch] MOUNTPOINT\n"
		"\n"
		"Ask the process that serves a mount for its cipher, its workers, and what they\n"
		"and the kernel's requests have come to since it was mounted.  The mount itself\n"
		"is not touched.  For the user who mounted it, and root.\n"
		"\n"
		"  --json     for programs\n"
		"  --metrics  for Prometheus\n"
		"  --watch    again every second, with what happened in it, until Ctrl-C\n"
		"  --help     show this\n",
	.run = run,
};
