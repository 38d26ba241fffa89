#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write known.txt: example bytes of every structure of docs/format.md, as
"name hexadecimal" lines, sealed here in Python.  tests/fs/test_vectors.c opens
them with the C code, decode.py --self-test with its own.

Usage: make_vectors.py > known.txt
"""

import json
import struct

from decode import (DIRTY, SMALL, SUITES, AESSIV, Keys, aead, base64url, blake2b, canonical,
                    entry_offset, le16, le32, le64, nacl)

MASTER = bytes(range(32))
DIR_ID = bytes(range(0x40, 0x50))
FILE_ID = bytes(range(0x80, 0xA0))
NONCE = bytes(range(1, 13))
KEYS = Keys(MASTER, 1)


def show(name, raw):
    print(name, raw.hex())


def seal(suite, key, nonce, plain, aad):
    """Tag and ciphertext."""
    sealed = aead(suite, key).encrypt(nonce, plain, aad)
    return sealed[-16:], sealed[:-16]


def box(key, plain, aad):
    tag, ciphertext = seal(1, key, NONCE, plain, aad)
    return NONCE + tag + ciphertext


def siv(key, owner_id, text):
    return AESSIV(key).encrypt(text + bytes(-len(text) % 16), [owner_id])


def block_aad(suite, index, sequence):
    return le64(index) + le32(sequence) + le16(suite) + le16(1)


def show_names():
    short = b"hello, world.txt"
    show("name_short", short)
    stored = base64url(siv(KEYS.names, DIR_ID, short))
    show("name_short_stored", stored)
    long = b"a long name " * 21 + b"..."
    sealed = siv(KEYS.names, DIR_ID, long)
    show("name_long", long)
    show("name_long_stored", b"long." + base64url(blake2b(sealed, 32)))
    show("name_long_sidecar", sealed)
    return stored


def show_file(name, suite, binding):
    key = KEYS.file(FILE_ID)
    tag, small = seal(suite, key, NONCE, b"hello", block_aad(suite, 2**64 - 1, 0))
    show("small_" + name, small)
    payload = struct.pack("<QI", 5, DIRTY | SMALL) + binding + bytes(16) + NONCE + tag
    clear = b"cryptfsH" + FILE_ID + le64(7)
    tag, payload = seal(suite, key, NONCE[::-1], payload.ljust(436, b"\0"),
                        clear + le16(suite) + le16(1))
    show("header_" + name, clear + NONCE[::-1] + tag + payload)
    tag, block = seal(suite, key, NONCE, b"block five", block_aad(suite, 5, 9))
    show("half_" + name, NONCE + tag + le32(9))
    show("block_" + name, block)


def show_config():
    slot = {"id": 1, "type": "passphrase", "label": "pass\"phr\u00e4se",
            "kdf": {"name": "argon2id", "memory": 8 << 20, "operations": 1}, "salt": "0f" * 16}
    config = {"version": 1, "min_reader": 1, "id": bytes(range(16)).hex(), "suite": "aes-256-gcm",
              "flags": [], "created": 1700000000}
    kek = nacl.bindings.crypto_pwhash_alg(32, b"correct horse", b"\x0f" * 16, 1, 8 << 20,
                                          nacl.bindings.crypto_pwhash_ALG_ARGON2ID13)
    aad = bytes(range(16)) + le32(1) + canonical(slot)
    nonce = bytes(range(24))
    wrapped = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(MASTER, aad, nonce, kek)
    config["slots"] = [dict(slot, nonce=nonce.hex(), wrapped=wrapped.hex())]
    config["mac"] = blake2b(canonical(config), 32, KEYS.config).hex()
    show("config", json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n")


def backing_size(length):
    """By laying the file out, page by page."""
    if length == 0:
        return 4096
    pages = 1 + (length - 1) // 4096
    tags = 0 if pages <= 48 else -(-(pages - 48) // 64)
    return 4096 * (1 + tags) + length


def show_layout():
    lengths = [0, 1, 4096, 48 * 4096, 48 * 4096 + 1, 112 * 4096, 112 * 4096 + 1, 10**9, 2**62]
    show("length", b" ".join(b"%d:%d" % (backing_size(n), n) for n in lengths))
    show("entry", b" ".join(b"%d:%d" % (i, entry_offset(i)) for i in (0, 47, 48, 111, 112, 10**6)))


def main():
    print("# Written by make_vectors.py; text is in hexadecimal, too.")
    show("master", MASTER)
    for name in ("names", "content", "xattr_names", "xattr_values", "directory", "config", "links"):
        show("key_" + name, getattr(KEYS, name))
    show("dir_id", DIR_ID)
    show("file_id", FILE_ID)
    show("key_file", KEYS.file(FILE_ID))
    stored = show_names()
    binding = KEYS.binding(DIR_ID, stored)
    show("binding", binding)
    record = b"cryptfsD" + DIR_ID + binding + bytes(16)
    show("record", record + blake2b(b"dirrec" + record, 16, KEYS.directory))
    for name, suite in SUITES.items():
        if suite != 3:
            show_file(name, suite, binding)
    link = base64url(box(KEYS.links, b"../target", b"link" + DIR_ID + stored))
    other = base64url(box(KEYS.links, b"../target", b"link" + DIR_ID + b"elsewhere"))
    show("link_text", link)
    show("link_text_two", other + b"." + link)
    for name, owner in (("file_id", FILE_ID), ("dir_id", DIR_ID)):
        sealed = siv(KEYS.xattr_names, owner, b"mime_type")
        show("xattr_name_" + name, b"user.cryptfs." + base64url(sealed))
        show("xattr_value_" + name,
             box(KEYS.xattr_values, b"text/plain", b"xattr" + owner + b"mime_type"))
    show_config()
    show_layout()


main()
