/* SPDX-License-Identifier: MIT */
/*
 * answers - what a mount process can be told and asked over its control socket:
 *
 *   status     one JSON object, see status.h
 *   suspend    wipe the keys; see suspension.h
 *   resume     body: enum vault_kind (1 byte), secret
 *   path       body: the path of a file, relative to the mountpoint
 *   shown      body: the path of a stored file, relative to tree/
 *   vault      its path
 *
 * All but the first are answered by an exit status, a space, and what was asked
 * for or why not.
 */
#ifndef FS_ANSWERS_H
#define FS_ANSWERS_H

#include "fs/control.h"
#include "fs/status.h"
#include "fs/suspension.h"

struct answers {
	struct status status;
	struct suspension suspension;
	const char *vault_path;
};

/* A control_answer; arg is a struct answers. */
char *answers_give(void *arg, const struct control_question *q);

#endif /* FS_ANSWERS_H */
