/* SPDX-License-Identifier: MIT */
/*
 * confine - what the mount process gives up once it is mounted and before it
 * has threads: files outside of the vault (Landlock), starting programs,
 * mounting, tracing and the like (seccomp), new privileges, and the
 * capabilities of root that serving files does not take.
 *
 * What the kernel does not have is done without; the report says what is on.
 * docs/threat-model.md says what it is good for.
 */
#ifndef FS_CONFINE_H
#define FS_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	CONFINE_MAX_PLACES = 8,
};

/* What may be done below a directory. */
enum confine_access {
	CONFINE_LIST,	/* open directories for reading */
	CONFINE_READ,	/* and files */
	CONFINE_CHANGE, /* everything but starting programs */
	CONFINE_FILE,	/* it is no directory: read, write and cut it */
	CONFINE_UNLINK, /* remove files from it */
	CONFINE_RMDIR,	/* remove directories from it */
};

struct confine_place {
	int fd; /* O_PATH is enough; borrowed, needed during confine_enter only. -1: none */
	enum confine_access access;
};

struct confine_wishes {
	struct confine_place places[CONFINE_MAX_PLACES];
	uint32_t n_places;
	bool trusted_xattrs; /* trusted.* and security.*, which take CAP_SYS_ADMIN */
};

/* What is on. */
struct confine_report {
	int landlock; /* version of its interface; 0: not there, or too old */
	bool seccomp;
	bool no_new_privs;
	uint64_t capabilities; /* a bit for each that is left */
};

/*
 * For this thread and all that it starts from here on, for good.  What cannot
 * be had is said once in the log, unless this kernel does not know it.
 */
void confine_enter(const struct confine_wishes *w, struct confine_report *report);

/* Give up every capability of this process but those in keep, one bit each. */
void confine_capabilities(uint64_t keep);

/* "chown", ...; NULL for a number that has no name here. */
const char *confine_capability_name(unsigned int number);

#endif /* FS_CONFINE_H */
