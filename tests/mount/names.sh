#!/bin/bash
# Every name the kernel allows works, and so do links of every kind, the
# flags of rename, and special files.
. "$(dirname "$0")/../support/mounted.sh"

cat >"$work/names.py" <<'PY'
import ctypes
import errno
import os
import stat
import sys

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2


def want(ok, what):
    if not ok:
        sys.exit("FAILED: " + what)


def refuses(code, what, call, *args):
    try:
        call(*args)
    except OSError as e:
        want(e.errno == code, f"{what}: {e}")
    else:
        want(False, f"{what}: was allowed")


def rename2(old, new, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def put(name, text):
    with open(name, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())


def get(name):
    with open(name, "rb") as f:
        return f.read().decode()


def all_names():
    """Each byte alone, all of them together, each length, and languages."""
    names = [bytes([b]) for b in range(1, 256) if bytes([b]) not in (b"/", b".")]
    names.append(bytes(b for b in range(1, 256) if b != ord("/")))
    names += [b"n" * n for n in range(2, 256)]
    names += [s.encode() for s in ("grüße", "日本語の名前", "😀 und mehr", "e\u0301", "\u00e9", "A", "a", " ", "..."
                                   , "long.name", ".cryptfs", "-rf", "new\nline", "*?[]")]
    return sorted(set(names))


def make_names():
    os.mkdir("names")
    for name in all_names():
        put(b"names/" + name, name)
    refuses(errno.ENAMETOOLONG, "a name of 256 bytes", put, b"names/" + b"x" * 256, b"")
    os.mkdir("long")
    for i in range(400):
        put("long/" + f"{i:05d}".ljust(255, "L"), str(i))


def check_names():
    want(sorted(os.listdir(b"names")) == all_names(), "the listing has every name once")
    for name in all_names():
        with open(b"names/" + name, "rb") as f:
            want(f.read() == name, f"content of {name!r}")
    want(len(os.listdir("long")) == 400, "400 long names in one directory")
    for i in range(0, 400, 7):
        want(get("long/" + f"{i:05d}".ljust(255, "L")) == str(i), f"long name {i}")


def renames():
    os.mkdir("renames")
    os.chdir("renames")
    long1, long2 = "1" * 255, "2" * 250
    put("short", "one")
    os.rename("short", long1)
    want(get(long1) == "one" and os.listdir() == [long1], "short to long")
    os.rename(long1, long2)
    want(get(long2) == "one" and os.listdir() == [long2], "long to long")
    os.rename(long2, "short")
    want(get("short") == "one" and os.listdir() == ["short"], "long to short")
    put(long1, "two")
    os.rename("short", long1)
    want(get(long1) == "one" and os.listdir() == [long1], "short over an existing long one")
    put("short", "three")
    os.rename(long1, "short")
    want(get("short") == "one" and os.listdir() == ["short"], "long over an existing short one")

    put("a", "A")
    put("b", "B")
    refuses(errno.EEXIST, "NOREPLACE over a file", rename2, "a", "b", NOREPLACE)
    want(get("a") == "A" and get("b") == "B", "NOREPLACE changed nothing")
    rename2("a", "c", NOREPLACE)
    want(get("c") == "A" and not os.path.exists("a"), "NOREPLACE to a free name")
    rename2("b", "c", EXCHANGE)
    want(get("b") == "A" and get("c") == "B", "EXCHANGE of two files")
    refuses(errno.ENOENT, "EXCHANGE with nothing", rename2, "b", "nothing", EXCHANGE)
    os.mkdir("d")
    put("d/inside", "I")
    rename2("b", "d", EXCHANGE)
    want(get("b/inside") == "I" and get("d") == "A", "EXCHANGE of a file and a directory")
    put(long1, "L")
    rename2(long1, "c", EXCHANGE)
    want(get(long1) == "B" and get("c") == "L", "EXCHANGE of a long and a short name")
    os.symlink("target", "link")
    rename2("link", "c", EXCHANGE)
    want(os.readlink("c") == "target" and get("link") == "L", "EXCHANGE of a symlink and a file")

    os.makedirs("x/y")
    put("x/y/deep", "D")
    os.rename("x", "z")
    want(get("z/y/deep") == "D", "a directory keeps its content")
    os.mkdir("e")
    os.rename("z", "e")
    want(get("e/y/deep") == "D", "over an empty directory")
    os.mkdir("full")
    refuses(errno.ENOTEMPTY, "over a full directory", os.rename, "full", "e")
    refuses(errno.EINVAL, "into itself", os.rename, "e", "e/y/e")
    refuses(errno.EISDIR, "a file over a directory", os.rename, "c", "full")
    refuses(errno.ENOTDIR, "a directory over a file", os.rename, "full", "d")
    refuses(errno.ENOTEMPTY, "rmdir of a full directory", os.rmdir, "e")
    with open("d", "rb") as f:
        os.rename("d", "d2")
        want(f.read() == b"A", "an open file is renamed")
        os.rename("d2", "e/y/d3")
    want(get("e/y/d3") == "A", "into another directory")
    os.chdir("..")


def hard_links():
    os.mkdir("hard")
    os.chdir("hard")
    put("first", "x" * 5000)
    os.link("first", "second")
    os.mkdir("sub")
    os.link("first", "sub/" + "t" * 255)
    a, b = os.stat("first"), os.stat("second")
    want(a.st_nlink == 3 and a.st_ino == b.st_ino, "three names of one file")
    with open("second", "r+b") as f:
        f.seek(4095)
        f.write(b"yy")
    want(get("first")[4090:4100] == "x" * 5 + "yy" + "x" * 3, "a write through one name is seen through the other")
    os.unlink("first")
    want(get("second")[4095:4097] == "yy" and os.stat("second").st_nlink == 2, "the first name may go")
    os.rename("second", "renamed")
    want(get("sub/" + "t" * 255)[4095:4097] == "yy", "and another be renamed")
    refuses(errno.EEXIST, "link over a file", os.link, "renamed", "sub/" + "t" * 255)
    refuses(errno.EPERM, "link to a directory", os.link, "sub", "sub2")
    os.symlink("nowhere", "soft")
    os.chdir("..")


def targets():
    return {"s%d" % n: ("t" * 254 + "/") * (n // 255) + "e" * (n % 255) for n in (1, 2, 60, 255, 2800, 3000, 4000, 4095)}


def symlinks():
    os.mkdir("soft")
    os.chdir("soft")
    for name, target in targets().items():
        os.symlink(target, name)
    refuses(errno.ENAMETOOLONG, "a target of 4096 bytes", os.symlink, "t" * 4096, "toolong")
    os.symlink("nowhere at all", "dangling")
    if os.geteuid() == 0:
        os.setxattr("dangling", "trusted.note", b"kept", follow_symlinks=False)
    refuses(errno.ENOENT, "use of a dangling link", open, "dangling")
    put("file", "through")
    os.symlink("file", "to-file")
    want(get("to-file") == "through", "a link is followed")
    os.symlink("../soft", "k" * 255)
    want(get("k" * 255 + "/file") == "through", "a link with a long name to a directory")
    want(os.lstat("dangling").st_size == 14, "its size is its target's length")
    os.rename("dangling", "renamed")
    want(os.readlink("renamed") == "nowhere at all" and not os.path.lexists("dangling"), "renamed")
    os.mkdir("sub")
    os.rename("renamed", "sub/" + "r" * 240)
    want(os.readlink("sub/" + "r" * 240) == "nowhere at all", "to a long name in another directory")
    os.rename("s4095", "sub/s4095")
    want(os.readlink("sub/s4095") == targets()["s4095"], "the longest target moves")
    os.rename("sub/s4095", "s4095")
    os.rename("to-file", "s1")
    want(os.readlink("s1") == "file", "over another symlink")
    os.unlink("s1")
    os.symlink(targets()["s1"], "s1")
    os.chdir("..")


def check_symlinks():
    for name, target in targets().items():
        want(os.readlink("soft/" + name) == target, f"target of {name}")
    want(os.readlink("soft/sub/" + "r" * 240) == "nowhere at all", "the renamed one")
    if os.geteuid() == 0:
        note = os.getxattr("soft/sub/" + "r" * 240, "trusted.note", follow_symlinks=False)
        want(note == b"kept", "its attribute")


def special():
    os.mkdir("special")
    os.mkfifo("special/made", 0o640)
    os.rename("special/made", "special/fifo")
    os.link("special/fifo", "special/linked")
    os.mkfifo("special/gone")
    os.rename("special/gone", "special/over")
    os.unlink("special/over")
    os.mknod("special/socket", 0o600 | stat.S_IFSOCK)
    os.mknod("special/" + "f" * 255, 0o600 | stat.S_IFIFO)
    os.mknod("special/plain", 0o600 | stat.S_IFREG)
    if os.geteuid() == 0:
        os.mknod("special/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        # Being given to the directory's group must not cost it these bits.
        os.mkdir("special/group")
        os.chown("special/group", -1, 12345)
        os.chmod("special/group", 0o2755)
        os.mkfifo("special/group/setid", 0o6640)
    child = os.fork()
    if child == 0:
        put("special/fifo", "through the pipe")
        os._exit(0)
    want(get("special/fifo") == "through the pipe", "a FIFO carries bytes")
    os.waitpid(child, 0)


def check_special():
    want(stat.S_ISFIFO(os.lstat("special/fifo").st_mode), "a FIFO")
    want(stat.S_IMODE(os.lstat("special/fifo").st_mode) == 0o640, "its mode")
    want(os.path.samefile("special/fifo", "special/linked"), "its other name")
    want(stat.S_ISFIFO(os.lstat("special/linked").st_mode), "a FIFO by its other name")
    want(stat.S_ISSOCK(os.lstat("special/socket").st_mode), "a socket")
    want(stat.S_ISREG(os.lstat("special/plain").st_mode), "a file by mknod")
    if os.geteuid() == 0:
        s = os.lstat("special/null")
        want(stat.S_ISCHR(s.st_mode) and s.st_rdev == os.makedev(1, 3), "a device")
        s = os.lstat("special/group/setid")
        want(stat.S_IMODE(s.st_mode) == 0o6640 and s.st_gid == 12345, "set-id bits of a FIFO")


os.umask(0o022)
if sys.argv[2] == "make":
    make_names()
    renames()
    hard_links()
    symlinks()
    special()
check_names()
check_symlinks()
check_special()
want(get("hard/renamed")[4095:4097] == "yy", "the hard link")
want(get("renames/e/y/deep") == "D", "the moved directory")
PY

new_vault
mount_vault
step "make and check"
python3 "$work/names.py" "$mnt" make
step "after a remount"
remount_vault
python3 "$work/names.py" "$mnt" check
step "remove"
rm -r "${mnt:?}"/*
same "left in the mount" "$(ls -A "$mnt")" ""
unmount_vault
vault_is_empty
