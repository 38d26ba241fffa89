/* SPDX-License-Identifier: MIT */
/* Limits: see limit.h for the contract. */
#include "base/limit.h"

#include <sys/resource.h>

void limit_raise(int resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(resource, &limit);
}
