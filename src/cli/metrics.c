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
#undef FAMILY
}
