/* SPDX-License-Identifier: MIT */
/*
 * convert - the content of one file or stream through the engine: sealed into
 * a container, opened out of one, or XORed.  Knows descriptors, not names.
 *
 * Any number of threads help with one conversion, each with a hand (a slot of
 * the engine): each claims the next piece of up to 1 MiB, reads it into its
 * slot, has the engine process it there and writes it from there.  So one
 * piece is read while another is sealed and a third is written.  Files are
 * read and written in any order, pipes in theirs.
 *
 * Nothing is written before the tag of every block it comes from is right.
 *
 * Results: 0, a positive CONVERT_* answer, or a negative errno.
 */
#ifndef FS_CONVERT_H
#define FS_CONVERT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/keys.h"

enum convert_way {
	CONVERT_SEAL = 1, /* the header is there already; chunks follow */
	CONVERT_OPEN,	  /* the header was read already */
	CONVERT_XOR,
};

enum {
	CONVERT_MORE = 1, /* step: a piece was done, and there may be more */
	CONVERT_OTHERS,	  /* step: nothing is left but what others are doing */
	CONVERT_DAMAGED,  /* a block did not open, or a rule is broken */
	CONVERT_CUT,	  /* the end is missing */
	CONVERT_CHANGED,  /* the input became shorter meanwhile */
};

struct convert_key {
	enum cipher_suite suite;
	const struct keyring *keys; /* SEAL, OPEN; borrowed */
	uint8_t id[KEYS_FILE_ID_SIZE];
	const uint8_t *xor_key; /* XOR; borrowed */
	size_t xor_size;
};

/* One end; descriptors are borrowed. */
struct convert_end {
	int fd;
	bool is_stream;	 /* in its order, from where it is; else a regular file */
	uint64_t offset; /* of a file: where the content, behind any header, begins */
	uint64_t size;	 /* of a file that is read: of all of it */
};

struct convert_spec {
	enum convert_way way;
	struct convert_key key;
	struct convert_end in;
	struct convert_end out;
	_Atomic uint64_t *n_bytes; /* grows by what was done, counted in the input; may be NULL */
};

struct convert;
struct convert_hand;

/* A hand has a slot of e: 0, -EBUSY when there is none, or -ENOMEM. */
int convert_hand_new(struct engine *e, struct convert_hand **out);
void convert_hand_free(struct convert_hand *h); /* NULL is fine */

int convert_new(const struct convert_spec *spec, struct convert **out);
void convert_free(struct convert *c); /* NULL is fine; nobody may be in a step */

/*
 * Do one piece: MORE, OTHERS, or, for exactly one of all callers, the result
 * of the whole: 0, DAMAGED, CUT, CHANGED or -errno.  After a failure the
 * output is worthless.  A read or write that is interrupted by a signal goes
 * on unless convert_cancel was called.
 */
int convert_step(struct convert *c, struct convert_hand *h);

/* True while a further hand may find something to do. */
bool convert_has_more(struct convert *c);

/* Have it end with this -errno soon; a thread that waits in a pipe needs a signal, too. */
void convert_cancel(struct convert *c, int error);

/* Where in the plaintext the first damage was found, after DAMAGED or CUT. */
uint64_t convert_where(const struct convert *c);

#endif /* FS_CONVERT_H */
