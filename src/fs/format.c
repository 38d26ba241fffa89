/* SPDX-License-Identifier: MIT */
/*
 * Bytes of the disk format: see format.h for the contract.
 *
 * Header slot: magic(8) id(32) sequence(8) nonce(12) tag(16) payload(436).
 * Payload:     length(8) flags(4) bindings(2 × 16) small nonce(12) small
 *              tag(16) shrink length(8) moving half(32) zeros(324).
 * Record:      magic(8) id(16) bindings(2 × 16) MAC(16).
 */
#include "fs/format.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

static const uint8_t file_magic[8] = { 'c', 'r', 'y', 'p', 't', 'f', 's', 'H' };
static const uint8_t dir_magic[8] = { 'c', 'r', 'y', 'p', 't', 'f', 's', 'D' };

/* Offsets in a header slot, in its payload, and in a directory record. */
enum {
	SLOT_ID = 8,
	SLOT_SEQUENCE = SLOT_ID + KEYS_FILE_ID_SIZE,
	SLOT_NONCE = SLOT_SEQUENCE + 8,
	SLOT_TAG = SLOT_NONCE + CIPHER_NONCE_SIZE,
	SLOT_PAYLOAD = SLOT_TAG + CIPHER_TAG_SIZE,
	PAYLOAD_SIZE = FORMAT_HEADER_SIZE - SLOT_PAYLOAD,

	PAYLOAD_LENGTH = 0,
	PAYLOAD_FLAGS = 8,
	PAYLOAD_BINDINGS = 12,
	PAYLOAD_SMALL_NONCE = PAYLOAD_BINDINGS + 2 * FORMAT_BINDING_SIZE,
	PAYLOAD_SMALL_TAG = PAYLOAD_SMALL_NONCE + CIPHER_NONCE_SIZE,
	PAYLOAD_SHRINK = PAYLOAD_SMALL_TAG + CIPHER_TAG_SIZE,
	PAYLOAD_MOVING = PAYLOAD_SHRINK + 8,
	PAYLOAD_ZEROS = PAYLOAD_MOVING + FORMAT_HALF_SIZE,

	HEADER_AAD_SIZE = SLOT_NONCE + 4,

	RECORD_ID = 8,
	RECORD_BINDINGS = RECORD_ID + FORMAT_DIR_ID_SIZE,
	RECORD_MAC = RECORD_BINDINGS + 2 * FORMAT_BINDING_SIZE,
	RECORD_MAC_SIZE = FORMAT_DIR_RECORD_SIZE - RECORD_MAC,

	KNOWN_FLAGS = FORMAT_DIRTY | FORMAT_HAS_HOLES | FORMAT_SMALL | FORMAT_MULTI |
		      FORMAT_GROWING | FORMAT_SHRINKING,
};

_Static_assert(PAYLOAD_SIZE == 436 && PAYLOAD_ZEROS == 112, "as in docs/format.md");
_Static_assert(RECORD_MAC_SIZE == 16, "as in docs/format.md");

/* ---- layout ------------------------------------------------------------ */

#define PAGE	    ((uint64_t)FORMAT_BLOCK_SIZE)
#define FIRST_BYTES (FORMAT_FIRST_BLOCKS * PAGE)
#define GROUP_BYTES (FORMAT_GROUP_BLOCKS * PAGE)

uint64_t format_length(uint64_t backing_size)
{
	uint64_t rest;
	uint64_t tail;

	if (backing_size < FORMAT_CONTENT_START)
		return 0;
	if (backing_size < PAGE)
		return backing_size - FORMAT_CONTENT_START;
	rest = backing_size - PAGE;
	if (rest <= FIRST_BYTES)
		return rest;
	rest -= FIRST_BYTES;
	/* Whole groups, then a last one of which the tag page comes first. */
	tail = rest % (PAGE + GROUP_BYTES);
	return FIRST_BYTES + rest / (PAGE + GROUP_BYTES) * GROUP_BYTES +
	       (tail > PAGE ? tail - PAGE : 0);
}

uint64_t format_small_size(uint64_t length)
{
	return FORMAT_CONTENT_START + length;
}

uint64_t format_big_size(uint64_t length)
{
	uint64_t tag_pages = 0;

	if (length > FIRST_BYTES)
		tag_pages = (length - FIRST_BYTES - 1) / GROUP_BYTES + 1;
	return PAGE + length + tag_pages * PAGE;
}

uint64_t format_block_offset(uint64_t index)
{
	/* Before it: the header page, the blocks, a tag page per later group. */
	return (1 + index + format_group(index)) * PAGE;
}

uint64_t format_entry_offset(uint64_t index)
{
	uint64_t group = format_group(index);
	uint64_t first = format_group_first(group);
	uint64_t start = group ? format_block_offset(first) - PAGE : FORMAT_CONTENT_START;

	return start + (index - first) * FORMAT_ENTRY_SIZE;
}

uint64_t format_group(uint64_t index)
{
	if (index < FORMAT_FIRST_BLOCKS)
		return 0;
	return (index - FORMAT_FIRST_BLOCKS) / FORMAT_GROUP_BLOCKS + 1;
}

uint64_t format_group_first(uint64_t group)
{
	return group ? FORMAT_FIRST_BLOCKS + (group - 1) * FORMAT_GROUP_BLOCKS : 0;
}

uint32_t format_group_blocks(uint64_t group)
{
	return group ? FORMAT_GROUP_BLOCKS : FORMAT_FIRST_BLOCKS;
}

/* ---- tag entries ------------------------------------------------------- */

enum {
	HALF_TAG = CIPHER_NONCE_SIZE,
	HALF_SEQUENCE = HALF_TAG + CIPHER_TAG_SIZE,
};

void format_half_decode(const uint8_t raw[FORMAT_HALF_SIZE], struct format_half *half)
{
	memcpy(half->nonce, raw, sizeof(half->nonce));
	memcpy(half->tag, raw + HALF_TAG, sizeof(half->tag));
	half->sequence = bytes_get32(raw + HALF_SEQUENCE);
}

void format_half_encode(const struct format_half *half, uint8_t raw[FORMAT_HALF_SIZE])
{
	memcpy(raw, half->nonce, sizeof(half->nonce));
	memcpy(raw + HALF_TAG, half->tag, sizeof(half->tag));
	bytes_put32(raw + HALF_SEQUENCE, half->sequence);
}

bool format_entry_is_hole(const uint8_t raw[FORMAT_ENTRY_SIZE])
{
	return bytes_are_zero(raw, FORMAT_ENTRY_SIZE);
}

int format_entry_current(const uint8_t raw[FORMAT_ENTRY_SIZE])
{
	uint32_t first = bytes_get32(raw + HALF_SEQUENCE);
	uint32_t second = bytes_get32(raw + FORMAT_HALF_SIZE + HALF_SEQUENCE);

	if (first == 0 || second == 0)
		return second != 0;
	/* RFC 1982: second is ahead by less than half of the number space. */
	return second - first - 1 < INT32_MAX;
}

uint32_t format_sequence_next(uint32_t sequence)
{
	return sequence == UINT32_MAX ? 1 : sequence + 1;
}

/* ---- file header ------------------------------------------------------- */

int format_header_peek(const uint8_t raw[FORMAT_HEADER_SIZE], uint8_t id[KEYS_FILE_ID_SIZE])
{
	if (memcmp(raw, file_magic, sizeof(file_magic)) != 0)
		return FORMAT_DAMAGED;
	memcpy(id, raw + SLOT_ID, KEYS_FILE_ID_SIZE);
	return 0;
}

/* The slot's clear text, the suite and the version are authenticated. */
static void header_aad(const uint8_t raw[FORMAT_HEADER_SIZE], uint32_t suite,
		       uint8_t aad[HEADER_AAD_SIZE])
{
	memcpy(aad, raw, SLOT_NONCE);
	bytes_put32(aad + SLOT_NONCE, (uint32_t)FORMAT_VERSION << 16 | suite);
}

/* What no version-1 writer may seal and every reader must refuse. */
static bool is_sane(const struct format_header *h)
{
	if (h->flags & ~(uint32_t)KNOWN_FLAGS)
		return false;
	if (h->length > FORMAT_MAX_LENGTH || h->shrink_length > FORMAT_MAX_LENGTH)
		return false;
	return !(h->flags & FORMAT_SMALL) || h->length <= FORMAT_SMALL_MAX;
}

static void payload_decode(const uint8_t payload[PAYLOAD_SIZE], struct format_header *h)
{
	h->length = bytes_get64(payload + PAYLOAD_LENGTH);
	h->flags = bytes_get32(payload + PAYLOAD_FLAGS);
	memcpy(h->bindings, payload + PAYLOAD_BINDINGS, sizeof(h->bindings));
	memcpy(h->small_nonce, payload + PAYLOAD_SMALL_NONCE, sizeof(h->small_nonce));
	memcpy(h->small_tag, payload + PAYLOAD_SMALL_TAG, sizeof(h->small_tag));
	h->shrink_length = bytes_get64(payload + PAYLOAD_SHRINK);
	format_half_decode(payload + PAYLOAD_MOVING, &h->moving);
}

static void payload_encode(const struct format_header *h, uint8_t payload[PAYLOAD_SIZE])
{
	bytes_put64(payload + PAYLOAD_LENGTH, h->length);
	bytes_put32(payload + PAYLOAD_FLAGS, h->flags);
	memcpy(payload + PAYLOAD_BINDINGS, h->bindings, sizeof(h->bindings));
	memcpy(payload + PAYLOAD_SMALL_NONCE, h->small_nonce, sizeof(h->small_nonce));
	memcpy(payload + PAYLOAD_SMALL_TAG, h->small_tag, sizeof(h->small_tag));
	bytes_put64(payload + PAYLOAD_SHRINK, h->shrink_length);
	format_half_encode(&h->moving, payload + PAYLOAD_MOVING);
	memset(payload + PAYLOAD_ZEROS, 0, PAYLOAD_SIZE - PAYLOAD_ZEROS);
}

int format_header_decode(const uint8_t raw[FORMAT_HEADER_SIZE], const struct cipher_key *key,
			 struct format_header *header)
{
	uint8_t payload[PAYLOAD_SIZE];
	uint8_t aad[HEADER_AAD_SIZE];
	struct format_header h;
	int r;

	if (format_header_peek(raw, h.id))
		return FORMAT_DAMAGED;
	header_aad(raw, key->suite, aad);
	memcpy(payload, raw + SLOT_PAYLOAD, sizeof(payload));
	r = cipher_open(key, raw + SLOT_NONCE, aad, sizeof(aad), payload, sizeof(payload),
			raw + SLOT_TAG);
	if (r)
		return r == CIPHER_FORGED ? FORMAT_DAMAGED : r;
	h.sequence = bytes_get64(raw + SLOT_SEQUENCE);
	payload_decode(payload, &h);
	if (!is_sane(&h) || !bytes_are_zero(payload + PAYLOAD_ZEROS, PAYLOAD_SIZE - PAYLOAD_ZEROS))
		return FORMAT_DAMAGED;
	*header = h;
	return 0;
}

int format_header_encode(const struct format_header *header, const struct cipher_key *key,
			 const uint8_t nonce[CIPHER_NONCE_SIZE], uint8_t raw[FORMAT_HEADER_SIZE])
{
	uint8_t aad[HEADER_AAD_SIZE];

	if (!is_sane(header))
		return -EINVAL;
	memcpy(raw, file_magic, sizeof(file_magic));
	memcpy(raw + SLOT_ID, header->id, sizeof(header->id));
	bytes_put64(raw + SLOT_SEQUENCE, header->sequence);
	memcpy(raw + SLOT_NONCE, nonce, CIPHER_NONCE_SIZE);
	payload_encode(header, raw + SLOT_PAYLOAD);
	header_aad(raw, key->suite, aad);
	return cipher_seal(key, nonce, aad, sizeof(aad), raw + SLOT_PAYLOAD, PAYLOAD_SIZE,
			   raw + SLOT_TAG);
}

/* ---- bindings and directory records ------------------------------------ */

/* Keyed BLAKE2b-128 of two pieces; every size is within its bounds. */
static void keyed_hash(const struct keyring *keys, const char *label, const void *a, size_t a_size,
		       const void *b, size_t b_size, uint8_t out[16])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, keys->directory, sizeof(keys->directory), 16);
	(void)crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
	(void)crypto_generichash_update(&state, a, a_size);
	(void)crypto_generichash_update(&state, b, b_size);
	(void)crypto_generichash_final(&state, out, 16);
}

void format_binding(const struct keyring *keys, const uint8_t parent_id[FORMAT_DIR_ID_SIZE],
		    const char *stored_name, uint8_t binding[FORMAT_BINDING_SIZE])
{
	/* All zeros, which means "none", would take 2^128 tries to meet. */
	keyed_hash(keys, "bind", parent_id, FORMAT_DIR_ID_SIZE, stored_name, strlen(stored_name),
		   binding);
}

static void record_mac(const uint8_t *raw, const struct keyring *keys, uint8_t mac[RECORD_MAC_SIZE])
{
	keyed_hash(keys, "dirrec", raw, RECORD_MAC, NULL, 0, mac);
}

int format_dir_record_decode(const uint8_t *raw, size_t size, const struct keyring *keys,
			     struct format_dir_record *record)
{
	uint8_t mac[RECORD_MAC_SIZE];

	if (size != FORMAT_DIR_RECORD_SIZE || memcmp(raw, dir_magic, sizeof(dir_magic)) != 0)
		return FORMAT_DAMAGED;
	record_mac(raw, keys, mac);
	if (!secmem_equal(mac, raw + RECORD_MAC, sizeof(mac)))
		return FORMAT_DAMAGED;
	memcpy(record->id, raw + RECORD_ID, sizeof(record->id));
	memcpy(record->bindings, raw + RECORD_BINDINGS, sizeof(record->bindings));
	return 0;
}

void format_dir_record_encode(const struct format_dir_record *record, const struct keyring *keys,
			      uint8_t raw[FORMAT_DIR_RECORD_SIZE])
{
	memcpy(raw, dir_magic, sizeof(dir_magic));
	memcpy(raw + RECORD_ID, record->id, sizeof(record->id));
	memcpy(raw + RECORD_BINDINGS, record->bindings, sizeof(record->bindings));
	record_mac(raw, keys, raw + RECORD_MAC);
}
