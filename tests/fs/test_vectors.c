/* SPDX-License-Identifier: MIT */
/* The examples of tests/vectors, which another implementation sealed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/bytes.h"
#include "fixture.h"
#include "fs/format.h"
#include "fs/journal_bytes.h"
#include "fs/links.h"
#include "fs/names.h"
#include "fs/place.h"
#include "fs/xattrs.h"

static struct keyring keys;

struct known {
	uint8_t bytes[4096]; /* with a zero behind them */
	size_t size;
};

/* The example of this name; the test fails if there is none. */
static struct known known(const char *name)
{
	struct known k = { .size = 0 };
	char line[2 * sizeof(k.bytes)];
	size_t name_size = strlen(name);
	FILE *f = fopen(KNOWN_ANSWERS, "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *hex = line + name_size + 1;

		if (strncmp(line, name, name_size) == 0 && line[name_size] == ' ')
			assert_int_equal(sodium_hex2bin(k.bytes, sizeof(k.bytes) - 1, hex,
							strlen(hex), "\n", &k.size, NULL),
					 0);
	}
	fclose(f);
	if (k.size == 0)
		fail_msg("no example called %s", name);
	return k;
}

static void check(const char *name, const void *bytes, size_t size)
{
	struct known k = known(name);

	assert_int_equal(k.size, size);
	assert_memory_equal(k.bytes, bytes, size);
}

static void check_text(const char *name, const char *text)
{
	check(name, text, strlen(text));
}

static const struct {
	enum cipher_suite suite;
	const char *header, *small, *half, *block;
} suites[] = {
	{ CIPHER_AES_256_GCM, "header_aes-256-gcm", "small_aes-256-gcm", "half_aes-256-gcm",
	  "block_aes-256-gcm" },
	{ CIPHER_CHACHA20_POLY1305, "header_chacha20-poly1305", "small_chacha20-poly1305",
	  "half_chacha20-poly1305", "block_chacha20-poly1305" },
};

static void keys_are_derived_as_specified(void **state)
{
	uint8_t file_key[32];

	(void)state;
	check("key_names", keys.names, sizeof(keys.names));
	check("key_content", keys.content, sizeof(keys.content));
	check("key_xattr_names", keys.xattr_names, sizeof(keys.xattr_names));
	check("key_xattr_values", keys.xattr_values, sizeof(keys.xattr_values));
	check("key_directory", keys.directory, sizeof(keys.directory));
	check("key_config", keys.config, sizeof(keys.config));
	check("key_links", keys.links, sizeof(keys.links));
	keys_file(&keys, known("file_id").bytes, file_key);
	check("key_file", file_key, sizeof(file_key));
}

static void names_are_stored_as_specified(void **state)
{
	struct known dir_id = known("dir_id");
	struct names_stored stored;
	char plain[NAMES_PLAIN_MAX + 1];

	(void)state;
	assert_int_equal(
		names_encode(&keys, dir_id.bytes, (char *)known("name_short").bytes, &stored), 0);
	check_text("name_short_stored", stored.name);
	assert_int_equal(names_decode(&keys, dir_id.bytes, stored.name, plain), 0);
	check_text("name_short", plain);

	assert_int_equal(
		names_encode(&keys, dir_id.bytes, (char *)known("name_long").bytes, &stored),
		NAMES_LONG);
	check_text("name_long_stored", stored.name);
	check("name_long_sidecar", stored.sealed, stored.sealed_size);
	assert_int_equal(names_decode_long(&keys, dir_id.bytes, stored.name, stored.sealed,
					   stored.sealed_size, plain),
			 0);
	check_text("name_long", plain);
}

static void bindings_and_records_are_made_as_specified(void **state)
{
	struct format_dir_record record = { .bindings = { { 0 } } };
	struct known dir_id = known("dir_id");
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];

	(void)state;
	memcpy(record.id, dir_id.bytes, sizeof(record.id));
	format_binding(&keys, dir_id.bytes, (char *)known("name_short_stored").bytes,
		       record.bindings[0]);
	check("binding", record.bindings[0], FORMAT_BINDING_SIZE);
	format_dir_record_encode(&record, &keys, raw);
	check("record", raw, sizeof(raw));
	assert_int_equal(format_dir_record_decode(raw, sizeof(raw), &keys, &record), 0);
}

/* Open what the engine would: a block, or small content. */
static void check_opens(const struct cipher_key *key, const struct format_half *half,
			uint64_t index, const char *name, const char *plain)
{
	struct known k = known(name);
	uint8_t aad[16];

	bytes_put64(aad, index);
	bytes_put32(aad + 8, half->sequence);
	bytes_put32(aad + 12, (uint32_t)FORMAT_VERSION << 16 | key->suite);
	assert_int_equal(
		cipher_open(key, half->nonce, aad, sizeof(aad), k.bytes, k.size, half->tag), 0);
	assert_string_equal((char *)k.bytes, plain);
}

static void check_header(const struct cipher_key *key, const struct known *raw,
			 struct format_header *header)
{
	uint8_t again[FORMAT_HEADER_SIZE];

	assert_int_equal(raw->size, FORMAT_HEADER_SIZE);
	assert_int_equal(format_header_decode(raw->bytes, key, header), 0);
	assert_int_equal(header->sequence, 7);
	assert_int_equal(header->length, 5);
	assert_int_equal(header->flags, FORMAT_DIRTY | FORMAT_SMALL);
	check("file_id", header->id, sizeof(header->id));
	check("binding", header->bindings[0], FORMAT_BINDING_SIZE);
	assert_int_equal(format_header_encode(header, key, raw->bytes + 48, again), 0);
	assert_memory_equal(again, raw->bytes, sizeof(again));
}

static void files_are_sealed_as_specified(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct known raw = known(suites[i].header);
		struct format_header header;
		struct format_half half = { .sequence = 0 };
		static struct cipher_key key;

		fixture_file_key(&keys, known("file_id").bytes, suites[i].suite, &key);
		check_header(&key, &raw, &header);
		memcpy(half.nonce, header.small_nonce, sizeof(half.nonce));
		memcpy(half.tag, header.small_tag, sizeof(half.tag));
		check_opens(&key, &half, FORMAT_SMALL_INDEX, suites[i].small, "hello");
		format_half_decode(known(suites[i].half).bytes, &half);
		assert_int_equal(half.sequence, 9);
		check_opens(&key, &half, 5, suites[i].block, "block five");
	}
}

/* Of one suite: its record of a block, or of small content. */
static void check_record(const char *name, bool small)
{
	struct known raw = known(name);
	struct journal_record record;
	uint8_t again[sizeof(raw.bytes)];

	assert_true(journal_record_decode(&keys, raw.bytes, raw.size, &record));
	assert_int_equal(record.epoch, 0x1122334455667788);
	check("file_id", record.id, sizeof(record.id));
	assert_int_equal(record.inode, 4711);
	assert_int_equal(record.sequence, 7);
	assert_int_equal(record.block, small ? JOURNAL_SMALL : 5);
	assert_int_equal(record.length, small ? 5 : 5 * 4096 + 10);
	assert_int_equal(record.slot, small);
	assert_int_equal(record.size, raw.size - JOURNAL_RECORD_SIZE);
	assert_int_equal(record.mtime.tv_sec, 1234567890);
	assert_int_equal(record.mtime.tv_nsec, 987654321);
	memcpy(again + JOURNAL_RECORD_SIZE, raw.bytes + JOURNAL_RECORD_SIZE, record.size);
	journal_record_encode(&keys, &record, again);
	assert_memory_equal(again, raw.bytes, raw.size);
}

static void the_journal_is_as_specified(void **state)
{
	struct known part = known("journal_part");
	uint8_t again[JOURNAL_SECTOR];
	struct journal_record record;
	struct known half = known("half_aes-256-gcm");
	struct known block = known("journal_block_aes-256-gcm");

	(void)state;
	assert_int_equal(journal_part_decode(&keys, part.bytes), 0x1122334455667788);
	journal_part_encode(&keys, 0x1122334455667788, again);
	check("journal_part", again, sizeof(again));
	check_record("journal_block_aes-256-gcm", false);
	check_record("journal_small_aes-256-gcm", true);
	check_record("journal_block_chacha20-poly1305", false);
	check_record("journal_small_chacha20-poly1305", true);
	/* The payload is what would lie in place. */
	assert_true(journal_record_decode(&keys, block.bytes, block.size, &record));
	assert_memory_equal(record.half, half.bytes, sizeof(record.half));
	check("block_aes-256-gcm", block.bytes + JOURNAL_RECORD_SIZE, record.size);
}

/* As it would be on a file; memory may have no attributes. */
static void a_place_is_as_specified(void **state)
{
	struct place_record place = { .sequence = 7 };
	struct known raw = known("place");
	char path[] = "/tmp/cryptfs-test-XXXXXX";
	uint8_t found[PLACE_SIZE];
	int fd = mkstemp(path);
	int r;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	memcpy(place.bindings[0], known("binding").bytes, FORMAT_BINDING_SIZE);
	for (uint8_t i = 0; i < FORMAT_BINDING_SIZE; i++)
		place.bindings[1][i] = i;
	r = place_write(fd, &keys, known("file_id").bytes, &place);
	if (!r) {
		assert_int_equal(fgetxattr(fd, PLACE_XATTR, found, sizeof(found)), raw.size);
		assert_memory_equal(found, raw.bytes, raw.size);
	}
	close(fd);
	if (r == -EOPNOTSUPP)
		skip();
	assert_int_equal(r, 0);
}

static void symlinks_open_as_specified(void **state)
{
	struct known dir_id = known("dir_id");
	struct known stored = known("name_short_stored");
	const struct links_place place = { dir_id.bytes, (char *)stored.bytes };
	char target[LINKS_PLAIN_MAX + 1];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct known text = known(i ? "link_text_two" : "link_text");

		assert_int_equal(
			links_open(&keys, CIPHER_AES_256_GCM, (char *)text.bytes, &place, target),
			0);
		assert_string_equal(target, "../target");
	}
}

static void check_xattr(const char *owner_name, const char *name, const char *value)
{
	struct known id = known(owner_name);
	struct known raw = known(value);
	const struct xattrs_owner owner = { id.bytes, id.size };
	char stored[XATTRS_NAME_MAX + 1];

	assert_int_equal(xattrs_name_encode(&keys, &owner, "user.mime_type", stored), 0);
	check_text(name, stored);
	assert_int_equal(xattrs_value_open(&keys, CIPHER_AES_256_GCM, &owner, "user.mime_type",
					   raw.bytes, raw.size),
			 0);
	assert_string_equal((char *)raw.bytes + XATTRS_OVERHEAD, "text/plain");
}

static void attributes_are_sealed_as_specified(void **state)
{
	(void)state;
	check_xattr("file_id", "xattr_name_file_id", "xattr_value_file_id");
	check_xattr("dir_id", "xattr_name_dir_id", "xattr_value_dir_id");
}

/* Pairs "number:answer" of an example; how many there are. */
static int check_pairs(const char *name, uint64_t (*function)(uint64_t))
{
	struct known k = known(name);
	char *pair = (char *)k.bytes;
	int n = 0;

	for (; *pair; n++) {
		uint64_t number = strtoull(pair, &pair, 10);

		assert_int_equal(*pair++, ':');
		assert_int_equal(function(number), strtoull(pair, &pair, 10));
	}
	return n;
}

static void files_are_laid_out_as_specified(void **state)
{
	(void)state;
	assert_int_equal(check_pairs("length", format_length), 9);
	assert_int_equal(check_pairs("entry", format_entry_offset), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_derived_as_specified),
		cmocka_unit_test(names_are_stored_as_specified),
		cmocka_unit_test(bindings_and_records_are_made_as_specified),
		cmocka_unit_test(files_are_sealed_as_specified),
		cmocka_unit_test(the_journal_is_as_specified),
		cmocka_unit_test(a_place_is_as_specified),
		cmocka_unit_test(symlinks_open_as_specified),
		cmocka_unit_test(attributes_are_sealed_as_specified),
		cmocka_unit_test(files_are_laid_out_as_specified),
	};

	alarm(60); /* a hang is a failure */
	assert_int_equal(cipher_init(), 0);
	fixture_keys(&keys);
	return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
