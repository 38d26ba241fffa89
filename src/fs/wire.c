/* SPDX-License-Identifier: MIT */
/* Bytes of the FUSE protocol: see wire.h. */
#include "fs/wire.h"

#include <linux/fuse.h>
#include <string.h>

/* Of linux/fuse.h from protocol 7.45 on. */
enum { NOTIFY_PRUNE = 9 };

struct notify_prune {
	uint32_t count;
	uint32_t padding;
	uint64_t spare;
};

_Static_assert(sizeof(struct fuse_out_header) + sizeof(struct notify_prune) == WIRE_PRUNE_SIZE,
	       "the head is both");

bool wire_is_init(const void *request, size_t size, uint32_t *offered)
{
	struct fuse_in_header head;
	struct fuse_init_in init;
	/* Older kernels end after the flags. */
	const size_t wanted = offsetof(struct fuse_init_in, flags) + sizeof(init.flags);

	if (size < sizeof(head) + wanted)
		return false;
	memcpy(&head, request, sizeof(head));
	memcpy(&init, (const char *)request + sizeof(head), wanted);
	*offered = init.flags;
	return head.opcode == FUSE_INIT;
}

void wire_amend_init(void *reply, size_t size, uint32_t offered)
{
	struct fuse_init_out init;

	if (size != sizeof(init))
		return;
	memcpy(&init, reply, sizeof(init));
	init.flags |= offered & (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2);
	memcpy(reply, &init, sizeof(init));
}

bool wire_kills_set_id(const void *request)
{
	const char *body = (const char *)request + sizeof(struct fuse_in_header);
	struct fuse_in_header head;
	union {
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_write_in write;
		struct fuse_setattr_in setattr;
	} in;

	memcpy(&head, request, sizeof(head));
	switch (head.opcode) {
	case FUSE_OPEN:
		memcpy(&in.open, body, sizeof(in.open));
		return in.open.open_flags & FUSE_OPEN_KILL_SUIDGID;
	case FUSE_CREATE:
		memcpy(&in.create, body, sizeof(in.create));
		return in.create.open_flags & FUSE_OPEN_KILL_SUIDGID;
	case FUSE_WRITE:
		memcpy(&in.write, body, sizeof(in.write));
		return in.write.write_flags & FUSE_WRITE_KILL_SUIDGID;
	case FUSE_SETATTR:
		memcpy(&in.setattr, body, sizeof(in.setattr));
		return in.setattr.valid & FATTR_KILL_SUIDGID;
	default:
		return false;
	}
}

void wire_prune(uint8_t head[WIRE_PRUNE_SIZE], uint32_t n)
{
	/* A message that answers no request has its code where errors are. */
	const struct fuse_out_header out = {
		.len = WIRE_PRUNE_SIZE + n * (uint32_t)sizeof(uint64_t), .error = NOTIFY_PRUNE
	};
	const struct notify_prune prune = { .count = n };

	memcpy(head, &out, sizeof(out));
	memcpy(head + sizeof(out), &prune, sizeof(prune));
}

uint32_t wire_opcode(const void *request)
{
	struct fuse_in_header head;

	memcpy(&head, request, sizeof(head));
	return head.opcode;
}

bool wire_is_answered(const void *request)
{
	switch (wire_opcode(request)) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return false;
	default:
		return true;
	}
}
