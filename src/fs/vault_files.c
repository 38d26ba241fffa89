/* SPDX-License-Identifier: MIT */
/* Configuration files of a vault: see vault_files.h for the contract. */
#include "fs/vault_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "fs/dirrec.h"

#define TEMPORARY "cryptfs.conf.tmp"

const char *vault_files_name(enum vault_copy copy)
{
	return copy == VAULT_PRIMARY ? "cryptfs.conf" : "cryptfs.conf.bak";
}

const char *vault_files_temporary(void)
{
	return TEMPORARY;
}

/* ---- reading ----------------------------------------------------------- */

static int unusable(struct vault_config_problem *problem, const char *why)
{
	(void)snprintf(problem->text, sizeof(problem->text), "%s", why);
	return VAULT_DAMAGED;
}

/* What a failed open or read means; a link or a bad disk is damage. */
static int failure(int error, struct vault_config_problem *problem)
{
	switch (error) {
	case ENOENT:
		(void)unusable(problem, "missing");
		return VAULT_NOT_FOUND;
	case ELOOP:
	case ENXIO:
	case ENODEV:
		return unusable(problem, "not a regular file");
	case EIO:
		return unusable(problem, "cannot be read from the disk");
	default:
		return -error;
	}
}

static int decode_file(int fd, struct vault_config *config, struct vault_config_problem *problem)
{
	struct stat st;
	char *json;
	ssize_t n;
	int r;

	if (fstat(fd, &st))
		return failure(errno, problem);
	if (!S_ISREG(st.st_mode))
		return unusable(problem, "not a regular file");
	if (st.st_size > VAULT_CONFIG_MAX_SIZE)
		return unusable(problem, "larger than 1 MiB");
	json = malloc((size_t)st.st_size + 1);
	if (!json)
		return -ENOMEM;
	n = fdio_read_all(fd, json, (size_t)st.st_size);
	r = n < 0 ? failure((int)-n, problem)
		  : vault_config_decode_why(json, (size_t)n, config, problem);
	free(json);
	return r;
}

static int load(int dirfd, const char *name, int flags, struct vault_config *config,
		struct vault_config_problem *problem)
{
	int fd = fdio_openat_quietly(dirfd, name,
				     O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	int r;

	problem->text[0] = '\0';
	memset(config, 0, sizeof(*config));
	if (fd < 0)
		return failure(errno, problem);
	r = decode_file(fd, config, problem);
	fdio_close(fd);
	return r;
}

int vault_files_load(int dirfd, enum vault_copy copy, struct vault_config *config,
		     struct vault_config_problem *problem)
{
	return load(dirfd, vault_files_name(copy), O_NOFOLLOW, config, problem);
}

int vault_files_load_path(const char *path, struct vault_config *config,
			  struct vault_config_problem *problem)
{
	return load(AT_FDCWD, path, 0, config, problem);
}

/* ---- replacing --------------------------------------------------------- */

static int write_new(int dirfd, const char *name, const char *text)
{
	int fd;
	int r;

	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fdio_write_full(fd, text, strlen(text));
	if (!r && fsync(fd))
		r = -errno;
	fdio_close(fd);
	return r;
}

static int write_temporary(int dirfd, const char *text)
{
	if (unlinkat(dirfd, TEMPORARY, 0) && errno != ENOENT)
		return -errno;
	return write_new(dirfd, TEMPORARY, text);
}

int vault_files_save_path(const char *path, const struct vault_config *config)
{
	char *text;
	int r = vault_config_encode(config, &text);

	if (!r) {
		r = write_new(AT_FDCWD, path, text);
		if (r && r != -EEXIST)
			(void)unlink(path); /* the failure before it counts */
	}
	free(text);
	return r;
}

/* Some filesystems lack RENAME_NOREPLACE; the lock on the vault must do there. */
static int rename_new(int dirfd, const char *name)
{
	if (!renameat2(dirfd, TEMPORARY, dirfd, name, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL)
		return -errno;
	if (!faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return -EEXIST;
	return renameat(dirfd, TEMPORARY, dirfd, name) ? -errno : 0;
}

static int store_copy(int dirfd, enum vault_copy copy, const char *text, bool create)
{
	const char *name = vault_files_name(copy);
	int r = write_temporary(dirfd, text);

	if (!r && create)
		r = rename_new(dirfd, name);
	else if (!r && renameat(dirfd, TEMPORARY, dirfd, name))
		r = -errno;
	if (r)
		(void)unlinkat(dirfd, TEMPORARY, 0); /* the failure before it counts */
	else if (fsync(dirfd))
		r = -errno;
	return r;
}

int vault_files_store(int dirfd, const struct vault_config *config, bool create)
{
	char *text;
	int r = vault_config_encode(config, &text);
	int r_backup;

	if (!r)
		r = store_copy(dirfd, VAULT_PRIMARY, text, create);
	if (!r) {
		r_backup = store_copy(dirfd, VAULT_BACKUP, text, create);
		if (r_backup)
			log_warn("%s could not be written: %s", vault_files_name(VAULT_BACKUP),
				 strerror(-r_backup));
	}
	free(text);
	return r;
}

/* ---- before there is a vault ------------------------------------------- */

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_leftover(const char *name)
{
	return is_dots(name) || strcmp(name, "tree") == 0 || strcmp(name, TEMPORARY) == 0;
}

/* 1 if every entry of the directory is accepted or there is none such, 0, or -errno. */
static int has_only(int dirfd, const char *path, bool (*accept)(const char *))
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 1;

	if (!dir) {
		r = fd < 0 && errno == ENOENT ? 1 : -errno;
		fdio_close(fd);
		return r;
	}
	errno = 0;
	while (r == 1 && (entry = readdir(dir)))
		r = accept(entry->d_name);
	if (r == 1 && errno)
		r = -errno;
	(void)closedir(dir); /* only read */
	return r;
}

int vault_files_tree_is_empty(int dirfd)
{
	int r = has_only(dirfd, "tree", is_dots);

	return r == -ENOTDIR || r == -ELOOP ? 0 : r;
}

int vault_files_is_blank(int dirfd)
{
	int r = has_only(dirfd, ".", is_leftover);

	return r == 1 ? vault_files_tree_is_empty(dirfd) : r;
}

static bool is_record(const char *name)
{
	return is_dots(name) || strcmp(name, DIRREC_FILE) == 0;
}

static bool is_of_vault(const char *name)
{
	return is_leftover(name) || strcmp(name, vault_files_name(VAULT_PRIMARY)) == 0 ||
	       strcmp(name, vault_files_name(VAULT_BACKUP)) == 0;
}

int vault_files_is_unused(int dirfd)
{
	int r = has_only(dirfd, ".", is_of_vault);

	return r == 1 ? has_only(dirfd, "tree", is_record) : r;
}

int vault_files_clear(int dirfd)
{
	static const char *const names[] = { "cryptfs.conf", "cryptfs.conf.bak", TEMPORARY,
					     ("tree/" DIRREC_FILE) };
	int r = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (unlinkat(dirfd, names[i], 0) && errno != ENOENT && errno != ENOTDIR)
			r = -errno;
	if (unlinkat(dirfd, "tree", AT_REMOVEDIR) && errno != ENOENT)
		r = -errno;
	return r;
}
