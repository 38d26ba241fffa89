/* SPDX-License-Identifier: MIT */
/*
 * place - the attribute "user.cryptfs.place" of a content file, which says
 * where the file may be besides what its header says.
 *
 * A header is data, names are metadata: after a power failure a rename may be
 * on disk and the header written before it may not.  Attributes are metadata
 * too, and journaling filesystems keep the order of metadata, so this one is
 * there if the rename is.  It speaks for headers up to a sequence; a later one
 * says itself where the file may be.
 */
#ifndef FS_PLACE_H
#define FS_PLACE_H

#include <stdint.h>

#include "engine/keys.h"
#include "fs/format.h"

#define PLACE_XATTR "user.cryptfs.place"

enum {
	PLACE_SIZE = 56,
};

enum {
	PLACE_MISSING = 1, /* there is none, or none that authenticates */
};

struct place_record {
	uint64_t sequence; /* of the last header it speaks for */
	/* Where it is, and where it is going; both zeros: anywhere, as with MULTI. */
	uint8_t bindings[2][FORMAT_BINDING_SIZE];
};

/* 0 or -errno: -EOPNOTSUPP, -EACCES, -ENOSPC and others where it cannot be. */
int place_write(int fd, const struct keyring *keys, const uint8_t id[KEYS_FILE_ID_SIZE],
		const struct place_record *place);

/* Of the file with this id: 0, PLACE_MISSING or -errno. */
int place_read(int fd, const struct keyring *keys, const uint8_t id[KEYS_FILE_ID_SIZE],
	       struct place_record *place);

#endif /* FS_PLACE_H */
