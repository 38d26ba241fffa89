/* SPDX-License-Identifier: MIT */
/* Requests that wait: see park.h for the contract. */
#include "fs/park.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/secmem.h"
#include "fs/wire.h"

struct parked {
	struct parked *next;
	size_t size;
	uint8_t request[]; /* with content, if it is a WRITE: wiped when it goes */
};

static void pause_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&t, NULL);
}

static void drop(struct parked *waiting)
{
	secmem_wipe(waiting->request, waiting->size);
	free(waiting);
}

void park_init(struct park *p)
{
	*p = (struct park){ .fd = -1 };
	pthread_mutex_init(&p->lock, NULL);
}

/* Take off the first one that is for this number; or simply the first. */
static struct parked *unlink_one(struct park *p, const uint64_t *unique)
{
	struct parked *before = NULL;
	struct parked *w = p->first;

	while (w && unique && wire_unique(w->request) != *unique) {
		before = w;
		w = w->next;
	}
	if (!w)
		return NULL;
	if (before)
		before->next = w->next;
	else
		p->first = w->next;
	if (p->last == w)
		p->last = before;
	atomic_fetch_sub(&p->n, 1);
	return w;
}

static struct parked *take_off(struct park *p, const uint64_t *unique)
{
	struct parked *w;

	pthread_mutex_lock(&p->lock);
	w = unlink_one(p, unique);
	pthread_mutex_unlock(&p->lock);
	return w;
}

void park_fini(struct park *p)
{
	struct parked *w;

	while ((w = take_off(p, NULL)))
		drop(w);
	pthread_mutex_destroy(&p->lock);
}

static void reply_error(const struct park *p, uint64_t unique, int error)
{
	uint8_t reply[WIRE_ERROR_SIZE];

	wire_error(reply, unique, error);
	(void)!write(p->fd, reply, sizeof(reply)); /* who is gone needs none */
}

/* Behind the others: false if it is not to wait any more. */
static bool put(struct park *p, struct parked *w)
{
	bool waits;

	pthread_mutex_lock(&p->lock);
	waits = atomic_load(&p->state) == PARK_CLOSED;
	if (waits) {
		w->next = NULL;
		if (p->first)
			p->last->next = w;
		else
			p->first = w;
		p->last = w;
		atomic_fetch_add(&p->n, 1);
	}
	pthread_mutex_unlock(&p->lock);
	return waits;
}

/* Keep a request; without memory wait for some, as its sender waits. */
static bool keep(struct park *p, void *request, size_t size)
{
	struct parked *w;

	while (!(w = malloc(sizeof(*w) + size))) {
		if (!park_is_closed(p))
			return false;
		pause_ms(20);
	}
	w->size = size;
	memcpy(w->request, request, size);
	if (put(p, w)) {
		secmem_wipe(request, size);
		return true;
	}
	drop(w);
	return false;
}

/* An INTERRUPT while things wait: answer its request, or have the kernel send it again. */
static void interrupt(struct park *p, const void *request, uint64_t unique)
{
	struct parked *w = take_off(p, &unique);

	if (w) {
		reply_error(p, unique, -EINTR);
		drop(w);
		return;
	}
	pause_ms(1); /* its request is with another thread at this moment, or was answered */
	reply_error(p, wire_unique(request), -EAGAIN);
}

bool park_keeps(struct park *p, void *request, size_t size)
{
	uint64_t unique;
	int state;

	for (;;) {
		state = atomic_load(&p->state);
		if (state == PARK_OPEN)
			return false;
		if (wire_is_interrupt(request, size, &unique)) {
			interrupt(p, request, unique);
			return true;
		}
		if (wire_needs_no_key(request, size))
			return false;
		if (state == PARK_REFUSED) {
			reply_error(p, wire_unique(request), -ENOTCONN);
			secmem_wipe(request, size);
			return true;
		}
		if (keep(p, request, size))
			return true;
	}
}

size_t park_take(struct park *p, void *request, size_t size)
{
	struct parked *w;
	size_t n;

	if (!atomic_load_explicit(&p->n, memory_order_relaxed) ||
	    atomic_load(&p->state) != PARK_OPEN)
		return 0;
	w = take_off(p, NULL);
	if (!w)
		return 0;
	n = w->size <= size ? w->size : 0;
	memcpy(request, w->request, n);
	drop(w);
	return n;
}

bool park_is_closed(const struct park *p)
{
	return atomic_load(&p->state) == PARK_CLOSED;
}

void park_close(struct park *p)
{
	atomic_store(&p->state, PARK_CLOSED);
}

void park_open(struct park *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->state, PARK_OPEN);
	pthread_mutex_unlock(&p->lock);
}

void park_refuse(struct park *p)
{
	struct parked *w;

	pthread_mutex_lock(&p->lock);
	atomic_store(&p->state, PARK_REFUSED);
	pthread_mutex_unlock(&p->lock);
	while ((w = take_off(p, NULL))) {
		reply_error(p, wire_unique(w->request), -ENOTCONN);
		drop(w);
	}
}
