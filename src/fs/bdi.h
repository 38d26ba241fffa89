/* SPDX-License-Identifier: MIT */
/*
 * bdi - what the kernel lets a mount have of its memory, in /sys/class/bdi:
 * how far it reads ahead, and how much of what was written may wait there.
 */
#ifndef FS_BDI_H
#define FS_BDI_H

#include <stdbool.h>
#include <sys/types.h>

/* Descriptors, -1 for each that there is none of. */
struct bdi {
	int read_ahead;
	int max_ratio;
	int strict_limit;
};

#define BDI_NONE ((struct bdi){ .read_ahead = -1, .max_ratio = -1, .strict_limit = -1 })

/*
 * Open the limits of the mount with this st_dev, in a process that still can;
 * the last two only with writeback.  Silent where it is not allowed (only root
 * may) or there is nothing of the kind.
 */
void bdi_open(dev_t dev, bool writeback, struct bdi *b);

/*
 * Widen them and close them: reads of 1 MiB in place of 128 KiB; with
 * writeback, 40 % of the memory for dirty pages in place of 1 %.  Not before
 * INIT was replied to: the kernel sets them then.
 */
void bdi_widen(struct bdi *b);

/* Close what is open.  Nothing to do after bdi_widen. */
void bdi_close(struct bdi *b);

#endif /* FS_BDI_H */
