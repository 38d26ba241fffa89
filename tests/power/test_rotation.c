/* SPDX-License-Identifier: MIT */
/*
 * A power failure while the master key is changed.  A vault with some of everything is
 * rotated while its backing calls are recorded (record.h); then states in which a disk may
 * be left by a power failure at any point of that (disk.h) are made.  In each the vault opens
 * by its passphrase, and the rotation is gone on with, or given up, as somebody
 * would who finds it: afterwards everything is there, byte for byte, and the
 * vault is as any other.
 *
 *   test_rotation [SEED [STATES]]
 *
 * A failure names its state, and test_rotation SEED:STATE repeats just that one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "engine/engine.h"
#include "fs/recrypt.h"
#include "fs/vault_kdf.h"
#include "fs/vault_rotate.h"
#include "fs/vault_tree.h"
#include "record.h"

enum {
	N_FILES = 6,
	LARGEST = 40000,
	SLOTS = 3, /* two for the copying */
};

static const struct vault_secret secret = { (const uint8_t *)"power fails", 11, VAULT_PASSPHRASE };
static const size_t sizes[N_FILES] = { 0, 17, 4096, 5000, 12288, LARGEST };
static uint8_t contents[N_FILES][LARGEST];
static const char *const target = "where/nothing/is";
static const struct caller me;
static struct engine *engine;
static char work[64];
static unsigned long long seed = 1;
static int state = -1;
static struct {
	int finished, given_up, begun_anew, copied_less;
} counts;

/* Cheap: nothing here depends on how hard a passphrase is to guess. */
int __wrap_vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
			 const struct vault_secret *s, uint8_t kek[VAULT_CONFIG_KEK_SIZE]);
int __wrap_vault_kdf_run(const struct vault_kdf *kdf, const uint8_t salt[VAULT_CONFIG_SALT_SIZE],
			 const struct vault_secret *s, uint8_t kek[VAULT_CONFIG_KEK_SIZE])
{
	(void)kdf;
	return crypto_generichash(kek, VAULT_CONFIG_KEK_SIZE, s->bytes, s->size, salt,
				  VAULT_CONFIG_SALT_SIZE);
}

static void clean_up(void)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "rm -rf %s", work);
	(void)!system(command);
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)printf("FAILED: ");
	(void)vprintf(format, args);
	va_end(args);
	(void)printf("\n  again with: test_rotation %llu:%d\n", seed, state);
	if (!getenv("POWER_KEEP"))
		clean_up();
	exit(1);
}

static void must(const char *what, int r)
{
	if (r)
		fail("%s: %d (%s)", what, r, r < 0 ? strerror(-r) : "an answer");
}

/* ---- a vault ------------------------------------------------------------- */

static struct store store_of(const struct vault *v, bool read_only)
{
	struct store s = { .engine = engine, .keys = vault_keys(v), .read_only = read_only };

	s.suite = CIPHER_AES_256_GCM;
	return s;
}

static void name_of(int i, char name[32])
{
	(void)snprintf(name, 32, "file %d", i);
}

static void make_files(struct tree *t, struct io *io)
{
	struct tree_entry dir, e;
	struct node *root = nodes_root(tree_nodes(t));
	const struct stat old = { .st_mtim.tv_sec = 1000000007, .st_atim.tv_sec = 1000000009 };
	struct stat st;
	char name[32];

	must("mkdir", tree_mkdir(t, root, "directory", 0700, &me, &dir));
	must("symlink", tree_symlink(t, root, "link", target, &me, &e));
	for (int i = 0; i < N_FILES; i++) {
		name_of(i, name);
		must("create",
		     tree_create(t, io, i % 2 ? dir.node : root, name, S_IFREG | 0600, &me, &e));
		memcpy(io->data + IO_DATA, contents[i], sizes[i]);
		if (sizes[i])
			must("write", tree_write(t, io, e.node, 0, sizes[i], false));
		tree_release(t, e.node);
		must("times",
		     tree_setattr(t, io, e.node, &old, TREE_SET_MTIME | TREE_SET_ATIME, &st));
	}
}

static void make_vault(const char *path)
{
	const struct vault_create how = { .suite = CIPHER_AES_256_GCM,
					  .kdf = { VAULT_KDF_MEMORY_FLOOR,
						   VAULT_KDF_OPERATIONS_FLOOR } };
	struct store store;
	struct tree *t;
	struct vault *v;
	struct io *io;

	must("vault_create", vault_create(path, &how, &secret));
	must("vault_open", vault_open(path, VAULT_EXCLUSIVE, &v));
	must("vault_unlock", vault_unlock(v, &secret));
	store = store_of(v, false);
	must("io", io_new(&store, &io));
	must("tree", tree_new(&store, vault_tree_fd(v), &t));
	make_files(t, io);
	tree_let_go(t);
	tree_settle(t, io, true);
	tree_free(t);
	io_free(io);
	must("syncfs", syncfs(vault_fd(v)));
	vault_close(v);
}

/* ---- rotating it --------------------------------------------------------- */

static void not_copied(void *arg, const char *path, int error)
{
	(void)arg;
	fail("%s is not copied: %s", path, strerror(error));
}

static uint64_t copy(const struct vault *v, const struct vault *next)
{
	static const atomic_bool never;
	struct recrypt_counts n = { 0 };
	const struct store from = store_of(v, true);
	const struct store to = store_of(next, false);
	const struct recrypt how = { .from = &from,
				     .to = &to,
				     .from_fd = vault_tree_fd(v),
				     .to_fd = vault_tree_fd(next),
				     .stop = &never,
				     .counts = &n,
				     .failed = not_copied };

	must("recrypt_run", recrypt_run(&how));
	return atomic_load(&n.bytes);
}

/* As cryptfs rotate does, whatever there is of an earlier one. */
static void rotate(const char *path, bool gives_up)
{
	const struct vault_rotate_key key = { .id = 1, .secret = &secret };
	enum vault_rotation rotation;
	struct vault *next = NULL;
	uint64_t all = 0;
	uint64_t copied;
	struct vault *v;

	for (int i = 0; i < N_FILES; i++)
		all += sizes[i];
	must("vault_rotate_open", vault_rotate_open(path, &v));
	must("vault_unlock", vault_unlock(v, &secret));
	must("vault_rotate_look", vault_rotate_look(v, &secret, &rotation, &next));
	if (gives_up && vault_rotate_abort(v) == 0) {
		counts.given_up++;
		vault_close(next);
		vault_close(v);
		return;
	}
	if (rotation == VAULT_NOT_ROTATING) {
		must("vault_rotate_begin", vault_rotate_begin(v, &key, 1));
		must("look again", vault_rotate_look(v, &secret, &rotation, &next));
		counts.begun_anew++;
	}
	if (rotation == VAULT_COPYING) {
		copied = copy(v, next);
		counts.copied_less += copied < all;
		must("vault_rotate_switch", vault_rotate_switch(v, next));
	}
	vault_close(next);
	must("vault_rotate_finish", vault_rotate_finish(v));
	vault_close(v);
	counts.finished++;
}

/* ---- what there is afterwards -------------------------------------------- */

static void check_file(struct tree *t, struct io *io, int i, struct node *dir)
{
	struct tree_entry e;
	const void *data;
	size_t at = 0;
	size_t done;
	char name[32];
	bool keep;

	name_of(i, name);
	must(name, tree_lookup(t, dir, name, &e));
	if (e.st.st_size != (off_t)sizes[i] || e.st.st_mtim.tv_sec != 1000000007)
		fail("%s: size %lld, time %lld", name, (long long)e.st.st_size,
		     (long long)e.st.st_mtim.tv_sec);
	must(name, tree_open(t, io, e.node, O_RDONLY, &keep));
	while (at < sizes[i]) {
		must(name, tree_read(t, io, e.node, at, sizes[i] - at, &data, &done));
		if (!done || memcmp(data, contents[i] + at, done) != 0)
			fail("%s: other content from %zu on", name, at);
		at += done;
	}
	tree_release(t, e.node);
}

static void check(const char *path)
{
	char found[5000];
	struct tree_entry dir, e;
	struct node *root;
	struct store store;
	struct tree *t;
	struct vault *v;
	struct io *io;

	must("vault_open afterwards", vault_open(path, VAULT_EXCLUSIVE, &v));
	must("vault_unlock afterwards", vault_unlock(v, &secret));
	if (vault_rotate_is_there(v))
		fail("VAULT/rotate is left");
	store = store_of(v, false);
	must("io", io_new(&store, &io));
	must("tree", tree_new(&store, vault_tree_fd(v), &t));
	root = nodes_root(tree_nodes(t));
	must("directory", tree_lookup(t, root, "directory", &dir));
	must("link", tree_lookup(t, root, "link", &e));
	must("readlink", tree_readlink(t, e.node, found));
	if (strcmp(found, target) != 0)
		fail("another link target");
	for (int i = 0; i < N_FILES; i++)
		check_file(t, io, i, i % 2 ? dir.node : root);
	tree_let_go(t);
	tree_settle(t, io, true);
	tree_free(t);
	io_free(io);
	vault_close(v);
}

/* ---- states -------------------------------------------------------------- */

static void look_at(int first)
{
	uint64_t rng = seed ^ (uint64_t)state << 8 ^ 0x5eed;
	int last = record_get()->n_ops;
	struct disk_choice choice = { .style = (enum disk_style)(state % DISK_STYLES) };
	char path[96];
	int fd;

	record_seed(rng);
	choice.n_ops = first + (int)disk_random(&rng, (uint64_t)(last - first) + 1);
	choice.seed = disk_random(&rng, UINT64_MAX);
	(void)snprintf(path, sizeof(path), "%s/state", work);
	if (mkdir(path, 0700))
		fail("mkdir: %s", strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	disk_make(record_get(), &choice, fd);
	(void)close(fd);
	rotate(path, state % 4 == 3);
	check(path);
	(void)snprintf(path, sizeof(path), "rm -rf %s/state", work);
	if (system(path))
		fail("a state cannot be removed");
}

static void start(void)
{
	const struct engine_options options = { .workers = 0, .slots = SLOTS };

	(void)snprintf(work, sizeof(work), "%s/cryptfs-rotation-XXXXXX",
		       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(work) || cipher_init() || engine_start(&options, &engine))
		abort();
	for (int i = 0; i < N_FILES; i++)
		randombytes_buf_deterministic(contents[i], sizes[i],
					      (const uint8_t[32]){ (uint8_t)i });
	if (!getenv("POWER_VERBOSE") && !freopen("/dev/null", "w", stderr))
		abort(); /* what is found in a state is said there */
	(void)umask(0);
}

int main(int argc, char **argv)
{
	int states = argc > 2 ? atoi(argv[2]) : 400;
	int only = -1;
	char path[96];
	int first;
	int fd;

	if (argc > 1)
		(void)sscanf(argv[1], "%llu:%d", &seed, &only);
	start();
	(void)snprintf(path, sizeof(path), "%s/vault", work);
	if (mkdir(path, 0700))
		abort();
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	record_seed(seed);
	record_start(fd);
	(void)close(fd);
	make_vault(path);
	first = record_get()->n_ops;
	rotate(path, false);
	record_pause(1);
	check(path);
	memset(&counts, 0, sizeof(counts));
	for (state = only < 0 ? 0 : only; state < (only < 0 ? states : only + 1); state++)
		look_at(first);
	(void)printf("%d states of a rotation of %d operations: %d finished, %d of them begun anew "
		     "and %d with something copied before; %d given up\n",
		     only < 0 ? states : 1, record_get()->n_ops - first, counts.finished,
		     counts.begun_anew, counts.copied_less, counts.given_up);
	record_stop();
	engine_stop(engine);
	clean_up();
	return 0;
}
