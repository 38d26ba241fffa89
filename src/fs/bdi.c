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

static void raise_to(dev_t dev, const char *name, long value)
{
	int fd = open_knob(dev, name);
	long now;

	if (fd < 0)
		return;
	now = read_number(fd);
	if (now >= 0 && now < value)
		write_number(fd, value);
	fdio_close(fd);
}

static void clear(dev_t dev, const char *name)
{
	int fd = open_knob(dev, name);

	if (fd < 0)
		return;
	write_number(fd, 0);
	fdio_close(fd);
}

void bdi_widen(dev_t dev, bool writeback)
{
	raise_to(dev, "read_ahead_kb", READ_AHEAD_KIB);
	if (!writeback)
		return;
	raise_to(dev, "max_ratio", MAX_RATIO);
	clear(dev, "strict_limit");
}
