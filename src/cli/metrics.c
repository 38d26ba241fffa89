/* SPDX-License-Identifier: MIT */
/* Prometheus text: see metrics.h for the contract. */
#include "cli/metrics.h"

#include <stdio.h>

/* One metric: its name after "cryptfs_", type and help, and whose it is. */
struct family {
	const char *name;
	const char *type; /* "counter" or "gauge" */
	const char *help;
	const char *mountpoint;
};

static void begin(const struct family *f)
{
	printf("# HELP cryptfs_%s %s\n# TYPE cryptfs_%s %s\n", f->name, f->help, f->name, f->type);
}

static void put_escaped(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			(void)fputs("\\n", stdout);
		else if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			(void)putchar(*text);
	}
}

/* A sample, with a label of its own unless label is NULL; one that is not there is left out. */
static void put(const struct family *f, const char *label, const char *value, const json_t *sample)
{
	if (!json_is_integer(sample))
		return;
	printf("cryptfs_%s{mountpoint=\"", f->name);
	put_escaped(f->mountpoint);
	(void)putchar('"');
	if (label) {
		printf(",%s=\"", label);
		put_escaped(value);
		(void)putchar('"');
	}
	printf("} %lld\n", json_integer_value(sample));
}

static void put_one(const struct family *f, const json_t *sample)
{
	begin(f);
	put(f, NULL, NULL, sample);
}

/* A sample for each member of object. */
static void put_members(const struct family *f, const char *label, json_t *object)
{
	const char *name;
	json_t *sample;

	begin(f);
	json_object_foreach(object, name, sample) put(f, label, name, sample);
}

static void put_tasks(const struct family *f, const json_t *tasks)
{
	const json_t *each = json_object_get(tasks, "by_worker");

	begin(f);
	put(f, "by", "receivers", json_object_get(tasks, "inline"));
	for (size_t i = 0; i < json_array_size(each); i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "worker %zu", i);
		put(f, "by", name, json_array_get(each, i));
	}
}

/* Buckets up to powers of two of a microsecond, the last one without end; each counts those before.
 */
static void put_histogram(const struct family *f, const char *class, const json_t *one)
{
	const json_t *buckets = json_object_get(one, "buckets");
	size_t n = json_array_size(buckets);
	json_int_t so_far = 0;

	for (size_t i = 0; i < n; i++) {
		so_far += json_integer_value(json_array_get(buckets, i));
		printf("cryptfs_%s_bucket{mountpoint=\"", f->name);
		put_escaped(f->mountpoint);
		if (i + 1 < n)
			printf("\",class=\"%s\",le=\"%lld.%06lld\"} %lld\n", class,
			       (1LL << i) / 1000000, (1LL << i) % 1000000, so_far);
		else
			printf("\",class=\"%s\",le=\"+Inf\"} %lld\n", class, so_far);
	}
	printf("cryptfs_%s_sum{mountpoint=\"", f->name);
	put_escaped(f->mountpoint);
	printf("\",class=\"%s\"} %lld.%06lld\n", class,
	       json_integer_value(json_object_get(one, "sum_us")) / 1000000,
	       json_integer_value(json_object_get(one, "sum_us")) % 1000000);
	printf("cryptfs_%s_count{mountpoint=\"", f->name);
	put_escaped(f->mountpoint);
	printf("\",class=\"%s\"} %lld\n", class, so_far);
}

static void put_latency(const struct family *f, json_t *latency)
{
	const char *class;
	json_t *one;

	begin(f);
	json_object_foreach(latency, class, one) put_histogram(f, class, one);
}

void metrics_show(json_t *status, const char *mountpoint)
{
	const json_t *w = json_object_get(status, "workers");
	const json_t *t = json_object_get(status, "tasks");

#define FAMILY(name, type, help) &((struct family){ name, type, help, mountpoint })
	put_one(FAMILY("uptime_seconds", "gauge", "Time since the mount began."),
		json_object_get(status, "uptime_s"));
	put_one(FAMILY("content_bytes_total", "counter", "Content encrypted or decrypted."),
		json_object_get(status, "bytes"));
	put_tasks(FAMILY("tasks_total", "counter", "Pieces of content, by who did them."), t);
	put_one(FAMILY("tasks_waiting", "gauge", "Pieces on the queue now."),
		json_object_get(t, "waiting"));
	put_one(FAMILY("tasks_repaired_total", "counter", "Pieces that a dead worker left."),
		json_object_get(t, "repaired"));
	put_one(FAMILY("workers_alive", "gauge", "Workers that there are now."),
		json_object_get(w, "alive"));
	put_one(FAMILY("workers_max", "gauge", "Workers that there may be."),
		json_object_get(w, "max"));
	put_one(FAMILY("workers_started_total", "counter", "Workers forked."),
		json_object_get(w, "started"));
	put_one(FAMILY("workers_died_total", "counter", "Workers that died without being told to."),
		json_object_get(w, "died"));
	put_members(FAMILY("looks_total", "counter", "Looks for a request before sleeping."),
		    "result", json_object_get(status, "looks"));
	put_members(FAMILY("requests_total", "counter", "Requests of the kernel, by kind."),
		    "request", json_object_get(status, "requests"));
	put_members(FAMILY("tag_reads_total", "counter", "Reads of tags, from memory or the disk."),
		    "result", json_object_get(json_object_get(status, "cache"), "tags"));
	put_members(FAMILY("kept_total", "counter", "What was opened and the kernel still had."),
		    "what", json_object_get(json_object_get(status, "cache"), "kept"));
	put_latency(FAMILY("request_duration_seconds", "histogram", "How long requests took."),
		    json_object_get(status, "latency"));
	put_one(FAMILY("waiting", "gauge", "Requests that wait while it is suspended."),
		json_object_get(json_object_get(status, "suspended"), "waiting"));
#undef FAMILY
}
