/* SPDX-License-Identifier: MIT */
/* Exit statuses and their messages: see exitcode.h for the contract. */
#include "fs/exitcode.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fs/vault.h"

struct answer {
	int status;
	const char *message;
};

/* Indexed by VAULT_*. */
static const struct answer answers[] = {
	[0] = { STATUS_OK, "no error" },
	[VAULT_NOT_FOUND] = { STATUS_NOT_FOUND,
			      "no vault there (create one with: cryptfs init VAULT)" },
	[VAULT_DAMAGED] = { STATUS_DAMAGED,
			    "its configuration is damaged (restore cryptfs.conf from a backup)" },
	[VAULT_WRONG_KEY] = { STATUS_WRONG_KEY, "wrong passphrase or key (try again)" },
	[VAULT_IN_USE] = { STATUS_IN_USE, "in use by another mount or command (unmount it first)" },
	[VAULT_EXISTS] = { STATUS_USAGE, "not an empty directory (choose another place)" },
	[VAULT_TOO_NEW] = { STATUS_SYSTEM, "made for a newer cryptfs (update cryptfs)" },
	[VAULT_NO_SLOT] = { STATUS_USAGE, "no such slot (see cryptfs key list)" },
	[VAULT_LAST_SLOT] = { STATUS_USAGE, "it is the only one (add another key first)" },
	[VAULT_ROTATING] = { STATUS_IN_USE, "a rotation of its key is unfinished (finish it: "
					    "cryptfs rotate VAULT)" },
	[VAULT_SLOTS_FULL] = { STATUS_USAGE, "all slots are taken (remove a key first)" },
};

static int is_answer(int r)
{
	return r >= 0 && (size_t)r < sizeof(answers) / sizeof(answers[0]);
}

int exitcode_of_vault(int r)
{
	return is_answer(r) ? answers[r].status : STATUS_SYSTEM;
}

const char *exitcode_vault_message(int r)
{
	if (vault_why())
		return vault_why();
	if (is_answer(r))
		return answers[r].message;
	switch (-r) {
	case ENOMEM:
		return "not enough memory (close other programs, or add swap)";
	case EACCES:
	case EPERM:
		return "permission denied (run as the owner of the vault)";
	case EROFS:
		return "read-only filesystem (mount with -o ro)";
	case ENOSPC:
		return "no space left on its filesystem (free some)";
	default:
		return strerror(-r);
	}
}

int exitcode_report_vault(const char *verb, const char *path, int r)
{
	log_error("cannot %s %s: %s", verb, path, exitcode_vault_message(r));
	return exitcode_of_vault(r);
}
