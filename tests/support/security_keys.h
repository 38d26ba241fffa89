/* SPDX-License-Identifier: MIT */
/*
 * security_keys - stand-ins for the devices below libfido2: each has a key of its own
 * and answers as one does.  Link with security_keys.c and --wrap what it wraps.
 */
#ifndef TESTS_SUPPORT_SECURITY_KEYS_H
#define TESTS_SUPPORT_SECURITY_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SECURITY_KEYS_MAX = 2,
};

struct security_key {
	const char *path;
	uint8_t key[32];
	const char *pin;
	bool has_hmac_secret;
	int error; /* what it answers instead of doing something */
	int n_touches;
};

/* Those that are plugged in: the first n_security_keys. */
extern struct security_key security_keys[SECURITY_KEYS_MAX];
extern size_t n_security_keys;

/* Both, "/dev/first" and "/dev/second", without a PIN. */
void security_keys_reset(void);

#endif /* TESTS_SUPPORT_SECURITY_KEYS_H */
