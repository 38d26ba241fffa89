/* SPDX-License-Identifier: MIT */
/* Idle processors: see idle.h for the contract. */
#include "engine/idle.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fdio.h"

enum {
	FIELDS = 8, /* user nice system idle iowait irq softirq steal; the others are in these */
	AT_IDLE = 3,
	AT_IOWAIT = 4,
};

uint32_t idle_from_text(struct idle *last, const char *text, uint32_t processors)
{
	uint64_t f[FIELDS];
	struct idle now = { 0 };
	struct idle since;

	if (sscanf(text,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64 " %" SCNu64,
		   &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6], &f[7]) != FIELDS)
		return 0;
	for (int i = 0; i < FIELDS; i++)
		now.all += f[i];
	now.idle = f[AT_IDLE] + f[AT_IOWAIT];
	since = *last;
	*last = now;
	if (!since.all || now.all <= since.all || now.idle < since.idle)
		return 0; /* the first look, or counters that went back */
	return (uint32_t)((now.idle - since.idle) * processors / (now.all - since.all));
}

uint32_t idle_processors(struct idle *last)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	char text[512];
	ssize_t size;

	if (fd < 0)
		return 0;
	size = fdio_pread_some(fd, text, sizeof(text) - 1, 0);
	fdio_close(fd);
	if (size < 0 || n < 1)
		return 0;
	text[size] = '\0';
	return idle_from_text(last, text, (uint32_t)n);
}
