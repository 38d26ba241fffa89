/* SPDX-License-Identifier: MIT */
/*
 * expiry - when a mount has been unused for so long that it shall unmount
 * itself.  Only keeps time: whether somebody holds the mount, the kernel says
 * when unmounting is tried, so no open can come between.
 */
#ifndef FS_EXPIRY_H
#define FS_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

struct expiry {
	uint64_t after_ms; /* 0: never */
	uint64_t uses;	   /* when it was looked at last */
	uint64_t since_ms; /* no use since */
	uint64_t next_ms;  /* do not try again before */
	/* Tries while somebody held it; any thread may read it. */
	_Atomic uint64_t refused;
};

/* Count from now on; after_ms 0 is never. */
void expiry_init(struct expiry *e, uint64_t after_ms, uint64_t now_ms);

/* True when it is time to try; uses grows with each use of the mount. */
bool expiry_is_due(struct expiry *e, uint64_t uses, uint64_t now_ms);

/* It was tried, and somebody holds the mount. */
void expiry_refused(struct expiry *e, uint64_t now_ms);

#endif /* FS_EXPIRY_H */
