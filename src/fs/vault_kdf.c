/* SPDX-License-Identifier: MIT */
/* Argon2id: see vault_kdf.h for the contract. */
#include "fs/vault_kdf.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/secmem.h"
#include "fs/vault_why.h"

#define MIB ((uint64_t)1 << 20)

#define MEMORY_DEFAULT (256 * MIB)
#define TARGET_NS      UINT64_C(1000000000)

/* Bytes of one line of /proc/meminfo, or 0 where it cannot be read. */
static uint64_t meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0 &&
		    sscanf(line + strlen(name), ": %" SCNu64 " kB", &kib) == 1)
			break;
	(void)fclose(f); /* only read */
	return kib * 1024;
}

/* Room counts swap: better slow than locked out of one's files. */
static int room_check(uint64_t memory)
{
	uint64_t available = meminfo("MemAvailable");

	if (!available || memory <= available + meminfo("SwapFree"))
		return 0;
	vault_why_set("key derivation needs %" PRIu64 " MiB of memory, only %" PRIu64
		      " MiB are free (close other programs, or add swap)",
		      memory / MIB, available / MIB);
	return -ENOMEM;
}

int vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
		  const struct vault_secret *secret, uint8_t kek[VAULT_CONFIG_KEK_SIZE])
{
	int r = room_check(kdf->memory);

	if (r)
		return r;
	if (crypto_pwhash(kek, VAULT_CONFIG_KEK_SIZE, (const char *)secret->bytes, secret->size,
			  salt, kdf->operations, kdf->memory, crypto_pwhash_ALG_ARGON2ID13)) {
		secmem_wipe(kek, VAULT_CONFIG_KEK_SIZE);
		vault_why_set("key derivation failed: no %" PRIu64 " MiB of memory to be had",
			      kdf->memory / MIB);
		return -ENOMEM;
	}
	return 0;
}

static uint64_t memory_default(void)
{
	uint64_t quarter = meminfo("MemAvailable") / 4 / MIB * MIB;

	if (!quarter || quarter > MEMORY_DEFAULT)
		return MEMORY_DEFAULT;
	return quarter < VAULT_KDF_MEMORY_FLOOR ? VAULT_KDF_MEMORY_FLOOR : quarter;
}

/* The thread's own time: a busy machine must not make slots weaker. */
static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* cannot fail */
	return (uint64_t)t.tv_sec * TARGET_NS + (uint64_t)t.tv_nsec;
}

/* Argon2id takes time in proportion to its operations: measure the floor. */
static int operations_calibrate(struct vault_kdf *kdf)
{
	const uint8_t salt[VAULT_CONFIG_SALT_SIZE] = { 0 };
	const struct vault_secret secret = {
		.bytes = (const uint8_t *)"calibration",
		.size = 11,
	};
	uint8_t kek[VAULT_CONFIG_KEK_SIZE]; /* of nothing: no secret */
	uint64_t start = now_ns();
	uint64_t taken;
	int r;

	kdf->operations = VAULT_KDF_OPERATIONS_FLOOR;
	r = vault_kdf_run(kdf, salt, &secret, kek);
	if (r)
		return r;
	taken = now_ns() - start + 1;
	kdf->operations = kdf->operations * TARGET_NS / taken;
	if (kdf->operations < VAULT_KDF_OPERATIONS_FLOOR)
		kdf->operations = VAULT_KDF_OPERATIONS_FLOOR;
	if (kdf->operations > VAULT_CONFIG_KDF_OPERATIONS_MAX)
		kdf->operations = VAULT_CONFIG_KDF_OPERATIONS_MAX;
	return 0;
}

int vault_kdf_choose(struct vault_kdf *kdf)
{
	if (!kdf->memory)
		kdf->memory = memory_default();
	if (kdf->memory < VAULT_KDF_MEMORY_FLOOR || kdf->memory > VAULT_CONFIG_KDF_MEMORY_MAX) {
		vault_why_set("key derivation takes 64 to 4096 MiB of memory");
		return -EINVAL;
	}
	if (!kdf->operations)
		return operations_calibrate(kdf);
	if (kdf->operations < VAULT_KDF_OPERATIONS_FLOOR ||
	    kdf->operations > VAULT_CONFIG_KDF_OPERATIONS_MAX) {
		vault_why_set("key derivation takes 3 to 64 operations");
		return -EINVAL;
	}
	return 0;
}
