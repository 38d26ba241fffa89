/* SPDX-License-Identifier: MIT */
/* slots - the key slots of a vault, for people and for programs; no secret. */
#ifndef CLI_SLOTS_H
#define CLI_SLOTS_H

#include <jansson.h>

#include "fs/vault.h"

/* A line for each on standard output. */
void slots_show(const struct vault_info *info);

/* An array of objects; NULL without memory. */
json_t *slots_json(const struct vault_info *info);

/* What a vault says of itself without a key: 0, or the exit status, said already. */
int slots_read(const char *path, struct vault_info *info);

enum {
	SLOTS_PCRS_SIZE = 64, /* of numbers below VAULT_N_PCRS, each with a sign */
};

/* "0+7", in text, which is returned. */
const char *slots_pcrs(uint32_t pcrs, char text[SLOTS_PCRS_SIZE]);

#endif /* CLI_SLOTS_H */
