/* SPDX-License-Identifier: MIT */
/*
 * Content of `xor` vaults: as CryptStream stores it, every byte XORed with
 * the 256-byte key at its position; no header, no tags, no holes.
 */
#include "fs/file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

static int run(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	struct engine_batch batch = {
		.op = ENGINE_XOR, .offset = IO_DATA, .size = (uint32_t)size, .position = offset
	};
	int r = io_load_key(io, CIPHER_XOR, f->header.id);

	return r ? r : engine_run(io->engine, io->slot, &batch);
}

int xor_read(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	int r = fdio_pread_full(f->fd, io->data + IO_DATA, size, (off_t)offset);

	if (r)
		return r == -ENODATA ? -EIO : r;
	return run(f, io, offset, size);
}

/* Write the size bytes at IO_DATA. */
static int store(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	int r = run(f, io, offset, size);

	if (!r)
		r = fdio_pwrite_full(f->fd, io->data + IO_DATA, size, (off_t)offset);
	if (!r && offset + size > f->length)
		f->length = offset + size;
	return r;
}

/* Zeros have to be there as ciphertext: a hole would read as the key. */
int xor_zero(struct file *f, struct io *io, uint64_t from, uint64_t to)
{
	int r = 0;

	while (!r && from < to) {
		size_t size = to - from < IO_MAX_SIZE ? (size_t)(to - from) : IO_MAX_SIZE;

		memset(io->data + IO_DATA, 0, size);
		r = store(f, io, from, size);
		from += size;
	}
	return r;
}

static int append_zeros(struct file *f, struct io *io, uint64_t length)
{
	return xor_zero(f, io, f->length, length);
}

int xor_reserve(struct file *f, uint64_t from, uint64_t to)
{
	return fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) ? -errno : 0;
}

int xor_resize(struct file *f, struct io *io, uint64_t length)
{
	uint64_t old = f->length;
	int r;

	if (length <= old) {
		if (ftruncate(f->fd, (off_t)length))
			return -errno;
		f->length = length;
		return 0;
	}
	r = append_zeros(f, io, length);
	if (r && !ftruncate(f->fd, (off_t)old))
		f->length = old;
	return r;
}

int xor_write(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	uint64_t old = f->length;
	int r;

	if (offset > old) {
		/* The payload is where zeros would be made: those come second. */
		r = store(f, io, offset, size);
		if (!r) {
			uint64_t end = f->length;

			f->length = old;
			r = append_zeros(f, io, offset);
			f->length = r ? old : end;
		}
	} else {
		r = store(f, io, offset, size);
	}
	if (r && f->length == old)
		(void)!ftruncate(f->fd, (off_t)old); /* a part may be there */
	return r;
}
