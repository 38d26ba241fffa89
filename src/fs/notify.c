/* SPDX-License-Identifier: MIT */
/* The datagrams of sd_notify(3): see notify.h for the contract. */
#include "fs/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fdio.h"

int notify_open(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *name = getenv("NOTIFY_SOCKET");
	size_t size = name ? strlen(name) : 0;
	int fd;

	/* A path, or, after an '@', a name that begins with a zero byte. */
	if (!size || size > sizeof(a.sun_path) || (name[0] != '/' && name[0] != '@'))
		return -1;
	memcpy(a.sun_path, name, size);
	(void)unsetenv("NOTIFY_SOCKET");
	if (a.sun_path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size))) {
		fdio_close(fd);
		fd = -1;
	}
	return fd;
}

void notify_say(int fd, const char *state)
{
	if (fd >= 0)
		(void)send(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT);
}
