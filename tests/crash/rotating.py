#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A rotation dies at one of its system calls, and is run again.

    rotating.py STEPPER [DEATHS]

A vault with one of everything is rotated once to count the calls that change
the filesystem; then, DEATHS times, a copy of it is rotated and killed at one
of them, before or after it is done.  What is left is either a vault that can be
mounted or one that says that its rotation is unfinished; run again, it has all
that it had, under another key, and nothing of the old one.
"""

import hashlib
import mmap
import os
import shutil
import stat
import struct
import subprocess
import sys

WORK, VAULT, MNT = os.environ["WORK"], os.environ["VAULT"], os.environ["MNT"]
CRYPTFS, MOUNT = os.environ["CRYPTFS"], os.environ["CRYPTFS_MOUNT"]
PASSFILE = os.environ["PASSFILE"]
OTHER = os.path.join(WORK, "other")
ORIGINAL = os.path.join(WORK, "original")
CIPHER = os.environ.get("VAULT_CIPHER", "aes-256-gcm")
KDF = ["--kdf-memory", "64", "--kdf-operations", "3"]

KILLED, IN_USE = 137, 6


def fail(*words):
    sys.exit("FAILED: " + " ".join(str(w) for w in words))


def run(*command, expect=0):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if expect is not None and done.returncode != expect:
        fail(*command, "ended with", done.returncode, done.stdout, done.stderr)
    return done


def cryptfs(*words, **how):
    return run(CRYPTFS, *words, **how)


def mount(options=""):
    return run(MOUNT, VAULT, MNT, "-o", "passfile=" + PASSFILE + options, expect=None)


def unmount():
    run("umount", MNT)


# ---- what is in it --------------------------------------------------------


def fill():
    """One of everything."""
    def put(name, data):
        with open(os.path.join(MNT, name), "wb") as f:
            f.write(data)

    def at(name):
        return os.path.join(MNT, name)

    os.makedirs(at("a/b/c"))
    for i in range(12):
        put(f"a/b/small {i}", os.urandom(i * 300))
    put("a/big", os.urandom(1300000))
    put("a/empty", b"")
    with open(at("sparse"), "wb") as f:
        f.truncate(3000000)
        f.seek(1000000)
        f.write(b"in between")
    put("n" * 250, b"a long name")
    os.symlink("a/big", at("link"))
    os.symlink("t" * 4000, at("a/long link"))
    os.link(at("a/big"), at("a/b/c/the same"))
    os.link(at("a/big"), at("once more"))
    os.mkfifo(at("fifo"))
    os.link(at("fifo"), at("a/fifo"))
    os.mknod(at("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(at("a/big"), "user.note", b"bound")
    os.setxattr(at("a/b"), "user.note", b"of a directory")
    put("a/b/ro", b"read only")
    os.chown(at("a/b/ro"), 4321, 1234)
    os.chmod(at("a/b/ro"), 0o4555)
    os.chmod(at("a/b/c"), 0o500)
    for name in ("a/b/ro", "a/b/c", "a/b", "sparse", "link", "fifo"):
        os.utime(at(name), ns=(10**18 + 1, 10**18 + 12345), follow_symlinks=False)


def listing():
    """All that can be seen of it, as a dict by path."""
    found = {}
    first = {}
    for parent, dirs, files in os.walk(MNT):
        for name in ["."] * (parent == MNT) + dirs + files:
            path = os.path.join(parent, name)
            st = os.lstat(path)
            what = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_rdev]
            if not stat.S_ISDIR(st.st_mode):
                what += [st.st_size, st.st_nlink, first.setdefault(st.st_ino, path)
                         if st.st_nlink > 1 else None]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(path))
            else:
                what.append(sorted((n, os.getxattr(path, n)) for n in os.listxattr(path)))
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    what.append(hashlib.sha256(f.read()).hexdigest())
                    f.seek(0)
                    what.append(os.lseek(f.fileno(), 0, os.SEEK_DATA) if st.st_size else 0)
            found[os.path.relpath(path, MNT)] = what
    # Whichever of several names comes first.
    groups = {}
    for path, what in found.items():
        if len(what) > 7 and what[7]:
            groups.setdefault(what[7], []).append(path)
    for path, what in found.items():
        if len(what) > 7 and what[7]:
            what[7] = sorted(groups[what[7]])
    return found


# ---- dying ----------------------------------------------------------------


class Stepper:
    def __init__(self, program):
        self.program = program
        self.path = os.path.join(WORK, "control")
        with open(self.path, "wb") as f:
            f.write(bytes(32))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32)

    def rotate(self, at, after):
        """The exit status, and how many calls there were."""
        self.map[:] = struct.pack("<8I", at, after, 0, 0, 0, 0, 0, 0)
        done = run(self.program, self.path, CRYPTFS, "rotate", "--workers", "0", "--passfile",
                   PASSFILE, "--other-passfile", OTHER, VAULT, expect=None)
        return done, struct.unpack("<8I", self.map[:])[2]


def restore():
    shutil.rmtree(VAULT, ignore_errors=True)
    run("cp", "-a", ORIGINAL, VAULT)


def check_unfinished(done):
    """Mountable, with all there is; or one line that says what to do."""
    mounted = mount()
    if mounted.returncode == 0:
        unmount()
        return
    if mounted.returncode != IN_USE or "finish it: cryptfs rotate" not in mounted.stderr:
        fail("mount says:", mounted.returncode, mounted.stderr, "after", done.stderr)
    checked = cryptfs("fsck", "--passfile", PASSFILE, VAULT, expect=IN_USE)
    if "finish it: cryptfs rotate" not in checked.stderr:
        fail("fsck says:", checked.stderr)
    if "unfinished" not in cryptfs("info", VAULT).stdout:
        fail("info says nothing of it")


def check_rotated(expected, old_conf):
    if sorted(os.listdir(VAULT)) != ["cryptfs.conf", "cryptfs.conf.bak", "tree"]:
        fail("left in the vault:", os.listdir(VAULT))
    cryptfs("fsck", "--passfile", OTHER, VAULT)
    if mount().returncode:
        fail("it cannot be mounted")
    found = listing()
    unmount()
    for path in sorted(set(expected) | set(found)):
        if expected.get(path) != found.get(path):
            fail(path, "was", expected.get(path), "and is", found.get(path))
    # The old key opens nothing of it.
    for name in ("cryptfs.conf", "cryptfs.conf.bak"):
        with open(os.path.join(VAULT, name), "w", encoding="utf8") as f:
            f.write(old_conf)
    if mount().returncode == 0:
        fail("the old configuration opens it")


def die(stepper, at, after, expected, old_conf):
    restore()
    done, _ = stepper.rotate(at, after)
    if done.returncode not in (0, KILLED):
        fail("at", at, "it ended with", done.returncode, done.stderr)
    if done.returncode == KILLED:
        check_unfinished(done)
        again, _ = stepper.rotate(0, 0)
        if again.returncode:
            fail("at", at, "after", after, "again:", again.returncode, again.stdout, again.stderr)
    check_rotated(expected, old_conf)


def main():
    stepper = Stepper(sys.argv[1])
    deaths = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with open(OTHER, "w", encoding="utf8") as f:
        f.write("another passphrase of it\n")
    os.chmod(OTHER, 0o600)
    cryptfs("init", "--cipher", CIPHER, "--passfile", PASSFILE, *KDF, VAULT)
    cryptfs("key", "add", "--passfile", PASSFILE, "--new-passfile", OTHER, *KDF, VAULT)
    if mount().returncode:
        fail("it cannot be mounted")
    fill()
    unmount()
    if mount().returncode:
        fail("it cannot be mounted again")
    expected = listing()
    unmount()
    os.rename(VAULT, ORIGINAL)
    with open(os.path.join(ORIGINAL, "cryptfs.conf"), encoding="utf8") as f:
        old_conf = f.read()
    restore()
    done, calls = stepper.rotate(0, 0)
    if done.returncode:
        fail("rotate:", done.returncode, done.stderr)
    check_rotated(expected, old_conf)
    for i in range(deaths):
        at = 1 + i * (calls - 1) // max(deaths - 1, 1)
        die(stepper, at, i % 2, expected, old_conf)
    print(f"rotating: {calls} calls, {deaths} deaths, nothing lost")


main()
