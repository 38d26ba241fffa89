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

/* Encrypt or decrypt size bytes at slot offset `at`. */
static int run(struct file *f, struct io *io, uint32_t at, uint64_t offset, size_t size)
{
	struct engine_batch batch = {
		.op = ENGINE_XOR, .offset = at, .size = (uint32_t)size, .position = offset
	};
	int r = io_load_key(io, CIPHER_XOR, f->header.id);

	return r ? r : engine_run(io->engine, io->slot, &batch);
}

int xor_read(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	int r = fdio_pread_full(f->fd, io->data + IO_DATA, size, (off_t)offset);

	if (r)
		return r == -ENODATA ? -EIO : r;
	return run(f, io, IO_DATA, offset, size);
}

/* Write the size bytes at IO_DATA. */
static int store(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	int r = run(f, io, IO_DATA, offset, size);

	if (!r)
		r = fdio_pwrite_full(f->fd, io->data + IO_DATA, size, (off_t)offset);
	if (!r && offset + size > f->length)
		f->length = offset + size;
	return r;
}

enum { ZERO_PAGES = 256 };

/*
 * Zeros have to be there as ciphertext: a hole would read as the key.  They
 * are the same on every page, and are made beside the payload of a write.
 */
int xor_zero(struct file *f, struct io *io, uint64_t from, uint64_t to)
{
	uint8_t *page = io->data + IO_EDGE;
	int r;

	memset(page, 0, FORMAT_BLOCK_SIZE);
	r = run(f, io, IO_EDGE, 0, FORMAT_BLOCK_SIZE);
	while (!r && from < to) {
		struct iovec iov[ZERO_PAGES];
		uint64_t end = from;
		size_t n = 0;

		while (n < ZERO_PAGES && end < to) {
			size_t skip = (size_t)(end % FORMAT_BLOCK_SIZE);
			size_t size = FORMAT_BLOCK_SIZE - skip;

			if (size > to - end)
				size = (size_t)(to - end);
			iov[n++] = (struct iovec){ page + skip, size };
			end += size;
		}
		r = fdio_pwritev_full(f->fd, iov, n, (off_t)from);
		if (!r && end > f->length)
			f->length = end;
		from = end;
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
	/* Rather now than when the disk is full of zeros. */
	r = xor_reserve(f, old, length);
	if (!r || r == -EOPNOTSUPP)
		r = append_zeros(f, io, length);
	if (r && !ftruncate(f->fd, (off_t)old))
		f->length = old;
	return r;
}

int xor_write(struct file *f, struct io *io, uint64_t offset, size_t size)
{
	uint64_t old = f->length;
	int r = offset > old ? append_zeros(f, io, offset) : 0;

	if (!r)
		r = store(f, io, offset, size);
	/* A part may be there. */
	if (r && offset + size > old && !ftruncate(f->fd, (off_t)old))
		f->length = old;
	return r;
}
