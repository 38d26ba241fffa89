/* SPDX-License-Identifier: MIT */
/*
 * recrypt - copy a whole tree into another one, which has other keys.  One that
 * was cut off, by whatever, goes on where it was: what is complete in the copy is
 * known by its size and time of change, which it gets when it is durable.
 */
#ifndef FS_RECRYPT_H
#define FS_RECRYPT_H

#include <stdatomic.h>
#include <stdint.h>

#include "fs/io.h"

struct recrypt_counts {
	_Atomic uint64_t work;	/* in the units of check_survey */
	_Atomic uint64_t files; /* and everything else that has a name */
	_Atomic uint64_t bytes; /* copied in this run */
	_Atomic uint64_t failed;
};

struct recrypt {
	/*
	 * Both borrowed, and both for one engine with two free slots.  Nobody else
	 * uses the trees; the first one is not changed.
	 */
	const struct store *from, *to;
	int from_fd, to_fd; /* their roots, O_PATH */
	const atomic_bool *stop;
	struct recrypt_counts *counts;
	/* What could not be copied, as it is called below the root, and why; the rest goes on. */
	void (*failed)(void *arg, const char *path, int error);
	void *arg;
};

/*
 * 0: everything that counts->failed does not count is copied and durable.
 * -ECANCELED: it was told to stop; -errno: it cannot go on.
 */
int recrypt_run(const struct recrypt *how);

#endif /* FS_RECRYPT_H */
