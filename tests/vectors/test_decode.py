#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""decode.py on vaults sealed by seal.py: whole ones, and files as a writer
that died at each step leaves them.  Usage: test_decode.py"""

import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

import decode
import seal
from decode import BLOCK, DIRTY, GROWING, HAS_HOLES, MULTI, SHRINKING, SMALL, Damage, Keys

FILE_ID = bytes(range(32))
HERE = b"\1" * 16  # a binding
CONTENT = bytes(i * i % 251 for i in range(60 * BLOCK))


class Raw:
    """A backing file that is being made."""

    def __init__(self, suite=1):
        self.keys = Keys(bytes(range(32)), suite)
        self.bytes = bytearray()
        self.binding = HERE

    def put(self, offset, raw):
        self.bytes.extend(bytes(max(0, offset + len(raw) - len(self.bytes))))
        self.bytes[offset:offset + len(raw)] = raw

    def header(self, slot, length, flags, **more):
        self.put(512 * slot, seal.header(self.keys, FILE_ID, self.binding, length, flags, **more))

    def small(self, content):
        """Put small content; its half."""
        half, ciphertext = seal.block(self.keys, FILE_ID, 2**64 - 1, 0, content)
        self.put(1024, ciphertext)
        return half

    def half(self, index, sequence, content):
        """Put a half-entry only; the ciphertext that belongs to it."""
        half, ciphertext = seal.block(self.keys, FILE_ID, index, sequence, content)
        self.put(decode.entry_offset(index) + 32 * (sequence % 2), half)
        return half, ciphertext

    def block(self, index, sequence, content):
        self.put(decode.block_offset(index), self.half(index, sequence, content)[1])

    def blocks(self, content):
        self.put(4095, b"\0")
        for index in range(-(-len(content) // BLOCK)):
            self.block(index, 1, content[index * BLOCK:(index + 1) * BLOCK])

    def decode(self):
        with tempfile.TemporaryFile() as f, tempfile.TemporaryFile() as out:
            f.write(self.bytes)
            f.flush()
            file = decode.File(self.keys, f)
            file.check_binding(HERE)
            file.write_to(out)
            out.seek(0)
            return out.read()


def small_file(content, flags=SMALL, length=None):
    raw = Raw()
    raw.put(1023, b"\0")
    half = raw.small(content)
    raw.header(0, len(content) if length is None else length, flags, small=half)
    return raw


def big_file(content, flags=0, length=None, suite=1):
    raw = Raw(suite)
    raw.blocks(content)
    raw.header(0, len(content) if length is None else length, flags)
    return raw


class Files(unittest.TestCase):
    def refuse(self, raw):
        self.assertRaises(Damage, raw.decode)

    def test_small_files_of_all_sizes(self):
        for size in (0, 1, 16, 3071):
            self.assertEqual(small_file(CONTENT[:size]).decode(), CONTENT[:size])

    def test_big_files_of_all_sizes(self):
        for size in (0, 1, BLOCK, BLOCK + 1, 48 * BLOCK, 48 * BLOCK + 1, 60 * BLOCK):
            self.assertEqual(big_file(CONTENT[:size]).decode(), CONTENT[:size])
        self.assertEqual(big_file(CONTENT[:5000], suite=2).decode(), CONTENT[:5000])

    def test_a_length_that_is_wrong_is_damage_unless_dirty(self):
        self.refuse(big_file(CONTENT[:5000], length=5001))
        self.assertEqual(big_file(CONTENT[:5000], DIRTY, 5001).decode(), CONTENT[:5000])
        self.refuse(small_file(b"hello", length=6))
        self.refuse(small_file(b"hello", flags=0))
        self.refuse(big_file(CONTENT[:3000], SMALL))

    def test_a_size_that_no_length_has_is_damage_unless_dirty(self):
        raw = big_file(CONTENT[:48 * BLOCK], DIRTY)
        raw.put(len(raw.bytes), b"part of a tag page")
        self.assertEqual(raw.decode(), CONTENT[:48 * BLOCK])
        raw.header(1, 48 * BLOCK, 0, sequence=8)
        self.refuse(raw)

    def test_a_changed_byte_is_damage(self):
        for offset in (0, 45, 300):
            raw = big_file(CONTENT[:5000])
            raw.bytes[offset] ^= 1
            self.refuse(raw)
        raw.header(1, 5000, 0, sequence=6)
        self.assertEqual(raw.decode(), CONTENT[:5000])
        raw.bytes[BLOCK + 4999] ^= 1
        self.refuse(raw)

    def test_a_binding_counts_unless_multi(self):
        raw = Raw()
        raw.binding = bytes(16)
        raw.blocks(b"x")
        raw.header(0, 1, 0)
        self.refuse(raw)
        raw.header(0, 1, MULTI)
        self.assertEqual(raw.decode(), b"x")

    def test_holes_count_only_where_they_are_sealed(self):
        raw = big_file(CONTENT[:3 * BLOCK], HAS_HOLES)
        raw.put(decode.entry_offset(1), bytes(64))
        expected = CONTENT[:BLOCK] + bytes(BLOCK) + CONTENT[2 * BLOCK:3 * BLOCK]
        self.assertEqual(raw.decode(), expected)
        raw.header(0, 3 * BLOCK, 0)
        self.refuse(raw)

    def test_a_hole_whose_first_write_was_cut_off_is_a_hole(self):
        raw = big_file(CONTENT[:2 * BLOCK], DIRTY | HAS_HOLES)
        raw.put(BLOCK + BLOCK, bytes(BLOCK))
        self.assertEqual(raw.decode(), CONTENT[:BLOCK] + bytes(BLOCK))
        raw.header(0, 2 * BLOCK, HAS_HOLES)
        self.refuse(raw)
        raw.header(0, 2 * BLOCK, DIRTY)
        self.refuse(raw)

    def test_either_half_opens_a_block(self):
        raw = big_file(CONTENT[:5000], DIRTY)
        _, ciphertext = raw.half(0, 2, b"new" + CONTENT[3:BLOCK])
        self.assertEqual(raw.decode(), CONTENT[:5000])
        raw.put(BLOCK, ciphertext)
        self.assertEqual(raw.decode(), b"new" + CONTENT[3:5000])

    def test_small_content_is_old_or_new(self):
        raw = small_file(b"old content", SMALL | DIRTY)
        half, ciphertext = seal.block(raw.keys, FILE_ID, 2**64 - 1, 0, b"new")
        raw.header(1, 3, SMALL | DIRTY, sequence=8, small=half)
        self.assertEqual(raw.decode(), b"old content")
        raw.put(1024, ciphertext)
        self.assertEqual(raw.decode(), b"new")
        raw.header(1, 3, SMALL, sequence=8, small=half)
        self.refuse(raw)
        raw = small_file(b"", DIRTY | SMALL)
        half, ciphertext = seal.block(raw.keys, FILE_ID, 2**64 - 1, 0, b"first")
        raw.header(1, 5, SMALL | DIRTY, sequence=8, small=half)
        self.assertEqual(raw.decode(), b"")
        raw.put(1024, bytes(5))
        self.assertEqual(raw.decode(), b"")
        raw.put(1024, ciphertext)
        self.assertEqual(raw.decode(), b"first")
        raw.bytes[1026] ^= 1
        self.refuse(raw)
        raw.bytes[1026] ^= 1
        raw.bytes[600] ^= 1
        self.refuse(raw)
        raw.put(512, bytes(512))
        self.assertEqual(raw.decode(), b"")

    def test_small_content_stays_however_long_the_file_is_made(self):
        for size in (BLOCK, BLOCK + 1, 60 * BLOCK):
            raw = small_file(b"content", SMALL | DIRTY)
            raw.put(size - 1, b"x")
            self.assertEqual(raw.decode(), b"content")
            raw.bytes[1024] ^= 1
            self.refuse(raw)
        raw = big_file(CONTENT[:5000], DIRTY | SMALL, 7)
        self.assertEqual(raw.decode(), CONTENT[:5000])

    def test_from_empty_to_blocks_and_back(self):
        raw = small_file(b"", DIRTY)
        self.assertEqual(raw.decode(), b"")
        raw = big_file(CONTENT[:5000], DIRTY)
        raw.header(1, 0, DIRTY | SMALL, sequence=8)
        self.assertEqual(raw.decode(), CONTENT[:5000])
        del raw.bytes[1024:]
        self.assertEqual(raw.decode(), b"")

    def test_growing_at_every_step(self):
        raw = small_file(b"small", SMALL | DIRTY)
        small = raw.bytes[1024:]
        moving, ciphertext = seal.block(raw.keys, FILE_ID, 0, 1, b"small")
        half = seal.block(raw.keys, FILE_ID, 2**64 - 1, 0, b"small")[0]
        raw.header(1, 5, SMALL | DIRTY | GROWING, sequence=8, small=half, moving=moving)
        self.assertEqual(raw.decode(), b"small")
        raw.put(BLOCK, ciphertext[:2])
        self.assertEqual(raw.decode(), b"small")
        raw.put(BLOCK, ciphertext)
        self.assertEqual(raw.decode(), b"small")
        raw.put(1024, moving + bytes(3072 - 32))
        self.assertEqual(raw.decode(), b"small")
        raw.header(0, 5, DIRTY, sequence=9)
        self.assertEqual(raw.decode(), b"small")
        self.assertNotEqual(raw.bytes[1024:1029], small)

    def test_shrinking_at_every_step(self):
        for size in (2 * BLOCK, 5000):
            raw = big_file(CONTENT[:size])
            moving, ciphertext = seal.block(raw.keys, FILE_ID, 1, 2, CONTENT[BLOCK:4500])
            raw.header(1, size, DIRTY | SHRINKING, sequence=8, cut=4500, moving=moving)
            self.assertEqual(raw.decode(), CONTENT[:size])
            raw.half(1, 2, CONTENT[BLOCK:4500])
            self.assertEqual(raw.decode(), CONTENT[:size])
            raw.put(decode.block_offset(1), ciphertext)
            self.assertEqual(raw.decode(), CONTENT[:4500])
            del raw.bytes[BLOCK + 4500:]
            self.assertEqual(raw.decode(), CONTENT[:4500])
            raw.header(0, 4500, 0, sequence=9)
            self.assertEqual(raw.decode(), CONTENT[:4500])


class Vault:
    """A vault with one of everything."""

    def __init__(self, path):
        self.path = path
        self.keys = Keys(bytes(range(32)), 1)
        self.root = path / "tree"
        self.root_id = b"R" * 16
        config = seal.config(self.keys, "aes-256-gcm", b"secret")
        (path / "cryptfs.conf").write_text(json.dumps(config))
        self.directory(self.root, decode.ROOT, b"", self.root_id)

    def directory(self, path, parent_id, stored, dir_id):
        path.mkdir()
        record = seal.record(self.keys, dir_id, self.keys.binding(parent_id, stored))
        (path / ".cryptfs-dir").write_bytes(record)

    def name(self, plain):
        """Where an entry of the root belongs, and its stored name."""
        stored, sidecar = seal.name(self.keys, self.root_id, plain)
        path = self.root / os.fsdecode(stored)
        if sidecar:
            pathlib.Path(str(path) + ".name").write_bytes(sidecar)
        return path, stored

    def file(self, plain, content):
        path, stored = self.name(plain)
        raw = Raw()
        raw.binding = self.keys.binding(self.root_id, stored)
        raw.blocks(content)
        raw.header(0, len(content), 0)
        path.write_bytes(raw.bytes)
        return path

    def link(self, plain, target):
        path, stored = self.name(plain)
        text = seal.link(self.keys, self.root_id, stored, target)
        if len(text) > 4095:
            sidecar = b"link." + decode.base64url(decode.blake2b(stored, 32))
            (self.root / os.fsdecode(sidecar)).write_bytes(text)
            text = b"@"
        path.symlink_to(os.fsdecode(text))

    def folder(self, plain):
        path, stored = self.name(plain)
        self.directory(path, self.root_id, stored, b"F" * 16)
        return path


class Vaults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        path = pathlib.Path(self.folder.name)
        (path / "passfile").write_text("secret\nignored\n")
        (path / "vault").mkdir()
        self.path = path
        self.vault = Vault(path / "vault")

    def decode(self):
        """The exit status, with complaints kept off the screen."""
        stderr, sys.stderr = sys.stderr, io.StringIO()
        try:
            return decode.decode_vault(self.path / "vault", self.path / "passfile",
                                       str(self.path / "out"))
        finally:
            sys.stderr = stderr

    def test_a_whole_vault(self):
        self.vault.file(b"hello", b"world")
        self.vault.file(b"n" * 255, CONTENT)
        self.vault.link(b"short", b"../target")
        self.vault.link(b"long", b"t" * 4095)
        self.vault.folder(b"folder")
        self.assertEqual(self.decode(), 0)
        out = self.path / "out"
        self.assertEqual(sorted(os.listdir(out)), ["folder", "hello", "long", "n" * 255, "short"])
        self.assertEqual((out / "hello").read_bytes(), b"world")
        self.assertEqual((out / ("n" * 255)).read_bytes(), CONTENT)
        self.assertEqual(os.readlink(out / "short"), "../target")
        self.assertEqual(os.readlink(out / "long"), "t" * 4095)
        self.assertEqual(os.listdir(out / "folder"), [])

    def test_what_was_moved_is_left_out(self):
        self.vault.file(b"one", b"1").rename(self.vault.name(b"two")[0])
        self.vault.folder(b"three").rename(self.vault.name(b"four")[0])
        (self.vault.root / "stranger").write_bytes(b"")
        self.vault.file(b"good", b"")
        self.assertEqual(self.decode(), 1)
        self.assertEqual((self.path / "out" / "good").read_bytes(), b"")
        self.assertEqual(os.listdir(self.path / "out"), ["good"])

    def test_what_the_journal_has_newer_is_left_out(self):
        self.vault.file(b"one", CONTENT[:5000])
        keys, path = self.vault.keys, self.path / "vault" / "cryptfs.journal"
        half, block = seal.block(keys, FILE_ID, 1, 2, b"newer")
        part = (seal.part(keys, 5) + seal.record_of(keys, FILE_ID, 1, 4101, block, half, 5)
                ).ljust(65536, b"\0")
        void = bytes(65536)
        for journal, sequence, files in ((part + void, 7, []), (void + part, 7, []),
                                         (part + void, 6, ["one"]), (void + void, 7, ["one"])):
            if sequence == 6:
                part = part[:512] + seal.record_of(keys, FILE_ID, 1, 4101, block, half, 5, 6)
                journal = part.ljust(65536, b"\0") + void
            path.write_bytes(journal)
            self.assertEqual(self.decode(), 1 - len(files))
            self.assertEqual(os.listdir(self.path / "out"), files)
            for file in files:
                (self.path / "out" / file).unlink()
            (self.path / "out").rmdir()

    def test_a_journal_is_read_as_far_as_it_is_whole(self):
        keys = self.vault.keys
        record = [seal.record_of(keys, FILE_ID, index, index * BLOCK + 9, b"ciphertxt", epoch=epoch)
                  .ljust(512, b"\0") for index, epoch in ((1, 5), (2, 5), (3, 6), (4, 5))]
        first = (seal.part(keys, 5) + record[0] + record[1] + record[3]).ljust(4096, b"\0")
        second = (seal.part(keys, 6) + record[2] + record[0]).ljust(4096, b"\0")

        def blocks(raw):
            return [r.block for r in decode.journal_records(keys, raw)]
        self.assertEqual(blocks(first + second), [1, 2, 4, 3])
        self.assertEqual(blocks(second + first), [1, 2, 4, 3])
        for at in range(1024, 1024 + 169):
            raw = bytearray(first)
            raw[at] ^= 1
            self.assertEqual(blocks(bytes(raw) + second), [1, 3])
        self.assertEqual(blocks(first[:100]), [])

    def test_a_second_name_that_nobody_allowed_is_left_out(self):
        one = self.vault.file(b"one", b"1")
        os.link(one, self.vault.name(b"two")[0])
        self.assertEqual(self.decode(), 1)
        self.assertEqual(os.listdir(self.path / "out"), ["one"])

    def test_a_wrong_passphrase_and_a_changed_configuration(self):
        config = self.path / "vault" / "cryptfs.conf"
        good = config.read_text()
        config.write_text(good.replace("aes-256-gcm", "chacha20-poly1305"))
        self.assertRaises(SystemExit, self.decode)
        (self.path / "vault" / "cryptfs.conf.bak").write_text(good)
        self.assertEqual(self.decode(), 0)
        (self.path / "passfile").write_text("wrong")
        self.assertRaises(SystemExit, self.decode)


if __name__ == "__main__":
    unittest.main()
