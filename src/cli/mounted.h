/* SPDX-License-Identifier: MIT */
/*
 * mounted - what the commands that deal with a mount share: finding it without
 * touching it (it may hang), and asking its process.
 */
#ifndef CLI_MOUNTED_H
#define CLI_MOUNTED_H

#include <sys/types.h>

#include "fs/control.h"
#include "fs/mountinfo.h"

/*
 * The mount of cryptfs on path, which may have links: 0, or the exit status, said
 * already.
 */
int mounted_find(const char *path, struct mountinfo *m);

/* The same, but nothing is said, and STATUS_MOUNTPOINT if there is none. */
int mounted_look(const char *path, struct mountinfo *m);

/* Which socket to ask it through. */
struct control_name mounted_name(const struct mountinfo *m);

/* As control_ask: the answer, to be freed; 0, or the exit status, said already. */
int mounted_ask(const struct mountinfo *m, const char *command, char **reply);

/* The same with a body and as much time as it takes. */
int mounted_tell(const struct mountinfo *m, const struct control_question *q, char **reply);

/*
 * Every mount of cryptfs that the caller may ask, the latest first, in an array to
 * be freed: how many, or -errno.
 */
int mounted_all(struct mountinfo **all);

#endif /* CLI_MOUNTED_H */
