/* SPDX-License-Identifier: MIT */
/* Open addressing, three quarters full at most: see check_set.h. */
#include "fs/check_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { FIRST_CAPACITY = 64 };

struct key {
	uint8_t bytes[CHECK_KEY_SIZE];
};

struct check_set {
	struct key *keys; /* zeros: free */
	size_t capacity;
	size_t used;
	bool has_zeros; /* the key of zeros, which has no place among them */
};

struct check_set *check_set_new(void)
{
	return calloc(1, sizeof(struct check_set));
}

void check_set_free(struct check_set *set)
{
	if (!set)
		return;
	free(set->keys);
	free(set);
}

/* The place of a key, or where it would be. */
static size_t place_of(const struct key *keys, size_t capacity, const uint8_t *k)
{
	/* Keys that are not random, such as inode numbers, spread, too. */
	uint64_t hash = (bytes_get64(k) ^ bytes_get64(k + 8)) * 0x9e3779b97f4a7c15;
	size_t i = (size_t)(hash >> 20) & (capacity - 1);

	while (!bytes_are_zero(keys[i].bytes, CHECK_KEY_SIZE) &&
	       memcmp(keys[i].bytes, k, CHECK_KEY_SIZE) != 0)
		i = (i + 1) & (capacity - 1);
	return i;
}

static int grow(struct check_set *set)
{
	size_t capacity = set->capacity ? set->capacity * 2 : FIRST_CAPACITY;
	struct key *keys = calloc(capacity, sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < set->capacity; i++)
		if (!bytes_are_zero(set->keys[i].bytes, CHECK_KEY_SIZE))
			keys[place_of(keys, capacity, set->keys[i].bytes)] = set->keys[i];
	free(set->keys);
	set->keys = keys;
	set->capacity = capacity;
	return 0;
}

int check_set_add(struct check_set *set, const uint8_t k[CHECK_KEY_SIZE])
{
	bool had_zeros = set->has_zeros;
	size_t i;

	if (bytes_are_zero(k, CHECK_KEY_SIZE)) {
		set->has_zeros = true;
		return !had_zeros;
	}
	if (set->used >= set->capacity / 4 * 3 && grow(set))
		return -ENOMEM;
	i = place_of(set->keys, set->capacity, k);
	if (!bytes_are_zero(set->keys[i].bytes, CHECK_KEY_SIZE))
		return 0;
	memcpy(set->keys[i].bytes, k, CHECK_KEY_SIZE);
	set->used++;
	return 1;
}

bool check_set_has(const struct check_set *set, const uint8_t k[CHECK_KEY_SIZE])
{
	if (bytes_are_zero(k, CHECK_KEY_SIZE))
		return set->has_zeros;
	return set->capacity &&
	       !bytes_are_zero(set->keys[place_of(set->keys, set->capacity, k)].bytes,
			       CHECK_KEY_SIZE);
}
