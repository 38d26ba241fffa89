# SPDX-License-Identifier: MIT
"""The stored side of a vault: what lies there, to be changed and put back."""

import os
import shutil
import stat

RECORD = ".cryptfs-dir"
RECORD_ATTRIBUTE = "user.cryptfs.dir"


class Stored:
    """One entry as it lies in the vault."""

    def __init__(self, path):
        st = os.lstat(path)
        self.kind = stat.S_IFMT(st.st_mode)
        self.mode = stat.S_IMODE(st.st_mode)
        self.inode = st.st_ino
        self.device = st.st_rdev
        self.content = None
        self.attributes = {}
        if self.kind == stat.S_IFREG:
            self.content = read(path)
        elif self.kind == stat.S_IFLNK:
            self.content = os.readlink(path)
        if self.kind in (stat.S_IFREG, stat.S_IFDIR):
            self.attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)
                               if name.startswith("user.")}

    def same_kind(self, other):
        return (self.kind, self.device) == (other.kind, other.device) and (
            self.kind != stat.S_IFLNK or self.content == other.content)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def patch(path, offset, content):
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, content, offset)
    os.close(fd)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def copy(source, target):
    """A copy with attributes in the place of whatever target was."""
    remove(target)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, copy_function=copy)
    elif not os.path.isfile(source):
        st = os.lstat(source)
        os.mknod(target, st.st_mode, st.st_rdev)
    else:
        shutil.copy2(source, target)


def swap(one, two):
    os.rename(one, one + "~")
    os.rename(two, one)
    os.rename(one + "~", two)


def set_attributes(path, wanted):
    for name in os.listxattr(path):
        if name.startswith("user.") and name not in wanted:
            os.removexattr(path, name)
    for name, value in wanted.items():
        os.setxattr(path, name, value)


class Snapshot:
    """All that lies below a directory, in memory; by path relative to it."""

    def __init__(self, top):
        self.top = top
        self.entries = {}
        for parent, dirs, files in os.walk(top):
            for name in [""] + dirs + files if parent == top else dirs + files:
                path = os.path.join(parent, name)
                self.entries[os.path.relpath(path, top)] = Stored(path)

    def __getitem__(self, path):
        return self.entries[path]

    def by_inode(self):
        found = {}
        for path, entry in self.entries.items():
            found.setdefault(entry.inode, []).append(path)
        return found

    def restore(self):
        """Make everything as it was; what did not change is left alone."""
        self.remove_strangers(".")
        now = {}  # the inode that each one has by now, and the other way round
        was = {}
        for path in sorted(self.entries):
            full = os.path.join(self.top, path)
            entry = self.entries[path]
            if os.path.lexists(full):
                inode = os.lstat(full).st_ino
                if now.get(entry.inode, inode) != inode or \
                        was.get(inode, entry.inode) != entry.inode:
                    remove(full)
            if not os.path.lexists(full):
                self.make(full, entry, was, now)
            inode = os.lstat(full).st_ino
            now[entry.inode], was[inode] = inode, entry.inode
            correct(full, entry)

    def remove_strangers(self, path):
        for name in os.listdir(os.path.join(self.top, path)):
            below = os.path.normpath(os.path.join(path, name))
            full = os.path.join(self.top, below)
            wanted = self.entries.get(below)
            if not wanted or not wanted.same_kind(Stored(full)):
                remove(full)
            elif wanted.kind == stat.S_IFDIR:
                self.remove_strangers(below)

    def make(self, full, entry, was, now):
        if entry.inode in now:
            twin = next(path for path, other in sorted(self.entries.items())
                        if other.inode == entry.inode)
            os.link(os.path.join(self.top, twin), full, follow_symlinks=False)
        elif entry.kind == stat.S_IFDIR:
            os.mkdir(full, entry.mode)
        elif entry.kind == stat.S_IFLNK:
            os.symlink(entry.content, full)
        else:
            os.mknod(full, entry.mode | entry.kind, entry.device)


def correct(full, entry):
    if entry.kind == stat.S_IFREG and read(full) != entry.content:
        write(full, entry.content)
    if entry.kind in (stat.S_IFREG, stat.S_IFDIR):
        if stat.S_IMODE(os.lstat(full).st_mode) != entry.mode:
            os.chmod(full, entry.mode)
        if Stored(full).attributes != entry.attributes:
            set_attributes(full, entry.attributes)
