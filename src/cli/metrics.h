/* SPDX-License-Identifier: MIT */
/* metrics - the status of a mount in the text format of Prometheus. */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include <jansson.h>

/*
 * Print what the mount on mountpoint said on standard output.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
void metrics_show(json_t *status, const char *mountpoint);

#endif /* CLI_METRICS_H */
