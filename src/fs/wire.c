/* SPDX-License-Identifier: MIT */
/* Bytes of the FUSE protocol: see wire.h. */
#include "fs/wire.h"

#include <linux/fuse.h>
#include <string.h>

enum { TMPFILE = 51 }; /* later than some headers */

static const char *const names[WIRE_OPCODES] = {
	[FUSE_LOOKUP] = "LOOKUP",
	[FUSE_FORGET] = "FORGET",
	[FUSE_GETATTR] = "GETATTR",
	[FUSE_SETATTR] = "SETATTR",
	[FUSE_READLINK] = "READLINK",
	[FUSE_SYMLINK] = "SYMLINK",
	[FUSE_MKNOD] = "MKNOD",
	[FUSE_MKDIR] = "MKDIR",
	[FUSE_UNLINK] = "UNLINK",
	[FUSE_RMDIR] = "RMDIR",
	[FUSE_RENAME] = "RENAME",
	[FUSE_LINK] = "LINK",
	[FUSE_OPEN] = "OPEN",
	[FUSE_READ] = "READ",
	[FUSE_WRITE] = "WRITE",
	[FUSE_STATFS] = "STATFS",
	[FUSE_RELEASE] = "RELEASE",
	[FUSE_FSYNC] = "FSYNC",
	[FUSE_SETXATTR] = "SETXATTR",
	[FUSE_GETXATTR] = "GETXATTR",
	[FUSE_LISTXATTR] = "LISTXATTR",
	[FUSE_REMOVEXATTR] = "REMOVEXATTR",
	[FUSE_FLUSH] = "FLUSH",
	[FUSE_INIT] = "INIT",
	[FUSE_OPENDIR] = "OPENDIR",
	[FUSE_READDIR] = "READDIR",
	[FUSE_RELEASEDIR] = "RELEASEDIR",
	[FUSE_FSYNCDIR] = "FSYNCDIR",
	[FUSE_GETLK] = "GETLK",
	[FUSE_SETLK] = "SETLK",
	[FUSE_SETLKW] = "SETLKW",
	[FUSE_ACCESS] = "ACCESS",
	[FUSE_CREATE] = "CREATE",
	[FUSE_INTERRUPT] = "INTERRUPT",
	[FUSE_BMAP] = "BMAP",
	[FUSE_DESTROY] = "DESTROY",
	[FUSE_IOCTL] = "IOCTL",
	[FUSE_POLL] = "POLL",
	[FUSE_NOTIFY_REPLY] = "NOTIFY_REPLY",
	[FUSE_BATCH_FORGET] = "BATCH_FORGET",
	[FUSE_FALLOCATE] = "FALLOCATE",
	[FUSE_READDIRPLUS] = "READDIRPLUS",
	[FUSE_RENAME2] = "RENAME2",
	[FUSE_LSEEK] = "LSEEK",
	[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
	[50] = "SYNCFS", /* later than some headers */
	[TMPFILE] = "TMPFILE",
	[52] = "STATX",
};

uint32_t wire_opcode(const void *request, size_t size)
{
	struct fuse_in_header head;

	if (size < sizeof(head))
		return 0;
	memcpy(&head, request, sizeof(head));
	return head.opcode < WIRE_OPCODES ? head.opcode : 0;
}

const char *wire_opcode_name(uint32_t opcode)
{
	return opcode < WIRE_OPCODES ? names[opcode] : NULL;
}

bool wire_is_no_use(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_STATFS:
	case FUSE_INIT:
		return true;
	default:
		return false;
	}
}

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
	init.flags |= offered &
		      (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
	memcpy(reply, &init, sizeof(init));
}

/* Take the later fields out of a SETXATTR. */
static size_t shorten_setxattr(uint8_t *request, size_t size)
{
	const size_t extra = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	uint8_t *body = request + sizeof(struct fuse_in_header);
	struct fuse_setxattr_in in;

	if (size < sizeof(struct fuse_in_header) + sizeof(in))
		return size;
	memcpy(&in, body, sizeof(in));
	in.flags &= ~(uint32_t)WIRE_KILL_SET_GID;
	if (in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)
		in.flags |= WIRE_KILL_SET_GID;
	memcpy(body, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	memmove(body + FUSE_COMPAT_SETXATTR_IN_SIZE, body + sizeof(in),
		size - sizeof(struct fuse_in_header) - sizeof(in));
	return size - extra;
}

size_t wire_translate(void *request, size_t size, uint32_t offered)
{
	uint32_t opcode = wire_opcode(request, size);
	struct fuse_in_header head;

	if (opcode != TMPFILE && !(opcode == FUSE_SETXATTR && offered & FUSE_SETXATTR_EXT))
		return size;
	memcpy(&head, request, sizeof(head));
	if (opcode == TMPFILE)
		head.opcode = FUSE_CREATE;
	else
		size = shorten_setxattr(request, size);
	head.len = (uint32_t)size;
	memcpy(request, &head, sizeof(head));
	return size;
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

bool wire_fills_pages(uint32_t opcode)
{
	return opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS ||
	       opcode == FUSE_READLINK;
}

bool wire_needs_no_key(const void *request, size_t size)
{
	struct fuse_in_header head = { 0 };

	if (size < sizeof(head))
		return true; /* and is nonsense */
	memcpy(&head, request, sizeof(head));
	switch (head.opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_STATFS:
	case FUSE_FLUSH: /* this and the next two are not served ever */
	case FUSE_POLL:
	case FUSE_IOCTL:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return true;
	case FUSE_GETATTR:
		return head.nodeid == FUSE_ROOT_ID;
	default:
		return false;
	}
}

uint64_t wire_unique(const void *request)
{
	struct fuse_in_header head;

	memcpy(&head, request, sizeof(head));
	return head.unique;
}

bool wire_is_interrupt(const void *request, size_t size, uint64_t *unique)
{
	struct fuse_interrupt_in in;

	if (wire_opcode(request, size) != FUSE_INTERRUPT ||
	    size < sizeof(struct fuse_in_header) + sizeof(in))
		return false;
	memcpy(&in, (const uint8_t *)request + sizeof(struct fuse_in_header), sizeof(in));
	*unique = in.unique;
	return true;
}

void wire_error(uint8_t reply[WIRE_ERROR_SIZE], uint64_t unique, int error)
{
	const struct fuse_out_header out = { .len = sizeof(out), .error = error, .unique = unique };

	_Static_assert(sizeof(out) == WIRE_ERROR_SIZE, "it is no more");
	memcpy(reply, &out, sizeof(out));
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
