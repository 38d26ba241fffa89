/* SPDX-License-Identifier: MIT */
/*
 * Power failures, simulated.  A random workload runs on a tree whose backing
 * calls are recorded (record.h); then many states in which a disk may be left
 * by a power failure at any point of it (disk.h) are made, opened as the next
 * mount does, and compared with what an application may expect:
 *
 * - what was fsynced and not changed since is there, byte for byte;
 * - each block of a file that was changed since is as it was after one of the
 *   changes, or as it was fsynced; the length is between those it had;
 * - a block that cannot be read was overwritten as a whole since the last
 *   fsync, or was never fsynced; a file that cannot be opened never was;
 * - each name is what it was at the last fsync of its directory or became
 *   since; what was renamed is at one of its places;
 * - no name, link target or attribute is damaged, and nothing is there that was
 *   never made;
 * - files can be made, written, fsynced and settled, and a second mount finds
 *   the same.
 *
 *   test_power [SEED [WORKLOADS [STATES]]]
 *
 * All is decided by the seed; a failure names the seed, workload and state,
 * and test_power SEED:WORKLOAD:STATE repeats just that one.  In the environment:
 * POWER_VERBOSE tells operations and versions, POWER_KEEP keeps a failed state,
 * POWER_GO_ON goes on with the next one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "disk.h"
#include "engine/engine.h"
#include "fs/dirrec.h"
#include "fs/journal.h"
#include "fs/links.h"
#include "fs/replay.h"
#include "fs/tree.h"
#include "fs/tree_internal.h"
#include "record.h"

enum {
	BLOCK = FORMAT_BLOCK_SIZE,
	MAX_THINGS = 400,
	MAX_NAMES = 60,
	LENGTH_MAX = 300 * 1024,
	ALIVE_MAX = 14, /* things at a time */
	CHANGES = 70,	/* in a workload */
};

/* ---- what the application did ------------------------------------------------ */

/* Content as it was from operation `begin` on, at the earliest. */
struct version {
	int begin, end; /* operations recorded before and after the change */
	uint64_t length;
	uint8_t *bytes;
	uint64_t from, to; /* what was written: blocks within it may be lost */
	bool cut;	   /* a truncation */
};

/* A file, directory or symlink. */
struct thing {
	mode_t type;
	uint8_t id[KEYS_FILE_ID_SIZE]; /* of files and directories */
	int made;
	struct version *versions; /* of files */
	int n_versions;
	int n_syncs;
	struct {
		int begin, end;
	} * syncs; /* of the file or directory */
	char target[300];
	bool is_open;
	struct node *node; /* while mounted, if known */
	bool removed;	   /* it has no name now */
	bool found;	   /* in the state being looked at */
};

/* A name and what it stood for. */
struct binding {
	int begin, end;
	int thing; /* -1: nothing */
};

struct name {
	int dir; /* a thing */
	char text[256];
	struct binding *bindings;
	int n_bindings;
};

static struct thing *things;
static int n_things;
static struct name *names;
static int n_names;

static struct {
	uint64_t seed;
	int workload, state;
	uint64_t states, blocks, lost_blocks, lost_files, ops;
} run;

static jmp_buf next_state;
static int failures;
static struct keyring keys;
static struct store store;
static struct io *io;
static struct tree *tree;
static char work[64]; /* the temporary directory */
static uint64_t rng;

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint64_t draw(uint64_t n)
{
	return disk_random(&rng, n);
}

static void remove_all(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    unlinkat(fd, e->d_name, 0))
			remove_all(fd, e->d_name);
	if (d)
		(void)closedir(d);
	(void)unlinkat(dirfd, name, AT_REMOVEDIR);
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fprintf(stdout, "FAILED: ");
	(void)vfprintf(stdout, format, args);
	va_end(args);
	(void)fprintf(stdout, "\n  again with: test_power %llu:%d:%d\n",
		      (unsigned long long)run.seed, run.workload, run.state);
	record_pause(1);
	if (getenv("POWER_GO_ON") && run.state >= 0)
		longjmp(next_state, 1);
	if (!getenv("POWER_KEEP"))
		remove_all(AT_FDCWD, work);
	exit(1);
}

static int now(void)
{
	return record_get()->n_ops;
}

/* ---- mounting ---------------------------------------------------------------- */

static int vault_fd = -1;
static int tree_fd = -1;

/* As a mount does. */
static void mount_vault(const char *path)
{
	struct replay_result replayed;
	char tree_path[128];
	int r;

	(void)snprintf(tree_path, sizeof(tree_path), "%s/tree", path);
	tree_fd = open(tree_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vault_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = vault_fd < 0 || tree_fd < 0 ? -errno
					: replay_vault(&store, io, vault_fd, tree_fd, &replayed);
	if (!r)
		r = journal_new(vault_fd, &keys, JOURNAL_SIZE_MIN, &store.journal);
	if (!r)
		r = tree_new(&store, tree_fd, &tree);
	if (r)
		fail("cannot mount: %s", strerror(-r));
}

static void close_journal(void)
{
	journal_free(store.journal);
	store.journal = NULL;
	(void)close(vault_fd);
	(void)close(tree_fd);
}

static void unmount_vault(void)
{
	tree_let_go(tree);
	tree_settle(tree, io, true);
	tree_free(tree);
	tree = NULL;
	close_journal();
}

/* The power is off: nothing is settled. */
static void drop_vault(void)
{
	tree_let_go(tree);
	tree_free(tree);
	tree = NULL;
	close_journal();
}

/* ---- the record of the application -------------------------------------------- */

static int new_thing(mode_t type, int begin)
{
	struct thing *t = &things[n_things];

	if (n_things == MAX_THINGS)
		abort();
	memset(t, 0, sizeof(*t));
	t->type = type;
	t->made = begin;
	return n_things++;
}

static struct name *name_of(int dir, const char *text)
{
	struct name *n;

	for (int i = 0; i < n_names; i++)
		if (names[i].dir == dir && !strcmp(names[i].text, text))
			return &names[i];
	names = must(realloc(names, (size_t)(n_names + 1) * sizeof(*names)));
	n = &names[n_names++];
	memset(n, 0, sizeof(*n));
	n->dir = dir;
	(void)snprintf(n->text, sizeof(n->text), "%s", text);
	return n;
}

static int bound(const struct name *n)
{
	return n->n_bindings ? n->bindings[n->n_bindings - 1].thing : -1;
}

static void bind(int dir, const char *text, int thing, int begin)
{
	struct name *n = name_of(dir, text);

	n->bindings = must(
		realloc(n->bindings, (size_t)(n->n_bindings + 1) * sizeof(*n->bindings)));
	n->bindings[n->n_bindings++] = (struct binding){ begin, now(), thing };
}

static const struct version *newest(const struct thing *t)
{
	return &t->versions[t->n_versions - 1];
}

/* A file's next version, a copy of the last one. */
static struct version *next_version(struct thing *t, uint64_t length, int begin)
{
	const struct version *old = t->n_versions ? newest(t) : NULL;
	uint64_t keep = old ? (old->length < length ? old->length : length) : 0;
	struct version v = { .begin = begin, .length = length };

	v.bytes = must(calloc(1, length + 1));
	if (keep)
		memcpy(v.bytes, old->bytes, keep);
	t->versions = must(
		realloc(t->versions, (size_t)(t->n_versions + 1) * sizeof(*t->versions)));
	t->versions[t->n_versions++] = v;
	return &t->versions[t->n_versions - 1];
}

static void note_sync(struct thing *t, int begin)
{
	t->syncs = must(realloc(t->syncs, (size_t)(t->n_syncs + 1) * sizeof(*t->syncs)));
	t->syncs[t->n_syncs].begin = begin;
	t->syncs[t->n_syncs++].end = now();
}

/* ---- doing things -------------------------------------------------------------- */

static const struct caller me;

static void did(const char *what, int r)
{
	if (r)
		fail("%s in the workload: %s", what, strerror(-r));
}

static struct node *look_up(int dir, const char *text)
{
	struct tree_entry e;

	did("lookup", tree_lookup(tree, things[dir].node, text, &e));
	return e.node;
}

static struct node *node_of(int thing)
{
	struct thing *t = &things[thing];

	/* By whatever name it has now, as the kernel would. */
	if (t->type == S_IFREG && !t->is_open)
		t->node = NULL;
	for (int i = 0; i < n_names && !t->node; i++)
		if (bound(&names[i]) == thing && !things[names[i].dir].removed) {
			(void)node_of(names[i].dir);
			t->node = look_up(names[i].dir, names[i].text);
		}
	return t->node;
}

static void open_thing(int thing)
{
	struct thing *t = &things[thing];
	bool keep;

	if (t->is_open)
		return;
	did("open", tree_open(tree, io, node_of(thing), O_RDWR, &keep));
	t->is_open = true;
}

static void close_thing(int thing)
{
	struct thing *t = &things[thing];

	if (t->is_open)
		tree_release(tree, t->node);
	t->is_open = false;
}

static void write_thing(int thing, uint64_t offset, size_t size, bool append)
{
	struct thing *t = &things[thing];
	int begin = now();
	uint64_t length = newest(t)->length;
	struct version *v;

	if (append)
		offset = length;
	v = next_version(t, offset + size > length ? offset + size : length, begin);
	v->from = offset;
	v->to = offset + size;
	for (size_t i = 0; i < size; i++)
		v->bytes[offset + i] = (uint8_t)(draw(255) + 1);
	memcpy(io->data + IO_DATA, v->bytes + offset, size);
	did("write", tree_write(tree, io, t->node, offset, size, append));
	v->end = now();
}

static void truncate_thing(int thing, uint64_t length)
{
	struct stat attr = { .st_size = (off_t)length };
	struct thing *t = &things[thing];
	int begin = now();
	struct version *v = next_version(t, length, begin);
	struct stat st;

	v->cut = true;
	v->from = v->to = length;
	did("truncate", tree_setattr(tree, io, node_of(thing), &attr, TREE_SET_SIZE, &st));
	v->end = now();
}

static void sync_thing(int thing, bool data_only)
{
	int begin = now();

	if (things[thing].type == S_IFDIR)
		did("fsyncdir", tree_fsyncdir(tree, node_of(thing)));
	else
		did("fsync", tree_fsync(tree, things[thing].node, data_only));
	note_sync(&things[thing], begin);
}

static int alive(mode_t type)
{
	int found = -1;
	uint64_t n = 0;

	for (int i = 0; i < n_things; i++)
		if (things[i].type == type && !things[i].removed && !draw(++n))
			found = i;
	return found;
}

/* A name that stands for something of this type (0: any), not the root. */
static struct name *some_name(mode_t type)
{
	struct name *found = NULL;
	uint64_t n = 0;

	for (int i = 0; i < n_names; i++) {
		int thing = bound(&names[i]);

		if (thing >= 0 && !things[names[i].dir].removed &&
		    (!type || things[thing].type == type) && !draw(++n))
			found = &names[i];
	}
	return found;
}

static int names_of(int thing)
{
	int n = 0;

	for (int i = 0; i < n_names; i++)
		n += bound(&names[i]) == thing;
	return n;
}

static bool is_empty(int dir)
{
	for (int i = 0; i < n_names; i++)
		if (names[i].dir == dir && bound(&names[i]) >= 0)
			return false;
	return true;
}

static bool is_below(int dir, int above)
{
	for (int depth = 0; dir != above; depth++) {
		int up = -1;

		for (int i = 0; i < n_names; i++)
			if (bound(&names[i]) == dir)
				up = names[i].dir;
		if (up < 0)
			return false;
		dir = up;
	}
	return true;
}

/* Names are few, so that they come back. */
static void some_text(char text[256])
{
	unsigned int n = (unsigned int)draw(12);

	(void)snprintf(text, 256, "name %u", n);
	if (n >= 9) {
		memset(text, 'a' + (int)n, 200 + n);
		text[200 + n] = 0;
	}
}

static int n_alive(void)
{
	int n = 0;

	for (int i = 0; i < n_things; i++)
		n += !things[i].removed;
	return n;
}

static void make_file(int dir, const char *text)
{
	static const size_t sizes[] = { 0, 40, 900, 3000, 3072, 5000, 16384, 70000, 199000 };
	struct tree_entry e;
	int begin = now();
	int thing = new_thing(S_IFREG, begin);
	struct version *v = next_version(&things[thing], 0, begin);
	size_t size = sizes[draw(sizeof(sizes) / sizeof(*sizes))];

	did("create", tree_create(tree, io, node_of(dir), text, S_IFREG | 0644, &me, &e));
	v->end = now();
	things[thing].node = e.node;
	things[thing].is_open = true;
	memcpy(things[thing].id, file_id(e.node->file), KEYS_FILE_ID_SIZE);
	bind(dir, text, thing, begin);
	if (size)
		write_thing(thing, 0, size, false);
	if (draw(2))
		sync_thing(thing, draw(2));
}

static void make_other(int dir, const char *text)
{
	struct tree_entry e;
	int begin = now();
	bool link = draw(3) == 0;
	int thing = new_thing(link ? S_IFLNK : S_IFDIR, begin);
	struct thing *t = &things[thing];

	if (link) {
		size_t size = draw(2) ? 20 : 250;

		memset(t->target, 'a' + (int)draw(26), size);
		did("symlink", tree_symlink(tree, node_of(dir), text, t->target, &me, &e));
	} else {
		did("mkdir", tree_mkdir(tree, node_of(dir), text, 0755, &me, &e));
	}
	t->node = e.node;
	if (!link)
		memcpy(t->id, e.node->dir_id, FORMAT_DIR_ID_SIZE);
	bind(dir, text, thing, begin);
}

static void lost_name(int thing)
{
	if (names_of(thing) == 0) {
		close_thing(thing);
		things[thing].removed = true;
	}
}

static void remove_name(struct name *n)
{
	int dir = n->dir;
	int thing = bound(n);
	int begin = now();
	char text[256];

	strcpy(text, n->text);
	if (things[thing].type == S_IFDIR) {
		if (!is_empty(thing))
			return;
		did("rmdir", tree_rmdir(tree, node_of(dir), text));
	} else {
		did("unlink", tree_unlink(tree, node_of(dir), text));
	}
	bind(dir, text, -1, begin);
	lost_name(thing);
}

static void link_name(int thing, int dir, const char *text)
{
	struct tree_entry e;
	int begin = now();

	did("link", tree_link(tree, io, node_of(thing), node_of(dir), text, &e));
	bind(dir, text, thing, begin);
}

static void rename_name(struct name *n, int dir, const char *text)
{
	int from = n->dir;
	int thing = bound(n);
	int other = bound(name_of(dir, text));
	bool exchange = other >= 0 && draw(3) == 0;
	char old[256];
	int begin;

	n = NULL; /* may have moved */
	for (int i = 0; i < n_names; i++)
		if (names[i].dir == from && bound(&names[i]) == thing)
			n = &names[i];
	strcpy(old, n->text);
	if (thing == other || (things[thing].type == S_IFDIR && is_below(dir, thing)) ||
	    (other >= 0 && things[other].type == S_IFDIR && is_below(from, other)))
		return;
	if (!exchange && other >= 0 &&
	    ((things[thing].type == S_IFDIR) != (things[other].type == S_IFDIR) ||
	     (things[other].type == S_IFDIR && !is_empty(other))))
		return;
	(void)node_of(thing);
	begin = now();
	did("rename", tree_rename(tree, io, node_of(from), old, node_of(dir), text,
				  exchange ? RENAME_EXCHANGE : 0, &me));
	bind(from, old, exchange ? other : -1, begin);
	bind(dir, text, thing, begin);
	if (other >= 0)
		lost_name(other);
}

static void change_content(int thing)
{
	const struct thing *t = &things[thing];
	uint64_t length = newest(t)->length;
	uint64_t blocks = length / BLOCK;
	uint64_t at = draw(length + 1);

	open_thing(thing);
	switch (draw(9)) {
	case 0:
	case 1:
	case 2: /* a log */
		for (int i = 0; i < 4 && newest(t)->length < LENGTH_MAX - 100; i++) {
			write_thing(thing, 0, 1 + draw(100), true);
			if (draw(3))
				sync_thing(thing, draw(2));
		}
		break;
	case 3:
		if (length < LENGTH_MAX - 9000)
			write_thing(thing, 0, 1 + draw(9000), true);
		break;
	case 4: /* inside */
		if (at < LENGTH_MAX - 9000)
			write_thing(thing, at, 1 + draw(draw(2) ? 200 : 9000), false);
		break;
	case 5: /* whole blocks */
		at = draw(blocks + 1) * BLOCK;
		if (at < LENGTH_MAX - 5 * BLOCK)
			write_thing(thing, at, (1 + draw(4)) * BLOCK, false);
		break;
	case 6:
		truncate_thing(thing, draw(3) ? at : draw(2) ? 0 : draw(blocks + 1) * BLOCK);
		break;
	case 7:
		truncate_thing(thing, length + draw(LENGTH_MAX - length));
		break;
	case 8: /* behind the end */
		at = length + draw(20000);
		if (at < LENGTH_MAX - 200)
			write_thing(thing, at, 1 + draw(200), false);
		break;
	}
	if (draw(3) == 0)
		sync_thing(thing, draw(2));
	if (draw(3) == 0)
		close_thing(thing);
}

static void forget_nodes(void)
{
	for (int i = 1; i < n_things; i++) {
		close_thing(i);
		things[i].node = NULL;
	}
}

static void remount(const char *vault)
{
	forget_nodes();
	unmount_vault();
	mount_vault(vault);
	things[0].node = nodes_root(tree_nodes(tree));
}

static void one_change(const char *vault)
{
	int dir = alive(S_IFDIR);
	int file = alive(S_IFREG);
	struct name *n;
	char text[256];

	some_text(text);
	switch (draw(24)) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (n_alive() < ALIVE_MAX && bound(name_of(dir, text)) < 0)
			make_file(dir, text);
		break;
	case 4:
	case 5:
		if (n_alive() < ALIVE_MAX && bound(name_of(dir, text)) < 0)
			make_other(dir, text);
		break;
	case 6:
	case 7:
	case 8:
		n = some_name(0);
		if (n)
			rename_name(n, dir, text);
		break;
	case 9:
		n = some_name(0);
		if (n)
			remove_name(n);
		break;
	case 10:
		if (file >= 0 && bound(name_of(dir, text)) < 0)
			link_name(file, dir, text);
		break;
	case 11:
	case 12:
		sync_thing(dir, false);
		break;
	case 13:
		if (file >= 0 && things[file].is_open)
			sync_thing(file, draw(2));
		break;
	case 14:
		if (draw(4) == 0) {
			remount(vault);
		} else {
			record_advance_clock(40);
			tree_settle(tree, io, false);
		}
		break;
	default:
		if (file >= 0)
			change_content(file);
		break;
	}
}

/* As cryptfs init. */
static void make_root(int dirfd)
{
	int fd;
	int r = mkdirat(dirfd, "tree", 0700) ? -errno : 0;

	fd = openat(dirfd, "tree", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!r)
		r = fd < 0 ? -errno : dirrec_make_root(fd, &keys);
	if (r)
		fail("cannot make a root: %s", strerror(-r));
	(void)close(fd);
}

static void record_workload(const char *vault)
{
	int dirfd = open(vault, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int begin;

	record_start(dirfd);
	make_root(dirfd);
	n_things = 0;
	n_names = 0;
	(void)new_thing(S_IFDIR, 0);
	mount_vault(vault);
	things[0].node = nodes_root(tree_nodes(tree));
	begin = now();
	(void)syncfs(dirfd);
	note_sync(&things[0], begin);
	things[0].made = now();
	for (int i = 0; i < CHANGES; i++)
		one_change(vault);
	record_pause(1);
	for (int i = 0; i < n_things; i++)
		close_thing(i);
	drop_vault();
	(void)close(dirfd);
}

static void forget_workload(void)
{
	for (int i = 0; i < n_things; i++) {
		for (int k = 0; k < things[i].n_versions; k++)
			free(things[i].versions[k].bytes);
		free(things[i].versions);
		free(things[i].syncs);
	}
	for (int i = 0; i < n_names; i++)
		free(names[i].bindings);
	record_stop();
}

/* ---- looking at a state --------------------------------------------------------- */

/* The last version that a sync made durable before the end, or -1. */
static int durable_version(const struct thing *t, int end)
{
	int best = -1;

	for (int s = 0; s < t->n_syncs; s++)
		for (int v = 0; v < t->n_versions && t->syncs[s].end <= end; v++)
			if (t->versions[v].end <= t->syncs[s].begin && v > best)
				best = v;
	return best;
}

static bool block_is(const struct version *v, uint64_t block, const uint8_t *bytes, size_t size)
{
	uint64_t at = block * BLOCK;

	for (size_t i = 0; i < size; i++)
		if (bytes[i] != (at + i < v->length ? v->bytes[at + i] : 0))
			return false;
	return true;
}

/* Whether a block may be lost: it was never fsynced, or overwritten as a whole since. */
static bool may_be_lost(const struct thing *t, uint64_t block, int base, int last)
{
	uint64_t at = block * BLOCK;
	uint64_t known = base < 0 ? 0 : t->versions[base].length;

	if (at >= known)
		return true;
	for (int v = base + 1; v <= last; v++) {
		const struct version *was = &t->versions[v - 1];
		uint64_t end = at + BLOCK < was->length ? at + BLOCK : was->length;

		if (t->versions[v].from <= at && t->versions[v].to >= end && !t->versions[v].cut)
			return true;
		if (t->versions[v].length <= at)
			return true;
	}
	return false;
}

static const char *check_block(const struct thing *t, uint64_t block, uint64_t length, int base,
			       int last, struct node *node)
{
	uint64_t at = block * BLOCK;
	size_t size = length - at < BLOCK ? (size_t)(length - at) : BLOCK;
	const void *data;
	size_t done;
	int r = tree_read(tree, io, node, at, size, &data, &done);

	run.blocks++;
	if (r == -EIO) {
		run.lost_blocks++;
		return may_be_lost(t, block, base, last) ? NULL : "a fsynced block is unreadable";
	}
	if (r || done != size)
		return "reading fails";
	if ((base < 0 || t->versions[base].length <= at) &&
	    block_is(&t->versions[0], block, data, size))
		return NULL; /* zeros */
	for (int v = base < 0 ? 0 : base; v <= last; v++)
		if (block_is(&t->versions[v], block, data, size))
			return NULL;
	return "a block holds what was never written";
}

static const char *check_file(struct thing *t, struct node *node, int end, char where[64])
{
	int base = durable_version(t, end);
	uint64_t shortest = base < 0 ? 0 : t->versions[base].length;
	uint64_t longest = shortest;
	int last = base < 0 ? 0 : base;
	bool keep;
	int r;

	where[0] = 0;
	for (int v = last; v < t->n_versions && t->versions[v].begin < end; v++) {
		if (t->versions[v].length < shortest)
			shortest = t->versions[v].length;
		if (t->versions[v].length > longest)
			longest = t->versions[v].length;
		last = v;
	}
	r = tree_open(tree, io, node, O_RDWR, &keep);
	if (r && base < 0) {
		run.lost_files++;
		return NULL;
	}
	if (r)
		return "a fsynced file cannot be opened";
	if (memcmp(file_id(node->file), t->id, KEYS_FILE_ID_SIZE) != 0) {
		tree_release(tree, node);
		return "another file";
	}
	const char *what = NULL;
	struct stat st;

	if (tree_getattr(tree, node, &st))
		what = "stat fails";
	else if ((uint64_t)st.st_size < shortest || (uint64_t)st.st_size > longest)
		what = "the length is none it had";
	(void)snprintf(where, 64, "length %llu (%llu..%llu)", (unsigned long long)st.st_size,
		       (unsigned long long)shortest, (unsigned long long)longest);
	for (int v = 0; getenv("POWER_VERBOSE") && v < t->n_versions; v++)
		(void)fprintf(stderr, "version %d: %d..%d length %llu, %llu..%llu%s\n", v,
			      t->versions[v].begin, t->versions[v].end,
			      (unsigned long long)t->versions[v].length,
			      (unsigned long long)t->versions[v].from,
			      (unsigned long long)t->versions[v].to,
			      t->versions[v].cut ? " cut" : "");

	for (uint64_t b = 0; !what && b * BLOCK < (uint64_t)st.st_size; b++) {
		what = check_block(t, b, (uint64_t)st.st_size, base, last, node);
		if (what)
			(void)snprintf(where, 64, "block %llu of %llu bytes, version %d..%d",
				       (unsigned long long)b, (unsigned long long)st.st_size, base,
				       last);
	}
	tree_release(tree, node);
	return what;
}

static void check_dir(int dir, struct node *node, int end);

/* Whether what was found may be this thing: NULL, or why not. */
static const char *check_thing(int thing, struct tree_entry *e, int end, char where[64])
{
	struct thing *t = &things[thing];
	char target[LINKS_PLAIN_MAX + 1];

	where[0] = 0;
	if ((e->st.st_mode & S_IFMT) != t->type)
		return "another type";
	if (t->type == S_IFREG)
		return check_file(t, e->node, end, where);
	if (t->type == S_IFLNK) {
		if (tree_readlink(tree, e->node, target))
			return "a symlink cannot be read";
		return strcmp(target, t->target) ? "a symlink has another target" : NULL;
	}
	if (tree_enter(tree, e->node))
		return "a directory cannot be entered";
	if (!memcmp(e->node->dir_id, t->id, FORMAT_DIR_ID_SIZE))
		return NULL;
	/* One that was never synced may have begun anew, empty. */
	for (int i = 1; i < n_things; i++)
		if (!memcmp(e->node->dir_id, things[i].id, FORMAT_DIR_ID_SIZE))
			return "another directory";
	return t->n_syncs && t->syncs[0].end <= end ? "not the directory" : NULL;
}

static bool is_durable_name(const struct name *n, int binding, int end)
{
	const struct thing *dir = &things[n->dir];

	for (int s = 0; s < dir->n_syncs; s++)
		if (dir->syncs[s].end <= end && n->bindings[binding].end <= dir->syncs[s].begin)
			return true;
	return false;
}

/* Whether a file that can be opened is this thing; others cannot be told apart so early. */
static bool is_that(int thing, const struct tree_entry *e)
{
	bool keep;
	bool same = true;

	if (things[thing].type != S_IFREG || !S_ISREG(e->st.st_mode) ||
	    tree_open(tree, io, e->node, O_RDONLY, &keep))
		return true;
	same = !memcmp(file_id(e->node->file), things[thing].id, KEYS_FILE_ID_SIZE);
	tree_release(tree, e->node);
	return same;
}

static void check_name(const struct name *n, struct node *dir, int end)
{
	const char *why = "it should not be there";
	bool may_be_gone = true;
	struct tree_entry e;
	char where[64] = "";
	bool fine = false;
	int r = tree_lookup(tree, dir, n->text, &e);
	int first = 0;
	int last = -1;

	for (int i = 0; i < n->n_bindings && n->bindings[i].begin < end; i++) {
		last = i;
		if (is_durable_name(n, i, end)) {
			first = i;
			may_be_gone = false;
		}
	}
	for (int i = first; i <= last && !may_be_gone; i++)
		may_be_gone = n->bindings[i].thing < 0;
	if (getenv("POWER_VERBOSE"))
		for (int i = 0; i < n->n_bindings; i++)
			(void)fprintf(stderr, "directory %d \"%.20s\": %d..%d thing %d%s\n", n->dir,
				      n->text, n->bindings[i].begin, n->bindings[i].end,
				      n->bindings[i].thing,
				      is_durable_name(n, i, end) ? " durable" : "");
	if (r == -ENOENT) {
		if (!may_be_gone)
			fail("name \"%.20s\" of directory %d is gone", n->text, n->dir);
		return;
	}
	if (r)
		fail("name \"%.20s\": %s", n->text, strerror(-r));
	for (int i = first; i <= last && !fine; i++) {
		int thing = n->bindings[i].thing;

		if (thing < 0 || (why && !is_that(thing, &e)))
			continue;
		why = check_thing(thing, &e, end, where);
		fine = !why;
		if (fine) {
			things[thing].found = true;
			if (things[thing].type == S_IFDIR)
				check_dir(thing, e.node, end);
		}
	}
	if (!fine)
		fail("name \"%.20s\" of directory %d: %s: %s (thing %d)", n->text, n->dir, why,
		     where, last >= 0 ? n->bindings[last].thing : -1);
	nodes_forget(tree_nodes(tree), e.node, 1);
}

/* Nothing is listed that was never there. */
static void check_listing(int dir, struct node *node)
{
	struct listing_item item;
	struct listing *l;
	off_t at = 0;
	bool keep;
	int r = tree_opendir(tree, node, &l, &keep);

	if (r)
		fail("directory %d cannot be listed: %s", dir, strerror(-r));
	while (!(r = tree_list(tree, l, at, &item))) {
		bool known = item.is_dot;

		for (int i = 0; i < n_names && !known; i++)
			known = names[i].dir == dir && !strcmp(names[i].text, item.name);
		if (item.damaged || !known)
			fail("directory %d lists \"%s\"", dir, item.name);
		at = item.next;
	}
	if (r != -ENOENT)
		fail("directory %d: listing ends with %s", dir, strerror(-r));
	tree_closedir(tree, l);
}

static void check_dir(int dir, struct node *node, int end)
{
	check_listing(dir, node);
	for (int i = 0; i < n_names; i++)
		if (names[i].dir == dir && names[i].n_bindings)
			check_name(&names[i], node, end);
}

/* What had a durable name and lost none but by renaming is somewhere. */
static void check_all_found(int end)
{
	for (int t = 1; t < n_things; t++) {
		bool durable = false;
		bool lost = false;

		for (int i = 0; i < n_names; i++)
			for (int b = 0; b < names[i].n_bindings; b++) {
				const struct binding *was = &names[i].bindings[b];

				if (was->thing == t && is_durable_name(&names[i], b, end))
					durable = true;
				/* Something else took its name, or it was removed. */
				if (b && names[i].bindings[b - 1].thing == t && was->begin < end)
					lost = true;
			}
		if (durable && !lost && !things[t].found)
			fail("thing %d is nowhere", t);
	}
}

static void check_new_things(void)
{
	struct node *root = nodes_root(tree_nodes(tree));
	struct tree_entry e;
	const void *data;
	size_t done;

	did("create afterwards", tree_create(tree, io, root, "new", S_IFREG | 0600, &me, &e));
	memset(io->data + IO_DATA, 'n', 5000);
	did("write afterwards", tree_write(tree, io, e.node, 0, 5000, false));
	did("read afterwards", tree_read(tree, io, e.node, 4999, 1, &data, &done));
	did("fsync afterwards", tree_fsync(tree, e.node, false));
	tree_release(tree, e.node);
	did("unlink afterwards", tree_unlink(tree, root, "new"));
}

static void check_state(const struct disk_choice *choice)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/state", work);
	if (mkdir(path, 0700))
		fail("mkdir: %s", strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	disk_make(record_get(), choice, fd);
	(void)close(fd);

	for (int again = 0; again < 2; again++) {
		for (int i = 0; i < n_things; i++)
			things[i].found = false;
		mount_vault(path);
		check_dir(0, nodes_root(tree_nodes(tree)), choice->n_ops);
		check_all_found(choice->n_ops);
		check_new_things();
		unmount_vault();
	}
	remove_all(AT_FDCWD, path);
	run.states++;
}

static void look_at(uint64_t seed, int workload, int state)
{
	int ops = record_get()->n_ops;
	struct disk_choice choice;

	rng = seed ^ ((uint64_t)workload << 32) ^ ((uint64_t)state << 8) ^ 0x5eed;
	run.state = state;
	record_seed(rng);
	choice.style = (enum disk_style)(state % DISK_STYLES);
	choice.n_ops = things[0].made + (int)draw((uint64_t)(ops - things[0].made) + 1);
	choice.seed = draw(UINT64_MAX);
	if (getenv("POWER_VERBOSE"))
		(void)fprintf(stderr, "workload %d state %d: %d of %d operations, style %d\n",
			      workload, state, choice.n_ops, ops, choice.style);
	if (!setjmp(next_state))
		check_state(&choice);
	else {
		char path[128];
		(void)snprintf(path, sizeof(path), "%s/state", work);
		remove_all(AT_FDCWD, path);
		failures++;
	}
}

static void print_operations(void)
{
	static const char *const kinds[] = { "make",  "link",	   "unlink",   "rename",
					     "xattr", "unxattr",   "truncate", "write",
					     "fsync", "fdatasync", "syncfs" };

	for (int i = 0; i < record_get()->n_ops; i++) {
		const struct op *op = &record_get()->ops[i];

		(void)fprintf(stderr, "%4d %-9s inode %d offset %llu size %zu dir %d \"%.12s\"\n",
			      i, kinds[op->kind], op->inode, (unsigned long long)op->offset,
			      op->size, op->dir, op->name ? op->name : "");
	}
}

static void one_workload(uint64_t seed, int workload, int first, int n)
{
	char path[128];

	run.workload = workload;
	run.state = -1;
	(void)snprintf(path, sizeof(path), "%s/vault", work);
	if (mkdir(path, 0700))
		fail("mkdir: %s", strerror(errno));
	rng = seed + (uint64_t)workload * 1000003;
	record_seed(rng);
	record_workload(path);
	run.ops += (uint64_t)record_get()->n_ops;
	if (getenv("POWER_VERBOSE"))
		print_operations();
	for (int state = first; state < first + n; state++)
		look_at(seed, workload, state);
	forget_workload();
	remove_all(AT_FDCWD, path);
}

static void start(void)
{
	const struct engine_options options = { .workers = 0, .slots = 2 };
	static uint8_t master[KEYS_MASTER_SIZE] = "power fails";

	(void)snprintf(work, sizeof(work), "%s/cryptfs-power-XXXXXX",
		       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(work) || cipher_init() || keys_derive(master, &keys))
		abort();
	store.keys = &keys;
	store.suite = CIPHER_AES_256_GCM;
	if (engine_start(&options, &store.engine) || io_new(&store, &io))
		abort();
	if (!getenv("POWER_VERBOSE") && !freopen("/dev/null", "w", stderr))
		abort(); /* what is unreadable and may be is said there */
	things = must(calloc(MAX_THINGS, sizeof(*things)));
	(void)umask(0);
}

int main(int argc, char **argv)
{
	int workloads = argc > 2 ? atoi(argv[2]) : 10;
	int states = argc > 3 ? atoi(argv[3]) : 400;
	int workload = -1;
	int state = -1;

	run.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	if (argc > 1 && strchr(argv[1], ':'))
		(void)sscanf(strchr(argv[1], ':'), ":%d:%d", &workload, &state);
	(void)printf("seed %llu\n", (unsigned long long)run.seed);
	(void)fflush(stdout);
	start();
	if (workload >= 0)
		one_workload(run.seed, workload, state < 0 ? 0 : state, state < 0 ? 0 : 1);
	for (int w = 0; w < workloads && workload < 0; w++)
		one_workload(run.seed, w, 0, states);
	(void)printf("%llu states of %d workloads with %llu operations; %llu blocks read, "
		     "%llu unreadable, all of them unsynced; %llu unsynced files not opened\n",
		     (unsigned long long)run.states, workload < 0 ? workloads : 1,
		     (unsigned long long)run.ops, (unsigned long long)run.blocks,
		     (unsigned long long)run.lost_blocks, (unsigned long long)run.lost_files);
	io_free(io);
	engine_stop(store.engine);
	remove_all(AT_FDCWD, work);
	free(things);
	free(names);
	return failures ? 1 : 0;
}
