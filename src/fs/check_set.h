/* SPDX-License-Identifier: MIT */
/*
 * check_set - a growing set of keys of 16 bytes that are as good as random, or
 * are not many; about 16 to 43 bytes for each.
 */
#ifndef FS_CHECK_SET_H
#define FS_CHECK_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHECK_KEY_SIZE = 16 };

struct check_set;

struct check_set *check_set_new(void);
void check_set_free(struct check_set *set);

/* Add a key: 1 if it is new, 0 if it was there, -ENOMEM. */
int check_set_add(struct check_set *set, const uint8_t key[CHECK_KEY_SIZE]);

bool check_set_has(const struct check_set *set, const uint8_t key[CHECK_KEY_SIZE]);

#endif /* FS_CHECK_SET_H */
