#!/bin/bash
# A directory that changes while it is listed: no entry that was there all the
# time is lost, and none appears twice.
. "$(dirname "$0")/../support/mounted.sh"

cat >"$work/listing.py" <<'PY'
import ctypes
import os
import signal
import sys

os.chdir(sys.argv[1])
STABLE = {f"stable-{i:05d}" for i in range(5000)}


def want(ok, what):
    if not ok:
        sys.exit("FAILED: " + what)


def churn():
    """Create and unlink beside the others until killed; no name comes twice."""
    n = 0
    while True:
        with open(f"passing-{n}", "w"):
            pass
        if n >= 50:
            os.unlink(f"passing-{n - 50}")
        if n % 3 == 0:
            os.rename(f"passing-{n}", f"renamed-{n}")
            os.rename(f"renamed-{n}", f"passing-{n}")
        n += 1


def while_changing(rounds):
    child = os.fork()
    if child == 0:
        try:
            churn()
        finally:
            os._exit(1)
    try:
        for i in range(rounds):
            names = []
            with os.scandir() as entries:
                for e in entries:
                    if i % 2:
                        e.is_file()
                    if i % 5 == 0 and len(names) % 50 == 0:
                        try:
                            e.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            pass
                    names.append(e.name)
            stable = [n for n in names if n.startswith("stable-")]
            want(len(stable) == len(set(stable)), f"listing {i}: an entry appears twice")
            want(set(stable) == STABLE, f"listing {i}: {len(STABLE - set(stable))} entries are lost")
            passing = [n for n in names if n.startswith("passing-")]
            want(len(passing) == len(set(passing)), f"listing {i}: a passing entry appears twice")
        want(os.waitpid(child, os.WNOHANG) == (0, 0), "the churning process ended by itself")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for name in os.listdir():
        if not name.startswith("stable-"):
            os.unlink(name)


libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = libc.rewinddir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
D_NAME = 19  # offset in struct dirent on 64-bit Linux


def next_name(d):
    entry = libc.readdir(d)
    return ctypes.string_at(entry + D_NAME).decode() if entry else None


def seek_and_rewind():
    d = libc.opendir(b".")
    order, places = [], []
    while True:
        places.append(libc.telldir(d))
        name = next_name(d)
        if name is None:
            break
        order.append(name)
    want({n for n in order if n not in (".", "..")} == STABLE, "a full listing")
    want(order.count(".") == 1 and order.count("..") == 1, "dot and dot-dot, once each")
    for i in list(range(0, len(order), 611)) + [3, 2, len(order) - 1]:
        libc.seekdir(d, places[i])
        want(next_name(d) == order[i], f"seekdir to entry {i}")
    libc.rewinddir(d)
    with open("fresh", "w"):
        pass
    libc.rewinddir(d)
    again = []
    while (name := next_name(d)) is not None:
        again.append(name)
    want(sorted(again) == sorted(order + ["fresh"]), "rewinddir sees the new file and all others")
    libc.closedir(d)
    os.unlink("fresh")


def remove_while_listing():
    with os.scandir() as entries:
        for e in entries:
            os.unlink(e.name)
    want(os.listdir() == [], "all entries unlinked while they were listed are gone")


for name in STABLE:
    with open(name, "w"):
        pass
seek_and_rewind()
while_changing(int(sys.argv[2]))
seek_and_rewind()
remove_while_listing()
PY

new_vault
mount_vault
mkdir "$mnt/dir"
step "5000 entries, others come and go"
python3 "$work/listing.py" "$mnt/dir" 30

step "a listing is kept as long as its entries are"
requests() { # NAME...: how many there have been of these
	"$CRYPTFS" status --json "$mnt" | python3 -c '
import json, sys
requests = json.load(sys.stdin)["requests"]
print(sum(requests.get(name, 0) for name in sys.argv[1:]))' "$@"
}
asked() {
	requests READDIR READDIRPLUS LOOKUP
}
touch "$mnt/dir"/{a,b,c}{1..50}
ls -l "$mnt/dir" >"$work/first"
before=$(asked)
ls -l "$mnt/dir" >"$work/second"
same "requests of a second listing" "$(asked)" "$before"
cmp "$work/first" "$work/second"
touch "$mnt/dir/new"
rm "$mnt/dir/a1"
mv "$mnt/dir/a2" "$mnt/dir/b51"
same "a changed directory" "$(ls "$mnt/dir" | tr '\n' ' ')" \
	"$(cd "$mnt/dir" && echo a{3..9} a{10..50} b{1..51} c{1..50} new | tr ' ' '\n' | sort | tr '\n' ' ')"
if as_root; then
	ls -l "$mnt/dir" >"$work/first"
	# The entries go; the directory stays, and with it what the kernel kept of its listing.
	exec 9<"$mnt/dir"
	sync
	echo 2 >/proc/sys/vm/drop_caches
	await 10 eval '[ "$(requests FORGET BATCH_FORGET)" -gt 0 ]'
	before=$(requests LOOKUP)
	ls -l "$mnt/dir" >"$work/second"
	cmp "$work/first" "$work/second"
	exec 9<&-
	[ "$(($(requests LOOKUP) - before))" -le 3 ] || fail "each entry was looked up for itself"
fi
rm -r "$mnt/dir"
unmount_vault
vault_is_empty
