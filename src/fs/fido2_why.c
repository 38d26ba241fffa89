/* SPDX-License-Identifier: MIT */
/* What answers of security keys mean: see fido2.h for the contract. */
#include <string.h>

#include "fs/fido2.h"

const char *fido2_message(int r)
{
	switch (r) {
	case FIDO2_ABSENT:
		return "this cryptfs was built without libfido2 (build it with it)";
	case FIDO2_NO_DEVICE:
		return "no security key there, or it may not be used (plug it in)";
	case FIDO2_OTHER:
		return "it is not the security key of this vault (plug in the right one)";
	case FIDO2_UNSUPPORTED:
		return "the security key cannot do this: it has no hmac-secret (use another one)";
	case FIDO2_PIN_NEEDED:
		return "the security key wants its PIN (use a terminal)";
	case FIDO2_PIN_WRONG:
		return "the PIN is wrong (try again; it locks after some more)";
	case FIDO2_PIN_LOCKED:
		return "the security key is locked after wrong PINs (unplug it; see its maker)";
	case FIDO2_UNTOUCHED:
		return "the security key was not touched in time (try again)";
	case FIDO2_FAILED:
		return "the security key failed (plug it in again)";
	default:
		return strerror(-r);
	}
}
