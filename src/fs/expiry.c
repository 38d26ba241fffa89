/* SPDX-License-Identifier: MIT */
/* When a mount is unused: see expiry.h for the contract. */
#include "fs/expiry.h"

#include <stdatomic.h>

/* Who holds a mount may let go without a request, as by leaving a directory. */
enum { RETRY_MS = 10 * 1000 };

void expiry_init(struct expiry *e, uint64_t after_ms, uint64_t now_ms)
{
	e->after_ms = after_ms;
	e->since_ms = now_ms;
	e->uses = e->next_ms = 0;
	atomic_store(&e->refused, 0);
}

bool expiry_is_due(struct expiry *e, uint64_t uses, uint64_t now_ms)
{
	if (uses != e->uses) {
		e->uses = uses;
		e->since_ms = now_ms;
	}
	return e->after_ms && now_ms - e->since_ms >= e->after_ms && now_ms >= e->next_ms;
}

void expiry_refused(struct expiry *e, uint64_t now_ms)
{
	atomic_fetch_add(&e->refused, 1);
	e->next_ms = now_ms + (e->after_ms < RETRY_MS ? e->after_ms : RETRY_MS);
}
