/* SPDX-License-Identifier: MIT */
/*
 * The journal: records as they are and sealed by us, alone and as a whole file that
 * was left behind.  What is a record must encode to the same bytes again, be sane,
 * and have its payload within the bytes.
 */
#include "fuzz.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "fs/journal.h"

enum { HEAD = 144, MAX = JOURNAL_RECORD_SIZE + JOURNAL_PAYLOAD_MAX };

static void set_mac(uint8_t *raw, size_t payload_size)
{
	static uint8_t message[7 + HEAD + JOURNAL_PAYLOAD_MAX] = "journal";

	memcpy(message + 7, raw, HEAD);
	memcpy(message + 7 + HEAD, raw + JOURNAL_RECORD_SIZE, payload_size);
	(void)crypto_generichash(raw + HEAD, 16, message, 7 + HEAD + payload_size,
				 fuzz_keys()->directory, 32);
}

static void check_sane(const struct journal_record *r, size_t size)
{
	uint64_t end = r->block * FORMAT_BLOCK_SIZE + r->size;

	CHECK(r->size <= JOURNAL_PAYLOAD_MAX && r->size + JOURNAL_RECORD_SIZE <= size);
	CHECK(r->slot < 2 && r->length <= FORMAT_MAX_LENGTH && r->mtime.tv_nsec < 1000000000);
	if (r->block == JOURNAL_SMALL)
		CHECK(r->size > FORMAT_HEADER_SIZE && r->length <= FORMAT_SMALL_MAX);
	else
		CHECK(r->size && end > r->block && end <= r->length);
}

static void one_record(const uint8_t *data, size_t size, int sealed)
{
	static uint8_t raw[MAX];
	static uint8_t again[MAX];
	struct journal_record record;
	size_t n = fuzz_fill(raw, sizeof(raw), data, size);
	uint32_t payload = bytes_get32(raw + 84);

	if (!sealed) {
		CHECK(!journal_record_decode(fuzz_keys(), raw, n, &record));
		return;
	}
	memcpy(raw, "cryptfsR", 8);
	if (payload > JOURNAL_PAYLOAD_MAX)
		payload %= JOURNAL_PAYLOAD_MAX + 1;
	bytes_put32(raw + 84, payload);
	set_mac(raw, payload);
	if (!journal_record_decode(fuzz_keys(), raw, JOURNAL_RECORD_SIZE + (size_t)payload,
				   &record))
		return;
	check_sane(&record, JOURNAL_RECORD_SIZE + (size_t)payload);
	CHECK(!journal_record_decode(fuzz_keys(), raw, JOURNAL_RECORD_SIZE + (size_t)payload - 1,
				     &record));
	memcpy(again + JOURNAL_RECORD_SIZE, raw + JOURNAL_RECORD_SIZE, payload);
	CHECK(journal_record_decode(fuzz_keys(), raw, sizeof(raw), &record));
	journal_record_encode(fuzz_keys(), &record, again);
	CHECK(memcmp(raw, again, JOURNAL_RECORD_SIZE + (size_t)payload) == 0);
}

/* In two parts: in each a head, sealed as the first byte says, and what is sealed in it. */
static void whole_journal(const uint8_t *data, size_t size)
{
	static uint8_t raw[8 * JOURNAL_SECTOR * 2];
	struct journal_record *records;
	struct journal *journal;
	size_t n;
	int fd;

	fuzz_fill(raw, sizeof(raw), data, size);
	for (size_t part = 0; part < 2; part++) {
		uint8_t *start = raw + part * sizeof(raw) / 2;

		journal_part_encode(fuzz_keys(), start[0] % 3, start);
		for (size_t at = JOURNAL_SECTOR; at < sizeof(raw) / 2; at += JOURNAL_SECTOR) {
			uint8_t *record = start + at;
			uint32_t payload = bytes_get32(record + 84);

			if (!(record[0] & 1) ||
			    payload > sizeof(raw) / 2 - at - JOURNAL_RECORD_SIZE)
				continue;
			memcpy(record, "cryptfsR", 8);
			bytes_put64(record + 8, record[8] % 3);
			set_mac(record, payload);
		}
	}
	fd = memfd_create("journal", MFD_CLOEXEC);
	CHECK(fd >= 0 && write(fd, raw, sizeof(raw)) == (ssize_t)sizeof(raw));
	CHECK(journal_load_from(fd, fuzz_keys(), &journal, &records, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		check_sane(&records[i], sizeof(raw));
		CHECK(records[i].at + records[i].size <= sizeof(raw));
		CHECK(!i || records[i].epoch >= records[i - 1].epoch);
	}
	free(records);
	journal_free(journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 2)
		whole_journal(data + 1, size - 1);
	else
		one_record(data + 1, size - 1, data[0] & 1);
	return 0;
}
