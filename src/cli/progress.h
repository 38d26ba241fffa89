/* SPDX-License-Identifier: MIT */
/*
 * progress - say on standard error how far a long command is: as a bar that
 * is drawn over and over, or as a line a second.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_style {
	PROGRESS_NONE,
	PROGRESS_QUIET, /* nothing but what progress_say says */
	PROGRESS_BAR,
	PROGRESS_LINES,
	PROGRESS_JSON, /* one object a line */
};

struct progress_state {
	uint64_t done;	/* in a unit of its own */
	uint64_t total; /* 0: not known (yet) */
	uint64_t bytes;
	uint64_t files;
};

struct progress;

/* "bar", "lines", "json" or "none": 0 and *style, or -EINVAL. */
int progress_by_name(const char *name, enum progress_style *style);

/*
 * Start a thread that calls ask(arg, ...) now and then, with nothing locked.
 * 0 or -errno; *out is NULL with PROGRESS_NONE, which every function takes.
 */
int progress_start(enum progress_style style, void (*ask)(void *arg, struct progress_state *state),
		   void *arg, struct progress **out);

/* A line about the state of now, on standard error.  Any thread but from ask. */
void progress_say(struct progress *p);

/* Stop; the last state is shown by lines, and a bar is wiped. */
void progress_stop(struct progress *p);

/* Around other output to the terminal: the bar gets out of the way. */
void progress_hide(struct progress *p);
void progress_show(struct progress *p);

#endif /* CLI_PROGRESS_H */
