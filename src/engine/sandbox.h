/* SPDX-License-Identifier: MIT */
/*
 * sandbox - what a child of the mount process gives up.  Each of these is
 * called once, in the child.
 */
#ifndef ENGINE_SANDBOX_H
#define ENGINE_SANDBOX_H

#include <sys/types.h>

/* Die when parent does; ends the process if that has already happened. */
void sandbox_die_with(pid_t parent);

/* Close every descriptor but keep (-1: every one). */
void sandbox_close_all_but(int keep);

/*
 * From here on only compute, wait, and exit; any other system call kills the
 * process.  0 or -errno.
 */
int sandbox_enter(void);

#endif /* ENGINE_SANDBOX_H */
