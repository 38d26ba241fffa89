# SPDX-License-Identifier: MIT
"""A vault on a real mount, and what is seen there."""

import errno
import fcntl
import hashlib
import os
import stat
import subprocess
import time

from judge import Seen

BLOCK = 4096
LIMIT = 60  # seconds for anything to come or to go


def fingerprint(data):
    return "%d:%s" % (len(data), hashlib.blake2b(data, digest_size=8).hexdigest())


def zero(chunk):
    return fingerprint(bytes(int(chunk.split(":")[0]))) if ":" in chunk else chunk


def chunks_of(fd, size):
    """Block by block only where a larger read fails."""
    found = []
    offset = 0
    while offset < max(size, 1) + (1 << 20):
        try:
            data = os.pread(fd, 1 << 20, offset)
            if not data:
                break
            found += [fingerprint(data[at:at + BLOCK]) for at in range(0, len(data), BLOCK)]
            offset += len(data)
        except OSError:
            for at in range(offset, min(offset + (1 << 20), size), BLOCK):
                try:
                    found.append(fingerprint(os.pread(fd, BLOCK, at)))
                except OSError as e:
                    found.append("!%d" % e.errno)
            offset += 1 << 20
            if offset >= size:
                break
    return found


def attributes_of(path):
    found = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith("user."):
                try:
                    found[name] = fingerprint(os.getxattr(path, name, follow_symlinks=False))
                except OSError as e:
                    found[name] = "!%d" % e.errno
    except OSError as e:
        found[""] = "!%d" % e.errno
    return found


class Thing:
    def __init__(self, path):
        self.path = path
        self.fd = -1
        self.error = 0
        self.chunks = []
        try:
            self.st = os.lstat(path)
        except OSError as e:
            self.st, self.error = None, e.errno

    def kind(self):
        mode = self.st.st_mode if self.st else 0
        letter = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p",
                  stat.S_IFSOCK: "s", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(
                      stat.S_IFMT(mode), "?")
        if letter in "cb":
            letter += "%d:%d" % (os.major(self.st.st_rdev), os.minor(self.st.st_rdev))
        return letter

    def open(self):
        if self.kind() != "f":
            return
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as e:
            self.error = e.errno

    def read(self):
        if self.kind() == "l":
            try:
                self.chunks = [fingerprint(os.readlink(os.fsencode(self.path)))]
            except OSError as e:
                self.chunks = ["!%d" % e.errno]
        if self.fd >= 0:
            self.chunks = chunks_of(self.fd, os.fstat(self.fd).st_size)

    def seen(self):
        size = self.st.st_size if self.st and self.kind() in "fl" else 0
        attributes = attributes_of(self.path) if self.st and not self.error else {}
        return Seen(self.kind(), stat.S_IMODE(self.st.st_mode) if self.st else 0, size,
                    self.error, self.chunks, attributes, self.st.st_ino if self.st else 0)


def look(top):
    """All that is below a directory; its files are open at once while they are read."""
    things = {}

    def find(path, full):
        thing = things[path] = Thing(full)
        if thing.st and stat.S_ISDIR(thing.st.st_mode):
            try:
                for name in os.listdir(full):
                    find(name if path == "." else path + "/" + name, full + "/" + name)
            except OSError as e:
                thing.error = e.errno
    find(".", top)
    for thing in things.values():
        thing.open()
    for thing in things.values():
        thing.read()
    found = {path: thing.seen() for path, thing in things.items()}
    for thing in things.values():
        if thing.fd >= 0:
            os.close(thing.fd)
    return found


class Mount:
    """cryptfs-mount in the foreground, and its end."""

    def __init__(self, program, vault, point, passfile, log):
        self.command = [program, vault, point, "-f", "-o", "passfile=" + passfile]
        self.vault = vault
        self.point = point
        self.log = log
        self.process = None

    def start(self):
        """0 once it is mounted, or its exit status."""
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return self.process.returncode
            if self.is_there():
                return 0
            time.sleep(0.005)
        raise SystemExit("the mount hangs")

    def is_there(self):
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == self.point for line in f)

    def stop(self):
        """Unmount, and see it end well and the vault closed."""
        command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        end = time.monotonic() + LIMIT
        while subprocess.run(command + [self.point], stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > end:
                raise SystemExit("cannot unmount " + self.point)
            time.sleep(0.05)
        status = self.process.wait(LIMIT)
        if status:
            raise SystemExit("the mount process ended with %d" % status)
        fd = os.open(self.vault, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.close(fd)

    def abandon(self):
        """However it is: nothing of it stays."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        while self.is_there():
            command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
            subprocess.run(command + [self.point])


def remove(path):
    """0 if a damaged thing can be removed, or the error."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError as e:
        return e.errno
    return 0


NOT_EMPTY = errno.ENOTEMPTY
