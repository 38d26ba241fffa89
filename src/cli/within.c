/* SPDX-License-Identifier: MIT */
/* Into a vault without a mount: see within.h for the contract. */
#include "cli/within.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limit.h"
#include "base/log.h"

/* ---- VAULT[:PATH] -------------------------------------------------------- */

char *within_tidy(const char *path)
{
	char *tidy = malloc(strlen(path) + 1);
	size_t used = 0;

	if (!tidy)
		return NULL;
	for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
		size_t size = strcspn(path, "/");

		if (size == 2 && !strncmp(path, "..", 2)) {
			free(tidy);
			errno = EINVAL;
			return NULL;
		}
		if (size != 1 || *path != '.') {
			if (used)
				tidy[used++] = '/';
			memcpy(tidy + used, path, size);
			used += size;
		}
		path += size;
	}
	tidy[used] = '\0';
	return tidy;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* The colon behind the vault, or the end. */
static const char *find_end(const char *operand)
{
	const char *first = strchr(operand, ':');
	const char *colon = first;

	if (!first || is_dir(operand))
		return operand + strlen(operand);
	for (; colon; colon = strchr(colon + 1, ':')) {
		char *vault = strndup(operand, (size_t)(colon - operand));
		bool yes = vault && is_dir(vault);

		free(vault);
		if (yes)
			return colon;
	}
	return first;
}

int within_split(const struct command *self, const char *operand, struct within *w)
{
	const char *end = find_end(operand);

	w->vault = strndup(operand, (size_t)(end - operand));
	w->place = within_tidy(*end ? end + 1 : "");
	if (w->vault && *w->vault && w->place)
		return STATUS_OK;
	if (w->vault && *w->vault && errno == EINVAL)
		log_error("%s: %s: a path in a vault cannot have ..", self->name, operand);
	else if (w->vault && !*w->vault)
		log_error("%s: %s: no vault is named (VAULT:PATH)", self->name, operand);
	else
		log_error("%s: %s", self->name, strerror(ENOMEM));
	return w->vault ? STATUS_USAGE : STATUS_SYSTEM;
}

void within_free(struct within *w)
{
	free(w->vault);
	free(w->place);
	*w = (struct within){ 0 };
}

/* ---- options ------------------------------------------------------------- */

void within_init(struct within_options *o)
{
	*o = (struct within_options){ .workers = ENGINE_WORKERS_AUTO };
	secrets_init(&o->secrets);
	o->secrets.old.prompt = NULL;
}

int within_apply(int option, const char *value, struct within_options *o)
{
	return option == 'w' ? cli_workers(value, &o->workers)
			     : secrets_apply(option, value, &o->secrets);
}

uint32_t within_hands(void)
{
	enum { MOST = ENGINE_MAX_SLOTS - 4 }; /* others take some, too */
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 1 ? 2 : cpus + 1 < MOST ? (uint32_t)cpus + 1 : MOST;
}

/* ---- looking --------------------------------------------------------------- */

int within_look(const struct within *w, const struct within_options *o,
		const struct confine_place *other,
		int (*look)(void *arg, struct offline *vault, struct side_hand *hand), void *arg)
{
	struct offline vault = { .root_fd = -1 };
	struct side_hand hand = { 0 };
	struct engine *engine;
	int status;

	limit_raise(RLIMIT_NOFILE);
	status = offline_start_engine(o->workers, OFFLINE_SLOTS + 1, &engine);
	if (status)
		return status;
	status = offline_open(engine, w->vault, VAULT_SHARED, &o->secrets.old, &vault);
	if (!status)
		status = offline_start(&vault, other, other ? 1 : 0);
	if (!status) {
		int r = side_hand_new(vault.side, &hand);

		status = r ? within_report("open", w->vault, r) : look(arg, &vault, &hand);
		side_hand_free(&hand);
	}
	offline_close(&vault);
	engine_stop(engine);
	cipher_thread_fini();
	return status;
}

int within_report(const char *verb, const char *place, int r)
{
	log_error("cannot %s %s: %s", verb, *place ? place : "/",
		  r == -EBADMSG ? "it is damaged (cryptfs fsck says more)" : strerror(-r));
	return r == -EBADMSG ? STATUS_DAMAGED : STATUS_SYSTEM;
}
