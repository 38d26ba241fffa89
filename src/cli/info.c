/* SPDX-License-Identifier: MIT */
/* cryptfs info: what a vault is, without a key. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/slots.h"

enum {
	ID_TEXT_SIZE = 2 * VAULT_ID_SIZE + 1,
};

static void id_text(const uint8_t id[VAULT_ID_SIZE], char text[ID_TEXT_SIZE])
{
	for (size_t i = 0; i < VAULT_ID_SIZE; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static void created_text(int64_t created, char *text, size_t size)
{
	time_t t = (time_t)created;
	struct tm utc;

	if (!gmtime_r(&t, &utc) || !strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &utc))
		(void)snprintf(text, size, "%" PRId64, created);
}

static int show_text(const char *path, const struct vault_info *info)
{
	char id[ID_TEXT_SIZE];
	char created[64];

	id_text(info->id, id);
	created_text(info->created, created, sizeof(created));
	printf("vault    %s\n"
	       "format   %" PRIu32 "\n"
	       "id       %s\n"
	       "cipher   %s\n"
	       "created  %s\n",
	       path, info->version, id, cipher_name(info->suite), created);
	slots_show(info);
	if (info->rotation)
		printf("a rotation of its key is unfinished (finish it: cryptfs rotate %s)\n",
		       path);
	if (info->suite == CIPHER_XOR)
		printf("xor is not encryption: this vault protects nothing\n");
	return cli_flush();
}

static int show_json(const struct vault_info *info)
{
	char id[ID_TEXT_SIZE];

	id_text(info->id, id);
	return cli_json(json_pack("{s:I, s:s, s:s, s:b, s:I, s:b, s:o}", "version",
				  (json_int_t)info->version, "id", id, "suite",
				  cipher_name(info->suite), "encrypted", info->suite != CIPHER_XOR,
				  "created", (json_int_t)info->created, "rotating",
				  info->rotation != VAULT_NOT_ROTATING, "slots", slots_json(info)));
}

static int show(const char *path, bool json)
{
	struct vault_info info;
	int status = slots_read(path, &info);

	if (status)
		return status;
	return json ? show_json(&info) : show_text(path, &info);
}

static int run(const struct command *self, int argc, char **argv)
{
	return cli_show(self, argc, argv, "VAULT", show);
}

const struct command cli_info = {
	.name = "info",
	.summary = "show what a vault is, without a key",
	.help = "usage: cryptfs info [--json] VAULT\n"
		"\n"
		"Show format version, id, cipher, creation time and key slots of a vault.  No key\n"
		"is needed, so none of this is authenticated; mounting does that.\n"
		"\n"
		"  --json  for programs\n"
		"  --help  show this\n",
	.run = run,
};
