/* SPDX-License-Identifier: MIT */
/* cryptfs-mount VAULT MOUNTPOINT: see cryptfs-mount(1). */
#include "base/log.h"
#include "fs/exitcode.h"
#include "fs/mount.h"
#include "fs/options.h"

int main(int argc, char **argv)
{
	struct options o;
	int status;
	int r;

	log_ident("cryptfs");
	r = options_parse(argc, argv, &o);
	if (r == OPTIONS_HELP)
		status = STATUS_OK;
	else if (r)
		status = r < 0 ? STATUS_SYSTEM : STATUS_USAGE;
	else
		status = mount_run(&o);
	options_fini(&o);
	return status;
}
