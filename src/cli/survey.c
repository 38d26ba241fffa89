/* SPDX-License-Identifier: MIT */
/* How much there is: see survey.h for the contract. */
#include "cli/survey.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct survey {
	struct inputs *inputs;
	pthread_t thread;
	atomic_bool stop;
	_Atomic uint64_t total;
};

static void *walk(void *arg)
{
	struct survey *s = arg;
	struct input next;
	uint64_t total = 0;
	int r = 0;

	while (r <= 0 && !atomic_load(&s->stop)) {
		r = inputs_next(s->inputs, &next);
		if (r)
			continue;
		total += next.size;
		free(next.path);
		free(next.output);
	}
	if (r > 0)
		atomic_store(&s->total, total);
	return NULL;
}

struct survey *survey_start(const struct inputs_spec *spec)
{
	struct inputs_spec looks = *spec;
	struct survey *s;

	if (spec->list && strcmp(spec->list, "-") == 0)
		return NULL; /* can be read once */
	looks.only_looks = true;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	if (inputs_new(&looks, &s->inputs) || pthread_create(&s->thread, NULL, walk, s)) {
		inputs_free(s->inputs);
		free(s);
		return NULL;
	}
	return s;
}

uint64_t survey_total(struct survey *s)
{
	return s ? atomic_load(&s->total) : 0;
}

void survey_stop(struct survey *s)
{
	if (!s)
		return;
	atomic_store(&s->stop, true);
	(void)pthread_join(s->thread, NULL);
	inputs_free(s->inputs);
	free(s);
}
