/* SPDX-License-Identifier: MIT */
/*
 * The table of suites: see cipher.h for the contract.
 *
 * cipher_init fills the table once, before threads and children exist; from
 * then on it is only read.
 */
#include "engine/cipher.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/secmem.h"
#include "engine/cipher_impl.h"

enum { N_SUITES = 4 }; /* suite numbers start at 1 */

static const char *const names[N_SUITES] = {
	[CIPHER_AES_256_GCM] = "aes-256-gcm",
	[CIPHER_CHACHA20_POLY1305] = "chacha20-poly1305",
	[CIPHER_XOR] = "xor",
};

/* In order of preference. */
static const struct cipher_aead *const candidates[] = {
#ifdef HAVE_IPSEC_MB
	&cipher_ipsec_aes,
#endif
	&cipher_openssl_aes,
	&cipher_openssl_chacha,
};

static const struct cipher_aead *chosen[N_SUITES];
static _Atomic uint64_t next_serial;

/* A child must not give out the numbers that its parent gives out. */
static void new_serials(void)
{
	uint64_t start;

	if (getrandom(&start, sizeof(start), 0) == (ssize_t)sizeof(start))
		atomic_store(&next_serial, start);
}

static uint64_t take_serial(void)
{
	uint64_t serial;

	do
		serial = atomic_fetch_add(&next_serial, 1);
	while (!serial); /* 0 stands for "no key" */
	return serial;
}

static bool has_aes_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	return getauxval(AT_HWCAP) & HWCAP_AES;
#else
	return false;
#endif
}

static bool is_left_out(const struct cipher_aead *a)
{
#ifdef HAVE_IPSEC_MB
	const char *wish = getenv("CRYPTFS_CIPHER");

	return a == &cipher_ipsec_aes && wish && strcmp(wish, "openssl") == 0;
#else
	(void)a;
	return false;
#endif
}

/* The n-th of the suite's implementations that run here, or NULL. */
static const struct cipher_aead *nth(enum cipher_suite suite, unsigned int n)
{
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		const struct cipher_aead *a = candidates[i];

		if (a->suite != suite || is_left_out(a) || a->prepare(a) || !cipher_kat_passes(a))
			continue;
		if (!n--)
			return a;
	}
	return NULL;
}

int cipher_init(void)
{
	static bool done;

	if (done)
		return 0;
	new_serials();
	if (pthread_atfork(NULL, NULL, new_serials))
		return -ENOMEM;
	for (enum cipher_suite s = CIPHER_AES_256_GCM; s < CIPHER_XOR; s++) {
		chosen[s] = nth(s, 0);
		if (!chosen[s])
			return -ENOSYS;
	}
	done = true;
	return 0;
}

const char *cipher_name(enum cipher_suite suite)
{
	return (unsigned int)suite < N_SUITES ? names[suite] : NULL;
}

int cipher_by_name(const char *name, enum cipher_suite *suite)
{
	for (unsigned int i = 1; i < N_SUITES; i++) {
		if (strcmp(name, names[i]) == 0) {
			*suite = (enum cipher_suite)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *cipher_implementation(enum cipher_suite suite)
{
	if (suite == CIPHER_XOR)
		return cipher_xor_implementation();
	return (unsigned int)suite < N_SUITES && chosen[suite] ? chosen[suite]->name : NULL;
}

const char *cipher_implementation_at(enum cipher_suite suite, unsigned int i)
{
	const struct cipher_aead *a = nth(suite, i);

	if (suite == CIPHER_XOR)
		return i ? NULL : cipher_xor_implementation();
	return a ? a->name : NULL;
}

int cipher_choose(enum cipher_suite suite, unsigned int i)
{
	const struct cipher_aead *a = nth(suite, i);

	if (suite == CIPHER_XOR)
		return i ? -EINVAL : 0;
	if (!a)
		return -EINVAL;
	chosen[suite] = a;
	return 0;
}

enum cipher_suite cipher_default(void)
{
	return has_aes_instructions() ? CIPHER_AES_256_GCM : CIPHER_CHACHA20_POLY1305;
}

/* What runs this key, or NULL: the number may come from shared memory. */
static const struct cipher_aead *runs(uint32_t suite)
{
	return suite < N_SUITES ? chosen[suite] : NULL;
}

void cipher_impl_key(const struct cipher_aead *a, struct cipher_key *key, const uint8_t *secret)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->secret, secret, CIPHER_KEY_SIZE);
	key->suite = a->suite;
	key->serial = take_serial();
	if (a->schedule)
		a->schedule(key);
}

int cipher_key_set(struct cipher_key *key, enum cipher_suite suite, const uint8_t *secret)
{
	const struct cipher_aead *a = runs(suite);

	if (!a)
		return -EINVAL;
	cipher_impl_key(a, key, secret);
	return 0;
}

int cipher_seal(const struct cipher_key *key, const uint8_t nonce[CIPHER_NONCE_SIZE],
		const void *aad, size_t aad_size, void *data, size_t size,
		uint8_t tag[CIPHER_TAG_SIZE])
{
	const struct cipher_aead *a = runs(key->suite);
	const struct cipher_piece p = { nonce, aad, aad_size, data, size };

	return a ? a->seal(key, &p, tag) : -EINVAL;
}

int cipher_open(const struct cipher_key *key, const uint8_t nonce[CIPHER_NONCE_SIZE],
		const void *aad, size_t aad_size, void *data, size_t size,
		const uint8_t tag[CIPHER_TAG_SIZE])
{
	const struct cipher_aead *a = runs(key->suite);
	const struct cipher_piece p = { nonce, aad, aad_size, data, size };
	int r = a ? a->open(key, &p, tag) : -EINVAL;

	if (r)
		secmem_wipe(data, size);
	return r;
}

void cipher_thread_fini(void)
{
	cipher_openssl_thread_fini();
}
