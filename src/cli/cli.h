/* SPDX-License-Identifier: MIT */
/*
 * cli - what the subcommands of `cryptfs` share: the table's entry, options
 * and their complaints, all on one line of standard error.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"
#include "fs/exitcode.h"
#include "fs/vault.h"

struct command {
	const char *name;
	const char *summary; /* for the list of commands */
	const char *help;    /* fits a screen */
	const char *shorts;  /* one-letter options besides -h, as getopt(3) has them; or NULL */
	int (*run)(const struct command *self, int argc, char **argv);
};

extern const struct command cli_init;
extern const struct command cli_passwd;
extern const struct command cli_key;
extern const struct command cli_header;
extern const struct command cli_rotate;
extern const struct command cli_info;
extern const struct command cli_bench;
extern const struct command cli_status;
extern const struct command cli_umount;
extern const struct command cli_path;
extern const struct command cli_suspend;
extern const struct command cli_resume;
extern const struct command cli_fsck;
extern const struct command cli_encrypt;
extern const struct command cli_decrypt;
extern const struct command cli_import;
extern const struct command cli_export;
extern const struct command cli_ls;
extern const struct command cli_cat;
extern const struct command cli_verify;

enum {
	/* What cli_option answers besides the values of the options. */
	CLI_OPTIONS_END = -1,
	CLI_OPTIONS_WRONG = '?', /* said already */
	CLI_OPTIONS_HELP = 'h',
};

/* getopt_long(3) with --help and -h. */
int cli_option(const struct command *self, int argc, char **argv, const struct option *options);

/* Show a command's help; the exit status. */
int cli_help(const struct command *self);

/*
 * The one operand of a command, after its options: 0 and *operand, or the
 * exit status, said already.  name is for the message: "VAULT".
 */
int cli_operand(const struct command *self, int argc, char **argv, const char *name,
		const char **operand);

/*
 * The whole of a command that shows its one operand, as text or with --json:
 * the exit status, which is show's if the command line is right.
 */
int cli_show(const struct command *self, int argc, char **argv, const char *name,
	     int (*show)(const char *operand, bool json));

/* Flush standard output; STATUS_SYSTEM, said already, if anything was lost. */
int cli_flush(void);

/*
 * Print an object, which is taken, and flush: the exit status, a failure said
 * already.  NULL means that there was no memory for it.
 */
int cli_json(json_t *object);

/* Print a name such that it can do nothing to a terminal: "\\" and "\x1b" for what could. */
void cli_print_escaped(const char *text);

/*
 * Text that need not be UTF-8, as one member or two: to read (`name`), and exact where that
 * is not the same (`name`_hex).
 */
void cli_json_text(json_t *o, const char *name, const char *text);

/* A whole number in [min, max]: 0 and *value, or the exit status, said already. */
int cli_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* --kdf-memory and --kdf-operations: 0, or the exit status, said already. */
int cli_kdf_memory(const char *mebibytes, struct vault_kdf *kdf);
int cli_kdf_operations(const char *operations, struct vault_kdf *kdf);

/* --workers, auto or a number: 0, or the exit status, said already. */
int cli_workers(const char *text, int *workers);

/* --progress: 0 and *style, or the exit status, said already. */
int cli_progress(const char *name, enum progress_style *style);

/* The name in the NULL-ended list that is nearest to word; NULL if none is near. */
const char *cli_nearest(const char *word, const char *const *names);

#endif /* CLI_CLI_H */
