/* SPDX-License-Identifier: MIT */
/*
 * users DIRECTORY: as root.  Several users make things at the same time, each
 * of which belongs to its maker; set-id bits go when others write.
 */
#include "check.h"

#include <grp.h>

enum { USERS = 6, ROUNDS = 60 };

static void become(uid_t uid)
{
	CHECK(!setgroups(0, NULL) && !setresgid(uid + 100, uid + 100, uid + 100) &&
	      !setresuid(uid, uid, uid));
}

static void check_owner(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat st;

	CHECK(!lstat(path, &st));
	CHECK(st.st_uid == uid && st.st_gid == gid);
	CHECK(S_ISLNK(st.st_mode) || (st.st_mode & 07777) == mode);
}

/* Make one of each kind, with a umask of one's own. */
static void make_things(void *arg)
{
	uid_t uid = 4000 + *(const uid_t *)arg;
	mode_t mask = (mode_t[]){ 0, 022, 077, 027, 07, 02 }[*(const uid_t *)arg % 6];
	const char *places[] = { "sticky", "team" };
	char path[100];
	char other[100];

	become(uid);
	(void)umask(mask);
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 0; k < 2; k++) {
			gid_t gid = k ? 4100 : uid + 100;
			int fd;

			(void)snprintf(path, sizeof(path), "%s/%d-%d-file", places[k], (int)uid, i);
			fd = check_open(path, O_RDWR | O_CREAT | O_EXCL);
			CHECK(write(fd, path, strlen(path)) == (ssize_t)strlen(path));
			check_owner(path, uid, gid, 0600 & ~mask);
			close(fd);
			(void)snprintf(path, sizeof(path), "%s/%d-%d-dir", places[k], (int)uid, i);
			CHECK(!mkdir(path, 0777));
			check_owner(path, uid, gid, (0777 & ~mask) | (k ? 02000 : 0));
			(void)snprintf(path, sizeof(path), "%s/%d-%d-fifo", places[k], (int)uid, i);
			CHECK(!mkfifo(path, 0666));
			check_owner(path, uid, gid, 0666 & ~mask);
			(void)snprintf(other, sizeof(other), "%s/%d-%d-link", places[k], (int)uid,
				       i);
			CHECK(!symlink(path, other));
			check_owner(other, uid, gid, 0);
			(void)snprintf(other, sizeof(other), "%s/%d-%d-two", places[k], (int)uid,
				       i);
			CHECK(!link(path, other));
			fd = open(places[k], O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
			if (fd >= 0) {
				struct stat st;

				CHECK(!fstat(fd, &st) && st.st_uid == uid && st.st_gid == gid);
				CHECK((st.st_mode & 0777) == (0666 & ~mask));
				close(fd);
			}
		}
}

static void everybody_makes_things(void)
{
	pid_t pids[USERS];
	uid_t numbers[USERS];

	CHECK(!mkdir("sticky", 0700) && !chmod("sticky", 01777));
	CHECK(!mkdir("team", 0700) && !chown("team", 0, 4100) && !chmod("team", 02777));
	for (uid_t i = 0; i < USERS; i++) {
		numbers[i] = i;
		pids[i] = start_child(make_things, &numbers[i]);
	}
	for (int i = 0; i < USERS; i++)
		check_child(pids[i]);
}

/* ---- set-id bits --------------------------------------------------------- */

static void reset(void)
{
	int fd = open("setid", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10 && !close(fd));
	CHECK(!chown("setid", 0, 0) && !chmod("setid", 06777));
}

static void write_it(void *arg)
{
	int fd;

	(void)arg;
	become(4001);
	fd = check_open("setid", O_WRONLY);
	CHECK(write(fd, "x", 1) == 1 && !close(fd));
}

static void cut_it(void *arg)
{
	(void)arg;
	become(4001);
	CHECK(!truncate("setid", 5));
}

static void open_and_cut_it(void *arg)
{
	(void)arg;
	become(4001);
	close(check_open("setid", O_WRONLY | O_TRUNC));
}

static void punch_it(void *arg)
{
	int fd;

	(void)arg;
	become(4001);
	fd = check_open("setid", O_RDWR);
	CHECK(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5));
	close(fd);
}

static void copy_to_it(void *arg)
{
	int from = check_open("source", O_RDONLY);
	int fd;

	(void)arg;
	become(4001);
	fd = check_open("setid", O_RDWR);
	CHECK(copy_file_range(from, NULL, fd, NULL, 3, 0) == 3);
	close(fd);
}

static void give_it_away(void *arg)
{
	(void)arg;
	CHECK(!chown("setid", 4001, (gid_t)-1));
}

static void change_its_group(void *arg)
{
	CHECK(!chown("setid", 4001, 4101) && !chmod("setid", 06777));
	(void)arg;
	become(4001);
	CHECK(!chown("setid", (uid_t)-1, 4101));
}

static void set_id_bits_go(void)
{
	static void (*const all[])(void *arg) = { write_it,	   cut_it,     open_and_cut_it,
						  punch_it,	   copy_to_it, give_it_away,
						  change_its_group };
	int fd = check_open("source", O_RDWR | O_CREAT);

	CHECK(write(fd, "abcdef", 6) == 6 && !close(fd));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct stat st;

		reset();
		check_child(start_child(all[i], NULL));
		CHECK(!stat("setid", &st));
		if ((st.st_mode & 07777) != 0777)
			(void)fprintf(stderr, "way %zu leaves %o\n", i, st.st_mode & 07777);
		CHECK((st.st_mode & 07777) == 0777);
	}
	CHECK(!unlink("setid") && !unlink("source"));
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	CHECK(!chdir(argv[1]));
	(void)umask(0);
	everybody_makes_things();
	set_id_bits_go();
	return 0;
}
