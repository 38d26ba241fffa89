#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Placed deaths: the mount process dies at each system call of an operation.

    placed.py STEPPER [STRIDE [OFFSET]]   started by placed.sh

Each operation is done once in an ordinary directory, which tells what is there
before and after it, and then on the mount again and again: killed before its
first call that changes the vault, after the first, after the second ... until
it gets through.  (Before the next call is what it was after the last.)  After
each death the dead mount is mounted over, and the next death is of that mount
process.  With STRIDE only every so-manieth death is died."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import stat
import struct
import subprocess
import sys

import crashing
from crashing import BLOCK, MNT, WORK, WRITEBACK, Mount, Wrong, check_tree, snapshot, want

libc = ctypes.CDLL(None, use_errno=True)
LONG = "l" * 250
FAR = "/".join(["t" * 99] * 38)  # too long a target to be stored in a symlink


# ---- the operations ------------------------------------------------------------


def put(path, size, seed=1):
    """A file of so many bytes, none of its blocks like another."""
    with opened(path, os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, text(size, seed))


def text(size, seed):
    return b"".join(b"%d:%012d;" % (seed, i) for i in range(size // 15 + 1))[:size]


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    """With -o writeback it is fsync that ends a change of content."""
    fd = os.open(path, flags)
    try:
        yield fd
        if WRITEBACK:
            os.fsync(fd)
    finally:
        with contextlib.suppress(OSError):  # the first error counts
            os.close(fd)


def write(at, size):
    def op(d):
        with opened(d + "/f") as fd:
            os.pwrite(fd, text(size, 2), at)
    return op


def cut(length):
    def op(d):
        with opened(d + "/f") as fd:
            os.ftruncate(fd, length)
    return op


def fallocate(mode, at, size):
    def op(d):
        with opened(d + "/f") as fd:
            if libc.fallocate(fd, mode, ctypes.c_long(at), ctypes.c_long(size)):
                raise OSError(ctypes.get_errno(), "fallocate")
    return op


def rename(old, new, exchange=False):
    def op(d):
        if libc.renameat2(-100, os.fsencode(d + old), -100, os.fsencode(d + new),
                          2 if exchange else 0):
            raise OSError(ctypes.get_errno(), "renameat2")
    return op


def of_size(size):
    return lambda d: put(d + "/f", size)


def holding(*names, size=5000):
    """Files (a), directories with something in them (d/), without (e/), symlinks
    (short, far) and FIFOs by these names."""
    def setup(d):
        for i, name in enumerate(names):
            path = d + "/" + name.rstrip("/")
            if name.endswith("/"):
                os.mkdir(path)
                if name.startswith("d"):
                    put(path + "/inside", 100, i)
            elif name.startswith("short"):
                os.symlink("to/%d" % i, path)
            elif name.startswith("far"):
                os.symlink(FAR + str(i), path)
            elif name.startswith("fifo"):
                os.mkfifo(path)
            else:
                put(path, size, i)
                os.setxattr(path, "user.mark", b"%d" % i)
    return setup


def doing(call, *names, **words):
    """One call of the os module, on names in the directory."""
    return lambda d: call(*[d + n if isinstance(n, str) and n[:1] == "/" else n for n in names],
                          **words)


def make(name):
    return doing(lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)),
                 name)


def cut_off(d):
    with opened(d + "/f", os.O_RDWR | os.O_TRUNC):
        pass


nothing = holding()
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16

# Name, what is there before, what is done, and what else this may have looked like on
# the way.  TORN are changes of content.
TORN = [
    ("overwrite inside a block", of_size(3 * BLOCK), write(BLOCK + 5, 50)),
    ("overwrite blocks", of_size(5 * BLOCK), write(BLOCK, 3 * BLOCK)),
    ("overwrite across a group", of_size(52 * BLOCK), write(46 * BLOCK + 9, 4 * BLOCK)),
    ("append", of_size(BLOCK + 100), write(BLOCK + 100, 200)),
    ("append across blocks", of_size(BLOCK + 100), write(BLOCK + 100, 3 * BLOCK)),
    ("append across a group", of_size(47 * BLOCK + 7), write(47 * BLOCK + 7, 3 * BLOCK)),
    ("append much", of_size(46 * BLOCK + 7), write(46 * BLOCK + 7, 200 * BLOCK)),
    ("write the first bytes", of_size(0), write(0, 100)),
    ("write the first blocks", of_size(0), write(0, 3 * BLOCK)),
    ("rewrite a small file", of_size(1000), write(0, 1000)),
    ("append to a small file", of_size(1000), write(1000, 1000)),
    ("grow a small file", of_size(3000), write(3000, 200)),
    ("grow and overwrite a small file", of_size(3000), write(0, 3 * BLOCK)),
    ("write behind the end", of_size(5000), write(49 * BLOCK + 3, 2 * BLOCK)),
    ("cut inside a block", of_size(3 * BLOCK), cut(BLOCK + 100)),
    ("cut between blocks", of_size(5000), cut(BLOCK)),
    ("cut over groups", of_size(120 * BLOCK), cut(47 * BLOCK + 9)),
    ("cut to nothing", of_size(50 * BLOCK), cut(0)),
    ("cut by opening", of_size(50 * BLOCK), cut_off),
    ("cut a small file", of_size(1000), cut(500)),
    ("empty a small file", of_size(1000), cut(0)),
    ("extend", of_size(5000), cut(50 * BLOCK + 3)),
    ("extend a small file", of_size(1000), cut(3 * BLOCK)),
    ("allocate", of_size(5000), fallocate(0, 0, 50 * BLOCK)),
    ("punch blocks", of_size(70 * BLOCK), fallocate(PUNCH | KEEP_SIZE, 40 * BLOCK, 20 * BLOCK)),
    ("punch inside blocks", of_size(5 * BLOCK), fallocate(PUNCH | KEEP_SIZE, 100, 3 * BLOCK)),
    ("punch a small file", of_size(1000), fallocate(PUNCH | KEEP_SIZE, 100, 300)),
    ("zero over the end", of_size(5 * BLOCK), fallocate(ZERO, 2 * BLOCK + 9, 50 * BLOCK)),
]
WHOLE = [
    ("create", nothing, make("/new")),
    ("create by a long name", nothing, make("/" + LONG)),
    ("mkdir", nothing, doing(os.mkdir, "/new")),
    ("mkdir by a long name", nothing, doing(os.mkdir, "/" + LONG)),
    ("mkdir of an unusual mode", nothing, doing(os.mkdir, "/new", 0o1500),
     doing(os.mkdir, "/new", 0o1700)),  # its owner may write into it until all is there
    ("symlink", nothing, doing(os.symlink, "short", "/new")),
    ("symlink to far away", nothing, doing(os.symlink, FAR, "/new")),
    ("symlink by a long name", nothing, doing(os.symlink, FAR, "/" + LONG)),
    ("link", holding("a"), doing(os.link, "/a", "/new")),
    ("link by a long name", holding("a"), doing(os.link, "/a", "/" + LONG)),
    ("mkfifo", nothing, doing(os.mkfifo, "/new")),
    ("mkfifo by a long name", nothing, doing(os.mkfifo, "/" + LONG)),
    ("mknod", nothing, doing(os.mknod, "/new", 0o600 | stat.S_IFCHR, os.makedev(1, 7))),
    ("unlink", holding("a", "b"), doing(os.unlink, "/a")),
    ("unlink a long name", holding(LONG, "b"), doing(os.unlink, "/" + LONG)),
    ("unlink a symlink", holding("far"), doing(os.unlink, "/far")),
    ("unlink a FIFO", holding("fifo"), doing(os.unlink, "/fifo")),
    ("rmdir", holding("e/", "b"), doing(os.rmdir, "/e")),
    ("rmdir of a long name", holding("e" + LONG + "/"), doing(os.rmdir, "/e" + LONG)),
    ("rename", holding("a", "b"), rename("/a", "/c")),
    ("rename a small file", holding("a", size=500), rename("/a", "/c")),
    ("rename into another directory", holding("a", "d/"), rename("/a", "/d/a")),
    ("rename over a file", holding("a", "b"), rename("/a", "/b")),
    ("rename over a symlink", holding("a", "far"), rename("/a", "/far")),
    ("rename over a FIFO", holding("a", "fifo"), rename("/a", "/fifo")),
    ("rename to a long name", holding("a"), rename("/a", "/" + LONG)),
    ("rename from a long name", holding(LONG), rename("/" + LONG, "/a")),
    ("rename over a long name", holding("a", LONG), rename("/a", "/" + LONG)),
    ("rename a directory", holding("d/"), rename("/d", "/new")),
    ("rename a directory into another", holding("d1/", "d2/"), rename("/d1", "/d2/new")),
    ("rename over a directory", holding("d/", "e/"), rename("/d", "/e")),
    ("rename over a long directory", holding("d/", "e" + LONG + "/"), rename("/d", "/e" + LONG)),
    ("rename a symlink", holding("short"), rename("/short", "/new")),
    ("rename a far symlink", holding("far"), rename("/far", "/" + LONG)),
    ("rename a symlink over another", holding("far1", "far2"), rename("/far1", "/far2")),
    ("rename a FIFO", holding("fifo"), rename("/fifo", "/" + LONG)),
    ("rename a FIFO over another", holding("fifo1", "fifo2"), rename("/fifo1", "/fifo2")),
    ("exchange files", holding("a", LONG), rename("/a", "/" + LONG, True)),
    ("exchange a file and a directory", holding("a", "d/"), rename("/a", "/d", True)),
    ("exchange directories", holding("d1/", "d2/"), rename("/d1", "/d2", True)),
    ("exchange symlinks", holding("far1", "far2"), rename("/far1", "/far2", True)),
    ("exchange a symlink and a file", holding("far", "a"), rename("/far", "/a", True)),
    ("exchange a far symlink and a near one", holding("far", "short"),
     rename("/far", "/short", True)),
    ("exchange a FIFO and a symlink", holding("fifo", "far"), rename("/fifo", "/far", True)),
    ("setxattr", holding("a"), doing(os.setxattr, "/a", "user.new", b"v" * 3000)),
    ("replace an attribute", holding("a"), doing(os.setxattr, "/a", "user.mark", b"v" * 3000)),
    ("removexattr", holding("a"), doing(os.removexattr, "/a", "user.mark")),
    ("setxattr of a directory", holding("d/"), doing(os.setxattr, "/d", "user.new", b"value")),
    ("chmod", holding("a"), doing(os.chmod, "/a", 0o751)),
    ("chown", holding("a"), doing(os.chown, "/a", 12, 34)),
    ("utime", holding("a"), doing(os.utime, "/a", ns=(1, 2))),
]


class Scenario:
    def __init__(self, number, torn, name, setup, op, between=None):
        self.number, self.name, self.torn = number, name, torn
        self.setup, self.op, self.between = setup, op, between
        self.states = []
        self.calls = 0  # about as many as it makes

    def prepare(self, top, what):
        d = os.path.join(top, "%d-%s" % (self.number, what))
        os.mkdir(d)
        self.setup(d)
        return d

    def learn(self):
        """What it does to an ordinary directory; False if it cannot be done here."""
        try:
            d = self.prepare(PLAIN, "model")
            self.states.append(snapshot(d))
            if self.between:
                other = self.prepare(PLAIN, "between")
                self.between(other)
                self.states.append(snapshot(other))
            self.op(d)
            self.states.append(snapshot(d))
            d = self.prepare(MNT, "undisturbed")
            control.set(0, 0)
            self.op(d)
            self.calls = control.count
        except OSError as e:
            if e.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return False
        want(self.calls, self.name + ": no call seen")
        self.check(d)
        return True

    def check(self, d):
        try:
            check_tree(snapshot(d), self.states, self.torn)
        except (Wrong, OSError) as e:
            raise Wrong("%s: %s: %s" % (self.name, os.path.basename(d), e)) from None


# ---- deaths ----------------------------------------------------------------------


class Control:
    """What the stepper reads and tells: see there."""

    def __init__(self):
        path = os.path.join(WORK, "control")
        with open(path, "wb") as f:
            f.write(bytes(32))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32)
        self.command = [sys.argv[1], path]

    def set(self, at, after):
        struct.pack_into("=4I", self.map, 0, 0, after, 0, 0)
        struct.pack_into("=I", self.map, 0, at)

    def place(self, n):
        """A death after the n-th call, before the first with 0."""
        self.set(n or 1, n > 0)

    count = property(lambda self: struct.unpack_from("=I", self.map, 8)[0])
    struck = property(lambda self: bool(struct.unpack_from("=I", self.map, 12)[0]))
    pid = property(lambda self: struct.unpack_from("=I", self.map, 20)[0])


def stepped_mount():
    return Mount(control.command, pid=lambda: control.pid)


def dies(op, d, n):
    """Do op with a death placed in it: whether it came to that."""
    control.place(n)
    try:
        op(d)
    except OSError as e:
        # What a page could not be written for is EIO at fsync.
        if not control.struck or e.errno not in crashing.DIED | {errno.EIO} & {WRITEBACK * 5}:
            raise
    died = control.struck
    control.set(0, 0)
    return died


def use(d):
    """What a death left can be worked with; what it is then."""
    expected = {}
    for path, thing in snapshot(d).items():
        if thing.is_file():
            end = len(thing.data) + 5000
            with opened(os.path.join(d, path)) as fd:
                os.pwrite(fd, b"used", 10)
                os.pwrite(fd, b"used", end)
            thing.data = thing.data.ljust(end, b"\0")
            thing.data = thing.data[:10] + b"used" + thing.data[14:] + b"used"
        expected[path] = thing
    found = snapshot(d)
    want(found == expected, d + ": not what was written to it after a death")
    for name in os.listdir(d):
        os.rename(os.path.join(d, name), os.path.join(d, name + "~"))
    make("/more")(d)
    return snapshot(d)


class Deaths:
    """The mount process there is, and what its forerunners have left."""

    def __init__(self):
        self.mount = stepped_mount()
        self.n = 0
        self.left = {}

    def come_back(self):
        self.n += 1
        self.mount.wait()
        self.mount = stepped_mount()

    def leave(self, d):
        self.left[d] = use(d)

    def everywhere(self, scenario, directory_for, chosen):
        """False if it never got through."""
        for n in range(scenario.calls + SPARE):
            if not chosen(n):
                continue
            d = directory_for(n)
            died = dies(scenario.op, d, n)
            if died:
                self.come_back()
            scenario.check(d)
            self.leave(d)
            if not died:
                return True
        return False

    def finish(self):
        """All is still there after a clean unmount, and can be removed."""
        self.mount.unmount()
        crashing.check_vault()
        self.mount = stepped_mount()
        for d, thing in self.left.items():
            want(snapshot(d) == thing, d + " is another after settling")
        for name in os.listdir(MNT):
            crashing.remove(os.path.join(MNT, name))
        self.mount.unmount()


# A settled file needs a call or two more than one that was just made.
SPARE = 6


def all_operations(stride, offset):
    deaths = Deaths()
    scenarios = [Scenario(i, i < len(TORN), *what) for i, what in enumerate(TORN + WHOLE)]
    left_out = [s.name for s in scenarios if not s.learn()]
    if left_out:
        print("   not supported here:", ", ".join(left_out))
    scenarios = [s for s in scenarios if s.calls]

    def chosen(s, settled, n):
        return (s.number + 2 * n + settled) % stride == offset

    for s in scenarios:
        for n in range(s.calls + SPARE):
            if chosen(s, True, n):
                s.prepare(MNT, "settled-%d" % n)
    deaths.mount.unmount()
    deaths.mount = stepped_mount()
    for s in scenarios:
        through = [deaths.everywhere(
            s, lambda n: os.path.join(MNT, "%d-settled-%d" % (s.number, n)),
            lambda n: chosen(s, True, n)), deaths.everywhere(
                s, lambda n: s.prepare(MNT, "fresh-%d" % n), lambda n: chosen(s, False, n))]
        want(all(through) or stride > 1, s.name + " never got through")
    deaths.finish()
    print("   %d deaths in %d operations" % (deaths.n, len(scenarios)))


def settling(stride):
    """The end of a mount, itself cut off: closed and renamed things of each kind."""
    names = ("a", "b", "d/", "short", "far", LONG)

    def end(d):
        os.kill(deaths.mount.pid(), signal.SIGTERM)
        deaths.mount.process.wait(crashing.LIMIT)

    deaths = Deaths()
    for n in range(0, 1000, stride):
        d = os.path.join(MNT, str(n))
        os.mkdir(d)
        holding(*names)(d)
        of_size(120 * BLOCK)(d)
        cut(47 * BLOCK + 9)(d)
        write(60 * BLOCK, 2 * BLOCK)(d)
        for name in names:
            os.rename(os.path.join(d, name.rstrip("/")), os.path.join(d, "new" + name.rstrip("/")[:9]))
        before = snapshot(d)
        died = dies(end, d, n)
        deaths.mount.wait()
        deaths.mount = stepped_mount()
        want(snapshot(d) == before, "settling cut off after %d calls lost something" % n)
        deaths.leave(d)
        if not died:
            break
    print("   %d deaths while settling" % (n // stride))
    deaths.finish()


def opens_with(passfile):
    try:
        Mount(passfile=passfile, may_say=["copies of the configuration are whole again"]).unmount()
    except Wrong as e:
        want("wrong passphrase" in str(e), str(e))
        return False
    return True


def passphrase():
    """cryptfs passwd: the old passphrase or the new one opens the vault."""
    new = os.path.join(WORK, "new-passphrase")
    with open(os.open(new, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write("another one\n")
    old, died, n = crashing.PASSFILE, True, 0
    while died:
        control.place(n)
        status = subprocess.run(
            control.command + [os.environ["CRYPTFS"], "passwd", "--passfile", old,
                               "--new-passfile", new, "--kdf-memory", "64",
                               "--kdf-operations", "3", crashing.VAULT],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
        died = control.struck
        want(status == (137 if died else 0), "passwd: status %d" % status)
        control.set(0, 0)
        if opens_with(new):
            want(not opens_with(old), "both passphrases open the vault")
            old, new = new, old
        else:
            want(died and opens_with(old), "no passphrase opens the vault after %d calls" % n)
        n += 1
    print("   %d deaths while the passphrase was changed" % (n - 1))


def main():
    global control
    control = Control()
    stride, offset = [int(v) for v in sys.argv[2:4] + ["1", "0"][len(sys.argv) - 2:]]
    os.mkdir(PLAIN)
    crashing.new_vault()
    try:
        all_operations(stride, offset)
        settling(stride)
        passphrase()
    except Wrong as e:
        sys.exit("FAILED: %s" % e)


PLAIN = os.path.join(WORK, "plain")
control = None
if __name__ == "__main__":
    main()
