/* SPDX-License-Identifier: MIT */
/* Answers over the control socket: see answers.h for the contract. */
#include "fs/answers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/exitcode.h"
#include "fs/pathmap.h"

static char *say(int status, const char *text)
{
	char *answer;

	return asprintf(&answer, "%d %s", status, text) < 0 ? NULL : answer;
}

static char *suspend(struct answers *a, const struct control_question *q)
{
	int r = suspension_begin(&a->suspension);

	(void)q;
	if (r == SUSPENSION_BUSY)
		return say(STATUS_IN_USE, "requests are under way that do not end (try again)");
	return r ? say(STATUS_SYSTEM, strerror(-r)) : say(STATUS_OK, "");
}

static char *resume(struct answers *a, const struct control_question *q)
{
	const uint8_t *body = q->body;
	struct vault_secret secret = { .bytes = body + 1, .size = q->body_size - 1 };
	int r;

	if (!q->body_size || body[0] >= VAULT_UNKNOWN)
		return say(STATUS_USAGE, "not a secret");
	secret.kind = (enum vault_kind)body[0];
	r = suspension_end(&a->suspension, &secret);
	return r ? say(exitcode_of_vault(r), exitcode_vault_message(r)) : say(STATUS_OK, "");
}

/* The body as text, to be freed; NULL: it is none, or there is no memory. */
static char *text_of(const struct control_question *q)
{
	return memchr(q->body, '\0', q->body_size) ? NULL : strndup(q->body, q->body_size);
}

/* A stored path may begin with the vault's. */
static const char *below_tree(const struct answers *a, const char *path)
{
	size_t size = strlen(a->vault_path);

	if (!strncmp(path, a->vault_path, size) && !strncmp(path + size, "/tree", 5) &&
	    (path[size + 5] == '/' || !path[size + 5]))
		return path + size + 5;
	return path;
}

static char *map(struct answers *a, const struct control_question *q, bool back)
{
	struct tree *t = a->suspension.context->tree;
	char *path = text_of(q);
	char *found = NULL;
	char *answer = NULL;
	int r = path ? 0 : -EINVAL;

	if (suspension_is_on(&a->suspension))
		r = -EKEYREVOKED;
	if (!r)
		r = back ? pathmap_show(t, below_tree(a, path), &found)
			 : pathmap_store(t, path, &found);
	io_forget(NULL);
	if (r == -EKEYREVOKED)
		answer = say(STATUS_IN_USE, "it is suspended (see cryptfs resume)");
	else if (r)
		answer = say(STATUS_SYSTEM, strerror(-r));
	else if (back)
		answer = say(STATUS_OK, found);
	else if (asprintf(&answer, "%d %s/tree%s%s", STATUS_OK, a->vault_path, *found ? "/" : "",
			  found) < 0)
		answer = NULL;
	free(found);
	free(path);
	return answer;
}

char *answers_give(void *arg, const struct control_question *q)
{
	struct answers *a = arg;

	if (!strcmp(q->command, "suspend"))
		return suspend(a, q);
	if (!strcmp(q->command, "resume"))
		return resume(a, q);
	if (!strcmp(q->command, "path"))
		return map(a, q, false);
	if (!strcmp(q->command, "shown"))
		return map(a, q, true);
	if (!strcmp(q->command, "vault"))
		return say(STATUS_OK, a->vault_path);
	return status_answer(&a->status, q);
}
