/* SPDX-License-Identifier: MIT */
/*
 * One conversion: see convert.h for the contract.
 *
 * A piece is claimed under `claiming`, which fixes where it is read, where it
 * goes and the numbers of its blocks; of a stream it is read then, too.  All
 * else is done side by side.  What goes into a stream waits for its turn; what
 * goes into a file, for `writing`: the kernel lets one write into a file at a time,
 * and has the next one burn its processor, which others have work for.
 */
#include "fs/convert.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fdio.h"
#include "base/secmem.h"
#include "fs/container.h"

enum {
	PIECE_SIZE = 1024 * 1024,
	PIECE_CHUNKS = PIECE_SIZE / CONTAINER_CHUNK_SIZE,
	PIECE_BLOCKS = PIECE_SIZE / CONTAINER_BLOCK_SIZE,
	NOTHING = -1, /* claim: there is no further piece */
};

/* What lies in a slot while it is worked on. */
struct piece {
	uint64_t turn;	   /* how many were claimed before it */
	uint64_t in;	   /* where it is read */
	uint64_t out;	   /* where it goes */
	uint64_t position; /* of its plaintext */
	uint64_t gap;	   /* bytes of zeros before it */
	uint64_t number;   /* of its first block */
	uint32_t size;	   /* plaintext */
	uint32_t stored;   /* what it takes in the container */
	uint32_t n_chunks;
	uint32_t chunks[PIECE_CHUNKS]; /* plaintext of each */
	bool is_read;
	bool is_end;
};

struct convert_hand {
	struct engine *engine;
	uint32_t slot;
	uint8_t *data;
	struct engine_record *records;
	uint64_t serial; /* of the conversion whose key is loaded; 0: none */
	uint8_t heads[PIECE_CHUNKS][CONTAINER_HEAD_SIZE];
	uint8_t tags[PIECE_BLOCKS][CIPHER_TAG_SIZE];
};

struct convert {
	struct convert_spec spec;
	uint64_t serial;

	pthread_mutex_t claiming;
	uint64_t in;	     /* the next piece is read there */
	uint64_t out;	     /* and goes there */
	uint64_t position;   /* plaintext up to here was claimed */
	uint64_t number;     /* of the next block */
	uint64_t extent_end; /* there are bytes up to here */
	struct container_walk walk;
	struct container_chunk head; /* of the next chunk */
	bool has_head;

	pthread_mutex_t lock;
	pthread_cond_t turned;
	uint64_t n_claimed;
	uint64_t turn; /* who may write into a stream */
	uint32_t n_working;
	bool all_claimed;
	bool over; /* the result was given out */
	int error;
	uint64_t where;
	atomic_bool cancelled;

	pthread_mutex_t writing; /* into a file */
};

/* ---- streams ----------------------------------------------------------- */

/* Up to size bytes, fewer only at the end: their number or -errno. */
static ssize_t read_stream(struct convert *c, void *data, size_t size)
{
	size_t done = 0;

	while (done < size && !atomic_load(&c->cancelled)) {
		ssize_t n = read(c->spec.in.fd, (char *)data + done, size - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return (ssize_t)done;
		if (n > 0)
			done += (size_t)n;
	}
	return done < size ? -ECANCELED : (ssize_t)done;
}

static int write_stream(struct convert *c, const void *data, size_t size)
{
	const char *from = data;

	while (size && !atomic_load(&c->cancelled)) {
		ssize_t n = write(c->spec.out.fd, from, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			from += n;
			size -= (size_t)n;
		}
	}
	return size ? -ECANCELED : 0;
}

static int write_zeros(struct convert *c, uint64_t size)
{
	static const uint8_t zeros[65536];
	int r = 0;

	while (size && !r) {
		size_t n = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

		r = write_stream(c, zeros, n);
		size -= n;
	}
	return r;
}

/* Size bytes of the input's next ones: 0, CUT or -errno. */
static int take(struct convert *c, void *data, size_t size)
{
	ssize_t n = c->spec.in.is_stream ? read_stream(c, data, size)
					 : fdio_pread_some(c->spec.in.fd, data, size, (off_t)c->in);

	if (n < 0)
		return (int)n;
	c->in += (uint64_t)n;
	return (size_t)n == size ? 0 : CONVERT_CUT;
}

static void count(struct convert *c, uint64_t n)
{
	if (c->spec.n_bytes)
		atomic_fetch_add(c->spec.n_bytes, n);
}

/* ---- claiming: plaintext ----------------------------------------------- */

static int where_is(int fd, uint64_t from, int whence, uint64_t size, uint64_t *at)
{
	off_t found = lseek(fd, (off_t)from, whence);

	*at = size;
	if (found < 0 && errno != ENXIO)
		return -errno;
	if (found >= 0 && (uint64_t)found < size)
		*at = (uint64_t)found;
	return 0;
}

/* Go to the next bytes that are there, in whole blocks: 0 or -errno. */
static int skip_hole(struct convert *c)
{
	const uint64_t block = CONTAINER_BLOCK_SIZE;
	const struct convert_end *in = &c->spec.in;
	uint64_t data;
	uint64_t hole;
	int r = where_is(in->fd, c->in, SEEK_DATA, in->size, &data);

	if (r == -EINVAL) { /* a filesystem that does not tell */
		c->extent_end = in->size;
		return 0;
	}
	if (!r)
		r = where_is(in->fd, data, SEEK_HOLE, in->size, &hole);
	if (r)
		return r;
	if (data < in->size)
		data = data / block * block;
	if (data > c->in) {
		count(c, data - c->in);
		c->in = data;
	}
	hole = (hole + block - 1) / block * block;
	c->extent_end = hole < in->size ? hole : in->size;
	return 0;
}

static void cut_into_chunks(struct piece *p)
{
	for (uint32_t left = p->size; left; p->n_chunks++) {
		uint32_t n = left < CONTAINER_CHUNK_SIZE ? left : CONTAINER_CHUNK_SIZE;

		p->chunks[p->n_chunks] = n;
		p->stored += container_chunk_stored(n);
		left -= n;
	}
}

/* The end chunk of a container that is written. */
static int claim_seal_end(struct convert *c, struct convert_hand *h, struct piece *p)
{
	if (c->spec.way == CONVERT_XOR)
		return NOTHING;
	bytes_put64(h->data, p->position);
	p->is_read = true;
	p->is_end = true;
	p->size = CONTAINER_END_SIZE;
	cut_into_chunks(p);
	return 0;
}

static int claim_stream(struct convert *c, struct convert_hand *h, struct piece *p)
{
	ssize_t n = c->extent_end ? 0 : read_stream(c, h->data, PIECE_SIZE);

	if (n < 0)
		return (int)n;
	p->position = c->position;
	p->size = (uint32_t)n;
	p->is_read = true;
	if (n < PIECE_SIZE)
		c->extent_end = 1; /* of a stream: that was all */
	return n ? 0 : claim_seal_end(c, h, p);
}

static int claim_file(struct convert *c, struct convert_hand *h, struct piece *p)
{
	uint64_t left;
	int r = 0;

	if (c->in >= c->extent_end && c->in < c->spec.in.size)
		r = c->spec.way == CONVERT_SEAL ? skip_hole(c) : 0;
	if (r)
		return r;
	if (c->spec.way == CONVERT_XOR)
		c->extent_end = c->spec.in.size;
	p->in = p->position = c->in;
	left = c->extent_end - (c->in < c->extent_end ? c->in : c->extent_end);
	if (!left)
		return claim_seal_end(c, h, p);
	p->size = left < PIECE_SIZE ? (uint32_t)left : PIECE_SIZE;
	c->in += p->size;
	return 0;
}

/* The next piece of plaintext: 0, NOTHING or -errno. */
static int claim_plain(struct convert *c, struct convert_hand *h, struct piece *p)
{
	int r = c->spec.in.is_stream ? claim_stream(c, h, p) : claim_file(c, h, p);

	if (r)
		return r;
	if (c->spec.way == CONVERT_XOR) {
		p->out = p->position;
		p->stored = p->size;
	} else {
		p->out = c->out;
		p->number = c->number;
		if (!p->is_end)
			cut_into_chunks(p);
	}
	c->out += p->stored;
	c->number += container_blocks(p->size);
	c->position = p->position + p->size;
	return 0;
}

/* ---- claiming: a container --------------------------------------------- */

static int read_head(struct convert *c)
{
	uint8_t raw[CONTAINER_HEAD_SIZE];
	int r = take(c, raw, sizeof(raw));

	if (r)
		return r;
	c->has_head = true;
	return container_chunk_decode(raw, &c->walk, &c->head) ? CONVERT_DAMAGED : 0;
}

/* True if the chunk whose head was read goes on where p ends, and fits. */
static bool chunk_belongs(const struct convert *c, const struct piece *p)
{
	if (!p->n_chunks)
		return true;
	return !c->head.is_end && p->n_chunks < PIECE_CHUNKS &&
	       c->head.position == p->position + p->size && p->size + c->head.size <= PIECE_SIZE;
}

/* Take what follows the head: of a stream by reading it, of a file by knowing where it is. */
static int append_chunk(struct convert *c, struct convert_hand *h, struct piece *p)
{
	uint32_t size = c->head.size;
	uint32_t tags = container_blocks(size) * CIPHER_TAG_SIZE;
	int r = 0;

	if (p->is_read) {
		r = take(c, h->tags[container_blocks(p->size)], tags);
		if (!r)
			r = take(c, h->data + p->size, size);
	} else {
		c->in += tags + size;
		if (c->in > c->spec.in.size)
			r = CONVERT_CUT;
	}
	p->chunks[p->n_chunks++] = size;
	p->size += size;
	p->stored += container_chunk_stored(size);
	c->has_head = false;
	return r;
}

/* Nothing may follow the end chunk: 0, DAMAGED or -errno. */
static int check_nothing_follows(struct convert *c)
{
	uint8_t more;
	int r = take(c, &more, 1);

	if (r == CONVERT_CUT)
		return 0;
	return r ? r : CONVERT_DAMAGED;
}

static int claim_chunks(struct convert *c, struct convert_hand *h, struct piece *p)
{
	int r = 0;

	if (!c->has_head)
		r = read_head(c);
	if (r)
		return r;
	p->is_end = c->head.is_end;
	p->is_read = c->spec.in.is_stream || p->is_end;
	p->position = c->head.position;
	p->gap = p->position - c->position;
	p->number = c->number;
	p->in = c->in - CONTAINER_HEAD_SIZE;
	p->out = p->position;
	while (!r && chunk_belongs(c, p)) {
		r = append_chunk(c, h, p);
		if (!r && !p->is_end)
			r = read_head(c);
	}
	if (!r && p->is_end)
		r = check_nothing_follows(c);
	c->number += container_blocks(p->size);
	c->position = p->position + (p->is_end ? 0 : p->size);
	return r;
}

/* ---- working ----------------------------------------------------------- */

static int load_key(struct convert *c, struct convert_hand *h)
{
	struct cipher_key *key = engine_slot_key(h->engine, h->slot);
	const struct convert_key *from = &c->spec.key;
	uint8_t secret[CIPHER_KEY_SIZE];
	int r;

	if (h->serial == c->serial)
		return 0;
	h->serial = 0;
	if (c->spec.way == CONVERT_XOR) {
		r = cipher_key_set_xor(key, from->xor_key, from->xor_size);
	} else {
		keys_file(from->keys, from->id, secret);
		r = cipher_key_set(key, from->suite, secret);
		secmem_wipe(secret, sizeof(secret));
	}
	if (!r)
		h->serial = c->serial;
	return r;
}

/* Heads, tags and ciphertext of a piece, as they lie in the container: how many parts. */
static size_t gather(struct convert_hand *h, const struct piece *p, struct iovec *iov)
{
	uint32_t at = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < p->n_chunks; i++) {
		uint32_t size = p->chunks[i];

		iov[n++] = (struct iovec){ h->heads[i], CONTAINER_HEAD_SIZE };
		iov[n++] = (struct iovec){ h->tags[container_blocks(at)],
					   (size_t)container_blocks(size) * CIPHER_TAG_SIZE };
		iov[n++] = (struct iovec){ h->data + at, size };
		at += size;
	}
	return n;
}

/* Bring a file's piece into the slot: 0, CUT, CHANGED or -errno. */
static int read_piece(struct convert *c, struct convert_hand *h, const struct piece *p)
{
	struct iovec iov[3 * PIECE_CHUNKS];
	int fd = c->spec.in.fd;
	ssize_t n;

	if (p->is_read)
		return 0;
	if (c->spec.way == CONVERT_OPEN) {
		n = fdio_preadv_some(fd, iov, gather(h, p, iov), (off_t)p->in);
		return n < 0 ? (int)n : (size_t)n == p->stored ? 0 : CONVERT_CUT;
	}
	n = fdio_pread_some(fd, h->data, p->size, (off_t)p->in);
	return n < 0 ? (int)n : (size_t)n == p->size ? 0 : CONVERT_CHANGED;
}

static void set_records(struct convert_hand *h, const struct piece *p)
{
	for (uint32_t i = 0; i < container_blocks(p->size); i++) {
		struct engine_record *r = &h->records[i];

		container_nonce(p->number + i, r->nonce);
		memcpy(r->tag, h->tags[i], sizeof(r->tag));
		r->sequence = p->is_end;
		r->status = ENGINE_PENDING;
	}
}

static void encode_heads(struct convert_hand *h, const struct piece *p)
{
	struct container_chunk chunk = { .position = p->position, .is_end = p->is_end };

	for (uint32_t i = 0; i < p->n_chunks; i++) {
		chunk.size = p->chunks[i];
		container_chunk_encode(&chunk, h->heads[i]);
		chunk.position += chunk.size;
	}
	for (uint32_t i = 0; i < container_blocks(p->size); i++)
		memcpy(h->tags[i], h->records[i].tag, CIPHER_TAG_SIZE);
}

/* Have the engine do the piece: 0, DAMAGED or -errno. */
static int process(struct convert *c, struct convert_hand *h, const struct piece *p)
{
	static const enum engine_op ops[] = {
		[CONVERT_SEAL] = ENGINE_SEAL,
		[CONVERT_OPEN] = ENGINE_OPEN,
		[CONVERT_XOR] = ENGINE_XOR,
	};
	struct engine_batch batch = { .op = ops[c->spec.way], .size = p->size };
	int r = load_key(c, h);

	if (r)
		return r;
	if (c->spec.way == CONVERT_XOR)
		batch.position = p->position;
	else if (!p->is_end)
		batch.position = p->position / CONTAINER_BLOCK_SIZE;
	if (c->spec.way != CONVERT_XOR)
		set_records(h, p);
	r = engine_run(h->engine, h->slot, &batch);
	if (r == ENGINE_DAMAGED)
		return CONVERT_DAMAGED;
	if (!r && c->spec.way == CONVERT_SEAL)
		encode_heads(h, p);
	return r;
}

/* The plaintext of an end chunk must say what its head says. */
static int check_end(const struct convert_hand *h, const struct piece *p)
{
	return bytes_get64(h->data) == p->position ? 0 : CONVERT_DAMAGED;
}

static int write_file(struct convert *c, struct convert_hand *h, struct iovec *iov, size_t n,
		      uint64_t offset)
{
	int r;

	(void)pthread_mutex_lock(&c->writing);
	engine_occupy(h->engine);
	r = fdio_pwritev_full(c->spec.out.fd, iov, n, (off_t)offset);
	engine_vacate(h->engine);
	(void)pthread_mutex_unlock(&c->writing);
	return r;
}

static int write_parts(struct convert *c, struct convert_hand *h, struct iovec *iov, size_t n,
		       uint64_t offset)
{
	int r = 0;

	if (!c->spec.out.is_stream)
		return write_file(c, h, iov, n, offset);
	for (size_t i = 0; i < n && !r; i++)
		r = write_stream(c, iov[i].iov_base, iov[i].iov_len);
	return r;
}

/* Write a piece that is done, when it is its turn: 0 or -errno. */
static int write_piece(struct convert *c, struct convert_hand *h, const struct piece *p)
{
	struct iovec iov[3 * PIECE_CHUNKS] = { { h->data, p->size } };
	bool into_stream = c->spec.out.is_stream;
	int r = 0;

	if (c->spec.way == CONVERT_SEAL)
		return write_parts(c, h, iov, gather(h, p, iov), p->out);
	if (into_stream && p->gap)
		r = write_zeros(c, p->gap);
	if (r || (p->is_end && into_stream))
		return r;
	if (p->is_end)
		return ftruncate(c->spec.out.fd, (off_t)p->position) ? -errno : 0;
	return write_parts(c, h, iov, 1, p->out);
}

/* Wait until all earlier pieces are in the stream: 0, or the failure of another. */
static int wait_for_turn(struct convert *c, uint64_t turn)
{
	int r;

	if (!c->spec.out.is_stream)
		return 0;
	(void)pthread_mutex_lock(&c->lock);
	while (c->turn != turn && !c->error)
		(void)pthread_cond_wait(&c->turned, &c->lock);
	r = c->error;
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

static int work(struct convert *c, struct convert_hand *h, const struct piece *p)
{
	int r;

	engine_occupy(h->engine);
	r = read_piece(c, h, p);
	if (!r)
		r = process(c, h, p);
	engine_vacate(h->engine);
	if (!r && p->is_end && c->spec.way == CONVERT_OPEN)
		r = check_end(h, p);
	if (!r)
		r = wait_for_turn(c, p->turn);
	if (!r)
		r = write_piece(c, h, p);
	if (!r)
		count(c, c->spec.way == CONVERT_OPEN ? p->stored : p->is_end ? 0 : p->size);
	return r;
}

/* ---- the door ---------------------------------------------------------- */

int convert_hand_new(struct engine *e, struct convert_hand **out)
{
	struct convert_hand *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h)
		return -ENOMEM;
	if (engine_slot_get(e, &h->slot)) {
		free(h);
		return -EBUSY;
	}
	h->engine = e;
	h->data = engine_slot_data(e, h->slot);
	h->records = engine_slot_records(e, h->slot);
	*out = h;
	return 0;
}

void convert_hand_free(struct convert_hand *h)
{
	if (!h)
		return;
	engine_slot_put(h->engine, h->slot);
	free(h);
}

int convert_new(const struct convert_spec *spec, struct convert **out)
{
	static _Atomic uint64_t serials;
	struct convert *c = calloc(1, sizeof(*c));

	*out = c;
	if (!c)
		return -ENOMEM;
	c->spec = *spec;
	c->serial = atomic_fetch_add(&serials, 1) + 1;
	c->in = spec->in.offset;
	c->out = spec->out.offset;
	(void)pthread_mutex_init(&c->claiming, NULL); /* the default kind cannot fail */
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_mutex_init(&c->writing, NULL);
	(void)pthread_cond_init(&c->turned, NULL);
	return 0;
}

void convert_free(struct convert *c)
{
	if (!c)
		return;
	(void)pthread_mutex_destroy(&c->claiming);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_mutex_destroy(&c->writing);
	(void)pthread_cond_destroy(&c->turned);
	free(c);
}

/* Somebody failed: it is the result, unless there was a failure before; with c locked. */
static void fail(struct convert *c, int error, uint64_t where)
{
	if (c->error == error && where < c->where)
		c->where = where; /* others went ahead */
	if (c->error)
		return;
	c->error = error;
	c->where = where;
	(void)pthread_cond_broadcast(&c->turned);
}

/* Claim a piece, with `claiming` held: 0 or NOTHING. */
static int claim_next(struct convert *c, struct convert_hand *h, struct piece *p)
{
	int r;

	*p = (struct piece){ 0 };
	if (!convert_has_more(c))
		return NOTHING;
	r = c->spec.way == CONVERT_OPEN ? claim_chunks(c, h, p) : claim_plain(c, h, p);
	(void)pthread_mutex_lock(&c->lock);
	if (r || p->is_end)
		c->all_claimed = true;
	if (r && r != NOTHING)
		fail(c, r, c->position);
	if (r || c->error)
		r = NOTHING;
	else
		c->n_working++;
	p->turn = c->n_claimed++;
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

/* What to answer after a claim, or a piece of which r is the result. */
static int answer(struct convert *c, const struct piece *p, bool did_one, int r)
{
	(void)pthread_mutex_lock(&c->lock);
	if (did_one) {
		c->n_working--;
		c->turn++;
		if (r)
			fail(c, r, p->position);
		(void)pthread_cond_broadcast(&c->turned);
	}
	r = CONVERT_MORE;
	if (c->all_claimed || c->error)
		r = CONVERT_OTHERS;
	if (r == CONVERT_OTHERS && !c->n_working && !c->over) {
		c->over = true;
		r = c->error;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

int convert_step(struct convert *c, struct convert_hand *h)
{
	struct piece p;
	int r;

	(void)pthread_mutex_lock(&c->claiming);
	r = claim_next(c, h, &p);
	(void)pthread_mutex_unlock(&c->claiming);
	if (r == NOTHING)
		return answer(c, &p, false, 0);
	return answer(c, &p, true, work(c, h, &p));
}

bool convert_has_more(struct convert *c)
{
	bool more;

	(void)pthread_mutex_lock(&c->lock);
	more = !c->all_claimed && !c->error;
	(void)pthread_mutex_unlock(&c->lock);
	return more;
}

void convert_cancel(struct convert *c, int error)
{
	atomic_store(&c->cancelled, true);
	(void)pthread_mutex_lock(&c->lock);
	fail(c, error, 0);
	(void)pthread_mutex_unlock(&c->lock);
}

uint64_t convert_where(const struct convert *c)
{
	return c->where;
}
