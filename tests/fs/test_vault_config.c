/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include <sodium.h>

#include "fs/vault_config.h"

#define HEX16 "000102030405060708090a0b0c0d0e0f"
#define HEX24 "000102030405060708090a0b0c0d0e0f1011121314151617"
#define HEX48 HEX24 HEX24

#define SLOT(id)                                                                                   \
	"{\"id\":" #id ",\"type\":\"passphrase\",\"label\":\"home\",\"kdf\":{\"name\":"            \
	"\"argon2id\",\"memory\":67108864,\"operations\":3},\"salt\":\"" HEX16                     \
	"\",\"nonce\":\"" HEX24 "\",\"wrapped\":\"" HEX48 "\"}"

static const char whole[] = "{\"version\":1,\"min_reader\":1,\"id\":\"" HEX16
			    "\",\"suite\":\"aes-256-gcm\","
			    "\"flags\":[],\"created\":1700000000,\"slots\":[" SLOT(
				    1) "],\"mac\":\"" HEX16 HEX16 "\"}";

/* whole with the first occurrence of a piece replaced; caller frees. */
static char *with(const char *piece, const char *instead)
{
	const char *at = strstr(whole, piece);
	char *json = NULL;

	assert_non_null(at);
	assert_true(asprintf(&json, "%.*s%s%s", (int)(at - whole), whole, instead,
			     at + strlen(piece)) > 0);
	return json;
}

static int decode(const char *json, struct vault_config_problem *problem)
{
	static struct vault_config config;

	return vault_config_decode_why(json, strlen(json), &config, problem);
}

static void reads_what_the_format_page_shows(void **state)
{
	static struct vault_config config;

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(config.suite, CIPHER_AES_256_GCM);
	assert_int_equal(config.created, 1700000000);
	assert_int_equal(config.n_slots, 1);
	assert_int_equal(config.slots[0].info.id, 1);
	assert_int_equal(config.slots[0].info.kdf.memory, 64 << 20);
	assert_int_equal(config.slots[0].info.kdf.operations, 3);
	assert_int_equal(config.slots[0].info.kind, VAULT_PASSPHRASE);
	assert_string_equal(config.slots[0].info.label, "home");
	assert_int_equal(config.slots[0].wrapped[47], 0x17);
	assert_int_equal(config.mac[17], 1);
}

static void a_rotation_is_a_flag_and_changes_the_mac(void **state)
{
	static const char *const flags[] = {
		[VAULT_NOT_ROTATING] = "\"flags\":[]",
		[VAULT_COPYING] = "\"flags\":[\"rotating\"]",
		[VAULT_SWITCHED] = "\"flags\":[\"rotated\"]",
	};
	static struct vault_config config, again;
	uint8_t macs[3][VAULT_CONFIG_MAC_SIZE];
	struct keyring keys;
	char *written;

	(void)state;
	fixture_keys(&keys);
	for (enum vault_rotation i = VAULT_NOT_ROTATING; i <= VAULT_SWITCHED; i++) {
		char *json = with("\"flags\":[]", flags[i]);

		assert_int_equal(vault_config_decode(json, strlen(json), &config), 0);
		assert_int_equal(config.rotation, i);
		assert_int_equal(vault_config_encode(&config, &written), 0);
		assert_int_equal(vault_config_decode(written, strlen(written), &again), 0);
		assert_int_equal(again.rotation, i);
		assert_int_equal(vault_config_mac(&config, &keys, macs[i]), 0);
		for (enum vault_rotation other = VAULT_NOT_ROTATING; other < i; other++)
			assert_memory_not_equal(macs[i], macs[other], sizeof(macs[i]));
		free(written);
		free(json);
	}
}

#define FIDO2_SLOT(more)                                                                           \
	"{\"id\":7,\"type\":\"fido2\",\"label\":\"ring\",\"kdf\":{\"name\":\"argon2id\","          \
	"\"memory\":67108864,\"operations\":3},\"salt\":\"" HEX16 "\",\"nonce\":\"" HEX24          \
	"\",\"wrapped\":\"" HEX48 "\"" more "}"

static void a_slot_of_a_security_key_has_what_that_needs(void **state)
{
	static const struct {
		const char *slot;
		int answer;
	} slots[] = {
		{ FIDO2_SLOT(",\"credential\":\"0badcafe\",\"challenge\":\"" HEX16 HEX16 "\""), 0 },
		{ FIDO2_SLOT(""), VAULT_DAMAGED },
		{ FIDO2_SLOT(",\"credential\":\"0badcafe\""), VAULT_DAMAGED },
		{ FIDO2_SLOT(",\"credential\":\"\",\"challenge\":\"" HEX16 HEX16 "\""),
		  VAULT_DAMAGED },
		{ FIDO2_SLOT(",\"credential\":\"0badcaf\",\"challenge\":\"" HEX16 HEX16 "\""),
		  VAULT_DAMAGED },
		{ FIDO2_SLOT(",\"credential\":\"0badcafe\",\"challenge\":\"" HEX16 "\""),
		  VAULT_DAMAGED },
		{ FIDO2_SLOT(",\"credential\":\"0badcafe\",\"challenge\":\"" HEX16 HEX16
			     "\",\"more\":1"),
		  VAULT_DAMAGED },
	};
	static struct vault_config config, again;
	struct vault_config_problem problem;
	char *written;

	(void)state;
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		char *instead = NULL;
		char *json;

		assert_true(asprintf(&instead, "\"slots\":[%s,", slots[i].slot) > 0);
		json = with("\"slots\":[", instead);
		assert_int_equal(vault_config_decode_why(json, strlen(json), &config, &problem),
				 slots[i].answer);
		if (!slots[i].answer) {
			assert_int_equal(config.slots[0].info.token.size, 4);
			assert_int_equal(config.slots[0].info.token.credential[3], 0xfe);
			assert_int_equal(vault_config_encode(&config, &written), 0);
			assert_int_equal(vault_config_decode(written, strlen(written), &again), 0);
			assert_memory_equal(&config, &again, sizeof(config));
			free(written);
		}
		free(instead);
		free(json);
	}
}

#define TPM2_SLOT(blobs, parent, more)                                                             \
	"{\"id\":8,\"type\":\"tpm2\",\"label\":\"here\",\"kdf\":{\"name\":\"argon2id\","           \
	"\"memory\":67108864,\"operations\":3},\"salt\":\"" HEX16 "\",\"nonce\":\"" HEX24          \
	"\",\"wrapped\":\"" HEX48 "\"," blobs ",\"parent\":\"" parent "\"" more "}"
#define BLOBS	"\"public\":\"0badcafe\",\"private\":\"c001\""
#define PARENT	HEX16 HEX16 "000b"
#define SALT	",\"pin_salt\":\"" HEX16 "\""
#define PCRS(n) ",\"pcrs\":" n ",\"bank\":\"sha384\""
#define PIN	",\"pin\":true"

static void a_slot_of_a_tpm_has_what_that_needs(void **state)
{
	static const struct {
		const char *slot;
		int answer;
	} slots[] = {
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("129") PIN), 0 },
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("129")), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("129") ",\"pin\":1"), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("16777216") PIN), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("-1") PIN), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT ",\"pcrs\":1,\"bank\":\"sha1\"" PIN),
		  VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT ",\"pcrs\":1" PIN), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, PCRS("129") PIN), VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, HEX16 HEX16, SALT PCRS("129") PIN), VAULT_DAMAGED },
		{ TPM2_SLOT("\"public\":\"\",\"private\":\"c001\"", PARENT, SALT PCRS("0") PIN),
		  VAULT_DAMAGED },
		{ TPM2_SLOT("\"public\":\"0badcafe\",\"private\":\"c00\"", PARENT,
			    SALT PCRS("0") PIN),
		  VAULT_DAMAGED },
		/* One byte more than there is room for. */
		{ TPM2_SLOT("\"private\":\"c001\",\"public\":\"" HEX48 HEX48 HEX16 HEX16 "00\"",
			    PARENT, SALT PCRS("0") PIN),
		  VAULT_DAMAGED },
		{ TPM2_SLOT(BLOBS, PARENT, SALT PCRS("129") PIN ",\"more\":1"), VAULT_DAMAGED },
	};
	static struct vault_config config, again;
	struct vault_config_problem problem;
	char *written;

	(void)state;
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		const struct vault_tpm2 *tpm2 = &config.slots[0].info.tpm2;
		char *instead = NULL;
		char *json;

		assert_true(asprintf(&instead, "\"slots\":[%s,", slots[i].slot) > 0);
		json = with("\"slots\":[", instead);
		assert_int_equal(vault_config_decode_why(json, strlen(json), &config, &problem),
				 slots[i].answer);
		if (!slots[i].answer) {
			assert_int_equal(tpm2->public_size, 4);
			assert_int_equal(tpm2->private_size, 2);
			assert_int_equal(tpm2->private[0], 0xc0);
			assert_int_equal(tpm2->parent[33], 0x0b);
			assert_int_equal(tpm2->pcrs, 129);
			assert_int_equal(tpm2->bank, VAULT_SHA384);
			assert_true(tpm2->has_pin);
			assert_int_equal(vault_config_encode(&config, &written), 0);
			assert_int_equal(vault_config_decode(written, strlen(written), &again), 0);
			assert_memory_equal(&config, &again, sizeof(config));
			free(written);
		}
		free(instead);
		free(json);
	}
}

/* What an older version, to which its type is unknown, has room for. */
static void the_largest_slot_of_a_tpm_can_be_kept_by_who_does_not_know_it(void **state)
{
	static struct vault_config config;
	struct vault_slot_info *info = &config.slots[0].info;
	const char *slot;
	char *written;

	(void)state;
	config.n_slots = 1;
	config.suite = CIPHER_AES_256_GCM;
	info->id = INT32_MAX;
	info->kind = VAULT_TPM2;
	info->kdf.memory = VAULT_CONFIG_KDF_MEMORY_MAX;
	info->kdf.operations = VAULT_CONFIG_KDF_OPERATIONS_MAX;
	memset(info->label, '"', sizeof(info->label) - 1);
	info->tpm2.public_size = VAULT_TPM2_PUBLIC_MAX;
	info->tpm2.private_size = VAULT_TPM2_PRIVATE_MAX;
	info->tpm2.pcrs = ((uint32_t)1 << VAULT_N_PCRS) - 1;
	assert_int_equal(vault_config_encode(&config, &written), 0);
	slot = strstr(written, "\"slots\"");
	assert_non_null(slot);
	/* With its white space, even. */
	assert_true(strstr(slot, "]") - slot < VAULT_CONFIG_UNKNOWN_SIZE - 1);
	free(written);
}

#define OF_2050 "\"type\":\"2050\",\"id\":7,\"label\":\"retina\""

static void a_slot_of_an_unknown_type_is_kept_as_it_is(void **state)
{
	static struct vault_config config, again, other;
	uint8_t mac[VAULT_CONFIG_MAC_SIZE], other_mac[VAULT_CONFIG_MAC_SIZE];
	struct keyring keys;
	char *json = with("\"slots\":[",
			  "\"slots\":[{" OF_2050 ",\"z\":{\"b\":[1,true],\"a\":\"\u00fc\"}},");
	char *changed = with("\"slots\":[",
			     "\"slots\":[{" OF_2050 ",\"z\":{\"b\":[2,true],\"a\":\"\u00fc\"}},");
	char *written;

	(void)state;
	fixture_keys(&keys);
	assert_int_equal(vault_config_decode(json, strlen(json), &config), 0);
	assert_int_equal(config.n_slots, 2);
	assert_int_equal(config.slots[0].info.kind, VAULT_UNKNOWN);
	assert_int_equal(config.slots[0].info.id, 7);
	assert_string_equal(config.slots[0].info.type, "2050");
	assert_string_equal(config.slots[0].info.label, "retina");
	assert_string_equal(config.slots[0].unknown,
			    "{\"id\":7,\"label\":\"retina\",\"type\":\"2050\",\"z\":{"
			    "\"a\":\"\u00fc\",\"b\":[1,true]}}");
	assert_int_equal(vault_config_encode(&config, &written), 0);
	assert_int_equal(vault_config_decode(written, strlen(written), &again), 0);
	assert_memory_equal(&config, &again, sizeof(config));
	assert_int_equal(vault_config_decode(changed, strlen(changed), &other), 0);
	assert_int_equal(vault_config_mac(&config, &keys, mac), 0);
	assert_int_equal(vault_config_mac(&other, &keys, other_mac), 0);
	assert_memory_not_equal(mac, other_mac, sizeof(mac));
	free(written);
	free(changed);
	free(json);
}

static void an_unknown_slot_has_an_id_a_label_and_a_limit(void **state)
{
	static const char *const refused[] = {
		"{\"type\":\"2050\",\"label\":\"x\"}",
		"{\"type\":\"2050\",\"id\":7}",
		"{\"type\":\"2050\",\"id\":0,\"label\":\"x\"}",
		"{\"type\":\"2050\",\"id\":1,\"label\":\"x\"}",
		"{\"type\":\"2050\",\"id\":7,\"label\":\"\"}",
		"{\"type\":\"\",\"id\":7,\"label\":\"x\"}",
		"{\"type\":\"Retina\",\"id\":7,\"label\":\"x\"}",
		"{\"type\":\"x123456789x123456789x123456789xx\",\"id\":7,\"label\":\"x\"}",
		NULL, /* too large */
	};
	char large[VAULT_CONFIG_UNKNOWN_SIZE + 64];
	struct vault_config_problem problem;
	int n = snprintf(large, sizeof(large), "{" OF_2050 ",\"z\":\"");

	(void)state;
	memset(large + n, 'z', VAULT_CONFIG_UNKNOWN_SIZE - n - 2);
	strcpy(large + VAULT_CONFIG_UNKNOWN_SIZE - 2, "\"}");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		char *json = NULL;
		char *instead = NULL;

		assert_true(asprintf(&instead, "\"slots\":[%s,", refused[i] ? refused[i] : large) >
			    0);
		json = with("\"slots\":[", instead);
		assert_int_equal(decode(json, &problem), VAULT_DAMAGED);
		free(instead);
		free(json);
	}
}

static void what_is_written_reads_back_the_same(void **state)
{
	static struct vault_config config, again;
	char *json;

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(vault_config_encode(&config, &json), 0);
	assert_int_equal(vault_config_decode(json, strlen(json), &again), 0);
	assert_memory_equal(&config, &again, sizeof(config));
	free(json);
}

static void every_refusal_says_why(void **state)
{
	static const struct {
		const char *piece, *instead;
		int answer;
		const char *why;
	} refused[] = {
		{ "{\"version\"", "[\"version\"", VAULT_DAMAGED, "not JSON" },
		{ "\"version\":1", "\"version\":1,\"version\":1", VAULT_DAMAGED, "not JSON" },
		{ "\"version\":1,", "", VAULT_DAMAGED, "no version" },
		{ "\"version\":1", "\"version\":\"1\"", VAULT_DAMAGED, "no version" },
		{ "\"version\":1", "\"version\":0", VAULT_DAMAGED, "no version" },
		{ "\"version\":1", "\"version\":2", VAULT_TOO_NEW, "newer format" },
		{ "\"min_reader\":1", "\"min_reader\":2", VAULT_TOO_NEW, "newer format" },
		{ "\"flags\":[]", "\"flags\":[\"quantum\"]", VAULT_TOO_NEW, "feature" },
		{ "\"flags\":[]", "\"flags\":[\"rotating\",\"quantum\"]", VAULT_TOO_NEW,
		  "feature" },
		{ "\"flags\":[]", "\"flags\":[\"rotating\",\"rotated\"]", VAULT_DAMAGED,
		  "two flags" },
		{ "\"flags\":[]", "\"flags\":{}", VAULT_DAMAGED, "mistyped" },
		{ "\"flags\":[]", "\"flags\":[],\"x\":1", VAULT_DAMAGED, "unknown" },
		{ "\"id\":\"00", "\"id\":\"0", VAULT_DAMAGED, "malformed id" },
		{ "\"id\":\"00", "\"id\":\"0000", VAULT_DAMAGED, "malformed id" },
		{ "\"id\":\"00", "\"id\":\"0x", VAULT_DAMAGED, "malformed id" },
		{ "0e0f\",\"suite", "0e0F\",\"suite", VAULT_DAMAGED, "malformed id" },
		{ "aes-256-gcm", "rot13", VAULT_DAMAGED, "cipher suite" },
		{ "\"created\":1", "\"created\":-1", VAULT_DAMAGED, "1970" },
		{ "\"created\":1700000000", "\"created\":17.0", VAULT_DAMAGED, "mistyped" },
		{ "\"mac\":\"00", "\"mac\":\"", VAULT_DAMAGED, "malformed MAC" },
		{ SLOT(1), "", VAULT_DAMAGED, "0 slots" },
		{ SLOT(1), "7", VAULT_DAMAGED, "slot 1: a member" },
		{ SLOT(1), SLOT(1) "," SLOT(1), VAULT_DAMAGED, "two slots have one id" },
		{ "{\"id\":1,", "{\"id\":0,", VAULT_DAMAGED, "slot 1: id" },
		{ "{\"id\":1,", "{\"id\":4294967297,", VAULT_DAMAGED, "slot 1: id" },
		{ "{\"id\":1,", "{\"id\":1,\"x\":1,", VAULT_DAMAGED, "slot 1: a member" },
		{ "\"passphrase\"", "\"smoke signal\"", VAULT_DAMAGED, "bad type" },
		{ "\"home\"", "\"\"", VAULT_DAMAGED, "bad label" },
		{ "\"home\"", "\"a\\u0007b\"", VAULT_DAMAGED, "bad label" },
		{ "\"home\"", "\"" HEX24 HEX16 "\"", VAULT_DAMAGED, "bad label" },
		{ "argon2id", "md5", VAULT_DAMAGED, "unknown key derivation" },
		{ "67108864", "8388607", VAULT_DAMAGED, "out of range" },
		{ "67108864", "4294967297", VAULT_DAMAGED, "out of range" },
		{ "67108864", "-67108864", VAULT_DAMAGED, "out of range" },
		{ "\"operations\":3", "\"operations\":0", VAULT_DAMAGED, "out of range" },
		{ "\"operations\":3", "\"operations\":65", VAULT_DAMAGED, "out of range" },
		{ "\"operations\":3", "\"operations\":3,\"x\":1", VAULT_DAMAGED, "a member" },
		{ "\"salt\":\"00", "\"salt\":\"", VAULT_DAMAGED, "malformed" },
		{ "\"nonce\":\"00", "\"nonce\":\"0g", VAULT_DAMAGED, "malformed" },
		{ "\"wrapped\":\"00", "\"wrapped\":\"0000", VAULT_DAMAGED, "malformed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct vault_config_problem problem;
		char *json = with(refused[i].piece, refused[i].instead);
		int r = decode(json, &problem);

		if (r != refused[i].answer || !strstr(problem.text, refused[i].why))
			fail_msg("%s: answer %d, \"%s\"", json, r, problem.text);
		free(json);
	}
}

static void bounds_themselves_are_accepted(void **state)
{
	static const char *const accepted[][2] = {
		{ "67108864", "8388608" },
		{ "67108864", "4294967296" },
		{ "\"operations\":3", "\"operations\":1" },
		{ "\"operations\":3", "\"operations\":64" },
		{ "\"passphrase\"", "\"recovery\"" },
		{ SLOT(1), SLOT(1) "," SLOT(2) },
		{ "\"home\"", "\"sch\xc3\xb6n\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		struct vault_config_problem problem;
		char *json = with(accepted[i][0], accepted[i][1]);

		if (decode(json, &problem))
			fail_msg("%s: \"%s\"", json, problem.text);
		free(json);
	}
}

/* whole with n slots. */
static char *with_slots(int n)
{
	char *slots = calloc(1, (size_t)n * (sizeof(SLOT(1)) + 2));
	char *json;

	for (int i = 1; i <= n; i++) {
		char *end = slots + strlen(slots);

		(void)sprintf(end, "%s%.*s%d%s", i > 1 ? "," : "", 6, SLOT(1), i, &SLOT(1)[7]);
	}
	json = with(SLOT(1), slots);
	free(slots);
	return json;
}

static void takes_32_slots_and_no_more(void **state)
{
	struct vault_config_problem problem;
	char *most = with_slots(VAULT_MAX_SLOTS);
	char *more = with_slots(VAULT_MAX_SLOTS + 1);

	(void)state;
	assert_int_equal(decode(most, &problem), 0);
	assert_int_equal(decode(more, &problem), VAULT_DAMAGED);
	free(most);
	free(more);
}

static void more_than_a_mebibyte_is_refused(void **state)
{
	size_t size = VAULT_CONFIG_MAX_SIZE + 1;
	char *json = malloc(size);
	static struct vault_config config;

	(void)state;
	memset(json, ' ', size);
	memcpy(json, whole, strlen(whole));
	assert_int_equal(vault_config_decode(json, size - 1, &config), 0);
	assert_int_equal(vault_config_decode(json, size, &config), VAULT_DAMAGED);
	free(json);
}

static void no_cut_of_it_is_accepted(void **state)
{
	static struct vault_config config;

	(void)state;
	for (size_t size = 0; size < strlen(whole); size++)
		assert_int_equal(vault_config_decode(whole, size, &config), VAULT_DAMAGED);
}

/* ---- what the MAC and the wrapping cover ------------------------------- */

static struct keyring ring = { .config = "a key of thirty-two bytes here." };

static void the_mac_covers_every_member(void **state)
{
	static const char *const changes[][2] = {
		{ "\"id\":\"00", "\"id\":\"01" },
		{ "aes-256-gcm", "chacha20-poly1305" },
		{ "\"created\":17", "\"created\":18" },
		{ "{\"id\":1,", "{\"id\":2," },
		{ "\"passphrase\"", "\"recovery\"" },
		{ "\"home\"", "\"work\"" },
		{ "67108864", "67109888" },
		{ "\"operations\":3", "\"operations\":4" },
		{ "\"salt\":\"00", "\"salt\":\"01" },
		{ "\"nonce\":\"00", "\"nonce\":\"01" },
		{ "\"wrapped\":\"00", "\"wrapped\":\"01" },
		{ SLOT(1), SLOT(1) "," SLOT(2) },
	};
	static struct vault_config config;
	uint8_t mac[VAULT_CONFIG_MAC_SIZE];

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(vault_config_mac(&config, &ring, mac), 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t other[VAULT_CONFIG_MAC_SIZE];
		char *json = with(changes[i][0], changes[i][1]);

		assert_int_equal(vault_config_decode(json, strlen(json), &config), 0);
		assert_int_equal(vault_config_mac(&config, &ring, other), 0);
		if (memcmp(mac, other, sizeof(mac)) == 0)
			fail_msg("the MAC does not notice %s", changes[i][1]);
		free(json);
	}
}

static void the_mac_needs_the_key_and_does_not_cover_itself(void **state)
{
	static struct vault_config config;
	struct keyring other_ring = ring;
	uint8_t mac[VAULT_CONFIG_MAC_SIZE], other[VAULT_CONFIG_MAC_SIZE];

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(vault_config_mac(&config, &ring, mac), 0);
	config.mac[0] ^= 1;
	assert_int_equal(vault_config_mac(&config, &ring, other), 0);
	assert_memory_equal(mac, other, sizeof(mac));
	other_ring.config[0] ^= 1;
	assert_int_equal(vault_config_mac(&config, &other_ring, other), 0);
	assert_memory_not_equal(mac, other, sizeof(mac));
}

/* The canonical forms, typed here once more: both are part of the format. */
#define PARAMETERS                                                                                 \
	"{\"id\":1,\"kdf\":{\"memory\":67108864,\"name\":\"argon2id\",\"operations\":3},"          \
	"\"label\":\"home\",\"salt\":\"" HEX16 "\",\"type\":\"passphrase\"}"

static void the_mac_is_that_of_the_format_page(void **state)
{
	static const char canonical[] =
		"{\"created\":1700000000,\"flags\":[],\"id\":\"" HEX16 "\",\"min_reader\":1,"
		"\"slots\":[{\"id\":1,\"kdf\":{\"memory\":67108864,\"name\":\"argon2id\","
		"\"operations\":3},\"label\":\"home\",\"nonce\":\"" HEX24 "\",\"salt\":\"" HEX16
		"\",\"type\":\"passphrase\",\"wrapped\":\"" HEX48 "\"}],"
		"\"suite\":\"aes-256-gcm\",\"version\":1}";
	static struct vault_config config;
	uint8_t mac[VAULT_CONFIG_MAC_SIZE], expected[VAULT_CONFIG_MAC_SIZE];

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(vault_config_mac(&config, &ring, mac), 0);
	(void)crypto_generichash(expected, sizeof(expected), (const uint8_t *)canonical,
				 strlen(canonical), ring.config, sizeof(ring.config));
	assert_memory_equal(mac, expected, sizeof(mac));
}

static void the_wrapping_is_that_of_the_format_page(void **state)
{
	static const uint8_t kek[VAULT_CONFIG_KEK_SIZE] = { 1 };
	static const uint8_t master[KEYS_MASTER_SIZE] = { 3 };
	static struct vault_config config;
	uint8_t aad[VAULT_ID_SIZE + 4 + sizeof(PARAMETERS) - 1];
	uint8_t expected[VAULT_CONFIG_WRAPPED_SIZE];

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	for (uint8_t i = 0; i < VAULT_ID_SIZE; i++)
		aad[i] = i;
	memcpy(aad + VAULT_ID_SIZE, "\1\0\0", 4);
	memcpy(aad + VAULT_ID_SIZE + 4, PARAMETERS, sizeof(PARAMETERS) - 1);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(expected, NULL, master, sizeof(master),
							 aad, sizeof(aad), NULL,
							 config.slots[0].nonce, kek);
	assert_int_equal(vault_config_wrap(&config, &config.slots[0], kek, master), 0);
	assert_memory_equal(config.slots[0].wrapped, expected, sizeof(expected));
}

static void a_wrapped_key_opens_only_in_its_place(void **state)
{
	static struct vault_config config;
	const uint8_t kek[VAULT_CONFIG_KEK_SIZE] = { 1 };
	const uint8_t wrong[VAULT_CONFIG_KEK_SIZE] = { 2 };
	const uint8_t master[KEYS_MASTER_SIZE] = { 3 };
	uint8_t got[KEYS_MASTER_SIZE];
	struct vault_config_slot *slot = &config.slots[0];

	(void)state;
	assert_int_equal(vault_config_decode(whole, strlen(whole), &config), 0);
	assert_int_equal(vault_config_wrap(&config, slot, kek, master), 0);
	assert_int_equal(vault_config_unwrap(&config, slot, kek, got), 0);
	assert_memory_equal(got, master, sizeof(got));

#define REFUSED(change, undo)                                                                      \
	do {                                                                                       \
		change;                                                                            \
		assert_int_equal(vault_config_unwrap(&config, slot, kek, got), VAULT_WRONG_KEY);   \
		undo;                                                                              \
		assert_int_equal(vault_config_unwrap(&config, slot, kek, got), 0);                 \
	} while (0)

	REFUSED(config.id[0]++, config.id[0]--);
	REFUSED(slot->info.id++, slot->info.id--);
	REFUSED(slot->info.kdf.memory++, slot->info.kdf.memory--);
	REFUSED(slot->info.kdf.operations++, slot->info.kdf.operations--);
	REFUSED(slot->info.label[0]++, slot->info.label[0]--);
	REFUSED(slot->info.kind = VAULT_KEYFILE, slot->info.kind = VAULT_PASSPHRASE);
	REFUSED(slot->salt[0]++, slot->salt[0]--);
	REFUSED(slot->nonce[0]++, slot->nonce[0]--);
	REFUSED(slot->wrapped[0]++, slot->wrapped[0]--);
	REFUSED(slot->wrapped[47]++, slot->wrapped[47]--);
	assert_int_equal(vault_config_unwrap(&config, slot, wrong, got), VAULT_WRONG_KEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_the_format_page_shows),
		cmocka_unit_test(what_is_written_reads_back_the_same),
		cmocka_unit_test(a_rotation_is_a_flag_and_changes_the_mac),
		cmocka_unit_test(a_slot_of_a_security_key_has_what_that_needs),
		cmocka_unit_test(a_slot_of_a_tpm_has_what_that_needs),
		cmocka_unit_test(the_largest_slot_of_a_tpm_can_be_kept_by_who_does_not_know_it),
		cmocka_unit_test(a_slot_of_an_unknown_type_is_kept_as_it_is),
		cmocka_unit_test(an_unknown_slot_has_an_id_a_label_and_a_limit),
		cmocka_unit_test(every_refusal_says_why),
		cmocka_unit_test(bounds_themselves_are_accepted),
		cmocka_unit_test(takes_32_slots_and_no_more),
		cmocka_unit_test(more_than_a_mebibyte_is_refused),
		cmocka_unit_test(no_cut_of_it_is_accepted),
		cmocka_unit_test(the_mac_covers_every_member),
		cmocka_unit_test(the_mac_needs_the_key_and_does_not_cover_itself),
		cmocka_unit_test(the_mac_is_that_of_the_format_page),
		cmocka_unit_test(the_wrapping_is_that_of_the_format_page),
		cmocka_unit_test(a_wrapped_key_opens_only_in_its_place),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("vault_config", tests, NULL, NULL);
}
