/* SPDX-License-Identifier: MIT */
/* Header and chunk heads: see container.h for the contract. */
#include "fs/container.h"

#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

#define MAGIC "cryptfsC"
#define LABEL "container"

enum {
	VERSION = 1,
	AT_VERSION = 8,
	AT_ZEROS = 12,
	AT_MEMORY = 16,
	AT_OPERATIONS = 24,
	AT_SALT = 32,
	AT_ID = 48,
	AT_MAC = 80,
	AT_CHECKSUM = 112,
	MAC_SIZE = 32,
	CHECKSUM_SIZE = 16,
	KIND_DATA = 1,
	KIND_END = 2,
};

static void make_mac(const uint8_t *raw, const struct keyring *keys, uint8_t mac[MAC_SIZE])
{
	uint8_t message[sizeof(LABEL) - 1 + AT_MAC];

	memcpy(message, LABEL, sizeof(LABEL) - 1);
	memcpy(message + sizeof(LABEL) - 1, raw, AT_MAC);
	(void)crypto_generichash(mac, MAC_SIZE, message, sizeof(message), keys->config,
				 sizeof(keys->config)); /* fails for bad sizes only */
}

static void make_checksum(const uint8_t *raw, uint8_t checksum[CHECKSUM_SIZE])
{
	(void)crypto_generichash(checksum, CHECKSUM_SIZE, raw, AT_CHECKSUM, NULL, 0);
}

void container_header_encode(const struct container_header *h, const struct keyring *keys,
			     uint8_t raw[CONTAINER_HEADER_SIZE])
{
	memset(raw, 0, CONTAINER_HEADER_SIZE);
	memcpy(raw, MAGIC, sizeof(MAGIC) - 1);
	bytes_put32(raw + AT_VERSION, VERSION | (uint32_t)h->suite << 16);
	bytes_put64(raw + AT_MEMORY, h->kdf.memory);
	bytes_put64(raw + AT_OPERATIONS, h->kdf.operations);
	memcpy(raw + AT_SALT, h->salt, sizeof(h->salt));
	memcpy(raw + AT_ID, h->id, sizeof(h->id));
	make_mac(raw, keys, raw + AT_MAC);
	make_checksum(raw, raw + AT_CHECKSUM);
}

static bool is_in(uint64_t value, uint64_t min, uint64_t max)
{
	return value >= min && value <= max;
}

static bool header_is_sound(const struct container_header *h)
{
	return (h->suite == CIPHER_AES_256_GCM || h->suite == CIPHER_CHACHA20_POLY1305) &&
	       h->kdf.memory % 1024 == 0 &&
	       is_in(h->kdf.memory, VAULT_CONFIG_KDF_MEMORY_MIN, VAULT_CONFIG_KDF_MEMORY_MAX) &&
	       is_in(h->kdf.operations, VAULT_CONFIG_KDF_OPERATIONS_MIN,
		     VAULT_CONFIG_KDF_OPERATIONS_MAX);
}

int container_header_decode(const uint8_t raw[CONTAINER_HEADER_SIZE], struct container_header *h)
{
	uint8_t checksum[CHECKSUM_SIZE];
	uint32_t version = bytes_get32(raw + AT_VERSION);

	if (memcmp(raw, MAGIC, sizeof(MAGIC) - 1) != 0)
		return CONTAINER_NOT_ONE;
	if ((version & 0xffff) > VERSION)
		return CONTAINER_TOO_NEW;
	make_checksum(raw, checksum);
	if (memcmp(checksum, raw + AT_CHECKSUM, sizeof(checksum)) != 0)
		return CONTAINER_DAMAGED;
	*h = (struct container_header){
		.suite = (enum cipher_suite)(version >> 16),
		.kdf = { bytes_get64(raw + AT_MEMORY), bytes_get64(raw + AT_OPERATIONS) },
	};
	memcpy(h->salt, raw + AT_SALT, sizeof(h->salt));
	memcpy(h->id, raw + AT_ID, sizeof(h->id));
	if ((version & 0xffff) != VERSION || bytes_get32(raw + AT_ZEROS) || !header_is_sound(h))
		return CONTAINER_DAMAGED;
	return 0;
}

int container_header_check(const uint8_t raw[CONTAINER_HEADER_SIZE], const struct keyring *keys)
{
	uint8_t mac[MAC_SIZE];

	make_mac(raw, keys, mac);
	return secmem_equal(mac, raw + AT_MAC, sizeof(mac)) ? 0 : CONTAINER_WRONG_KEY;
}

void container_chunk_encode(const struct container_chunk *c, uint8_t raw[CONTAINER_HEAD_SIZE])
{
	bytes_put64(raw, c->position);
	bytes_put32(raw + 8, c->size);
	bytes_put32(raw + 12, c->is_end ? KIND_END : KIND_DATA);
}

/* A data chunk at this place: 0 or DAMAGED. */
static int step_data(struct container_walk *walk, const struct container_chunk *c)
{
	if (walk->must_end || c->position % CONTAINER_BLOCK_SIZE || c->size < 1 ||
	    c->size > CONTAINER_CHUNK_SIZE || c->position < walk->position ||
	    c->position > CONTAINER_MAX_LENGTH - c->size)
		return CONTAINER_DAMAGED;
	walk->position = c->position + c->size;
	walk->must_end = c->size % CONTAINER_BLOCK_SIZE != 0;
	return 0;
}

static int step_end(const struct container_walk *walk, const struct container_chunk *c)
{
	if (c->size != CONTAINER_END_SIZE || c->position < walk->position ||
	    c->position > CONTAINER_MAX_LENGTH)
		return CONTAINER_DAMAGED;
	return walk->must_end && c->position != walk->position ? CONTAINER_DAMAGED : 0;
}

int container_chunk_decode(const uint8_t raw[CONTAINER_HEAD_SIZE], struct container_walk *walk,
			   struct container_chunk *c)
{
	uint32_t kind = bytes_get32(raw + 12);

	*c = (struct container_chunk){
		.position = bytes_get64(raw),
		.size = bytes_get32(raw + 8),
		.is_end = kind == KIND_END,
	};
	if (c->is_end)
		return step_end(walk, c);
	return kind == KIND_DATA ? step_data(walk, c) : CONTAINER_DAMAGED;
}

void container_nonce(uint64_t number, uint8_t nonce[CIPHER_NONCE_SIZE])
{
	bytes_put64(nonce, number);
	bytes_put32(nonce + 8, 0);
}
