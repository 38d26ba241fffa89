#!/bin/bash
# On an automount point, as systemd makes them of x-systemd.automount: until it has heard
# that the mount is there, who is not of its process group waits at the mountpoint.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "automount points need root"
grep -qw autofs /proc/filesystems || skip "no automount points here"

cat >"$work/automounter.py" <<'PY'
"""MOUNTPOINT COMMAND...: mounted by COMMAND when somebody looks, and announced when that ends."""
import ctypes, fcntl, os, struct, subprocess, sys

READY, FAIL = 0x9360, 0x9361  # of linux/auto_fs.h
where, command = sys.argv[1], sys.argv[2:]
os.setpgid(0, 0)
requests, end = os.pipe()
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={end},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
if libc.mount(b"automounter", where.encode(), b"autofs", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
os.close(end)
root = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
print("waiting", flush=True)
packet = os.read(requests, 4096)
token = struct.unpack_from("=iiI", packet)[2]
try:
    ok = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60).returncode == 0
except subprocess.TimeoutExpired:
    ok = False
fcntl.ioctl(root, READY if ok else FAIL, token)
sys.exit(0 if ok else "not mounted in time")
PY

step "mounted when somebody looks"
new_vault
: >"$work/automounter"
python3 "$work/automounter.py" "$mnt" "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with)" \
	>"$work/automounter" 2>>"$log" &
automounter=$!
started+=("$automounter")
await 60 grep -q waiting "$work/automounter" || fail "no automount point: $(cat "$log")"
timeout 90 sh -c 'echo words >"$1/file"' - "$mnt" || fail "whoever looks has to wait: $(cat "$log")"
wait "$automounter" || fail "the automounter: $(cat "$log")"
same "mounts" "$(mounts_there)" 2
same "content" "$(cat "$mnt/file")" words
unmount_vault
umount "$mnt"
mount_vault
same "content" "$(cat "$mnt/file")" words
unmount_vault
