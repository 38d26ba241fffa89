/* SPDX-License-Identifier: MIT */
/* Symlink targets and their stored form: see links.h for the contract. */
#include "fs/links.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/base64.h"
#include "fs/box.h"
#include "fs/names.h"
#include "fs/sidecar.h"

#define IN_SIDECAR "@" /* no base64, so no seal can look like it */

enum {
	LABEL_SIZE = 4,
	AAD_MAX = LABEL_SIZE + FORMAT_DIR_ID_SIZE + NAMES_STORED_MAX,
	SEAL_MAX = BOX_OVERHEAD + LINKS_PLAIN_MAX,
};

_Static_assert(2 * BASE64_SIZE(SEAL_MAX) + 1 <= LINKS_TEXT_MAX, "two seals fit a text");
_Static_assert((int)LINKS_TEXT_MAX <= (int)SIDECAR_SIZE_MAX, "every text fits a sidecar");

/* "link" ‖ directory id ‖ stored name: its size, or 0 for too long a name. */
static size_t link_aad(const struct links_place *place, uint8_t aad[AAD_MAX])
{
	size_t stored_size = strnlen(place->stored, NAMES_STORED_MAX + 1);

	if (stored_size > NAMES_STORED_MAX)
		return 0;
	memcpy(aad, "link", LABEL_SIZE);
	memcpy(aad + LABEL_SIZE, place->dir_id, FORMAT_DIR_ID_SIZE);
	memcpy(aad + LABEL_SIZE + FORMAT_DIR_ID_SIZE, place->stored, stored_size);
	return LABEL_SIZE + FORMAT_DIR_ID_SIZE + stored_size;
}

/* Write the text of one seal: 0 or -errno. */
static int seal_one(const struct keyring *keys, enum cipher_suite suite, const char *target,
		    const struct links_place *place, char *text)
{
	uint8_t raw[SEAL_MAX];
	uint8_t aad[AAD_MAX];
	struct box_place box = { suite, keys->links, aad, link_aad(place, aad) };
	size_t size = strlen(target);
	int r;

	if (!box.aad_size)
		return -ENAMETOOLONG;
	memcpy(raw + BOX_OVERHEAD, target, size);
	r = box_seal(&box, raw, size);
	if (!r)
		base64_encode(raw, BOX_OVERHEAD + size, text);
	return r;
}

int links_seal(const struct keyring *keys, enum cipher_suite suite, const char *target,
	       const struct links_place *first, const struct links_place *second, char *text)
{
	size_t target_size = strnlen(target, LINKS_PLAIN_MAX + 1);
	int r;

	if (target_size < 1)
		return -EINVAL;
	if (target_size > LINKS_PLAIN_MAX)
		return -ENAMETOOLONG;
	r = seal_one(keys, suite, target, first, text);
	if (r || !second)
		return r;
	text += strlen(text);
	*text++ = '.';
	return seal_one(keys, suite, target, second, text);
}

/* Try one seal: 0, LINKS_DAMAGED or -errno. */
static int open_one(const struct box_place *box, const char *text, size_t text_size,
		    char target[LINKS_PLAIN_MAX + 1])
{
	uint8_t raw[SEAL_MAX];
	size_t size;
	int r;

	if (base64_decode(text, text_size, raw, sizeof(raw), &size))
		return LINKS_DAMAGED;
	r = box_open(box, raw, size);
	if (r)
		return r == BOX_FORGED ? LINKS_DAMAGED : r;
	size -= BOX_OVERHEAD;
	if (size < 1 || memchr(raw + BOX_OVERHEAD, 0, size))
		return LINKS_DAMAGED;
	memcpy(target, raw + BOX_OVERHEAD, size);
	target[size] = 0;
	return 0;
}

int links_open(const struct keyring *keys, enum cipher_suite suite, const char *text,
	       const struct links_place *place, char target[LINKS_PLAIN_MAX + 1])
{
	uint8_t aad[AAD_MAX];
	struct box_place box = { suite, keys->links, aad, link_aad(place, aad) };
	const char *end = strchrnul(text, '.');
	int r;

	if (!box.aad_size)
		return -ENAMETOOLONG;
	/* No more than two, of the same target: the length of one says that of the other. */
	if (*end && (strchr(end + 1, '.') || strlen(end + 1) != (size_t)(end - text)))
		return LINKS_DAMAGED;
	r = open_one(&box, text, (size_t)(end - text), target);
	if (r == LINKS_DAMAGED && *end)
		r = open_one(&box, end + 1, strlen(end + 1), target);
	return r;
}

/* ---- on disk ----------------------------------------------------------- */

void links_sidecar_name(const char *stored, char name[64])
{
	uint8_t hash[32];

	(void)crypto_generichash(hash, sizeof(hash), (const uint8_t *)stored, strlen(stored), NULL,
				 0);
	memcpy(name, LINKS_SIDECAR, sizeof(LINKS_SIDECAR) - 1);
	base64_encode(hash, sizeof(hash), name + sizeof(LINKS_SIDECAR) - 1);
}

static int make_symlink(const char *target, int dirfd, const char *name)
{
	return symlinkat(target, dirfd, name) ? -errno : 0;
}

/* True if dirfd has something of this name: it keeps its sidecar then. */
static bool exists(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void links_sidecar_tidy(int dirfd, const char *stored)
{
	char shown[2]; /* a text that is inline is longer */
	ssize_t n = readlinkat(dirfd, stored, shown, sizeof(shown));

	if (n > 1 || (n < 0 && (errno == ENOENT || errno == EINVAL)))
		links_sidecar_remove(dirfd, stored);
}

int links_create_as(int dirfd, const char *temporary, const char *stored, const char *text)
{
	char sidecar[64];
	int r = -ENAMETOOLONG;

	if (strlen(text) <= LINKS_STORED_MAX)
		r = make_symlink(text, dirfd, temporary);
	/* Some filesystems take less than 4095 bytes. */
	if (r != -ENAMETOOLONG)
		return r;
	if (exists(dirfd, temporary))
		return -EEXIST;
	links_sidecar_name(stored, sidecar);
	r = sidecar_write(dirfd, sidecar, text, strlen(text));
	if (!r)
		r = make_symlink(IN_SIDECAR, dirfd, temporary);
	if (r)
		links_sidecar_tidy(dirfd, stored);
	return r;
}

int links_create(int dirfd, const char *stored, const char *text)
{
	return links_create_as(dirfd, stored, stored, text);
}

/* The value of one attribute goes to path; what cannot be kept is lost. */
static void copy_one(const char *from, const char *to, const char *name)
{
	ssize_t size = getxattr(from, name, NULL, 0);
	uint8_t *value = size < 0 ? NULL : malloc((size_t)size + 1);

	if (value) {
		size = getxattr(from, name, value, (size_t)size);
		if (size >= 0)
			(void)setxattr(to, name, value, (size_t)size, 0);
	}
	free(value);
}

static void copy_all(const char *from, const char *to)
{
	ssize_t size = listxattr(from, NULL, 0);
	char *list = size > 0 ? malloc((size_t)size) : NULL;

	if (!list)
		return;
	size = listxattr(from, list, (size_t)size);
	for (char *name = list; name < list + size; name += strlen(name) + 1)
		copy_one(from, to, name);
	free(list);
}

static void copy_attributes(int dirfd, const char *from, const char *to)
{
	int from_fd = openat(dirfd, from, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int to_fd = openat(dirfd, to, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char from_path[32];
	char to_path[32];

	(void)snprintf(from_path, sizeof(from_path), "/proc/self/fd/%d", from_fd);
	(void)snprintf(to_path, sizeof(to_path), "/proc/self/fd/%d", to_fd);
	if (from_fd >= 0 && to_fd >= 0)
		copy_all(from_path, to_path);
	fdio_close(to_fd);
	fdio_close(from_fd);
}

/* The new symlink looks like the old one: best effort, it is its content that counts. */
static void copy_looks(int dirfd, const char *old, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	copy_attributes(dirfd, old, name);
	(void)!fchownat(dirfd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
	(void)utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW);
}

int links_replace(int dirfd, const char *stored, const char *text, struct stat *st)
{
	char temporary[NAMES_STORED_MAX + 1];
	int r = names_temporary(temporary);

	if (!r)
		r = links_create_as(dirfd, temporary, stored, text);
	if (r)
		return r;
	copy_looks(dirfd, stored, temporary, st);
	if (renameat(dirfd, temporary, dirfd, stored))
		r = -errno;
	links_sidecar_tidy(dirfd, stored); /* the text that went may have needed one */
	if (!r && fstatat(dirfd, stored, st, AT_SYMLINK_NOFOLLOW))
		r = -errno;
	if (r)
		(void)unlinkat(dirfd, temporary, 0);
	return r;
}

bool links_has_sidecar(int dirfd, const char *stored)
{
	char shown[2]; /* a text that is inline is longer */

	return readlinkat(dirfd, stored, shown, sizeof(shown)) == 1;
}

bool links_has_two_seals(const char *text)
{
	return strchr(text, '.') != NULL;
}

static int read_sidecar(int dirfd, const char *stored, char *text)
{
	char sidecar[64];
	size_t size;
	int r;

	links_sidecar_name(stored, sidecar);
	r = sidecar_read(dirfd, sidecar, text, LINKS_TEXT_MAX, &size);
	if (r)
		return r == SIDECAR_DAMAGED ? LINKS_DAMAGED : r;
	text[size] = 0;
	return strlen(text) == size ? 0 : LINKS_DAMAGED;
}

int links_read(int dirfd, const char *stored, char *text)
{
	ssize_t size = readlinkat(dirfd, stored, text, LINKS_STORED_MAX + 1);

	if (size < 0)
		return -errno;
	if (size > LINKS_STORED_MAX)
		return LINKS_DAMAGED;
	text[size] = 0;
	return strcmp(text, IN_SIDECAR) == 0 ? read_sidecar(dirfd, stored, text) : 0;
}

void links_sidecar_remove(int dirfd, const char *stored)
{
	char sidecar[64];

	links_sidecar_name(stored, sidecar);
	(void)unlinkat(dirfd, sidecar, 0); /* one that stays is no entry */
}
