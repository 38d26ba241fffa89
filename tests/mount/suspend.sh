#!/bin/bash
# cryptfs suspend and resume: the keys are gone, who uses the mount waits, and nothing is lost.
. "$(dirname "$0")/../support/mounted.sh"

marker=sesquipedalian-plaintext-marker

# ends STATUS WORDS COMMAND...: WORDS on the one line that it says.
ends() {
	local expected=$1 words=$2 status=0
	shift 2
	LC_ALL=C "$@" >"$work/out" 2>"$work/err" || status=$?
	same "exit status of $*" "$status" "$expected"
	grep -qF -- "$words" "$work/err" || fail "'$*' said: $(cat "$work/err")"
	same "lines" "$(wc -l <"$work/err")" 1
}

# value NAME: of the object "suspended" in status.
value() {
	"$CRYPTFS" status --json "$mnt" | python3 -c "import json, sys; print(json.load(sys.stdin)['suspended']['$1'])"
}

waiting() {
	[ "$(value waiting)" -ge "$1" ]
}

resume() {
	"$CRYPTFS" resume --passfile "$passfile" "$mnt"
}

# ended PID STATUS: of a job of this shell.
ended() {
	local status=0
	wait "$1" || status=$?
	same "exit status of a process that waited" "$status" "$2"
}

sound() {
	"$CRYPTFS" fsck --passfile "$passfile" "$vault" </dev/null >"$work/fsck" || fail "$(cat "$work/fsck")"
	if grep -q '^leftover' "$work/fsck"; then
		fail "not settled: $(cat "$work/fsck")"
	fi
}

found_in_memory() {
	# shellcheck disable=SC2046
	"$(dirname "$0")/memory.py" "$vault" "$passfile" "$marker" $(mount_processes)
}

new_vault
mount_vault

if as_root && ! [[ $CRYPTFS == */asan/* ]]; then
	step "what is in memory while it is used, and what is not when it is suspended"
	yes "$marker" | head -c 5000000 >"$mnt/big" || true
	echo "$marker" >"$mnt/small"
	setfattr -n user.note -v "$marker" "$mnt/small" 2>/dev/null || true
	ln -s "$marker" "$mnt/link"
	mkdir "$mnt/directory"
	mv "$mnt/small" "$mnt/directory/small"
	ls -lR "$mnt" >/dev/null
	cat "$mnt/big" "$mnt/directory/small" >/dev/null
	dd if="$mnt/big" of=/dev/null bs=1M iflag=direct status=none 2>/dev/null || true
	exec 7<"$mnt/big"
	# The content of the files must be on disk for the decoder.
	sync -f "$vault"
	found_in_memory >"$work/before"
	for name in master key:content key:directory key:links content; do
		grep -q " $name$" "$work/before" || fail "this test does not see what is there: $name: $(cat "$work/before")"
	done
	in_mode writeback || [ "${VAULT_CIPHER-}" = xor ] || grep -q " file:" "$work/before" ||
		fail "this test does not see the keys of files: $(cat "$work/before")"
	"$CRYPTFS" suspend "$mnt"
	found_in_memory >"$work/after"
	same "left in memory" "$(cat "$work/after")" ""
	resume
	same "content" "$(cat <&7 | head -n 1)" "$marker"
	exec 7<&-
	rm "$mnt/big" "$mnt/link" "$mnt/directory/small"
	rmdir "$mnt/directory"
fi

step "who reads waits, can be killed and interrupted, and goes on"
echo words >"$mnt/file"
"$CRYPTFS" suspend "$mnt"
"$CRYPTFS" suspend "$mnt"
same "suspended" "$(value now)" True
cat "$mnt/file" >"$work/read" &
reader=$!
await 20 waiting 1 || fail "nobody waits"
cat "$mnt/other" &
victim=$!
await 20 waiting 2 || fail "nobody else waits"
kill -KILL "$victim"
ended "$victim" 137 2>/dev/null
python3 - "$mnt/third" <<'PY' &
import signal, sys
def handler(signal, frame):
    raise KeyError
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.1)
try:
    open(sys.argv[1])
except KeyError:
    sys.exit(7)
PY
ended "$!" 7
echo more >"$work/more"
(cat "$work/more" >>"$mnt/file") &
writer=$!
await 20 waiting 2 || fail "the writer does not wait"
stat -f "$mnt" >/dev/null

step "a wrong passphrase, and the right one"
echo wrong >"$work/wrong"
: >"$work/empty"
chmod 600 "$work/wrong" "$work/empty"
ends 4 'wrong passphrase' "$CRYPTFS" resume --passfile "$work/wrong" "$mnt"
ends 4 'it is empty' "$CRYPTFS" resume --passfile "$work/empty" "$mnt"
same "suspended" "$(value now)" True
ends 6 'it is suspended' "$CRYPTFS" path "$mnt" file
resume
ended "$reader" 0
ended "$writer" 0
same "suspended" "$(value now)" False
same "waiting" "$(value waiting)" 0
grep -qx words "$work/read" || fail "the reader got: $(cat "$work/read")"
same "content" "$(cat "$mnt/file")" "$(printf 'words\nmore')"
resume # does nothing

step "a mapping: stored before, dropped by the kernel, and read again"
python3 - "$CRYPTFS" "$mnt" "$passfile" "$work" "${VAULT_CIPHER-}" <<'PY'
import ctypes, mmap, os, subprocess, sys
cryptfs, mnt, passfile, work, cipher = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
size = 64 * 4096
fd = os.open(mnt + "/mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, size)
m = mmap.mmap(fd, size)

def resident():
    vector = (ctypes.c_ubyte * (size // 4096))()
    address = ctypes.addressof(ctypes.c_char.from_buffer(m))
    assert not libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector)
    return sum(v & 1 for v in vector)

for i in range(0, size, 4096):
    m[i:i + 6] = b"stored"
assert resident() == size // 4096
subprocess.run([cryptfs, "suspend", mnt], check=True)
assert resident() == 0, "%d pages are still there" % resident()
subprocess.run([cryptfs, "resume", "--passfile", passfile, mnt], check=True)
assert all(m[i:i + 6] == b"stored" for i in range(0, size, 4096))
m[0:6] = b"STORED"
m.flush()
PY
same "stored" "$(head -c 6 "$mnt/mapped")" STORED

step "again and again under load"
python3 - "$mnt" "$work/stop" <<'PY' &
import os, sys, threading
mnt, stop = sys.argv[1:]
bad = []
def work(i):
    n = 0
    try:
        while not os.path.exists(stop):
            n += 1
            name = "%s/%d-%d" % (mnt, i, n % 7)
            data = (b"%d %d;" % (i, n)) * (1 + n * 997 % 9000)
            with open(name, "wb") as f:
                f.write(data)
            os.rename(name, name + "x")
            with open(name + "x", "rb") as f:
                if f.read() != data:
                    bad.append(name)
            os.listdir(mnt)
    except Exception as e:
        bad.append(repr(e))
    if n < 3:
        bad.append("only %d" % n)
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
sys.exit(", ".join(bad[:3]) if bad else 0)
PY
load=$!
for _ in 1 2 3 4; do
	"$CRYPTFS" suspend "$mnt"
	await 20 waiting 1 || fail "nobody waits"
	resume
	sleep 0.1
done
touch "$work/stop"
ended "$load" 0
manifest "$mnt" >"$work/manifest"

step "unmounted while it is suspended"
"$CRYPTFS" suspend "$mnt"
"$CRYPTFS" umount "$mnt"
no_processes || fail "the process is still there"
sound
mount_vault
manifest "$mnt" | diff "$work/manifest" - >"$work/diff" || fail "lost: $(cat "$work/diff")"

step "SIGTERM while it is suspended, with a file open and somebody waiting"
echo acknowledged >"$mnt/file"
exec 7>>"$mnt/file"
echo too >&7
"$CRYPTFS" suspend "$mnt"
cat "$mnt/file" 2>"$work/said" &
reader=$!
await 20 waiting 1 || fail "nobody waits"
kill -TERM "$(daemon_process)"
await 60 no_processes || fail "the daemon stays"
ended "$reader" 1
exec 7<&- || true
if is_mounted; then
	fail "still mounted"
fi
sound
mount_vault
same "content" "$(cat "$mnt/file")" "$(printf 'acknowledged\ntoo')"

step "SIGKILL while it is suspended"
echo kept >"$mnt/kept"
"$CRYPTFS" suspend "$mnt"
kill -KILL "$(daemon_process)"
await 20 no_processes || fail "something lives on"
sound
mount_vault
same "content" "$(cat "$mnt/kept")" kept

step "all mounts there are, a read-only one, and the recovery words"
unmount_vault
"$CRYPTFS" key add --passfile "$passfile" --recovery "$vault" >"$work/out"
grep -E '^    ([a-z]+ ){11}[a-z]+$' "$work/out" >"$work/words"
chmod 600 "$work/words"
mount_vault ro
cat "$mnt/kept" >/dev/null
"$CRYPTFS" suspend "$mnt"
"$CRYPTFS" resume --passfile "$work/words" "$mnt"
same "content" "$(cat "$mnt/kept")" kept
ends 7 'not a mount of cryptfs' "$CRYPTFS" suspend "$work"
ends 7 'not a mount of cryptfs' "$CRYPTFS" resume "$work"
