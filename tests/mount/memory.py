#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Which secrets of a vault are in the memory of processes; for root.

    memory.py VAULT PASSFILE MARKER PID...

Prints a line "PID NAME" for each that is found: the passphrase, the master key, the
keys derived from it, the key of each file, and MARKER, which is part of some file.
The keys are computed from the vault by the decoder, not by cryptfs.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))
import decode  # noqa: E402


def secrets_of(vault, passphrase, marker):
    keys = decode.vault_open(vault, passphrase)
    found = {"passphrase": passphrase, "content": marker, "master": keys.master}
    for name in ("content", "xattr_values", "directory", "config", "links"):
        found["key:" + name] = getattr(keys, name)
    for name in ("names", "xattr_names"):
        found["key:%s:mac" % name] = getattr(keys, name)[:32]
        found["key:%s:ctr" % name] = getattr(keys, name)[32:]
    for path in sorted((vault / "tree").rglob("*")) if keys.suite != 3 else ():
        if not path.is_file() or path.name == ".cryptfs-dir" or path.name.endswith(".name"):
            continue
        with open(path, "rb") as f:
            found["file:" + path.name[:8]] = keys.file(decode.File(keys, f).header.id)
    return found


def memory_of(pid):
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            start, end = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or line.split()[-1] in ("[vvar]", "[vsyscall]"):
                continue
            try:
                mem.seek(start)
                yield mem.read(end - start)
            except OSError:
                pass  # a guard page, or what is not there yet


def main(vault, passfile, marker, *pids):
    passphrase = pathlib.Path(passfile).read_bytes().split(b"\n")[0]
    secrets = secrets_of(pathlib.Path(vault), passphrase, marker.encode())
    for pid in pids:
        found = set()
        for piece in memory_of(int(pid)):
            found.update(name for name, secret in secrets.items() if secret in piece)
        for name in sorted(found):
            print(pid, name)


main(*sys.argv[1:])
