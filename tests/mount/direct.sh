#!/bin/bash
# Writes through a handle that cannot read: they go past the kernel's pages, and who
# reads or has the file mapped sees them all the same; O_SYNC still means it.
. "$(dirname "$0")/../support/mounted.sh"

here=$(cd "$(dirname "$0")" && pwd)
fault=$(dirname "$CRYPTFS_MOUNT")/../tests/faults/libfault.so
[ -e "$fault" ] || fail "the failing disk was not built: $fault"
control=$work/control
truncate -s 4096 "$control"

cat >"$work/seen.py" <<'PY'
import mmap
import os
import sys

path = sys.argv[1]
SIZE = 40_000

def want(ok, what):
    if not ok:
        sys.exit("FAILED: " + what)

def read_all_the_time():
    """Brings pages back into the kernel's cache, as fast as they are thrown out."""
    pid = os.fork()
    if not pid:
        fd = os.open(path, os.O_RDONLY)
        while os.getppid() != 1:
            os.pread(fd, SIZE, 0)
        os._exit(1)
    return pid

with open(path, "wb") as f:
    f.write(bytes(SIZE))
w = os.open(path, os.O_WRONLY)
r = os.open(path, os.O_RDONLY)
m = mmap.mmap(r, SIZE, prot=mmap.PROT_READ)
want(m[:] == bytes(SIZE), "nothing there yet")
busy = read_all_the_time()
try:
    expected = bytearray(SIZE)
    for i in range(2000):
        at = i * 7919 % (SIZE - 100)
        piece = bytes([i % 255 + 1]) * (i % 90 + 1)
        os.pwrite(w, piece, at)
        expected[at:at + len(piece)] = piece
        want(os.pread(r, len(piece), at) == piece, "read sees write %d" % i)
        want(m[at:at + len(piece)] == piece, "the mapping sees write %d" % i)
    want(os.pread(r, SIZE + 1, 0) == bytes(expected), "and all else is as it was")
finally:
    os.kill(busy, 9)
    os.waitpid(busy, 0)

a = os.open(path, os.O_WRONLY | os.O_APPEND)
for i in range(100):
    os.write(a, b"%05d" % i)
    want(os.fstat(r).st_size == SIZE + 5 * (i + 1), "the size of append %d" % i)
    want(os.pread(r, 100, SIZE + 5 * i) == b"%05d" % i, "read sees append %d" % i)
os.truncate(path, SIZE + 3)
os.write(a, b"end")
want(os.pread(r, 100, SIZE) == b"000end", "an append after a cut")

# What another handle has stored in a page, and not written out yet, stays.
rw = os.open(path, os.O_RDWR)
stored = mmap.mmap(rw, SIZE)
for i in range(200):
    stored[8192 + i] = i + 1
    os.pwrite(w, b"w", 9000 + i)
    want(stored[8192 + i] == i + 1 and stored[9000 + i] == ord("w"), "both of store %d" % i)
stored.flush()
want(os.pread(r, 200, 8192) == bytes(range(1, 201)), "what was stored")
want(os.pread(r, 200, 9000) == b"w" * 200, "and what was written")
PY

cat >"$work/synced.py" <<'PY'
import errno
import os
import sys

sys.path.insert(0, sys.argv[1])
import faults

path, control = sys.argv[2:]
disk = faults.Disk(control)

def write(flags, how=0):
    """What writing in vain to a disk that cannot sync says."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    disk.arm(faults.SYNCS, faults.FROM_THEN_ON, errno.EIO, 1)
    try:
        os.pwritev(fd, [b"x" * 5000], 0, how)
        return 0
    except OSError as e:
        return e.errno
    finally:
        disk.heal()
        os.close(fd)

for what, got, wanted in (("an ordinary write", write(0), 0),
                          ("O_SYNC", write(os.O_SYNC), errno.EIO),
                          ("O_DSYNC", write(os.O_DSYNC), errno.EIO),
                          ("RWF_DSYNC", write(0, os.RWF_DSYNC), errno.EIO),
                          ("RWF_SYNC", write(0, os.RWF_SYNC), errno.EIO),
                          ("an ordinary write", write(0), 0)):
    if got != wanted:
        sys.exit("FAILED: %s: %d, not %d" % (what, got, wanted))
PY

asked_for_attributes() {
	"$CRYPTFS" status --json "$mnt" | python3 -c '
import json, sys
print(json.load(sys.stdin)["requests"].get("GETXATTR", 0))'
}

new_vault
FAULT_CONTROL=$control LD_PRELOAD=$fault mount_in_foreground
step "who reads sees what is written"
python3 "$work/seen.py" "$mnt/file"
head -c 3000000 /dev/urandom >"$work/data"
cp "$work/data" "$mnt/data"
dd if="$work/data" of="$mnt/data" bs=77777 conv=notrunc status=none
cmp "$work/data" "$mnt/data"

step "O_SYNC syncs"
python3 "$work/synced.py" "$here/../faults" "$mnt/synced" "$control"

if [ "$(printf '6.18\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.18 ] && [ -z "${MOUNT_OPTIONS-}" ]; then
	step "past the kernel's pages"
	before=$(asked_for_attributes)
	for i in $(seq 20); do
		head -c 5000 "$work/data" >"$mnt/new$i"
	done
	same "questions before a write" "$(asked_for_attributes)" "$before"
	remount_vault writethrough
	before=$(asked_for_attributes)
	echo x >"$mnt/through"
	[ "$(asked_for_attributes)" -gt "$before" ] || fail "writethrough is without effect"
	unmount_vault
	refused 'writeback is the opposite' "$CRYPTFS_MOUNT" "$vault" "$mnt" -o writeback,writethrough
	exit
fi
unmount_vault
