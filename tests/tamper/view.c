/* SPDX-License-Identifier: MIT */
/*
 * view - a tree without FUSE, told line by line what to do: what tamper.py
 * makes its vaults with, and sees them through after each change.
 *
 *   view DIR SUITE [new]   the tree below DIR, with keys that are always the same;
 *                          or make one of the empty directory DIR
 *
 * Every answer ends with a line "." or "! ERRNO".  A path has no blanks; sizes and
 * offsets are bytes; a SEED says which bytes, the same ones every time.
 *
 *   mkdir PATH MODE            write PATH OFFSET SIZE SEED
 *   symlink PATH SIZE SEED     truncate PATH SIZE
 *   mknod PATH MODE DEV        link OLD NEW
 *   rename OLD NEW             exchange A B
 *   setxattr PATH NAME SIZE SEED
 *   rm PATH                    settle
 *   reopen ro|rw               forget everything, as a new mount does
 *   look PATH                  all there is to see at and below PATH ("." is the root)
 *   config VAULT PASSPHRASE rw|ro    open and unlock: "= ANSWER", a VAULT_* or -errno
 *
 * look prints a line for each thing, with tabs between: path, kind, mode,
 * size, error, content, attributes, inode.  All files are open at once while
 * they are read, as in a mount that many use.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/cipher.h"
#include "fs/dirrec.h"
#include "fs/links.h"
#include "fs/special.h"
#include "fs/tree.h"
#include "fs/vault.h"

static struct keyring keys;
static struct store store;
static struct io *io;
static struct tree *tree;
static int root_fd;

/* ---- bytes ------------------------------------------------------------------- */

/* The bytes of a seed from offset on. */
static void fill(uint8_t *to, uint64_t offset, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t x = (seed << 40) + (offset + i) / 8 + 1;

		x *= 0x9e3779b97f4a7c15U;
		x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9U;
		to[i] = (uint8_t)((x ^ x >> 32) >> (offset + i) % 8 * 8);
	}
}

/* Tells contents apart; not against anybody's will. */
static uint64_t fingerprint(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t sum = size + 1;
	uint64_t word;

	for (; size >= 8; size -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15U;
		sum ^= sum >> 32;
	}
	while (size--)
		sum = (sum ^ *bytes++) * 0xbf58476d1ce4e5b9U;
	return sum ^ sum >> 29;
}

/* ---- finding ----------------------------------------------------------------- */

static int reopen(bool read_only)
{
	tree_free(tree);
	tree = NULL;
	store.read_only = read_only;
	return tree_new(&store, root_fd, &tree);
}

/* The directory that path is in; *name is its last part. */
static int parent_of(char *path, struct node **dir, char **name)
{
	struct tree_entry entry;
	char *slash;
	int r = 0;

	*dir = nodes_root(tree_nodes(tree));
	for (; !r && (slash = strchr(path, '/')); path = slash + 1) {
		*slash = '\0';
		r = tree_lookup(tree, *dir, path, &entry);
		*slash = '/';
		if (!r)
			*dir = entry.node;
	}
	*name = path;
	return r;
}

static int find(char *path, struct tree_entry *entry)
{
	struct node *dir;
	char *name;
	int r = parent_of(path, &dir, &name);

	return r ? r : tree_lookup(tree, dir, name, entry);
}

/* ---- making ------------------------------------------------------------------ */

static const struct caller me;

static int write_at(struct node *file, uint64_t offset, uint64_t size, uint64_t seed)
{
	int r = 0;

	while (!r && size) {
		size_t n = size < IO_MAX_SIZE ? (size_t)size : IO_MAX_SIZE;

		fill(io->data + IO_DATA, offset, n, seed);
		r = tree_write(tree, io, file, offset, n, false);
		offset += n;
		size -= n;
	}
	return r;
}

static int do_write(char *path, uint64_t offset, uint64_t size, uint64_t seed)
{
	struct tree_entry entry;
	struct node *dir;
	char *name;
	bool keep;
	int r = parent_of(path, &dir, &name);

	if (r)
		return r;
	r = tree_lookup(tree, dir, name, &entry);
	if (r == -ENOENT)
		r = tree_create(tree, io, dir, name, 0640, &me, &entry);
	else if (!r)
		r = tree_open(tree, io, entry.node, O_RDWR, &keep);
	if (r)
		return r;
	r = write_at(entry.node, offset, size, seed);
	tree_release(tree, entry.node);
	return r;
}

static int do_truncate(char *path, uint64_t size)
{
	struct stat st = { .st_size = (off_t)size };
	struct tree_entry entry;
	int r = find(path, &entry);

	return r ? r : tree_setattr(tree, io, entry.node, &st, TREE_SET_SIZE, &st);
}

/* What is named once and made in a directory. */
static int do_make(const char *what, char *path, uint64_t a, uint64_t b)
{
	uint8_t raw[LINKS_PLAIN_MAX];
	char target[LINKS_PLAIN_MAX + 1] = "";
	struct tree_entry entry;
	struct node *dir;
	char *name;
	int r = parent_of(path, &dir, &name);

	if (r)
		return r;
	if (!strcmp(what, "mkdir"))
		return tree_mkdir(tree, dir, name, (mode_t)a, &me, &entry);
	if (!strcmp(what, "mknod"))
		return tree_mknod(tree, io, dir, name, (mode_t)a, (dev_t)b, &me, &entry);
	if (a > LINKS_PLAIN_MAX)
		return -ENAMETOOLONG;
	fill(raw, 0, (size_t)a, b);
	for (uint64_t i = 0; i < a; i++)
		target[i] = (char)('a' + raw[i] % 26);
	return tree_symlink(tree, dir, name, target, &me, &entry);
}

static int do_two(const char *what, char *from, char *to)
{
	struct tree_entry entry;
	struct node *from_dir;
	struct node *to_dir;
	char *from_name;
	char *to_name;
	int r = parent_of(from, &from_dir, &from_name);

	if (!r)
		r = parent_of(to, &to_dir, &to_name);
	if (!r && !strcmp(what, "link")) {
		r = tree_lookup(tree, from_dir, from_name, &entry);
		return r ? r : tree_link(tree, io, entry.node, to_dir, to_name, &entry);
	}
	return r ? r
		 : tree_rename(tree, io, from_dir, from_name, to_dir, to_name,
			       !strcmp(what, "exchange") ? RENAME_EXCHANGE : 0, &me);
}

static int do_setxattr(char *path, const char *name, uint64_t size, uint64_t seed)
{
	uint8_t value[4096];
	struct tree_entry entry;
	int r = find(path, &entry);

	if (r || size > sizeof(value))
		return r ? r : -E2BIG;
	fill(value, 0, (size_t)size, seed);
	return tree_setxattr(tree, io, entry.node, name, value, (size_t)size, 0);
}

static int do_rm(char *path)
{
	struct tree_entry entry;
	struct node *dir;
	char *name;
	int r = parent_of(path, &dir, &name);

	if (!r)
		r = tree_lookup(tree, dir, name, &entry);
	if (r)
		return r;
	return S_ISDIR(entry.st.st_mode) ? tree_rmdir(tree, dir, name)
					 : tree_unlink(tree, dir, name);
}

/* ---- looking ----------------------------------------------------------------- */

/* One thing that was found. */
struct thing {
	char *path;
	struct tree_entry entry;
	int error; /* of looking it up, of listing or of opening it */
	bool open;
};

static struct thing *things;
static size_t n_things;

static struct thing *add(const char *dir, const char *name)
{
	struct thing *t;

	things = realloc(things, (n_things + 1) * sizeof(*things));
	t = things ? &things[n_things++] : NULL;
	if (!t)
		abort();
	memset(t, 0, sizeof(*t));
	if (asprintf(&t->path, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
		abort();
	return t;
}

static void find_below(size_t at);

/* What is listed must be found by the name it is listed under, too. */
static void find_item(struct node *dir, const char *path, struct listing *l,
		      const struct listing_item *item)
{
	struct thing *t = add(path, item->name);
	struct tree_entry again;

	t->error = tree_list_lookup(tree, l, item, &t->entry);
	if (t->error)
		return;
	t->error = tree_lookup(tree, dir, item->name, &again);
	if (!t->error && again.node != t->entry.node)
		t->error = -EXDEV;
	if (!t->error)
		find_below(n_things - 1);
}

/* Add what is below things[at], if that is a directory. */
static void find_below(size_t at)
{
	struct node *node = things[at].entry.node;
	const char *path = things[at].path;
	struct listing_item item;
	struct listing *l;
	off_t offset = 0;
	bool keep;
	int r;

	if (!S_ISDIR(things[at].entry.st.st_mode))
		return;
	r = tree_opendir(tree, node, &l, &keep);
	while (!r && !(r = tree_list(tree, l, offset, &item))) {
		if (!item.is_dot)
			find_item(node, strcmp(path, ".") ? path : "", l, &item);
		offset = item.next;
	}
	if (r != -ENOENT)
		things[at].error = r;
	else
		tree_closedir(tree, l);
}

static void print_chunks(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size; at += FORMAT_BLOCK_SIZE) {
		size_t n = size - at < FORMAT_BLOCK_SIZE ? size - at : FORMAT_BLOCK_SIZE;

		(void)printf("%zu:%llx,", n, (unsigned long long)fingerprint(data + at, n));
	}
}

/* Up to size bytes at offset: how far that went, 0 at the end. */
static uint64_t print_piece(struct node *node, uint64_t offset, size_t size)
{
	const void *data;
	size_t done;
	int r = tree_read(tree, io, node, offset, size, &data, &done);

	if (r && size > FORMAT_BLOCK_SIZE) {
		for (uint64_t at = 0; at < size; at += FORMAT_BLOCK_SIZE)
			if (!print_piece(node, offset + at, FORMAT_BLOCK_SIZE))
				return 0;
		return size;
	}
	if (r)
		(void)printf("!%d,", -r);
	else
		print_chunks(data, done);
	return r ? size : done;
}

static void print_content(const struct thing *t)
{
	char target[LINKS_PLAIN_MAX + 1];
	uint64_t offset = 0;
	uint64_t done;
	int r;

	if (S_ISLNK(t->entry.st.st_mode)) {
		r = tree_readlink(tree, t->entry.node, target);
		if (r)
			(void)printf("!%d", -r);
		else
			print_chunks((const uint8_t *)target, strlen(target));
	}
	/* What is listed as longer than it is ends at once; what is shorter goes on. */
	while (t->open && (done = print_piece(t->entry.node, offset, IO_MAX_SIZE)) &&
	       offset <= 16 * IO_MAX_SIZE)
		offset += done;
}

static void print_attributes(const struct thing *t)
{
	char names[4096];
	uint8_t value[8192];
	ssize_t n = tree_listxattr(tree, io, t->entry.node, names, sizeof(names));
	ssize_t got;

	if (n < 0)
		(void)printf("!%d", (int)-n);
	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) != 0)
			continue;
		got = tree_getxattr(tree, io, t->entry.node, name, value, sizeof(value));
		if (got < 0)
			(void)printf("%s=!%d;", name, (int)-got);
		else
			(void)printf("%s=%zd:%llx;", name, got,
				     (unsigned long long)fingerprint(value, (size_t)got));
	}
}

static void print_kind(const struct stat *st)
{
	static const char letters[] = "?pc?d?b?f?l?s???";

	(void)putchar(letters[st->st_mode >> 12 & 15]);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		(void)printf("%u:%u", major(st->st_rdev), minor(st->st_rdev));
}

static void print_thing(struct thing *t)
{
	const struct stat *st = &t->entry.st;
	bool content = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode);

	(void)printf("%s\t", t->path);
	print_kind(st);
	(void)printf("\t%o\t%lld\t%d\t", (unsigned int)st->st_mode & 07777,
		     content ? (long long)st->st_size : 0, -t->error);
	print_content(t);
	(void)putchar('\t');
	if (t->entry.node && !t->error)
		print_attributes(t);
	(void)printf("\t%llu\n", (unsigned long long)st->st_ino);
}

static int do_look(char *path)
{
	struct thing *t = add("", path);
	bool keep;

	if (!strcmp(path, ".")) {
		t->entry.node = nodes_root(tree_nodes(tree));
		t->error = tree_getattr(tree, t->entry.node, &t->entry.st);
	} else {
		t->error = find(path, &t->entry);
	}
	if (!t->error)
		find_below(0);
	for (size_t i = 0; i < n_things; i++) {
		t = &things[i];
		if (t->error || !S_ISREG(t->entry.st.st_mode))
			continue;
		t->error = tree_open(tree, io, t->entry.node, O_RDONLY, &keep);
		t->open = !t->error;
	}
	for (size_t i = 0; i < n_things; i++)
		print_thing(&things[i]);
	for (size_t i = 0; i < n_things; i++) {
		if (things[i].open)
			tree_release(tree, things[i].entry.node);
		free(things[i].path);
	}
	free(things);
	things = NULL;
	n_things = 0;
	return 0;
}

/* ---- configurations ------------------------------------------------------------ */

static int do_config(const char *path, const char *passphrase, bool read_only)
{
	const struct vault_secret secret = { .bytes = (const uint8_t *)passphrase,
					     .size = strlen(passphrase) };
	struct vault *v;
	int r = vault_open(path, read_only ? VAULT_SHARED : VAULT_EXCLUSIVE, &v);

	if (!r)
		r = vault_unlock(v, &secret);
	/* The subkeys tell whether it is the right key. */
	if (!r)
		(void)printf("= 0 %llx\n", (unsigned long long)fingerprint(vault_keys(v),
									   sizeof(struct keyring)));
	else
		(void)printf("= %d\n", r);
	vault_close(v);
	return 0;
}

/* ---- being told ------------------------------------------------------------------ */

enum { WORDS = 5 };

static int obey(char *word[WORDS], const uint64_t number[WORDS])
{
	const char *what = word[0];

	if (!strcmp(what, "reopen"))
		return reopen(!strcmp(word[1], "ro"));
	if (!strcmp(what, "config"))
		return do_config(word[1], word[2], !strcmp(word[3], "ro"));
	if (!tree)
		return -EIO; /* the last reopen failed */
	if (!strcmp(what, "write"))
		return do_write(word[1], number[2], number[3], number[4]);
	if (!strcmp(what, "truncate"))
		return do_truncate(word[1], number[2]);
	if (!strcmp(what, "mkdir") || !strcmp(what, "mknod") || !strcmp(what, "symlink"))
		return do_make(what, word[1], number[2], number[3]);
	if (!strcmp(what, "link") || !strcmp(what, "rename") || !strcmp(what, "exchange"))
		return do_two(what, word[1], word[2]);
	if (!strcmp(what, "setxattr"))
		return do_setxattr(word[1], word[2], number[3], number[4]);
	if (!strcmp(what, "rm"))
		return do_rm(word[1]);
	if (!strcmp(what, "settle")) {
		tree_settle(tree, io, true);
		return 0;
	}
	if (!strcmp(what, "look"))
		return do_look(word[1]);
	return -ENOSYS;
}

static void serve(void)
{
	char line[16384];

	while (fgets(line, sizeof(line), stdin)) {
		char nothing[1] = "";
		char *word[WORDS] = { nothing, nothing, nothing, nothing, nothing };
		uint64_t number[WORDS] = { 0 };
		char *rest = line;
		int r;

		line[strcspn(line, "\n")] = '\0';
		for (int i = 0; i < WORDS && rest; i++) {
			word[i] = strsep(&rest, " ");
			number[i] = strtoull(word[i], NULL, 0);
		}
		r = obey(word, number);
		if (r)
			(void)printf("! %d\n", -r);
		else
			(void)puts(".");
		(void)fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	const struct engine_options options = { .workers = 0, .slots = 1 };
	uint8_t master[KEYS_MASTER_SIZE];
	int r = -EINVAL;

	for (size_t i = 0; i < sizeof(master); i++)
		master[i] = (uint8_t)i;
	store.keys = &keys;
	root_fd = argc == 3 || argc == 4 ? open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (root_fd >= 0)
		r = cipher_by_name(argv[2], &store.suite);
	if (!r)
		r = cipher_init();
	if (!r)
		r = keys_derive(master, &keys);
	if (!r)
		r = engine_start(&options, &store.engine);
	if (!r)
		r = io_new(&store, &io);
	if (!r && argc == 4)
		r = dirrec_make_root(root_fd, &keys);
	if (!r)
		r = reopen(false);
	if (r) {
		(void)fprintf(stderr, "view: cannot start: %s\n", strerror(-r));
		return 1;
	}
	(void)umask(0);
	serve();
	tree_free(tree);
	io_free(io);
	engine_stop(store.engine);
	close(root_fd);
	cipher_thread_fini();
	return 0;
}
