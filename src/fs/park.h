/* SPDX-License-Identifier: MIT */
/*
 * park - requests that wait while a mount is suspended.  A receiver looks here
 * after it has read a request and before it serves it; what needs no key is served
 * all the same (wire_needs_no_key), so that a suspended mount can be unmounted.
 *
 * Who waits can be interrupted: an INTERRUPT answers its request with EINTR.
 */
#ifndef FS_PARK_H
#define FS_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum park_state {
	PARK_OPEN,
	PARK_CLOSED,
	PARK_REFUSED, /* for good: what needs a key is an error */
};

struct parked;

struct park {
	_Atomic int state; /* enum park_state */
	int fd;		   /* /dev/fuse, borrowed; -1 until it is there */
	atomic_size_t n;   /* how many wait */
	pthread_mutex_t lock;
	struct parked *first, *last;
};

void park_init(struct park *p);

/* Wipe and free what still waits. */
void park_fini(struct park *p);

/*
 * From here on requests wait.  With loop_is_quiet afterwards nobody serves one that
 * came before: a receiver counts itself as serving before it looks at the state.
 */
void park_close(struct park *p);

/* Requests go on; those that wait are to be fetched with park_take. */
void park_open(struct park *p);

/* Answer who waits, and whoever comes, with an error (-errno). */
void park_refuse(struct park *p);

bool park_is_closed(const struct park *p);

/*
 * True if the request just read is not to be served now: it is kept, or answered,
 * and wiped where it was.
 */
bool park_keeps(struct park *p, void *request, size_t size);

/* The next request that may go on, into memory of size bytes: its size, or 0. */
size_t park_take(struct park *p, void *request, size_t size);

#endif /* FS_PARK_H */
