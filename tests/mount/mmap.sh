#!/bin/bash
# Mapped files: what is stored through a shared mapping is what read() gives,
# what write() puts is what the mapping shows, and all of it survives.
. "$(dirname "$0")/../support/mounted.sh"

cat >"$work/map.py" <<'PY'
import mmap
import os
import sys

path = sys.argv[1]
SIZE = 1_000_003
PAGE = mmap.PAGESIZE


def want(ok, what):
    if not ok:
        sys.exit("FAILED: " + what)


fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(fd, SIZE)
m = mmap.mmap(fd, SIZE)
want(m[:] == bytes(SIZE), "a fresh mapping is zeros")

for at in range(0, SIZE, PAGE // 2 + 13):
    m[at] = at % 255 + 1
m.flush()
data = os.pread(fd, SIZE + 1, 0)
want(len(data) == SIZE and data == m[:], "read sees what was stored")

os.pwrite(fd, b"written", 4093)
want(m[4093:4100] == b"written", "the mapping sees what was written")
os.pwrite(fd, b"the very end", SIZE - 12)
want(m[-12:] == b"the very end", "the mapping sees the last page")

other = mmap.mmap(os.open(path, os.O_RDWR), SIZE)
m[500_000:500_005] = b"hello"
want(other[500_000:500_005] == b"hello", "two mappings share pages")
want(os.pread(fd, 5, 500_000) == b"hello", "read sees it before msync")

private = mmap.mmap(fd, SIZE, flags=mmap.MAP_PRIVATE)
private[0:4] = b"mine"
want(m[0:4] != b"mine", "a private mapping stays private")

child = os.fork()
if child == 0:
    m[777_777] = 42
    os._exit(0)
want(os.waitpid(child, 0)[1] == 0, "the child stores")
want(other[777_777] == 42, "a child's store is seen")

m[3:6] = b"\xffno"  # left dirty: closing and unmounting must write it
with open(sys.argv[2], "wb") as mirror:
    mirror.write(m[:])
PY

new_vault
mount_vault
step "one mapping, two mappings, read and write beside them"
python3 "$work/map.py" "$mnt/mapped" "$work/mirror"
cmp "$work/mirror" "$mnt/mapped"
remount_vault
step "after a remount"
cmp "$work/mirror" "$mnt/mapped"

step "a program is run from the mount"
cp /bin/true "$mnt/true"
"$mnt/true"
unmount_vault
