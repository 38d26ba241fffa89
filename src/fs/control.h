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
 * as in mountinfo: 0:45.sock.  The asker sends one line with a command, and
 * behind a space the size of what follows the line, if anything does; the
 * answer is text up to the end of the stream.  Only the owner and root are
 * answered.
 *
 * Results: 0 is done, a negative errno is a broken system, a positive
 * CONTROL_* is an answer.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <stddef.h>
#include <sys/types.h>

enum {
	CONTROL_COMMAND_MAX = 64, /* bytes of a command's line, its newline included */
	CONTROL_BODY_MAX = 8192,
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

/* What is asked. */
struct control_question {
	const char *command;
	const void *body; /* may be a secret: in secmem on both sides, wiped there when answered */
	size_t body_size; /* up to CONTROL_BODY_MAX */
};

struct control;

/*
 * The answer to a question, in memory that is freed with free(3), or NULL if
 * there is no such command (or no memory).  Called from the control's thread.
 */
typedef char *control_answer(void *arg, const struct control_question *q);

/*
 * Make the directory and the socket, in place of one that a dead process
 * left.  The owner is who calls.  0, CONTROL_UNSAFE or -errno.
 */
int control_open(const struct control_name *name, control_answer *answer, void *arg,
		 struct control **out);

/* The directory of the socket and the one above it (O_PATH): borrowed. */
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

/* The same with a body, and with no limit of time but for who does not listen. */
int control_tell(const struct control_name *name, const struct control_question *q, char **reply);

/* Which process answers there: 0, or as control_ask.  Asks it nothing. */
int control_process(const struct control_name *name, pid_t *pid);

#endif /* FS_CONTROL_H */
