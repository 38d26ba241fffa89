#!/bin/bash
# Random reads, writes, appends and truncations do to a file in the mount what
# they do to a plain file; the seed is fixed, so that a failure can be repeated.
. "$(dirname "$0")/../support/mounted.sh"

cat >"$work/model.py" <<'PY'
import os
import random
import sys

path, mirror, seed, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
EDGES = (0, 3071, 3072, 4095, 4096, 4097, 8192, 196608, 200704, 458752)
LIMIT = 1 << 20


def place():
    if rng.random() < 0.5:
        return max(0, rng.choice(EDGES) + rng.randint(-3, 3))
    return rng.randrange(LIMIT)


def length():
    return rng.choice((1, 16, 100, 4095, 4096, 4097, rng.randrange(1, 20000), rng.randrange(1, 300000)))


def check(files, what):
    a, b = files
    if os.fstat(a).st_size != os.fstat(b).st_size:
        sys.exit(f"seed {seed}: size {os.fstat(a).st_size}, not {os.fstat(b).st_size}, after {what}")
    size = os.fstat(b).st_size
    at, n = (0, size) if rng.random() < 0.1 else (place(), length())
    got, want = os.pread(a, n, at), os.pread(b, n, at)
    if got != want:
        first = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
        sys.exit(f"seed {seed}: byte {at + first} is wrong (read of {n} at {at}, got {len(got)}) after {what}")


files = [os.open(p, os.O_RDWR | os.O_CREAT, 0o600) for p in (path, mirror)]
history = []
for i in range(steps):
    kind = rng.choice("wwwwat")
    if kind == "w":
        at, data = place(), rng.randbytes(length())
        for f in files:
            os.pwrite(f, data, at)
        history.append(f"write {len(data)} at {at}")
    elif kind == "a":
        data = rng.randbytes(rng.choice((1, 100, 5000)))
        for p in (path, mirror):
            with open(p, "ab") as f:
                f.write(data)
        history.append(f"append {len(data)}")
    else:
        to = place() if rng.random() < 0.7 else rng.randrange(10000)
        for f in files:
            os.ftruncate(f, to)
        history.append(f"truncate to {to}")
    if rng.random() < 0.05:
        os.fsync(files[0])
        history.append("fsync")
    if rng.random() < 0.05:
        os.posix_fadvise(files[0], 0, 0, os.POSIX_FADV_DONTNEED)
    check(files, "; ".join(history[-8:]))
PY

new_vault
mount_vault
for seed in 1 2 3 4 5 6; do
	step "seed $seed"
	python3 "$work/model.py" "$mnt/file$seed" "$work/file$seed" "$seed" 400
	cmp "$work/file$seed" "$mnt/file$seed"
done

step "the same files, worked on after a remount"
remount_vault
for seed in 1 2 3 4 5 6; do
	cmp "$work/file$seed" "$mnt/file$seed"
	python3 "$work/model.py" "$mnt/file$seed" "$work/file$seed" "10$seed" 100
done

remount_vault
for seed in 1 2 3 4 5 6; do
	cmp "$work/file$seed" "$mnt/file$seed"
done
unmount_vault
