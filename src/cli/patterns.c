/* SPDX-License-Identifier: MIT */
/* Which paths are wanted: see patterns.h for the contract. */
#include "cli/patterns.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "fs/exitcode.h"

static int add(const char *option, const char *pattern, const char **patterns)
{
	for (size_t i = 0; i < PATTERNS_MAX; i++) {
		if (patterns[i])
			continue;
		patterns[i] = pattern;
		return STATUS_OK;
	}
	log_error("%s: no more than %d patterns", option, PATTERNS_MAX);
	return STATUS_USAGE;
}

int patterns_include(struct patterns *p, const char *pattern)
{
	return add("--include", pattern, p->include);
}

int patterns_exclude(struct patterns *p, const char *pattern)
{
	return add("--exclude", pattern, p->exclude);
}

bool patterns_are_none(const struct patterns *p)
{
	return !p->include[0] && !p->exclude[0];
}

static bool matches(const char *const *patterns, const char *path)
{
	const char *slash = strrchr(path, '/');

	for (; *patterns; patterns++) {
		bool whole = strchr(*patterns, '/') != NULL;

		if (fnmatch(*patterns, whole || !slash ? path : slash + 1,
			    whole ? FNM_PATHNAME : 0) == 0)
			return true;
	}
	return false;
}

bool patterns_want(const struct patterns *p, const char *path, bool is_directory)
{
	if (matches(p->exclude, path))
		return false;
	return is_directory || !p->include[0] || matches(p->include, path);
}
