#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Random deaths: the mount process dies under several writers at any moment.

    random_deaths.py ROUNDS [SEED [WRITERS]]   started by random.sh

Each writer is a process with a directory of its own that knows what is there:
what was acknowledged, and the one thing that was under way when the mount died.
It compares that with what the next mount shows, takes it for what is there now,
and goes on.  Every so many rounds a mount ends cleanly in between."""

import ctypes
import errno
import os
import random
import select
import socket
import stat
import sys
import time
import traceback

import crashing
from crashing import (BLOCK, MNT, OPTIONS, WRITEBACK, Mount, Thing, Wrong, check_tree, snapshot,
                      want)

libc = ctypes.CDLL(None, use_errno=True)
CLEAN_EVERY = 25
MAX_SIZE = 300 * 1024
MAX_THINGS = 24
FALL = {"punch": 3, "zero": 16}


class Writer:
    """What is in a directory, and what is done to it."""

    def __init__(self, number, seed):
        self.rng = random.Random("%d %d" % (seed, number))
        self.top = os.path.join(MNT, "writer%d" % number)
        self.now = {}
        self.pending = None  # what it may be like instead, and whether torn
        self.doing = "nothing"
        self.done = 0
        self.without = set()  # what this filesystem does not support

    # ---- choosing ----

    def path(self, name):
        return os.path.join(self.top, name)

    def pick(self, ok):
        names = sorted(n for n, t in self.now.items() if n != "." and ok(t))
        return self.rng.choice(names) if names else None

    def pick_file(self):
        return self.pick(Thing.is_file)

    def fresh(self):
        """A name that is not there, often long, sometimes in a directory below."""
        parents = ["."] + sorted(n for n, t in self.now.items() if t.is_dir() and "/" not in n)
        parent = self.rng.choice(parents)
        name = "%x" % self.rng.getrandbits(40)
        if self.rng.random() < 0.2:
            name = name.ljust(self.rng.randrange(161, 256), "l")
        return os.path.normpath(os.path.join(parent, name))

    def bytes(self, size):
        return self.rng.randbytes(size)

    def size(self):
        return self.rng.choice((self.rng.randrange(1, 100), self.rng.randrange(1, 3500),
                                self.rng.randrange(1, 3 * BLOCK), BLOCK * self.rng.randrange(1, 9),
                                self.rng.randrange(1, 200 * 1024)))

    # ---- doing ----

    def change(self, new, torn, call):
        """Do what makes new of what is there now."""
        self.pending = (new, torn)
        call()
        self.now, self.pending = new, None
        self.done += 1

    def with_file(self, name, **changes):
        """What is there, with a file changed, under all its names."""
        thing = self.now[name].but(**changes)
        return {n: thing if t.inode == thing.inode else t for n, t in self.now.items()}

    def without_name(self, names, name):
        thing = names[name]
        left = thing.but(links=thing.links - 1)
        return {n: left if t.inode == thing.inode else t for n, t in names.items() if n != name}

    def content(self, name, data, call):
        """Change the content of a file, through a descriptor."""
        def do():
            fd = os.open(self.path(name), os.O_RDWR)
            try:
                call(fd)
                if WRITEBACK:
                    os.fsync(fd)
            finally:
                try:
                    os.close(fd)
                except OSError:
                    pass  # the first error counts
        if len(data) <= MAX_SIZE:
            self.change(self.with_file(name, data=data), True, do)

    def write(self):
        name = self.pick_file()
        if not name:
            return
        old, new = self.now[name].data, self.bytes(self.size())
        at = self.rng.choice((0, len(old), self.rng.randrange(len(old) + 1),
                              len(old) // BLOCK * BLOCK, self.rng.randrange(len(old) + 60000)))
        data = old.ljust(at, b"\0")

        def call(fd):
            if os.pwrite(fd, new, at) != len(new):
                raise OSError(errno.ENOTCONN, "died between two requests of one call")
        self.content(name, data[:at] + new + data[at + len(new):], call)

    def cut(self):
        name = self.pick_file()
        if not name:
            return
        old = self.now[name].data
        length = self.rng.choice((0, self.rng.randrange(len(old) + 1), len(old) // 2,
                                  len(old) // BLOCK * BLOCK, self.rng.randrange(2 * len(old) + 9)))
        self.content(name, old[:length].ljust(length, b"\0"),
                     lambda fd: os.ftruncate(fd, length))

    def hole(self):
        name, how = self.pick_file(), self.rng.choice(sorted(FALL))
        if not name or how in self.without or not self.now[name].data:
            return
        old = self.now[name].data
        at, size = self.rng.randrange(len(old)), self.size()
        end = min(at + size, len(old))
        data = old[:at] + bytes(end - at) + old[end:]
        if how == "zero":
            data = data.ljust(at + size, b"\0")

        def call(fd):
            if libc.fallocate(fd, FALL[how], ctypes.c_long(at), ctypes.c_long(size)):
                raise OSError(ctypes.get_errno(), "fallocate")
        self.content(name, data, call)

    def new_file(self):
        self.make(self.fresh(), Thing(stat.S_IFREG | 0o640), lambda p: os.close(
            os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)))

    def new_dir(self):
        self.make(self.fresh(), Thing(stat.S_IFDIR | 0o755), os.mkdir)

    def new_fifo(self):
        self.make(self.fresh(), Thing(stat.S_IFIFO | 0o644), os.mkfifo)

    def new_symlink(self):
        target = b"t" * self.rng.choice((1, 40, 3000, 4000))
        self.make(self.fresh(), Thing(stat.S_IFLNK | 0o777, target),
                  lambda p: os.symlink(target, os.fsencode(p)))

    def make(self, name, thing, call):
        if len(self.now) < MAX_THINGS and name.count("/") < 2:
            self.change({**self.now, name: thing}, False, lambda: call(self.path(name)))

    def link(self):
        old, new = self.pick_file(), self.fresh()
        if not old or len(self.now) >= MAX_THINGS:
            return
        names = self.with_file(old, links=self.now[old].links + 1)
        self.change({**names, new: names[old]}, False,
                    lambda: os.link(self.path(old), self.path(new)))

    def unlink(self):
        name = self.pick(lambda t: not t.is_dir())
        if name:
            self.change(self.without_name(self.now, name), False,
                        lambda: os.unlink(self.path(name)))

    def rmdir(self):
        name = self.pick(Thing.is_dir)
        if name and not self.is_full(name):
            self.change(self.without_name(self.now, name), False,
                        lambda: os.rmdir(self.path(name)))

    def is_full(self, name):
        return any(n.startswith(name + "/") for n in self.now)

    def moved(self, names, old, new):
        return {new + n[len(old):] if n == old or n.startswith(old + "/") else n: t
                for n, t in names.items()}

    def rename(self):
        old, new = self.pick(lambda t: True), self.fresh()
        if old and not new.startswith(old + "/") and not (self.now[old].is_dir() and "/" in new):
            self.change(self.moved(self.now, old, new), False,
                        lambda: os.rename(self.path(old), self.path(new)))

    def rename_over(self):
        old = self.pick(lambda t: True)
        new = old and self.pick(lambda t: t.is_dir() == self.now[old].is_dir()
                                and t.inode != self.now[old].inode)
        if not new or new.startswith(old + "/") or self.is_full(new) or (
                self.now[old].is_dir() and "/" in new):
            return
        self.change(self.moved(self.without_name(self.now, new), old, new), False,
                    lambda: os.rename(self.path(old), self.path(new)))

    def exchange(self):
        one, two = self.pick(lambda t: True), self.pick(lambda t: True)
        if not one or one.startswith(two + "/") or two.startswith(one + "/") or \
                self.now[one].inode == self.now[two].inode:
            return
        if ("/" in one) != ("/" in two) and self.now[one].is_dir() | self.now[two].is_dir():
            return

        def call():
            if libc.renameat2(-100, os.fsencode(self.path(one)), -100,
                              os.fsencode(self.path(two)), 2):
                raise OSError(ctypes.get_errno(), "renameat2")
        names = self.moved(self.moved(self.moved(self.now, one, "?"), two, one), "?", two)
        self.change(names, False, call)

    def set_attribute(self):
        name = self.pick(lambda t: t.is_file() or t.is_dir())
        if not name:
            return
        thing, what = self.now[name], "user.%d" % self.rng.randrange(3)
        attributes = dict(thing.attributes)
        if what in attributes and self.rng.random() < 0.5:
            del attributes[what]
            call = lambda: os.removexattr(self.path(name), what)
        else:
            value = attributes[what] = self.bytes(self.rng.choice((0, 10, 900)))
            call = lambda: os.setxattr(self.path(name), what, value)
        self.change(self.with_file(name, attributes=attributes), False, call)

    def chmod(self):
        name, mode = self.pick_file(), self.rng.choice((0o600, 0o644, 0o755, 0o400))
        if name:
            self.change(self.with_file(name, mode=stat.S_IFREG | mode), False,
                        lambda: os.chmod(self.path(name), mode))

    def fsync(self):
        name = self.pick_file()
        if name:
            self.content(name, self.now[name].data, os.fsync)

    def read(self):
        name = self.pick_file()
        if name:
            with open(self.path(name), "rb") as f:
                want(f.read() == self.now[name].data, name + " is another while it is used")

    MENU = [write] * 12 + [cut] * 4 + [hole] * 3 + [new_file] * 4 + [
        new_dir, new_fifo, new_symlink, link, unlink, unlink, rmdir, rename, rename, rename_over,
        rename_over, exchange, exchange, set_attribute, set_attribute, chmod, fsync, read, read]

    # ---- rounds ----

    def run(self):
        """Until the mount dies."""
        while True:
            op = self.rng.choice(self.MENU)
            self.doing = op.__name__
            try:
                op(self)
            except OSError as e:
                if e.errno in crashing.DIED or (WRITEBACK and e.errno == errno.EIO):
                    return
                if op is Writer.hole and e.errno == errno.EOPNOTSUPP:
                    self.pending = None
                    self.without |= set(FALL)
                    continue
                if e.errno == errno.EACCES and op in (Writer.write, Writer.cut, Writer.hole,
                                                      Writer.fsync, Writer.set_attribute):
                    self.pending = None  # mode 0400, and we are not root
                    continue
                raise Wrong("refused: %s" % e) from None

    def verify(self):
        if not self.now:
            os.makedirs(self.top, exist_ok=True)
            self.now = snapshot(self.top)
        found = snapshot(self.top)
        states, torn = [self.now], False
        if self.pending:
            states, torn = [self.now, self.pending[0]], self.pending[1]
        check_tree(found, states, torn)
        for name, thing in found.items():
            for state in states:
                if name in state and set(state) == set(found):
                    same = [n for n, t in state.items() if t.inode == state[name].inode]
                    if all(found[n].inode == thing.inode for n in same):
                        break
            else:
                raise Wrong("%s is not what other names of it are" % name)
        self.now, self.pending = found, None

    def serve(self, orders):
        """A process: for each letter one line."""
        os.umask(0o022)
        while True:
            order = orders.recv(1)
            if not order:
                os._exit(0)
            try:
                self.verify() if order == b"v" else self.run()
                answer = "ok %d" % self.done
            except Wrong as e:
                answer = "%s (%s was under way)" % (e, self.doing)
            except BaseException:
                answer = "%s (%s was under way)" % (traceback.format_exc(), self.doing)
            orders.send(answer.encode())


def start(writer):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        try:
            writer.serve(theirs)
        finally:
            os._exit(1)
    theirs.close()
    return ours


def tell(writers, order):
    for w in writers:
        w.send(order)


def hear(writers):
    done = 0
    for number, w in enumerate(writers):
        want(select.select([w], [], [], crashing.LIMIT)[0], "writer %d hangs" % number)
        answer = w.recv(1 << 16).decode()
        want(answer.startswith("ok "), "writer %d: %s" % (number, answer or "is gone"))
        done += int(answer[3:])
    return done


def early_deaths(n, rng):
    """While a mount comes, when the mount process asks itself whether it is there."""
    for _ in range(n):
        mount = Mount(options=["workers=0"], until=Mount.is_listed)
        time.sleep(rng.uniform(0, 0.003))
        mount.kill()
        crashing.detach()


WAYS = [["workers=auto"], ["workers=0"], ["workers=2", "strict"]]


def rounds(n, rng, writers):
    done = 0
    for i in range(n):
        options = [] if any(o.startswith("workers") for o in OPTIONS) else rng.choice(WAYS)
        mount = Mount(options=options)
        tell(writers, b"v")
        done = hear(writers)
        if i % CLEAN_EVERY == CLEAN_EVERY - 1:
            mount.unmount()
            crashing.check_vault()
            mount = Mount(options=options)
            tell(writers, b"v")
            hear(writers)
        tell(writers, b"g")
        time.sleep(10 ** rng.uniform(-4, -1))  # when, is what is random here
        mount.kill()
        hear(writers)
    mount = Mount()
    tell(writers, b"v")
    hear(writers)
    for name in os.listdir(MNT):
        crashing.remove(os.path.join(MNT, name))
    mount.unmount()
    print("   %d deaths, %d changes acknowledged" % (n, done))


def main():
    n, seed, count = [int(v) for v in sys.argv[1:4] + ["1", "3"][len(sys.argv) - 2:]]
    crashing.new_vault()
    writers = [start(Writer(i, seed)) for i in range(count)]
    try:
        early_deaths(n, random.Random(seed))
        rounds(n, random.Random(seed), writers)
    except Wrong as e:
        sys.exit("FAILED (seed %d): %s" % (seed, e))


if __name__ == "__main__":
    main()
