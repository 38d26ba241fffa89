/* SPDX-License-Identifier: MIT */
/* The slots that stay: see rotate_keys.h for the contract. */
#include "cli/rotate_keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/exitcode.h"
#include "fs/fido2.h"
#include "fs/terminal.h"
#include "fs/token.h"
#include "fs/tpm2.h"

enum {
	TRIES = 3,
	ANSWER_SIZE = 8,
};

/* Whose slots are looked at. */
struct collecting {
	const char *path;
	const struct vault *v;
	struct rotate_keys *k;
};

void rotate_keys_fini(struct rotate_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		passphrase_free(&k->secrets[i]);
}

static bool is_kept(const struct rotate_keys *k, uint32_t id)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->keys[i].id == id)
			return true;
	return false;
}

/* Keep the slot that a secret opens; takes the secret.  VAULT_WRONG_KEY or another failure is said.
 */
static int keep(const struct collecting *c, struct vault_secret *secret, int *status)
{
	struct rotate_keys *k = c->k;
	uint32_t id;
	int r = vault_rotate_slot(c->v, secret, &id);

	*status = r ? exitcode_report_vault("keep a key of", c->path, r) : STATUS_OK;
	if (r || is_kept(k, id) || k->n == VAULT_MAX_SLOTS) {
		passphrase_free(secret);
		return r;
	}
	k->secrets[k->n] = *secret;
	k->keys[k->n] = (struct vault_rotate_key){ .id = id, .secret = &k->secrets[k->n] };
	k->n++;
	return 0;
}

/* ---- passphrases and keyfiles -------------------------------------------- */

/* Find the slot of a key that was given: 0, VAULT_WRONG_KEY, or another failure, said already. */
static int take_key(const struct collecting *c, const struct passphrase_source *source, int *status)
{
	struct vault_secret secret;
	int r = passphrase_get(source, &secret);

	*status = STATUS_OK;
	if (r == PASSPHRASE_EMPTY && passphrase_is_asked(source))
		return 0; /* not to be kept */
	if (r) {
		*status = passphrase_report(source, r);
		return r;
	}
	return keep(c, &secret, status);
}

static int ask_for_words(const struct collecting *c, const struct vault_slot_info *slot)
{
	struct passphrase_source source = { 0 };
	char prompt[160];
	int status = STATUS_OK;

	(void)snprintf(prompt, sizeof(prompt), "%s of slot %u, \"%s\" (empty: drop it)",
		       slot->kind == VAULT_RECOVERY ? "Recovery words" : "Passphrase",
		       (unsigned int)slot->id, slot->label);
	source.prompt = prompt;
	for (int tries = TRIES; tries > 0; tries--)
		if (take_key(c, &source, &status) != VAULT_WRONG_KEY)
			break;
	return status;
}

/* ---- devices ------------------------------------------------------------- */

static bool is_devices(const struct vault_slot_info *slot)
{
	return slot->kind == VAULT_FIDO2 || slot->kind == VAULT_TPM2;
}

static int ask_device(const struct vault_slot_info *slot, const struct passphrase_source *source,
		      struct vault_secret *secret)
{
	if (slot->kind == VAULT_FIDO2)
		log_info("touch the security key of slot %u, \"%s\"", (unsigned int)slot->id,
			 slot->label);
	return token_secret(slot, source, secret);
}

/* Keep every slot that this device opens; one at least. */
static int take_device(const struct collecting *c, const struct passphrase_source *source)
{
	const enum vault_kind kind = token_kind(source);
	const struct vault_info *info = &c->k->info;
	size_t n_before = c->k->n;
	int answer = kind == VAULT_TPM2 ? TPM2_OTHER : FIDO2_OTHER;
	int status = STATUS_OK;

	for (uint32_t i = 0; i < info->n_slots && !status; i++) {
		struct vault_secret secret;
		int r;

		if (info->slots[i].kind != kind || is_kept(c->k, info->slots[i].id))
			continue;
		r = ask_device(&info->slots[i], source, &secret);
		if (!r)
			(void)keep(c, &secret, &status);
		else if (token_goes_on(kind, r))
			answer = r;
		else
			status = token_report("keep a key of", c->path, kind, r);
	}
	if (!status && c->k->n == n_before)
		status = token_report("keep a key of", c->path, kind, answer);
	return status;
}

/* Whether a person has the device ready: false, the slot is to go. */
static bool is_ready(const struct vault_slot_info *slot)
{
	char answer[ANSWER_SIZE] = { 0 };
	char prompt[160];

	(void)snprintf(prompt, sizeof(prompt), "Slot %u, \"%s\": %s, then press Enter (n: drop it)",
		       (unsigned int)slot->id, slot->label,
		       slot->kind == VAULT_TPM2 ? "have its TPM there"
						: "plug in its security key");
	return terminal_ask(prompt, answer, sizeof(answer)) == 0;
}

static int ask_for_device(const struct collecting *c, const struct vault_slot_info *slot)
{
	const struct passphrase_source source = {
		.fido2 = slot->kind == VAULT_FIDO2 ? FIDO2_AUTO : NULL,
		.tpm2 = slot->kind == VAULT_TPM2 ? TPM2_AUTO : NULL,
	};
	int status = STATUS_OK;

	for (int tries = TRIES; tries > 0; tries--) {
		struct vault_secret secret;
		int r;

		if (!is_ready(slot))
			return STATUS_OK;
		r = ask_device(slot, &source, &secret);
		if (!r) {
			(void)keep(c, &secret, &status);
			return status;
		}
		status = token_report("keep a key of", c->path, slot->kind, r);
	}
	return status;
}

/* ---- all of them --------------------------------------------------------- */

static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	fdio_close(fd);
	return fd >= 0;
}

/* Nobody has said what is to become of this slot. */
static int decide(const struct collecting *c, const struct vault_slot_info *slot)
{
	if (is_devices(slot) && has_terminal())
		return ask_for_device(c, slot);
	if ((slot->kind == VAULT_PASSPHRASE || slot->kind == VAULT_RECOVERY) && has_terminal())
		return ask_for_words(c, slot);
	log_error("rotate: what of slot %u, \"%s\"? (give its key with %s, or let it go with "
		  "--drop-others)",
		  (unsigned int)slot->id, slot->label,
		  slot->kind == VAULT_FIDO2  ? "--other-fido2"
		  : slot->kind == VAULT_TPM2 ? "--other-tpm2"
					     : "--other-passfile or --other-keyfile");
	return STATUS_USAGE;
}

static int take(const struct collecting *c, const struct passphrase_source *source)
{
	int status;

	if (source->fido2 || source->tpm2)
		return take_device(c, source);
	(void)take_key(c, source, &status);
	return status;
}

int rotate_keys_collect(struct rotate_keys *k, const char *path, const struct vault *v,
			const struct rotate_others *others)
{
	const struct collecting c = { path, v, k };
	const struct vault_info *info = &k->info;
	int status = STATUS_OK;

	for (size_t i = 0; i < others->n && !status; i++)
		status = take(&c, &others->sources[i]);
	for (uint32_t i = 0; i < info->n_slots && !status && !others->drops; i++)
		if (!is_kept(k, info->slots[i].id))
			status = decide(&c, &info->slots[i]);
	for (uint32_t i = 0; i < info->n_slots && !status; i++)
		if (!is_kept(k, info->slots[i].id))
			log_warn("slot %u, \"%s\", will be gone", (unsigned int)info->slots[i].id,
				 info->slots[i].label);
	return status;
}
