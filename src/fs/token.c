/* SPDX-License-Identifier: MIT */
/* Slots that a device opens: see token.h for the contract. */
#include "fs/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/secmem.h"
#include "fs/exitcode.h"
#include "fs/fido2.h"
#include "fs/tpm2.h"

enum {
	TRIES = 3,
	SECRET_MAX = TPM2_SECRET_MAX,
	NO_SLOT = 1000, /* an answer beside those of both */
};

_Static_assert((int)FIDO2_SECRET_SIZE <= (int)SECRET_MAX, "room for either");

enum vault_kind token_kind(const struct passphrase_source *source)
{
	return source->tpm2 ? VAULT_TPM2 : VAULT_FIDO2;
}

static const char *message(enum vault_kind kind, int r)
{
	if (r == NO_SLOT)
		return kind == VAULT_TPM2
			       ? "it has no slot for a TPM (make one: cryptfs key add --new-tpm2 "
				 "auto)"
			       : "it has no slot for a security key (make one: cryptfs key add "
				 "--new-fido2 auto)";
	return kind == VAULT_TPM2 ? tpm2_message(r) : fido2_message(r);
}

/* The key is a wrong one; all else is for the system to mend. */
static bool is_wrong(enum vault_kind kind, int r)
{
	if (kind == VAULT_TPM2)
		return r == TPM2_OTHER || r == TPM2_CHANGED || r == TPM2_PIN_WRONG;
	return r == FIDO2_OTHER || r == FIDO2_PIN_WRONG;
}

bool token_goes_on(enum vault_kind kind, int r)
{
	if (kind == VAULT_TPM2)
		return r == TPM2_OTHER || r == TPM2_CHANGED || r == TPM2_LOCKED;
	return r == FIDO2_OTHER;
}

int token_report(const char *verb, const char *path, enum vault_kind kind, int r)
{
	log_error("cannot %s %s: %s", verb, path, message(kind, r));
	return r == NO_SLOT || is_wrong(kind, r) ? STATUS_WRONG_KEY : STATUS_SYSTEM;
}

/* ---- PINs ---------------------------------------------------------------- */

int token_with_pin(const struct passphrase_source *source, int (*what)(void *arg, const char *pin),
		   void *arg)
{
	const enum vault_kind kind = token_kind(source);
	const int needed = kind == VAULT_TPM2 ? TPM2_PIN_NEEDED : FIDO2_PIN_NEEDED;
	const int wrong = kind == VAULT_TPM2 ? TPM2_PIN_WRONG : FIDO2_PIN_WRONG;
	struct passphrase_source pin_source = *source;
	struct vault_secret pin = { 0 };
	int r = what(arg, NULL);
	int tries;

	pin_source.fido2 = pin_source.tpm2 = NULL;
	pin_source.confirm = false;
	tries = passphrase_is_asked(&pin_source) ? TRIES : 1;
	for (; tries > 0 && (r == needed || r == wrong); tries--) {
		if (r == wrong)
			log_error("%s", message(kind, r));
		if (passphrase_get(&pin_source, &pin))
			return needed;
		r = what(arg, (const char *)pin.bytes);
		passphrase_free(&pin);
	}
	return r;
}

/* ---- slots --------------------------------------------------------------- */

struct asking {
	const struct vault_slot_info *slot;
	const char *device;
	uint8_t *secret;
};

static int ask(void *arg, const char *pin)
{
	const struct asking *a = arg;

	if (a->slot->kind == VAULT_TPM2)
		return tpm2_secret(a->device, pin, &a->slot->tpm2, a->secret);
	return fido2_secret(a->device, pin, &a->slot->token, a->secret);
}

int token_secret(const struct vault_slot_info *slot, const struct passphrase_source *source,
		 struct vault_secret *secret)
{
	const enum vault_kind kind = token_kind(source);
	struct passphrase_source asked = *source;
	struct asking a = { slot, source->tpm2 ? source->tpm2 : source->fido2, NULL };
	char prompt[128];
	int r;

	*secret = (struct vault_secret){ 0 };
	a.secret = secmem_new(SECRET_MAX);
	if (!a.secret)
		return -ENOMEM;
	(void)snprintf(prompt, sizeof(prompt), "PIN of %s, for slot %u \"%s\"",
		       kind == VAULT_TPM2 ? "the TPM" : "the security key", (unsigned int)slot->id,
		       slot->label);
	asked.prompt = prompt;
	r = token_with_pin(&asked, ask, &a);
	if (r) {
		secmem_free(a.secret);
		return r;
	}
	*secret = (struct vault_secret){
		.bytes = a.secret,
		.size = kind == VAULT_TPM2 ? tpm2_secret_size(&slot->tpm2) : FIDO2_SECRET_SIZE,
		.kind = kind,
	};
	return 0;
}

int token_find(const struct vault_info *info, const struct passphrase_source *source,
	       struct vault_secret *secret)
{
	const enum vault_kind kind = token_kind(source);
	int r = NO_SLOT;

	*secret = (struct vault_secret){ 0 };
	for (uint32_t i = 0; i < info->n_slots; i++) {
		int answer;

		if (info->slots[i].kind != kind)
			continue;
		if (r == NO_SLOT && kind == VAULT_FIDO2)
			log_info("touch the security key");
		answer = token_secret(&info->slots[i], source, secret);
		if (!answer || !token_goes_on(kind, answer))
			return answer;
		if (r == NO_SLOT || answer > r) /* what comes later in the list tells more */
			r = answer;
	}
	return r;
}

int token_unlock(struct vault *v, const char *path, const struct passphrase_source *source,
		 struct vault_secret *secret)
{
	struct vault_info *info = malloc(sizeof(*info));
	int r;

	*secret = (struct vault_secret){ 0 };
	if (!info)
		return token_report("unlock", path, token_kind(source), -ENOMEM);
	vault_info(v, info);
	r = token_find(info, source, secret);
	free(info);
	if (r)
		return token_report("unlock", path, token_kind(source), r);
	r = vault_unlock(v, secret);
	if (!r)
		return STATUS_OK;
	passphrase_free(secret);
	return exitcode_report_vault("unlock", path, r);
}
