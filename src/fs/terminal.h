/* SPDX-License-Identifier: MIT */
/*
 * terminal - ask for a line on the controlling terminal without showing it.
 */
#ifndef FS_TERMINAL_H
#define FS_TERMINAL_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Show "prompt: " and read a line of at most size bytes into data, without
 * the newline: its size, -ENXIO where there is no terminal, or -errno.  The
 * terminal's settings are restored before a signal takes its course; after
 * one that stops the process the prompt is shown again; after one that the
 * caller handles the answer is -EINTR.
 */
ssize_t terminal_ask(const char *prompt, void *data, size_t size);

#endif /* FS_TERMINAL_H */
