#!/bin/bash
# More files than are to be known at once: the kernel is made to let go of most
# of them, memory stays as it was, and nobody who uses one of them notices.
. "$(dirname "$0")/../support/mounted.sh"

old_kernel=$(dirname "$CRYPTFS_MOUNT")/../tests/mount/libold_kernel.so
[ -e "$old_kernel" ] || fail "$old_kernel is not built"

cat >"$work/many.py" <<'PY'
import os
import sys
import time

os.chdir(sys.argv[1])
DIRS, FILES = 30, 1000


def want(ok, what):
    if not ok:
        sys.exit("FAILED: " + what)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def make():
    for d in range(DIRS):
        os.mkdir(f"d{d}")
        for f in range(FILES):
            write(f"d{d}/f{f}", f"{d} {f}")
    os.makedirs("deep/er/still")
    os.mkdir("links")
    write("links/a", "linked")
    for name in "links/b", "d0/c":
        os.link("links/a", name)
    write("open", "open")
    write("mounted-on", "below")


def anonymous_kib():
    with open(f"/proc/{sys.argv[3]}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def list_all():
    found = 0
    for d in range(DIRS):
        with os.scandir(f"d{d}") as entries:
            found += sum(e.stat(follow_symlinks=False).st_size == len(f"{d} {e.name[1:]}") for e in entries)
    return found


def read(path):
    with open(path) as f:
        return f.read()


def use():
    """Use some of them while everything else is listed and let go of."""
    bounded = sys.argv[4] == "bounded"
    before = int(sys.argv[5])
    want(read("open") == "open", "the file is there")
    fd = os.open("open", os.O_RDWR)
    held = [os.open(f"d1/f{f}", os.O_RDONLY) for f in range(400)]  # more than the bound
    ino = os.stat("links/a").st_ino
    home = os.open(".", os.O_PATH)
    want(os.stat("d0/c").st_ino == os.stat("links/b").st_ino == ino, "three names, one file")
    os.chdir("deep/er/still")
    cwd = os.getcwd()
    for _ in range(2):
        os.fchdir(home)
        want(list_all() == DIRS * FILES, "all are there")
        os.chdir(cwd)

    # 30000 nodes take more than 6000 KiB, the bound's 256 none to speak of, the open files 1200.
    end = time.monotonic() + 60
    while bounded and anonymous_kib() > before + 3500:
        want(time.monotonic() < end, f"memory grew from {before} to {anonymous_kib()} KiB")
        time.sleep(0.05)
    if not bounded:
        want(anonymous_kib() > before + 5000, "nothing was let go of")

    want(os.getcwd() == cwd, "the current directory is where it was")
    write("new", "here")
    want(os.listdir(".") == ["new"], "and can be worked in")
    os.unlink("new")
    want(os.readlink(f"/proc/self/fd/{fd}") == os.path.join(sys.argv[1], "open"), "the open file has its name")
    want(os.pwrite(fd, b"O", 0) == 1 and os.pread(fd, 9, 0) == b"Open", "it can be written to")
    os.fchdir(home)
    want(read("open") == "Open", "and read under its name")
    want(os.stat("open").st_ino == os.fstat(fd).st_ino, "it is one file")
    write("open", "open")
    want(os.pread(fd, 9, 0) == b"open", "what others write is seen")
    for f, file in enumerate(held):
        want(os.pread(file, 99, 0) == f"1 {f}".encode(), "every open file can be read")
    write("d0/c", "linked to")
    want(read("links/a") == read("links/b") == "linked to", "one name's content is the others'")
    want({os.stat(n).st_ino for n in ("links/a", "links/b", "d0/c")} == {ino}, "still one file")
    want(os.stat("links/b").st_nlink == 3, "with three names")
    write("d0/c", "linked")
    want(list_all() == DIRS * FILES, "all are there again")


{"make": make, "use": use}[sys.argv[2]]()
PY


anonymous_kib() {
	sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(daemon_process)/status"
}

# mount_for_use OPTIONS: and remember what it takes with nothing looked up.
mount_for_use() {
	mount_vault "$1"
	fresh=$(anonymous_kib)
}

# use_some bounded|unbounded: of what is mounted.
use_some() {
	python3 "$work/many.py" "$mnt" use "$(daemon_process)" "$1" "$fresh"
}

new_vault
mount_vault
step "30000 files"
python3 "$work/many.py" "$mnt" make
unmount_vault

for wrong in 255 many 1000k ''; do
	refused "max_nodes" "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile,max_nodes=$wrong"
done

step "at most 256 of them known at once"
mount_for_use max_nodes=256
use_some bounded
if as_root; then
	step "with something mounted on one"
	echo above >"$work/above"
	mount --bind "$work/above" "$mnt/mounted-on"
	use_some bounded
	same "what is mounted there" "$(cat "$mnt/mounted-on")" above
	umount "$mnt/mounted-on"
fi
unmount_vault

step "the same where the kernel cannot be asked nicely"
LD_PRELOAD=$old_kernel mount_for_use max_nodes=256
use_some bounded
if as_root; then
	mount --bind "$work/above" "$mnt/mounted-on"
	use_some unbounded
	same "what is mounted there" "$(cat "$mnt/mounted-on")" above
	umount "$mnt/mounted-on"
fi
unmount_vault

step "as many as one likes"
mount_for_use max_nodes=1000000
use_some unbounded
unmount_vault
