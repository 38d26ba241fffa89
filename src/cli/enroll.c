/* SPDX-License-Identifier: MIT */
/* New slots for devices: see enroll.h for the contract. */
#include "cli/enroll.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secmem.h"
#include "cli/cli.h"
#include "cli/slots.h"
#include "fs/fido2.h"
#include "fs/token.h"
#include "fs/tpm2.h"

/* ---- security keys ------------------------------------------------------- */

/* A security key: the credential that it makes, and its secret. */
struct token {
	const char *device;
	struct vault_token params;
	uint8_t secret[FIDO2_SECRET_SIZE];
};

static int make_credential(void *arg, const char *pin)
{
	struct token *t = arg;

	return fido2_enroll(t->device, pin, &t->params);
}

static int ask_secret(void *arg, const char *pin)
{
	struct token *t = arg;

	return fido2_secret(t->device, pin, &t->params, t->secret);
}

/* Touched twice: the secret cannot be had from the making of the credential. */
static int enroll_token(struct vault *v, const char *path, const struct enroll *e)
{
	const struct passphrase_source pin = { .fido2 = e->fido2,
					       .prompt = "PIN of the security key" };
	struct token *t = secmem_new(sizeof(*t));
	struct vault_secret secret;
	uint32_t id = 0;
	int r;

	if (!t)
		return exitcode_report_vault("add a key to", path, -ENOMEM);
	t->device = e->fido2;
	log_info("touch the security key, and once more when it asks again");
	r = token_with_pin(&pin, make_credential, t);
	if (!r)
		r = token_with_pin(&pin, ask_secret, t);
	if (r) {
		(void)token_report("add a key to", path, VAULT_FIDO2, r);
		r = STATUS_SYSTEM;
	} else {
		secret = (struct vault_secret){ t->secret, sizeof(t->secret), VAULT_FIDO2 };
		r = vault_add_token(v, &secret, &t->params, e->label, &id);
		if (r)
			r = exitcode_report_vault("add a key to", path, r);
	}
	secmem_free(t);
	if (r)
		return r;
	printf("added slot %u to %s, for this security key\n", (unsigned int)id, path);
	return cli_flush();
}

/* ---- TPMs ---------------------------------------------------------------- */

int enroll_pcrs(const char *text, uint32_t *pcrs)
{
	const char *c = text;

	*pcrs = 0;
	if (strcmp(text, "none") == 0)
		return STATUS_OK;
	while (isdigit((unsigned char)*c)) {
		char *end;
		unsigned long n = strtoul(c, &end, 10);

		if (n >= VAULT_N_PCRS)
			break;
		*pcrs |= (uint32_t)1 << n;
		if (!*end)
			return STATUS_OK;
		if (*end != '+' && *end != ',')
			break;
		c = end + 1;
	}
	log_error("--tpm2-pcrs: %s is not none or numbers from 0 to 23, as in 0+7", text);
	return STATUS_USAGE;
}

/* No PIN, if there is to be none. */
static int get_pin(const struct enroll *e, const struct passphrase_source *source,
		   struct vault_secret *pin)
{
	struct passphrase_source asked = *source;
	int r;

	*pin = (struct vault_secret){ 0 };
	if (!e->pin)
		return STATUS_OK;
	asked.prompt = "New PIN";
	r = passphrase_get(&asked, pin);
	if (!r && memchr(pin->bytes, '\0', pin->size)) {
		passphrase_free(pin);
		log_error("cannot use this PIN: there is a zero byte in it (use text)");
		return STATUS_USAGE;
	}
	return r ? passphrase_report(&asked, r) : STATUS_OK;
}

static int seal(struct vault *v, const char *path, const struct tpm2_request *q, const char *label)
{
	struct tpm2_sealed *sealed = secmem_new(sizeof(*sealed));
	char pcrs[SLOTS_PCRS_SIZE];
	struct vault_secret secret;
	uint32_t unused = 0;
	uint32_t id = 0;
	int r = sealed ? tpm2_seal(q, sealed) : -ENOMEM;

	if (r) {
		secmem_free(sealed);
		(void)token_report("add a key to", path, VAULT_TPM2, r);
		return STATUS_SYSTEM;
	}
	unused = sealed->unused;
	secret = (struct vault_secret){ sealed->secret, tpm2_secret_size(&sealed->params),
					VAULT_TPM2 };
	r = vault_add_tpm2(v, &secret, &sealed->params, label, &id);
	secmem_free(sealed);
	if (r)
		return exitcode_report_vault("add a key to", path, r);
	if (unused)
		log_warn("nothing has been measured into PCR %s of this machine: the slot does not "
			 "depend on what that stands for",
			 slots_pcrs(unused, pcrs));
	printf("added slot %u to %s, for this TPM%s%s%s\n", (unsigned int)id, path,
	       q->pin ? " and PIN" : "", q->pcrs ? " while these PCRs stay the same: " : "",
	       q->pcrs ? slots_pcrs(q->pcrs, pcrs) : "");
	return cli_flush();
}

static int enroll_tpm(struct vault *v, const char *path, const struct enroll *e,
		      const struct passphrase_source *source)
{
	struct tpm2_request q = { .device = e->tpm2, .pcrs = e->pcrs };
	struct vault_secret pin;
	int status = get_pin(e, source, &pin);

	if (status)
		return status;
	q.pin = (const char *)pin.bytes;
	status = seal(v, path, &q, e->label);
	passphrase_free(&pin);
	return status;
}

int enroll_device(struct vault *v, const char *path, const struct enroll *e,
		  const struct passphrase_source *source)
{
	return e->tpm2 ? enroll_tpm(v, path, e, source) : enroll_token(v, path, e);
}
