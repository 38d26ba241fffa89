/* SPDX-License-Identifier: MIT */
/*
 * options - the command line of cryptfs-mount to one struct.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/passphrase.h"

enum {
	OPTIONS_HELP = 1, /* asked for, and printed */
	OPTIONS_WRONG,	  /* said so in one line */
};

enum options_log {
	OPTIONS_LOG_DEFAULT, /* stderr in the foreground, else syslog */
	OPTIONS_LOG_STDERR,
	OPTIONS_LOG_SYSLOG,
};

struct options {
	const char *vault;
	const char *mountpoint;
	bool foreground;
	bool read_only;
	bool allow_other;
	bool strict;
	bool writeback;
	bool writethrough; /* what is written stays in the kernel's pages */
	bool acl;	   /* POSIX ACLs; the kernel checks permissions then */
	bool no_xattr;	   /* the kernel shall not ask for extended attributes */
	int workers;	   /* as in struct engine_options */
	struct passphrase_source secret;
	double attr_timeout; /* seconds */
	size_t max_nodes;    /* see trim.h */
	uint64_t idle_ms;    /* unmount after so long without use; 0: never */
	enum options_log log;
	const char *fsname; /* NULL: the vault's path */
	char *kernel;	    /* "nosuid,noexec…" for mount(2), or "" */
	char *storage;	    /* what the strings point into */
};

/* 0, OPTIONS_HELP, OPTIONS_WRONG or -ENOMEM.  Free with options_fini. */
int options_parse(int argc, char **argv, struct options *o);
void options_fini(struct options *o);

#endif /* FS_OPTIONS_H */
