#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Decrypt a whole vault, written from docs/format.md and nothing else.

    decode.py VAULT PASSFILE OUTDIR   decrypt VAULT/tree into the new OUTDIR
    decode.py --self-test             open the examples in known.txt

Slow and plain on purpose: it is the second opinion on what the C code writes.
Of the journal it reads all records and says which files they still count for; it puts none
in place: which of two versions of a block is newer is only in question after a power
failure, and a cleanly unmounted vault has no records.
Needs Debian's python3-cryptography and python3-nacl.  Exit status: 0, or 1
after a line on standard error for each thing that is damaged, or 77 without
those packages.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import stat
import struct
import sys

try:
    import nacl.bindings
    import nacl.exceptions
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV, ChaCha20Poly1305
except ImportError as missing:
    sys.stderr.write("skipped: %s\n" % missing)
    sys.exit(77)

BLOCK = 4096
VERSION = 1
SUITES = {"aes-256-gcm": 1, "chacha20-poly1305": 2, "xor": 3}
DIRTY, HAS_HOLES, SMALL, MULTI, GROWING, SHRINKING = (1 << bit for bit in range(6))
ROOT = bytes(16)


class Damage(Exception):
    """Something that a reader must refuse."""


def require(condition, why):
    if not condition:
        raise Damage(why)


def le16(n):
    return struct.pack("<H", n)


def le32(n):
    return struct.pack("<I", n)


def le64(n):
    return struct.pack("<Q", n)


# ---- keys and primitives -----------------------------------------------------


def blake2b(message, size, key=b""):
    return hashlib.blake2b(message, digest_size=size, key=key).digest()


class Keys:
    """The subkeys of a master key, and the cipher suite they are used with."""

    def __init__(self, master, suite):
        def subkey(number, size):
            return hashlib.blake2b(
                b"", digest_size=size, key=master, salt=le64(number) + bytes(8),
                person=b"cryptfs1" + bytes(8)).digest()

        self.master = master
        self.suite = suite
        self.box_suite = 1 if suite == 3 else suite
        self.names = subkey(1, 64)
        self.content = subkey(2, 32)
        self.xattr_names = subkey(3, 64)
        self.xattr_values = subkey(4, 32)
        self.directory = subkey(5, 32)
        self.config = subkey(6, 32)
        self.links = subkey(7, 32)

    def file(self, file_id):
        return blake2b(file_id, 32, self.content)

    def binding(self, parent_id, stored):
        return blake2b(b"bind" + parent_id + stored, 16, self.directory)


def aead(suite, key):
    return AESGCM(key) if suite == 1 else ChaCha20Poly1305(key)


def aead_open(suite, key, nonce, tag, ciphertext, aad):
    """The plaintext, or None."""
    try:
        return aead(suite, key).decrypt(nonce, ciphertext + tag, aad)
    except InvalidTag:
        return None


def box_open(keys, key, raw, aad):
    """nonce ‖ tag ‖ ciphertext."""
    if len(raw) < 28:
        return None
    return aead_open(keys.box_suite, key, raw[:12], raw[12:28], raw[28:], aad)


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def base64url_decode(text):
    """The bytes, or None for anything but the canonical text."""
    if not re.fullmatch(rb"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    return raw if base64url(raw) == text else None


def siv_open(key, owner_id, sealed):
    """The padded text without its padding."""
    require(32 <= len(sealed) <= 272 and len(sealed) % 16 == 0, "sealed size")
    try:
        padded = AESSIV(key).decrypt(sealed, [owner_id])
    except InvalidTag:
        raise Damage("does not authenticate") from None
    text = padded.rstrip(b"\0")
    require(1 <= len(text) <= 255 and b"\0" not in text and len(padded) - len(text) < 16,
            "padding")
    return text


# ---- configuration -----------------------------------------------------------


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def no_twins(pairs):
    require(len({name for name, _ in pairs}) == len(pairs), "a member twice")
    return dict(pairs)


CONFIG_MEMBERS = {"version", "min_reader", "id", "suite", "flags", "created", "slots", "mac"}
SLOT_TYPES = {"passphrase", "keyfile", "recovery", "fido2", "tpm2"}
DEVICE_MEMBERS = {"fido2": {"credential", "challenge"},
                  "tpm2": {"public", "private", "parent", "pcrs", "bank", "pin", "pin_salt"}}
SLOT_MEMBERS = {"id", "type", "label", "kdf", "salt", "nonce", "wrapped"}


def hex_bytes(text, size):
    require(re.fullmatch("[0-9a-f]{%d}" % (2 * size), text), "hexadecimal digits")
    return bytes.fromhex(text)


def config_parse(raw):
    config = json.loads(raw.decode(), object_pairs_hook=no_twins)
    require(max(config["version"], config["min_reader"]) == VERSION, "version")
    require(set(config) == CONFIG_MEMBERS and config["flags"] == [], "members")
    require(config["suite"] in SUITES, "suite")
    require(1 <= len(config["slots"]) <= 32, "number of slots")
    for slot in config["slots"]:
        if slot["type"] not in SLOT_TYPES:
            require(re.fullmatch("[a-z0-9-]{1,31}", slot["type"]), "type of a slot")
            require(len(canonical(slot)) <= 2047, "size of an unknown slot")
            continue
        device = DEVICE_MEMBERS.get(slot["type"], set())
        require(set(slot) == SLOT_MEMBERS | device, "members of a slot")
        if slot["type"] == "fido2":
            require(re.fullmatch("([0-9a-f]{2}){1,512}", slot["credential"]), "credential")
            hex_bytes(slot["challenge"], 32)
        if slot["type"] == "tpm2":
            require(re.fullmatch("([0-9a-f]{2}){1,128}", slot["public"]), "public part")
            require(re.fullmatch("([0-9a-f]{2}){1,384}", slot["private"]), "private part")
            hex_bytes(slot["parent"], 34)
            hex_bytes(slot["pin_salt"], 16)
            require(type(slot["pcrs"]) is int and 0 <= slot["pcrs"] < 1 << 24, "PCRs")
            require(slot["bank"] in ("sha256", "sha384", "sha512"), "bank")
            require(type(slot["pin"]) is bool, "PIN")
        require(set(slot["kdf"]) == {"name", "memory", "operations"}, "members of a kdf")
        require(slot["kdf"]["name"] == "argon2id", "kdf")
        require(8 << 20 <= slot["kdf"]["memory"] <= 4 << 30, "memory of a kdf")
        require(1 <= slot["kdf"]["operations"] <= 64, "operations of a kdf")
    return config


def slot_open(config, slot, passphrase):
    """The master key, or None."""
    kek = nacl.bindings.crypto_pwhash_alg(
        32, passphrase, hex_bytes(slot["salt"], 16), slot["kdf"]["operations"],
        slot["kdf"]["memory"], nacl.bindings.crypto_pwhash_ALG_ARGON2ID13)
    parameters = {name: slot[name] for name in set(slot) - {"nonce", "wrapped"}}
    aad = hex_bytes(config["id"], 16) + le32(slot["id"]) + canonical(parameters)
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            hex_bytes(slot["wrapped"], 48), aad, hex_bytes(slot["nonce"], 24), kek)
    except nacl.exceptions.CryptoError:
        return None


def config_open(raw, passphrase):
    """The keys of a vault whose configuration is raw."""
    config = config_parse(raw)
    for slot in config["slots"]:
        if slot["type"] not in SLOT_TYPES or slot["type"] in DEVICE_MEMBERS:
            continue  # no passphrase's
        master = slot_open(config, slot, passphrase)
        if master:
            keys = Keys(master, SUITES[config["suite"]])
            body = {name: config[name] for name in CONFIG_MEMBERS - {"mac"}}
            require(blake2b(canonical(body), 32, keys.config).hex() == config["mac"], "MAC")
            return keys
    raise Damage("no slot opens with this passphrase")


# ---- names, records, symlinks, attributes ------------------------------------

HASH = rb"[A-Za-z0-9_-]{43}"
OURS = re.compile(rb"\.cryptfs-dir|\.cryptfs-tmp\..*|long\.%s\.name|(link|node)\.%s" % (HASH, HASH),
                  re.DOTALL)


def read_sidecar(path, limit):
    """The content of a regular file of at most limit bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise Damage("sidecar is missing") from None
    with open(fd, "rb") as f:
        require(stat.S_ISREG(os.fstat(fd).st_mode), "sidecar is no regular file")
        raw = f.read(limit + 1)
    require(len(raw) <= limit, "sidecar is too long")
    return raw


def name_open(keys, dir_id, stored, sidecar):
    """The plain name; sidecar() gives the sealed bytes of a long one."""
    if re.fullmatch(rb"long\." + HASH, stored):
        sealed = sidecar()
        require(stored == b"long." + base64url(blake2b(sealed, 32)), "hash of a long name")
        require(len(sealed) > 176, "a short name stored as a long one")
    else:
        sealed = base64url_decode(stored)
        require(sealed is not None, "no stored name")
    plain = siv_open(keys.names, dir_id, sealed)
    require(b"/" not in plain and plain not in (b".", b".."), "no plain name")
    return plain


def record_parse(keys, raw):
    """Directory id and bindings."""
    require(len(raw) == 72 and raw[:8] == b"cryptfsD", "directory record")
    require(blake2b(b"dirrec" + raw[:56], 16, keys.directory) == raw[56:], "MAC of a record")
    return raw[8:24], (raw[24:40], raw[40:56])


def record_read(keys, path, here):
    """The directory's id, if one of the copies names the place where it was found."""
    copies = []
    try:
        copies.append(record_parse(keys, read_sidecar(os.path.join(path, b".cryptfs-dir"), 72)))
    except Damage:
        pass
    try:
        copies.append(record_parse(keys, os.getxattr(path, b"user.cryptfs.dir")))
    except (Damage, OSError):
        pass
    require(copies, "no good directory record")
    require(copies[0][0] == copies[-1][0], "two directory records")
    require(any(here in bindings for _, bindings in copies), "binding")
    return copies[0][0]


def link_open(keys, dir_id, stored, text):
    seals = text.split(b".")
    require(len(seals) <= 2, "more than two seals")
    require(len(seals[0]) == len(seals[-1]), "seals of different targets")
    for seal in seals:
        raw = base64url_decode(seal)
        target = raw and box_open(keys, keys.links, raw, b"link" + dir_id + stored)
        if target:
            require(len(target) <= 4095 and b"\0" not in target, "symlink target")
            return target
    raise Damage("no seal of the symlink opens")


def link_read(keys, dir_id, path, stored):
    text = os.readlink(path)
    if text == b"@":
        name = b"link." + base64url(blake2b(stored, 32))
        text = read_sidecar(os.path.join(os.path.dirname(path), name), 11001)
    return link_open(keys, dir_id, stored, text)


def xattr_open(keys, owner_id, stored, raw):
    """The part of the name behind "user.", and the value."""
    sealed = base64url_decode(stored[len(b"user.cryptfs."):])
    require(sealed is not None, "no stored attribute")
    name = siv_open(keys.xattr_names, owner_id, sealed)
    value = box_open(keys, keys.xattr_values, raw, b"xattr" + owner_id + name)
    require(value is not None, "attribute value")
    return name, value


# ---- regular files -----------------------------------------------------------


def plain_length(size):
    require(size >= 1024, "shorter than a header")
    if size < BLOCK:
        return size - 1024
    rest = size - BLOCK
    if rest <= 48 * BLOCK:
        return rest
    groups, tail = divmod(rest - 48 * BLOCK, 65 * BLOCK)
    return 48 * BLOCK + groups * 64 * BLOCK + max(0, tail - BLOCK)


def backing_size(length):
    """Of a file in blocks."""
    blocks = -(-length // BLOCK)
    tag_pages = 0 if blocks <= 48 else -(-(blocks - 48) // 64)
    return BLOCK * (1 + tag_pages) + length


def group_of(index):
    return 0 if index < 48 else 1 + (index - 48) // 64


def block_offset(index):
    return BLOCK * (1 + index + group_of(index))


def entry_offset(index):
    group = group_of(index)
    if group == 0:
        return 1024 + 64 * index
    first = 48 + 64 * (group - 1)
    return BLOCK * (first + group) + 64 * (index - first)


class Half:
    def __init__(self, raw):
        self.nonce, self.tag = raw[:12], raw[12:28]
        self.sequence, = struct.unpack("<I", raw[28:32])


def halves_in_order(entry):
    """The halves that were written, current one first."""
    a, b = Half(entry[:32]), Half(entry[32:])
    if a.sequence == 0 or (b.sequence and 1 <= (b.sequence - a.sequence) % 2**32 < 2**31):
        a, b = b, a
    return [half for half in (a, b) if half.sequence]


class Header:
    """A header slot that is valid."""

    def __init__(self, keys, raw):
        require(raw[:8] == b"cryptfsH", "magic of a header")
        self.id = raw[8:40]
        self.sequence, = struct.unpack("<Q", raw[40:48])
        aad = raw[:48] + le16(keys.suite) + le16(VERSION)
        payload = aead_open(keys.suite, keys.file(self.id), raw[48:60], raw[60:76], raw[76:512],
                            aad)
        require(payload, "seal of a header")
        self.length, self.flags = struct.unpack("<QI", payload[:12])
        self.bindings = (payload[12:28], payload[28:44])
        self.small_nonce, self.small_tag = payload[44:56], payload[56:72]
        self.shrink_length, = struct.unpack("<Q", payload[72:80])
        self.moving = Half(payload[80:112])
        require(self.flags < 1 << 6, "unknown flag")
        require(max(self.length, self.shrink_length) <= 2**62, "length of a header")
        require(not self.flags & SMALL or self.length <= 3071, "length of a small file")
        require(payload[112:] == bytes(324), "padding of a header")


def block_open(keys, file_id, index, half, ciphertext):
    aad = le64(index) + le32(half.sequence) + le16(keys.suite) + le16(VERSION)
    return aead_open(keys.suite, keys.file(file_id), half.nonce, half.tag, ciphertext, aad)


class File:
    """A regular file of the vault: its header, then its content."""

    def __init__(self, keys, f):
        self.keys = keys
        self.f = f
        self.size = os.fstat(f.fileno()).st_size
        self.length = plain_length(self.size)
        slots = []
        for offset in (0, 512):
            try:
                slots.append(Header(keys, self.pread(512, offset)))
            except Damage:
                pass
        require(slots, "no valid header")
        slots.sort(key=lambda header: -header.sequence)
        require(slots[0].id == slots[-1].id, "headers of two files")
        self.slots = slots
        self.header = slots[0]
        if not self.header.flags & DIRTY:
            require(self.length == self.header.length, "length")
            require(bool(self.header.flags & SMALL) == (self.size < BLOCK), "small or not")
            require(self.size < BLOCK or self.size == backing_size(self.length), "size")

    def pread(self, size, offset):
        return os.pread(self.f.fileno(), size, offset)

    def place(self):
        """The bindings of the place attribute, if it speaks for the current header."""
        try:
            raw = os.getxattr(self.f.fileno(), b"user.cryptfs.place")
        except OSError:
            return ()
        mac = blake2b(b"place" + self.header.id + raw[:40], 16, self.keys.directory)
        if len(raw) != 56 or mac != raw[40:]:
            return ()
        if int.from_bytes(raw[:8], "little") < self.header.sequence:
            return ()
        return raw[8:24], raw[24:40]

    def check_binding(self, binding):
        place = self.place()
        require(self.header.flags & MULTI or binding in self.header.bindings
                or binding in place or place == (bytes(16), bytes(16)), "binding")

    def small_of(self, header):
        """Small content as a header seals it, or None."""
        length = header.length
        if not header.flags & SMALL or 1024 + length > self.size:
            return None
        if length == 0:
            return b""
        half = Half(header.small_nonce + header.small_tag + le32(0))
        return block_open(self.keys, header.id, 2**64 - 1, half, self.pread(length, 1024))

    def small_cut_off(self):
        """Whether the write of the current slot's small content may not have been whole."""
        length = self.header.length
        raw = self.pread(length, 1024)
        pieces = [raw[at:at + 512] for at in range(0, length, 512)]
        return not self.header.flags & SMALL or len(raw) < length or \
            any(not piece.strip(b"\0") for piece in pieces)

    def may_be_none(self, header):
        """Whether a slot of length 0 counts, with bytes behind it."""
        if header is not self.header:
            return self.small_cut_off()
        others = [self.pread(512, 0), self.pread(512, 512)]
        return len(self.slots) == 2 or bytes(512) in others

    def small(self):
        dirty = self.header.flags & DIRTY
        if dirty and not self.header.flags & SMALL and self.size == 1024:
            return b""
        for header in self.slots if dirty else self.slots[:1]:
            if not header.length and self.size > 1024 and not self.may_be_none(header):
                continue
            content = self.small_of(header)
            if content is not None:
                return content
        return None

    def unmoved(self):
        """Small content of a DIRTY file that was made as long as one in blocks, or None."""
        flags = self.header.flags & (DIRTY | SMALL | GROWING)
        if flags != DIRTY | SMALL or not self.header.length:
            return None
        content = self.small()
        require(content is not None or self.length, "small content")
        return content

    def ciphertext(self, index, length):
        """What there is of a block in a file of some length."""
        return self.pread(min(BLOCK, length - index * BLOCK), block_offset(index))

    def by_entry(self, index):
        """A block by its tag entry, or None."""
        entry = self.pread(64, entry_offset(index))
        raw = self.ciphertext(index, self.length)
        if entry == bytes(64):
            return bytes(len(raw)) if self.header.flags & HAS_HOLES else None
        for half in halves_in_order(entry):
            plain = block_open(self.keys, self.header.id, index, half, raw)
            if plain is not None:
                return plain
        unfilled = DIRTY | HAS_HOLES
        alone = entry[:32] == bytes(32) or entry[32:] == bytes(32)
        if self.header.flags & unfilled == unfilled and alone and raw == bytes(len(raw)):
            return raw  # its first write was cut off behind the half-entry
        return None

    def grown(self):
        """Content that was moving to block 0."""
        moving = self.header.moving
        plain = block_open(self.keys, self.header.id, 0, moving, self.ciphertext(0, self.length))
        if plain is None:
            plain = self.small_of(self.header)
        require(plain is not None, "moving content")
        return plain

    def cut(self):
        """Finish an interrupted cut: the new last block, or None if there was none."""
        length = self.header.shrink_length
        index, size = divmod(length, BLOCK)
        if self.length <= length or self.by_entry(index) is not None:
            return None
        raw = self.pread(size, block_offset(index))
        plain = block_open(self.keys, self.header.id, index, self.header.moving, raw)
        require(plain is not None, "block being cut")
        self.length = length
        return plain

    def write_to(self, out):
        """Decrypt everything into the empty file out."""
        content = self.small() if self.size < BLOCK else self.unmoved()
        require(content is not None or self.size >= BLOCK, "small content")
        if content is not None:
            out.write(content)
        elif self.header.flags & GROWING:
            out.write(self.grown())
        else:
            self.write_blocks(out)

    def write_blocks(self, out):
        last = self.cut() if self.header.flags & SHRINKING else None
        blocks = -(-self.length // BLOCK)
        for index in range(blocks):
            plain = last if last is not None and index == blocks - 1 else self.by_entry(index)
            require(plain is not None, "block %d" % index)
            out.seek(index * BLOCK)
            if plain.strip(b"\0"):
                out.write(plain)
        out.truncate(self.length)


# ---- the tree ----------------------------------------------------------------


def xor_content(keys, raw):
    key = (keys.master * 8)[:256] * (len(raw) // 256 + 1)
    return bytes(a ^ b for a, b in zip(raw, key))


# ---- the journal -------------------------------------------------------------


class Record:
    """The record that raw begins with, whole."""

    def __init__(self, keys, raw):
        require(len(raw) >= 160 and raw[:8] == b"cryptfsR", "no record")
        (self.epoch, self.id, self.inode, self.sequence, self.block, self.length, self.slot, size,
         half, self.seconds, self.nanoseconds, zeros) = struct.unpack("<Q32sQQQQII32sQI12s", raw[8:144])
        require(size <= BLOCK and len(raw) >= 160 + size, "cut off")
        self.payload = raw[160:160 + size]
        mac = blake2b(b"journal" + raw[:144] + self.payload, 16, keys.directory)
        require(mac == raw[144:160] and not any(zeros), "record")
        self.half = Half(half)
        self.size = -(-(160 + size) // 512) * 512  # in the journal
        require(self.nanoseconds < 10**9, "time")
        if self.block == 2**64 - 1:
            require(self.slot < 2 and 512 < size <= 512 + 3071 and self.length == size - 512, "small")
        else:
            require(not self.slot and size and self.block < 2**50, "block")
            require(self.block * BLOCK + size <= self.length <= 2**62, "length")


def part_epoch(keys, raw):
    """The epoch of a part, 0 if it is void."""
    mac = blake2b(b"journal" + raw[:16], 16, keys.directory)
    if len(raw) < 512 or raw[:8] != b"cryptfsJ" or mac != raw[16:32]:
        return 0
    return int.from_bytes(raw[8:16], "little")


def journal_records(keys, raw):
    """All records of a journal in their order."""
    size = len(raw) // 2 // 512 * 512
    records = []
    for part in sorted((raw[:size], raw[size:2 * size]), key=lambda part: part_epoch(keys, part)):
        epoch, at = part_epoch(keys, part), 512
        while epoch:
            try:
                record = Record(keys, part[at:])
                require(record.epoch == epoch, "another epoch")
            except Damage:
                break
            records.append(record)
            at += record.size
    return records


def journal_load(keys, vault):
    path = pathlib.Path(vault, "cryptfs.journal")
    return journal_records(keys, path.read_bytes()) if path.exists() else []


class Tree:
    def __init__(self, keys, journal=()):
        self.keys = keys
        self.journal = {}  # file id: up to which sequence there are records
        for record in journal:
            self.journal[record.id] = max(record.sequence, self.journal.get(record.id, 0))
        self.damaged = 0
        self.links = {}  # (device, inode) of files with several names: where they went

    def complain(self, path, why):
        self.damaged += 1
        sys.stderr.write("damaged: %s: %s\n" % (os.fsdecode(path), why))

    def xattrs(self, path, owner_id, out):
        for stored in os.listxattr(path, follow_symlinks=False):
            stored = os.fsencode(stored)
            if not stored.startswith(b"user.cryptfs.") or stored in (
                    b"user.cryptfs.dir", b"user.cryptfs.place"):
                continue
            try:
                name, value = xattr_open(self.keys, owner_id, stored, os.getxattr(path, stored))
                os.setxattr(out, b"user." + name, value)
            except Damage as e:
                self.complain(path, e)

    def directory(self, path, parent_id, stored, out):
        dir_id = record_read(self.keys, path, self.keys.binding(parent_id, stored))
        os.mkdir(out)
        for name in sorted(os.listdir(path)):
            if not OURS.fullmatch(name):
                self.entry(path, dir_id, name, out)
        self.finish(path, dir_id, out)

    def entry(self, path, dir_id, stored, out):
        child = os.path.join(path, stored)
        try:
            plain = name_open(self.keys, dir_id, stored,
                              lambda: read_sidecar(child + b".name", 272))
            self.thing(child, dir_id, stored, os.path.join(out, plain))
        except Damage as e:
            self.complain(child, e)

    def thing(self, path, dir_id, stored, out):
        st = os.lstat(path)
        if stat.S_ISDIR(st.st_mode):
            self.directory(path, dir_id, stored, out)
        elif stat.S_ISLNK(st.st_mode):
            os.symlink(link_read(self.keys, dir_id, path, stored), out)
        elif stat.S_ISREG(st.st_mode):
            self.regular(path, st, self.keys.binding(dir_id, stored), out)
        elif stat.S_ISFIFO(st.st_mode):
            os.mkfifo(out)
        else:
            self.complain(path, "devices and sockets are left out")

    def regular(self, path, st, binding, out):
        where = (st.st_dev, st.st_ino)
        if where in self.links:
            if self.keys.suite != 3:
                with open(path, "rb") as f:
                    File(self.keys, f).check_binding(binding)
            os.link(self.links[where], out)
            return
        try:
            with open(path, "rb") as f, open(out, "xb") as plain:
                file_id = self.content(f, binding, plain)
        except Damage:
            os.unlink(out)
            raise
        if st.st_nlink > 1:
            self.links[where] = out
        self.finish(path, file_id, out)

    def content(self, f, binding, plain):
        """Decrypt one file; its id."""
        if self.keys.suite == 3:
            plain.write(xor_content(self.keys, f.read()))
            return bytes(32)
        file = File(self.keys, f)
        file.check_binding(binding)
        require(self.journal.get(file.header.id, -1) < file.header.sequence,
                "the journal may have newer blocks: mount the vault once")
        file.write_to(plain)
        return file.header.id

    def finish(self, path, owner_id, out):
        """Attributes, mode and times, once nothing else will change them."""
        st = os.stat(path)
        self.xattrs(path, owner_id, out)
        os.chmod(out, stat.S_IMODE(st.st_mode))
        os.utime(out, ns=(st.st_atime_ns, st.st_mtime_ns))


def vault_open(vault, passphrase):
    """The keys, from the first copy of the configuration that is good."""
    for name in ("cryptfs.conf", "cryptfs.conf.bak"):
        try:
            return config_open((vault / name).read_bytes(), passphrase)
        except (Damage, OSError, ValueError, KeyError, TypeError) as e:
            sys.stderr.write("%s: %s\n" % (name, e))
    raise SystemExit(1)


def decode_vault(vault, passfile, out):
    passphrase = pathlib.Path(passfile).read_bytes().split(b"\n")[0]
    keys = vault_open(pathlib.Path(vault), passphrase)
    tree = Tree(keys, journal_load(keys, vault))
    try:
        tree.directory(os.fsencode(os.path.join(vault, "tree")), ROOT, b"", os.fsencode(out))
    except Damage as e:
        tree.complain(os.fsencode(vault), e)
    return 1 if tree.damaged else 0


# ---- self-test ---------------------------------------------------------------


def read_known():
    """The examples: a dictionary of byte strings."""
    path = pathlib.Path(__file__).resolve().parent / "known.txt"
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return {line[0]: bytes.fromhex(line[1]) if len(line) > 1 else b"" for line in lines if line}


def expect(condition, what):
    if not condition:
        raise SystemExit("self-test failed: " + what)


def refuses(function, *arguments):
    try:
        function(*arguments)
    except Damage:
        return True
    return False


def test_names(keys, k):
    for name in ("short", "long"):
        stored, sidecar = k["name_%s_stored" % name], k.get("name_%s_sidecar" % name)
        expect(name_open(keys, k["dir_id"], stored, lambda: sidecar) == k["name_%s" % name], name)
        expect(refuses(name_open, keys, bytes(16), stored, lambda: sidecar), "moved " + name)


def test_headers(k):
    for name, number in SUITES.items():
        if number == 3:
            continue
        keys = Keys(k["master"], number)
        header = Header(keys, k["header_" + name])
        expect(header.id == k["file_id"] and header.sequence == 7, name)
        expect((header.length, header.flags) == (5, DIRTY | SMALL), name)
        expect(header.bindings == (k["binding"], bytes(16)), name)
        half = Half(header.small_nonce + header.small_tag + le32(0))
        small = block_open(keys, header.id, 2**64 - 1, half, k["small_" + name])
        expect(small == b"hello", "small content, " + name)
        half = Half(k["half_" + name])
        expect(half.sequence == 9, "half")
        block = block_open(keys, header.id, 5, half, k["block_" + name])
        expect(block == b"block five", "block, " + name)
        expect(block_open(keys, header.id, 6, half, k["block_" + name]) is None, "moved block")


def test_rest(keys, k):
    expect(keys.binding(k["dir_id"], k["name_short_stored"]) == k["binding"], "binding")
    dir_id, bindings = record_parse(keys, k["record"])
    expect(dir_id == k["dir_id"] and bindings == (k["binding"], bytes(16)), "record")
    stored = k["name_short_stored"]
    for text in ("link_text", "link_text_two"):
        expect(link_open(keys, k["dir_id"], stored, k[text]) == b"../target", text)
        expect(refuses(link_open, keys, bytes(16), stored, k[text]), "moved " + text)
    for owner in ("file_id", "dir_id"):
        name, value = k["xattr_name_" + owner], k["xattr_value_" + owner]
        expect(xattr_open(keys, k[owner], name, value) == (b"mime_type", b"text/plain"), owner)
    for line in (b"length", b"entry"):
        for number, expected in re.findall(rb"(\d+):(\d+)", k[line.decode()]):
            function = plain_length if line == b"length" else entry_offset
            expect(function(int(number)) == int(expected), "%s %s" % (line, number))


def test_journal(keys, k):
    expect(part_epoch(keys, k["journal_part"]) == 0x1122334455667788, "part of the journal")
    place = k["place"]
    expect(blake2b(b"place" + k["file_id"] + place[:40], 16, keys.directory) == place[40:], "place")
    for name, number in SUITES.items():
        if number == 3:
            continue
        keys = Keys(k["master"], number)
        record = Record(keys, k["journal_block_" + name])
        expect((record.id, record.sequence, record.block) == (k["file_id"], 7, 5), "record")
        expect((record.inode, record.length) == (4711, 5 * BLOCK + 10), "record")
        plain = block_open(keys, record.id, 5, record.half, record.payload)
        expect(plain == b"block five", "block in the journal")
        record = Record(keys, k["journal_small_" + name])
        expect((record.slot, record.block, record.length) == (1, 2**64 - 1, 5), "small record")
        header = Header(keys, record.payload[:512])
        half = Half(header.small_nonce + header.small_tag + le32(0))
        small = block_open(keys, header.id, 2**64 - 1, half, record.payload[512:])
        expect(small == b"hello", "small content in the journal")


def self_test():
    k = read_known()
    keys = Keys(k["master"], 1)
    for name in ("names", "content", "xattr_names", "xattr_values", "directory", "config", "links"):
        expect(getattr(keys, name) == k["key_" + name], name)
    expect(keys.file(k["file_id"]) == k["key_file"], "file key")
    test_names(keys, k)
    test_headers(k)
    test_rest(keys, k)
    test_journal(keys, k)
    opened = config_open(k["config"], b"correct horse")
    expect(opened.master == k["master"] and opened.suite == 1, "configuration")
    return 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 3:
        sys.stderr.write(__doc__)
        return 2
    return decode_vault(*arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
