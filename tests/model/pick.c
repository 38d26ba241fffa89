/* SPDX-License-Identifier: MIT */
/*
 * Choices.  Existing paths are found by walking down the plain side, in the
 * order of names, so that nothing but the seed and what was done decides.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_43 "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE"

static const off_t edges[] = { 0,	    1,	    16,	    512,    1024,   3071,   3072,   4096,
			       4096 + 3072, 8192,   65536,  131072, 196608, 200704, 262144, 266240,
			       393216,	    458752, 462848, 720896, 724992, 1048576 };

/* Where small files, the first and the second group end, far out. */
static const off_t far_edges[] = { (off_t)1 << 31, (off_t)1 << 32, ((off_t)1 << 40) + 4096,
				   ((off_t)1 << 43) - 4096 };

static uint64_t mix(uint64_t x)
{
	/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators". */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
	return x ^ (x >> 31);
}

uint64_t draw(struct world *w)
{
	w->rng += 0x9e3779b97f4a7c15U;
	return mix(w->rng);
}

uint64_t below(struct world *w, uint64_t n)
{
	return draw(w) % n;
}

bool one_in(struct world *w, uint64_t n)
{
	return below(w, n) == 0;
}

void start_step(struct world *w, unsigned long step)
{
	w->step = step;
	w->rng = mix(w->seed * 0x9e3779b97f4a7c15U + step);
	w->subject = 0;
	w->user = 0;
}

static void fill(char *name, size_t size, int with, const char *end)
{
	memset(name, with, size);
	memcpy(name + size - strlen(end), end, strlen(end));
	name[size] = '\0';
}

/* Every byte that a name may have, in two names. */
static void all_bytes(char *name, int from, int to)
{
	size_t n = 0;

	for (int c = from; c <= to; c++)
		if (c && c != '/')
			name[n++] = (char)c;
	name[n] = '\0';
}

static const char *const odd_names[] = { " ",
					 "\n",
					 "-rf",
					 "...",
					 "..a",
					 ".hidden",
					 "A",
					 "\xc3\xa9",
					 "e\xcc\x81",
					 "\xff\xfe",
					 "exactly16bytes..",
					 "fifteen bytes..",
					 "cryptfs.conf",
					 "cryptfs-damaged-a",
					 ".cryptfs-dir",
					 ".cryptfs-tmp.",
					 ".cryptfs-tmp.1234",
					 ".fuse_hidden0000000100000001",
					 "long.",
					 "long." NAME_43,
					 "long." NAME_43 ".name",
					 "link." NAME_43,
					 "node." NAME_43,
					 "lost+found" };

void pick_name(struct world *w, char *name)
{
	static const size_t sizes[] = { 159, 160, 161, 175, 176, 177, 254, 255 };

	switch (below(w, 20)) {
	case 0:
	case 1:
	case 2: /* two of each size */
		fill(name, sizes[below(w, 8)], 'n', one_in(w, 2) ? "1" : "2");
		break;
	case 3:
	case 4:
	case 5:
		strcpy(name, odd_names[below(w, sizeof(odd_names) / sizeof(odd_names[0]))]);
		break;
	case 6:
		if (one_in(w, 2))
			all_bytes(name, 0, 127);
		else
			all_bytes(name, 128, 255);
		break;
	case 7:
		if (one_in(w, 4)) {
			fill(name, 256, 'n', "x"); /* one too many */
			break;
		}
		__attribute__((fallthrough));
	default:
		name[0] = (char)('a' + below(w, 14));
		name[1] = '\0';
	}
}

/* Go down a random way from the root of the plain side; the descriptor is the caller's. */
static int descend(struct world *w, char *path, struct listing *l)
{
	int fd = openat(w->root[PLAIN], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		broken("the plain directory: %s", strerror(errno));
	path[0] = '\0';
	for (;;) {
		const struct entry *e = NULL;
		size_t size = strlen(path);
		int next;

		r = listing_read(fd, l);
		if (r)
			memset(l, 0, sizeof(*l)); /* not allowed to us: take it as empty */
		if (one_in(w, 3) || !l->n)
			return fd;
		for (size_t i = 0, at = (size_t)below(w, l->n); i < l->n && !e; i++)
			if (l->entries[(at + i) % l->n].type == DT_DIR)
				e = &l->entries[(at + i) % l->n];
		if (!e || size + strlen(e->name) + 1 >= MAX_PATH)
			return fd;
		next = openat(fd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return fd;
		size += (size_t)sprintf(path + size, "%s%s", size ? "/" : "", e->name);
		listing_free(l);
		close(fd);
		fd = next;
	}
}

static bool wanted(enum pick what, unsigned char type)
{
	return what == PICK_ANY || (what == PICK_FILE && type == DT_REG) ||
	       (what == PICK_DIR && type == DT_DIR);
}

static const struct entry *choose(struct world *w, enum pick what, const struct listing *l)
{
	size_t at = l->n ? (size_t)below(w, l->n) : 0;

	for (size_t i = 0; i < l->n; i++)
		if (wanted(what, l->entries[(at + i) % l->n].type))
			return &l->entries[(at + i) % l->n];
	return NULL;
}

static bool has(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->entries[i].name, name))
			return true;
	return false;
}

void pick_path(struct world *w, enum pick what, char *path)
{
	char name[NAME_MAX + 2];
	struct stat st;

	for (int tries = 0;; tries++) {
		const struct entry *e = NULL;
		struct listing l;
		size_t size;

		close(descend(w, path, &l));
		size = strlen(path);
		if (what != PICK_NEW && !one_in(w, 12))
			e = choose(w, what, &l);
		if (e) {
			sprintf(path + size, "%s%s", size ? "/" : "", e->name);
		} else {
			pick_name(w, name);
			for (int i = 0; i < 5 && what == PICK_NEW && has(&l, name); i++)
				pick_name(w, name);
			sprintf(path + size, "%s%s", size ? "/" : "", name);
		}
		listing_free(&l);
		if (e || what == PICK_NEW || tries >= 3)
			break;
	}
	w->subject = fstatat(w->root[PLAIN], path, &st, AT_SYMLINK_NOFOLLOW) ? 0
									     : st.st_mode & S_IFMT;
	if (one_in(w, 60)) { /* what the kernel sees to, mostly; never out of the root */
		static const char *const ends[] = { "/", "/x", "/.", "/.." };

		strcat(path, ends[below(w, w->subject == S_IFDIR ? 4 : 3)]);
	}
}

off_t pick_offset(struct world *w, off_t size)
{
	off_t at;

	if (size > MAX_IO && one_in(w, 2))
		at = size + (off_t)below(w, 20000) - 10000;
	else if (!w->o->no_huge && one_in(w, 200))
		at = far_edges[below(w, sizeof(far_edges) / sizeof(far_edges[0]))];
	else
		switch (below(w, 6)) {
		case 0:
		case 1:
		case 2:
			at = edges[below(w, sizeof(edges) / sizeof(edges[0]))];
			break;
		case 3:
			at = size;
			break;
		case 4:
			return (off_t)below(w, 10000);
		default:
			return (off_t)below(w, 1 << 20);
		}
	at += (off_t)below(w, 3) - 1;
	return at < 0 ? 0 : at;
}

size_t pick_length(struct world *w)
{
	static const size_t lengths[] = { 0,	1,    16,   512,  1023,	 3071,	3072,
					  4095, 4096, 4097, 8192, 65536, 131072 };

	switch (below(w, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		return lengths[below(w, sizeof(lengths) / sizeof(lengths[0]))];
	case 4:
		return (size_t)below(w, 300000);
	case 5:
		return one_in(w, 8) ? (size_t)below(w, MAX_IO) : 4096 * (1 + (size_t)below(w, 70));
	case 6:
	case 7:
		return 1 + (size_t)below(w, 200);
	default:
		return 1 + (size_t)below(w, 12000);
	}
}

mode_t pick_mode(struct world *w)
{
	static const mode_t modes[] = { 0644,  0755,  0600,  0777,  0000, 0444,
					01777, 02755, 04755, 06711, 0200 };

	return one_in(w, 4) ? (mode_t)below(w, 010000)
			    : modes[below(w, sizeof(modes) / sizeof(modes[0]))];
}

const uint8_t *pick_bytes(struct world *w, size_t size)
{
	static uint64_t bytes[MAX_IO / 8 + 1024];
	uint64_t key = draw(w);

	for (size_t i = 0; i < size / 8 + 1; i++)
		bytes[i] = key + i * 0x9e3779b97f4a7c15U;
	return (const uint8_t *)bytes;
}

void pick_time(struct world *w, struct timespec *ts)
{
	/* All within what ext4 can store. */
	static const time_t seconds[] = { 0,	      1,	  -1,	      978307200,
					  2147483647, 2147483648, 4294967296, 15032385535 };

	ts->tv_sec = seconds[below(w, sizeof(seconds) / sizeof(seconds[0]))];
	ts->tv_nsec = one_in(w, 3) ? (one_in(w, 2) ? 0 : 999999999) : (long)below(w, 1000000000);
	if (ts->tv_sec == 15032385535)
		ts->tv_nsec = 0;
	if (one_in(w, 4))
		ts->tv_nsec = one_in(w, 2) ? UTIME_NOW : UTIME_OMIT;
}

struct handle *pick_handle(struct world *w, bool want_file)
{
	size_t at = (size_t)below(w, N_HANDLES);

	for (size_t i = 0; i < N_HANDLES; i++) {
		struct handle *h = &w->handles[(at + i) % N_HANDLES];

		if (h->fd[MOUNT] < 0 || (want_file && (h->type != S_IFREG || (h->flags & O_PATH))))
			continue;
		if (known_stale(h)) {
			close_handle(h);
			continue;
		}
		if (known_stale(h)) {
			close_handle(h);
			continue;
		}
		w->subject = h->type;
		return h;
	}
	return NULL;
}

struct handle *free_handle(struct world *w)
{
	struct handle *h;

	for (size_t i = 0; i < N_HANDLES; i++)
		if (w->handles[i].fd[MOUNT] < 0)
			return &w->handles[i];
	h = &w->handles[below(w, N_HANDLES)];
	close_handle(h);
	return h;
}

void close_handle(struct handle *h)
{
	for (int side = MOUNT; side < SIDES; side++) {
		if (h->map[side])
			munmap(h->map[side], h->map_size);
		if (h->fd[side] >= 0)
			close(h->fd[side]);
		h->map[side] = NULL;
		h->fd[side] = -1;
	}
}

const char *show(const char *path)
{
	static char text[4][200];
	static unsigned int turn;
	char *out = text[turn++ % 4], *p = out;

	for (const char *c = path; *c; c++) {
		size_t run = strspn(c, (char[]){ *c, '\0' });

		if (p - out > 90) {
			p += sprintf(p, "+%zu", strlen(c));
			break;
		}
		if (*c > ' ' && *c < 127 && *c != '\\')
			*p++ = *c;
		else
			p += sprintf(p, "\\x%02x", (unsigned char)*c);
		if (run > 8) {
			p += sprintf(p, "{%zu}", run);
			c += run - 1;
		}
	}
	*p = '\0';
	return out;
}
