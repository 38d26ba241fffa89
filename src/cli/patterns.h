/* SPDX-License-Identifier: MIT */
/* patterns - which paths are wanted: --include and --exclude. */
#ifndef CLI_PATTERNS_H
#define CLI_PATTERNS_H

#include <stdbool.h>

enum { PATTERNS_MAX = 64 };

/* Of fnmatch(3), NULL-ended, borrowed: for names, or for whole paths if they have a slash. */
struct patterns {
	const char *include[PATTERNS_MAX + 1]; /* none: all */
	const char *exclude[PATTERNS_MAX + 1];
};

/* Add one to either: 0, or the exit status, said already. */
int patterns_include(struct patterns *p, const char *pattern);
int patterns_exclude(struct patterns *p, const char *pattern);

bool patterns_are_none(const struct patterns *p);

/* Directories need not be included, only not excluded. */
bool patterns_want(const struct patterns *p, const char *path, bool is_directory);

#endif /* CLI_PATTERNS_H */
