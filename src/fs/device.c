/* SPDX-License-Identifier: MIT */
/* Requests in, replies out: see device.h. */
#include "fs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "fs/wire.h"

enum {
	LOOK_NS = 20 * 1000,
	MAX_CREDIT = 64,
	GAIN = 4,	/* credit for a look that found something */
	TRY_AGAIN = 64, /* reads after which it is tried anew */
};

/* The kernel wants a reply where the request came from. */
static _Thread_local int reply_fd = -1;

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* True if it is this thread's turn to look, and looking has paid lately. */
static bool may_look(struct device *d)
{
	if (d->second_fd < 0 || !d->init_replied)
		return false;
	if (atomic_load_explicit(&d->credit, memory_order_relaxed) <= 0 &&
	    atomic_fetch_add_explicit(&d->unlooked, 1, memory_order_relaxed) % TRY_AGAIN)
		return false;
	return !atomic_exchange_explicit(&d->looking, true, memory_order_acquire);
}

static void settle_credit(struct device *d, bool found)
{
	int credit = atomic_load_explicit(&d->credit, memory_order_relaxed);

	credit += found ? GAIN : -1;
	if (credit > MAX_CREDIT)
		credit = MAX_CREDIT;
	atomic_store_explicit(&d->credit, credit < 0 ? 0 : credit, memory_order_relaxed);
}

static void count(atomic_ulong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* A request, or -1 with EAGAIN when none came in time. */
static ssize_t look(struct device *d, void *buf, size_t size)
{
	uint64_t end = now_ns() + LOOK_NS;
	ssize_t n;

	do
		n = read(d->second_fd, buf, size);
	while (n < 0 && errno == EAGAIN && now_ns() < end);
	settle_credit(d, n >= 0);
	count(n >= 0 ? &d->hits : &d->misses);
	atomic_store_explicit(&d->looking, false, memory_order_release);
	return n;
}

/* What was read, n bytes or -1, is counted if it is a request; errno stays. */
static ssize_t counted(struct device *d, const void *buf, ssize_t n)
{
	if (n > 0)
		count(&d->requests[wire_opcode(buf, (size_t)n)]);
	return n;
}

static ssize_t read_request(int fd, void *buf, size_t size, void *userdata)
{
	struct device *d = userdata;
	ssize_t n;

	if (may_look(d)) {
		n = look(d, buf, size);
		if (n >= 0 || errno != EAGAIN) {
			reply_fd = d->second_fd;
			return counted(d, buf, n);
		}
	}
	n = counted(d, buf, read(fd, buf, size));
	reply_fd = fd;
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
	return writev(reply_fd >= 0 ? reply_fd : fd, iov, count);
}

/* A descriptor of the same connection with a file description of its own. */
static int clone_device(int fd)
{
	uint32_t original = (uint32_t)fd;
	int clone = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (clone >= 0 && ioctl(clone, FUSE_DEV_IOC_CLONE, &original)) {
		fdio_close(clone);
		clone = -1;
	}
	return clone;
}

void device_attach(struct device *d, struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = read_request, .writev = write_reply };
	int fd = fuse_session_fd(se);

	atomic_store(&d->credit, MAX_CREDIT);
	d->second_fd = -1;
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		d->second_fd = clone_device(fd);
	if (fuse_session_custom_io(se, &io, fd))
		device_detach(d); /* slower, and nothing is negotiated */
}

void device_detach(struct device *d)
{
	fdio_close(d->second_fd);
	d->second_fd = -1;
}
