/* SPDX-License-Identifier: MIT */
/* Shared by info and key: see slots.h for the contract. */
#include "cli/slots.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

const char *slots_pcrs(uint32_t pcrs, char text[SLOTS_PCRS_SIZE])
{
	size_t size = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < VAULT_N_PCRS; i++)
		if (pcrs & (uint32_t)1 << i)
			size += (size_t)snprintf(text + size, SLOTS_PCRS_SIZE - size, "%s%u",
						 size ? "+" : "", i); /* there is room */
	return text;
}

/* What a TPM wants for it. */
static void show_tpm2(const struct vault_tpm2 *tpm2)
{
	char pcrs[SLOTS_PCRS_SIZE];

	if (tpm2->pcrs)
		printf(", PCRs %s (%s)", slots_pcrs(tpm2->pcrs, pcrs), vault_bank_name(tpm2->bank));
	if (tpm2->has_pin)
		printf(", PIN");
}

static json_t *tpm2_json(const struct vault_tpm2 *tpm2)
{
	json_t *pcrs = json_array();

	for (unsigned int i = 0; pcrs && i < VAULT_N_PCRS; i++)
		if (tpm2->pcrs & (uint32_t)1 << i)
			(void)json_array_append_new(
				pcrs, json_integer(i)); /* shorter for want of memory */
	return json_pack("{s:o, s:s, s:b}", "pcrs", pcrs, "bank", vault_bank_name(tpm2->bank),
			 "pin", tpm2->has_pin);
}

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
		printf("slot %-3" PRIu32 " %s \"%s\"", slot->id, vault_kind_name(slot->kind),
		       slot->label);
		if (slot->kind == VAULT_TPM2)
			show_tpm2(&slot->tpm2);
		printf(", argon2id, %" PRIu64 " MiB, %" PRIu64 " operations\n",
		       slot->kdf.memory >> 20, slot->kdf.operations);
	}
}

json_t *slots_json(const struct vault_info *info)
{
	json_t *slots = json_array();

	for (uint32_t i = 0; i < info->n_slots; i++) {
		const struct vault_slot_info *slot = &info->slots[i];

		if (json_array_append_new(
			    slots,
			    json_pack("{s:I, s:s, s:s, s:{s:s, s:I, s:I}, s:o*}", "id",
				      (json_int_t)slot->id, "type", slot->type, "label",
				      slot->label, "kdf", "name", "argon2id", "memory",
				      (json_int_t)slot->kdf.memory, "operations",
				      (json_int_t)slot->kdf.operations, "tpm2",
				      slot->kind == VAULT_TPM2 ? tpm2_json(&slot->tpm2) : NULL))) {
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
