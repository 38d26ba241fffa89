/* SPDX-License-Identifier: MIT */
/* cryptfs: the table of commands. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secmem.h"
#include "cli/cli.h"

static const struct command *const commands[] = {
	&cli_init,    &cli_passwd, &cli_key,	&cli_header,  &cli_rotate,
	&cli_info,    &cli_fsck,   &cli_bench,	&cli_status,  &cli_umount,
	&cli_suspend, &cli_resume, &cli_path,	&cli_import,  &cli_export,
	&cli_ls,      &cli_cat,	   &cli_verify, &cli_encrypt, &cli_decrypt,
};

enum {
	N_COMMANDS = sizeof(commands) / sizeof(commands[0]),
};

static int help(void)
{
	printf("usage: cryptfs COMMAND [OPTIONS] [VAULT | MOUNTPOINT | FILES]\n"
	       "\n"
	       "Create and look after encrypted vaults; cryptfs-mount mounts them.\n"
	       "\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n"
	       "  --help     show this, or with a command its options\n"
	       "  --version  show the version\n"
	       "\n"
	       "Exit status: 0 done, 1 usage, 2 system error, 3 no vault, 4 wrong passphrase,\n"
	       "5 vault damaged, 6 in use, 7 no mount there, 8 damage was found.\n"
	       "More in cryptfs(1).\n");
	return cli_flush();
}

static int version(void)
{
	printf("cryptfs %s\n", CRYPTFS_VERSION);
	return cli_flush();
}

static int unknown(const char *word)
{
	const char *names[N_COMMANDS + 1] = { 0 };
	const char *what = word[0] == '-' ? "option" : "command";
	const char *nearest;

	for (size_t i = 0; i < N_COMMANDS; i++)
		names[i] = commands[i]->name;
	nearest = cli_nearest(word, names);
	if (nearest)
		log_error("unknown %s %s (did you mean %s?)", what, word, nearest);
	else
		log_error("unknown %s %s (see cryptfs --help)", what, word);
	return STATUS_USAGE;
}

static int run(int argc, char **argv)
{
	if (argc < 2) {
		log_error("no command given (see cryptfs --help)");
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return version();
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(commands[i], argc - 1, argv + 1);
	return unknown(argv[1]);
}

int main(int argc, char **argv)
{
	if (secmem_harden_process())
		log_warn("core dumps of this process could not be prevented");
	return run(argc, argv);
}
