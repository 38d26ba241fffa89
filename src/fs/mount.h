/* SPDX-License-Identifier: MIT */
/*
 * mount - a mount from start to end: the order of starting and stopping.
 */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "fs/options.h"

/*
 * Mount as the options say and serve until unmounted or told to end (SIGTERM,
 * SIGINT, SIGHUP).  Unless in the foreground, returns when the mount answers,
 * and a process of its own serves it.  An exit status of fs/exitcode.h.
 */
int mount_run(const struct options *o);

#endif /* FS_MOUNT_H */
