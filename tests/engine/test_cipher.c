/* SPDX-License-Identifier: MIT */
/*
 * Published vectors for every implementation of every suite, and that the
 * implementations of one suite make the same bytes.
 *
 * AES-256-GCM: test cases 13 to 16 of "The Galois/Counter Mode of Operation",
 * submitted to NIST for SP 800-38D.  ChaCha20-Poly1305: RFC 8439, 2.8.2 and
 * appendix A.5.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/cipher_impl.h"

struct vector {
	const char *key;
	const char *nonce;
	const char *aad;
	const char *plain;
	const char *sealed;
	const char *tag;
};

#define K16 "feffe9928665731c6d6a8f9467308308"
#define P15                                                                                        \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                         \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define C15                                                                                        \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                         \
	"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
#define Z16 "00000000000000000000000000000000"

static const struct vector aes_vectors[] = {
	{ Z16 Z16, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
	{ Z16 Z16, "000000000000000000000000", "", Z16, "cea7403d4d606b6e074ec5d3baf39d18",
	  "d0d1c8a799996bf0265b98b5d48ab919" },
	{ K16 K16, "cafebabefacedbaddecaf888", "", P15 "1aafd255", C15 "898015ad",
	  "b094dac5d93471bdec1a502270e3cc6c" },
	{ K16 K16, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2", P15, C15,
	  "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static const struct vector chacha_vectors[] = {
	{ "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
	  "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
	  "4c616469657320616e642047656e746c656d656e206f662074686520636c6173"
	  "73206f66202739393a204966204920636f756c64206f6666657220796f75206f"
	  "6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
	  "637265656e20776f756c642062652069742e",
	  "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
	  "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
	  "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
	  "3ff4def08e4b7a9de576d26586cec64b6116",
	  "1ae10b594f09e26a7e902ecbd0600691" },
	{ "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
	  "000000000102030405060708", "f33388860000000000004e91",
	  "496e7465726e65742d4472616674732061726520647261667420646f63756d65"
	  "6e74732076616c696420666f722061206d6178696d756d206f6620736978206d"
	  "6f6e74687320616e64206d617920626520757064617465642c207265706c6163"
	  "65642c206f72206f62736f6c65746564206279206f7468657220646f63756d65"
	  "6e747320617420616e792074696d652e20497420697320696e617070726f7072"
	  "6961746520746f2075736520496e7465726e65742d4472616674732061732072"
	  "65666572656e6365206d6174657269616c206f7220746f206369746520746865"
	  "6d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67"
	  "726573732e2fe2809d",
	  "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
	  "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
	  "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
	  "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
	  "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
	  "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
	  "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
	  "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
	  "a6ad5cb4022b02709b",
	  "eead9d67890cbb22392336fea1851f38" },
};

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned int v;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

/* One implementation, called as cipher.c calls it. */
static void check_vector(const struct cipher_aead *a, const struct vector *v)
{
	uint8_t secret[32], nonce[12], aad[64], plain[300], sealed[300], data[300];
	uint8_t right_tag[16], tag[16];
	static struct cipher_key key;
	struct cipher_piece p = { .nonce = nonce, .aad = aad, .data = data };

	assert_int_equal(unhex(v->key, secret), 32);
	assert_int_equal(unhex(v->nonce, nonce), 12);
	assert_int_equal(unhex(v->tag, right_tag), 16);
	p.aad_size = unhex(v->aad, aad);
	p.size = unhex(v->plain, plain);
	assert_int_equal(unhex(v->sealed, sealed), p.size);
	assert_int_equal(a->prepare(a), 0);
	cipher_impl_key(a, &key, secret);

	memcpy(data, plain, sizeof(data));
	assert_int_equal(a->seal(&key, &p, tag), 0);
	assert_memory_equal(tag, right_tag, 16);
	assert_memory_equal(data, sealed, p.size);
	assert_int_equal(a->open(&key, &p, tag), 0);
	assert_memory_equal(data, plain, p.size);
	for (int bit = 0; bit < 128; bit++) {
		memcpy(data, sealed, sizeof(data));
		tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(a->open(&key, &p, tag), CIPHER_FORGED);
		tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void published_vectors_come_out_of_openssl(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(aes_vectors) / sizeof(aes_vectors[0]); i++)
		check_vector(&cipher_openssl_aes, &aes_vectors[i]);
	for (size_t i = 0; i < sizeof(chacha_vectors) / sizeof(chacha_vectors[0]); i++)
		check_vector(&cipher_openssl_chacha, &chacha_vectors[i]);
}

#ifdef HAVE_IPSEC_MB
static bool ipsec_runs(void)
{
	return !cipher_ipsec_aes.prepare(&cipher_ipsec_aes);
}

static void published_vectors_come_out_of_ipsec_mb(void **state)
{
	(void)state;
	if (!ipsec_runs())
		skip();
	for (size_t i = 0; i < sizeof(aes_vectors) / sizeof(aes_vectors[0]); i++)
		check_vector(&cipher_ipsec_aes, &aes_vectors[i]);
}

static size_t random_below(size_t n)
{
	uint32_t r;

	assert_int_equal(getrandom(&r, sizeof(r), 0), sizeof(r));
	return r % n;
}

static void ipsec_mb_and_openssl_make_the_same_bytes(void **state)
{
	static uint8_t a_data[9000], b_data[9000], plain[9000];
	uint8_t secret[32], nonce[12], aad[100], a_tag[16], b_tag[16];
	static struct cipher_key a_key, b_key;
	struct cipher_piece a = { .nonce = nonce, .aad = aad, .data = a_data };
	struct cipher_piece b = { .nonce = nonce, .aad = aad, .data = b_data };

	(void)state;
	if (!ipsec_runs())
		skip();
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(getrandom(secret, sizeof(secret), 0), sizeof(secret));
		assert_int_equal(getrandom(nonce, sizeof(nonce), 0), sizeof(nonce));
		assert_int_equal(getrandom(aad, sizeof(aad), 0), sizeof(aad));
		assert_int_equal(getrandom(plain, 256, 0), 256);
		memmove(plain + random_below(8000), plain, 256);
		a.size = b.size = random_below(i % 2 ? 600 : sizeof(plain));
		a.aad_size = b.aad_size = random_below(sizeof(aad));
		memcpy(a_data, plain, sizeof(plain));
		memcpy(b_data, plain, sizeof(plain));
		cipher_impl_key(&cipher_ipsec_aes, &a_key, secret);
		cipher_impl_key(&cipher_openssl_aes, &b_key, secret);
		assert_int_equal(cipher_ipsec_aes.seal(&a_key, &a, a_tag), 0);
		assert_int_equal(cipher_openssl_aes.seal(&b_key, &b, b_tag), 0);
		assert_memory_equal(a_data, b_data, sizeof(a_data));
		assert_memory_equal(a_tag, b_tag, 16);
		/* And each opens the other's. */
		assert_int_equal(cipher_ipsec_aes.open(&a_key, &a, b_tag), 0);
		assert_int_equal(cipher_openssl_aes.open(&b_key, &b, a_tag), 0);
		assert_memory_equal(a_data, plain, sizeof(plain));
		assert_memory_equal(b_data, plain, sizeof(plain));
	}
}
#endif

static const uint8_t secret_a[32] = "the first key of these tests...";
static const uint8_t secret_b[32] = "and the second one of them......";
static const uint8_t nonce0[12];

static void a_forgery_gives_no_bytes(void **state)
{
	static const uint8_t zeros[5000];
	uint8_t data[5000];
	uint8_t tag[16];
	static struct cipher_key key;

	(void)state;
	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_CHACHA20_POLY1305; s++) {
		assert_int_equal(cipher_key_set(&key, s, secret_a), 0);
		for (int what = 0; what < 4; what++) {
			uint8_t nonce[12] = { 1 };
			uint8_t aad[16] = { 2 };

			memset(data, 'x', sizeof(data));
			assert_int_equal(cipher_seal(&key, nonce, aad, 16, data, 5000, tag), 0);
			switch (what) {
			case 0:
				data[4999] ^= 1;
				break;
			case 1:
				tag[7] ^= 1;
				break;
			case 2:
				aad[15] ^= 1;
				break;
			default:
				nonce[11] ^= 1;
			}
			assert_int_equal(cipher_open(&key, nonce, aad, 16, data, 5000, tag),
					 CIPHER_FORGED);
			assert_memory_equal(data, zeros, sizeof(data));
		}
	}
}

static void nothing_can_be_sealed_and_opened(void **state)
{
	static struct cipher_key key;
	uint8_t tag[16];

	(void)state;
	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_CHACHA20_POLY1305; s++) {
		uint8_t none = 0;

		assert_int_equal(cipher_key_set(&key, s, secret_a), 0);
		assert_int_equal(cipher_seal(&key, nonce0, "aad", 3, &none, 0, tag), 0);
		assert_int_equal(cipher_open(&key, nonce0, "aad", 3, &none, 0, tag), 0);
		assert_int_equal(cipher_open(&key, nonce0, "aae", 3, &none, 0, tag), CIPHER_FORGED);
		assert_int_equal(cipher_seal(&key, nonce0, "", 0, &none, 0, tag), 0);
		assert_int_equal(cipher_open(&key, nonce0, "", 0, &none, 0, tag), 0);
	}
}

/* Contexts are cached by serial: two keys in turn must not be mixed up. */
static void keys_in_turn_stay_apart(void **state)
{
	uint8_t first[2][64];
	uint8_t tags[2][16];
	static struct cipher_key keys[2];

	(void)state;
	for (enum cipher_suite s = CIPHER_AES_256_GCM; s <= CIPHER_CHACHA20_POLY1305; s++) {
		assert_int_equal(cipher_key_set(&keys[0], s, secret_a), 0);
		assert_int_equal(cipher_key_set(&keys[1], s, secret_b), 0);
		assert_true(keys[0].serial != keys[1].serial);
		for (int i = 0; i < 2; i++) {
			memset(first[i], 0, sizeof(first[i]));
			cipher_seal(&keys[i], nonce0, "", 0, first[i], 64, tags[i]);
		}
		assert_memory_not_equal(first[0], first[1], 64);
		for (int i = 0; i < 10; i++) {
			uint8_t data[64] = { 0 };
			uint8_t tag[16];
			int k = i % 2;

			assert_int_equal(cipher_seal(&keys[k], nonce0, "", 0, data, 64, tag), 0);
			assert_memory_equal(data, first[k], 64);
			assert_memory_equal(tag, tags[k], 16);
			assert_int_equal(cipher_open(&keys[!k], nonce0, "", 0, data, 64, tag),
					 CIPHER_FORGED);
			memcpy(data, first[k], 64);
			assert_int_equal(cipher_open(&keys[k], nonce0, "", 0, data, 64, tag), 0);
		}
		/* The same place with another key in it. */
		assert_int_equal(cipher_key_set(&keys[0], s, secret_b), 0);
		memset(first[0], 0, 64);
		cipher_seal(&keys[0], nonce0, "", 0, first[0], 64, tags[0]);
		assert_memory_equal(first[0], first[1], 64);
	}
}

static void a_child_gives_out_other_serials(void **state)
{
	static struct cipher_key key;
	int ends[2];
	uint64_t theirs;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		cipher_key_set(&key, CIPHER_AES_256_GCM, secret_a);
		_exit(write(ends[1], &key.serial, sizeof(key.serial)) != sizeof(key.serial));
	}
	assert_int_equal(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	cipher_key_set(&key, CIPHER_AES_256_GCM, secret_a);
	assert_true(key.serial - theirs + 1000 > 2000);
	close(ends[0]);
	close(ends[1]);
}

static void *seal_in_a_thread(void *arg)
{
	const struct cipher_key *keys = arg;
	uint8_t data[4096] = { 0 };
	uint8_t tag[16];

	for (int i = 0; i < 200; i++) {
		const struct cipher_key *k = &keys[i % 2];

		if (cipher_seal(k, nonce0, "", 0, data, sizeof(data), tag) ||
		    cipher_open(k, nonce0, "", 0, data, sizeof(data), tag))
			return arg;
	}
	cipher_thread_fini();
	return NULL;
}

static void threads_share_keys(void **state)
{
	static struct cipher_key keys[2];
	pthread_t threads[3];
	void *failed;

	(void)state;
	assert_int_equal(cipher_key_set(&keys[0], CIPHER_AES_256_GCM, secret_a), 0);
	assert_int_equal(cipher_key_set(&keys[1], CIPHER_CHACHA20_POLY1305, secret_b), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, seal_in_a_thread, keys), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

/* CryptStream's definition, spelled out. */
static void xor_repeats_the_key_to_256_bytes_from_the_start_of_the_file(void **state)
{
	static const size_t sizes[] = { 1, 3, 32, 200, 255, 256, 300 };
	uint8_t secret[300];
	uint8_t data[1000];
	static struct cipher_key key;

	(void)state;
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)(i * 7 + 1);
	for (size_t n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
		size_t size = sizes[n] < 256 ? sizes[n] : 256;

		assert_int_equal(cipher_key_set_xor(&key, secret, sizes[n]), 0);
		for (uint64_t position = 0; position < 600; position += 37) {
			memset(data, 0x5a, sizeof(data));
			cipher_xor(&key, position, data, 990);
			for (size_t i = 0; i < 990; i++)
				assert_int_equal(data[i],
						 0x5a ^ secret[((position + i) % 256) % size]);
			assert_int_equal(data[990], 0x5a);
		}
	}
	cipher_key_set_xor(&key, (const uint8_t *)"Key", 3);
	memcpy(data, "Attack", 6);
	cipher_xor(&key, 0, data, 6);
	assert_memory_equal(data, "\x0a\x11\x0d\x2a\x06\x12", 6);
}

static void unsound_keys_are_refused(void **state)
{
	static struct cipher_key key = { .suite = 9 };
	uint8_t data[4] = "abc";
	uint8_t tag[16] = { 0 };

	(void)state;
	assert_int_equal(cipher_key_set_xor(&key, secret_a, 0), -EINVAL);
	assert_int_equal(cipher_key_set(&key, CIPHER_XOR, secret_a), -EINVAL);
	assert_int_equal(cipher_key_set(&key, (enum cipher_suite)0, secret_a), -EINVAL);
	assert_int_equal(cipher_key_set(&key, (enum cipher_suite)4, secret_a), -EINVAL);
	key.suite = 4000000000U; /* what somebody may have written into shared memory */
	assert_int_equal(cipher_seal(&key, nonce0, "", 0, data, 4, tag), -EINVAL);
	assert_int_equal(cipher_open(&key, nonce0, "", 0, data, 4, tag), -EINVAL);
	assert_memory_equal(data, "\0\0\0\0", 4);
}

static void suites_have_names_and_implementations(void **state)
{
	enum cipher_suite s;

	(void)state;
	for (enum cipher_suite i = CIPHER_AES_256_GCM; i <= CIPHER_XOR; i++) {
		assert_int_equal(cipher_by_name(cipher_name(i), &s), 0);
		assert_int_equal(s, i);
		assert_non_null(cipher_implementation(i));
	}
	if (getenv("CRYPTFS_CIPHER"))
		assert_string_equal(cipher_implementation(CIPHER_AES_256_GCM), "OpenSSL");
	assert_string_equal(cipher_name(CIPHER_AES_256_GCM), "aes-256-gcm");
	assert_null(cipher_name((enum cipher_suite)0));
	assert_null(cipher_name((enum cipher_suite)4));
	assert_int_equal(cipher_by_name("rot13", &s), -EINVAL);
	assert_int_equal(cipher_by_name("", &s), -EINVAL);
	assert_true(cipher_default() != CIPHER_XOR);
}

static void every_implementation_can_be_chosen(void **state)
{
	const enum cipher_suite suite = CIPHER_AES_256_GCM;
	static struct cipher_key key;
	static const uint8_t zeros[CIPHER_KEY_SIZE];
	uint8_t tag[CIPHER_TAG_SIZE];
	unsigned int i;

	(void)state;
	for (i = 0; cipher_implementation_at(suite, i); i++) {
		assert_int_equal(cipher_choose(suite, i), 0);
		assert_string_equal(cipher_implementation(suite),
				    cipher_implementation_at(suite, i));
		assert_int_equal(cipher_key_set(&key, suite, zeros), 0);
		assert_int_equal(cipher_seal(&key, zeros, "", 0, tag, 0, tag), 0);
		assert_memory_equal(tag, "\x53\x0f\x8a\xfb\xc7\x45\x36\xb9", 8);
	}
	assert_true(i >= 1);
	assert_int_equal(cipher_choose(suite, i), -EINVAL);
	assert_int_equal(cipher_choose(CIPHER_XOR, 1), -EINVAL);
	assert_null(cipher_implementation_at((enum cipher_suite)4, 0));
	assert_int_equal(cipher_choose(suite, 0), 0);
}

static int init(void **state)
{
	(void)state;
	return cipher_init();
}

static int fini(void **state)
{
	(void)state;
	cipher_thread_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_come_out_of_openssl),
#ifdef HAVE_IPSEC_MB
		cmocka_unit_test(published_vectors_come_out_of_ipsec_mb),
		cmocka_unit_test(ipsec_mb_and_openssl_make_the_same_bytes),
#endif
		cmocka_unit_test(a_forgery_gives_no_bytes),
		cmocka_unit_test(nothing_can_be_sealed_and_opened),
		cmocka_unit_test(keys_in_turn_stay_apart),
		cmocka_unit_test(a_child_gives_out_other_serials),
		cmocka_unit_test(threads_share_keys),
		cmocka_unit_test(xor_repeats_the_key_to_256_bytes_from_the_start_of_the_file),
		cmocka_unit_test(unsound_keys_are_refused),
		cmocka_unit_test(suites_have_names_and_implementations),
		cmocka_unit_test(every_implementation_can_be_chosen),
	};

	alarm(60); /* a hang is a failure */
	return cmocka_run_group_tests_name("cipher", tests, init, fini);
}
