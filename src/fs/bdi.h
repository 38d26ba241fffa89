/* SPDX-License-Identifier: MIT */
/*
 * bdi - what the kernel lets a mount have of its memory, in /sys/class/bdi:
 * how far it reads ahead, and how much of what was written may wait there.
 */
#ifndef FS_BDI_H
#define FS_BDI_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Widen the limits of the mount with this st_dev: reads of 1 MiB in place of
 * 128 KiB; with writeback, 40 % of the memory for dirty pages in place of
 * 1 %.  Not before INIT was replied to: the kernel sets them then.  Silent
 * where it is not allowed (only root may) or there is nothing of the kind.
 */
void bdi_widen(dev_t dev, bool writeback);

#endif /* FS_BDI_H */
