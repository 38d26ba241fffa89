/* SPDX-License-Identifier: MIT */
/* Directory records: what has the right MAC must encode to the same bytes again. */
#include "fuzz.h"

#include <sodium.h>

#include "fs/format.h"

static void set_mac(uint8_t raw[FORMAT_DIR_RECORD_SIZE])
{
	uint8_t message[6 + 56] = "dirrec";

	memcpy(message + 6, raw, 56);
	(void)crypto_generichash(raw + 56, 16, message, sizeof(message), fuzz_keys()->directory,
				 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[FORMAT_DIR_RECORD_SIZE];
	uint8_t again[FORMAT_DIR_RECORD_SIZE];
	struct format_dir_record record;
	int sealed = size && data[0] & 1;

	if (!size)
		return 0;
	if (!sealed) {
		CHECK(format_dir_record_decode(data + 1, size - 1, fuzz_keys(), &record) != 0);
		return 0;
	}
	fuzz_fill(raw, sizeof(raw), data + 1, size - 1);
	set_mac(raw);
	if (format_dir_record_decode(raw, sizeof(raw), fuzz_keys(), &record) != 0) {
		CHECK(memcmp(raw, "cryptfsD", 8) != 0);
		return 0;
	}
	format_dir_record_encode(&record, fuzz_keys(), again);
	CHECK(memcmp(raw, again, sizeof(raw)) == 0);
	return 0;
}
