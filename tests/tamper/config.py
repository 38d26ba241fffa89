# SPDX-License-Identifier: MIT
"""Changes of a vault's configuration, and configurations that are cheap to open."""

import json
import os
import stat
import sys

import backing

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors"))

import decode  # noqa: E402
import seal  # noqa: E402

NAMES = ("cryptfs.conf", "cryptfs.conf.bak")
PASSPHRASE = b"secret"


def encoded(config):
    return (json.dumps(config, indent=2) + "\n").encode()


def fresh(suite, vault_id=bytes(range(16)), master=bytes(range(32))):
    """A configuration with the cheapest key derivation that a reader takes."""
    keys = decode.Keys(master, decode.SUITES[suite])
    return encoded(seal.config(keys, suite, PASSPHRASE, vault_id))


def opened(raw, passphrase):
    """The master key of a configuration."""
    return decode.config_open(raw, passphrase).master


class Change:
    def __init__(self, kind, what, do):
        self.kind = kind
        self.what = what
        self.do = do  # called with the vault's directory


def to(names, raw):
    """Put raw in the place of these copies."""
    def do(vault):
        for name in names:
            backing.remove(os.path.join(vault, name))
            backing.write(os.path.join(vault, name), raw)
    return do


COPIES = ((NAMES[:1], "first copy"), (NAMES[1:], "second copy"), (NAMES, "both copies"))


def flips(raw, pick):
    for names, which in COPIES:
        for offset in pick(range(len(raw))):
            changed = raw[:offset] + bytes([raw[offset] ^ 1 << pick.bit(offset)]) + raw[offset + 1:]
            yield Change("configuration: bit flip, " + which, "byte %d" % offset,
                         to(names, changed))


def edited(raw, *path):
    """A copy of the object and the member of it that path names."""
    config = json.loads(raw)
    inner = config
    for key in path:
        inner = inner[key]
    return config, inner


def members(raw):
    """Every member with other values."""
    values = {
        "version": (0, 2, -1, 1 << 62, 1e300, "1", None),
        "min_reader": (0, 2, True), "id": ("", "0" * 32, "00", 5),
        "suite": ("aes-256-gcm", "chacha20-poly1305", "xor", "rot13", ""),
        "flags": (["new"], {}, [1], "x" * 100000), "created": (-1, 0, 1 << 63, "x"),
        "slots": ([], {}, [None], [[]] * 40), "mac": ("0" * 64, "", "zz"),
    }
    inner = {
        "id": (0, 2, 1 << 31, -1), "type": ("keyfile", "recovery", "other"),
        "label": ("", "x" * 64, "other", "\u0007", "\ud800"), "salt": ("0" * 32, "", "x" * 32),
        "nonce": ("0" * 48,), "wrapped": ("0" * 96, "0" * 94),
        "kdf": ({}, {"name": "scrypt", "memory": 8 << 20, "operations": 1},
                {"name": "argon2id", "memory": 9 << 20, "operations": 1},
                {"name": "argon2id", "memory": 8 << 20, "operations": 2},
                {"name": "argon2id", "memory": 1024, "operations": 1},
                {"name": "argon2id", "memory": 1 << 62, "operations": 1},
                {"name": "argon2id", "memory": 8 << 20, "operations": 1 << 40},
                {"name": "argon2id", "memory": -1, "operations": 0}),
    }
    for table, path in ((values, ()), (inner, ("slots", 0))):
        for name, others in table.items():
            for value in others:
                config, member = edited(raw, *path)
                if member[name] == value and type(member[name]) is type(value):
                    continue
                member[name] = value
                yield "%s = %.40r" % (name, value), encoded(config)
            config, member = edited(raw, *path)
            del member[name]
            yield "no " + name, encoded(config)
        config, member = edited(raw, *path)
        member["extra"] = 1
        yield "a member too many", encoded(config)
    config, slots = edited(raw, "slots")
    slots.append(dict(slots[0]))
    yield "a slot twice", encoded(config)
    slots[1]["id"] = 2
    yield "a slot more", encoded(config)


def texts(raw):
    """What is no such object at all."""
    yield "empty", b""
    yield "half", raw[:len(raw) // 2]
    yield "all but the end", raw.rstrip()[:-1]
    yield "twice", raw + raw
    yield "junk behind it", raw + b"x"
    yield "zeros", bytes(len(raw))
    yield "zeros behind it", raw + bytes(100)
    yield "random", bytes(i * 167 % 256 for i in range(5000))
    yield "not UTF-8", raw.replace(b"pass", b"\xff\xfe", 1)
    yield "a list", b"[1, 2]"
    yield "deep", b"[" * 500000
    yield "deep members", b'{"slots":' * 100000
    yield "a number", b"1e999999999"
    yield "2 MiB of blanks", b" " * (2 << 20)
    yield "1 MiB of blanks", raw + b" " * ((1 << 20) - len(raw))
    yield "a member twice", raw.replace(b"{", b'{"version": 1, ', 1)


def kinds():
    """Other things in the place of the file."""
    yield "nothing", lambda p: None
    yield "a FIFO", os.mkfifo
    yield "a directory", os.mkdir
    yield "a socket", lambda p: os.mknod(p, stat.S_IFSOCK | 0o600)
    yield "a symlink", lambda p: os.symlink("/dev/zero", p)
    yield "a symlink to itself", lambda p: os.symlink(os.path.basename(p), p)
    if os.geteuid() == 0:
        yield "a device", lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 5))


def others(raw, foreign):
    for names, which in COPIES:
        for what, changed in members(raw):
            yield Change("configuration: members, " + which, what, to(names, changed))
        for what, changed in texts(raw):
            yield Change("configuration: garbage, " + which, what, to(names, changed))
        for what, make in kinds():
            def do(vault, names=names, make=make):
                for name in names:
                    backing.remove(os.path.join(vault, name))
                    make(os.path.join(vault, name))
            yield Change("configuration: no file, " + which, what, do)
        yield Change("configuration of another vault, " + which, "same passphrase",
                     to(names, foreign))
