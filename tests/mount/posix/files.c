/* SPDX-License-Identifier: MIT */
/*
 * files DIRECTORY: open files and what happens to their names: appending,
 * truncating, O_DIRECT, O_TMPFILE, unlinking, renaming, linking, times, modes,
 * special files.
 */
#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <linux/fs.h>

static struct stat stat_of(const char *path)
{
	struct stat st;

	CHECK(!lstat(path, &st));
	return st;
}

static struct stat stat_fd(int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return st;
}

static void put(const char *path, const char *text)
{
	int fd = check_open(path, O_WRONLY | O_CREAT | O_TRUNC);

	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(!close(fd));
}

static void check_text(const char *path, const char *text)
{
	int fd = check_open(path, O_RDONLY);

	check_content(fd, (const uint8_t *)text, strlen(text));
	close(fd);
}

/* ---- appending ----------------------------------------------------------- */

enum { RECORDS = 1500, RECORD = 41 };

static void append_records(void *arg)
{
	int fd = check_open("log", O_WRONLY | O_APPEND);
	char record[RECORD + 1];

	for (int i = 0; i < RECORDS; i++) {
		(void)snprintf(record, sizeof(record), "%c%039d\n", *(const char *)arg, i);
		CHECK(write(fd, record, RECORD) == RECORD);
	}
	CHECK(!close(fd));
}

static void two_processes_append(void)
{
	char one = 'a';
	char two = 'b';
	int next[2] = { 0, 0 };
	pid_t pids[2];
	char record[RECORD];
	int fd;

	put("log", "");
	pids[0] = start_child(append_records, &one);
	pids[1] = start_child(append_records, &two);
	check_child(pids[0]);
	check_child(pids[1]);
	fd = check_open("log", O_RDONLY);
	CHECK(stat_fd(fd).st_size == 2 * RECORDS * RECORD);
	for (int i = 0; i < 2 * RECORDS; i++) {
		CHECK(read(fd, record, RECORD) == RECORD);
		CHECK(record[0] == 'a' || record[0] == 'b');
		CHECK(record[RECORD - 1] == '\n');
		CHECK(atoi(record + 1) == next[record[0] - 'a']++);
	}
	close(fd);
	/* pwrite appends as well, as Linux has it; and the flag can be set later. */
	put("log", "start");
	fd = check_open("log", O_RDWR | O_APPEND);
	CHECK(pwrite(fd, "-end", 4, 0) == 4);
	check_text("log", "start-end");
	CHECK(!fcntl(fd, F_SETFL, 0));
	CHECK(pwrite(fd, "S", 1, 0) == 1);
	check_text("log", "Start-end");
	CHECK(!fcntl(fd, F_SETFL, O_APPEND));
	CHECK(write(fd, ".", 1) == 1);
	check_text("log", "Start-end.");
	close(fd);
	CHECK(!unlink("log"));
}

/* ---- opening ------------------------------------------------------------- */

static void opening(void)
{
	int fd;
	int other;
	char text[10];

	put("file", "0123456789");
	fd = check_open("file", O_RDWR);
	other = check_open("file", O_WRONLY | O_TRUNC);
	CHECK(stat_fd(fd).st_size == 0);
	CHECK(pread(fd, text, 10, 0) == 0);
	CHECK(pwrite(other, "xy", 2, 5) == 2);
	CHECK(pread(fd, text, 10, 0) == 7 && !memcmp(text, "\0\0\0\0\0xy", 7));
	CHECK_FAILS(read(other, text, 1), EBADF);
	close(fd);
	close(other);
	CHECK_FAILS(open("file", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_FAILS(open("file/", O_RDONLY), ENOTDIR);
	CHECK_FAILS(open("nothing", O_RDONLY), ENOENT);
	CHECK_FAILS(open("nothing/file", O_RDWR | O_CREAT, 0600), ENOENT);
	CHECK_FAILS(open("file/file", O_RDWR | O_CREAT, 0600), ENOTDIR);
	CHECK(!mkdir("dir", 0700));
	CHECK_FAILS(open("dir", O_RDWR), EISDIR);
	CHECK_FAILS(open("dir", O_RDWR | O_CREAT, 0600), EISDIR);
	fd = check_open("dir", O_RDONLY);
	CHECK_FAILS(read(fd, text, 1), EISDIR);
	CHECK(!fsync(fd));
	close(fd);
	CHECK(!symlink("file", "link"));
	CHECK_FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_FAILS(open("link", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK(!symlink("loop", "loop"));
	CHECK_FAILS(open("loop", O_RDONLY), ELOOP);
	CHECK(!symlink("fresh", "dangling"));
	close(check_open("dangling", O_WRONLY | O_CREAT));
	CHECK(S_ISREG(stat_of("fresh").st_mode));
	CHECK(!unlink("file") && !rmdir("dir") && !unlink("link") && !unlink("loop") &&
	      !unlink("dangling") && !unlink("fresh"));
}

static void direct(void)
{
	enum { SIZE = 3 * 1024 * 1024, STEP = 4096 };
	uint8_t *data = aligned_alloc(STEP, SIZE);
	uint8_t *image = malloc(SIZE);
	int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	int plain;

	if (fd < 0 && errno == EINVAL)
		return; /* a filesystem in memory, perhaps */
	CHECK(fd >= 0 && data && image);
	plain = check_open("direct", O_RDWR);
	fill(image, 0, SIZE, 1);
	memcpy(data, image, SIZE);
	CHECK(write(fd, data, SIZE) == SIZE);
	check_content(plain, image, SIZE);
	for (int i = 0; i < 60; i++) {
		size_t offset = (size_t)(i * 7 % 50) * STEP;
		size_t size = (size_t)(i % 9 + 1) * STEP;

		fill(image + offset, offset, size, (uint8_t)i);
		memcpy(data, image + offset, size);
		if (i % 2)
			CHECK(pwrite(fd, data, size, (off_t)offset) == (ssize_t)size);
		else
			CHECK(pwrite(plain, data, size, (off_t)offset) == (ssize_t)size);
		memset(data, 0, size);
		if (i % 3)
			CHECK(pread(fd, data, size, (off_t)offset) == (ssize_t)size);
		else
			CHECK(pread(plain, data, size, (off_t)offset) == (ssize_t)size);
		CHECK(!memcmp(data, image + offset, size));
	}
	/* Odd places are refused, or they are right. */
	for (size_t odd = 1; odd < 9000; odd += 777) {
		ssize_t n = pwrite(fd, data, odd, (off_t)odd);

		if (n < 0)
			CHECK(errno == EINVAL);
		else
			memcpy(image + odd, data, (size_t)n);
	}
	check_content(plain, image, SIZE);
	close(plain);
	close(fd);
	free(data);
	free(image);
	CHECK(!unlink("direct"));
}

/* ---- files without a name ------------------------------------------------ */

static void link_fd(int fd, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(!linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
}

static void made_without_a_name(void)
{
	static uint8_t data[50000];
	char path[64];
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	struct stat st;

	CHECK(fd >= 0);
	st = stat_fd(fd);
	CHECK(S_ISREG(st.st_mode) && st.st_nlink == 0 && st.st_size == 0);
	CHECK((st.st_mode & 0777) == 0640 && st.st_uid == geteuid());
	fill(data, 0, sizeof(data), 3);
	CHECK(write(fd, data, sizeof(data)) == sizeof(data));
	CHECK(!fsync(fd));
	check_content(fd, data, sizeof(data));
	link_fd(fd, "named");
	CHECK(stat_of("named").st_ino == st.st_ino && stat_fd(fd).st_nlink == 1);
	CHECK(pwrite(fd, "more", 4, sizeof(data)) == 4);
	link_fd(fd, "named too");
	CHECK(stat_of("named").st_nlink == 2);
	close(fd);
	CHECK(stat_of("named too").st_size == sizeof(data) + 4);
	CHECK(!unlink("named too"));
	CHECK(!rename("named", "renamed"));
	fd = check_open("renamed", O_RDWR);
	CHECK(!ftruncate(fd, sizeof(data)));
	check_content(fd, data, sizeof(data));
	close(fd);
	CHECK(!unlink("renamed"));

	/* One that may not have a name; and one that never gets one. */
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "no", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	for (int i = 0; i < 20; i++) {
		fd = open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
		CHECK(fd >= 0);
		CHECK(write(fd, data, (size_t)i * 500 + 1) == i * 500 + 1);
		close(fd);
	}
	CHECK_FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	/* The name must not exist. */
	fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	put("taken", "x");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "taken", AT_SYMLINK_FOLLOW), EEXIST);
	link_fd(fd, "not taken");
	close(fd);
	CHECK(!unlink("taken") && !unlink("not taken"));
}

static void unlinked(void)
{
	static uint8_t data[20000];
	const struct timespec times[2] = { { 11, 22 }, { 33, 44 } };
	char path[64];
	struct stat st;
	DIR *d;
	int fd;
	int again;

	fd = check_open("going", O_RDWR | O_CREAT);
	fill(data, 0, sizeof(data), 1);
	CHECK(write(fd, data, 5000) == 5000);
	CHECK(!unlink("going"));
	CHECK(stat_fd(fd).st_nlink == 0);
	CHECK(pwrite(fd, data + 5000, 15000, 5000) == 15000);
	check_content(fd, data, sizeof(data));
	CHECK(!ftruncate(fd, 100) && !fchmod(fd, 0400) && !futimens(fd, times) && !fsync(fd));
	st = stat_fd(fd);
	CHECK(st.st_size == 100 && (st.st_mode & 07777) == 0400 && st.st_mtim.tv_sec == 33);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(again >= 0);
	check_content(again, data, 100);
	CHECK_FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
	close(again);
	close(fd);

	/* A directory: empty, and nothing can be made in it. */
	CHECK(!mkdir("dir", 0700));
	fd = check_open("dir", O_RDONLY | O_DIRECTORY);
	CHECK(!rmdir("dir"));
	CHECK(!fstat(fd, &st) && S_ISDIR(st.st_mode));
	CHECK_FAILS(openat(fd, "new", O_RDWR | O_CREAT, 0600), ENOENT);
	CHECK_FAILS(mkdirat(fd, "new", 0700), ENOENT);
	d = fdopendir(fd);
	CHECK(d);
	for (struct dirent *e; (e = readdir(d));)
		CHECK(!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
	(void)closedir(d);

	/* A FIFO and a symlink that somebody holds. */
	CHECK(!mkfifo("fifo", 0600));
	fd = check_open("fifo", O_RDWR | O_NONBLOCK);
	CHECK(!unlink("fifo"));
	CHECK(!fstat(fd, &st) && S_ISFIFO(st.st_mode) && st.st_nlink == 0);
	CHECK(!fchmod(fd, 0640) && (stat_fd(fd).st_mode & 07777) == 0640);
	CHECK(write(fd, "x", 1) == 1 && read(fd, path, 1) == 1);
	close(fd);
	CHECK(!symlink("target", "link"));
	fd = open("link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	CHECK(fd >= 0 && !unlink("link"));
	CHECK(!fstat(fd, &st) && S_ISLNK(st.st_mode) && st.st_size == 6);
	close(fd);
}

/* ---- renaming ------------------------------------------------------------ */

static int exchange(const char *a, const char *b)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void renaming(void)
{
	struct stat st;
	int fd;
	int other;

	put("a", "content of a");
	put("b", "content of b");
	fd = check_open("b", O_RDWR);
	other = check_open("a", O_RDWR);
	CHECK(!rename("a", "b"));
	check_text("b", "content of a");
	CHECK(stat_fd(fd).st_nlink == 0);
	check_content(fd, (const uint8_t *)"content of b", 12);
	CHECK(pwrite(other, "C", 1, 0) == 1);
	check_text("b", "Content of a");
	CHECK(pwrite(fd, "lost", 4, 0) == 4);
	check_text("b", "Content of a");
	close(fd);
	close(other);
	CHECK_FAILS(stat("a", &st), ENOENT);

	put("a", "new a");
	CHECK_FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	CHECK(!renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	CHECK(!exchange("b", "c"));
	check_text("b", "new a");
	check_text("c", "Content of a");
	CHECK_FAILS(exchange("b", "nothing"), ENOENT);
	CHECK_FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_NOREPLACE | RENAME_EXCHANGE),
		    EINVAL);
	CHECK_FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", 1U << 10), EINVAL);

	/* A file with a directory, a link with a FIFO. */
	CHECK(!mkdir("d", 0700));
	put("d/inside", "text");
	CHECK(!exchange("b", "d"));
	check_text("b/inside", "text");
	check_text("d", "new a");
	CHECK(!exchange("b", "d"));
	CHECK(!symlink("where", "l") && !mkfifo("f", 0600) && !exchange("l", "f"));
	CHECK(S_ISFIFO(stat_of("l").st_mode) && S_ISLNK(stat_of("f").st_mode));

	CHECK_FAILS(rename("b", "d"), EISDIR);
	CHECK_FAILS(rename("d", "b"), ENOTDIR);
	CHECK(!mkdir("e", 0700));
	CHECK_FAILS(rename("e", "d"), ENOTEMPTY);
	CHECK_FAILS(rename("d", "d/inside/x"), ENOTDIR);
	CHECK_FAILS(rename("d", "d/x"), EINVAL);
	CHECK_FAILS(exchange("d", "d/inside"), EINVAL);
	CHECK(!rename("d", "e"));
	check_text("e/inside", "text");
	CHECK_FAILS(rmdir("e"), ENOTEMPTY);
	CHECK_FAILS(rename("nothing", "e"), ENOENT);
	/* Two names of one file: nothing happens, and both stay. */
	CHECK(!link("b", "bb") && !rename("b", "bb"));
	CHECK(stat_of("b").st_ino == stat_of("bb").st_ino);
	CHECK(!rename("b", "b"));
	CHECK(!unlink("e/inside") && !rmdir("e") && !unlink("b") && !unlink("bb") && !unlink("c") &&
	      !unlink("l") && !unlink("f"));
}

/* Who looked a name up opens what was there then, or what is there now: it was never missing. */
static void opened_after_it_was_replaced(void)
{
	char path[32];
	int seen;
	int fd;

	put("a", "content of a");
	put("b", "content of b");
	seen = check_open("b", O_PATH);
	CHECK(snprintf(path, sizeof(path), "/proc/self/fd/%d", seen) > 0);
	CHECK(!rename("a", "b"));
	CHECK(stat_fd(seen).st_nlink == 0);
	check_text(path, "content of b");
	fd = check_open(path, O_RDWR);
	CHECK(pwrite(fd, "C", 1, 0) == 1);
	close(fd);
	check_text(path, "Content of b");
	check_text("b", "content of a");
	close(seen);
	/* One of two names. */
	put("a", "new a");
	CHECK(!link("b", "c"));
	seen = check_open("b", O_PATH);
	CHECK(snprintf(path, sizeof(path), "/proc/self/fd/%d", seen) > 0);
	CHECK(!rename("a", "b"));
	check_text(path, "content of a");
	CHECK(!unlink("c") && !unlink("b"));
	close(seen);
}

/* The name of what went away covers what is below, as overlayfs uses it. */
static void whiteout(void)
{
	struct stat st;

	put("old", "content");
	CHECK(!renameat2(AT_FDCWD, "old", AT_FDCWD, "new", RENAME_WHITEOUT));
	check_text("new", "content");
	st = stat_of("old");
	CHECK(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
	put("other", "another");
	CHECK(!renameat2(AT_FDCWD, "other", AT_FDCWD, "new", RENAME_WHITEOUT));
	check_text("new", "another");
	CHECK(S_ISCHR(stat_of("other").st_mode));
	CHECK(!rename("new", "old")); /* over the whiteout */
	check_text("old", "another");
	CHECK(!unlink("old") && !unlink("other"));
}

static void linking(void)
{
	struct stat st;

	put("one", "text");
	CHECK(!link("one", "two") && !mkdir("dir", 0700) && !link("two", "dir/three"));
	st = stat_of("dir/three");
	CHECK(st.st_nlink == 3 && st.st_ino == stat_of("one").st_ino);
	put("two", "changed through two");
	check_text("dir/three", "changed through two");
	CHECK(!chmod("one", 0604) && (stat_of("dir/three").st_mode & 07777) == 0604);
	CHECK_FAILS(link("one", "two"), EEXIST);
	CHECK_FAILS(link("dir", "dir2"), EPERM);
	CHECK_FAILS(link("nothing", "x"), ENOENT);
	CHECK(!unlink("one"));
	CHECK(stat_of("two").st_nlink == 2);
	CHECK(!rename("dir/three", "four"));
	check_text("four", "changed through two");
	CHECK(!unlink("two") && !unlink("four") && !rmdir("dir"));
	CHECK(!mkfifo("fifo", 0600) && !link("fifo", "fifo2"));
	CHECK(stat_of("fifo2").st_nlink == 2 && S_ISFIFO(stat_of("fifo2").st_mode));
	CHECK(!unlink("fifo") && !unlink("fifo2"));
}

/* ---- attributes ---------------------------------------------------------- */

static void check_times(const char *path, const struct timespec times[2])
{
	struct stat st;
	struct stat after;

	CHECK(!utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
	st = stat_of(path);
	CHECK(st.st_atim.tv_sec == times[0].tv_sec && st.st_atim.tv_nsec == times[0].tv_nsec);
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec);
	CHECK(!utimensat(AT_FDCWD, path,
			 (const struct timespec[2]){ { 0, UTIME_OMIT }, { 5, 999999999 } },
			 AT_SYMLINK_NOFOLLOW));
	after = stat_of(path);
	CHECK(after.st_atim.tv_nsec == times[0].tv_nsec && after.st_mtim.tv_nsec == 999999999);
	CHECK(!utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW));
	CHECK(stat_of(path).st_mtim.tv_sec > 1000000000);
}

static void times(void)
{
	static const struct timespec tried[][2] = {
		{ { 1, 1 }, { 2, 123456789 } },
		{ { 1700000000, 999999999 }, { 1700000001, 0 } },
		{ { -5, 1 }, { -1000000, 500000000 } },
		{ { 3000000000, 7 }, { 4000000000, 8 } },
	};
	static const char *const kinds[] = { "file", "dir", "link", "fifo" };
	struct stat before;
	int fd;

	put("file", "x");
	CHECK(!mkdir("dir", 0700) && !symlink("nowhere", "link") && !mkfifo("fifo", 0600));
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++)
			check_times(kinds[i], tried[k]);
	/* What changes a directory, changes its times. */
	CHECK(!utimensat(AT_FDCWD, "dir", tried[0], 0));
	put("dir/x", "");
	CHECK(stat_of("dir").st_mtim.tv_sec > 2);
	CHECK(!utimensat(AT_FDCWD, "dir", tried[0], 0));
	CHECK(!unlink("dir/x"));
	CHECK(stat_of("dir").st_mtim.tv_sec > 2);
	/* A write and a truncation do; one of nothing does not. */
	fd = check_open("file", O_RDWR);
	CHECK(!futimens(fd, tried[0]));
	CHECK(write(fd, "", 0) == 0 && stat_fd(fd).st_mtim.tv_sec == 2);
	CHECK(write(fd, "y", 1) == 1 && stat_fd(fd).st_mtim.tv_sec > 2);
	CHECK(!futimens(fd, tried[0]));
	CHECK(!ftruncate(fd, 10) && stat_fd(fd).st_mtim.tv_sec > 2);
	before = stat_fd(fd);
	CHECK(!usleep(20000) && !fchmod(fd, 0644));
	CHECK(stat_fd(fd).st_ctim.tv_nsec != before.st_ctim.tv_nsec);
	CHECK(stat_fd(fd).st_mtim.tv_nsec == before.st_mtim.tv_nsec);
	close(fd);
	CHECK(!unlink("file") && !rmdir("dir") && !unlink("link") && !unlink("fifo"));
}

static void modes(void)
{
	static const mode_t masks[] = { 0, 022, 027, 077, 0777 };
	static const mode_t tried[] = { 0, 0400, 0644, 0755, 0777, 01777, 0111 };

	for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++)
		for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
			mode_t wanted = tried[i] & ~masks[m];
			int fd;

			(void)umask(masks[m]);
			fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, tried[i]);
			CHECK(fd >= 0 && !mkdir("dir", tried[i]));
			CHECK(!mkfifo("fifo", tried[i]) && !mknod("sock", S_IFSOCK | tried[i], 0));
			CHECK((stat_of("file").st_mode & 07777) == (wanted & 01777));
			CHECK((stat_of("dir").st_mode & 07777) == wanted);
			CHECK((stat_of("fifo").st_mode & 0777) == (wanted & 0777));
			CHECK((stat_of("sock").st_mode & 0777) == (wanted & 0777));
			/* As given, whatever the mode: the handle was made with it. */
			CHECK(write(fd, "x", 1) == 1);
			close(fd);
			CHECK(!unlink("file") && !rmdir("dir") && !unlink("fifo") &&
			      !unlink("sock"));
		}
	(void)umask(022);
	put("file", "");
	CHECK(!mkdir("dir", 0700));
	for (mode_t mode = 0; mode <= 07777; mode += mode < 07000 ? 0111 : 1) {
		CHECK(!chmod("dir", mode) && (stat_of("dir").st_mode & 07777) == mode);
		CHECK(!chmod("file", mode) && (stat_of("file").st_mode & 07777) == mode);
	}
	CHECK(!unlink("file") && !rmdir("dir"));
}

static void write_byte(void)
{
	int fd = check_open("setid", O_RDWR);

	CHECK(write(fd, "x", 1) == 1);
	close(fd);
}

/* Root may write and leave them (users.c has others); who has not the right takes them away. */
static void set_id_bits_go(void)
{
	mode_t left = geteuid() == 0 ? 06777 : 0777;
	int fd;

	put("setid", "some text");
	CHECK(!chmod("setid", 06777));
	write_byte();
	CHECK((stat_of("setid").st_mode & 07777) == left);
	CHECK(!chmod("setid", 06777) && !truncate("setid", 1));
	CHECK((stat_of("setid").st_mode & 07777) == left);
	CHECK(!chmod("setid", 06777));
	fd = check_open("setid", O_RDWR | O_TRUNC);
	CHECK((stat_of("setid").st_mode & 07777) == left);
	CHECK(!fchmod(fd, 06777) && !fallocate(fd, 0, 0, 10000));
	CHECK((stat_of("setid").st_mode & 07777) == left);
	close(fd);
	CHECK(!chmod("setid", 06755) && !chown("setid", geteuid(), getegid()));
	CHECK((stat_of("setid").st_mode & 07777) == 0755);
	CHECK(!unlink("setid"));
}

/* What one may do with attributes, of what may have them. */
static void attributes_of(const char *path)
{
	static char text[65537];
	char name[300];
	ssize_t n;

	CHECK(!lsetxattr(path, "user.one", "value", 5, 0));
	CHECK(lgetxattr(path, "user.one", text, sizeof(text)) == 5 && !memcmp(text, "value", 5));
	CHECK(lgetxattr(path, "user.one", NULL, 0) == 5);
	CHECK_FAILS(lgetxattr(path, "user.one", text, 4), ERANGE);
	CHECK_FAILS(lsetxattr(path, "user.one", "", 0, XATTR_CREATE), EEXIST);
	CHECK_FAILS(lsetxattr(path, "user.two", "", 0, XATTR_REPLACE), ENODATA);
	CHECK(!lsetxattr(path, "user.one", "", 0, XATTR_REPLACE));
	CHECK(lgetxattr(path, "user.one", text, sizeof(text)) == 0);
	memset(text, 7, sizeof(text));
	CHECK(!lsetxattr(path, "user.two", text, 2000, XATTR_CREATE));
	CHECK(lgetxattr(path, "user.two", text, sizeof(text)) == 2000 && text[1999] == 7);
	n = llistxattr(path, text, sizeof(text));
	CHECK(n >= 18 && memmem(text, (size_t)n, "user.one", 9) &&
	      memmem(text, (size_t)n, "user.two", 9));
	CHECK_FAILS(llistxattr(path, text, 5), ERANGE);
	CHECK(!lremovexattr(path, "user.one"));
	CHECK_FAILS(lremovexattr(path, "user.one"), ENODATA);
	CHECK_FAILS(lgetxattr(path, "user.one", text, sizeof(text)), ENODATA);
	CHECK(!lremovexattr(path, "user.two"));
	CHECK_FAILS(lsetxattr(path, "nowhere.one", "x", 1, 0), EOPNOTSUPP);
	CHECK_FAILS(lsetxattr(path, "user.", "x", 1, 0), EINVAL);
	(void)snprintf(name, sizeof(name), "user.%0*d", 160 - 5, 0);
	CHECK(!lsetxattr(path, name, "x", 1, 0) && !lremovexattr(path, name));
	(void)snprintf(name, sizeof(name), "user.%0*d", 256 - 5, 0);
	CHECK_FAILS(lsetxattr(path, name, "x", 1, 0), ERANGE);
	CHECK_FAILS(lsetxattr(path, "user.big", text, sizeof(text), 0), E2BIG);
	if (geteuid() == 0)
		CHECK(!lsetxattr(path, "trusted.one", "x", 1, 0) &&
		      lgetxattr(path, "trusted.one", text, 10) == 1 &&
		      !lremovexattr(path, "trusted.one"));
}

static void attributes(void)
{
	char byte;

	put("file", "x");
	CHECK(!mkdir("dir", 0700) && !symlink("file", "link") && !mkfifo("fifo", 0600));
	attributes_of("file");
	attributes_of("dir");
	CHECK_FAILS(lsetxattr("link", "user.one", "x", 1, 0), EPERM);
	CHECK_FAILS(lsetxattr("fifo", "user.one", "x", 1, 0), EPERM);
	CHECK(lgetxattr("link", "user.one", &byte, 1) < 0);
	CHECK(!llistxattr("link", NULL, 0));
	CHECK(!unlink("file") && !rmdir("dir") && !unlink("link") && !unlink("fifo"));
}

/* ---- special files ------------------------------------------------------- */

static void talk(void *arg)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)arg;
	CHECK(!connect(fd, (struct sockaddr *)&address, sizeof(address)));
	CHECK(write(fd, "hello", 5) == 5);
	close(fd);
}

static void special_files(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[8];
	pid_t pid;
	int other;

	CHECK(!bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 1));
	CHECK(S_ISSOCK(stat_of("socket").st_mode));
	pid = start_child(talk, NULL);
	other = accept(fd, NULL, NULL);
	CHECK(other >= 0 && read(other, text, 8) == 5 && !memcmp(text, "hello", 5));
	check_child(pid);
	close(other);
	close(fd);
	CHECK_FAILS(open("socket", O_RDWR), ENXIO);
	CHECK(!unlink("socket"));
	if (geteuid() == 0 && !mknod("null", S_IFCHR | 0666, makedev(1, 3))) {
		CHECK(stat_of("null").st_rdev == makedev(1, 3));
		fd = open("null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			CHECK(errno == EACCES); /* mounted nodev */
		else
			CHECK(write(fd, "x", 1) == 1 && read(fd, text, 1) == 0 && !close(fd));
		CHECK(!unlink("null"));
		CHECK(!mknod("disk", S_IFBLK | 0600, makedev(7, 300)));
		CHECK(S_ISBLK(stat_of("disk").st_mode) &&
		      stat_of("disk").st_rdev == makedev(7, 300));
		CHECK(!unlink("disk"));
	}
}

/* ---- other calls --------------------------------------------------------- */

static void moving_data(void)
{
	static uint8_t data[300000];
	int from = check_open("from", O_RDWR | O_CREAT);
	int to = check_open("to", O_RDWR | O_CREAT);
	loff_t offset = 0;
	size_t done = 0;
	int ends[2];

	fill(data, 0, sizeof(data), 9);
	CHECK(write(from, data, sizeof(data)) == sizeof(data));
	CHECK(!lseek(from, 0, SEEK_SET));
	while (done < sizeof(data)) {
		ssize_t n = sendfile(to, from, NULL, sizeof(data) - done);

		CHECK(n > 0);
		done += (size_t)n;
	}
	check_content(to, data, sizeof(data));
	CHECK(!ftruncate(to, 0) && !lseek(to, 0, SEEK_SET));
	CHECK(!pipe(ends));
	for (done = 0; done < sizeof(data);) {
		ssize_t n = splice(from, &offset, ends[1], NULL, 10000, 0);

		CHECK(n > 0);
		CHECK(splice(ends[0], NULL, to, NULL, (size_t)n, 0) == n);
		done += (size_t)n;
	}
	check_content(to, data, sizeof(data));
	close(ends[0]);
	close(ends[1]);
	close(from);
	close(to);
	CHECK(!unlink("from") && !unlink("to"));
}

static void limits_and_odd_calls(void)
{
	const struct rlimit limit = { 10000, RLIM_INFINITY };
	struct pollfd ready = { .events = POLLIN | POLLOUT };
	struct rlimit before;
	struct statvfs st;
	int flags = 0;
	int fd = check_open("file", O_RDWR | O_CREAT);
	char text[20000] = { 0 };

	CHECK(!statvfs(".", &st));
	CHECK(st.f_namemax == 255 && st.f_bsize >= 512 && st.f_blocks > 0 &&
	      st.f_bavail <= st.f_bfree && st.f_bfree <= st.f_blocks);
	CHECK(!fstatvfs(fd, &st) && st.f_namemax == 255);
	ready.fd = fd;
	CHECK(poll(&ready, 1, 0) == 1 && ready.revents == (POLLIN | POLLOUT));
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		CHECK(errno == ENOTTY || errno == EOPNOTSUPP);
	CHECK_FAILS(ioctl(fd, 0x12345), ENOTTY);
	CHECK(!getrlimit(RLIMIT_FSIZE, &before));
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	CHECK(pwrite(fd, text, 20000, 0) == 10000);
	CHECK_FAILS(pwrite(fd, text, 1, 10000), EFBIG);
	CHECK_FAILS(ftruncate(fd, 10001), EFBIG);
	CHECK(!setrlimit(RLIMIT_FSIZE, &before));
	CHECK(stat_fd(fd).st_size == 10000);
	CHECK(pread(fd, text, 10, 10000) == 0 && pread(fd, text, 10, 9995) == 5);
	CHECK_FAILS(pread(fd, text, 1, -1), EINVAL);
	CHECK_FAILS(ftruncate(fd, -1), EINVAL);
	CHECK_FAILS(truncate(".", 0), EISDIR);
	CHECK(!sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) && !fdatasync(fd) && !syncfs(fd));
	close(fd);
	CHECK(!unlink("file"));
	CHECK_FAILS(rmdir("."), EINVAL);
	CHECK_FAILS(unlink("."), EISDIR);
}

static void big_files(void)
{
	const off_t far = (off_t)1 << 40;
	int fd = check_open("big", O_RDWR | O_CREAT);
	char text[8];

	CHECK(!ftruncate(fd, (off_t)8 << 40));
	CHECK(pwrite(fd, "middle", 6, far - 3) == 6);
	CHECK(pwrite(fd, "end", 3, ((off_t)8 << 40) - 3) == 3);
	CHECK(pread(fd, text, 8, far - 4) == 8 && !memcmp(text, "\0middle", 7));
	CHECK(pread(fd, text, 8, ((off_t)8 << 40) - 3) == 3 && !memcmp(text, "end", 3));
	CHECK(stat_fd(fd).st_size == (off_t)8 << 40);
	CHECK(stat_fd(fd).st_blocks < 1000);
	CHECK(!ftruncate(fd, far));
	CHECK(pread(fd, text, 8, far - 3) == 3 && !memcmp(text, "mid", 3));
	CHECK(lseek(fd, 0, SEEK_END) == far && write(fd, "more", 4) == 4);
	CHECK(stat_fd(fd).st_size == far + 4);
	CHECK(!fsync(fd));
	close(fd);
	CHECK(!unlink("big"));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{ "append", two_processes_append },
		{ "open", opening },
		{ "direct", direct },
		{ "tmpfile", made_without_a_name },
		{ "unlinked", unlinked },
		{ "rename", renaming },
		{ "replaced", opened_after_it_was_replaced },
		{ "whiteout", whiteout },
		{ "link", linking },
		{ "times", times },
		{ "modes", modes },
		{ "setid", set_id_bits_go },
		{ "attributes", attributes },
		{ "special", special_files },
		{ "moving", moving_data },
		{ "limits", limits_and_odd_calls },
		{ "big", big_files },
	};

	CHECK(argc >= 2);
	CHECK(!chdir(argv[1]));
	(void)umask(022);
	/* "-NAME" leaves one out; else only those that are named. */
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool wanted = argc == 2 || argv[2][0] == '-';

		for (int k = 2; k < argc; k++)
			if (!strcmp(argv[k] + (argv[k][0] == '-'), all[i].name))
				wanted = argv[k][0] != '-';
		if (wanted)
			all[i].run();
	}
	return 0;
}
