/* SPDX-License-Identifier: MIT */
/* cryptfs bench: the engine's own figures on this machine. */
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/measure.h"

enum {
	MAX_CIPHERS = 8,
	MAX_COUNTS = 16,
	DEFAULT_MS = 4000,
	MAX_SECONDS = 600,
};

/* One number of workers; GB/s by suite. */
struct scaling {
	uint32_t workers;
	double helping[MEASURE_SUITES]; /* the submitter works, too */
	double strict[MEASURE_SUITES];	/* it only waits; not with 0 */
};

struct report {
	char cpu[128];
	uint32_t processors;
	struct measure_cipher ciphers[MAX_CIPHERS];
	uint32_t n_ciphers;
	struct measure_hand_off hand_off;
	double automatic[MEASURE_SUITES][MEASURE_STEPS]; /* see measure_auto */
	struct scaling scaling[MAX_COUNTS];		 /* 0 workers first */
	uint32_t n_scaling;
};

/* ---- measuring --------------------------------------------------------- */

static void find_cpu(struct report *r)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	(void)snprintf(r->cpu, sizeof(r->cpu), "unknown processor");
	r->processors = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "model name", 10) == 0 && strstr(line, ": ")) {
			(void)snprintf(r->cpu, sizeof(r->cpu), "%s", strstr(line, ": ") + 2);
			break;
		}
	}
	if (f)
		(void)fclose(f);
}

/* 0, 1, 2, 3, 4, then doubling; the number of processors is the last. */
static uint32_t next_count(uint32_t n, uint32_t processors)
{
	uint32_t next = n < 4 ? n + 1 : 2 * n;

	return n < processors && next > processors ? processors : next;
}

static uint32_t count_ciphers(void)
{
	uint32_t n = 0;

	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_XOR; s++)
		for (unsigned int i = 0; cipher_implementation_at(s, i); i++)
			n++;
	return n;
}

static int measure_ciphers(struct report *r, uint32_t budget_ms)
{
	uint32_t each_ms = budget_ms / count_ciphers();
	int error = 0;

	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_XOR && !error; s++) {
		for (unsigned int i = 0; cipher_implementation_at(s, i) && !error; i++)
			if (r->n_ciphers < MAX_CIPHERS)
				error = measure_cipher(s, i, each_ms, &r->ciphers[r->n_ciphers++]);
		(void)cipher_choose(s, 0);
	}
	return error;
}

static int measure_count(struct scaling *s, uint32_t budget_ms)
{
	struct measure_workers how = { .workers = s->workers };
	int error = measure_workers(&how, budget_ms, s->helping);

	how.strict = true;
	if (!error && s->workers)
		error = measure_workers(&how, budget_ms, s->strict);
	return error;
}

static int measure_scaling(struct report *r, uint32_t budget_ms)
{
	uint32_t max = r->processors < ENGINE_MAX_WORKERS ? r->processors : ENGINE_MAX_WORKERS;
	int error = 0;

	for (uint32_t n = 0; n <= max && r->n_scaling < MAX_COUNTS; n = next_count(n, max))
		r->scaling[r->n_scaling++].workers = n;
	for (uint32_t i = 0; i < r->n_scaling && !error; i++)
		error = measure_count(&r->scaling[i], budget_ms / (2 * r->n_scaling));
	return error;
}

static int measure(struct report *r, uint32_t budget_ms)
{
	int error = cipher_init();

	find_cpu(r);
	if (!error)
		error = measure_ciphers(r, budget_ms * 40 / 100);
	if (!error)
		error = measure_hand_off(budget_ms * 10 / 100, &r->hand_off);
	if (!error)
		error = measure_auto(budget_ms * 15 / 100, r->automatic);
	if (!error)
		error = measure_scaling(r, budget_ms * 35 / 100);
	cipher_thread_fini();
	return error;
}

/* ---- text -------------------------------------------------------------- */

static void show_number(double v)
{
	printf(v < 9.995 ? " %6.2f" : " %6.1f", v);
}

static void show_row(const char *name, const struct measure_cipher *c, enum measure_pass raw,
		     enum measure_pass queue)
{
	printf("  %-8s", name);
	for (size_t s = 0; s < MEASURE_SIZES; s++) {
		printf("  ");
		show_number(c->speed[s][raw]);
		if (queue == MEASURE_PASSES) {
			printf("%13s", "");
			continue;
		}
		show_number(c->speed[s][queue]);
		printf(" %3.0f %%", 100 * c->speed[s][queue] / c->speed[s][raw]);
	}
	printf("\n");
}

static void show_ciphers(const struct report *r)
{
	printf("GB/s, in blocks of 4 KiB: the cipher alone, by way of the queue without workers\n"
	       "%-10s  %-20s  %-20s  %-20s\n",
	       "", "  4 KiB  queue", "  64 KiB queue", "   1 MiB queue");
	for (uint32_t i = 0; i < r->n_ciphers; i++) {
		const struct measure_cipher *c = &r->ciphers[i];

		printf("%s, %s\n", cipher_name(c->suite), c->implementation);
		show_row("seal", c, MEASURE_SEAL, MEASURE_QUEUE_SEAL);
		show_row("open", c, MEASURE_OPEN, MEASURE_QUEUE_OPEN);
		if (c->suite == CIPHER_XOR)
			show_row("(memcpy)", c, MEASURE_COPY, MEASURE_PASSES);
	}
}

static void show_hand_off(const struct measure_hand_off *h)
{
	printf("\nhanding over, there and back\n"
	       "  the submitter does it    %8.0f ns for 4 KiB, %.0f ns for 1 MiB in 8 tasks\n"
	       "  to a worker that sleeps  %8.1f us\n",
	       h->inline_ns, h->inline_mib_ns, h->asleep_us);
	if (h->awake_us > 0)
		printf("  to one that is awake     %8.1f us\n", h->awake_us);
}

static void show_auto(const struct report *r)
{
	printf("\nwhat workers=auto does here: waking costs %.1f us, at most %" PRIu32
	       " worker%s\n",
	       r->ciphers[0].pace.wake_ns / 1000.0, r->ciphers[0].workers_max,
	       r->ciphers[0].workers_max == 1 ? "" : "s");
	for (uint32_t i = 0; i < r->n_ciphers; i++) {
		const struct measure_cipher *c = &r->ciphers[i];

		printf("  %-18s %-15s %5" PRIu32 " ns/KiB, wakes one for %" PRIu32 " KiB or more\n",
		       cipher_name(c->suite), c->implementation, c->pace.kib_ns,
		       c->pace.inline_max_size / 1024);
	}
	printf("its time relative to the submitter alone\n%-20s", "");
	for (uint32_t n = 0; n < MEASURE_STEPS; n++)
		printf(" %4uK", (unsigned int)ENGINE_BLOCK_SIZE / 1024 << n);
	for (size_t i = 0; i < MEASURE_SUITES; i++) {
		printf("\n  %-18s", cipher_name((enum cipher_suite)(i + 1)));
		for (uint32_t n = 0; n < MEASURE_STEPS; n++)
			printf(" %5.2f", r->automatic[i][n]);
	}
	printf("\n");
}

static void show_speed(double v, double one)
{
	show_number(v);
	printf(" (x%.2f)", v / one);
}

static void show_scaling(const struct report *r)
{
	printf("\nlarge batches, GB/s  submitter helps  submitter only waits\n");
	for (size_t i = 0; i < MEASURE_SUITES; i++) {
		printf("%s\n", cipher_name((enum cipher_suite)(i + 1)));
		for (uint32_t n = 0; n < r->n_scaling; n++) {
			const struct scaling *s = &r->scaling[n];

			printf("  %3" PRIu32 " worker%s       ", s->workers,
			       s->workers == 1 ? " " : "s");
			show_speed(s->helping[i], r->scaling[0].helping[i]);
			if (n) {
				printf("  ");
				show_speed(s->strict[i], r->scaling[1].strict[i]);
			}
			printf("\n");
		}
	}
}

static int show_text(const struct report *r)
{
	printf("cryptfs %s on %s, %" PRIu32 " processors\n\n", CRYPTFS_VERSION, r->cpu,
	       r->processors);
	show_ciphers(r);
	show_hand_off(&r->hand_off);
	show_auto(r);
	show_scaling(r);
	return cli_flush();
}

/* ---- JSON -------------------------------------------------------------- */

static json_t *sizes_json(const struct measure_cipher *c)
{
	json_t *sizes = json_array();

	for (size_t s = 0; s < MEASURE_SIZES; s++) {
		const double *v = c->speed[s];

		(void)json_array_append_new(
			sizes,
			json_pack("{s:I, s:f, s:{s:f, s:f}, s:{s:f, s:f}}", "size",
				  (json_int_t)measure_sizes[s], "memcpy", v[MEASURE_COPY], "raw",
				  "seal", v[MEASURE_SEAL], "open", v[MEASURE_OPEN], "queue", "seal",
				  v[MEASURE_QUEUE_SEAL], "open", v[MEASURE_QUEUE_OPEN]));
	}
	return sizes;
}

static json_t *ciphers_json(const struct report *r)
{
	json_t *ciphers = json_array();

	for (uint32_t i = 0; i < r->n_ciphers; i++) {
		const struct measure_cipher *c = &r->ciphers[i];

		(void)json_array_append_new(
			ciphers,
			json_pack("{s:s, s:s, s:o, s:{s:I, s:f, s:I, s:I}}", "suite",
				  cipher_name(c->suite), "implementation", c->implementation,
				  "sizes", sizes_json(c), "auto", "workers_max",
				  (json_int_t)c->workers_max, "wake_us", c->pace.wake_ns / 1000.0,
				  "kib_ns", (json_int_t)c->pace.kib_ns, "inline_max_size",
				  (json_int_t)c->pace.inline_max_size));
	}
	return ciphers;
}

static json_t *automatic_json(const struct report *r)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < MEASURE_SUITES; i++)
		for (uint32_t n = 0; n < MEASURE_STEPS; n++)
			(void)json_array_append_new(
				rows, json_pack("{s:s, s:I, s:f}", "suite",
						cipher_name((enum cipher_suite)(i + 1)), "size",
						(json_int_t)ENGINE_BLOCK_SIZE << n, "relative",
						r->automatic[i][n]));
	return rows;
}

static json_t *scaling_json(const struct report *r)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < MEASURE_SUITES; i++) {
		for (uint32_t n = 0; n < r->n_scaling; n++) {
			const struct scaling *s = &r->scaling[n];
			json_t *row = json_pack("{s:s, s:I, s:f}", "suite",
						cipher_name((enum cipher_suite)(i + 1)), "workers",
						(json_int_t)s->workers, "helping", s->helping[i]);

			if (n)
				(void)json_object_set_new(row, "strict", json_real(s->strict[i]));
			(void)json_array_append_new(rows, row);
		}
	}
	return rows;
}

static int show_json(const struct report *r)
{
	const struct measure_hand_off *h = &r->hand_off;
	json_t *object = json_pack(
		"{s:s, s:s, s:I, s:o, s:{s:f, s:f, s:f, s:f}, s:o, s:o}", "version",
		CRYPTFS_VERSION, "cpu", r->cpu, "processors", (json_int_t)r->processors, "ciphers",
		ciphers_json(r), "hand_off", "inline_ns", h->inline_ns, "inline_mib_ns",
		h->inline_mib_ns, "asleep_us", h->asleep_us, "awake_us", h->awake_us, "auto",
		automatic_json(r), "scaling", scaling_json(r));

	return cli_json(object);
}

/* ---- the command ------------------------------------------------------- */

static int take_seconds(const char *text, uint32_t *budget_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (!*text || *end || !(seconds > 0 && seconds <= MAX_SECONDS)) {
		log_error("--seconds %s: not a number of seconds up to %d", text, MAX_SECONDS);
		return STATUS_USAGE;
	}
	*budget_ms = (uint32_t)(seconds * 1000);
	return STATUS_OK;
}

static int bench(uint32_t budget_ms, bool json)
{
	static struct report r;
	int error = measure(&r, budget_ms);

	if (error) {
		log_error("cannot measure: %s", strerror(-error));
		return STATUS_SYSTEM;
	}
	return json ? show_json(&r) : show_text(&r);
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "seconds", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	uint32_t budget_ms = DEFAULT_MS;
	bool json = false;
	int status = STATUS_OK;
	int c;

	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		if (c == 'j')
			json = true;
		else
			status = take_seconds(optarg, &budget_ms);
	}
	if (!status && optind < argc) {
		log_error("bench: takes no argument: what is %s?", argv[optind]);
		status = STATUS_USAGE;
	}
	return status ? status : bench(budget_ms, json);
}

const struct command cli_bench = {
	.name = "bench",
	.summary = "measure the encryption engine on this machine",
	.help = "usage: cryptfs bench [--json] [--seconds N]\n"
		"\n"
		"Measure each cipher alone and by way of the queue, what handing work to another\n"
		"process costs, what workers=auto makes of it, and what workers gain.  Medians of\n"
		"many short rounds; other programs that run meanwhile still make it slower.\n"
		"\n"
		"  --json       for programs\n"
		"  --seconds N  about how long (default 4)\n"
		"  --help       show this\n",
	.run = run,
};
