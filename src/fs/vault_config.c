/* SPDX-License-Identifier: MIT */
/*
 * Configuration as JSON: see vault_config.h for the contract.
 *
 * Decoding is strict: every member must be there, with its type and length,
 * hexadecimal in lower case, and no other member.  So encoding what was
 * decoded gives the file's canonical form again, and the MAC needs no JSON
 * tree to be kept.
 */
#include "fs/vault_config.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

#define CANONICAL (JSON_SORT_KEYS | JSON_COMPACT)
#define KDF_NAME  "argon2id"

_Static_assert(VAULT_CONFIG_SALT_SIZE == crypto_pwhash_argon2id_SALTBYTES, "Argon2id salt");
_Static_assert(VAULT_CONFIG_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(VAULT_CONFIG_KEK_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(VAULT_CONFIG_WRAPPED_SIZE ==
		       KEYS_MASTER_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES,
	       "wrapped master key");

static const char *const kinds[] = {
	[VAULT_PASSPHRASE] = "passphrase",
	[VAULT_KEYFILE] = "keyfile",
	[VAULT_RECOVERY] = "recovery",
	[VAULT_FIDO2] = "fido2",
	[VAULT_TPM2] = "tpm2",
	[VAULT_UNKNOWN] = "unknown",
};

enum { N_KINDS = VAULT_UNKNOWN };

static const char *const banks[] = {
	[VAULT_SHA256] = "sha256",
	[VAULT_SHA384] = "sha384",
	[VAULT_SHA512] = "sha512",
};

enum { N_BANKS = VAULT_SHA512 + 1 };

/* Flags, by the rotation that they tell of. */
static const char *const rotations[] = {
	[VAULT_COPYING] = "rotating",
	[VAULT_SWITCHED] = "rotated",
};

const char *vault_kind_name(enum vault_kind kind)
{
	return kinds[kind];
}

const char *vault_bank_name(enum vault_bank bank)
{
	return banks[bank];
}

/* ---- refusing ---------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static int damaged(struct vault_config_problem *problem,
							 const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, args); /* cut is fine */
	va_end(args);
	return VAULT_DAMAGED;
}

static int too_new(struct vault_config_problem *problem, const char *what)
{
	(void)snprintf(problem->text, sizeof(problem->text), "%s", what);
	return VAULT_TOO_NEW;
}

/* ---- hexadecimal ------------------------------------------------------- */

static json_t *hex_new(const uint8_t *bytes, size_t size)
{
	char text[2 * VAULT_CREDENTIAL_MAX + 1];

	sodium_bin2hex(text, sizeof(text), bytes, size);
	return json_string(text);
}

/* Exactly size bytes in lower case, as hex_new writes them. */
static bool hex_read(const char *text, uint8_t *bytes, size_t size)
{
	if (strlen(text) != 2 * size || strspn(text, "0123456789abcdef") != 2 * size)
		return false;
	return sodium_hex2bin(bytes, size, text, 2 * size, NULL, NULL, NULL) == 0;
}

/* From 1 to max bytes; *size is how many. */
static bool hex_read_some(const char *text, uint8_t *bytes, size_t max, size_t *size)
{
	*size = strlen(text) / 2;
	return *size >= 1 && *size <= max && hex_read(text, bytes, *size);
}

/* ---- encoding ---------------------------------------------------------- */

/* What a security key or a TPM has beside the members of all; NULL for want of memory. */
static json_t *device_new(const struct vault_slot_info *info)
{
	const struct vault_token *token = &info->token;
	const struct vault_tpm2 *tpm2 = &info->tpm2;

	if (info->kind == VAULT_FIDO2)
		return json_pack("{s:o, s:o}", "credential",
				 hex_new(token->credential, token->size), "challenge",
				 hex_new(token->challenge, sizeof(token->challenge)));
	if (info->kind == VAULT_TPM2)
		return json_pack("{s:o, s:o, s:o, s:o, s:I, s:s, s:b}", "public",
				 hex_new(tpm2->public, tpm2->public_size), "private",
				 hex_new(tpm2->private, tpm2->private_size), "parent",
				 hex_new(tpm2->parent, sizeof(tpm2->parent)), "pin_salt",
				 hex_new(tpm2->salt, sizeof(tpm2->salt)), "pcrs",
				 (json_int_t)tpm2->pcrs, "bank", banks[tpm2->bank], "pin",
				 tpm2->has_pin);
	return json_object();
}

/* The members of a slot that its wrapping authenticates. */
static json_t *slot_parameters_new(const struct vault_config_slot *slot)
{
	json_t *device = device_new(&slot->info);
	json_t *object = json_pack(
		"{s:I, s:s, s:s, s:{s:s, s:I, s:I}, s:o}", "id", (json_int_t)slot->info.id, "type",
		vault_kind_name(slot->info.kind), "label", slot->info.label, "kdf", "name",
		KDF_NAME, "memory", (json_int_t)slot->info.kdf.memory, "operations",
		(json_int_t)slot->info.kdf.operations, "salt",
		hex_new(slot->salt, sizeof(slot->salt)));

	if (object && (!device || json_object_update(object, device))) {
		json_decref(object);
		object = NULL;
	}
	json_decref(device);
	return object;
}

static json_t *slot_new(const struct vault_config_slot *slot)
{
	json_t *object;

	if (slot->info.kind == VAULT_UNKNOWN)
		return json_loads(slot->unknown, JSON_REJECT_DUPLICATES, NULL);
	object = slot_parameters_new(slot);
	if (!object ||
	    json_object_set_new(object, "nonce", hex_new(slot->nonce, sizeof(slot->nonce))) ||
	    json_object_set_new(object, "wrapped", hex_new(slot->wrapped, sizeof(slot->wrapped)))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *slots_new(const struct vault_config *config)
{
	json_t *array = json_array();

	for (uint32_t i = 0; array && i < config->n_slots; i++)
		if (json_array_append_new(array, slot_new(&config->slots[i]))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *flags_new(const struct vault_config *config)
{
	return config->rotation ? json_pack("[s]", rotations[config->rotation]) : json_array();
}

/* Everything but the MAC. */
static json_t *config_new(const struct vault_config *config)
{
	const char *suite = cipher_name(config->suite);

	if (!suite || config->n_slots > VAULT_MAX_SLOTS)
		return NULL;
	return json_pack("{s:i, s:i, s:o, s:s, s:o, s:I, s:o}", "version", VAULT_CONFIG_VERSION,
			 "min_reader", VAULT_CONFIG_VERSION, "id",
			 hex_new(config->id, sizeof(config->id)), "suite", suite, "flags",
			 flags_new(config), "created", (json_int_t)config->created, "slots",
			 slots_new(config));
}

int vault_config_encode(const struct vault_config *config, char **json)
{
	json_t *object = config_new(config);
	char *text = NULL;
	int r = -EINVAL;

	*json = NULL;
	if (!object ||
	    json_object_set_new(object, "mac", hex_new(config->mac, sizeof(config->mac))))
		goto out;
	text = json_dumps(object, JSON_INDENT(2));
	r = text && asprintf(json, "%s\n", text) > 0 ? 0 : -ENOMEM;
out:
	free(text);
	json_decref(object);
	return r;
}

/* ---- decoding ---------------------------------------------------------- */

bool vault_config_label_is_valid(const char *label)
{
	json_t *utf8 = json_string(label);
	size_t size = strlen(label);
	bool valid = utf8 && size > 0 && size < sizeof(((struct vault_slot_info *)0)->label);

	json_decref(utf8);
	for (const char *c = label; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			valid = false;
	return valid;
}

static bool kind_read(const char *name, enum vault_kind *kind)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		*kind = (enum vault_kind)i;
		if (strcmp(name, kinds[i]) == 0)
			return true;
	}
	return false;
}

static bool kdf_is_sane(json_int_t memory, json_int_t operations)
{
	return memory >= (json_int_t)VAULT_CONFIG_KDF_MEMORY_MIN &&
	       memory <= (json_int_t)VAULT_CONFIG_KDF_MEMORY_MAX &&
	       operations >= VAULT_CONFIG_KDF_OPERATIONS_MIN &&
	       operations <= VAULT_CONFIG_KDF_OPERATIONS_MAX;
}

/* The strings and numbers of a slot object, before they are judged. */
struct raw_slot {
	json_int_t id, memory, operations;
	const char *type, *label, *kdf, *salt, *nonce, *wrapped;
};

static int slot_judge(const struct raw_slot *raw, unsigned int number,
		      struct vault_config_slot *slot, struct vault_config_problem *problem)
{
	if (raw->id < 1 || raw->id > INT32_MAX)
		return damaged(problem, "slot %u: id out of range", number);
	if (!kind_read(raw->type, &slot->info.kind))
		return damaged(problem, "slot %u: unknown type", number);
	if (!vault_config_label_is_valid(raw->label))
		return damaged(problem, "slot %u: bad label", number);
	if (strcmp(raw->kdf, KDF_NAME) != 0)
		return damaged(problem, "slot %u: unknown key derivation", number);
	if (!kdf_is_sane(raw->memory, raw->operations))
		return damaged(problem, "slot %u: key derivation parameters out of range", number);
	if (!hex_read(raw->salt, slot->salt, sizeof(slot->salt)) ||
	    !hex_read(raw->nonce, slot->nonce, sizeof(slot->nonce)) ||
	    !hex_read(raw->wrapped, slot->wrapped, sizeof(slot->wrapped)))
		return damaged(problem, "slot %u: salt, nonce or wrapped key malformed", number);
	slot->info.id = (uint32_t)raw->id;
	strcpy(slot->info.type, raw->type); /* a known one, and they are short */
	slot->info.kdf.memory = (uint64_t)raw->memory;
	slot->info.kdf.operations = (uint64_t)raw->operations;
	(void)snprintf(slot->info.label, sizeof(slot->info.label), "%s", raw->label);
	return 0;
}

static bool type_is_valid(const char *type)
{
	size_t size = strlen(type);

	return size > 0 && size < VAULT_TYPE_SIZE &&
	       strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

/* A slot of a type that is not known here: what all have in common, and all of it to keep. */
static int unknown_decode(json_t *object, unsigned int number, struct vault_config_slot *slot,
			  struct vault_config_problem *problem)
{
	const char *type, *label;
	json_int_t id;
	char *text;
	size_t size;

	if (json_unpack(object, "{s:I, s:s, s:s}", "id", &id, "type", &type, "label", &label))
		return damaged(problem, "slot %u: a member is missing, unknown or mistyped",
			       number);
	if (id < 1 || id > INT32_MAX)
		return damaged(problem, "slot %u: id out of range", number);
	if (!type_is_valid(type))
		return damaged(problem, "slot %u: bad type", number);
	if (!vault_config_label_is_valid(label))
		return damaged(problem, "slot %u: bad label", number);
	text = json_dumps(object, CANONICAL);
	if (!text)
		return -ENOMEM;
	size = strlen(text);
	if (size < sizeof(slot->unknown))
		memcpy(slot->unknown, text, size + 1);
	free(text);
	if (size >= sizeof(slot->unknown))
		return damaged(problem, "slot %u: too large for one of an unknown type", number);
	slot->info.id = (uint32_t)id;
	slot->info.kind = VAULT_UNKNOWN;
	strcpy(slot->info.type, type);
	strcpy(slot->info.label, label);
	return 0;
}

/* What a security key has beside the members of all; they are taken out of object. */
static int token_decode(json_t *object, unsigned int number, struct vault_token *token,
			struct vault_config_problem *problem)
{
	const char *credential, *challenge;

	if (json_unpack(object, "{s:s, s:s}", "credential", &credential, "challenge", &challenge))
		return damaged(problem, "slot %u: a member is missing, unknown or mistyped",
			       number);
	if (!hex_read_some(credential, token->credential, sizeof(token->credential),
			   &token->size) ||
	    !hex_read(challenge, token->challenge, sizeof(token->challenge)))
		return damaged(problem, "slot %u: credential or challenge malformed", number);
	(void)json_object_del(object, "credential"); /* it is there */
	(void)json_object_del(object, "challenge");
	return 0;
}

static bool bank_read(const char *name, enum vault_bank *bank)
{
	for (size_t i = 0; i < N_BANKS; i++) {
		*bank = (enum vault_bank)i;
		if (strcmp(name, banks[i]) == 0)
			return true;
	}
	return false;
}

/* The same of a TPM. */
static int tpm2_decode(json_t *object, unsigned int number, struct vault_tpm2 *tpm2,
		       struct vault_config_problem *problem)
{
	static const char *const members[] = { "public", "private", "parent", "pin_salt",
					       "pcrs",	 "bank",    "pin" };
	const char *public, *private, *parent, *salt, *bank;
	json_int_t pcrs;
	int pin;

	if (json_unpack(object, "{s:s, s:s, s:s, s:s, s:I, s:s, s:b}", "public", &public, "private",
			&private, "parent", &parent, "pin_salt", &salt, "pcrs", &pcrs, "bank",
			&bank, "pin", &pin))
		return damaged(problem, "slot %u: a member is missing, unknown or mistyped",
			       number);
	if (!hex_read_some(public, tpm2->public, sizeof(tpm2->public), &tpm2->public_size) ||
	    !hex_read_some(private, tpm2->private, sizeof(tpm2->private), &tpm2->private_size) ||
	    !hex_read(parent, tpm2->parent, sizeof(tpm2->parent)) ||
	    !hex_read(salt, tpm2->salt, sizeof(tpm2->salt)))
		return damaged(problem, "slot %u: what the TPM sealed is malformed", number);
	if (pcrs < 0 || pcrs >= (json_int_t)1 << VAULT_N_PCRS || !bank_read(bank, &tpm2->bank))
		return damaged(problem, "slot %u: no such PCRs", number);
	tpm2->pcrs = (uint32_t)pcrs;
	tpm2->has_pin = pin;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		(void)json_object_del(object, members[i]); /* it is there */
	return 0;
}

/* Take out of object what only slots of its type have. */
static int device_decode(json_t *object, unsigned int number, struct vault_slot_info *info,
			 struct vault_config_problem *problem)
{
	const char *type = json_string_value(json_object_get(object, "type"));

	if (type && strcmp(type, kinds[VAULT_FIDO2]) == 0)
		return token_decode(object, number, &info->token, problem);
	if (type && strcmp(type, kinds[VAULT_TPM2]) == 0)
		return tpm2_decode(object, number, &info->tpm2, problem);
	return 0;
}

static bool is_known(json_t *object)
{
	const char *type = json_string_value(json_object_get(object, "type"));
	enum vault_kind kind;

	return !type || kind_read(type, &kind);
}

static int slot_decode(json_t *object, unsigned int number, struct vault_config_slot *slot,
		       struct vault_config_problem *problem)
{
	struct raw_slot raw;
	int r;

	if (!is_known(object))
		return unknown_decode(object, number, slot, problem);
	r = device_decode(object, number, &slot->info, problem);
	if (r)
		return r;
	if (json_unpack_ex(object, NULL, JSON_STRICT,
			   "{s:I, s:s, s:s, s:{s:s, s:I, s:I !}, s:s, s:s, s:s !}", "id", &raw.id,
			   "type", &raw.type, "label", &raw.label, "kdf", "name", &raw.kdf,
			   "memory", &raw.memory, "operations", &raw.operations, "salt", &raw.salt,
			   "nonce", &raw.nonce, "wrapped", &raw.wrapped))
		return damaged(problem, "slot %u: a member is missing, unknown or mistyped",
			       number);
	return slot_judge(&raw, number, slot, problem);
}

static bool id_is_taken(const struct vault_config *config, uint32_t id)
{
	for (uint32_t i = 0; i < config->n_slots; i++)
		if (config->slots[i].info.id == id)
			return true;
	return false;
}

static int slots_decode(json_t *array, struct vault_config *config,
			struct vault_config_problem *problem)
{
	size_t n = json_array_size(array);

	if (n < 1 || n > VAULT_MAX_SLOTS)
		return damaged(problem, "%zu slots; 1 to %d are possible", n, VAULT_MAX_SLOTS);
	for (size_t i = 0; i < n; i++) {
		struct vault_config_slot *slot = &config->slots[i];
		int r = slot_decode(json_array_get(array, i), (unsigned int)i + 1, slot, problem);

		if (r)
			return r;
		if (id_is_taken(config, slot->info.id))
			return damaged(problem, "two slots have one id");
		config->n_slots++;
	}
	return 0;
}

/*
 * Whether this version may read on.  Asked first and of these members only: a
 * newer configuration may look different everywhere else.
 */
static int reader_check(json_t *object, struct vault_config_problem *problem)
{
	json_int_t version;
	json_int_t min_reader;

	if (json_unpack(object, "{s:I, s:I}", "version", &version, "min_reader", &min_reader) ||
	    version < 1 || min_reader < 1)
		return damaged(problem, "no version in it that makes sense");
	if (version > VAULT_CONFIG_VERSION || min_reader > VAULT_CONFIG_VERSION)
		return too_new(problem, "written in a newer format");
	return 0;
}

static int flag_decode(json_t *value, enum vault_rotation *rotation,
		       struct vault_config_problem *problem)
{
	const char *flag = json_string_value(value);

	for (*rotation = VAULT_COPYING; *rotation <= VAULT_SWITCHED; ++*rotation)
		if (flag && strcmp(flag, rotations[*rotation]) == 0)
			return 0;
	return too_new(problem, "has a feature that this version does not know");
}

/* At most one: the flags there are exclude each other. */
static int flags_decode(json_t *array, struct vault_config *config,
			struct vault_config_problem *problem)
{
	size_t n = json_array_size(array);
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = flag_decode(json_array_get(array, i), &config->rotation, problem);
	return !r && n > 1 ? damaged(problem, "two flags that exclude each other") : r;
}

static int members_decode(json_t *object, struct vault_config *config,
			  struct vault_config_problem *problem)
{
	json_t *flags, *slots;
	json_int_t version, min_reader, created;
	const char *id, *suite, *mac;
	int r;

	if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:I, s:I, s:s, s:s, s:o, s:I, s:o, s:s !}",
			   "version", &version, "min_reader", &min_reader, "id", &id, "suite",
			   &suite, "flags", &flags, "created", &created, "slots", &slots, "mac",
			   &mac) ||
	    !json_is_array(flags) || !json_is_array(slots))
		return damaged(problem, "a member is missing, unknown or mistyped");
	r = flags_decode(flags, config, problem);
	if (r)
		return r;
	if (cipher_by_name(suite, &config->suite))
		return damaged(problem, "unknown cipher suite");
	if (created < 0)
		return damaged(problem, "creation time before 1970");
	if (!hex_read(id, config->id, sizeof(config->id)))
		return damaged(problem, "malformed id");
	if (!hex_read(mac, config->mac, sizeof(config->mac)))
		return damaged(problem, "malformed MAC");
	config->created = created;
	return slots_decode(slots, config, problem);
}

int vault_config_decode_why(const char *json, size_t size, struct vault_config *out,
			    struct vault_config_problem *problem)
{
	struct vault_config_problem unheard;
	json_t *object = NULL;
	json_error_t error;
	int r;

	if (!problem)
		problem = &unheard;
	problem->text[0] = '\0';
	memset(out, 0, sizeof(*out));
	if (size > VAULT_CONFIG_MAX_SIZE)
		return damaged(problem, "larger than 1 MiB");
	object = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
	if (!object)
		return json_error_code(&error) == json_error_out_of_memory
			       ? -ENOMEM
			       : damaged(problem, "not JSON from line %d on", error.line);
	r = reader_check(object, problem);
	if (!r)
		r = members_decode(object, out, problem);
	if (r)
		memset(out, 0, sizeof(*out));
	json_decref(object);
	return r;
}

int vault_config_decode(const char *json, size_t size, struct vault_config *out)
{
	return vault_config_decode_why(json, size, out, NULL);
}

/* ---- authentication ---------------------------------------------------- */

/* Takes object. */
static int canonical(json_t *object, char **text)
{
	*text = NULL;
	if (!object)
		return -EINVAL;
	*text = json_dumps(object, CANONICAL);
	json_decref(object);
	return *text ? 0 : -ENOMEM;
}

int vault_config_mac(const struct vault_config *config, const struct keyring *keys,
		     uint8_t mac[VAULT_CONFIG_MAC_SIZE])
{
	char *text;
	int r = canonical(config_new(config), &text);

	if (r)
		return r;
	r = crypto_generichash(mac, VAULT_CONFIG_MAC_SIZE, (const unsigned char *)text,
			       strlen(text), keys->config, sizeof(keys->config));
	free(text);
	return r ? -EINVAL : 0;
}

/* AAD of a wrapped key: vault id, slot id, canonical parameters of the slot. */
static int slot_aad(const struct vault_config *config, const struct vault_config_slot *slot,
		    uint8_t **aad, size_t *aad_size)
{
	char *text;
	int r = canonical(slot_parameters_new(slot), &text);

	*aad = NULL;
	if (r)
		return r;
	*aad_size = VAULT_ID_SIZE + 4 + strlen(text);
	*aad = malloc(*aad_size);
	if (*aad) {
		memcpy(*aad, config->id, VAULT_ID_SIZE);
		bytes_put32(*aad + VAULT_ID_SIZE, slot->info.id);
		memcpy(*aad + VAULT_ID_SIZE + 4, text, strlen(text));
	}
	free(text);
	return *aad ? 0 : -ENOMEM;
}

int vault_config_wrap(const struct vault_config *config, struct vault_config_slot *slot,
		      const uint8_t kek[VAULT_CONFIG_KEK_SIZE],
		      const uint8_t master[KEYS_MASTER_SIZE])
{
	uint8_t *aad;
	size_t aad_size;
	int r = slot_aad(config, slot, &aad, &aad_size);

	if (r)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_encrypt(slot->wrapped, NULL, master,
						       KEYS_MASTER_SIZE, aad, aad_size, NULL,
						       slot->nonce, kek))
		r = -EINVAL;
	free(aad);
	return r;
}

int vault_config_unwrap(const struct vault_config *config, const struct vault_config_slot *slot,
			const uint8_t kek[VAULT_CONFIG_KEK_SIZE], uint8_t master[KEYS_MASTER_SIZE])
{
	uint8_t *aad;
	size_t aad_size;
	int r = slot_aad(config, slot, &aad, &aad_size);

	if (r)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(master, NULL, NULL, slot->wrapped,
						       sizeof(slot->wrapped), aad, aad_size,
						       slot->nonce, kek)) {
		secmem_wipe(master, KEYS_MASTER_SIZE);
		r = VAULT_WRONG_KEY;
	}
	free(aad);
	return r;
}
