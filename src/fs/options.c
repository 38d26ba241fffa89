/* SPDX-License-Identifier: MIT */
/* The command line of cryptfs-mount: see options.h. */
#include "fs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/engine.h"

enum {
	MAX_NODES = 256 * 1024, /* of up to 250 bytes with their names */
	MIN_NODES = 256,
	MAX_IDLE_SECONDS = 366 * 86400,
};

static const char help[] =
	"Usage: cryptfs-mount VAULT MOUNTPOINT [-o OPTION[,OPTION...]] [-f]\n"
	"\n"
	"Show the vault VAULT as plaintext on MOUNTPOINT.  Unmount with umount(8),\n"
	"or fusermount3 -u as an ordinary user.\n"
	"\n"
	"  -f, --foreground     stay in the foreground, log to standard error\n"
	"  -o OPTIONS           see below; may be given several times\n"
	"      --help           this text\n"
	"      --version        print the version\n"
	"\n"
	"Options:\n"
	"  ro                   read-only\n"
	"  allow_other          let other users in; permissions are checked\n"
	"  acl                  POSIX ACLs; see cryptfs-mount(1)\n"
	"  passfile=FILE        passphrase from the first line of FILE (- is stdin)\n"
	"  extpass=COMMAND      passphrase from the output of a shell command\n"
	"  keyfile=FILE         all of FILE is the secret\n"
	"  keyring=NAME         the key NAME in the kernel's keyrings is; see keyrings(7)\n"
	"  credential=NAME      the systemd credential NAME, of a unit that passes it\n"
	"  fido2=auto|DEVICE    a security key that cryptfs key add made a slot for\n"
	"  tpm2=auto|DEVICE     the TPM, likewise; passfile and the like are for its PIN\n"
	"  workers=auto|0|N     processes that encrypt and decrypt (default auto)\n"
	"  strict               only workers do, never the waiting thread\n"
	"  writeback            the kernel collects writes; see cryptfs-mount(1)\n"
	"  writethrough         the kernel's cache keeps what is written\n"
	"  attr_timeout=SECS    how long the kernel may cache (default 3600)\n"
	"  noxattr              no extended attributes: fewer questions to answer\n"
	"  idle=MIN             unmount after so long without use; also 90s, 2h\n"
	"  max_nodes=N          files and directories to know at once (default 262144)\n"
	"  fsname=NAME          what df and mount show as the source\n"
	"  log=stderr|syslog    where to log\n"
	"  nosuid, nodev, noexec, noatime, sync ... and generic fstab options\n"
	"\n"
	"Exit status: 0 mounted, 1 usage, 2 system error, 3 no vault there, 4 wrong\n"
	"passphrase, 5 vault damaged, 6 vault in use, 7 mountpoint unusable.\n";

/* Options that mount(2) or libfuse's mount understand. */
static const char *const kernel_options[] = {
	"rw",	"suid",	 "nosuid",  "dev",     "nodev",	     "exec", "noexec",
	"sync", "async", "dirsync", "noatime", "nodiratime", NULL,
};

/* Options of fstab(5) that mean something to others only. */
static const char *const ignored_options[] = {
	"defaults",    "auto",	   "noauto",	 "nofail",	  "user",	"nouser",
	"users",       "nousers",  "owner",	 "group",	  "_netdev",	"relatime",
	"strictatime", "lazytime", "norelatime", "nostrictatime", "nolazytime", "atime",
	"diratime",    "silent",   "loud",	 "mand",	  "nomand",	"noowner",
	"nogroup",     NULL,
};

static bool is_in(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (!strcmp(*list, word))
			return true;
	return false;
}

static bool is_ignored(const char *option)
{
	return is_in(ignored_options, option) || !strncmp(option, "x-", 2) ||
	       !strncmp(option, "X-", 2) || !strncmp(option, "comment=", 8) ||
	       !strncmp(option, "user=", 5);
}

/* The value of "name=value", or NULL if option is not of that name. */
static const char *value_of(const char *option, const char *name)
{
	size_t size = strlen(name);

	return !strncmp(option, name, size) && option[size] == '=' ? option + size + 1 : NULL;
}

static int wrong(const char *what, const char *option, const char *hint)
{
	log_error("%s %s: %s", what, option, hint);
	return OPTIONS_WRONG;
}

static int take_workers(struct options *o, const char *value)
{
	char *end;
	long n;

	if (!strcmp(value, "auto")) {
		o->workers = ENGINE_WORKERS_AUTO;
		return 0;
	}
	n = strtol(value, &end, 10);
	if (!*value || *end || n < 0 || n > ENGINE_MAX_WORKERS)
		return wrong("option", "workers", "not auto or a number from 0 to 64");
	o->workers = (int)n;
	return 0;
}

static int take_timeout(struct options *o, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (!*value || *end || !(seconds >= 0 && seconds <= 1e9))
		return wrong("option", "attr_timeout", "not a number of seconds");
	o->attr_timeout = seconds;
	return 0;
}

static int take_max_nodes(struct options *o, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (!*value || *end || n < MIN_NODES)
		return wrong("option", "max_nodes", "not a number from 256 on");
	o->max_nodes = (size_t)n;
	return 0;
}

/* A number of minutes, or of what the letter behind it says. */
static int take_idle(struct options *o, const char *value)
{
	static const char units[] = "smhd";
	static const uint64_t seconds[] = { 1, 60, 3600, 86400 };
	uint64_t unit = 60;
	const char *letter;
	char *end;
	unsigned long long n = strtoull(value, &end, 10);

	letter = *end ? strchr(units, *end) : NULL;
	if (letter) {
		unit = seconds[letter - units];
		end++;
	}
	if (*value < '0' || *value > '9' || *end || n > MAX_IDLE_SECONDS / unit)
		return wrong("option", "idle", "not a number of minutes, or one with s, m, h or d");
	o->idle_ms = n * unit * 1000;
	return 0;
}

static int take_log(struct options *o, const char *value)
{
	if (!strcmp(value, "stderr"))
		o->log = OPTIONS_LOG_STDERR;
	else if (!strcmp(value, "syslog"))
		o->log = OPTIONS_LOG_SYSLOG;
	else
		return wrong("option", "log", "neither stderr nor syslog");
	return 0;
}

static void add_kernel_option(struct options *o, const char *option)
{
	if (*o->kernel)
		strcat(o->kernel, ",");
	strcat(o->kernel, option);
}

static int take_option(struct options *o, const char *option)
{
	const char *value;

	if (!strcmp(option, "ro"))
		o->read_only = true;
	else if (!strcmp(option, "allow_other"))
		o->allow_other = true;
	else if (!strcmp(option, "acl"))
		o->acl = true;
	else if (!strcmp(option, "strict"))
		o->strict = true;
	else if (!strcmp(option, "writeback"))
		o->writeback = true;
	else if (!strcmp(option, "writethrough"))
		o->writethrough = true;
	else if (!strcmp(option, "noxattr"))
		o->no_xattr = true;
	else if ((value = value_of(option, "passfile")))
		o->secret.passfile = value;
	else if ((value = value_of(option, "extpass")))
		o->secret.extpass = value;
	else if ((value = value_of(option, "keyfile")))
		o->secret.keyfile = value;
	else if ((value = value_of(option, "keyring")))
		o->secret.keyring = value;
	else if ((value = value_of(option, "fido2")))
		o->secret.fido2 = value;
	else if ((value = value_of(option, "tpm2")))
		o->secret.tpm2 = value;
	else if ((value = value_of(option, "credential")))
		o->secret.credential = value;
	else if ((value = value_of(option, "fsname")))
		o->fsname = value;
	else if ((value = value_of(option, "workers")))
		return take_workers(o, value);
	else if ((value = value_of(option, "attr_timeout")))
		return take_timeout(o, value);
	else if ((value = value_of(option, "max_nodes")))
		return take_max_nodes(o, value);
	else if ((value = value_of(option, "idle")))
		return take_idle(o, value);
	else if ((value = value_of(option, "log")))
		return take_log(o, value);
	else if (is_in(kernel_options, option))
		add_kernel_option(o, option);
	else if (*option && !is_ignored(option))
		return wrong("unknown option", option, "see cryptfs-mount --help");
	return 0;
}

/* Cut a list at its commas, in place; "\," is a comma in a value. */
static int take_options(struct options *o, char *list)
{
	int r = 0;

	while (list && !r) {
		char *option = list;
		char *to = list;

		for (; *list && *list != ','; list++) {
			if (*list == '\\' && (list[1] == ',' || list[1] == '\\'))
				list++;
			*to++ = *list;
		}
		list = *list ? list + 1 : NULL;
		*to = '\0';
		r = take_option(o, option);
	}
	return r;
}

/* Room for copies of every option list, and for those that go to the kernel. */
static int make_room(struct options *o, int argc, char **argv)
{
	size_t size = 1;

	for (int i = 0; i < argc; i++)
		size += strlen(argv[i]) + 1;
	o->storage = calloc(2, size);
	if (!o->storage)
		return -ENOMEM;
	o->kernel = o->storage + size;
	return 0;
}

static int take_arguments(struct options *o, int n, char **arguments)
{
	if (n < 2)
		return wrong("usage", "cryptfs-mount VAULT MOUNTPOINT [-o OPTIONS] [-f]",
			     n ? "MOUNTPOINT is missing" : "VAULT and MOUNTPOINT are missing");
	if (n > 2)
		return wrong("argument", arguments[2], "one too many (see cryptfs-mount --help)");
	o->vault = arguments[0];
	o->mountpoint = arguments[1];
	return 0;
}

int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	size_t used = 0;
	int c;
	int r;

	*o = (struct options){ .workers = ENGINE_WORKERS_AUTO,
			       .attr_timeout = 3600,
			       .max_nodes = MAX_NODES };
	r = make_room(o, argc, argv);
	opterr = 0;
	optind = 1;
	while (!r && (c = getopt_long(argc, argv, "fo:h", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'o':
			strcpy(o->storage + used, optarg);
			r = take_options(o, o->storage + used);
			used += strlen(optarg) + 1;
			break;
		case 'h':
			(void)fputs(help, stdout);
			r = OPTIONS_HELP;
			break;
		case 'V':
			(void)puts("cryptfs-mount " CRYPTFS_VERSION);
			r = OPTIONS_HELP;
			break;
		default:
			r = wrong("option", argv[optind - 1],
				  optopt == 'o' ? "needs a list of options"
						: "unknown (see cryptfs-mount --help)");
		}
	}
	if (!r && o->acl && o->no_xattr)
		r = wrong("option", "noxattr", "acl needs extended attributes");
	if (!r && o->writeback && o->writethrough)
		r = wrong("option", "writethrough", "writeback is the opposite");
	return r ? r : take_arguments(o, argc - optind, argv + optind);
}

void options_fini(struct options *o)
{
	free(o->storage);
	o->storage = NULL;
}
