#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write the seeds in corpus/: a few small inputs that reach every mode of
every harness.  The first byte chooses the mode (see fuzz.h); the harnesses do
the sealing, so no seed needs a key.  Usage: make_corpus.py"""

import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent / "corpus"
HASH = b"A" * 43


def header(length, flags, rest=bytes(436 - 12)):
    clear = b"cryptfsH" + bytes(range(32)) + struct.pack("<Q", 7) + bytes(12 + 16)
    return clear + struct.pack("<QI", length, flags) + rest


def half(sequence):
    return bytes(range(1, 29)) + struct.pack("<I", sequence)


def chunk(position, size, kind=1):
    return struct.pack("<QII", position, size, kind)


def record(block, length, size, slot=0, zeros=b"", epoch=1):
    return struct.pack("<8sQ32sQQQQII32sQI12s16s", b"cryptfsR", epoch, b"id", 7, 7, block, length,
                       slot, size, half(3), 10**9, 5, zeros, b"") + bytes(size)


SEEDS = {
    "container": {
        "header": b"\0cryptfsC" + struct.pack("<HHIQQ", 1, 1, 0, 64 << 20, 3) + bytes(48 + 48),
        "header-suite": b"\0cryptfsC" + struct.pack("<HHIQQ", 1, 2, 0, 8 << 20, 64) + bytes(96),
        "header-too-new": b"\0cryptfsC" + struct.pack("<HH", 2, 1),
        "walk": b"\1" + chunk(0, 65536) + chunk(1 << 20, 100) + chunk((1 << 20) + 100, 8, 2),
        "content": b"\2" + chunk(0, 8) + bytes(24),
        "content-end": b"\2" + chunk(0, 8, 2) + bytes(24),
        "sealed-empty": b"\3" + chunk(0, 8, 2),
        "sealed-hole": b"\3" + chunk(5 << 20, 8, 2),
        "sealed": b"\3" + chunk(0, 65536) + chunk(65536, 4096) + chunk(90112, 5) + chunk(90117, 8, 2),
        "sealed-cut": b"\3" + chunk(0, 4096) + chunk(8192, 4096),
    },
    "dirrec": {
        "as-it-is": b"\0cryptfsD" + bytes(64),
        "sealed": b"\1cryptfsD" + bytes(range(48)) + bytes(16),
        "sealed-bad-magic": b"\1cryptfsX" + bytes(64),
        "too-long": b"\0cryptfsD" + bytes(65),
    },
    "entry": {
        "hole": bytes(64) + struct.pack("<Q", 4096),
        "one-half": half(1) + bytes(32) + struct.pack("<Q", 1024),
        "two-halves": half(1) + half(2) + struct.pack("<Q", 50 * 4096 + 1),
        "wrapped": half(0xFFFFFFFF) + half(1) + struct.pack("<Q", 1 << 62),
    },
    "header": {
        "as-it-is": b"\0" + header(100, 1 | 4),
        "small": b"\1" + header(3071, 4),
        "small-too-long": b"\1" + header(3072, 4),
        "big": b"\1" + header(1 << 62, 2),
        "too-big": b"\1" + header((1 << 62) + 1, 0),
        "unknown-flag": b"\1" + header(0, 1 << 6),
        "all-fields": b"\1" + header(5, 63, bytes([1] * 100) + bytes(324)),
        "padding": b"\1" + header(5, 0, bytes(423) + b"\1"),
    },
    "journal": {
        "as-it-is": b"\0" + record(5, 5 * 4096 + 9, 9),
        "block": b"\1" + record(5, 5 * 4096 + 9, 9),
        "block-too-short": b"\1" + record(5, 5 * 4096 + 8, 9),
        "block-too-far": b"\1" + record(1 << 50, 1 << 62, 9),
        "block-whole": b"\1" + record(0, 4096, 4096),
        "small": b"\1" + record(2**64 - 1, 9, 512 + 9, 1),
        "small-slot": b"\1" + record(2**64 - 1, 9, 512 + 9, 2),
        "small-empty": b"\1" + record(2**64 - 1, 0, 512),
        "padding": b"\1" + record(5, 5 * 4096 + 9, 9, 0, b"\1"),
        "whole": b"\2" + (b"\1" + bytes(511) + record(5, 5 * 4096 + 9, 9, 0, b"", 1).ljust(512, b"\0")
                          + record(2**64 - 1, 9, 512 + 9, 1, b"", 1)).ljust(4096, b"\0")
        + b"\2" + bytes(511) + record(6, 7 * 4096, 9, 0, b"", 2),
        "whole-wrong-epoch": b"\2" + b"\1" + bytes(511) + record(5, 5 * 4096 + 9, 9, 0, b"", 2),
    },
    "links": {
        "as-it-is": b"\0" + b"A" * 50,
        "two": b"\0" + b"A" * 50 + b"." + b"B" * 50,
        "sidecar": b"\0@",
        "sealed": b"\2../target",
        "sealed-second": b"\1../target",
        "sealed-zero": b"\2a\0b",
        "sealed-long": b"\2" + b"x" * 4095,
    },
    "names": {
        "as-it-is": b"\0" + HASH,
        "long": b"\0long." + HASH,
        "sidecar-name": b"\0long." + HASH + b".name",
        "link-sidecar": b"\0link." + HASH,
        "record": b"\0.cryptfs-dir",
        "temporary": b"\0.cryptfs-tmp.1",
        "sealed": b"\1name",
        "sealed-dot": b"\1.",
        "sealed-slash": b"\1a/b",
        "sealed-zero": b"\1a\0b",
        "sealed-padded": b"\1a" + bytes(20),
        "sealed-160": b"\1" + b"n" * 160,
        "sealed-161": b"\1" + b"n" * 161,
        "sealed-255": b"\1" + b"n" * 255,
        "sidecar": b"\2" + bytes(272),
    },
    "xattrs": {
        "as-it-is": b"\0user.cryptfs." + HASH,
        "record": b"\0user.cryptfs.dir",
        "foreign": b"\0user.mime_type",
        "sealed": b"\1mime_type",
        "sealed-160": b"\1" + b"n" * 160,
        "sealed-161": b"\1" + b"n" * 161,
        "sealed-zero": b"\1a\0b",
        "value": b"\2text/plain",
        "value-empty": b"\2",
    },
}

for name, seeds in SEEDS.items():
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed, content in seeds.items():
        (folder / seed).write_bytes(content)
