/* SPDX-License-Identifier: MIT */
/* notify - telling whoever started us as a service (sd_notify(3)) how far we are. */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H

/*
 * A socket connected to what NOTIFY_SOCKET names, which leaves the environment; -1 if
 * nobody wants to be told.  Before the process is confined.
 */
int notify_open(void);

/* Say state ("READY=1"); -1 is fine. */
void notify_say(int fd, const char *state);

#endif /* FS_NOTIFY_H */
