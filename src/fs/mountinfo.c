/* SPDX-License-Identifier: MIT */
/*
 * Lines of mountinfo: see mountinfo.h for the contract, proc_pid_mountinfo(5)
 * for the format:
 *
 *   id parent major:minor root point options [optional ...] - type source options
 *
 * Space, tab, newline and backslash are written as a backslash and three
 * octal digits.
 */
#include "fs/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* In place; what is no escape stays as it is. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && is_octal(s[2]) &&
		    is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* A whole number at *text, which is moved behind it. */
static bool take_number(const char **text, unsigned int *number)
{
	char *end;
	unsigned long n;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	n = strtoul(*text, &end, 10);
	if (errno || n > UINT_MAX)
		return false;
	*number = (unsigned int)n;
	*text = end;
	return true;
}

static bool take_device(const char *text, struct mountinfo *m)
{
	return take_number(&text, &m->major) && *text++ == ':' && take_number(&text, &m->minor) &&
	       !*text;
}

static void take_user(char *options, struct mountinfo *m)
{
	static const char name[] = "user_id=";
	char *rest;
	unsigned int user;

	for (char *o = strtok_r(options, ",\n", &rest); o; o = strtok_r(NULL, ",\n", &rest)) {
		const char *value = o + sizeof(name) - 1;

		if (strncmp(o, name, sizeof(name) - 1) == 0 && take_number(&value, &user) &&
		    !*value) {
			m->has_user = true;
			m->user = user;
		}
	}
}

int mountinfo_parse(char *line, struct mountinfo *m)
{
	char *rest;
	char *word = strtok_r(line, " \n", &rest);
	char *device = NULL;
	char *point = NULL;
	const char *id = word;
	char *type;

	for (int i = 0; word && strcmp(word, "-") != 0; i++) {
		if (i == 2)
			device = word;
		if (i == 4)
			point = word;
		word = strtok_r(NULL, " \n", &rest);
	}
	type = word && point ? strtok_r(NULL, " \n", &rest) : NULL;
	*m = (struct mountinfo){ 0 };
	if (!type || !take_number(&id, &m->id) || *id || !take_device(device, m))
		return MOUNTINFO_NONSENSE;
	unescape(point);
	if (snprintf(m->point, sizeof(m->point), "%s", point) >= (int)sizeof(m->point))
		return MOUNTINFO_NONSENSE;
	(void)snprintf(m->type, sizeof(m->type), "%s", type); /* cut: not ours */
	(void)strtok_r(NULL, " \n", &rest);		      /* the source */
	word = strtok_r(NULL, " \n", &rest);
	if (word)
		take_user(word, m);
	return 0;
}

int mountinfo_each(int (*visit)(void *arg, const struct mountinfo *m), void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct mountinfo *one = malloc(sizeof(*one));
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f || !one) {
		r = -errno;
		goto out;
	}
	while (!r && getline(&line, &size, f) > 0)
		if (!mountinfo_parse(line, one))
			r = visit(arg, one);
	if (!r && ferror(f))
		r = -EIO;
out:
	free(line);
	free(one);
	if (f)
		(void)fclose(f);
	return r;
}

struct wanted {
	const char *point;
	struct mountinfo *found;
	bool is_there;
};

static int compare(void *arg, const struct mountinfo *m)
{
	struct wanted *w = arg;

	if (strcmp(m->point, w->point) != 0)
		return 0;
	*w->found = *m; /* the last one is on top */
	w->is_there = true;
	return 0;
}

int mountinfo_find(const char *point, struct mountinfo *m)
{
	struct wanted w = { .point = point, .found = m };
	int r = mountinfo_each(compare, &w);

	return r ? r : w.is_there ? 0 : MOUNTINFO_NONE;
}
