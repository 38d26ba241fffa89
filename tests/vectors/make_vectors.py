#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write known.txt: example bytes of every structure of docs/format.md, as
"name hexadecimal" lines, sealed here in Python.  tests/fs/test_vectors.c opens
them with the C code, decode.py --self-test with its own.

Usage: make_vectors.py > known.txt
"""

import json

import seal
from decode import DIRTY, SMALL, SUITES, Keys, backing_size, entry_offset

MASTER = bytes(range(32))
DIR_ID = bytes(range(0x40, 0x50))
FILE_ID = bytes(range(0x80, 0xA0))
KEYS = Keys(MASTER, 1)
SUBKEYS = ("names", "content", "xattr_names", "xattr_values", "directory", "config", "links")


def show(name, raw):
    print(name, raw.hex())


def show_keys():
    show("master", MASTER)
    for name in SUBKEYS:
        show("key_" + name, getattr(KEYS, name))
    show("dir_id", DIR_ID)
    show("file_id", FILE_ID)
    show("key_file", KEYS.file(FILE_ID))


def show_names():
    for name, plain in ("short", b"hello, world.txt"), ("long", b"a long name " * 21 + b"..."):
        stored, sidecar = seal.name(KEYS, DIR_ID, plain)
        show("name_" + name, plain)
        show("name_%s_stored" % name, stored)
    show("name_long_sidecar", sidecar)


def show_file(name, suite, binding):
    keys = Keys(MASTER, suite)
    half, small = seal.block(keys, FILE_ID, 2**64 - 1, 0, b"hello")
    show("small_" + name, small)
    show("header_" + name, seal.header(keys, FILE_ID, binding, 5, DIRTY | SMALL, small=half))
    half, block = seal.block(keys, FILE_ID, 5, 9, b"block five")
    show("half_" + name, half)
    show("block_" + name, block)


def show_journal(name, suite, binding):
    keys = Keys(MASTER, suite)
    half, block = seal.block(keys, FILE_ID, 5, 9, b"block five")
    show("journal_block_" + name,
         seal.record_of(keys, FILE_ID, 5, 5 * 4096 + 10, block, half))
    half, small = seal.block(keys, FILE_ID, 2**64 - 1, 0, b"hello")
    header = seal.header(keys, FILE_ID, binding, 5, DIRTY | SMALL, small=half)
    show("journal_small_" + name,
         seal.record_of(keys, FILE_ID, 2**64 - 1, 5, header + small, slot=1))


def show_links_and_xattrs(stored):
    link = seal.link(KEYS, DIR_ID, stored, b"../target")
    show("link_text", link)
    show("link_text_two", seal.link(KEYS, DIR_ID, b"elsewhere", b"../target") + b"." + link)
    for name, owner in ("file_id", FILE_ID), ("dir_id", DIR_ID):
        stored, value = seal.xattr(KEYS, owner, b"mime_type", b"text/plain")
        show("xattr_name_" + name, stored)
        show("xattr_value_" + name, value)


def show_layout():
    lengths = [0, 1, 4096, 48 * 4096, 48 * 4096 + 1, 112 * 4096, 112 * 4096 + 1, 10**9, 2**62]
    show("length", b" ".join(b"%d:%d" % (backing_size(n), n) for n in lengths))
    show("entry", b" ".join(b"%d:%d" % (i, entry_offset(i)) for i in (0, 47, 48, 111, 112, 10**6)))


def main():
    print("# Written by make_vectors.py; text is in hexadecimal, too.")
    show_keys()
    show_names()
    stored, _ = seal.name(KEYS, DIR_ID, b"hello, world.txt")
    binding = KEYS.binding(DIR_ID, stored)
    show("binding", binding)
    show("record", seal.record(KEYS, DIR_ID, binding))
    for name, suite in SUITES.items():
        if suite != 3:
            show_file(name, suite, binding)
            show_journal(name, suite, binding)
    show("journal_part", seal.part(KEYS, 0x1122334455667788))
    show("place", seal.place(KEYS, FILE_ID, 7, binding, bytes(range(16))))
    show_links_and_xattrs(stored)
    config = seal.config(KEYS, "aes-256-gcm", b"correct horse")
    show("config", json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n")
    show_layout()


main()
