/* SPDX-License-Identifier: MIT */
/* Shared by passwd, key and init: see secrets.h for the contract. */
#include "cli/secrets.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"
#include "cli/cli.h"
#include "fs/recovery.h"
#include "fs/vault_kdf.h"

void secrets_init(struct secrets *s)
{
	*s = (struct secrets){
		.old = { .prompt = "Current passphrase" },
		.new = { .prompt = "New passphrase", .confirm = true },
	};
}

static int set(const char **where, const char *value)
{
	*where = value;
	return STATUS_OK;
}

int secrets_apply(int option, const char *value, struct secrets *s)
{
	switch (option) {
	case 'm':
		return cli_kdf_memory(value, &s->kdf);
	case 'o':
		return cli_kdf_operations(value, &s->kdf);
	case 'p':
		return set(&s->old.passfile, value);
	case 'e':
		return set(&s->old.extpass, value);
	case 'k':
		return set(&s->old.keyfile, value);
	case 'n':
		return set(&s->old.keyring, value);
	case 'D':
		return set(&s->old.credential, value);
	case 'T':
		return set(&s->old.fido2, value);
	case 'Y':
		return set(&s->old.tpm2, value);
	case 'P':
		return set(&s->new.passfile, value);
	case 'E':
		return set(&s->new.extpass, value);
	case 'K':
		return set(&s->new.keyfile, value);
	default:
		return STATUS_USAGE;
	}
}

int secrets_unlock(const char *path, const struct secrets *s, struct vault **v)
{
	int status;
	int r = vault_open(path, VAULT_EXCLUSIVE, v);

	if (r)
		return exitcode_report_vault("open", path, r);
	status = passphrase_unlock(*v, path, &s->old);
	if (status) {
		vault_close(*v);
		*v = NULL;
	}
	return status;
}

/* A random secret and its words, in secmem. */
struct recovery {
	uint8_t secret[RECOVERY_SECRET_SIZE];
	char words[RECOVERY_TEXT_SIZE];
};

/* Past stdio, whose buffers nobody wipes. */
static int show_words(const struct recovery *n, uint32_t id)
{
	int status;
	int r;

	printf("added slot %u; its words open the vault wherever a passphrase is asked for.\n"
	       "Write them down, they are not shown again:\n\n    ",
	       (unsigned int)id);
	status = cli_flush();
	if (status)
		return status;
	r = fdio_write_full(STDOUT_FILENO, n->words, strlen(n->words));
	if (r) {
		log_error("cannot write the output: %s", strerror(-r));
		return STATUS_SYSTEM;
	}
	printf("\n\n");
	return cli_flush();
}

int secrets_add_recovery(struct vault *v, const char *path, const char *label)
{
	/* 128 random bits need no stretching. */
	const struct vault_kdf kdf = { VAULT_KDF_MEMORY_FLOOR, VAULT_KDF_OPERATIONS_FLOOR };
	struct recovery *n = secmem_new(sizeof(*n));
	struct vault_secret secret;
	uint32_t id = 0;
	int r = -ENOMEM;

	if (n) {
		randombytes_buf(n->secret, sizeof(n->secret));
		recovery_encode(n->secret, n->words);
		secret = (struct vault_secret){ n->secret, sizeof(n->secret), VAULT_RECOVERY };
		r = vault_add_slot(v, &secret, label, &kdf, &id);
	}
	r = r ? exitcode_report_vault("add a key to", path, r) : show_words(n, id);
	secmem_free(n);
	return r;
}
