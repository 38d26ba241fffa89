/* SPDX-License-Identifier: MIT */
/* A vault without a mount: see offline.h for the contract. */
#include "fs/offline.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/exitcode.h"
#include "fs/quiet.h"
#include "fs/settler.h"
#include "fs/vault_tree.h"

int offline_start_engine(int workers, uint32_t n_slots, struct engine **out)
{
	const struct engine_options options = { .workers = workers, .slots = n_slots };
	int r = cipher_init();

	*out = NULL;
	if (!r)
		return engine_start(&options, out) ? STATUS_SYSTEM : STATUS_OK; /* said already */
	log_error("cannot start the encryption engine: %s", strerror(-r));
	return STATUS_SYSTEM;
}

static int fail(const char *path, int r)
{
	log_error("cannot open %s: %s", path, strerror(-r));
	return STATUS_SYSTEM;
}

static int open_tree_of(struct engine *engine, const char *path, bool read_only, struct offline *o)
{
	int status;
	int r;

	o->store = (struct store){
		.engine = engine, .read_only = read_only, .alone = true, .acl = true
	};
	o->root_fd = read_only ? quiet_open(vault_tree_fd(o->vault))
			       : fcntl(vault_tree_fd(o->vault), F_DUPFD_CLOEXEC, 3);
	if (o->root_fd < 0)
		return fail(path, read_only ? o->root_fd : -errno);
	status = vault_tree_open(path, o->vault, o->root_fd, &o->store, &o->tree);
	if (status)
		return status;
	r = engine_watch(engine);
	if (r)
		log_warn("workers that die will not be replaced: %s", strerror(-r));
	r = settler_start(&o->store, o->tree, &o->settler);
	if (!r)
		r = side_vault_new(&o->store, o->tree, &o->side);
	return r ? fail(path, r) : STATUS_OK;
}

int offline_open(struct engine *engine, const char *path, enum vault_lock lock,
		 const struct passphrase_source *source, struct offline *o)
{
	int status;
	int r;

	*o = (struct offline){ .root_fd = -1 };
	r = vault_open(path, lock, &o->vault);
	if (r)
		return exitcode_report_vault("open", path, r);
	status = passphrase_unlock(o->vault, path, source);
	return status ? status : open_tree_of(engine, path, lock == VAULT_SHARED, o);
}

void offline_close(struct offline *o)
{
	if (o->vault)
		vault_ending(o->vault);
	side_free(o->side);
	settler_stop(o->settler);
	vault_tree_close(&o->store, o->tree);
	if (o->vault)
		fdio_close(o->root_fd);
	vault_close(o->vault);
	*o = (struct offline){ .root_fd = -1 };
}
