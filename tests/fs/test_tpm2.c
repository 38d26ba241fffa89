/* SPDX-License-Identifier: MIT */
/*
 * Secrets in a TPM: swtpm, the emulator, which each test has to itself, new, on a socket of
 * its own, and which writes down what goes over the wire.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include "base/secmem.h"
#include "fs/exitcode.h"
#include "fs/passphrase.h"
#include "fs/tpm2.h"
#include "fs/vault.h"

enum {
	PCR_7 = 1 << 7,
	PCR_16 = 1 << 16,
};

/* ---- the emulator -------------------------------------------------------- */

static char work[] = "/tmp/test_tpm2.XXXXXX";
static char device[128];
static pid_t emulator;
static struct tpm2_sealed *sealed;
static uint8_t *secret;

static void run_emulator(void)
{
	char state[64], server[96], control[96], log[96];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)snprintf(state, sizeof(state), "dir=%s", work);
	(void)snprintf(server, sizeof(server), "type=unixio,path=%s/tpm", work);
	(void)snprintf(control, sizeof(control), "type=unixio,path=%s/tpm.ctrl", work);
	(void)snprintf(log, sizeof(log), "level=20,file=%s/log", work);
	(void)execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server,
		     "--ctrl", control, "--log", log, "--flags", "not-need-init,startup-clear",
		     (char *)NULL);
	_exit(127);
}

static bool answers(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool does;

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/tpm.ctrl", work);
	does = !connect(fd, (struct sockaddr *)&address, sizeof(address));
	(void)close(fd);
	return does;
}

static void start(void)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	int tries = 2000;

	emulator = fork();
	assert_true(emulator >= 0);
	if (!emulator)
		run_emulator();
	while (!answers()) {
		assert_true(tries-- > 0);
		assert_int_equal(waitpid(emulator, NULL, WNOHANG), 0);
		(void)nanosleep(&pause, NULL);
	}
}

static void stop(void)
{
	if (emulator > 0) {
		(void)kill(emulator, SIGKILL); /* as a machine that loses its power */
		(void)waitpid(emulator, NULL, 0);
	}
	emulator = 0;
}

static void remove_in_work(const char *what)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s/%s", work, what);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(work + sizeof(work) - 7, "XXXXXX");
	assert_non_null(mkdtemp(work));
	(void)snprintf(device, sizeof(device), "swtpm:path=%s/tpm", work);
	sealed = secmem_new(sizeof(*sealed));
	secret = secmem_new(TPM2_SECRET_MAX);
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop();
	secmem_free(sealed);
	secmem_free(secret);
	remove_in_work("");
	return 0;
}

/* Do something to the TPM that a slot does not. */
static void tell(void (*what)(ESYS_CONTEXT *esys))
{
	TSS2_TCTI_CONTEXT *tcti = NULL;
	ESYS_CONTEXT *esys = NULL;

	assert_int_equal(Tss2_TctiLdr_Initialize(device, &tcti), 0);
	assert_int_equal(Esys_Initialize(&esys, tcti, NULL), 0);
	what(esys);
	Esys_Finalize(&esys);
	Tss2_TctiLdr_Finalize(&tcti);
}

static void extend_pcr_7(ESYS_CONTEXT *esys)
{
	TPML_DIGEST_VALUES digests = { .count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256 };

	memset(digests.digests[0].digest.sha256, 1, TPM2_SHA256_DIGEST_SIZE);
	assert_int_equal(Esys_PCR_Extend(esys, ESYS_TR_PCR7, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					 ESYS_TR_NONE, &digests),
			 0);
}

static void clear(ESYS_CONTEXT *esys)
{
	assert_int_equal(
		Esys_Clear(esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE),
		0);
}

static void reset_lockout(ESYS_CONTEXT *esys)
{
	assert_int_equal(Esys_DictionaryAttackLockReset(esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
							ESYS_TR_NONE, ESYS_TR_NONE),
			 0);
}

static void set_owner_password(ESYS_CONTEXT *esys)
{
	const TPM2B_AUTH password = { .size = 4, .buffer = "ours" };

	assert_int_equal(Esys_HierarchyChangeAuth(esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
						  ESYS_TR_NONE, ESYS_TR_NONE, &password),
			 0);
}

/* A storage root key of another kind than ours, where systems keep theirs. */
static void keep_rsa_root(ESYS_CONTEXT *esys)
{
	const TPM2B_PUBLIC template = {
		.publicArea = {
			.type = TPM2_ALG_RSA,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
					    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    TPMA_OBJECT_SENSITIVEDATAORIGIN |
					    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA,
			.parameters.rsaDetail = {
				.symmetric = { .algorithm = TPM2_ALG_AES,
					       .keyBits.aes = 128,
					       .mode.aes = TPM2_ALG_CFB },
				.scheme.scheme = TPM2_ALG_NULL,
				.keyBits = 2048,
			},
		},
	};
	const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPM2B_DATA outside = { 0 };
	const TPML_PCR_SELECTION pcrs = { 0 };
	ESYS_TR made, kept;

	assert_int_equal(Esys_CreatePrimary(esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					    ESYS_TR_NONE, &sensitive, &template, &outside, &pcrs,
					    &made, NULL, NULL, NULL, NULL),
			 0);
	assert_int_equal(Esys_EvictControl(esys, ESYS_TR_RH_OWNER, made, ESYS_TR_PASSWORD,
					   ESYS_TR_NONE, ESYS_TR_NONE, 0x81000001, &kept),
			 0);
	assert_int_equal(Esys_FlushContext(esys, made), 0);
}

static void nothing_is_loaded(ESYS_CONTEXT *esys)
{
	static const TPM2_HANDLE first[] = { TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST };

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		TPMS_CAPABILITY_DATA *data;
		TPMI_YES_NO more;

		assert_int_equal(Esys_GetCapability(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
						    TPM2_CAP_HANDLES, first[i], 8, &more, &data),
				 0);
		assert_int_equal(data->data.handles.count, 0);
		Esys_Free(data);
	}
}

/* ---- asking it ----------------------------------------------------------- */

static int seal(uint32_t pcrs, const char *pin)
{
	const struct tpm2_request q = { .device = device, .pcrs = pcrs, .pin = pin };

	return tpm2_seal(&q, sealed);
}

static int unseal(const char *pin)
{
	return tpm2_secret(device, pin, &sealed->params, secret);
}

static void opens(const char *pin)
{
	memset(secret, 0, TPM2_SECRET_MAX);
	assert_int_equal(unseal(pin), 0);
	assert_memory_equal(secret, sealed->secret, TPM2_SECRET_MAX);
}

static void is_refused(const char *pin, int answer)
{
	memset(secret, 1, TPM2_SECRET_MAX);
	assert_int_equal(unseal(pin), answer);
	for (size_t i = 0; i < TPM2_SECRET_MAX; i++)
		assert_int_equal(secret[i], 0);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static void the_same_secret_comes_back_also_after_a_restart(void **state)
{
	uint8_t first[TPM2_SECRET_MAX];

	(void)state;
	assert_int_equal(seal(PCR_7 | PCR_16, NULL), 0);
	assert_int_equal(sealed->params.bank, VAULT_SHA256);
	assert_int_equal(sealed->unused, PCR_7 | PCR_16);
	assert_int_equal(tpm2_secret_size(&sealed->params), TPM2_SEALED_SIZE);
	assert_false(is_zero(sealed->secret, TPM2_SEALED_SIZE));
	assert_true(is_zero(sealed->secret + TPM2_SEALED_SIZE, TPM2_SEALED_SIZE));
	memcpy(first, sealed->secret, sizeof(first));
	for (int i = 0; i < 5; i++) /* more often than it has room for what is left behind */
		opens(NULL);
	stop();
	start();
	opens(NULL);
	tell(nothing_is_loaded);
	assert_int_equal(seal(PCR_7, NULL), 0);
	assert_memory_not_equal(first, sealed->secret, TPM2_SEALED_SIZE);
}

static void other_pcrs_are_refused_before_a_pin_is_asked_for(void **state)
{
	(void)state;
	assert_int_equal(seal(PCR_7, "1234"), 0);
	is_refused(NULL, TPM2_PIN_NEEDED);
	tell(extend_pcr_7);
	is_refused(NULL, TPM2_CHANGED);
	is_refused("1234", TPM2_CHANGED);
	assert_int_equal(seal(PCR_7 | PCR_16, "1234"), 0);
	assert_int_equal(sealed->unused, PCR_16);
	opens("1234");
}

static void a_pin_is_half_of_the_secret_and_wrong_ones_lock(void **state)
{
	struct vault_tpm2 without;
	uint8_t expected[TPM2_SEALED_SIZE];

	(void)state;
	assert_int_equal(seal(0, NULL), 0);
	opens(NULL);
	without = sealed->params;
	memcpy(expected, sealed->secret, sizeof(expected));
	assert_int_equal(seal(0, "1234"), 0);
	assert_int_equal(tpm2_secret_size(&sealed->params), TPM2_SECRET_MAX);
	assert_false(is_zero(sealed->secret + TPM2_SEALED_SIZE, TPM2_SEALED_SIZE));
	opens("1234");
	for (int i = 0; i < 3; i++) /* the emulator's limit */
		is_refused("1235", TPM2_PIN_WRONG);
	is_refused("1235", TPM2_LOCKED);
	is_refused("1234", TPM2_LOCKED);
	/* What has no PIN does not count for that. */
	assert_int_equal(tpm2_secret(device, NULL, &without, secret), 0);
	assert_memory_equal(secret, expected, sizeof(expected));
	tell(reset_lockout);
	opens("1234");
}

static void another_tpm_and_one_that_was_cleared_are_told(void **state)
{
	(void)state;
	assert_int_equal(seal(0, NULL), 0);
	tell(clear);
	is_refused(NULL, TPM2_OTHER);
	assert_int_equal(seal(0, NULL), 0);
	stop();
	remove_in_work("tpm2-00.permall");
	start();
	is_refused(NULL, TPM2_OTHER);
	stop();
	is_refused(NULL, TPM2_NO_DEVICE);
	assert_int_equal(tpm2_secret("/nonexistent", NULL, &sealed->params, secret),
			 TPM2_NO_DEVICE);
	assert_int_equal(tpm2_secret("frob:x", NULL, &sealed->params, secret), TPM2_NO_DEVICE);
}

static void a_root_key_that_the_system_keeps_is_used_and_need_not_be(void **state)
{
	struct tpm2_sealed *before = secmem_new(sizeof(*before));

	(void)state;
	assert_non_null(before);
	assert_int_equal(seal(PCR_7, "1234"), 0);
	*before = *sealed;
	tell(keep_rsa_root);
	assert_int_equal(seal(PCR_7, "1234"), 0);
	assert_memory_not_equal(before->params.parent, sealed->params.parent,
				sizeof(sealed->params.parent));
	opens("1234");
	*sealed = *before;
	opens("1234");
	secmem_free(before);
}

static void an_owners_password_is_told_and_a_kept_root_needs_none(void **state)
{
	(void)state;
	tell(set_owner_password);
	assert_int_equal(seal(PCR_7, NULL), TPM2_OWNED);
	tell(clear);
	tell(keep_rsa_root);
	tell(set_owner_password);
	assert_int_equal(seal(PCR_7, NULL), 0);
	opens(NULL);
}

static void what_was_changed_in_a_slot_gives_nothing(void **state)
{
	struct vault_tpm2 whole;

	(void)state;
	assert_int_equal(seal(PCR_7, NULL), 0);
	whole = sealed->params;
	for (size_t i = 0; i < whole.private_size; i += 7) {
		sealed->params.private[i] ^= 1;
		is_refused(NULL, TPM2_OTHER);
		sealed->params = whole;
	}
	for (size_t i = 0; i < whole.public_size; i++) {
		sealed->params.public[i] ^= 1;
		assert_true(unseal(NULL) > 0);
		sealed->params = whole;
	}
	for (size_t i = 0; i < sizeof(whole.parent); i += 5) {
		sealed->params.parent[i] ^= 1;
		is_refused(NULL, TPM2_OTHER);
		sealed->params = whole;
	}
	for (sealed->params.public_size = 1; sealed->params.public_size < whole.public_size;
	     sealed->params.public_size += 3)
		is_refused(NULL, TPM2_OTHER);
	sealed->params = whole;
	sealed->params.pcrs = PCR_16;
	is_refused(NULL, TPM2_CHANGED);
	sealed->params.pcrs = 0;
	is_refused(NULL, TPM2_OTHER);
	sealed->params = whole;
	sealed->params.has_pin = true;
	is_refused(NULL, TPM2_CHANGED);
	sealed->params = whole;
	opens(NULL);
	tell(nothing_is_loaded);
}

/* ---- the wire ------------------------------------------------------------ */

/* All that was said and answered, by the emulator's log; *size of it. */
static uint8_t *heard(size_t *size)
{
	static uint8_t bytes[1 << 20];
	char path[64], line[256];
	FILE *log;

	(void)snprintf(path, sizeof(path), "%s/log", work);
	log = fopen(path, "re");
	assert_non_null(log);
	*size = 0;
	while (fgets(line, sizeof(line), log)) {
		unsigned int byte;
		int used;

		for (const char *c = line; sscanf(c, " %2x %n", &byte, &used) == 1 && used >= 3;
		     c += used) {
			assert_true(*size < sizeof(bytes));
			bytes[(*size)++] = (uint8_t)byte;
		}
	}
	(void)fclose(log);
	return bytes;
}

static void nothing_secret_goes_over_the_wire(void **state)
{
	const uint8_t *bytes;
	size_t size;

	(void)state;
	assert_int_equal(seal(PCR_7, NULL), 0);
	opens(NULL);
	assert_int_equal(seal(PCR_7, "1234"), 0);
	opens("1234");
	bytes = heard(&size);
	/* It is the right log, and read in the right way. */
	assert_non_null(memmem(bytes, size, sealed->params.private, sealed->params.private_size));
	for (size_t i = 0; i + 8 <= TPM2_SECRET_MAX; i += 4)
		assert_null(memmem(bytes, size, sealed->secret + i, 8));
}

/* ---- a vault ------------------------------------------------------------- */

static void a_vault_opens_by_any_of_its_slots(void **state)
{
	static const struct vault_create how = { .suite = CIPHER_AES_256_GCM,
						 .kdf = { (uint64_t)64 << 20, 3 } };
	static const struct vault_secret words = { (const uint8_t *)"four words", 10,
						   VAULT_PASSPHRASE };
	const struct passphrase_source source = { .tpm2 = device };
	struct vault_secret given = { sealed->secret, TPM2_SEALED_SIZE, VAULT_TPM2 };
	static struct vault_info info;
	char path[64];
	struct vault *v;
	uint32_t id;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/vault", work);
	assert_int_equal(vault_create(path, &how, &words), 0);
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(passphrase_unlock(v, path, &source), STATUS_WRONG_KEY);
	assert_int_equal(vault_unlock(v, &words), 0);
	assert_int_equal(seal(PCR_7, NULL), 0);
	assert_int_equal(vault_add_tpm2(v, &words, &sealed->params, NULL, &id), -EINVAL);
	assert_int_equal(vault_add_tpm2(v, &given, &sealed->params, "one state", &id), 0);
	tell(extend_pcr_7);
	assert_int_equal(passphrase_unlock(v, path, &source), STATUS_WRONG_KEY);
	assert_int_equal(seal(PCR_7, NULL), 0);
	assert_int_equal(vault_add_tpm2(v, &given, &sealed->params, "another", &id), 0);
	vault_close(v);

	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	vault_info(v, &info);
	assert_int_equal(info.n_slots, 3);
	assert_string_equal(info.slots[2].type, "tpm2");
	assert_memory_equal(&info.slots[2].tpm2, &sealed->params, sizeof(sealed->params));
	assert_int_equal(passphrase_unlock(v, path, &source), 0);
	assert_int_equal(vault_unlocked_slot(v), id);
	/* Its slot becomes one of a passphrase, and nothing of the TPM stays. */
	assert_int_equal(vault_change_secret(v, &words, &how.kdf), 0);
	vault_info(v, &info);
	assert_int_equal(info.slots[2].tpm2.public_size, 0);
	vault_close(v);
	stop();
	start();
	assert_int_equal(vault_open(path, VAULT_EXCLUSIVE, &v), 0);
	assert_int_equal(passphrase_unlock(v, path, &source), 0);
	assert_int_equal(vault_unlocked_slot(v), 2);
	vault_close(v);
}

static void every_answer_says_what_to_do(void **state)
{
	(void)state;
	tpm2_why_set("it is tired");
	for (int r = TPM2_ABSENT; r <= TPM2_FAILED; r++)
		assert_non_null(strchr(tpm2_message(r), '('));
	assert_non_null(strstr(tpm2_message(TPM2_FAILED), "it is tired"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_same_secret_comes_back_also_after_a_restart),
		T(other_pcrs_are_refused_before_a_pin_is_asked_for),
		T(a_pin_is_half_of_the_secret_and_wrong_ones_lock),
		T(another_tpm_and_one_that_was_cleared_are_told),
		T(a_root_key_that_the_system_keeps_is_used_and_need_not_be),
		T(an_owners_password_is_told_and_a_kept_root_needs_none),
		T(what_was_changed_in_a_slot_gives_nothing),
		T(nothing_secret_goes_over_the_wire),
		T(a_vault_opens_by_any_of_its_slots),
		cmocka_unit_test(every_answer_says_what_to_do),
	};

	if (system("command -v swtpm >/dev/null")) {
		(void)puts("skipped: swtpm is not installed");
		return 77;
	}
	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests_name("tpm2", tests, NULL, NULL);
}
