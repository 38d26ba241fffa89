#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""churn.py DIRECTORY SEED - change things below a directory, at random but the
same for a seed, a line on standard output for each, until the filesystem is gone."""

import errno
import os
import random
import sys

top = sys.argv[1]
chance = random.Random(int(sys.argv[2]))


def path():
    """One of few names, so that most of them exist, some of them long."""
    name = chance.choice("abcdefgh") * chance.choice((1, 1, 1, 200))
    return os.path.join(top, *(["dir" + chance.choice("xyz")] * chance.randint(0, 1)), name)


def write():
    how = chance.choice((os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_APPEND))
    fd = os.open(path(), how | os.O_RDWR | os.O_NONBLOCK)  # it may be a FIFO
    try:
        os.pwrite(fd, os.urandom(chance.choice((1, 10, 3000, 4096, 9000, 300000))),
                  chance.choice((0, 0, 0, 100, 3000, 4096, 5000, 200000, 300000)))
    finally:
        os.close(fd)


def cut():
    os.truncate(path(), chance.choice((0, 1, 3071, 3072, 4096, 5000, 196608, 200001, 600000)))


def symlink():
    os.symlink("t" * chance.choice((1, 20, 2500, 4000)), path())


def attribute():
    os.setxattr(path(), "user." + chance.choice("abc"), os.urandom(chance.choice((0, 10, 100))))


def swap():
    """Through renames, as there is no exchange here."""
    a, b = path(), path()
    os.rename(a, b + "+")
    os.rename(b, a)
    os.rename(b + "+", b)


ACTIONS = (
    write, write, write, cut, symlink, attribute, swap,
    lambda: os.rename(path(), path()),
    lambda: os.rename(path(), path()),
    lambda: os.link(path(), path()),
    lambda: os.mkdir(path()),
    lambda: os.mkdir(os.path.join(top, "dir" + chance.choice("xyz"))),
    lambda: os.rename(os.path.join(top, "dir" + chance.choice("xyz")), path()),
    lambda: os.rename(path(), os.path.join(top, "dir" + chance.choice("xyz"))),
    lambda: os.rmdir(path()),
    lambda: os.mkfifo(path()),
    lambda: os.unlink(path()),
)

while True:
    try:
        chance.choice(ACTIONS)()
    except OSError as e:
        if e.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            sys.exit(0)
        if e.errno == errno.EIO:
            print("EIO", flush=True)
            sys.exit(1)
    print("done", flush=True)
