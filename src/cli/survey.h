/* SPDX-License-Identifier: MIT */
/*
 * survey - how much there will be to do, found out beside the work: a thread
 * walks the same inputs and adds up their sizes.
 */
#ifndef CLI_SURVEY_H
#define CLI_SURVEY_H

#include <stdint.h>

#include "cli/inputs.h"

struct survey;

/* Start it (spec is borrowed); NULL, which the others take, if that cannot be done. */
struct survey *survey_start(const struct inputs_spec *spec);

/* Bytes of all inputs, or 0 as long as that is not known. */
uint64_t survey_total(struct survey *s);

/* End it, finished or not. */
void survey_stop(struct survey *s);

#endif /* CLI_SURVEY_H */
