/* SPDX-License-Identifier: MIT */
/*
 * control - the socket through which a mount process is asked about itself.
 *
 * A stream socket that belongs to whoever mounted, mode 0600, in
 *
 *   /run/cryptfs             root's mounts
 *   /run/user/UID/cryptfs    another user's, where /run/user/UID is his
 *   /tmp/cryptfs-UID         else
 *
 * (0700 and that user's, or it is not used), named after the mount's device
 * as in mountinfo: 0:45.sock.  The asker sends one line with a command, the
 * answer is text up to the end of the stream.  Only the owner and root are
 * answered.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive
 * CONTROL_* is an answer.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <sys/types.h>

enum {
	CONTROL_COMMAND_MAX = 64, /* bytes of a command, its newline included */
	CONTROL_REPLY_MAX = 1024 * 1024,
	CONTROL_TIMEOUT_MS = 1000, /* for an asker to ask, and to listen */
};

enum {
	CONTROL_NOBODY = 1, /* no socket, or nobody behind it */
	CONTROL_SILENT,	    /* no answer in time, or none that makes sense */
	CONTROL_UNSAFE,	    /* the directory is not its owner's alone */
};

/* Which socket. */
struct control_name {
	uid_t owner;
	unsigned int major;
	unsigned int minor;
};

struct control;

/*
 * The answer to a command, in memory that is freed with free(3), or NULL if
 * there is no such command (or no memory).  Called from the control's thread.
 */
typedef char *control_answer(void *arg, const char *command);

/*
 * Make the directory and the socket, in place of one that a dead process
 * left.  The owner is who calls.  0, CONTROL_UNSAFE or -errno.
 */
int control_open(const struct control_name *name, control_answer *answer, void *arg,
		 struct control **out);

/* The directory of the socket and the one above it: borrowed, O_PATH. */
int control_directory(const struct control *c);
int control_parent(const struct control *c);

/* Start the thread that answers, one asker at a time: 0 or -errno. */
int control_start(struct control *c);

/* Remove the socket, and the directory with the last; end the thread, free.  NULL is fine. */
void control_stop(struct control *c);

/*
 * Ask a mount: 0 and *reply, ended by a zero byte and the caller's to free;
 * a CONTROL_*, or -errno.  Takes a few seconds at most.
 */
int control_ask(const struct control_name *name, const char *command, char **reply);

#endif /* FS_CONTROL_H */
