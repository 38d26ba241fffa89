/* SPDX-License-Identifier: MIT */
/* What a mount tells: see status.h for the contract. */
#include "fs/status.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/tags.h"

void status_start(struct status *s)
{
	(void)clock_gettime(CLOCK_BOOTTIME, &s->start);
}

static json_int_t uptime_s(const struct status *s)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec - s->start.tv_sec - (now.tv_nsec < s->start.tv_nsec);
}

static json_int_t number_of(const atomic_ulong *counter)
{
	return (json_int_t)atomic_load_explicit(counter, memory_order_relaxed);
}

static json_t *mode(const struct options *o)
{
	return o->workers == ENGINE_WORKERS_AUTO ? json_string("auto") : json_integer(o->workers);
}

static json_t *workers(const struct status *s, const struct engine_counters *c)
{
	return json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "mode", mode(s->options), "strict",
			 s->options->strict, "alive", (json_int_t)c->workers_alive, "target",
			 (json_int_t)c->workers_target, "max", (json_int_t)c->workers_max,
			 "started", (json_int_t)c->workers_started, "died",
			 (json_int_t)c->workers_died);
}

/* What is null is not to be had: with no workers nothing is handed over. */
static json_t *pace(const struct status *s)
{
	struct engine_pace p;

	engine_pace(s->store->engine, s->store->suite, &p);
	return json_pack("{s:f, s:I, s:o}", "wake_us", p.wake_ns / 1000.0, "kib_ns",
			 (json_int_t)p.kib_ns, "inline_max_size",
			 p.inline_max_size == UINT32_MAX ? json_null()
							 : json_integer(p.inline_max_size));
}

static json_t *tasks(const struct engine_counters *c)
{
	json_t *each = json_array();

	for (uint32_t i = 0; i < c->workers_max; i++)
		(void)json_array_append_new(each, json_integer((json_int_t)c->tasks_worker[i]));
	return json_pack("{s:I, s:I, s:I, s:o, s:I}", "waiting", (json_int_t)c->tasks_waiting,
			 "inline", (json_int_t)c->tasks_inline, "workers",
			 (json_int_t)c->tasks_workers, "by_worker", each, "repaired",
			 (json_int_t)c->tasks_repaired);
}

static json_t *requests(const struct device *d)
{
	json_t *all = json_object();

	for (uint32_t i = 0; i < WIRE_OPCODES; i++) {
		const char *name = wire_opcode_name(i);
		json_int_t n = number_of(&d->requests[i]);

		if (n)
			(void)json_object_set_new(all, name ? name : "other", json_integer(n));
	}
	return all;
}

static json_t *capabilities(uint64_t bits)
{
	json_t *all = json_array();
	char number[8];

	for (unsigned int i = 0; i < 64; i++) {
		const char *name = confine_capability_name(i);

		(void)snprintf(number, sizeof(number), "%u", i);
		if (bits >> i & 1)
			(void)json_array_append_new(all, json_string(name ? name : number));
	}
	return all;
}

static json_t *sandbox(const struct confine_report *r)
{
	return json_pack("{s:i, s:b, s:b, s:o}", "landlock", r->landlock, "seccomp", r->seccomp,
			 "no_new_privs", r->no_new_privs, "capabilities",
			 capabilities(r->capabilities));
}

static json_t *idle(const struct status *s)
{
	return json_pack("{s:I, s:I}", "after_s", (json_int_t)(s->options->idle_ms / 1000),
			 "refused", (json_int_t)atomic_load(&s->expiry->refused));
}

static json_t *latency(const struct device *d)
{
	json_t *all = json_object();
	struct latency sum = { 0 };

	for (uint32_t i = 0; i < DEVICE_MAX_THREADS; i++)
		latency_add(&d->latency[i], &sum);
	for (enum latency_class c = 0; c < LATENCY_CLASSES; c++) {
		json_t *buckets = json_array();

		for (int i = 0; i < LATENCY_BUCKETS; i++)
			(void)json_array_append_new(buckets,
						    json_integer((json_int_t)sum.buckets[c][i]));
		(void)json_object_set_new(all, latency_name(c),
					  json_pack("{s:I, s:o}", "sum_us",
						    (json_int_t)(sum.sum_ns[c] / 1000), "buckets",
						    buckets));
	}
	return all;
}

static json_t *cache(const struct device *d)
{
	uint64_t hits;
	uint64_t misses;

	tags_count(&hits, &misses);
	return json_pack("{s:{s:I, s:I}, s:{s:I, s:I}}", "tags", "hits", (json_int_t)hits, "misses",
			 (json_int_t)misses, "kept", "opens", number_of(&d->opens_kept), "listings",
			 number_of(&d->listings_kept));
}

static json_t *report(const struct status *s)
{
	enum cipher_suite suite = s->store->suite;
	struct engine_counters c;

	engine_counters(s->store->engine, &c);
	return json_pack(
		"{s:s, s:I, s:I, s:s, s:s, s:b, s:{s:b, s:I}, s:o, s:o, s:o, s:o, s:o, s:I, s:o, "
		"s:o, s:o, s:{s:I, s:I}}",
		"version", CRYPTFS_VERSION, "pid", (json_int_t)getpid(), "uptime_s", uptime_s(s),
		"suite", cipher_name(suite), "implementation", cipher_implementation(suite),
		"read_only", s->store->read_only, "suspended", "now", atomic_load(s->suspended),
		"waiting", (json_int_t)atomic_load(&s->device->park.n), "sandbox",
		sandbox(s->confine), "idle", idle(s), "workers", workers(s, &c), "auto", pace(s),
		"tasks", tasks(&c), "bytes", (json_int_t)c.bytes, "requests", requests(s->device),
		"latency", latency(s->device), "cache", cache(s->device), "looks", "hits",
		number_of(&s->device->hits), "misses", number_of(&s->device->misses));
}

char *status_answer(void *arg, const struct control_question *q)
{
	json_t *object;
	char *text;

	if (strcmp(q->command, "status") != 0)
		return NULL;
	object = report(arg);
	text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
	json_decref(object);
	return text;
}
