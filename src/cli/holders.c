/* SPDX-License-Identifier: MIT */
/* Who keeps a mount busy: see holders.h for the contract. */
#include "cli/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

struct search {
	const struct mountinfo *mount;
	FILE *f;
	unsigned int n;
	/* The process at hand. */
	int proc; /* its directory */
	const char *pid;
	char command[32];
};

/* ---- saying so ----------------------------------------------------------- */

/* A name may hold anything, also what a terminal obeys. */
static void put_tame(const char *text, FILE *f)
{
	for (; *text; text++)
		(void)fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, f);
}

static void say(struct search *s, const char *what, const char *path)
{
	s->n++;
	if (!s->f)
		return;
	(void)fprintf(s->f, "%s ", s->pid);
	put_tame(s->command, s->f);
	(void)fprintf(s->f, ": %s ", what);
	put_tame(path, s->f);
	(void)fputc('\n', s->f);
}

/* ---- looking ------------------------------------------------------------- */

static bool is_below(const char *path, const char *point)
{
	size_t size = strlen(point);

	return !strncmp(path, point, size) && (path[size] == '/' || !path[size]);
}

/* Where a link of /proc points to, as text only: nothing of the mount is asked. */
static bool read_link(int dirfd, const char *name, char target[PATH_MAX])
{
	ssize_t n = readlinkat(dirfd, name, target, PATH_MAX - 1);

	target[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void look_at_link(struct search *s, const char *name, const char *what)
{
	char target[PATH_MAX];

	if (read_link(s->proc, name, target) && is_below(target, s->mount->point))
		say(s, what, target);
}

/* A small file of /proc as text: false if there is none, or nothing in it. */
static bool read_text(int dirfd, const char *name, char *text, size_t size)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	fdio_close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The mount that a descriptor is of, which also is right where paths are not. */
static bool is_of_mount(const struct search *s, const char *fd)
{
	char name[64];
	char text[512];
	const char *id;

	(void)snprintf(name, sizeof(name), "fdinfo/%s", fd);
	if (!read_text(s->proc, name, text, sizeof(text)))
		return false;
	id = strstr(text, "mnt_id:");
	return id && strtoul(id + 7, NULL, 10) == s->mount->id;
}

/* Run each for the entries of a directory of the process. */
static void for_each(struct search *s, const char *name,
		     void (*each)(struct search *s, int dirfd, const char *entry))
{
	int fd = openat(s->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		fdio_close(fd);
		return;
	}
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			each(s, dirfd(d), e->d_name);
	(void)closedir(d);
}

static void look_at_fd(struct search *s, int dirfd, const char *entry)
{
	char target[PATH_MAX];

	if (read_link(dirfd, entry, target) &&
	    (is_below(target, s->mount->point) || is_of_mount(s, entry)))
		say(s, "open", target);
}

/* Lines of maps: range, rights, offset, device, inode, path; each file once in a row. */
static void look_at_maps(struct search *s)
{
	int fd = openat(s->proc, "maps", O_RDONLY | O_CLOEXEC);
	FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long last = 0;
	char *line = NULL;
	size_t size = 0;

	if (!maps) {
		fdio_close(fd);
		return;
	}
	while (getline(&line, &size, maps) > 0) {
		unsigned int major;
		unsigned int minor;
		unsigned long inode;
		int path = 0;

		if (sscanf(line, "%*s %*s %*s %x:%x %lu %n", &major, &minor, &inode, &path) != 3 ||
		    major != s->mount->major || minor != s->mount->minor || inode == last)
			continue;
		last = inode;
		line[strcspn(line, "\n")] = '\0';
		say(s, "mapped", line + path);
	}
	free(line);
	(void)fclose(maps); /* only read */
}

static void look_at_process(struct search *s, int proc, const char *pid)
{
	s->proc = openat(proc, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	s->pid = pid;
	if (s->proc < 0)
		return; /* it has ended */
	if (!read_text(s->proc, "comm", s->command, sizeof(s->command)))
		strcpy(s->command, "?");
	s->command[strcspn(s->command, "\n")] = '\0';
	look_at_link(s, "cwd", "working directory");
	look_at_link(s, "root", "root directory");
	look_at_link(s, "exe", "program");
	for_each(s, "fd", look_at_fd);
	look_at_maps(s);
	fdio_close(s->proc);
}

static int look_at_mount(void *arg, const struct mountinfo *m)
{
	struct search *s = arg;

	if (is_below(m->point, s->mount->point) && strcmp(m->point, s->mount->point) != 0)
		say(s, "mounted", m->point);
	return 0;
}

unsigned int holders_show(const struct mountinfo *m, FILE *f)
{
	struct search s = { .mount = m, .f = f, .pid = "-", .command = "mount" };
	DIR *proc = opendir("/proc");
	struct dirent *e;

	(void)mountinfo_each(look_at_mount, &s); /* what cannot be told is left out */
	while (proc && (e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]))
			look_at_process(&s, dirfd(proc), e->d_name);
	if (proc)
		(void)closedir(proc);
	return s.n;
}
