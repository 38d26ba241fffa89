/* SPDX-License-Identifier: MIT */
/* Bytes of the vault's journal: see journal_bytes.h. */
#include "fs/journal_bytes.h"

#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

#define PART_MAGIC   "cryptfsJ"
#define RECORD_MAGIC "cryptfsR"

enum {
	MAC_SIZE = 16,
	PART_MAC_AT = 16,
	RECORD_MAC_AT = JOURNAL_RECORD_SIZE - MAC_SIZE,
	RECORD_USED = 132, /* then zeros up to the MAC */
};

/* Of a head and, for a record, its payload. */
static void mac_of(const struct keyring *keys, const uint8_t *head, size_t size,
		   const uint8_t *payload, size_t payload_size, uint8_t mac[MAC_SIZE])
{
	crypto_generichash_state state;

	/* None can fail: every size is a constant within the functions' bounds. */
	(void)crypto_generichash_init(&state, keys->directory, sizeof(keys->directory), MAC_SIZE);
	(void)crypto_generichash_update(&state, (const uint8_t *)"journal", 7);
	(void)crypto_generichash_update(&state, head, size);
	(void)crypto_generichash_update(&state, payload, payload_size);
	(void)crypto_generichash_final(&state, mac, MAC_SIZE);
}

static bool mac_is(const struct keyring *keys, const uint8_t *head, size_t size,
		   const uint8_t *payload, size_t payload_size)
{
	uint8_t mac[MAC_SIZE];

	mac_of(keys, head, size, payload, payload_size, mac);
	return secmem_equal(mac, head + size, MAC_SIZE);
}

void journal_part_encode(const struct keyring *keys, uint64_t epoch, uint8_t raw[JOURNAL_SECTOR])
{
	memset(raw, 0, JOURNAL_SECTOR);
	memcpy(raw, PART_MAGIC, 8);
	bytes_put64(raw + 8, epoch);
	mac_of(keys, raw, PART_MAC_AT, NULL, 0, raw + PART_MAC_AT);
}

uint64_t journal_part_decode(const struct keyring *keys, const uint8_t raw[JOURNAL_SECTOR])
{
	if (memcmp(raw, PART_MAGIC, 8) != 0 || !mac_is(keys, raw, PART_MAC_AT, NULL, 0))
		return 0;
	return bytes_get64(raw + 8);
}

void journal_record_encode(const struct keyring *keys, const struct journal_record *r, uint8_t *raw)
{
	memset(raw, 0, JOURNAL_RECORD_SIZE);
	memcpy(raw, RECORD_MAGIC, 8);
	bytes_put64(raw + 8, r->epoch);
	memcpy(raw + 16, r->id, KEYS_FILE_ID_SIZE);
	bytes_put64(raw + 48, r->inode);
	bytes_put64(raw + 56, r->sequence);
	bytes_put64(raw + 64, r->block);
	bytes_put64(raw + 72, r->length);
	bytes_put32(raw + 80, r->slot);
	bytes_put32(raw + 84, r->size);
	memcpy(raw + 88, r->half, FORMAT_HALF_SIZE);
	bytes_put64(raw + 120, (uint64_t)r->mtime.tv_sec);
	bytes_put32(raw + 128, (uint32_t)r->mtime.tv_nsec);
	mac_of(keys, raw, RECORD_MAC_AT, raw + JOURNAL_RECORD_SIZE, r->size, raw + RECORD_MAC_AT);
}

/* What a record may be about, whoever sealed it. */
static bool is_sane(const struct journal_record *r)
{
	if (r->block == JOURNAL_SMALL)
		return r->slot < 2 && r->size > FORMAT_HEADER_SIZE &&
		       r->size - FORMAT_HEADER_SIZE <= FORMAT_SMALL_MAX &&
		       r->length == r->size - FORMAT_HEADER_SIZE;
	return !r->slot && r->size && r->block < FORMAT_MAX_LENGTH / FORMAT_BLOCK_SIZE &&
	       r->length <= FORMAT_MAX_LENGTH &&
	       r->length >= r->block * FORMAT_BLOCK_SIZE + r->size;
}

bool journal_record_decode(const struct keyring *keys, const uint8_t *raw, size_t size,
			   struct journal_record *r)
{
	uint32_t payload;

	if (size < JOURNAL_RECORD_SIZE)
		return false;
	payload = bytes_get32(raw + 84);
	if (memcmp(raw, RECORD_MAGIC, 8) != 0 || payload > JOURNAL_PAYLOAD_MAX ||
	    payload > size - JOURNAL_RECORD_SIZE ||
	    !mac_is(keys, raw, RECORD_MAC_AT, raw + JOURNAL_RECORD_SIZE, payload) ||
	    !bytes_are_zero(raw + RECORD_USED, RECORD_MAC_AT - RECORD_USED))
		return false;
	memset(r, 0, sizeof(*r));
	r->epoch = bytes_get64(raw + 8);
	memcpy(r->id, raw + 16, KEYS_FILE_ID_SIZE);
	r->inode = bytes_get64(raw + 48);
	r->sequence = bytes_get64(raw + 56);
	r->block = bytes_get64(raw + 64);
	r->length = bytes_get64(raw + 72);
	r->slot = bytes_get32(raw + 80);
	r->size = payload;
	memcpy(r->half, raw + 88, FORMAT_HALF_SIZE);
	r->mtime.tv_sec = (time_t)bytes_get64(raw + 120);
	r->mtime.tv_nsec = bytes_get32(raw + 128);
	return is_sane(r) && r->mtime.tv_nsec < 1000000000;
}
