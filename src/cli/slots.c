/* SPDX-License-Identifier: MIT */
/* Shared by info and key: see slots.h for the contract. */
#include "cli/slots.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

void slots_show(const struct vault_info *info)
{
	for (uint32_t i = 0; i < info->n_slots; i++) {
		const struct vault_slot_info *slot = &info->slots[i];

		if (slot->kind == VAULT_UNKNOWN) {
			printf("slot %-3" PRIu32 " %s \"%s\", a type that this version does not "
			       "know\n",
			       slot->id, slot->type, slot->label);
			continue;
		}
		printf("slot %-3" PRIu32 " %s \"%s\", argon2id, %" PRIu64 " MiB, %" PRIu64
		       " operations\n",
		       slot->id, vault_kind_name(slot->kind), slot->label, slot->kdf.memory >> 20,
		       slot->kdf.operations);
	}
}

json_t *slots_json(const struct vault_info *info)
{
	json_t *slots = json_array();

	for (uint32_t i = 0; i < info->n_slots; i++) {
		const struct vault_slot_info *slot = &info->slots[i];

		if (json_array_append_new(
			    slots, json_pack("{s:I, s:s, s:s, s:{s:s, s:I, s:I}}", "id",
					     (json_int_t)slot->id, "type", slot->type, "label",
					     slot->label, "kdf", "name", "argon2id", "memory",
					     (json_int_t)slot->kdf.memory, "operations",
					     (json_int_t)slot->kdf.operations))) {
			json_decref(slots);
			return NULL;
		}
	}
	return slots;
}

int slots_read(const char *path, struct vault_info *info)
{
	struct vault *v;
	int r = vault_open(path, VAULT_NO_LOCK, &v);

	if (r)
		return exitcode_report_vault("open", path, r);
	vault_info(v, info);
	vault_close(v);
	return STATUS_OK;
}
