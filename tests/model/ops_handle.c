/* SPDX-License-Identifier: MIT */
/* The operations on what is open. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_MAP = 80 * 4096 };

static off_t size_of(const struct handle *h)
{
	struct stat st;

	return fstat(h->fd[PLAIN], &st) ? 0 : st.st_size;
}

static int number(const struct world *w, const struct handle *h)
{
	return (int)(h - w->handles);
}

/* Compare what is there, through a descriptor that may read. */
static void same_around(struct world *w, const struct handle *h, off_t at, size_t size)
{
	int fd[SIDES];
	char path[32];

	if (h->type != S_IFREG || (h->flags & O_PATH))
		return;
	at = at > 10 ? at - 10 : 0;
	size = size + 20 > MAX_IO ? MAX_IO : size + 20;
	if ((h->flags & O_ACCMODE) == O_RDWR) {
		same_range(w, h->fd, at, size);
		return;
	}
	for (int side = MOUNT; side < SIDES; side++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fd[side]);
		fd[side] = open(path, O_RDONLY | O_CLOEXEC);
	}
	if ((fd[MOUNT] < 0) != (fd[PLAIN] < 0))
		diverge(w, "opening it anew works on one side only");
	if (fd[PLAIN] < 0)
		return;
	same_range(w, fd, at, size);
	close(fd[MOUNT]);
	close(fd[PLAIN]);
}

static void same_bytes(struct world *w, const struct answer *a)
{
	if (a[PLAIN].value > 0 && memcmp(w->data[MOUNT], w->data[PLAIN], (size_t)a[PLAIN].value))
		diverge(w, "what was read differs");
}

static void run_read(struct world *w)
{
	struct handle *h = pick_handle(w, !one_in(w, 10));
	struct answer a[SIDES];
	size_t size = pick_length(w);
	off_t at;

	if (!h)
		return;
	at = one_in(w, 3) ? -1 : pick_offset(w, size_of(h));
	say(w, "%d: read %zu at %lld", number(w, h), size, (long long)at);
	if (at < 0)
		IN_STEP(w, a, read(h->fd[SIDE], w->data[SIDE], size));
	else
		IN_STEP(w, a, pread(h->fd[SIDE], w->data[SIDE], size, at));
	same_answer(w, a);
	same_bytes(w, a);
	same_handle(w, h);
}

/* The plain side may be interrupted; a write to the mount must not be short. */
static long write_on(int side, int fd, const uint8_t *data, size_t size, off_t at)
{
	long done = 0, n;

	do {
		n = at < 0 ? write(fd, data + done, size - (size_t)done)
			   : pwrite(fd, data + done, size - (size_t)done, at + done);
		if (n < 0)
			return done ? done : n;
		done += n;
	} while (side == PLAIN && n && (size_t)done < size);
	return done;
}

static void run_write(struct world *w)
{
	struct handle *h = pick_handle(w, !one_in(w, 20));
	struct answer a[SIDES];
	size_t size = pick_length(w);
	const uint8_t *data = pick_bytes(w, size);
	off_t at;

	if (!h || h->type == S_IFIFO)
		return;
	at = one_in(w, 3) ? -1 : pick_offset(w, size_of(h));
	say(w, "%d: write %zu at %lld%s", number(w, h), size, (long long)at,
	    h->flags & O_APPEND ? ", appending" : "");
	IN_STEP(w, a, write_on(SIDE, h->fd[SIDE], data, size, at));
	same_answer(w, a);
	same_handle(w, h);
	if (a[PLAIN].value > 0)
		same_around(w, h,
			    h->flags & O_APPEND ? size_of(h) - (off_t)size
			    : at < 0		? lseek(h->fd[PLAIN], 0, SEEK_CUR) - (off_t)size
						: at,
			    size);
}

static void run_vector(struct world *w)
{
	static const int flags[] = { 0, 0, 0, RWF_DSYNC, RWF_SYNC, RWF_APPEND };
	struct handle *h = pick_handle(w, true);
	struct iovec v[SIDES][3];
	size_t size = 0;
	struct answer a[SIDES];
	off_t at;
	bool writes = one_in(w, 2);
	int flag = writes ? flags[below(w, 6)] : 0;

	if (!h)
		return;
	for (int i = 0; i < 3; i++) {
		size_t piece = pick_length(w) % (MAX_IO / 3);

		for (int side = MOUNT; side < SIDES; side++)
			v[side][i] = (struct iovec){ w->data[side] + size, piece };
		size += piece;
	}
	at = pick_offset(w, size_of(h));
	say(w, "%d: %s %zu+%zu+%zu at %lld flags %#x", number(w, h),
	    writes ? "pwritev2" : "preadv2", v[0][0].iov_len, v[0][1].iov_len, v[0][2].iov_len,
	    (long long)at, flag);
	if (writes) {
		const uint8_t *data = pick_bytes(w, size);

		memcpy(w->data[MOUNT], data, size);
		memcpy(w->data[PLAIN], data, size);
		IN_STEP(w, a, pwritev2(h->fd[SIDE], v[SIDE], 3, at, flag));
	} else {
		IN_STEP(w, a, preadv2(h->fd[SIDE], v[SIDE], 3, at, flag));
	}
	same_answer(w, a);
	if (!writes)
		same_bytes(w, a);
	same_handle(w, h);
	if (writes && a[PLAIN].value > 0)
		same_around(w, h, at, size);
}

static void run_seek(struct world *w)
{
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END };
	struct handle *h = pick_handle(w, true);
	struct answer a[SIDES];
	int how = whence[below(w, 3)];
	off_t by;

	if (!h)
		return;
	by = pick_offset(w, 0) % (2 * MAX_IO) - (how == SEEK_SET ? 0 : 8192);
	say(w, "%d: lseek %lld whence %d", number(w, h), (long long)by, how);
	IN_STEP(w, a, lseek(h->fd[SIDE], by, how));
	same_answer(w, a);
	same_handle(w, h);
}

static bool is_zero(const uint8_t *p, size_t size)
{
	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

/* Nothing but zeros may lie from here to there. */
static void no_data_between(struct world *w, const struct handle *h, off_t from, off_t to)
{
	ssize_t got;

	for (int pieces = 0; from < to && pieces < 8; pieces++) {
		size_t size = to - from > MAX_IO ? MAX_IO : (size_t)(to - from);

		got = pread(h->fd[PLAIN], w->data[PLAIN], size, from);
		if (got <= 0)
			return;
		if (!is_zero(w->data[PLAIN], (size_t)got))
			diverge(w, "data within %zd bytes at %lld was said to be a hole", got,
				(long long)from);
		from += got;
	}
}

/* Where holes are is the filesystem's affair; that there is no data in them is not. */
static void run_seek_hole(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	off_t size, at, data, hole, was[SIDES];

	if (!h || (h->flags & O_ACCMODE) == O_WRONLY)
		return;
	size = size_of(h);
	at = pick_offset(w, size);
	say(w, "%d: SEEK_DATA and SEEK_HOLE from %lld of %lld", number(w, h), (long long)at,
	    (long long)size);
	for (int side = MOUNT; side < SIDES; side++)
		was[side] = lseek(h->fd[side], 0, SEEK_CUR);
	data = lseek(h->fd[MOUNT], at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		diverge(w, "SEEK_DATA: %s", strerror(errno));
	if (data >= 0 && (data < at || data >= size))
		diverge(w, "SEEK_DATA gave %lld", (long long)data);
	if (at < size)
		no_data_between(w, h, at, data < 0 ? size : data);
	hole = lseek(h->fd[MOUNT], at, SEEK_HOLE);
	if ((hole < 0) != (at >= size) || (hole < 0 && errno != ENXIO))
		diverge(w, "SEEK_HOLE gave %lld, %s", (long long)hole, strerror(errno));
	if (hole >= 0 && (hole < at || hole > size))
		diverge(w, "SEEK_HOLE gave %lld", (long long)hole);
	if (hole >= 0 && hole < size) {
		data = lseek(h->fd[MOUNT], hole, SEEK_DATA);
		no_data_between(w, h, hole, data < 0 ? size : data);
	}
	for (int side = MOUNT; side < SIDES; side++)
		lseek(h->fd[side], was[side], SEEK_SET);
}

static void run_ftruncate(struct world *w)
{
	struct handle *h = pick_handle(w, !one_in(w, 20));
	struct answer a[SIDES];
	off_t size;

	if (!h)
		return;
	size = pick_offset(w, size_of(h));
	say(w, "%d: ftruncate to %lld", number(w, h), (long long)size);
	IN_STEP(w, a, ftruncate(h->fd[SIDE], size));
	same_answer(w, a);
	same_handle(w, h);
	same_around(w, h, size > 5000 ? size - 5000 : 0, 10000);
}

static void run_fallocate(struct world *w)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE,
				     FALLOC_FL_COLLAPSE_RANGE,
				     FALLOC_FL_INSERT_RANGE };
	struct handle *h = pick_handle(w, !one_in(w, 20));
	int mode = modes[below(w, 9)];
	size_t size = pick_length(w);
	struct answer a[SIDES];
	off_t at;

	if (!h || h->type == S_IFIFO || (w->on_tmpfs && mode & FALLOC_FL_ZERO_RANGE))
		return;
	at = pick_offset(w, size_of(h));
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		w->op = "fallocate that moves";
	say(w, "%d: fallocate mode %d, %zu at %lld", number(w, h), mode, size, (long long)at);
	IN_STEP(w, a, fallocate(h->fd[SIDE], mode, at, (off_t)size));
	same_answer(w, a);
	same_handle(w, h);
	same_around(w, h, at, size);
}

static void run_copy_range(struct world *w)
{
	struct handle *from = pick_handle(w, !one_in(w, 20)), *to = pick_handle(w, true);
	size_t size = pick_length(w);
	off_t in[SIDES], out[SIDES];
	bool own = one_in(w, 4); /* positions of their own */
	struct answer a[SIDES];

	if (!from || !to || from->type == S_IFIFO)
		return;
	in[MOUNT] = in[PLAIN] = pick_offset(w, size_of(from));
	out[MOUNT] = out[PLAIN] = pick_offset(w, size_of(to));
	say(w, "%d: copy_file_range %zu from %lld to %d at %lld%s", number(w, from), size,
	    (long long)in[PLAIN], number(w, to), (long long)out[PLAIN],
	    own ? ", own positions" : "");
	if (own)
		IN_STEP(w, a, copy_file_range(from->fd[SIDE], NULL, to->fd[SIDE], NULL, size, 0));
	else
		IN_STEP(w, a,
			copy_file_range(from->fd[SIDE], &in[SIDE], to->fd[SIDE], &out[SIDE], size,
					0));
	same_answer(w, a);
	same_handle(w, from);
	same_handle(w, to);
	same_around(w, to, out[PLAIN] - (off_t)(a[PLAIN].value > 0 ? a[PLAIN].value : 0), size);
}

static void run_sendfile(struct world *w)
{
	struct handle *from = pick_handle(w, true), *to = pick_handle(w, true);
	size_t size = pick_length(w);
	struct answer a[SIDES];
	off_t at[SIDES];

	if (!from || !to || from == to)
		return;
	at[MOUNT] = at[PLAIN] = pick_offset(w, size_of(from));
	say(w, "%d: sendfile %zu from %lld to %d", number(w, from), size, (long long)at[PLAIN],
	    number(w, to));
	IN_STEP(w, a, sendfile(to->fd[SIDE], from->fd[SIDE], &at[SIDE], size));
	same_answer(w, a);
	same_handle(w, to);
	if (a[PLAIN].value > 0)
		same_around(w, to, lseek(to->fd[PLAIN], 0, SEEK_CUR) - a[PLAIN].value, size);
}

/* ---- mappings ---------------------------------------------------------------- */

static void run_map(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	bool writable = one_in(w, 2);
	struct answer a[SIDES];

	if (!h || h->map[PLAIN])
		return;
	h->map_size = 4096 * (1 + (size_t)below(w, MAX_MAP / 4096));
	say(w, "%d: mmap %zu%s", number(w, h), h->map_size, writable ? ", writable" : "");
	for (int side = MOUNT; side < SIDES; side++) {
		void *map = mmap(NULL, h->map_size, PROT_READ | (writable ? PROT_WRITE : 0),
				 MAP_SHARED, h->fd[side], 0);

		a[side].error = map == MAP_FAILED ? errno : 0;
		a[side].value = -!!a[side].error;
		h->map[side] = map == MAP_FAILED ? NULL : map;
	}
	h->map_writable = writable;
	same_answer(w, a);
}

/* How much of the mapping lies inside the file. */
static size_t mapped(const struct handle *h)
{
	off_t size = size_of(h);

	return size > (off_t)h->map_size ? h->map_size : (size_t)size;
}

static void run_map_use(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	size_t all, at, size;

	for (size_t i = 0; i < N_HANDLES && (!h || !h->map[PLAIN]); i++)
		h = &w->handles[i];
	if (!h || h->fd[PLAIN] < 0 || !h->map[PLAIN])
		return;
	same_handle(w, h);
	all = mapped(h);
	if (!all)
		return;
	at = (size_t)below(w, all);
	size = pick_length(w);
	size = size > all - at ? all - at : size;
	if (h->map_writable && !one_in(w, 3)) {
		const uint8_t *data = pick_bytes(w, size);

		say(w, "%d: store %zu at %zu into the mapping", number(w, h), size, at);
		memcpy(h->map[MOUNT] + at, data, size);
		memcpy(h->map[PLAIN] + at, data, size);
		same_around(w, h, (off_t)at, size);
		/* Until then nothing says when the times move. */
		if (msync(h->map[MOUNT], h->map_size, MS_SYNC) ||
		    msync(h->map[PLAIN], h->map_size, MS_SYNC))
			diverge(w, "msync: %s", strerror(errno));
		same_handle(w, h);
	} else {
		say(w, "%d: look at the mapping, %zu at %zu", number(w, h), size, at);
		for (size_t i = at; i < at + size; i++)
			if (h->map[MOUNT][i] != h->map[PLAIN][i])
				diverge(w,
					"byte %zu of the mapping is 0x%02x in the mount, 0x%02x on "
					"the plain side",
					i, h->map[MOUNT][i], h->map[PLAIN][i]);
	}
}

static void run_unmap(struct world *w)
{
	struct handle *h = pick_handle(w, true);

	if (!h || !h->map[PLAIN])
		return;
	say(w, "%d: munmap", number(w, h));
	for (int side = MOUNT; side < SIDES; side++) {
		munmap(h->map[side], h->map_size);
		h->map[side] = NULL;
	}
}

/* ---- the rest ---------------------------------------------------------------- */

static void run_sync(struct world *w)
{
	struct handle *h = pick_handle(w, !one_in(w, 5));
	uint64_t how = below(w, 8);
	struct answer a[SIDES];

	if (!h)
		return;
	if (how < 4) {
		say(w, "%d: %s", number(w, h), how % 2 ? "fsync" : "fdatasync");
		IN_STEP(w, a, how % 2 ? fsync(h->fd[SIDE]) : fdatasync(h->fd[SIDE]));
		same_answer(w, a);
	} else {
		say(w, "%d: drop its pages", number(w, h));
		IN_STEP(w, a, posix_fadvise(h->fd[SIDE], 0, 0, POSIX_FADV_DONTNEED));
		same_answer(w, a);
	}
	same_handle(w, h);
}

static void run_fchmod(struct world *w)
{
	struct handle *h = pick_handle(w, false);
	mode_t mode = pick_mode(w);
	struct answer a[SIDES];

	if (!h)
		return;
	if (h->type == S_IFDIR)
		mode |= 0700;
	say(w, "%d: fchmod %o", number(w, h), mode);
	IN_STEP(w, a, fchmod(h->fd[SIDE], mode));
	same_answer(w, a);
	same_handle(w, h);
}

static void run_fchown(struct world *w)
{
	static const uid_t ids[] = { (uid_t)-1, 0, 1001, 1002 };
	struct handle *h = pick_handle(w, false);
	uid_t uid = ids[below(w, 4)], gid = ids[below(w, 4)];
	struct answer a[SIDES];

	if (!h || chown_of_nothing(uid, gid))
		return;
	say(w, "%d: fchown %d:%d", number(w, h), (int)uid, (int)gid);
	IN_STEP(w, a, fchown(h->fd[SIDE], uid, gid));
	same_answer(w, a);
	same_handle(w, h);
}

static void run_futimens(struct world *w)
{
	struct handle *h = pick_handle(w, false);
	struct timespec ts[2];
	struct answer a[SIDES];

	if (!h)
		return;
	pick_time(w, &ts[0]);
	pick_time(w, &ts[1]);
	say(w, "%d: futimens %lld.%09ld %lld.%09ld", number(w, h), (long long)ts[0].tv_sec,
	    ts[0].tv_nsec, (long long)ts[1].tv_sec, ts[1].tv_nsec);
	IN_STEP(w, a, futimens(h->fd[SIDE], ts));
	same_answer(w, a);
	same_handle(w, h);
}

static void run_flags(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	struct answer a[SIDES];
	int flags;

	if (!h)
		return;
	flags = (h->flags & ~O_APPEND) | (one_in(w, 2) ? O_APPEND : 0);
	say(w, "%d: %s O_APPEND", number(w, h), flags & O_APPEND ? "set" : "clear");
	IN_STEP(w, a, fcntl(h->fd[SIDE], F_SETFL, flags & (O_APPEND | O_NONBLOCK)));
	same_answer(w, a);
	h->flags = flags;
}

static void run_link_open(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	char to[PATH_SIZE], from[SIDES][32];
	struct answer a[SIDES];

	if (!h)
		return;
	pick_path(w, PICK_NEW, to);
	w->subject = h->type;
	for (int side = MOUNT; side < SIDES; side++)
		snprintf(from[side], sizeof(from[side]), "/proc/self/fd/%d", h->fd[side]);
	say(w, "%d: link to %s", number(w, h), show(to));
	IN_STEP(w, a, linkat(AT_FDCWD, from[SIDE], w->root[SIDE], to, AT_SYMLINK_FOLLOW));
	same_answer(w, a);
	same_handle(w, h);
	same_path(w, to, false);
}

static void run_close(struct world *w)
{
	struct handle *h = pick_handle(w, false);

	if (!h)
		return;
	say(w, "%d: close", number(w, h));
	close_handle(h);
}

static void run_close_all(struct world *w)
{
	say(w, "close everything");
	for (size_t i = 0; i < N_HANDLES; i++)
		close_handle(&w->handles[i]);
}

/* ---- locks ------------------------------------------------------------------- */

static void pick_lock(struct world *w, struct flock *lock)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK };

	*lock = (struct flock){ .l_type = types[below(w, 4)],
				.l_whence = SEEK_SET,
				.l_start = (off_t)below(w, 20),
				.l_len = (off_t)below(w, 10) };
}

static void run_flock(struct world *w)
{
	static const int how[] = { LOCK_SH, LOCK_EX, LOCK_UN };
	struct handle *h = pick_handle(w, !one_in(w, 8));
	int op = how[below(w, 3)] | LOCK_NB;
	struct answer a[SIDES];

	if (!h)
		return;
	say(w, "%d: flock %d", number(w, h), op);
	IN_STEP(w, a, flock(h->fd[SIDE], op));
	same_answer(w, a);
}

static void same_lock(struct world *w, const struct flock *lock)
{
	const struct flock *m = &lock[MOUNT], *p = &lock[PLAIN];

	if (m->l_type != p->l_type ||
	    (p->l_type != F_UNLCK && (m->l_start != p->l_start || m->l_len != p->l_len)))
		diverge(w,
			"the lock there is type %d, %lld+%lld in the mount, type %d, %lld+%lld on "
			"the plain side",
			m->l_type, (long long)m->l_start, (long long)m->l_len, p->l_type,
			(long long)p->l_start, (long long)p->l_len);
}

static void run_lock(struct world *w)
{
	static const int commands[] = { F_OFD_SETLK, F_OFD_GETLK, F_SETLK };
	struct handle *h = pick_handle(w, true);
	struct flock lock[SIDES];
	int command = commands[below(w, 3)];
	struct answer a[SIDES];

	if (!h)
		return;
	pick_lock(w, &lock[MOUNT]);
	if (command == F_OFD_GETLK && lock[MOUNT].l_type == F_UNLCK)
		lock[MOUNT].l_type = F_WRLCK;
	lock[PLAIN] = lock[MOUNT];
	say(w, "%d: lock command %d type %d, %lld+%lld", number(w, h), command, lock[PLAIN].l_type,
	    (long long)lock[PLAIN].l_start, (long long)lock[PLAIN].l_len);
	IN_STEP(w, a, fcntl(h->fd[SIDE], command, &lock[SIDE]));
	same_answer(w, a);
	if (command == F_OFD_GETLK && !a[PLAIN].value)
		same_lock(w, lock);
}

/* What another process finds of our locks; its answers come as its exit status. */
static void run_child_lock(struct world *w)
{
	struct handle *h = pick_handle(w, true);
	struct flock lock[SIDES];
	int status;
	pid_t child;

	if (!h)
		return;
	pick_lock(w, &lock[MOUNT]);
	lock[PLAIN] = lock[MOUNT];
	say(w, "%d: locks as a child sees them", number(w, h));
	child = fork();
	if (child < 0)
		broken("fork: %s", strerror(errno));
	if (!child) {
		struct answer a[SIDES];

		IN_STEP(w, a, fcntl(h->fd[SIDE], F_SETLK, &lock[SIDE]));
		if (a[MOUNT].value != a[PLAIN].value || a[MOUNT].error != a[PLAIN].error)
			_exit(1);
		lock[MOUNT].l_type = lock[PLAIN].l_type = F_WRLCK;
		IN_STEP(w, a, fcntl(h->fd[SIDE], F_GETLK, &lock[SIDE]));
		_exit(a[MOUNT].value != a[PLAIN].value ||
		      lock[MOUNT].l_type != lock[PLAIN].l_type ||
		      (lock[PLAIN].l_type != F_UNLCK &&
		       lock[MOUNT].l_start != lock[PLAIN].l_start));
	}
	if (waitpid(child, &status, 0) != child || status)
		diverge(w, "a child finds other locks in the mount than on the plain side");
}

const struct operation handle_operations[] = {
	{ "read", 40, run_read },
	{ "write", 60, run_write },
	{ "vector", 16, run_vector },
	{ "seek", 10, run_seek },
	{ "seek hole", 8, run_seek_hole },
	{ "truncate", 24, run_ftruncate },
	{ "fallocate", 16, run_fallocate },
	{ "copy range", 12, run_copy_range },
	{ "sendfile", 4, run_sendfile },
	{ "map", 8, run_map },
	{ "use map", 20, run_map_use },
	{ "unmap", 4, run_unmap },
	{ "sync", 16, run_sync },
	{ "chmod", 6, run_fchmod },
	{ "chown", 4, run_fchown },
	{ "utimens", 8, run_futimens },
	{ "set flags", 4, run_flags },
	{ "link", 6, run_link_open },
	{ "close", 20, run_close },
	{ "close all", 2, run_close_all },
	{ "flock", 6, run_flock },
	{ "lock", 10, run_lock },
	{ "child's lock", 2, run_child_lock },
	{ NULL, 0, NULL },
};
