/* SPDX-License-Identifier: MIT */
/*
 * Renaming.  What is bound to its place is first made valid in both places,
 * then the backing entry moves with one system call: a death leaves a thing
 * that is valid where it is.  Settling drops the old place later.
 */
#include "fs/tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/sidecar.h"

/* One entry that moves: from a spot to another. */
struct move {
	struct spot *from;
	struct spot *to;
	struct stat st;
	struct node *node;	     /* referenced */
	bool file_open;		     /* node->file is held */
	const struct caller *caller; /* whose a whiteout is */
};

/* ---- symlinks ------------------------------------------------------------ */

int tree_reseal_link(struct tree *t, struct node *node, int dirfd, const struct links_place *here,
		     const struct links_place *there, char *text)
{
	char target[LINKS_PLAIN_MAX + 1];
	struct stat st;
	int r;

	if (fstatat(dirfd, here->stored, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	r = links_read(dirfd, here->stored, text);
	if (!r)
		r = links_open(t->keys, t->suite, text, here, target);
	if (r > 0)
		return tree_damaged(t, node, UINT64_MAX, "symlink does not authenticate");
	if (!r)
		r = links_seal(t->keys, t->suite, target, here, there, text);
	if (!r)
		r = links_replace(dirfd, here->stored, text, &st);
	if (!r)
		nodes_replaced(t->nodes, node, &st);
	return r;
}

static int prepare_link(struct tree *t, struct move *m)
{
	const struct links_place here = { m->from->dir->dir_id, m->from->stored.name };
	const struct links_place there = { m->to->dir->dir_id, m->to->stored.name };
	char text[LINKS_TEXT_MAX + 1];

	return tree_reseal_link(t, m->node, m->from->dirfd, &here, &there, text);
}

/* *has: it is a symlink whose text lies in a sidecar.  0 or -errno. */
static int has_sidecar(const struct spot *spot, bool *has)
{
	char shown[2]; /* a text that is inline is longer */
	ssize_t n = readlinkat(spot->dirfd, spot->stored.name, shown, sizeof(shown));

	*has = n == 1;
	return n < 0 && errno != ENOENT && errno != EINVAL ? -errno : 0;
}

/*
 * A second name for the sidecar of a symlink that is about to be overwritten:
 * to put it back takes no space then.  kept is empty where there is none.
 */
static int keep_sidecar(const struct spot *spot, char kept[64])
{
	char sidecar[64];
	uint64_t random;
	bool has;
	int r = has_sidecar(spot, &has);

	kept[0] = '\0';
	if (r || !has)
		return r;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	links_sidecar_name(spot->stored.name, sidecar);
	(void)snprintf(kept, 64, NAMES_TEMPORARY "%016llx", (unsigned long long)random);
	if (!linkat(spot->dirfd, sidecar, spot->dirfd, kept, 0))
		return 0;
	r = errno == ENOENT ? 0 : -errno; /* a damaged one has none */
	kept[0] = '\0';
	return r;
}

static void put_sidecar_back(const struct spot *spot, const char *kept)
{
	char sidecar[64];

	links_sidecar_name(spot->stored.name, sidecar);
	(void)renameat(spot->dirfd, kept, spot->dirfd, sidecar);
	/* Two names of one file are left as they are. */
	(void)unlinkat(spot->dirfd, kept, 0);
}

static int write_sidecar(const struct spot *spot, const char *text)
{
	char sidecar[64];

	links_sidecar_name(spot->stored.name, sidecar);
	return sidecar_write(spot->dirfd, sidecar, text, strlen(text));
}

/* A text that lies in a sidecar has to be found under the new name too. */
static int carry_sidecar(const struct spot *from, const struct spot *to)
{
	char text[LINKS_TEXT_MAX + 1];
	bool has;
	int r = has_sidecar(from, &has);

	if (r || !has)
		return r;
	r = links_read(from->dirfd, from->stored.name, text);
	if (!r)
		r = write_sidecar(to, text);
	return r > 0 ? -EIO : r;
}

/* ---- files and directories ----------------------------------------------- */

static int prepare_file(struct tree *t, struct io *io, struct move *m)
{
	uint8_t here[FORMAT_BINDING_SIZE];
	uint8_t there[FORMAT_BINDING_SIZE];
	int r = tree_file_get(t, io, m->node, true);

	if (r)
		return r;
	m->file_open = true;
	spot_binding(t, m->from, here);
	spot_binding(t, m->to, there);
	return file_bind_both(m->node->file, io, here, there);
}

static int bind_dir_twice(struct tree *t, struct move *m)
{
	struct format_dir_record record;
	bool in_xattr;
	int fd;
	int r = tree_enter(t, m->node);

	if (r)
		return r;
	memcpy(record.id, m->node->dir_id, sizeof(record.id));
	spot_binding(t, m->from, record.bindings[0]);
	spot_binding(t, m->to, record.bindings[1]);
	r = nodes_dirfd(t->nodes, m->node, &fd);
	if (r)
		return r;
	r = dirrec_write(fd, t->keys, &record, &in_xattr);
	if (!r && !in_xattr)
		r = dirrec_sync(fd); /* data, that would not be there before the new name */
	nodes_dirfd_put(t->nodes, m->node);
	return r;
}

static int prepare_dir(struct tree *t, struct move *m)
{
	mode_t mode = m->st.st_mode & 07777;
	int r = bind_dir_twice(t, m);

	if (r != -EACCES || t->privileged)
		return r;
	/* Our own directory, whose mode keeps even us out: lift it for the moment. */
	if (fchmodat(m->from->dirfd, m->from->stored.name, mode | 0700, AT_SYMLINK_NOFOLLOW))
		return r;
	r = bind_dir_twice(t, m);
	(void)!fchmodat(m->from->dirfd, m->from->stored.name, mode, AT_SYMLINK_NOFOLLOW);
	return r;
}

static int prepare(struct tree *t, struct io *io, struct move *m)
{
	int r;

	if (m->from->damaged)
		return -EIO;
	m->node = tree_get_node(t, m->from->dir, m->from->dirfd, m->from->stored.name, &m->st,
				false);
	if (!m->node)
		return -ENOMEM;
	r = names_sidecar_write(m->to->dirfd, &m->to->stored);
	if (r)
		return r;
	if (S_ISREG(m->st.st_mode))
		return prepare_file(t, io, m);
	if (S_ISDIR(m->st.st_mode))
		return prepare_dir(t, m);
	if (S_ISLNK(m->st.st_mode))
		return prepare_link(t, m);
	return tree_allow_special(t, m->to, m->st.st_mode, m->st.st_rdev);
}

/* The backing entry has moved. */
static void conclude(struct tree *t, struct move *m)
{
	uint8_t binding[FORMAT_BINDING_SIZE];

	(void)nodes_renamed(t->nodes, m->node, m->from->dir, m->from->stored.name, m->to->dir,
			    m->to->stored.name); /* without memory: looked up again */
	spot_binding(t, m->to, binding);
	if (m->file_open)
		file_bind_only(m->node->file, binding);
}

/* Moved or not, it is valid in two places: settling leaves the one where it is. */
static void finish(struct tree *t, struct move *m)
{
	if (m->file_open)
		tree_file_put(t, m->node);
	if (m->node && (S_ISDIR(m->st.st_mode) || S_ISLNK(m->st.st_mode)))
		tree_settle_later(t, m->node);
	if (m->node)
		nodes_unref(t->nodes, m->node);
}

/* ---- the call ------------------------------------------------------------ */

static bool same_spot(const struct spot *a, const struct spot *b)
{
	return a->dir == b->dir && !strcmp(a->stored.name, b->stored.name);
}

/*
 * A directory that is to be overwritten must be empty, and its record would
 * make the backing filesystem say it is not: it goes first.
 */
static int make_way(struct tree *t, const struct spot *to, const struct stat *there)
{
	int fd;
	int r;

	if (!S_ISDIR(there->st_mode))
		return -ENOTDIR;
	fd = openat(to->dirfd, to->stored.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = tree_clear_out(t, fd);
	if (!r)
		r = dirrec_remove(fd);
	fdio_close(fd);
	return r;
}

static void put_record_back(struct tree *t, const struct spot *to,
			    const struct format_dir_record *record)
{
	int fd = openat(to->dirfd, to->stored.name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool in_xattr;

	if (fd >= 0)
		(void)dirrec_write(fd, t->keys, record, &in_xattr);
	fdio_close(fd);
}

/* Read the record of a directory that may have to be put back. */
static bool read_record_at(struct tree *t, const struct spot *spot,
			   struct format_dir_record *record)
{
	int fd = openat(spot->dirfd, spot->stored.name,
			O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool known = fd >= 0 && !dirrec_read(fd, t->keys, true, record);

	fdio_close(fd);
	return known;
}

/* The system call, for a symlink with its sidecar. */
static int move_entry(const struct move *m, unsigned int flags)
{
	bool is_link = S_ISLNK(m->st.st_mode);
	char kept[64] = "";
	int r = is_link ? keep_sidecar(m->to, kept) : 0;

	if (!r && is_link)
		r = carry_sidecar(m->from, m->to);
	if (!r && renameat2(m->from->dirfd, m->from->stored.name, m->to->dirfd, m->to->stored.name,
			    flags))
		r = -errno;
	if (r && kept[0])
		put_sidecar_back(m->to, kept);
	else if (r && is_link)
		links_sidecar_tidy(m->to->dirfd, m->to->stored.name);
	else if (kept[0])
		(void)unlinkat(m->to->dirfd, kept, 0);
	return r;
}

/* Nothing came to where it was prepared for; what is there keeps what is its own. */
static void forget_place(const struct spot *spot, bool exists, const struct stat *there)
{
	if (!exists)
		names_sidecar_remove(spot->dirfd, spot->stored.name);
	if (!exists || !special_is(there->st_mode))
		special_forget(spot->dirfd, spot->stored.name);
}

/* Move one entry, over another one if there is one. */
static int move_over(struct tree *t, struct io *io, struct move *m, bool exists,
		     const struct stat *there, unsigned int flags)
{
	struct format_dir_record record;
	struct node *replaced = NULL;
	bool held = false; /* the content of what is replaced */
	bool known = false;
	int r;

	if (exists && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (exists && S_ISDIR(there->st_mode) && !S_ISDIR(m->st.st_mode))
		return -EISDIR;
	r = prepare(t, io, m);
	if (!r && flags & RENAME_WHITEOUT)
		r = tree_allow_special(t, m->from, S_IFCHR, 0);
	if (!r && exists) {
		replaced = nodes_find(t->nodes, there, m->to->dir, m->to->stored.name);
		tree_hold(replaced, m->to, there);
		/* Who has found it opens one of the two, never nothing. */
		held = replaced && replaced->type == S_IFREG &&
		       tree_file_get_quietly(t, io, replaced);
	}
	if (!r && exists && S_ISDIR(m->st.st_mode)) {
		known = read_record_at(t, m->to, &record);
		r = make_way(t, m->to, there);
	}
	if (!r) {
		r = move_entry(m, flags);
		if (r && known)
			put_record_back(t, m->to, &record);
	}
	if (r) {
		forget_place(m->to, exists, there);
		if (flags & RENAME_WHITEOUT && !special_is(m->st.st_mode))
			special_forget(m->from->dirfd, m->from->stored.name);
		goto out;
	}
	if (S_ISLNK(m->st.st_mode))
		links_sidecar_remove(m->from->dirfd, m->from->stored.name);
	if (flags & RENAME_WHITEOUT) {
		(void)tree_give_away(t, m->from, m->caller, S_IFCHR);
	} else {
		names_sidecar_remove(m->from->dirfd, m->from->stored.name);
		if (special_is(m->st.st_mode))
			special_forget(m->from->dirfd, m->from->stored.name);
	}
	if (exists && special_is(there->st_mode) && !special_is(m->st.st_mode))
		special_forget(m->to->dirfd, m->to->stored.name);
	if (exists && S_ISLNK(there->st_mode))
		links_sidecar_tidy(m->to->dirfd, m->to->stored.name);
	if (exists)
		tree_forget_name(t, replaced, m->to, there);
	if (held && there->st_nlink <= 1 &&
	    !__atomic_exchange_n(&replaced->kept, true, __ATOMIC_ACQ_REL))
		held = false; /* tree_forget puts it */
	conclude(t, m);
out:
	if (held)
		tree_file_put(t, replaced);
	if (replaced)
		nodes_unref(t->nodes, replaced);
	return r;
}

static int rename_at(struct tree *t, struct io *io, struct spot *from, const struct stat *st,
		     struct spot *to, unsigned int flags, const struct caller *caller)
{
	struct move m = { .from = from, .to = to, .st = *st, .caller = caller };
	struct stat there;
	int r = tree_stat_at(t, to->dir, to->dirfd, to->stored.name, &there);
	bool exists = !r;

	if (r && r != -ENOENT)
		return r;
	if (same_spot(from, to))
		return flags & RENAME_NOREPLACE ? -EEXIST : 0;
	if (exists && there.st_ino == st->st_ino && there.st_dev == st->st_dev)
		return flags & RENAME_NOREPLACE ? -EEXIST : 0; /* two names of one file */
	r = move_over(t, io, &m, exists, &there, flags);
	finish(t, &m);
	return r;
}

/*
 * Sidecars are found by name and so do not move with their symlinks.  Where
 * both have one, it is the exchange of these that counts.
 */
static int exchange_sidecars(const struct spot *a, bool in_a, const struct spot *b, bool in_b)
{
	char a_name[64];
	char b_name[64];

	if (!in_a || !in_b)
		return in_a ? carry_sidecar(a, b) : in_b ? carry_sidecar(b, a) : 0;
	links_sidecar_name(a->stored.name, a_name);
	links_sidecar_name(b->stored.name, b_name);
	return renameat2(a->dirfd, a_name, b->dirfd, b_name, RENAME_EXCHANGE) ? -errno : 0;
}

static int exchange_entries(const struct spot *a, const struct spot *b)
{
	bool in_a;
	bool in_b;
	int r = has_sidecar(a, &in_a);

	if (!r)
		r = has_sidecar(b, &in_b);
	if (r)
		return r;
	r = exchange_sidecars(a, in_a, b, in_b);
	if (!r && renameat2(a->dirfd, a->stored.name, b->dirfd, b->stored.name, RENAME_EXCHANGE)) {
		r = -errno;
		if (in_a && in_b)
			(void)exchange_sidecars(a, in_a, b, in_b);
	}
	/* The copy under the name of the one that has none. */
	if (in_a && !in_b)
		links_sidecar_remove(r ? b->dirfd : a->dirfd, r ? b->stored.name : a->stored.name);
	if (in_b && !in_a)
		links_sidecar_remove(r ? a->dirfd : b->dirfd, r ? a->stored.name : b->stored.name);
	return r;
}

static int exchange(struct tree *t, struct io *io, struct spot *a, const struct stat *a_st,
		    struct spot *b, const struct stat *b_st)
{
	struct move there = { .from = a, .to = b, .st = *a_st };
	struct move back = { .from = b, .to = a, .st = *b_st };
	int r;

	if (same_spot(a, b))
		return 0;
	r = prepare(t, io, &there);
	if (!r)
		r = prepare(t, io, &back);
	if (!r)
		r = exchange_entries(a, b);
	if (r) {
		forget_place(b, true, b_st);
		forget_place(a, true, a_st);
	} else {
		conclude(t, &there);
		conclude(t, &back);
		if (!special_is(a_st->st_mode))
			special_forget(b->dirfd, b->stored.name);
		if (!special_is(b_st->st_mode))
			special_forget(a->dirfd, a->stored.name);
	}
	finish(t, &back);
	finish(t, &there);
	return r;
}

static int rename_locked(struct tree *t, struct io *io, struct node *from, const char *old_name,
			 struct node *to, const char *new_name, unsigned int flags,
			 const struct caller *caller)
{
	struct spot a;
	struct spot b;
	struct stat a_st;
	struct stat b_st;
	int r = tree_spot_existing(t, from, old_name, &a, &a_st);

	if (r)
		return r;
	if (flags & RENAME_EXCHANGE)
		r = tree_spot_existing(t, to, new_name, &b, &b_st);
	else
		r = tree_spot(t, to, new_name, &b);
	if (!r) {
		r = flags & RENAME_EXCHANGE ? exchange(t, io, &a, &a_st, &b, &b_st)
					    : rename_at(t, io, &a, &a_st, &b, flags, caller);
		spot_put(t, &b);
	}
	spot_put(t, &a);
	return r;
}

int tree_rename(struct tree *t, struct io *io, struct node *from, const char *old_name,
		struct node *to, const char *new_name, unsigned int flags,
		const struct caller *caller)
{
	int r;

	if (flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
	    (flags & RENAME_EXCHANGE && flags != RENAME_EXCHANGE))
		return -EINVAL;
	pthread_rwlock_wrlock(&t->rename_lock);
	r = rename_locked(t, io, from, old_name, to, new_name, flags, caller);
	pthread_rwlock_unlock(&t->rename_lock);
	return r;
}
