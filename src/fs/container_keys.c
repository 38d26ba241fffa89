/* SPDX-License-Identifier: MIT */
/* Keys of containers: see container_keys.h for the contract. */
#include "fs/container_keys.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/secmem.h"
#include "fs/vault_kdf.h"

/* Lies in secmem. */
struct container_keyset {
	struct container_keyset *next;
	struct vault_kdf kdf;
	uint8_t salt[VAULT_CONFIG_SALT_SIZE];
	uint32_t users; /* and one for being the last */
	struct keyring ring;
};

struct container_keys {
	pthread_mutex_t lock;
	const struct vault_secret *secret;
	struct container_keyset *sets;
	struct container_keyset *last;
};

int container_keys_new(const struct vault_secret *secret, struct container_keys **out)
{
	struct container_keys *k = calloc(1, sizeof(*k));

	*out = k;
	if (!k)
		return -ENOMEM;
	k->secret = secret;
	return -pthread_mutex_init(&k->lock, NULL);
}

static void drop(struct container_keys *k, struct container_keyset *set)
{
	struct container_keyset **at = &k->sets;

	if (!set || --set->users)
		return;
	while (*at != set)
		at = &(*at)->next;
	*at = set->next;
	secmem_free(set);
}

void container_keys_free(struct container_keys *k)
{
	if (!k)
		return;
	drop(k, k->last);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

static bool is_for(const struct container_keyset *set, const struct container_header *h)
{
	return set->kdf.memory == h->kdf.memory && set->kdf.operations == h->kdf.operations &&
	       memcmp(set->salt, h->salt, sizeof(set->salt)) == 0;
}

static int derive(const struct container_keys *k, const struct container_header *h,
		  struct container_keyset **out)
{
	struct container_keyset *set = secmem_new(sizeof(*set));
	uint8_t *master = secmem_new(KEYS_MASTER_SIZE);
	int r = set && master ? 0 : -ENOMEM;

	if (!r)
		r = vault_kdf_run(&h->kdf, h->salt, k->secret, master);
	if (!r)
		r = keys_derive(master, &set->ring);
	if (!r) {
		set->kdf = h->kdf;
		memcpy(set->salt, h->salt, sizeof(set->salt));
		*out = set;
		set = NULL;
	}
	secmem_free(master);
	secmem_free(set);
	return r;
}

/* The set of h, with k locked. */
static int find(struct container_keys *k, const struct container_header *h,
		struct container_keyset **out)
{
	int r;

	for (*out = k->sets; *out; *out = (*out)->next)
		if (is_for(*out, h))
			return 0;
	r = derive(k, h, out);
	if (r)
		return r;
	(*out)->next = k->sets;
	k->sets = *out;
	return 0;
}

int container_keys_get(struct container_keys *k, const struct container_header *h,
		       struct container_keyset **out)
{
	int r;

	*out = NULL;
	(void)pthread_mutex_lock(&k->lock);
	r = find(k, h, out);
	if (!r) {
		(*out)->users++;
		if (k->last != *out) {
			(*out)->users++;
			drop(k, k->last);
			k->last = *out;
		}
	}
	(void)pthread_mutex_unlock(&k->lock);
	return r;
}

void container_keys_put(struct container_keys *k, struct container_keyset *set)
{
	(void)pthread_mutex_lock(&k->lock);
	drop(k, set);
	(void)pthread_mutex_unlock(&k->lock);
}

const struct keyring *container_keyset_ring(const struct container_keyset *set)
{
	return &set->ring;
}
