/* SPDX-License-Identifier: MIT */
/* Shared by the subcommands: see cli.h for the contract. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/engine.h"
#include "fs/vault_config.h"
#include "fs/vault_kdf.h"

enum {
	MAX_NAMES = 32,
	MAX_WORD = 31,	 /* longer words are near to nothing */
	NEAR_ENOUGH = 2, /* edits */
};

/* ---- nearest name ------------------------------------------------------ */

static unsigned int least(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance; both words have at most MAX_WORD characters. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[MAX_WORD + 1];
	size_t n = strlen(b);

	for (unsigned int j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned int i = 1; *a; a++, i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			unsigned int above = row[j];

			row[j] = least(above + 1, row[j - 1] + 1, diagonal + (*a != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

const char *cli_nearest(const char *word, const char *const *names)
{
	unsigned int best = NEAR_ENOUGH + 1;
	const char *nearest = NULL;

	if (strlen(word) > MAX_WORD)
		return NULL;
	for (; *names; names++) {
		unsigned int d = strlen(*names) > MAX_WORD ? best : distance(word, *names);

		if (d < best && d < strlen(word)) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}

/* ---- options ----------------------------------------------------------- */

static void unknown_option(const struct command *self, const char *given,
			   const struct option *options)
{
	const char *names[MAX_NAMES + 1] = { 0 };
	const char *nearest;
	char word[MAX_WORD + 2];

	for (size_t i = 0; i < MAX_NAMES && options[i].name; i++)
		names[i] = options[i].name;
	(void)snprintf(word, sizeof(word), "%s", given + strspn(given, "-")); /* cut: not near */
	word[strcspn(word, "=")] = '\0';
	nearest = cli_nearest(word, names);
	if (nearest)
		log_error("%s: unknown option %s (did you mean --%s?)", self->name, given, nearest);
	else
		log_error("%s: unknown option %s (see cryptfs %s --help)", self->name, given,
			  self->name);
}

/* getopt_long said '?': an option that is unknown or was given a value. */
static void complain(const struct command *self, const char *given, const struct option *options)
{
	if (optopt && strncmp(given, "--", 2) == 0)
		log_error("%s: %s takes no value", self->name, given);
	else
		unknown_option(self, given, options);
}

int cli_option(const struct command *self, int argc, char **argv, const struct option *options)
{
	const char *given;
	char shorts[16];
	int c;

	opterr = 0;
	(void)snprintf(shorts, sizeof(shorts), ":h%s", self->shorts ? self->shorts : "");
	c = getopt_long(argc, argv, shorts, options, NULL);
	if (c != ':' && c != '?')
		return c;
	given = argv[optind - 1];
	if (c == ':')
		log_error("%s: %s needs a value", self->name, given);
	else
		complain(self, given, options);
	return CLI_OPTIONS_WRONG;
}

int cli_operand(const struct command *self, int argc, char **argv, const char *name,
		const char **operand)
{
	if (argc - optind == 1) {
		*operand = argv[optind];
		return 0;
	}
	if (argc == optind)
		log_error("%s: no %s given (see cryptfs %s --help)", self->name, name, self->name);
	else
		log_error("%s: one %s is enough: what is %s?", self->name, name, argv[optind + 1]);
	return STATUS_USAGE;
}

int cli_show(const struct command *self, int argc, char **argv, const char *name,
	     int (*show)(const char *operand, bool json))
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	const char *operand;
	bool json = false;
	int status;
	int c;

	while ((c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		if (c == CLI_OPTIONS_WRONG)
			return STATUS_USAGE;
		json = true;
	}
	status = cli_operand(self, argc, argv, name, &operand);
	return status ? status : show(operand, json);
}

int cli_help(const struct command *self)
{
	(void)fputs(self->help, stdout); /* cli_flush sees failures */
	return cli_flush();
}

int cli_flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return STATUS_OK;
	log_error("cannot write the output: %s", strerror(errno));
	return STATUS_SYSTEM;
}

int cli_json(json_t *object)
{
	int r = object ? json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : -1;

	json_decref(object);
	if (r) {
		log_error("cannot write the output");
		return STATUS_SYSTEM;
	}
	(void)putchar('\n'); /* cli_flush sees failures */
	return cli_flush();
}

/* ---- text ----------------------------------------------------------------- */

void cli_print_escaped(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '\\')
			(void)fputs("\\\\", stdout);
		else if (iscntrl(*c))
			printf("\\x%02x", *c);
		else
			(void)putchar(*c);
	}
}

void cli_json_text(json_t *o, const char *name, const char *text)
{
	json_t *exact = json_string(text);
	char key[32];
	char *safe;
	size_t n = strlen(text);

	if (exact) {
		json_object_set_new(o, name, exact);
		return;
	}
	safe = malloc(2 * n + 1);
	if (!safe)
		return;
	for (size_t i = 0; i < n; i++)
		(void)snprintf(safe + 2 * i, 3, "%02x", (unsigned char)text[i]);
	(void)snprintf(key, sizeof(key), "%s_hex", name);
	json_object_set_new(o, key, json_string(safe));
	for (size_t i = 0; i < n; i++)
		safe[i] = text[i] & 0x80 ? '?' : text[i];
	safe[n] = '\0';
	json_object_set_new(o, name, json_string(safe));
	free(safe);
}

/* ---- values ------------------------------------------------------------ */

int cli_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || *value < min || *value > max) {
		log_error("%s %s: not a number from %llu to %llu", option, text,
			  (unsigned long long)min, (unsigned long long)max);
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

int cli_kdf_memory(const char *mebibytes, struct vault_kdf *kdf)
{
	int status = cli_number("--kdf-memory", mebibytes, VAULT_KDF_MEMORY_FLOOR >> 20,
				VAULT_CONFIG_KDF_MEMORY_MAX >> 20, &kdf->memory);

	kdf->memory <<= 20;
	return status;
}

int cli_workers(const char *text, int *workers)
{
	uint64_t n;
	int status;

	*workers = ENGINE_WORKERS_AUTO;
	if (!strcmp(text, "auto"))
		return STATUS_OK;
	status = cli_number("--workers", text, 0, ENGINE_MAX_WORKERS, &n);
	if (!status)
		*workers = (int)n;
	return status;
}

int cli_progress(const char *name, enum progress_style *style)
{
	if (!progress_by_name(name, style))
		return STATUS_OK;
	log_error("--progress %s: not one of bar, lines, json and none", name);
	return STATUS_USAGE;
}

int cli_kdf_operations(const char *operations, struct vault_kdf *kdf)
{
	return cli_number("--kdf-operations", operations, VAULT_KDF_OPERATIONS_FLOOR,
			  VAULT_CONFIG_KDF_OPERATIONS_MAX, &kdf->operations);
}
