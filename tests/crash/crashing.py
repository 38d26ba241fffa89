# SPDX-License-Identifier: MIT
"""What the harnesses of this directory share: a vault whose key is cheap to
derive, a mount that dies and comes back, and what a tree may look like then.

The scripts that start them have sourced tests/support/mounted.sh; its
variables and modes are in the environment."""

import copy
import errno
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))

import decode  # noqa: E402
import seal  # noqa: E402

BLOCK = 4096
VAULT, MNT = os.environ["VAULT"], os.environ["MNT"]
WORK, PASSFILE = os.environ["WORK"], os.environ["PASSFILE"]
CIPHER = os.environ.get("VAULT_CIPHER", "aes-256-gcm")
OPTIONS = [o for o in os.environ.get("MOUNT_OPTIONS", "").split(",") if o]
WRITEBACK = "writeback" in OPTIONS
LIMIT = 60  # seconds, after which something hangs
# What a call on a mount says whose process has just died.
DIED = {errno.ENOTCONN, errno.ECONNABORTED}


class Wrong(Exception):
    """What must not be found after a death."""


def want(ok, what):
    if not ok:
        raise Wrong(what)


def new_vault():
    """An empty vault with the cheapest key derivation that a reader takes."""
    keys = decode.Keys(os.urandom(32), decode.SUITES[CIPHER])
    passphrase = pathlib.Path(PASSFILE).read_bytes().split(b"\n")[0]
    os.makedirs(VAULT + "/tree", 0o700)
    with open(VAULT + "/tree/.cryptfs-dir", "xb") as f:
        f.write(seal.record(keys, os.urandom(16), keys.binding(decode.ROOT, b"")))
    for name in ("cryptfs.conf", "cryptfs.conf.bak"):
        with open(os.path.join(VAULT, name), "x") as f:
            json.dump(seal.config(keys, CIPHER, passphrase), f)


class Mount:
    """cryptfs-mount in the foreground; it has to clear away a dead mount by itself."""

    def __init__(self, before=(), options=(), pid=None, passfile=PASSFILE, may_say=(),
                 until=None):
        self.may_say = ["; unmounting it", "uses the xor cipher",
                        "was not unmounted: put ", *may_say]
        self.log = open(os.path.join(WORK, "log"), "w+b")
        self.process = subprocess.Popen(
            [*before, os.environ["CRYPTFS_MOUNT"], VAULT, MNT, "-f", "-o",
             ",".join(["passfile=" + passfile, *OPTIONS, *options])],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = pid or (lambda: self.process.pid)
        self.await_state(self.answers if until is None else until)

    def await_state(self, reached):
        end = time.monotonic() + LIMIT
        while not reached():
            want(self.process.poll() is None, "no mount: " + self.said())
            want(time.monotonic() < end, "the mount does not come")
            time.sleep(0.001)

    @staticmethod
    def is_listed():
        """As long as it is to be died early, it is not to be asked."""
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == MNT for line in f)

    @staticmethod
    def answers():
        try:
            os.statvfs(MNT)  # attributes of a dead mount may be cached, these are not
            return os.stat(MNT).st_dev != os.stat(WORK).st_dev
        except OSError as e:
            want(e.errno in DIED, "the mountpoint says: " + str(e))
            return False

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def check_log(self):
        """Nothing was taken for damage, nothing failed."""
        for line in self.said().splitlines():
            want(any(s in line for s in self.may_say), "in the log: " + line)

    def wait(self):
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Wrong("the mount process does not end") from None
        self.check_log()
        self.log.close()

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)
        self.wait()

    def unmount(self):
        os.kill(self.pid(), signal.SIGTERM)
        self.wait()


def check_vault():
    """A closed vault is whole, says cryptfs fsck."""
    checked = subprocess.run(
        [os.environ["CRYPTFS"], "fsck", "--passfile", PASSFILE, VAULT],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    want(checked.returncode == 0, "fsck: " + checked.stdout.decode(errors="replace"))


# ---- what is there ------------------------------------------------------------


class Thing:
    """An entry of a tree: all of it that must survive."""

    def __init__(self, mode, data=b"", attributes=(), links=1, rdev=0, owner=None, inode=None):
        self.mode, self.data, self.attributes = mode, data, dict(attributes)
        self.links = 0 if stat.S_ISDIR(mode) else links
        self.rdev = rdev
        self.owner = owner or (os.geteuid(), os.getegid())
        self.inode = inode or object()  # the same for all names of a file

    @classmethod
    def found(cls, path):
        st = os.lstat(path)
        data, attributes = b"", {}
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb", buffering=0) as f:
                data = f.readall()
            want(len(data) == st.st_size, "%s: read %d bytes of %d" % (
                path, len(data), st.st_size))
        elif stat.S_ISLNK(st.st_mode):
            data = os.fsencode(os.readlink(path))
        if not stat.S_ISLNK(st.st_mode):
            attributes = {n: os.getxattr(path, n) for n in os.listxattr(path)
                          if n.startswith("user.")}
        return cls(st.st_mode, data, attributes, st.st_nlink, st.st_rdev, (st.st_uid, st.st_gid),
                   st.st_ino)

    def but(self, **changes):
        """The same with changes."""
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def is_dir(self):
        return stat.S_ISDIR(self.mode)

    def is_file(self):
        return stat.S_ISREG(self.mode)

    def __eq__(self, other):
        return all(v == getattr(other, k) for k, v in vars(self).items() if k != "inode")


def snapshot(top):
    """{path: Thing} of what is below a directory, and of itself as "."."""
    found = {".": Thing.found(top)}
    for name in sorted(os.listdir(top)):
        thing = Thing.found(os.path.join(top, name))
        found[name] = thing
        if thing.is_dir():
            for path, below in snapshot(os.path.join(top, name)).items():
                found[os.path.normpath(os.path.join(name, path))] = below
    return found


def piece(data, at, size):
    """size bytes at a position, zeros behind the end."""
    return data[at:at + size].ljust(size, b"\0")


def check_content(path, found, versions):
    """Each block is that of one of the versions; the length is one of theirs, or
    a whole number of blocks between; with xor, which has no blocks, any between."""
    low, high = min(map(len, versions)), max(map(len, versions))
    size = len(found)
    want(size in map(len, versions) or
         (low < size < high and (size % BLOCK == 0 or CIPHER == "xor")),
         "%s has %d bytes, not one of %s" % (path, size, sorted({len(v) for v in versions})))
    for at in range(0, size, BLOCK):
        n = min(BLOCK, size - at)
        want(any(found[at:at + n] == piece(v, at, n) for v in versions),
             "%s: block %d is neither old nor new" % (path, at // BLOCK))


def check_torn(path, found, versions):
    """A file whose content was being changed."""
    for what in ("mode", "owner", "links", "attributes"):
        want(getattr(found, what) in [getattr(v, what) for v in versions], "%s: %s is %s" % (
            path, what, getattr(found, what)))
    check_content(path, found.data, [v.data for v in versions])


def lower(thing, versions):
    """An ordinary user's mount lifts the mode of a file that keeps out its owner
    for an instant; who dies then leaves it so."""
    if thing.is_file() and os.geteuid():
        for v in versions:
            if thing.mode == v.mode | 0o600:
                return thing.but(mode=v.mode)
    return thing


def different(thing, versions):
    return "; ".join(", ".join("%s %.60r not %.60r" % (k, v, getattr(o, k))
                               for k, v in vars(thing).items()
                               if k != "inode" and v != getattr(o, k)) for o in versions)


def check_tree(found, states, torn=False):
    """found is one of the states, or on the way from one to the next: all names
    are those of one state, what they stand for is wholly old or wholly new; or
    block by block, if torn."""
    why = []
    for i, state in enumerate(states):
        if set(found) != set(state):
            continue
        for near in states[max(i - 1, 0):i + 2]:
            try:
                for path, thing in found.items():
                    versions = [s[path] for s in (state, near) if path in s]
                    thing = lower(thing, versions)
                    if thing in versions:
                        continue
                    want(torn and thing.is_file(), "%s is neither old nor new: %s" % (
                        path, different(thing, versions)))
                    check_torn(path, thing, versions)
                return
            except Wrong as e:
                why.append(str(e))
    raise Wrong("; ".join(why) or "the names %s are those of no state" % sorted(found))


def remove(path):
    """A tree, with all that is in it."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in os.listdir(path):
            remove(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def detach():
    """A dead mount, so that the next one is not taken for it."""
    subprocess.run(["umount", MNT] if os.geteuid() == 0 else ["fusermount3", "-u", MNT],
                   check=True)
