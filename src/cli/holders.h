/* SPDX-License-Identifier: MIT */
/*
 * holders - who keeps a mount busy, as far as /proc lets the caller look: what is
 * open there, mapped, run, or somebody's working or root directory, and what is
 * mounted below.  The mount itself is not touched: it may hang.
 */
#ifndef CLI_HOLDERS_H
#define CLI_HOLDERS_H

#include <stdbool.h>
#include <stdio.h>

#include "fs/mountinfo.h"

/*
 * Write a line for each to f: "PID COMMAND: what PATH".  How many there were;
 * 0 also where nobody may be looked at.  f NULL: only count.
 */
unsigned int holders_show(const struct mountinfo *m, FILE *f);

#endif /* CLI_HOLDERS_H */
