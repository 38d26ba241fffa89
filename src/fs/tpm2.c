/* SPDX-License-Identifier: MIT */
/*
 * A TPM through tpm2-tss: see tpm2.h for the contract.
 *
 * The secret is a keyedhash object under the storage root key: the one at its
 * usual handle, or the one that the TPM derives anew from its owner's seed by the
 * template.  Only a policy opens it:
 *
 *   PolicyPCR        if there are PCRs: what they are when it is sealed
 *   PolicyAuthValue  with a PIN, and without PCRs, as a policy has to be something
 *
 * Every session is salted with the root key: only the TPM can take part in it, and
 * what of the answers is secret is encrypted.  Without that who listens could
 * try PINs on what he heard.
 *
 * A PIN gives, by Argon2id, two keys: one that the TPM wants to see, and one that is the second
 * half of the secret, so that the PIN is needed even by who has taken the TPM apart.
 */
#include "fs/tpm2.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "base/secmem.h"
#include "fs/vault_kdf.h"

#define DEVICE	    "/dev/tpmrm0"
#define PIN_CONTEXT "cryptfsT" /* of crypto_kdf */

enum {
	ROOT_HANDLE = 0x81000001, /* where systems keep the storage root key */
	PIN_FOR_TPM = 1,
	PIN_FOR_US = 2,
};

_Static_assert(sizeof(PIN_CONTEXT) - 1 == crypto_kdf_CONTEXTBYTES, "context");
_Static_assert((int)VAULT_TPM2_SALT_SIZE == (int)VAULT_CONFIG_SALT_SIZE, "salt");
_Static_assert((int)VAULT_CONFIG_KEK_SIZE == (int)crypto_kdf_KEYBYTES, "key");

static const TPMI_ALG_HASH hashes[] = {
	[VAULT_SHA256] = TPM2_ALG_SHA256,
	[VAULT_SHA384] = TPM2_ALG_SHA384,
	[VAULT_SHA512] = TPM2_ALG_SHA512,
};

enum { N_BANKS = sizeof(hashes) / sizeof(hashes[0]) };

/* A TPM in use; ESYS_TR_NONE is what is not there. */
struct tpm {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR root;
	bool root_is_kept; /* in the TPM: not ours to flush */
	ESYS_TR session;
	ESYS_TR object;
};

/* What a PIN is made into, in secmem. */
struct pin {
	uint8_t key[VAULT_CONFIG_KEK_SIZE];
	TPM2B_AUTH auth;
	uint8_t share[TPM2_SEALED_SIZE];
};

/* ---- answers ------------------------------------------------------------- */

/* The number of an error, without what it complains about. */
static TSS2_RC plain_error(TSS2_RC rc)
{
	return rc & TPM2_RC_FMT1 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc & 0xfff;
}

static int answer(TSS2_RC rc)
{
	TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

	if (rc == TSS2_RC_SUCCESS)
		return 0;
	if (rc == TSS2_ESYS_RC_MEMORY || rc == TSS2_TCTI_RC_MEMORY)
		return -ENOMEM;
	if (layer == TSS2_TCTI_RC_LAYER || rc == TSS2_ESYS_RC_IO_ERROR)
		return TPM2_NO_DEVICE;
	if (layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER)
		switch (plain_error(rc)) {
		case TPM2_RC_INTEGRITY:
			return TPM2_OTHER;
		case TPM2_RC_POLICY_FAIL:
		case TPM2_RC_PCR_CHANGED:
			return TPM2_CHANGED;
		case TPM2_RC_AUTH_FAIL:
			return TPM2_PIN_WRONG;
		case TPM2_RC_BAD_AUTH:
			return TPM2_OWNED;
		case TPM2_RC_LOCKOUT:
			return TPM2_LOCKED;
		default:
			break;
		}
	tpm2_why_set(Tss2_RC_Decode(rc));
	return TPM2_FAILED;
}

static int failed(const char *why)
{
	tpm2_why_set(why);
	return TPM2_FAILED;
}

/* ---- the device ---------------------------------------------------------- */

static int open_device(const char *name, TSS2_TCTI_CONTEXT **tcti)
{
	const char *path = strcmp(name, TPM2_AUTO) == 0 ? DEVICE : name;
	char *words = NULL;
	TSS2_RC rc;

	if (path[0] == '/') {
		if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS))
			return errno == EACCES ? TPM2_DENIED : TPM2_NO_DEVICE;
		if (asprintf(&words, "device:%s", path) < 0)
			return -ENOMEM;
	}
	rc = Tss2_TctiLdr_Initialize(words ? words : path, tcti);
	free(words);
	return rc ? TPM2_NO_DEVICE : 0;
}

static int tpm_open(struct tpm *t, const char *device)
{
	int r;

	*t = (struct tpm){ .root = ESYS_TR_NONE, .session = ESYS_TR_NONE, .object = ESYS_TR_NONE };
	/* What went wrong is said by us, on one line; set otherwise, it helps to find out why. */
	(void)setenv("TSS2_LOG", "all+NONE", 0);
	r = open_device(device, &t->tcti);
	return r ? r : answer(Esys_Initialize(&t->esys, t->tcti, NULL));
}

static void flush(const struct tpm *t, ESYS_TR handle)
{
	if (handle != ESYS_TR_NONE)
		(void)Esys_FlushContext(t->esys, handle); /* it ends with the connection, too */
}

static void tpm_close(struct tpm *t)
{
	if (t->esys) {
		flush(t, t->object);
		flush(t, t->session);
		if (!t->root_is_kept)
			flush(t, t->root);
	}
#ifdef M_PERTURB
	(void)mallopt(M_PERTURB, 0xa5); /* free(3) wipes: they hold what was said in clear */
#endif
	if (t->esys)
		Esys_Finalize(&t->esys);
	if (t->tcti)
		Tss2_TctiLdr_Finalize(&t->tcti);
#ifdef M_PERTURB
	(void)mallopt(M_PERTURB, 0);
#endif
}

/* ---- the storage root key ------------------------------------------------ */

/* The TCG's template, for a curve that every TPM has. */
static const TPM2B_PUBLIC root_template = {
	.publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
				    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
				    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
				    TPMA_OBJECT_NODA,
		.parameters.eccDetail = {
			.symmetric = {
				.algorithm = TPM2_ALG_AES,
				.keyBits.aes = 128,
				.mode.aes = TPM2_ALG_CFB,
			},
			.scheme.scheme = TPM2_ALG_NULL,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	},
};

static int root_name(const struct tpm *t, uint8_t name[VAULT_TPM2_NAME_SIZE])
{
	TPM2B_NAME *got = NULL;
	int r = answer(Esys_TR_GetName(t->esys, t->root, &got));

	if (!r && got->size != VAULT_TPM2_NAME_SIZE)
		r = failed("its storage root key has no SHA-256 name");
	if (!r)
		memcpy(name, got->name, VAULT_TPM2_NAME_SIZE);
	Esys_Free(got);
	return r;
}

/* Whether the key at the usual handle is one to seal under. */
static bool kept_root_is_fit(const struct tpm *t)
{
	const TPMA_OBJECT wanted = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
				   TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT;
	TPM2B_PUBLIC *public = NULL;
	bool fits;

	if (Esys_ReadPublic(t->esys, t->root, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public,
			    NULL, NULL))
		return false;
	fits = (public->publicArea.objectAttributes & wanted) == wanted &&
	       public->publicArea.nameAlg == TPM2_ALG_SHA256;
	Esys_Free(public);
	return fits;
}

/* Use the key at the usual handle, if it is there. */
static bool use_kept_root(struct tpm *t)
{
	t->root_is_kept = !Esys_TR_FromTPMPublic(t->esys, ROOT_HANDLE, ESYS_TR_NONE, ESYS_TR_NONE,
						 ESYS_TR_NONE, &t->root);
	if (!t->root_is_kept)
		t->root = ESYS_TR_NONE;
	return t->root_is_kept;
}

static int make_root(struct tpm *t)
{
	const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPM2B_DATA outside = { 0 };
	const TPML_PCR_SELECTION pcrs = { 0 };

	t->root_is_kept = false;
	return answer(Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					 ESYS_TR_NONE, &sensitive, &root_template, &outside, &pcrs,
					 &t->root, NULL, NULL, NULL, NULL));
}

static int choose_root(struct tpm *t, uint8_t name[VAULT_TPM2_NAME_SIZE])
{
	int r = use_kept_root(t) && kept_root_is_fit(t) ? 0 : make_root(t);

	return r ? r : root_name(t, name);
}

/* The root key of this name: what the kept one is may have changed since. */
static int find_root(struct tpm *t, const uint8_t name[VAULT_TPM2_NAME_SIZE])
{
	uint8_t got[VAULT_TPM2_NAME_SIZE];
	int r;

	if (use_kept_root(t) && !root_name(t, got) && memcmp(got, name, sizeof(got)) == 0)
		return 0;
	r = make_root(t);
	if (!r)
		r = root_name(t, got);
	return r ? r : memcmp(got, name, sizeof(got)) == 0 ? 0 : TPM2_OTHER;
}

/* ---- sessions and policies ----------------------------------------------- */

static int start_session(struct tpm *t, TPM2_SE type)
{
	const TPMT_SYM_DEF symmetric = { .algorithm = TPM2_ALG_AES,
					 .keyBits.aes = 128,
					 .mode.aes = TPM2_ALG_CFB };
	const TPMA_SESSION attributes = TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT |
					TPMA_SESSION_ENCRYPT;
	int r = answer(Esys_StartAuthSession(t->esys, t->root, ESYS_TR_NONE, ESYS_TR_NONE,
					     ESYS_TR_NONE, ESYS_TR_NONE, NULL, type, &symmetric,
					     TPM2_ALG_SHA256, &t->session));

	if (r)
		return r;
	return answer(Esys_TRSess_SetAttributes(t->esys, t->session, attributes, 0xff));
}

static void end_session(struct tpm *t)
{
	flush(t, t->session);
	t->session = ESYS_TR_NONE;
}

static TPML_PCR_SELECTION select_pcrs(enum vault_bank bank, uint32_t pcrs)
{
	const TPML_PCR_SELECTION selection = {
		.count = 1,
		.pcrSelections[0] = {
			.hash = hashes[bank],
			.sizeofSelect = 3,
			.pcrSelect = { (BYTE)pcrs, (BYTE)(pcrs >> 8), (BYTE)(pcrs >> 16) },
		},
	};

	return selection;
}

/* Have the session say what a slot demands; the digest of that is the caller's to free. */
static int make_policy(const struct tpm *t, const struct vault_tpm2 *params, TPM2B_DIGEST **policy)
{
	const TPML_PCR_SELECTION pcrs = select_pcrs(params->bank, params->pcrs);
	const TPM2B_DIGEST as_they_are = { 0 };
	int r = 0;

	if (params->pcrs)
		r = answer(Esys_PolicyPCR(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE,
					  ESYS_TR_NONE, &as_they_are, &pcrs));
	if (!r && (params->has_pin || !params->pcrs))
		r = answer(Esys_PolicyAuthValue(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE,
						ESYS_TR_NONE));
	if (!r)
		r = answer(Esys_PolicyGetDigest(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE,
						ESYS_TR_NONE, policy));
	return r;
}

/* ---- the PIN ------------------------------------------------------------- */

static int pin_make(const char *text, const struct vault_tpm2 *params, struct pin *pin)
{
	const struct vault_kdf kdf = { VAULT_KDF_MEMORY_FLOOR, VAULT_KDF_OPERATIONS_FLOOR };
	const struct vault_secret secret = { (const uint8_t *)text, strlen(text),
					     VAULT_PASSPHRASE };
	int r = vault_kdf_run(&kdf, params->salt, &secret, pin->key);

	if (r)
		return r;
	pin->auth.size = TPM2_SHA256_DIGEST_SIZE;
	(void)crypto_kdf_derive_from_key(pin->auth.buffer, pin->auth.size, PIN_FOR_TPM, PIN_CONTEXT,
					 pin->key); /* sizes are good */
	(void)crypto_kdf_derive_from_key(pin->share, sizeof(pin->share), PIN_FOR_US, PIN_CONTEXT,
					 pin->key);
	/* A TPM takes zeros at the end as if they were not there, not all in the same places. */
	while (pin->auth.size && !pin->auth.buffer[pin->auth.size - 1])
		pin->auth.size--;
	return 0;
}

/* ---- PCRs ---------------------------------------------------------------- */

/* The first hash that the TPM keeps all of them with. */
static int choose_bank(const struct tpm *t, uint32_t pcrs, enum vault_bank *bank)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	TPMI_YES_NO more;
	int r = answer(Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  TPM2_CAP_PCRS, 0, 1, &more, &data));

	if (r)
		return r;
	r = TPM2_NO_PCRS;
	for (size_t b = 0; b < N_BANKS && r; b++)
		for (UINT32 i = 0; i < data->data.assignedPCR.count && r; i++) {
			const TPMS_PCR_SELECTION *s = &data->data.assignedPCR.pcrSelections[i];
			uint32_t kept = s->pcrSelect[0] | (uint32_t)s->pcrSelect[1] << 8 |
					(uint32_t)s->pcrSelect[2] << 16;

			if (s->hash == hashes[b] && s->sizeofSelect == 3 && (kept & pcrs) == pcrs) {
				*bank = (enum vault_bank)b;
				r = 0;
			}
		}
	Esys_Free(data);
	return r;
}

/* As after a reset: all bits the same. */
static bool is_unused(const TPM2B_DIGEST *digest)
{
	for (UINT16 i = 0; i < digest->size; i++)
		if (digest->buffer[i] != digest->buffer[0] ||
		    (digest->buffer[i] && digest->buffer[i] != 0xff))
			return false;
	return true;
}

static int read_pcrs(const struct tpm *t, const struct vault_tpm2 *params, uint32_t *unused)
{
	*unused = 0;
	for (uint32_t i = 0; i < VAULT_N_PCRS; i++) {
		const TPML_PCR_SELECTION one = select_pcrs(params->bank, (uint32_t)1 << i);
		TPML_PCR_SELECTION *read = NULL;
		TPML_DIGEST *values = NULL;
		UINT32 counter;
		int r;

		if (!(params->pcrs & (uint32_t)1 << i))
			continue;
		r = answer(Esys_PCR_Read(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &one,
					 &counter, &read, &values));
		if (!r && values->count == 1 && is_unused(&values->digests[0]))
			*unused |= (uint32_t)1 << i;
		Esys_Free(read);
		Esys_Free(values);
		if (r)
			return r;
	}
	return 0;
}

/* ---- sealing ------------------------------------------------------------- */

static int keep_blobs(const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private,
		      struct vault_tpm2 *params)
{
	params->public_size = params->private_size = 0;
	if (Tss2_MU_TPM2B_PUBLIC_Marshal(public, params->public, sizeof(params->public),
					 &params->public_size) ||
	    Tss2_MU_TPM2B_PRIVATE_Marshal(private, params->private, sizeof(params->private),
					  &params->private_size))
		return failed("what it sealed is larger than a slot");
	return 0;
}

static int create(const struct tpm *t, const TPM2B_DIGEST *policy, const struct pin *pin,
		  struct tpm2_sealed *sealed)
{
	TPM2B_PUBLIC template = {
		.publicArea = {
			.type = TPM2_ALG_KEYEDHASH,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    (sealed->params.has_pin ? 0 : TPMA_OBJECT_NODA),
			.authPolicy = *policy,
			.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
		},
	};
	TPM2B_SENSITIVE_CREATE sensitive = { .sensitive.data.size = TPM2_SEALED_SIZE };
	const TPM2B_DATA outside = { 0 };
	const TPML_PCR_SELECTION pcrs = { 0 };
	TPM2B_PRIVATE *private = NULL;
	TPM2B_PUBLIC *public = NULL;
	int r;

	memcpy(sensitive.sensitive.data.buffer, sealed->secret, TPM2_SEALED_SIZE);
	if (sealed->params.has_pin)
		sensitive.sensitive.userAuth = pin->auth;
	r = answer(Esys_Create(t->esys, t->root, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
			       &template, &outside, &pcrs, &private, &public, NULL, NULL, NULL));
	secmem_wipe(&sensitive, sizeof(sensitive));
	if (!r)
		r = keep_blobs(public, private, &sealed->params);
	Esys_Free(private);
	Esys_Free(public);
	return r;
}

static int seal(struct tpm *t, const struct tpm2_request *q, struct pin *pin,
		struct tpm2_sealed *sealed)
{
	struct vault_tpm2 *params = &sealed->params;
	TPM2B_DIGEST *policy = NULL;
	int r = 0;

	if (q->pcrs)
		r = choose_bank(t, q->pcrs, &params->bank);
	if (!r)
		r = read_pcrs(t, params, &sealed->unused);
	if (!r)
		r = choose_root(t, params->parent);
	if (!r && q->pin)
		r = pin_make(q->pin, params, pin);
	if (!r)
		r = start_session(t, TPM2_SE_TRIAL);
	if (!r)
		r = make_policy(t, params, &policy);
	end_session(t);
	if (!r)
		r = start_session(t, TPM2_SE_HMAC);
	if (!r)
		r = create(t, policy, pin, sealed);
	if (!r && q->pin)
		memcpy(sealed->secret + TPM2_SEALED_SIZE, pin->share, sizeof(pin->share));
	Esys_Free(policy);
	return r;
}

int tpm2_seal(const struct tpm2_request *q, struct tpm2_sealed *sealed)
{
	struct pin *pin = secmem_new(sizeof(*pin));
	struct tpm t;
	int r;

	if (!pin)
		return -ENOMEM;
	*sealed = (struct tpm2_sealed){ .params = { .pcrs = q->pcrs, .has_pin = q->pin } };
	randombytes_buf(sealed->params.salt, sizeof(sealed->params.salt));
	randombytes_buf(sealed->secret, TPM2_SEALED_SIZE);
	r = tpm_open(&t, q->device);
	if (!r)
		r = seal(&t, q, pin, sealed);
	tpm_close(&t);
	secmem_free(pin);
	if (r)
		secmem_wipe(sealed, sizeof(*sealed));
	return r;
}

/* ---- unsealing ----------------------------------------------------------- */

/* Load the object; *policy is what it demands. */
static int load(struct tpm *t, const struct vault_tpm2 *params, TPM2B_DIGEST *policy)
{
	TPM2B_PRIVATE private = { 0 };
	TPM2B_PUBLIC public = { 0 };
	size_t public_end = 0;
	size_t private_end = 0;

	if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(params->public, params->public_size, &public_end,
					   &public) ||
	    Tss2_MU_TPM2B_PRIVATE_Unmarshal(params->private, params->private_size, &private_end,
					    &private) ||
	    public_end != params->public_size || private_end != params->private_size ||
	    public.publicArea.type != TPM2_ALG_KEYEDHASH)
		return TPM2_OTHER;
	*policy = public.publicArea.authPolicy;
	return answer(Esys_Load(t->esys, t->root, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
				&private, &public, &t->object));
}

/* Whether the policy could be met now, but for the PIN. */
static int check_policy(const struct tpm *t, const struct vault_tpm2 *params,
			const TPM2B_DIGEST *wanted)
{
	TPM2B_DIGEST *policy = NULL;
	int r = make_policy(t, params, &policy);

	if (!r && (policy->size != wanted->size ||
		   memcmp(policy->buffer, wanted->buffer, policy->size) != 0))
		r = params->pcrs ? TPM2_CHANGED : TPM2_OTHER;
	Esys_Free(policy);
	return r;
}

static int take_secret(const struct tpm *t, uint8_t secret[TPM2_SECRET_MAX])
{
	TPM2B_SENSITIVE_DATA *data = NULL;
	int r = answer(
		Esys_Unseal(t->esys, t->object, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &data));

	if (!r && data->size != TPM2_SEALED_SIZE)
		r = TPM2_OTHER;
	if (!r)
		memcpy(secret, data->buffer, TPM2_SEALED_SIZE);
	if (data)
		secmem_wipe(data, sizeof(*data));
	Esys_Free(data);
	return r;
}

static int unseal(struct tpm *t, const char *text, struct pin *pin, const struct vault_tpm2 *params,
		  uint8_t secret[TPM2_SECRET_MAX])
{
	TPM2B_DIGEST policy;
	int r = find_root(t, params->parent);

	if (!r)
		r = load(t, params, &policy);
	if (!r)
		r = start_session(t, TPM2_SE_POLICY);
	if (!r)
		r = check_policy(t, params, &policy);
	if (!r && params->has_pin)
		r = text ? pin_make(text, params, pin) : TPM2_PIN_NEEDED;
	if (!r && params->has_pin)
		r = answer(Esys_TR_SetAuth(t->esys, t->object, &pin->auth));
	if (!r)
		r = take_secret(t, secret);
	if (!r && params->has_pin)
		memcpy(secret + TPM2_SEALED_SIZE, pin->share, sizeof(pin->share));
	return r;
}

int tpm2_secret(const char *device, const char *pin, const struct vault_tpm2 *params,
		uint8_t secret[TPM2_SECRET_MAX])
{
	struct pin *made = secmem_new(sizeof(*made));
	struct tpm t;
	int r;

	if (!made)
		return -ENOMEM;
	r = tpm_open(&t, device);
	if (!r)
		r = unseal(&t, pin, made, params, secret);
	tpm_close(&t);
	secmem_free(made);
	if (r)
		secmem_wipe(secret, TPM2_SECRET_MAX);
	return r;
}
