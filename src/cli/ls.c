/* SPDX-License-Identifier: MIT */
/* cryptfs ls: what is in a vault, without a mount. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "cli/within.h"

struct request {
	const struct command *self;
	struct within_options options;
	struct within vault;
	bool is_long;
	bool shows_all;
	bool recursive;
	bool json;
	bool escapes; /* to a terminal */
};

struct run {
	const struct request *q;
	struct side_hand *hand;
	int status;
	json_t *entries;
};

/* Something in a directory, or named by itself. */
struct entry {
	const char *path; /* below the root of the vault */
	const char *name;
	const struct side_node *node;
	char *target; /* of a symlink, or NULL */
};

static void fail(struct run *run, const char *path, int r)
{
	int status = within_report("list", path, r);

	run->status = !run->status || run->status == status ? status : STATUS_SYSTEM;
}

/* ---- one line ------------------------------------------------------------- */

static const char *type_of(mode_t mode, char *letter)
{
	static const struct {
		mode_t type;
		char letter;
		const char *name;
	} types[] = {
		{ S_IFREG, '-', "file" },	  { S_IFDIR, 'd', "directory" },
		{ S_IFLNK, 'l', "symlink" },	  { S_IFIFO, 'p', "fifo" },
		{ S_IFSOCK, 's', "socket" },	  { S_IFCHR, 'c', "character device" },
		{ S_IFBLK, 'b', "block device" },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if ((mode & S_IFMT) != types[i].type)
			continue;
		*letter = types[i].letter;
		return types[i].name;
	}
	*letter = '?';
	return "unknown";
}

/* As ls(1) shows it: "-rwsr-xr-x". */
static void mode_text(mode_t mode, char text[11])
{
	static const struct {
		mode_t bit;
		int at;
		char with_x, without_x;
	} special[] = {
		{ S_ISUID, 3, 's', 'S' },
		{ S_ISGID, 6, 's', 'S' },
		{ S_ISVTX, 9, 't', 'T' },
	};

	(void)type_of(mode, &text[0]);
	for (int i = 0; i < 9; i++)
		text[1 + i] = mode & (0400 >> i) ? "rwx"[i % 3] : '-';
	for (size_t i = 0; i < 3; i++)
		if (mode & special[i].bit)
			text[special[i].at] = text[special[i].at] == 'x' ? special[i].with_x
									 : special[i].without_x;
	text[10] = '\0';
}

static void print_owner(const struct stat *st)
{
	const struct passwd *user = getpwuid(st->st_uid);
	const struct group *group = getgrgid(st->st_gid);

	if (user)
		printf(" %-8s", user->pw_name);
	else
		printf(" %-8u", st->st_uid);
	if (group)
		printf(" %-8s", group->gr_name);
	else
		printf(" %-8u", st->st_gid);
}

static void print_details(const struct stat *st)
{
	char mode[11];
	char when[32] = "?";
	struct tm tm;

	mode_text(st->st_mode, mode);
	printf("%s %3ju", mode, (uintmax_t)st->st_nlink);
	print_owner(st);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		printf(" %6u, %3u", major(st->st_rdev), minor(st->st_rdev));
	else
		printf(" %11jd", (intmax_t)st->st_size);
	if (localtime_r(&st->st_mtim.tv_sec, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	printf(" %s ", when);
}

static void print_name(const struct run *run, const char *name)
{
	if (run->q->escapes)
		cli_print_escaped(name);
	else
		(void)fputs(name, stdout);
}

static void print_entry(const struct run *run, const struct entry *e)
{
	if (run->q->is_long)
		print_details(&e->node->st);
	print_name(run, e->name);
	if (run->q->is_long && e->target) {
		printf(" -> ");
		print_name(run, e->target);
	}
	(void)putchar('\n');
}

static void add_json(struct run *run, const struct entry *e)
{
	const struct stat *st = &e->node->st;
	char mode[8];
	char letter;
	json_t *o;

	(void)snprintf(mode, sizeof(mode), "%04o", st->st_mode & 07777);
	o = json_pack("{s:s, s:I, s:s, s:i, s:i, s:i, s:I, s:I}", "type",
		      type_of(st->st_mode, &letter), "size", (json_int_t)st->st_size, "mode", mode,
		      "uid", (int)st->st_uid, "gid", (int)st->st_gid, "links", (int)st->st_nlink,
		      "mtime", (json_int_t)st->st_mtim.tv_sec, "mtime_ns",
		      (json_int_t)st->st_mtim.tv_nsec);
	cli_json_text(o, "path", e->path);
	if (e->target)
		cli_json_text(o, "target", e->target);
	(void)json_array_append_new(run->entries, o); /* cli_json fails for what is not whole */
}

static void show(struct run *run, struct entry *e)
{
	char target[SIDE_TARGET_MAX];
	bool wants_target = run->q->is_long || run->q->json;

	if (S_ISLNK(e->node->st.st_mode) && wants_target) {
		int r = side_readlink(run->hand, e->node, target);

		if (r)
			fail(run, e->path, r);
		else
			e->target = target;
	}
	if (run->q->json)
		add_json(run, e);
	else
		print_entry(run, e);
}

/* ---- directories --------------------------------------------------------- */

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0 ? NULL : path;
}

static void list_dir(struct run *run, const char *path, const struct side_node *dir, bool titled);

/* Those in a directory that was just listed. */
static void list_below(struct run *run, const char *path, const struct side_node *dir,
		       const struct side_name *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *below;
		struct side_node node;

		if (!names[i].text) /* no directory, or not to be shown */
			continue;
		if (side_find(run->hand, dir, names[i].text, &node))
			continue; /* said already */
		below = join(path, names[i].text);
		if (below)
			list_dir(run, below, &node, true);
		else
			fail(run, names[i].text, -ENOMEM);
		free(below);
		side_drop(run->hand, &node);
	}
}

/* Show one of a directory: whether it is a directory itself. */
static bool show_name(struct run *run, const char *path, const struct side_node *dir,
		      const struct side_name *name)
{
	char *full = join(path, name->text);
	struct side_node node;
	bool is_dir = false;
	int r = side_find(run->hand, dir, name->text, &node);

	if (!r && name->is_damaged)
		fail(run, name->text, -EBADMSG);
	if (!r && full) {
		struct entry e = { .path = full, .name = name->text, .node = &node };

		show(run, &e);
		is_dir = S_ISDIR(node.st.st_mode) && !name->is_damaged;
	} else if (r != -ENOENT) {
		fail(run, name->text, r ? r : -ENOMEM);
	}
	side_drop(run->hand, &node);
	free(full);
	return is_dir;
}

static void list_dir(struct run *run, const char *path, const struct side_node *dir, bool titled)
{
	struct side_name *names;
	size_t n;
	int r = side_list(run->hand, dir, &names, &n);

	if (titled && !run->q->json) {
		(void)putchar('\n');
		print_name(run, path);
		printf(":\n");
	}
	if (r)
		fail(run, path, r);
	for (size_t i = 0; i < n; i++) {
		bool is_hidden = names[i].text[0] == '.' && !run->q->shows_all;

		if (!is_hidden && show_name(run, path, dir, &names[i]))
			continue;
		free(names[i].text);
		names[i].text = NULL;
	}
	if (run->q->recursive)
		list_below(run, path, dir, names, n);
	side_names_free(names, n);
}

static int list(void *arg, struct offline *vault, struct side_hand *hand)
{
	const struct request *q = arg;
	struct run run = { .q = q, .hand = hand };
	const char *place = q->vault.place;
	const char *slash = strrchr(place, '/');
	struct side_node node;
	int status;
	int r = side_find_path(hand, place, &node);

	(void)vault;
	if (r)
		return within_report("list", place, r);
	if (q->json)
		run.entries = json_array();
	if (S_ISDIR(node.st.st_mode)) {
		list_dir(&run, place, &node, false);
	} else {
		struct entry e = { .path = place,
				   .name = slash ? slash + 1 : place,
				   .node = &node };

		show(&run, &e);
	}
	side_drop(hand, &node);
	status = q->json ? cli_json(run.entries) : cli_flush();
	return run.status ? run.status : status;
}

/* What names of owners and local time come from is still to be had when we are confined. */
static int start(struct request *q)
{
	struct confine_place etc = { open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC), CONFINE_READ };
	int status;

	tzset();
	(void)getpwuid(0); /* loads what finds them */
	(void)getgrgid(0);
	status = within_look(&q->vault, &q->options, &etc, list, q);
	fdio_close(etc.fd);
	return status;
}

/* ---- the command line ------------------------------------------------------- */

static int apply(int option, const char *value, struct request *q)
{
	switch (option) {
	case 'l':
		q->is_long = true;
		return STATUS_OK;
	case 'a':
		q->shows_all = true;
		return STATUS_OK;
	case 'R':
		q->recursive = true;
		return STATUS_OK;
	case 'j':
		q->json = true;
		return STATUS_OK;
	default:
		return within_apply(option, value, &q->options);
	}
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
		{ "long", no_argument, NULL, 'l' },
		{ "all", no_argument, NULL, 'a' },
		{ "recursive", no_argument, NULL, 'R' },
		{ "json", no_argument, NULL, 'j' },
		WITHIN_OPTIONS,
		{ "help", no_argument, NULL, CLI_OPTIONS_HELP },
		{ 0 },
	};
	struct request q = { .self = self, .escapes = isatty(STDOUT_FILENO) };
	const char *operand;
	int status = STATUS_OK;
	int c;

	within_init(&q.options);
	while (!status && (c = cli_option(self, argc, argv, options)) != CLI_OPTIONS_END) {
		if (c == CLI_OPTIONS_HELP)
			return cli_help(self);
		status = apply(c, optarg, &q);
	}
	if (!status)
		status = cli_operand(self, argc, argv, "VAULT[:PATH]", &operand);
	if (!status)
		status = within_split(self, operand, &q.vault);
	if (!status)
		status = start(&q);
	within_free(&q.vault);
	return status;
}

const struct command cli_ls = {
	.name = "ls",
	.summary = "list what is in a vault, without a mount",
	.help = "usage: cryptfs ls [OPTIONS] VAULT[:PATH]\n"
		"\n"
		"List a directory, or one thing, of a vault that is not mounted.\n"
		"\n"
		"  -l, --long         modes, links, owners, sizes and times, too\n"
		"  -a, --all          names that begin with a dot, too\n"
		"  -R, --recursive    and what is in the directories\n"
		"  --json             an array for programs\n"
		"  --workers N        processes that decrypt: 0 to 64, or auto (default)\n"
		"  --passfile FILE    the passphrase is the first line of FILE (- is stdin)\n"
		"  --extpass COMMAND  ... the first line that this shell command prints\n"
		"  --keyfile FILE     ... all of FILE\n"
		"  --keyring NAME     ... a key of that name in the kernel's keyrings\n"
		"  --credential NAME  ... the systemd credential NAME\n"
		"  --fido2 DEVICE     ... a security key; auto: that is there\n"
		"  --tpm2 DEVICE      ... a TPM; auto: of this machine\n"
		"  --help             show this\n",
	.shorts = "laR",
	.run = run,
};
