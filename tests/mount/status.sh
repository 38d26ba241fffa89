#!/bin/bash
# cryptfs status: what it tells moves with what is done, only the owner and
# root are told, and neither garbage nor death confuses anybody.
. "$(dirname "$0")/../support/mounted.sh"

device_of() {
	awk -v mnt="$1" '$5 == mnt {print $3}' /proc/self/mountinfo | tail -n 1
}

# The directory of the sockets of user id $1.
directory_of() {
	if [ "$1" = 0 ]; then
		echo /run/cryptfs
	elif [ "$(stat -c %u "/run/user/$1" 2>/dev/null)" = "$1" ]; then
		echo "/run/user/$1/cryptfs"
	else
		echo "/tmp/cryptfs-$1"
	fi
}

# value MEMBER...: of the status of the mount, 0 if it is not there.
value() {
	"$CRYPTFS" status --json "$mnt" | python3 -c '
import json, sys
v = json.load(sys.stdin)
for name in sys.argv[1:]:
    v = v.get(name, 0) if isinstance(v, dict) else v[int(name)]
print(v)' "$@"
}

# ends STATUS WHY COMMAND...
ends() {
	local status=0 expected=$1 why=$2
	shift 2
	"$@" >/dev/null 2>"$work/said" || status=$?
	same "exit status of $*" "$status" "$expected"
	grep -qF -- "$why" "$work/said" || fail "$* said: $(cat "$work/said")"
	same "lines of $(cat "$work/said")" "$(wc -l <"$work/said")" 1
}

directory=$(directory_of "$(id -u)")
new_vault
mount_vault
socket=$directory/$(device_of "$mnt").sock
[ -S "$socket" ] || skip "no socket in $directory"

step "whose it is"
same "mode of the directory" "$(stat -c '%a %u' "$directory")" "700 $(id -u)"
same "mode of the socket" "$(stat -c '%a %u' "$socket")" "600 $(id -u)"

step "what it tells"
same "process" "$(value pid)" "$(daemon_process)"
same "cipher" "$(value suite)" aes-256-gcm
same "mode" "$(value workers mode) $(value workers strict) $(value read_only)" "auto False False"
same "writes before" "$(value requests WRITE)" 0
dd if=/dev/urandom of="$mnt/file" bs=1M count=8 status=none
same "writes" "$(value requests WRITE)" 8
same "bytes" "$(value bytes)" $((8 << 20))
same "tasks" "$(($(value tasks inline) + $(value tasks workers)))" 64
same "creations" "$(value requests CREATE)" 1

step "for Prometheus"
"$CRYPTFS" status --metrics "$mnt" >"$work/metrics"
python3 - "$mnt" "$work/metrics" <<'PY'
import re, sys
mnt, path = sys.argv[1:]
types = {}
samples = {}
histogram = {}
for line in open(path):
    if m := re.fullmatch(r"# TYPE (cryptfs_[a-z_]+) (counter|gauge|histogram)\n", line):
        types[m[1]] = m[2]
    elif m := re.fullmatch(r'(cryptfs_request_duration_seconds)_(bucket|sum|count)\{mountpoint="([^"]*)",'
                           r'class="([a-z]+)"(?:,le="([0-9.]+|\+Inf)")?\} ([0-9.]+)\n', line):
        assert types[m[1]] == "histogram" and m[3] == mnt and (m[2] == "bucket") == bool(m[5]), line
        if m[2] == "bucket":
            histogram.setdefault(m[4], []).append((float(m[5].replace("+", "")), int(m[6])))
        else:
            samples["%s %s" % (m[2], m[4])] = float(m[6])
    elif not line.startswith("# HELP cryptfs_"):
        m = re.fullmatch(r'(cryptfs_[a-z_]+)\{mountpoint="([^"]*)"((?:,[a-z]+="[^"]*")?)\} (\d+)\n', line)
        assert m and m[2] == mnt and m[1] in types, line
        assert (types[m[1]] == "counter") == m[1].endswith("_total"), line
        samples[m[1] + m[3]] = int(m[4])
assert samples["cryptfs_content_bytes_total"] == 8 << 20, samples
assert samples['cryptfs_requests_total,request="WRITE"'] == 8, samples
assert sum(n for name, n in samples.items() if name.startswith("cryptfs_tasks_total")) == 64, samples
for name, buckets in histogram.items():
    assert [le for le, n in buckets] == [2**i / 1e6 for i in range(23)] + [float("inf")], buckets
    assert all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), buckets
    assert buckets[-1][1] == samples["count " + name], name
assert sorted(histogram) == ["meta", "read", "write"] and samples["count write"] == 8, samples
assert samples["count meta"] > 0 and samples["sum write"] > 0, samples
PY

step "again every second, on a terminal only"
ends 1 "needs a terminal" "$CRYPTFS" status --watch "$mnt"
python3 - "$CRYPTFS" "$mnt" <<'PY'
import os, pty, re, signal, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["cryptfs", "status", "--watch", sys.argv[2]])
shown = b""
while shown.count(b"\033[H\033[2J") < 3: # the second one has rates
    shown += os.read(fd, 65536)
os.kill(pid, signal.SIGINT)
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGINT
first, second = shown.split(b"\033[H\033[2J")[1:3]
rate = re.compile(rb"\d/s")
assert not rate.search(first) and b"bytes encrypted" in first and rate.search(second), shown
PY
same "tasks that wait" "$(value tasks waiting)" 0
before=$(value requests)
same "asking makes no requests" "$(value requests)" "$before"
LC_ALL=C "$CRYPTFS" status "$mnt" >"$work/text"
for words in 'latency  ' '  write  ' 'cache     tags: ' "mount     $mnt (device " 'cipher    aes-256-gcm, ' 'workers   auto: ' '  WRITE  '; do
	grep -qF -- "$words" "$work/text" || fail "no '$words' in: $(cat "$work/text")"
done

step "other names of the mountpoint"
ln -s "$mnt" "$work/link"
ln -s link "$work/link2"
for name in "$mnt/" "$work/./mnt//" "$work/link" "$work/link2"; do
	"$CRYPTFS" status "$name" | grep -qF "mount     $mnt " || fail "$name: not found"
done
(cd "$mnt" && "$CRYPTFS" status . && cd "$work" && "$CRYPTFS" status mnt) >/dev/null

step "what is not a mount of cryptfs"
ends 7 'not a mount of cryptfs' "$CRYPTFS" status "$work"
ends 7 'not a mount of cryptfs' "$CRYPTFS" status "$mnt/file"
ends 7 'not a mount of cryptfs' "$CRYPTFS" status /proc
ends 7 'not a mount of cryptfs' "$CRYPTFS" status "$work/missing"
ends 7 'No such file' "$CRYPTFS" status "$work/missing/too"

step "garbage"
python3 - "$socket" <<'PY'
import os, socket, sys, time

def dial():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(sys.argv[1])
    return s

def answer(data):
    s = dial()
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return s.recv(100)
    except (ConnectionResetError, BrokenPipeError):
        return b""

for data in (b"", b"status", os.urandom(10000).replace(b"\n", b""), b"x" * 64, b"\0" * 63):
    if answer(data):
        sys.exit("FAILED: an answer to %r" % data[:20])
for data in (b"\n", b"statuss\n", b"STATUS\n", b"suspendd\n"):
    if b"unknown command" not in answer(data):
        sys.exit("FAILED: what of %r?" % data)
if not answer(b"status\nstatus\n").startswith(b'{"version"'):
    sys.exit("FAILED: no answer to status")
silent = [dial() for _ in range(3)]
start = time.monotonic()
if silent[0].recv(1):
    sys.exit("FAILED: an answer to nothing")
PY
same "bytes" "$(value bytes)" $((8 << 20))
dd if="$mnt/file" of=/dev/null bs=1M status=none

step "how long requests took, and what was at hand"
told() {
	"$CRYPTFS" status --json "$mnt" | python3 -c "import json, sys; print(sum(json.load(sys.stdin)['latency']['$1']['buckets']))"
}
all_told() {
	[ "$(told write)" = 8 ] # a request is counted when its sender goes on already
}
await 20 all_told || fail "$(told write) writes"
same "longest first" "$(value latency write sum_us | grep -c '^[1-9]')" 1
sync -f "$mnt"
before=$(value cache kept opens)
cat "$mnt/file" >/dev/null
cat "$mnt/file" >/dev/null
[ "$(value cache kept opens)" -ge $((before + 1)) ] || fail "no opened file was kept: $(value cache)"
mkdir "$mnt/listed"
for _ in 1 2 3; do
	ls "$mnt/listed"
done
[ "$(value cache kept listings)" -ge 1 ] || fail "no listing was kept: $(value cache)"
dd if="$mnt/file" of=/dev/null bs=4k count=64 iflag=direct status=none
[ "$(value cache tags hits)" -ge 1 ] || fail "no tags at hand: $(value cache)"

step "two mounts"
first=$mnt
undo+=("umount -l '$first' 2>/dev/null")
vault=$work/vault2
mnt=$work/mnt2
mkdir "$mnt"
new_vault --cipher chacha20-poly1305
mount_vault
unmount_vault
mount_vault ro,workers=0
same "cipher and mode" "$(value suite) $(value workers mode) $(value read_only)" "chacha20-poly1305 0 True"
same "nothing to hand over to" "$(value auto inline_max_size)" None
same "cipher of the first" "$("$CRYPTFS" status --json "$first" | grep -c aes-256-gcm)" 1
device=$(device_of "$mnt")
second=$directory/$device.sock
unmount_vault
# Somebody else's mount may have been given the number already.
grep -qF " $device " /proc/self/mountinfo || [ ! -e "$second" ] || fail "the socket is still there"
[ -S "$socket" ] || fail "the socket of the first mount is gone"
ends 7 'not a mount of cryptfs' "$CRYPTFS" status "$mnt"
mnt=$first
vault=$work/vault

step "workers"
unmount_vault
mount_vault workers=1,strict
dd if=/dev/zero of="$mnt/file" bs=1M count=4 status=none
same "tasks" "$(value tasks inline) $(value tasks workers) $(value tasks by_worker 0)" "0 32 32"
worker=$(helper_processes | tail -n 1)
kill -KILL "$worker"
replaced() {
	[ "$(value workers died) $(value workers started) $(value workers alive)" = "1 2 1" ]
}
await 20 replaced || fail "the death of a worker is not told"

step "a process that is dead, and one that stopped"
daemon=$(daemon_process)
kill -STOP "$daemon"
ends 2 'its process does not answer' "$CRYPTFS" status "$mnt"
kill -KILL "$daemon"
await 20 no_processes
ends 2 'its process is gone' "$CRYPTFS" status "$mnt"
stale=$directory/$(device_of "$mnt").sock
[ -S "$stale" ] || fail "this test wants a stale socket"
mount_vault
same "cipher" "$(value suite)" aes-256-gcm
rm "$directory/$(device_of "$mnt").sock"
ends 2 'its process is gone or has no socket' "$CRYPTFS" status "$mnt"
unmount_vault
rm -f "$stale"
rmdir "$directory" 2>/dev/null || true # others may be there

as_root || exit 0
step "another user's mount"
user=cryptfs-test-$$
useradd --no-create-home --shell /bin/sh "$user"
uid=$(id -u "$user")
directory=$(directory_of "$uid")
undo+=("userdel '$user'" "rm -rf '$directory'")
if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
	undo+=("chmod $(stat -c %a /dev/fuse) /dev/fuse")
	chmod 666 /dev/fuse
fi
as_user() {
	runuser -u "$user" -- "$@"
}
mkdir -m 755 "$work/bin"
cp "$CRYPTFS" "$CRYPTFS_MOUNT" "$work/bin/"
CRYPTFS=$work/bin/${CRYPTFS##*/}
CRYPTFS_MOUNT=$work/bin/${CRYPTFS_MOUNT##*/}
chmod 711 "$work"
rmdir "$mnt"
vault=$work/home/vault
mnt=$work/home/mnt
mkdir -p "$mnt"
cp "$passfile" "$work/home/passphrase"
chown -R "$user" "$work/home"
passfile=$work/home/passphrase
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile" </dev/null
socket=$directory/$(device_of "$mnt").sock
same "owner and mode" "$(stat -c '%U %a' "$directory" "$socket" | tr '\n' ' ')" "$user 700 $user 600 "
as_user "$CRYPTFS" status "$mnt" >/dev/null
"$CRYPTFS" status "$mnt" >/dev/null

step "a third user is refused, even where the modes would let him in"
chmod 711 "$work/home"
third() {
	setpriv --reuid 4003 --regid 4003 --clear-groups -- "$@"
}
ends 2 'permission denied' third "$CRYPTFS" status "$mnt"
cat >"$work/dial.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(b"status\n")
    print(s.recv(10).decode())
except (ConnectionResetError, BrokenPipeError):
    print()
PY
chmod 644 "$work/dial.py"
python=$(PATH=/usr/bin:/bin; type -P python3 || true) # one that others may run, too
chmod 711 "$directory"
chmod 666 "$socket"
if [ -n "$python" ]; then
	answer=$(third "$python" "$work/dial.py" "$socket")
	same "answer" "$answer" ""
fi
same "answer to root" "$(python3 "$work/dial.py" "$socket")" '{"version"'
ends 2 'others may write where its socket is' "$CRYPTFS" status "$mnt"
as_user fusermount3 -u "$mnt"
await 60 no_processes || fail "the daemon is still there"
[ ! -e "$socket" ] || fail "the socket is still there"
if [ -e "$directory" ]; then # as long as another mount of that user is there, or one that was killed
	[ -n "$(ls -A "$directory")" ] || fail "the empty directory is still there"
	chmod 700 "$directory"
	exit 0
fi

step "a directory that somebody else has put there is not used"
case $directory in
/tmp/*)
	mkdir -m 777 "$directory"
	as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile,log=stderr" </dev/null 2>"$work/said"
	grep -qF 'cryptfs status will not work' "$work/said" || fail "the mount said nothing"
	ends 2 'others may write where its socket is' "$CRYPTFS" status "$mnt"
	same "in the directory" "$(ls -A "$directory")" ""
	as_user fusermount3 -u "$mnt"
	await 60 no_processes || fail "the daemon is still there"
	;;
esac
