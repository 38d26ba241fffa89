#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Read a container of a single file, written from docs/container.md and nothing else.

    container.py IN PASSFILE OUT        decrypt IN into the new OUT
    container.py --xor KEY IN OUT       the same for --cipher xor
    container.py --chunks IN            where its chunks are: offset, stored size, kind

Slow and plain on purpose: it is the second opinion on what the C code writes.
Exit status: 0, 1 for damage, or 77 without the packages that decode.py needs.
"""

import struct
import sys

from decode import Damage, Keys, aead_open, blake2b, le16, le32, le64, nacl, require

HEADER = 128
BLOCK = 4096
CHUNK = 65536
LENGTH_MAX = 1 << 62
DATA, END = 1, 2


def read_header(raw, passphrase):
    """Suite and key of the file."""
    require(len(raw) == HEADER and raw[:8] == b"cryptfsC", "not a container")
    version, suite = struct.unpack_from("<HH", raw, 8)
    require(version == 1, "version")
    require(blake2b(raw[:112], 16) == raw[112:], "checksum")
    memory, operations = struct.unpack_from("<QQ", raw, 16)
    require(suite in (1, 2) and raw[12:16] == bytes(4), "suite or zeros")
    require(8 << 20 <= memory <= 4 << 30 and memory % 1024 == 0 and 1 <= operations <= 64, "cost")
    keys = Keys(nacl.bindings.crypto_pwhash_alg(
        32, passphrase, raw[32:48], operations, memory,
        nacl.bindings.crypto_pwhash_ALG_ARGON2ID13), suite)
    require(blake2b(b"container" + raw[:80], 32, keys.config) == raw[80:112], "passphrase")
    return suite, keys.file(raw[48:80])


def chunks(raw):
    """Each chunk's (offset, position, size, kind, offset of its tags, offset of its ciphertext)."""
    at = HEADER
    kind = DATA
    while kind == DATA:
        require(at + 16 <= len(raw), "the end is missing")
        position, size, kind = struct.unpack_from("<QII", raw, at)
        tags = at + 16
        data = tags + 16 * -(-size // BLOCK)
        require(data + size <= len(raw), "the end is missing")
        yield at, position, size, kind, tags, data
        at = data + size
    require(at == len(raw), "something follows the end")


def read_blocks(raw, suite, key, first, index, kind, size, tags, data):
    """The plaintext of one chunk."""
    plain = b""
    for j in range(-(-size // BLOCK)):
        nonce = le64(first + j) + le32(0)
        aad = le64(index + j) + le32(kind - 1) + le16(suite) + le16(1)
        ciphertext = raw[data + j * BLOCK:data + min((j + 1) * BLOCK, size)]
        block = aead_open(suite, key, nonce, raw[tags + 16 * j:tags + 16 * (j + 1)], ciphertext, aad)
        require(block is not None, "block %d" % (first + j))
        plain += block
    return plain


def decrypt(raw, passphrase, out):
    suite, key = read_header(raw[:HEADER], passphrase)
    number = end = 0
    for _, position, size, kind, tags, data in chunks(raw):
        require(kind in (DATA, END) and position >= end, "position or kind")
        if kind == END:
            require(size == 8 and (end % BLOCK == 0 or position == end), "end chunk")
            require(position <= LENGTH_MAX, "length")
        else:
            require(position % BLOCK == 0 and end % BLOCK == 0 and 1 <= size <= CHUNK, "chunk")
        plain = read_blocks(raw, suite, key, number, position // BLOCK if kind == DATA else 0,
                            kind, size, tags, data)
        number += -(-size // BLOCK)
        if kind == END:
            require(plain == le64(position), "length")
            out.truncate(position)
        else:
            out.seek(position)
            out.write(plain)
            end = position + size


def xor(raw, key, out):
    key = key[:256]
    out.write(bytes(b ^ key[i % 256 % len(key)] for i, b in enumerate(raw)))


def main(argv):
    if argv[1] == "--chunks":
        with open(argv[2], "rb") as f:
            for at, _, size, kind, _, data in chunks(f.read()):
                print(at, data + size - at, kind)
    elif argv[1] == "--xor":
        with open(argv[3], "rb") as f, open(argv[4], "xb") as out:
            xor(f.read(), argv[2].encode(), out)
    else:
        with open(argv[2], "rb") as f:
            passphrase = f.read().split(b"\n")[0]
        with open(argv[1], "rb") as f, open(argv[3], "xb") as out:
            decrypt(f.read(), passphrase, out)


if __name__ == "__main__":
    try:
        main(sys.argv)
    except Damage as damage:
        sys.exit("damaged: %s" % damage)
