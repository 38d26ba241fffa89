# SPDX-License-Identifier: MIT
"""What the vaults hold that are tampered with: one of everything.

The commands are those of view; who carries them out is the caller's matter.
Two generations, with the vault closed in between, so that there are old
versions of everything to be put back.
"""

import os
import stat

LONG_FILE = "L" * 200
LONG_DIR = "D" * 240
LONG_LINK = "S" * 220

FIRST = """
write f0 0 0 1
write f100 0 100 2
write f3071 0 3071 3
write f3072 0 3072 4
write f4096 0 4096 5
write f10k 0 10240 6
write f10k2 0 10240 7
write f200k 0 200000 8
write f460k 0 460000 9
write once 0 9000 10
write holes 0 5000 11
truncate holes 240000
write holes 220000 3000 12
write hard1 0 6000 13
write gone 0 500 14
write was-here 0 7000 15
write dir-1-file 0 10 16
mkdir d1 0755
mkdir d2 0750
mkdir d1/sub 0700
mkdir d2/sub 0711
mkdir empty 0755
mkdir was-dir 0755
mkdir {LONG_DIR} 0755
link hard1 d1/hard2
write d1/a 0 50 17
write d1/b 0 5000 18
write d2/a 0 60 19
write d2/b 0 5000 20
write d1/sub/deep 0 4112 21
write d2/sub/deep 0 100 22
write was-dir/inside 0 100 23
write {LONG_FILE} 0 100 24
write {LONG_DIR}/{LONG_FILE} 0 5000 25
symlink sl 9 26
symlink sl2 9 27
symlink was-sl 30 28
symlink d1/sl 12 29
symlink far 3500 30
symlink d1/far 3600 31
symlink farthest 4095 32
symlink {LONG_LINK} 40 33
setxattr f100 user.one 20 34
setxattr f100 user.two 20 35
setxattr f10k user.one 20 36
setxattr f10k2 user.one 300 37
setxattr d1 user.one 20 38
setxattr d2 user.one 20 39
mknod fifo 010644 0
mknod d1/fifo 010600 0
mknod sock 0140644 0
"""

NODES = """
mknod null 020666 0x103
mknod zero 020666 0x105
mknod block 060600 0x700
"""

SECOND = """
write f100 10 60 50
write f3071 0 3071 51
write f3072 100 2000 52
write f4096 0 4096 53
write f10k 0 10240 54
write f10k2 4096 4096 55
write f200k 0 200000 56
write f460k 0 460000 57
write holes 0 5000 58
write hard1 0 6000 59
write d1/a 0 50 60
write d1/b 0 5000 61
write d1/sub/deep 0 4112 62
write {LONG_FILE} 0 100 63
setxattr f100 user.one 20 64
setxattr d1 user.one 20 65
rename was-here is-here
rename was-dir d2/is-dir
rename was-sl is-sl
rename d2 d3
rm sl
symlink sl 9 66
rm far
symlink far 3500 67
rm gone
write new 0 700 68
write new-big 0 5000 69
"""


def lines(text):
    for line in text.strip().format(**globals()).splitlines():
        yield line.split()


def first(privileged):
    yield from lines(FIRST)
    if privileged:
        yield from lines(NODES)


def second():
    yield from lines(SECOND)


def pattern(size, seed, offset=0):
    """Bytes for a mount, that nobody else has to know."""
    block = (b"%d,%d;" % (seed, size)) * 64
    return (b"".join(block + b"%d" % i for i in range(size // len(block) + 1)))[:size]


class OnMount:
    """Carries the commands out below a mounted directory."""

    def __init__(self, top):
        self.top = top

    def __call__(self, what, *words):
        getattr(self, what)(*words)

    def at(self, path):
        return os.path.join(self.top, path)

    def mkdir(self, path, mode):
        os.mkdir(self.at(path), int(mode, 8))

    def write(self, path, offset, size, seed):
        fd = os.open(self.at(path), os.O_RDWR | os.O_CREAT, 0o640)
        os.pwrite(fd, pattern(int(size), int(seed)), int(offset))
        os.close(fd)

    def truncate(self, path, size):
        os.truncate(self.at(path), int(size))

    def symlink(self, path, size, seed):
        os.symlink((seed + "/x" * 2048)[:int(size)], self.at(path))

    def mknod(self, path, mode, device):
        number = int(device, 0)
        os.mknod(self.at(path), int(mode, 8), os.makedev(number >> 8, number & 255))

    def link(self, old, new):
        os.link(self.at(old), self.at(new))

    def rename(self, old, new):
        os.rename(self.at(old), self.at(new))

    def setxattr(self, path, name, size, seed):
        os.setxattr(self.at(path), name, pattern(int(size), int(seed)))

    def rm(self, path):
        path = self.at(path)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)
