/* SPDX-License-Identifier: MIT */
/* Process-shared semaphores: see sync.h for the contract. */
#include "engine/sync.h"

#include <errno.h>
#include <time.h>

int sync_sem_init(struct sync_sem *s, unsigned int value)
{
	return sem_init(&s->sem, 1, value) ? -errno : 0;
}

void sync_sem_post(struct sync_sem *s)
{
	(void)sem_post(&s->sem); /* only fails when 2^31 units are there already */
}

void sync_sem_wait(struct sync_sem *s)
{
	while (sem_wait(&s->sem) && errno == EINTR)
		;
}

int sync_sem_trywait(struct sync_sem *s)
{
	return sem_trywait(&s->sem) ? SYNC_NONE : 0;
}

int sync_sem_timedwait(struct sync_sem *s, uint64_t timeout_us)
{
	uint64_t end_ns = sync_now_ns() + timeout_us * 1000;
	const struct timespec end = { .tv_sec = (time_t)(end_ns / 1000000000),
				      .tv_nsec = (long)(end_ns % 1000000000) };

	for (;;) {
		if (!sem_clockwait(&s->sem, CLOCK_MONOTONIC, &end))
			return 0;
		if (errno != EINTR)
			return SYNC_NONE;
	}
}

void sync_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

uint64_t sync_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
