#!/usr/bin/env python3
"""faults.py MODE ... - operations on a mount whose disk fails, see faults.sh.

    inject MOUNT VAULT CONTROL EXPECTED [FAULT...]   in turn at every call of each
    full MOUNT FILLER EXPECTED                       without space, or inodes, left
    check MOUNT EXPECTED                             after a new mount: all as it was left
    tidy VAULT                                       no half of anything in the closed vault
    empty MOUNT                                      remove everything

What is demanded of an operation that failed: it said why, and what there was
before is there, and nothing else; one that succeeded is done.  Of both: when
the disk is well again the same can be done, and everything is so after a new mount.
"""

import base64
import errno
import hashlib
import json
import mmap
import os
import stat
import struct
import subprocess
import sys

CHANGES, READS, SYNCS, GROWS = 1, 2, 4, 8
ONCE, FROM_THEN_ON, HALF_ONCE, HALF_FAILS, INTERRUPTED = range(5)

LONG = "l" * 200
LONGER = "m" * 250


def fail(what):
    sys.exit("FAILED: " + what)


# ---- the state of a directory --------------------------------------------------


def content(path):
    with open(path, "rb") as f:
        return f.read()


def attributes(path):
    try:
        return {n: os.getxattr(path, n, follow_symlinks=False).hex()
                for n in os.listxattr(path, follow_symlinks=False)}
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            return {}
        raise


def state(top):
    """Everything below top that can be seen, but times."""
    out = {}
    for folder, dirs, files in os.walk(top, onerror=lambda e: (_ for _ in ()).throw(e)):
        for name in dirs + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            one = [stat.S_IFMT(st.st_mode), st.st_mode & 0o7777, st.st_nlink]
            if stat.S_ISREG(st.st_mode):
                one += [st.st_size, content(path).hex(), attributes(path)]
            elif stat.S_ISLNK(st.st_mode):
                one += [st.st_size, os.readlink(path)]
            elif stat.S_ISDIR(st.st_mode):
                one += [attributes(path)]
            out[os.path.relpath(path, top)] = one
    return out


def short(one):
    return {k: [x if len(repr(x)) < 60 else hashlib.sha256(repr(x).encode()).hexdigest()[:12]
                for x in v] for k, v in one.items()}


def is_torn(got, old, new, longer):
    """Content of which each block is old or new, all else as before; longer if it may be."""
    if got.keys() != old.keys():
        return False
    for name, one in got.items():
        before, after = old[name], new.get(name)
        if one == before:
            continue
        if after is None or one[:3] != before[:3] or one[5] != before[5]:
            return False
        a, b, c = (bytes.fromhex(x[4]) for x in (one, before, after))
        if len(a) != len(b) and not (longer and len(b) <= len(a) <= len(c)):
            return False
        b = b.ljust(len(a), b"\0")
        for i in range(0, len(a), 4096):
            block = a[i:i + 4096]
            if block not in (b[i:i + len(block)], c[i:i + len(block)]):
                return False
    return True


# ---- operations -----------------------------------------------------------------


def data(size, seed):
    return hashlib.shake_128(seed.encode()).digest(size)


def put(path, what, at=0, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o644)
    begun = False
    try:
        while what:
            n = os.pwrite(fd, what, at)
            what, at = what[n:], at + n
            begun = True
    except OSError as e:
        e.begun = begun  # the kernel cut it in several requests, and said so
        raise
    finally:
        os.close(fd)


def sync(path):
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def nothing(d):
    pass


def small(d):
    put(d + "/f", data(1000, "small"))


def big(d):
    put(d + "/f", data(40000, "big"))


def groups(d):
    put(d + "/f", data(300000, "groups"))


def two(make):
    def both(d):
        make(d)
        put(d + "/other", data(5000, "other"))
    return both


def directory(d):
    os.mkdir(d + "/d", 0o755)


def two_directories(d):
    directory(d)
    os.mkdir(d + "/e", 0o755)


def link(d):
    os.symlink("target", d + "/s")


def long_link(d):
    os.symlink("t" * 4000, d + "/s")


def fifo(d):
    os.mkfifo(d + "/p")


class Op:
    def __init__(self, name, before, run, torn=False, either=False):
        self.name, self.before, self.run = name, before, run
        self.torn = torn      # blocks may be old or new
        self.either = either  # all of it may have happened in spite of the error


def grow(size):
    return lambda d: put(d + "/f", data(size, "new"), os.path.getsize(d + "/f"))


def over(at, size):
    return lambda d: put(d + "/f", data(size, "over"), at)


def cut(size):
    return lambda d: os.truncate(d + "/f", size)


def rename(a, b):
    return lambda d: os.rename(d + "/" + a, d + "/" + b)


def allocate(at, size):
    def run(d):
        fd = os.open(d + "/f", os.O_RDWR)
        try:
            os.posix_fallocate(fd, at, size)
        finally:
            os.close(fd)
    return run


def fallocate(mode, at, size):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate64.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]

    def run(d):
        fd = os.open(d + "/f", os.O_RDWR)
        try:
            if libc.fallocate64(fd, mode, at, size):
                raise OSError(ctypes.get_errno(), "fallocate")
        finally:
            os.close(fd)
    return run


def copy_range(d):
    a, b = os.open(d + "/f", os.O_RDONLY), os.open(d + "/other", os.O_RDWR)
    try:
        done = 0
        while done < 40000:
            n = os.copy_file_range(a, b, 40000 - done, done, 5000 + done)
            if not n:
                break
            done += n
    finally:
        os.close(a)
        os.close(b)


def exchange(a, b):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    def run(d):
        if libc.renameat2(-100, (d + "/" + a).encode(), -100, (d + "/" + b).encode(), 2):
            raise OSError(ctypes.get_errno(), "renameat2")
    return run


OPS = [
    Op("create", nothing, lambda d: put(d + "/f", b"")),
    Op("create a long name", nothing, lambda d: put(d + "/" + LONG, b"")),
    Op("write small", small, grow(500)),
    Op("overwrite small", small, over(100, 300)),
    Op("overwrite all of small", small, over(0, 1000)),
    Op("small grows to blocks", small, grow(9000)),
    Op("empty grows to blocks", lambda d: put(d + "/f", b""), grow(9000)),
    Op("append", big, grow(20000)),
    Op("append inside a block", big, grow(100)),
    Op("append a new group", big, grow(400000)),
    Op("append to groups", groups, grow(300000)),
    Op("overwrite one block", big, over(8192, 4096)),
    Op("overwrite across blocks", big, over(5000, 9000), torn=True),
    Op("overwrite groups", groups, over(1000, 250000), torn=True),
    Op("overwrite and grow", big, over(30000, 30000), torn=True),
    Op("write behind the end", big, over(100000, 5000)),
    Op("write far behind the end", small, over(500000, 5000)),
    Op("extend small", small, cut(2000)),
    Op("extend small to blocks", small, cut(50000)),
    Op("extend blocks", big, cut(500000)),
    Op("cut small", small, cut(10)),
    Op("cut inside a block", big, cut(10001), either=True),
    Op("cut at a block", big, cut(8192), either=True),
    Op("cut groups", groups, cut(50001), either=True),
    Op("cut to nothing", big, cut(0), either=True),
    Op("reserve", big, allocate(0, 300000)),
    Op("reserve for small", small, allocate(0, 30000)),
    Op("punch a hole", groups, fallocate(3, 5000, 100000), torn=True),
    Op("zero a range", groups, fallocate(16, 5000, 100000), torn=True),
    Op("copy a range", two(big), copy_range, torn=True, either=True),
    Op("mkdir", nothing, directory),
    Op("mkdir of a long name", nothing, lambda d: os.mkdir(d + "/" + LONG)),
    Op("symlink", nothing, link),
    Op("symlink to far away", nothing, long_link),
    Op("symlink of a long name", nothing, lambda d: os.symlink("t" * 4000, d + "/" + LONG)),
    Op("mkfifo", nothing, fifo),
    Op("mkfifo of a long name", nothing, lambda d: os.mkfifo(d + "/" + LONG)),
    Op("link", big, lambda d: os.link(d + "/f", d + "/g")),
    Op("link to a long name", big, lambda d: os.link(d + "/f", d + "/" + LONG)),
    Op("link a fifo", fifo, lambda d: os.link(d + "/p", d + "/" + LONG)),
    Op("rename", big, rename("f", "g")),
    Op("rename to a long name", big, rename("f", LONG)),
    Op("rename over", two(big), rename("f", "other")),
    Op("rename a long name", lambda d: put(d + "/" + LONG, b"x"), rename(LONG, LONGER)),
    Op("rename into a directory", lambda d: (big(d), directory(d)), rename("f", "d/f")),
    Op("rename a directory", directory, rename("d", LONG)),
    Op("rename over a directory", two_directories, rename("d", "e")),
    Op("rename a symlink", link, rename("s", LONG)),
    Op("rename a symlink to far away", long_link, rename("s", "t")),
    Op("rename a symlink over one", lambda d: (long_link(d), os.symlink("x" * 4001, d + "/t")),
       rename("s", "t")),
    Op("rename a fifo", fifo, rename("p", LONG)),
    Op("exchange", two(big), exchange("f", "other")),
    Op("exchange symlink and file", lambda d: (big(d), long_link(d)), exchange("f", "s")),
    Op("exchange symlinks", lambda d: (long_link(d), os.symlink("x" * 4001, d + "/t")),
       exchange("s", "t")),
    Op("exchange directories", two_directories, exchange("d", "e")),
    Op("setxattr", big, lambda d: os.setxattr(d + "/f", "user.a", data(2000, "a"))),
    Op("replace an attribute",
       lambda d: (big(d), os.setxattr(d + "/f", "user.a", b"old")),
       lambda d: os.setxattr(d + "/f", "user.a", data(2000, "a"))),
    Op("setxattr of a directory", directory, lambda d: os.setxattr(d + "/d", "user.a", b"x" * 500)),
    Op("fsync", big, lambda d: sync(d + "/f")),
    Op("unlink", big, lambda d: os.unlink(d + "/f"), either=True),
    Op("unlink a long name", lambda d: put(d + "/" + LONG, b"x"), lambda d: os.unlink(d + "/" + LONG),
       either=True),
    Op("rmdir", directory, lambda d: os.rmdir(d + "/d"), either=True),
]

# Reading only: nothing may change, whatever comes of it.
LOOKS = [
    Op("read small", small, lambda d: content(d + "/f")),
    Op("read blocks", groups, lambda d: content(d + "/f")),
    Op("stat", big, lambda d: os.stat(d + "/f")),
    Op("stat a fifo", fifo, lambda d: stat.S_ISFIFO(os.lstat(d + "/p").st_mode) or fail("no fifo")),
    Op("readlink", link, lambda d: os.readlink(d + "/s")),
    Op("readlink to far away", long_link, lambda d: os.readlink(d + "/s") == "t" * 4000 or
       fail("another target")),
    Op("lstat of a symlink", long_link, lambda d: os.lstat(d + "/s").st_size == 4000 or
       fail("another size")),
    Op("list", lambda d: (big(d), put(d + "/" + LONG, b"x"), long_link(d), fifo(d)),
       lambda d: sorted(os.listdir(d)) == sorted(["f", LONG, "s", "p"]) or
       fail("listed: %r" % os.listdir(d))),
    Op("list deep", lambda d: (directory(d), put(d + "/d/x", b"x")),
       lambda d: os.listdir(d + "/d") == ["x"] or fail("listed: %r" % os.listdir(d + "/d"))),
    Op("look for what is not there", big, lambda d: os.path.lexists(d + "/none") and fail("there")),
    Op("getxattr", lambda d: (big(d), os.setxattr(d + "/f", "user.a", b"a")),
       lambda d: os.getxattr(d + "/f", "user.a")),
    Op("listxattr", lambda d: (big(d), os.setxattr(d + "/f", "user.a", b"a")),
       lambda d: os.listxattr(d + "/f")),
]


# ---- a disk that fails -------------------------------------------------------------


class Disk:
    def __init__(self, path):
        fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(fd, 4096)
        os.close(fd)

    def arm(self, kinds, how, error, left):
        self.map[0:28] = struct.pack("7i", 0, kinds, how, error, left, 0, 0)
        self.map[0:4] = struct.pack("i", 1)

    def heal(self):
        """How often it struck."""
        self.map[0:4] = struct.pack("i", 0)
        return struct.unpack("i", self.map[20:24])[0]


FAULTS = {
    "ENOSPC": (GROWS, FROM_THEN_ON, errno.ENOSPC),
    "ENOSPC-half": (GROWS, HALF_FAILS, errno.ENOSPC),
    "EDQUOT": (CHANGES, ONCE, errno.EDQUOT),
    "EIO": (CHANGES | SYNCS, ONCE, errno.EIO),
    "EIO-half": (CHANGES | SYNCS, HALF_FAILS, errno.EIO),
    "dead": (CHANGES | READS | SYNCS, FROM_THEN_ON, errno.EIO),
    "short": (CHANGES, HALF_ONCE, 0),
    "EINTR": (CHANGES | READS, INTERRUPTED, 0),
    "read": (READS, ONCE, errno.EIO),
    "read-on": (READS, FROM_THEN_ON, errno.EIO),
    "read-short": (READS, HALF_ONCE, 0),
}


def forget(top):
    """Let the kernel ask again for content; for attributes it does (attr_timeout=0)."""
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)


class Case:
    def __init__(self, top, op, what, cold):
        self.top, self.op, self.what = top, op, what
        self.begun = False
        self.reading = cold
        os.mkdir(top)
        op.before(top)
        self.old = state(top)
        if cold:
            forget(top)

    def run(self, errors):
        """Whether it succeeded."""
        try:
            self.op.run(self.top)
            return True
        except OSError as e:
            if e.errno not in errors:
                fail("%s: it failed with %s" % (self.what, errno.errorcode.get(e.errno, e.errno)))
            self.begun = getattr(e, "begun", False)
            return False

    def judge(self, succeeded, new):
        forget(self.top)
        got = state(self.top)
        if succeeded:
            fine = got == new
        elif self.what.startswith("dead "):
            # Nothing can be put back; what there is can be read.
            fine = set(got) <= set(self.old) | set(new)
        else:
            # That it was done may have been too much to find out.
            fine = got == self.old or ((self.op.either or self.reading) and got == new) or \
                ((self.op.torn or self.begun) and is_torn(got, self.old, new, self.begun))
        if not fine:
            fail("%s: it %s, and there is\n%s\nbefore\n%s\nwanted\n%s" % (
                self.what, "succeeded" if succeeded else "failed", short(got), short(self.old),
                short(new)))
        return got

    def again(self, got, new):
        """With a disk that is well it can be done, wherever it had got to."""
        if got == self.old:
            self.op.run(self.top)
            if state(self.top) != new:
                fail("%s: then without a fault: %s" % (self.what, short(state(self.top))))


def wanted(mount, op, cache):
    """What the operation does where nothing fails."""
    if op.name not in cache:
        top = "%s/model" % mount
        os.mkdir(top)
        op.before(top)
        op.run(top)
        cache[op.name] = state(top)
        remove(top)
    return cache[op.name]


def remove(top):
    for folder, dirs, files in os.walk(top, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in dirs:
            path = os.path.join(folder, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
    os.rmdir(top)


def usable(mount, ops):
    """Those that this mount can do at all: attributes and ranges may be missing."""
    out, cache = [], {}
    for op in ops:
        try:
            wanted(mount, op, cache)
            out.append(op)
        except OSError as e:
            if e.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL):
                raise
            print("not here: %s: %s" % (op.name, e))
            if os.path.exists(mount + "/model"):
                remove(mount + "/model")
    return out, cache


def inject(mount, vault, control, expected, *names):
    disk = Disk(control)
    kept, count = {}, 0
    for name in names or FAULTS:
        kinds, how, error = FAULTS[name]
        reading = bool(kinds & READS)
        struck_ops = 0
        ops, cache = usable(mount, LOOKS + OPS if reading else OPS)
        for number, op in enumerate(ops):
            new = wanted(mount, op, cache)
            struck, n = True, 0
            while struck:
                n += 1
                if n > 400:
                    fail("%s: %s: no end of calls" % (name, op.name))
                top = "%s/%s-%d-%d" % (mount, name, number, n)
                case = Case(top, op, "%s at call %d: %s" % (name, n, op.name), reading)
                disk.arm(kinds, how, error, n)
                try:
                    succeeded = case.run({error} if error else set())
                finally:
                    struck = bool(disk.heal())
                got = case.judge(succeeded, new)
                struck_ops += struck
                count += struck
                if n % 3:
                    case.again(got, new)
                kept[os.path.basename(top)] = None if name == "dead" else state(top)
        if not struck_ops:
            fail("%s: the disk never failed" % name)
        print("%-12s %d faults in %d operations" % (name, struck_ops, len(ops)))
    with open(expected, "w") as f:
        json.dump(kept, f)
    print("%d faults" % count)


# ---- a disk that is full --------------------------------------------------------------


def fill(path, leave=0):
    """Take all the space there is, but for so many bytes, or all inodes with -1."""
    if leave < 0:
        os.mkdir(path)
        for i in range(10000):
            try:
                os.mknod("%s/%d" % (path, i))
            except OSError:
                break
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    size = os.fstat(fd).st_size
    for piece in (1 << 20, 4096, 512):
        while True:
            try:
                n = os.pwrite(fd, b"x" * piece, size)
            except OSError:
                break
            size += n
    if leave:
        os.ftruncate(fd, max(0, size - leave))
    os.close(fd)


def unfill(path):
    if os.path.isdir(path):
        remove(path)
    else:
        os.unlink(path)


def full(mount, filler, expected):
    inodes = os.statvfs(os.path.dirname(filler)).f_files < 1000
    ops, cache = usable(mount, OPS)
    kept, failures = {}, 0
    if not inodes:
        fill(filler + ".ballast", 4 << 20)
    for number, op in enumerate(ops):
        new = wanted(mount, op, cache)
        for leave in (-1,) if inodes else (0, 40 * 4096):
            top = "%s/full-%d-%d" % (mount, number, leave)
            case = Case(top, op, "full but for %d: %s" % (leave, op.name), False)
            subprocess.check_call(["sync", "-f", os.path.dirname(filler)])
            fill(filler, leave)
            try:
                succeeded = case.run({errno.ENOSPC})
                got = case.judge(succeeded, new)
            finally:
                unfill(filler)
            failures += not succeeded
            case.again(got, new)
            kept[os.path.basename(top)] = state(top)
            if number % 5:
                remove(top)  # room for the next ones
                del kept[os.path.basename(top)]
    if not inodes:
        os.unlink(filler + ".ballast")
    if failures < (10 if inodes else len(ops) // 2):
        fail("only %d operations failed" % failures)
    with open(expected, "w") as f:
        json.dump(kept, f)
    print("%d operations failed for want of %s" % (failures, "inodes" if inodes else "space"))


# ---- afterwards ----------------------------------------------------------------------


def check(mount, expected):
    with open(expected) as f:
        kept = json.load(f)
    for name, one in kept.items():
        got = json.loads(json.dumps(state(mount + "/" + name)))
        if one is not None and got != one:
            fail("%s after a new mount:\n%s\nwas\n%s" % (name, short(got), short(one)))
    print("%d directories are as they were" % len(kept))


def hash_of(stored):
    digest = hashlib.blake2b(stored.encode(), digest_size=32).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def tidy(vault):
    for folder, dirs, files in os.walk(vault + "/tree"):
        names = set(dirs + files)
        entries = {n for n in names if not n.startswith((".cryptfs-", "link.", "node.")) and
                   not n.endswith(".name")}
        hashes = {hash_of(n): n for n in entries}
        for name in names - entries - {".cryptfs-dir"}:
            if name.startswith("long.") and name[:-5] in entries:
                continue
            of = hashes.get(name[5:])
            if of and name.startswith("link.") and os.path.islink(os.path.join(folder, of)):
                continue
            if of and name.startswith("node.") and \
                    not stat.S_ISREG(os.lstat(os.path.join(folder, of)).st_mode):
                continue
            fail("left over: %s/%s" % (folder, name))


def empty(mount):
    for name in os.listdir(mount):
        path = os.path.join(mount, name)
        remove(path) if os.path.isdir(path) else os.unlink(path)


if __name__ == "__main__":
    modes = {"inject": inject, "full": full, "check": check, "tidy": tidy, "empty": empty}
    modes[sys.argv[1]](*sys.argv[2:])
