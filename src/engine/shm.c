/* SPDX-License-Identifier: MIT */
/* The shared mapping: see shm.h for the contract. */
#include "engine/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/secmem.h"

enum { PAGE = 4096 };

_Static_assert(offsetof(struct shm, keys) % PAGE == 0, "keys start a page");
_Static_assert(offsetof(struct shm, undo) % PAGE == 0, "undo pages are pages");
_Static_assert(offsetof(struct shm, slots) % PAGE == 0, "slots are page-aligned");
_Static_assert(ENGINE_SLOT_SIZE % PAGE == 0, "slots are page-aligned");

/* A descriptor of memory without a name: 0 or -errno. */
static int open_memory(int *fd)
{
	uint64_t random;
	char name[64];

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	(void)snprintf(name, sizeof(name), "/cryptfs-%d-%016" PRIx64, (int)getpid(), random);
	*fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*fd >= 0) {
		(void)shm_unlink(name); /* nobody else knows it */
		return 0;
	}
	*fd = memfd_create("cryptfs", MFD_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

/* Reserve every page now: a full /dev/shm is an error here and no SIGBUS later. */
static int reserve(int fd, size_t size)
{
	int r;

	do
		r = posix_fallocate(fd, 0, (off_t)size);
	while (r == EINTR);
	return -r;
}

/*
 * Lock what may be locked, the secrets first.  A part of the slots is better
 * than nothing: encrypted swap is the administrator's to provide.
 */
static void lock_memory(const struct arena *a)
{
	const size_t start = offsetof(struct shm, keys);
	size_t size = a->size - start;
	uint8_t *from = (uint8_t *)a->shm + start;
	struct rlimit limit;

	if (mlock(from, size) == 0)
		return;
	if (!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur < size) {
		size = limit.rlim_cur / 2 / PAGE * PAGE; /* others lock secrets too */
		if (size && mlock(from, size) == 0) {
			log_debug("locked %zu of %zu bytes of shared memory", size,
				  a->size - start);
			return;
		}
	}
	log_debug("no shared memory could be locked: %s", strerror(errno));
}

static int init(struct shm *s)
{
	int r = sync_sem_init(&s->work, 0);

	for (size_t i = 0; !r && i < ENGINE_MAX_SLOTS; i++)
		r = sync_sem_init(&s->batches[i].done, 0);
	queue_init(&s->queue);
	return r;
}

int arena_new(uint32_t slots, struct arena *a)
{
	size_t size = sizeof(struct shm) + (size_t)slots * ENGINE_SLOT_SIZE;
	void *map = MAP_FAILED;
	int fd = -1;
	int r;

	*a = (struct arena){ 0 };
	if (slots < 1 || slots > ENGINE_MAX_SLOTS)
		return -EINVAL;
	r = open_memory(&fd);
	if (!r)
		r = reserve(fd, size);
	if (r)
		goto out;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		r = -errno;
		goto out;
	}
	(void)madvise(map, size, MADV_DONTDUMP); /* core dumps are off anyway */
	r = init(map);
	if (r)
		goto out;
	*a = (struct arena){ .shm = map, .size = size, .slots = slots };
	lock_memory(a);
	map = MAP_FAILED;
out:
	if (r)
		log_error("cannot get %zu bytes of shared memory: %s", size, strerror(-r));
	if (map != MAP_FAILED)
		(void)munmap(map, size);
	fdio_close(fd);
	return r;
}

void arena_free(struct arena *a)
{
	if (!a->shm)
		return;
	secmem_wipe(a->shm, a->size);
	(void)munmap(a->shm, a->size);
	*a = (struct arena){ 0 };
}

struct task_slot arena_slot(const struct arena *a, uint32_t slot)
{
	return (struct task_slot){
		.data = a->shm->slots[slot],
		.records = a->shm->records[slot],
		.key = &a->shm->keys[slot],
	};
}

struct task_undo arena_undo(const struct arena *a, uint32_t worker, uint32_t ticket)
{
	return (struct task_undo){
		.page = a->shm->undo[worker],
		.mark = &a->shm->workers[worker].mark,
		.ticket = ticket,
	};
}
