/* SPDX-License-Identifier: MIT */
/*
 * names DIRECTORY: names of any bytes and lengths, long paths and targets,
 * listing a large directory that changes, one inode for all names.
 */
#include "check.h"

#include <dirent.h>
#include <limits.h>

enum { MANY = 1500 };

static void make(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
}

static ino_t inode_of(int dirfd, const char *name)
{
	struct stat st;

	CHECK(!fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW));
	return st.st_ino;
}

/* How often a name is listed, as this inode. */
static int times_listed(const char *name, ino_t ino)
{
	DIR *d = opendir(".");
	int n = 0;

	CHECK(d);
	for (struct dirent *e; (e = readdir(d));)
		if (!strcmp(e->d_name, name)) {
			CHECK(e->d_ino == ino);
			n++;
		}
	(void)closedir(d);
	return n;
}

static void try_name(const char *name)
{
	make(AT_FDCWD, name);
	CHECK(times_listed(name, inode_of(AT_FDCWD, name)) == 1);
	CHECK(!rename(name, "elsewhere") && !rename("elsewhere", name));
	CHECK(!unlink(name) && times_listed(name, 0) == 0);
	CHECK(!symlink(name, "link"));
	CHECK(!mkdir(name, 0700) && !access("link", X_OK) && !rmdir(name) && !unlink("link"));
}

static void names_of_any_bytes(void)
{
	static const char *const odd[] = { ".cryptfs-dir",
					   ".cryptfs-tmp.1",
					   "cryptfs-damaged-x",
					   "long.x.name",
					   "...",
					   " ",
					   "a\nb",
					   "\xff\xfe",
					   "-rf",
					   "*",
					   "\xc3\x28",
					   "CON" };
	char name[NAME_MAX + 2];

	for (int i = 1; i < 256; i++) {
		if (i == '/')
			continue;
		(void)snprintf(name, sizeof(name), "x%cy", i);
		make(AT_FDCWD, name);
	}
	for (int i = 1; i < 256; i++) {
		if (i == '/')
			continue;
		(void)snprintf(name, sizeof(name), "x%cy", i);
		CHECK(times_listed(name, inode_of(AT_FDCWD, name)) == 1);
		CHECK(!unlink(name));
	}
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		try_name(odd[i]);
	for (int length = 1; length <= NAME_MAX; length += length < 150 ? 37 : 17) {
		memset(name, 0xe4, sizeof(name));
		name[length] = '\0';
		try_name(name);
	}
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	try_name(name);
	memset(name, 'n', NAME_MAX + 1);
	name[NAME_MAX + 1] = '\0';
	CHECK_FAILS(open(name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
	CHECK_FAILS(mkdir(name, 0700), ENAMETOOLONG);
	CHECK_FAILS(access(name, F_OK), ENAMETOOLONG);
	make(AT_FDCWD, "x");
	CHECK_FAILS(rename("x", name), ENAMETOOLONG);
	CHECK(!unlink("x"));
}

/* "component/component/…" of size bytes, made on the way. */
static void make_path(char *path, size_t size)
{
	int at = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t used = 0;

	while (size - used > NAME_MAX + 1 + 10) {
		char name[NAME_MAX + 1];
		int next;

		memset(name, 'a' + (int)(used / 100 % 26), NAME_MAX - 55);
		name[NAME_MAX - 55] = '\0';
		CHECK(!mkdirat(at, name, 0700));
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		CHECK(next >= 0);
		close(at);
		at = next;
		used += (size_t)snprintf(path + used, size - used, "%s/", name);
	}
	memset(path + used, 'z', size - used);
	path[size] = '\0';
	path[used + NAME_MAX > size ? size : used + NAME_MAX] = '\0';
	close(at);
}

static void long_paths_and_targets(void)
{
	char path[PATH_MAX + 10];
	char read[PATH_MAX + 10];
	struct stat st;
	size_t lengths[] = { 1, 100, 255, 1000, 3000, 4000, PATH_MAX - 1 };

	make_path(path, PATH_MAX - 1);
	CHECK(strlen(path) == PATH_MAX - 1);
	close(check_open(path, O_RDWR | O_CREAT | O_EXCL));
	CHECK(!stat(path, &st));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memset(read, 't', lengths[i]);
		read[lengths[i]] = '\0';
		CHECK(!symlink(read, "link"));
		CHECK(!lstat("link", &st) && st.st_size == (off_t)lengths[i]);
		memset(read, 0, sizeof(read));
		CHECK(readlink("link", read, sizeof(read)) == (ssize_t)lengths[i]);
		CHECK(strspn(read, "t") == lengths[i]);
		CHECK(readlink("link", read, 1) == 1);
		CHECK(!rename("link", "link2"));
		CHECK(!lstat("link2", &st) && st.st_size == (off_t)lengths[i]);
		CHECK(readlink("link2", read, sizeof(read)) == (ssize_t)lengths[i]);
		CHECK(!unlink("link2"));
	}
	memset(read, 't', PATH_MAX);
	read[PATH_MAX] = '\0';
	CHECK_FAILS(symlink(read, "link"), ENAMETOOLONG);
	CHECK_FAILS(symlink("", "link"), ENOENT);
	/* By the longest path, a link's target is all of it. */
	CHECK(!symlink(path, "link") && !stat("link", &st) && S_ISREG(st.st_mode));
	CHECK(!unlink("link") && !unlink(path));
	while (strrchr(path, '/')) {
		*strrchr(path, '/') = '\0';
		CHECK(!rmdir(path));
	}
}

/* Take away what was seen and what was not, and add: the rest comes exactly once. */
static void a_changing_directory_is_listed_whole(void)
{
	static int seen[MANY];
	static bool gone[MANY];
	unsigned int random = 3;
	char name[32];
	int added = 0;
	DIR *d;
	int n = 0;

	CHECK(!mkdir("many", 0700) && !chdir("many"));
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "entry-%d", i);
		make(AT_FDCWD, name);
	}
	d = opendir(".");
	CHECK(d);
	for (struct dirent *e; (e = readdir(d)); n++) {
		int victim = rand_r(&random) % MANY;

		if (!strncmp(e->d_name, "entry-", 6))
			seen[atoi(e->d_name + 6)]++;
		(void)snprintf(name, sizeof(name), "entry-%d", victim);
		if (!gone[victim] && n % 2) {
			gone[victim] = true;
			CHECK(!unlink(name));
		}
		(void)snprintf(name, sizeof(name), "added-%d", added);
		if (added < MANY && ++added)
			make(AT_FDCWD, name);
	}
	for (int i = 0; i < MANY; i++)
		CHECK(gone[i] ? seen[i] <= 1 : seen[i] == 1);
	rewinddir(d);
	memset(seen, 0, sizeof(seen));
	n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (!strncmp(e->d_name, "entry-", 6))
			seen[atoi(e->d_name + 6)]++;
		n += !strncmp(e->d_name, "added-", 6);
	}
	CHECK(n == added);
	for (int i = 0; i < MANY; i++)
		CHECK(seen[i] == !gone[i]);
	(void)closedir(d);
}

/* The place of any entry leads back to what comes after it. */
static void places_can_be_gone_back_to(void)
{
	enum { PLACES = 500 };
	static struct {
		long at;
		char next[256];
	} places[PLACES];
	struct dirent *e;
	DIR *d = opendir(".");
	int n = 0;

	CHECK(d);
	for (; n < PLACES; n++) {
		places[n].at = telldir(d);
		e = readdir(d);
		CHECK(e);
		(void)snprintf(places[n].next, sizeof(places[n].next), "%s", e->d_name);
	}
	for (int i = 0; i < PLACES; i++) {
		int k = (i * 37 + 11) % PLACES;

		seekdir(d, places[k].at);
		e = readdir(d);
		CHECK(e && !strcmp(e->d_name, places[k].next));
	}
	/* Also when what was there is gone. */
	for (int i = 10; i < PLACES; i += 2)
		if (strncmp(places[i].next, ".", 1) != 0)
			CHECK(!unlink(places[i].next));
	for (int i = 11; i < PLACES; i += 2) {
		seekdir(d, places[i].at);
		e = readdir(d);
		CHECK(e && !strcmp(e->d_name, places[i].next));
	}
	(void)closedir(d);
}

static void one_inode_for_all_names(void)
{
	enum { NAMES = 100 };
	char name[32];
	ino_t ino;
	DIR *d;
	int n = 0;

	make(AT_FDCWD, "name-0");
	ino = inode_of(AT_FDCWD, "name-0");
	CHECK(!mkdir("sub", 0700));
	for (int i = 1; i < NAMES; i++) {
		(void)snprintf(name, sizeof(name), "%sname-%d", i % 2 ? "sub/" : "", i);
		CHECK(!link("name-0", name) && inode_of(AT_FDCWD, name) == ino);
	}
	d = opendir("sub");
	CHECK(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] == 'n') {
			CHECK(e->d_ino == ino && e->d_type == DT_REG);
			n++;
		} else if (!strcmp(e->d_name, ".")) {
			CHECK(e->d_ino == inode_of(AT_FDCWD, "sub"));
		} else {
			CHECK(!strcmp(e->d_name, "..") && e->d_ino == inode_of(AT_FDCWD, "."));
		}
	(void)closedir(d);
	CHECK(n == NAMES / 2);
	for (int i = 1; i < NAMES; i++) {
		(void)snprintf(name, sizeof(name), "%sname-%d", i % 2 ? "sub/" : "", i);
		CHECK(!unlink(name));
	}
	CHECK(inode_of(AT_FDCWD, "name-0") == ino && !rmdir("sub") && !unlink("name-0"));
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	CHECK(!chdir(argv[1]));
	names_of_any_bytes();
	long_paths_and_targets();
	one_inode_for_all_names();
	a_changing_directory_is_listed_whole();
	places_can_be_gone_back_to();
	return 0;
}
