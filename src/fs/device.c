/* SPDX-License-Identifier: MIT */
/* Requests in, replies out: see device.h. */
#include "fs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/sync.h"
#include "fs/wire.h"

enum {
	LOOK_NS = 20 * 1000,
	MAX_LOOK_NS = 400 * 1000, /* as after a large write, while the next one is copied */
	MAX_GAP_NS = 1000 * 1000,
	WEIGHT = 4, /* a new gap counts for so small a part of the mean */
	MAX_CREDIT = 64,
	GAIN = 4,	 /* credit for a look that found something */
	TRY_AGAIN = 64,	 /* reads after which it is tried anew */
	ASKED_AFTER = 2, /* requests that were there at once */
};

/* How often in a row this thread found a request at once. */
static _Thread_local unsigned int streak;

/* True if it is this thread's turn to look, and looking has paid lately. */
static bool may_look(struct device *d)
{
	if (!d->may_look)
		return false;
	if (atomic_load_explicit(&d->credit, memory_order_relaxed) <= 0 &&
	    atomic_fetch_add_explicit(&d->unlooked, 1, memory_order_relaxed) % TRY_AGAIN)
		return false;
	return !atomic_exchange_explicit(&d->looking, true, memory_order_acquire);
}

/* A look that took so long, in units of LOOK_NS, found something or not. */
static void settle_credit(struct device *d, bool found, int cost)
{
	int credit = atomic_load_explicit(&d->credit, memory_order_relaxed);

	credit += found ? GAIN : -cost;
	if (credit > MAX_CREDIT)
		credit = MAX_CREDIT;
	atomic_store_explicit(&d->credit, credit < 0 ? 0 : credit, memory_order_relaxed);
}

static void count(atomic_ulong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The wait for a request that came now began at start. */
static void note_gap(struct device *d, uint64_t start)
{
	uint64_t gap = sync_now_ns() - start;
	uint64_t mean = atomic_load_explicit(&d->gap_ns, memory_order_relaxed);

	mean = (mean * (WEIGHT - 1) + (gap < MAX_GAP_NS ? gap : MAX_GAP_NS)) / WEIGHT;
	atomic_store_explicit(&d->gap_ns, (uint32_t)mean, memory_order_relaxed);
}

/* How long to look: twice the usual wait, if it is worth waiting for so long at all. */
static uint64_t look_ns(struct device *d)
{
	uint64_t wanted = 2 * (uint64_t)atomic_load_explicit(&d->gap_ns, memory_order_relaxed);

	return wanted > LOOK_NS && wanted <= MAX_LOOK_NS ? wanted : LOOK_NS;
}

/* How often somebody else was given this thread's processor. */
static long preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

/* Look until then: a request, or -1 with EAGAIN. */
static ssize_t look_until(int fd, void *buf, size_t size, uint64_t end)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EAGAIN && sync_now_ns() < end);
	return n;
}

/* Look for longer; *stolen: others want the processor, so that this is theft. */
static ssize_t look_on(int fd, void *buf, size_t size, uint64_t end, bool *stolen)
{
	long before = preemptions();
	ssize_t n = look_until(fd, buf, size, end);
	int error = errno;

	*stolen = preemptions() != before;
	errno = error;
	return n;
}

/* A request, or -1 with EAGAIN when none came in time. */
static ssize_t look(struct device *d, int fd, void *buf, size_t size)
{
	uint64_t length = look_ns(d);
	uint64_t start = sync_now_ns();
	bool stolen = false;
	ssize_t n = look_until(fd, buf, size, start + LOOK_NS);

	if (n < 0 && errno == EAGAIN && length > LOOK_NS)
		n = look_on(fd, buf, size, start + length, &stolen);
	if (n > 0)
		note_gap(d, start);
	if (stolen)
		settle_credit(d, false, MAX_CREDIT);
	else
		settle_credit(d, n >= 0, (int)(length / LOOK_NS));
	count(n >= 0 ? &d->hits : &d->misses);
	atomic_store_explicit(&d->looking, false, memory_order_release);
	return n;
}

/*
 * A request was there already, which is no wonder when its sender is quick.
 * But if that goes on, and one more waits behind it, time after time, there is
 * work for a second thread.
 */
static void count_streak(struct device *d, int fd)
{
	struct pollfd more = { .fd = fd, .events = POLLIN };

	if (++streak <= ASKED_AFTER)
		return;
	if (poll(&more, 1, 0) != 1) {
		streak = 0;
	} else if (streak >= ASKED_AFTER + CREW_STREAK) {
		streak = 0;
		crew_call(&d->crew);
	}
}

static ssize_t next_request(struct device *d, int fd, void *buf, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	uint64_t start;
	ssize_t n = read(fd, buf, size);

	if (n > 0)
		count_streak(d, fd);
	else
		streak = 0;
	while (n < 0 && errno == EAGAIN) {
		if (may_look(d)) {
			n = look(d, fd, buf, size);
			if (n >= 0 || errno != EAGAIN)
				break;
		}
		if (crew_leave(&d->crew)) {
			errno = EAGAIN;
			break;
		}
		start = sync_now_ns();
		if (poll(&ready, 1, -1) < 0)
			break;
		note_gap(d, start);
		n = read(fd, buf, size);
	}
	if (n > 0)
		count(&d->requests[wire_opcode(buf, (size_t)n)]);
	return n;
}

static ssize_t read_request(int fd, void *buf, size_t size, void *userdata)
{
	struct device *d = userdata;
	ssize_t n = next_request(d, fd, buf, size);

	if (n > 0)
		n = (ssize_t)wire_translate(buf, (size_t)n, d->offered);
	/* Nothing but INIT is under way until it is replied to. */
	if (n > 0 && !d->init_replied)
		(void)wire_is_init(buf, (size_t)n, &d->offered);
	return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct device *d = userdata;

	if (!d->init_replied) {
		if (count == 2)
			wire_amend_init(iov[1].iov_base, iov[1].iov_len, d->offered);
		d->init_replied = true;
	}
	return writev(fd, iov, count);
}

int device_attach(struct device *d, struct fuse_session *se, uint32_t n)
{
	static const struct fuse_custom_io io = { .read = read_request, .writev = write_reply };
	int fd = fuse_session_fd(se);
	int flags = fcntl(fd, F_GETFL);
	int r;

	park_init(&d->park);
	d->park.fd = fd;
	atomic_store(&d->credit, MAX_CREDIT);
	d->may_look = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	r = fuse_session_custom_io(se, &io, fd);
	return r ? r : crew_init(&d->crew, n);
}

static uint64_t count_if(const struct device *d, bool (*is_meant)(uint32_t opcode))
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < WIRE_OPCODES; i++)
		if (is_meant(i))
			n += atomic_load_explicit(&d->requests[i], memory_order_relaxed);
	return n;
}

static bool is_use(uint32_t opcode)
{
	return !wire_is_no_use(opcode);
}

uint64_t device_uses(const struct device *d)
{
	return count_if(d, is_use);
}

uint64_t device_reads(const struct device *d)
{
	return count_if(d, wire_fills_pages);
}

void device_detach(struct device *d)
{
	park_fini(&d->park);
	crew_fini(&d->crew);
}
