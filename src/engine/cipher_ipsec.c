/* SPDX-License-Identifier: MIT */
/*
 * AES-256-GCM through intel-ipsec-mb's direct API.  The manager is made once,
 * before any fork, and only read afterwards.
 */
#include "engine/cipher_impl.h"

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/secmem.h"

_Static_assert(sizeof(struct gcm_key_data) <= sizeof(((struct cipher_key *)0)->schedule),
	       "the schedule does not fit");
_Static_assert(_Alignof(struct gcm_key_data) <= _Alignof(struct cipher_key),
	       "the schedule is not aligned");

static IMB_MGR *mgr;

static int prepare(const struct cipher_aead *a)
{
	(void)a;
	if (mgr)
		return 0;
	/* Without these it would emulate, and emulation leaks through time. */
	if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul"))
		return -ENOSYS;
	mgr = alloc_mb_mgr(0);
	if (!mgr)
		return -ENOMEM;
	init_mb_mgr_auto(mgr, NULL);
	if (imb_get_errno(mgr)) {
		free_mb_mgr(mgr);
		mgr = NULL;
		return -ENOSYS;
	}
	return 0;
}

static void schedule(struct cipher_key *key)
{
	IMB_AES256_GCM_PRE(mgr, key->secret, (struct gcm_key_data *)(void *)key->schedule);
}

static const struct gcm_key_data *schedule_of(const struct cipher_key *key)
{
	return (const struct gcm_key_data *)(const void *)key->schedule;
}

static int seal(const struct cipher_key *key, const struct cipher_piece *p, uint8_t *tag)
{
	struct gcm_context_data c;

	IMB_AES256_GCM_ENC(mgr, schedule_of(key), &c, p->data, p->data, p->size, p->nonce, p->aad,
			   p->aad_size, tag, CIPHER_TAG_SIZE);
	return 0;
}

static int open_piece(const struct cipher_key *key, const struct cipher_piece *p,
		      const uint8_t *tag)
{
	uint8_t computed[CIPHER_TAG_SIZE] = { 0 };
	struct gcm_context_data c;
	int r;

	IMB_AES256_GCM_DEC(mgr, schedule_of(key), &c, p->data, p->data, p->size, p->nonce, p->aad,
			   p->aad_size, computed, CIPHER_TAG_SIZE);
	r = CRYPTO_memcmp(computed, tag, CIPHER_TAG_SIZE) ? CIPHER_FORGED : 0;
	secmem_wipe(computed, sizeof(computed)); /* the right tag of a forgery */
	return r;
}

const struct cipher_aead cipher_ipsec_aes = {
	.suite = CIPHER_AES_256_GCM,
	.name = "intel-ipsec-mb",
	.prepare = prepare,
	.schedule = schedule,
	.seal = seal,
	.open = open_piece,
};
