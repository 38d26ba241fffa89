/* SPDX-License-Identifier: MIT */
/* Tag entries, and the layout that follows from a backing size anyone may set. */
#include "fuzz.h"

#include "base/bytes.h"
#include "fs/format.h"

static void check_entry(const uint8_t raw[FORMAT_ENTRY_SIZE])
{
	uint8_t again[FORMAT_ENTRY_SIZE];
	struct format_half halves[2];
	int current = format_entry_current(raw);

	for (int i = 0; i < 2; i++) {
		format_half_decode(raw + i * FORMAT_HALF_SIZE, &halves[i]);
		format_half_encode(&halves[i], again + i * FORMAT_HALF_SIZE);
	}
	CHECK(memcmp(raw, again, sizeof(again)) == 0);
	CHECK(current == 0 || current == 1);
	CHECK(halves[current].sequence || !halves[!current].sequence);
	if (format_entry_is_hole(raw))
		CHECK(current == 0 && halves[0].sequence == 0 && halves[1].sequence == 0);
}

/* A file may be cut anywhere: nothing before the end may be lost or invented. */
static void check_size(uint64_t size)
{
	uint64_t length = format_length(size);
	uint64_t last;

	if (size < FORMAT_BLOCK_SIZE) {
		CHECK(length <= FORMAT_SMALL_MAX);
		return;
	}
	CHECK(length <= size - FORMAT_BLOCK_SIZE);
	CHECK(format_big_size(length) <= size);
	CHECK(size - format_big_size(length) <= FORMAT_BLOCK_SIZE);
	if (!length)
		return;
	last = (length - 1) / FORMAT_BLOCK_SIZE;
	CHECK(format_block_offset(last) < size);
	CHECK(format_entry_offset(last) + FORMAT_ENTRY_SIZE <= format_block_offset(last));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[FORMAT_ENTRY_SIZE + 8];

	fuzz_fill(raw, sizeof(raw), data, size);
	check_entry(raw);
	check_size(bytes_get64(raw + FORMAT_ENTRY_SIZE) & INT64_MAX); /* an off_t */
	return 0;
}
