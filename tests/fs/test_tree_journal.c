/* SPDX-License-Identifier: MIT */
/*
 * Threads that change files by way of the journal while others checkpoint and settle
 * them: all is there then, and when the process has died, by the journal.  And a
 * file that is removed gives its space back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "fs/dirrec.h"
#include "fs/tree_internal.h"
#include "vault_fixture.h"

enum { WRITERS = 2, ROUNDS = 400, LENGTH_MAX = 60000, CHANGE_MAX = 9000 };

static const struct caller me;
static struct tree *tree;

static int start_root(void **state)
{
	int r = start_vault(state);

	assert_int_equal(dirrec_make_root(tree_fd, &keys), 0);
	return r;
}

static int end_root(void **state)
{
	(void)dirrec_remove(tree_fd);
	return end_vault(state);
}

static void mount_tree(void)
{
	mount_again();
	begin_journal();
	assert_int_equal(tree_new(&store, tree_fd, &tree), 0);
}

/* As the death of the process does. */
static void die(void)
{
	tree_free(tree);
	drop_journal();
}

struct writer {
	pthread_t thread;
	struct io *io;
	unsigned int random;
	char name[16];
	struct node *node;
	struct image image;
	bool failed;
};

static struct writer writers[WRITERS];
static atomic_bool done;
static atomic_int not_placed;

static void write_some(struct writer *w, uint64_t offset, size_t size)
{
	pattern(w->io->data + IO_DATA, offset, size, (uint8_t)w->random);
	image_write(&w->image, offset, size, (uint8_t)w->random);
	w->failed = w->failed || tree_write(tree, w->io, w->node, offset, size, false);
}

static void cut_some(struct writer *w, uint64_t length)
{
	struct stat attr = { .st_size = (off_t)length };
	struct stat st;

	image_resize(&w->image, length);
	w->failed = w->failed || tree_setattr(tree, w->io, w->node, &attr, TREE_SET_SIZE, &st);
}

static void one_change(struct writer *w)
{
	uint64_t length = w->image.length;
	uint64_t at = length ? (uint64_t)rand_r(&w->random) % length : 0;
	size_t size = (size_t)rand_r(&w->random) % CHANGE_MAX + 1;
	bool keep;

	switch (rand_r(&w->random) % 12) {
	case 0:
		cut_some(w, at);
		break;
	case 1:
		cut_some(w, (uint64_t)rand_r(&w->random) % LENGTH_MAX);
		break;
	case 2:
	case 3:
		write_some(w, length % LENGTH_MAX, size);
		break;
	case 4:
		tree_release(tree, w->node);
		w->failed = w->failed || tree_open(tree, w->io, w->node, O_RDWR, &keep);
		break;
	case 5:
	case 6:
		w->failed = w->failed || tree_fsync(tree, w->node, size % 2);
		break;
	default:
		write_some(w, at, size % 100 + 1);
	}
}

static void *change_much(void *arg)
{
	struct writer *w = arg;

	for (int i = 0; i < ROUNDS && !w->failed; i++) {
		/* Each of them in the journal, as it may be durable. */
		w->failed = w->failed || tree_fsync(tree, w->node, true);
		one_change(w);
	}
	w->failed = w->failed || tree_fsync(tree, w->node, false);
	cipher_thread_fini();
	return NULL;
}

static void *put_in_place(void *arg)
{
	struct io *mine = arg;

	while (!atomic_load(&done)) {
		atomic_fetch_or(&not_placed, tree_checkpoint(tree) != 0);
		tree_settle(tree, mine, true);
	}
	cipher_thread_fini();
	return NULL;
}

static void assert_tree_file(const char *name, const struct image *image)
{
	struct tree_entry e;
	const void *data;
	size_t n;
	bool keep;

	assert_int_equal(tree_lookup(tree, nodes_root(tree_nodes(tree)), name, &e), 0);
	assert_int_equal(e.st.st_size, image->length);
	assert_int_equal(tree_open(tree, io, e.node, O_RDONLY, &keep), 0);
	assert_int_equal(tree_read(tree, io, e.node, 0, IO_MAX_SIZE, &data, &n), 0);
	assert_int_equal(n, image->length);
	assert_memory_equal(data, image->bytes, n);
	tree_release(tree, e.node);
	tree_forget(tree, e.node, 1);
}

static void checkpoints_and_settling_lose_nothing(void **state)
{
	struct io *other;
	struct tree_entry e;
	pthread_t placer;

	(void)state;
	mount_tree();
	assert_int_equal(io_new(&store, &other), 0);
	for (int i = 0; i < WRITERS; i++) {
		struct writer *w = &writers[i];

		assert_int_equal(io_new(&store, &w->io), 0);
		w->random = (unsigned int)i + 1;
		(void)snprintf(w->name, sizeof(w->name), "file%u", (unsigned int)i);
		assert_int_equal(tree_create(tree, io, nodes_root(tree_nodes(tree)), w->name,
					     S_IFREG | 0600, &me, &e),
				 0);
		w->node = e.node;
		w->image.length = 0;
	}
	pattern(io->data + IO_DATA, 0, 1, 1); /* what it draws once */
	assert_int_equal(pthread_create(&placer, NULL, put_in_place, other), 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, change_much, &writers[i]),
				 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
	atomic_store(&done, true);
	assert_int_equal(pthread_join(placer, NULL), 0);
	assert_int_equal(atomic_load(&not_placed), 0);
	for (int i = 0; i < WRITERS; i++) {
		assert_false(writers[i].failed);
		assert_tree_file(writers[i].name, &writers[i].image);
		/* Something more, that only the journal has. */
		if (writers[i].image.length) {
			write_some(&writers[i], writers[i].image.length - 1, 1);
			assert_false(writers[i].failed);
		}
		io_free(writers[i].io);
	}
	io_free(other);
	die();

	mount_tree();
	for (int i = 0; i < WRITERS; i++) {
		assert_tree_file(writers[i].name, &writers[i].image);
		assert_int_equal(tree_unlink(tree, nodes_root(tree_nodes(tree)), writers[i].name),
				 0);
	}
	tree_let_go(tree);
	tree_settle(tree, io, true);
	die();
}

/* Descriptors of ours that lead to files without a name. */
static int n_nameless(void)
{
	char path[64];
	struct stat st;
	int n = 0;

	for (int fd = 3; fd < 200; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n += fcntl(fd, F_GETFD) >= 0 && !stat(path, &st) && S_ISREG(st.st_mode) &&
		     !st.st_nlink;
	}
	return n;
}

static void a_removed_file_is_let_go_of(void **state)
{
	struct node *root;
	struct tree_entry e;
	uint64_t bad;
	int before;

	(void)state;
	for (int unlinked_first = 0; unlinked_first < 2; unlinked_first++) {
		mount_tree();
		root = nodes_root(tree_nodes(tree));
		before = n_nameless();
		assert_int_equal(tree_create(tree, io, root, "file", S_IFREG | 0600, &me, &e), 0);
		pattern(io->data + IO_DATA, 0, 5000, 1);
		assert_int_equal(tree_write(tree, io, e.node, 0, 5000, false), 0);
		assert_int_equal(tree_fsync(tree, e.node, false), 0);
		pattern(io->data + IO_DATA, 0, 10, 2);
		assert_int_equal(tree_write(tree, io, e.node, 100, 10, false), 0);
		assert_true(file_uses_journal(e.node->file));
		if (!unlinked_first)
			tree_release(tree, e.node);
		assert_int_equal(tree_unlink(tree, root, "file"), 0);
		if (unlinked_first) {
			/* Until then it is as it was. */
			assert_int_equal(n_nameless(), before + 1);
			assert_int_equal(tree_checkpoint(tree), 0);
			assert_int_equal(tree_file_write(tree, io, e.node, 7, 10, false, &bad), 0);
			tree_release(tree, e.node);
		}
		assert_int_equal(n_nameless(), before);
		tree_forget(tree, e.node, 1);
		assert_int_equal(tree_checkpoint(tree), 0);
		tree_let_go(tree);
		tree_settle(tree, io, true);
		die();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checkpoints_and_settling_lose_nothing),
		cmocka_unit_test(a_removed_file_is_let_go_of),
	};

	alarm(100); /* a hang is a failure */
	return cmocka_run_group_tests(tests, start_root, end_root);
}
