/* SPDX-License-Identifier: MIT */
/*
 * Limits of a mount's backing device: see bdi.h.
 *
 * A limit that is wider already stays: somebody wanted it so.  The 1 % that
 * FUSE mounts get comes from strict_limit, which counts what waits for this
 * mount alone, however much memory is free; kernels before 6.2 cannot take
 * it back and have the larger share of it only.
 */
#include "fs/bdi.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdio.h"

enum {
	READ_AHEAD_KIB = 1024, /* the largest request */
	MAX_RATIO = 40,	       /* percent of the memory for dirty pages */
};

static int open_knob(dev_t dev, const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/%s", major(dev), minor(dev), name);
	return open(path, O_RDWR | O_CLOEXEC);
}

static long read_number(int fd)
{
	char text[32] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : -1;
}

static void write_number(int fd, long value)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "%ld\n", value);

	(void)!pwrite(fd, text, (size_t)size, 0);
}

static void raise_to(int fd, long value)
{
	long now = fd < 0 ? -1 : read_number(fd);

	if (now >= 0 && now < value)
		write_number(fd, value);
}

void bdi_open(dev_t dev, bool writeback, struct bdi *b)
{
	*b = BDI_NONE;
	b->read_ahead = open_knob(dev, "read_ahead_kb");
	if (!writeback)
		return;
	b->max_ratio = open_knob(dev, "max_ratio");
	b->strict_limit = open_knob(dev, "strict_limit");
}

void bdi_widen(struct bdi *b)
{
	raise_to(b->read_ahead, READ_AHEAD_KIB);
	raise_to(b->max_ratio, MAX_RATIO);
	if (b->strict_limit >= 0)
		write_number(b->strict_limit, 0);
	bdi_close(b);
}

void bdi_close(struct bdi *b)
{
	fdio_close(b->read_ahead);
	fdio_close(b->max_ratio);
	fdio_close(b->strict_limit);
	*b = BDI_NONE;
}
