#!/bin/bash
# The daemon is killed in the middle of work, many times.  After each death the
# next mount clears the dead one away, everything that was acknowledged can be
# read, and no block has become unreadable.
. "$(dirname "$0")/../support/mounted.sh"

# The writer tells of each acknowledged step in a file outside the mount, and
# before each step what it is about to do.  It ends when the mount dies.  With
# writeback the kernel acknowledges what it only holds; synced is what stays.
if in_mode writeback; then
	acknowledged=fsync
else
	acknowledged=write
fi
cat >"$work/writer.py" <<'PY'
import errno
import os
import random
import sys

mnt, notes, seed, acknowledged = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
rng = random.Random(seed)
note = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
RECORD = 64  # divides the block, so that a record is never torn; so does 16 below
files = [os.open(f"{mnt}/file{i}", os.O_RDWR | os.O_CREAT, 0o600) for i in range(3)]
step = seed * 1_000_000
try:
    while True:
        step += 1
        kind = rng.choice("wwwwwwwna")
        if kind == "w":
            which, count = rng.randrange(3), rng.choice((1, 1, 1, 100, 2000))
            at = rng.randrange(1 << rng.choice((5, 8, 14)))
            os.write(note, b"try w %d %d %d %d\n" % (step, which, at, count))
            data = b"%-63d\n" % step * count
            if os.pwrite(files[which], data, at * RECORD) != len(data):
                break  # the daemon died between two requests of one call
            if acknowledged == "fsync":
                os.fsync(files[which])
        elif kind == "n":
            os.write(note, b"try n %d\n" % step)
            with open(f"{mnt}/new", "wb") as f:
                f.write(b"%d\n" % step * 1000)
            os.rename(f"{mnt}/new", f"{mnt}/renamed{step % 7}")
        else:
            os.write(note, b"try a %d\n" % step)
            with open(f"{mnt}/log", "ab") as f:
                f.write(b"%-15d\n" % step)
                f.flush()
                if acknowledged == "fsync":
                    os.fsync(f.fileno())
        os.write(note, b"done %d\n" % step)
except OSError as e:
    died = (errno.ENOTCONN, errno.ECONNABORTED) + (errno.EIO,) * (acknowledged == "fsync")
    if e.errno not in died:
        raise  # the daemon is alive and refuses
PY

# The checker plays the notes again and compares.
cat >"$work/checker.py" <<'PY'
import sys

mnt, notes = sys.argv[1:]
slots = [{}, {}, {}]    # record -> last acknowledged step
renamed, appended = {}, []
maybe = [{}, {}, {}]    # record -> steps that were under way at a death
maybe_renamed, maybe_appended = {}, set()
pending = None


def wrong(what):
    sys.exit("FAILED: " + what)


def give_up(p):
    """A step that was never acknowledged: it may be there in part."""
    if p[0] == "w":
        step, which, at, count = map(int, p[1:])
        for r in range(at, at + count):
            maybe[which].setdefault(r, set()).add(step)
    elif p[0] == "n":
        maybe_renamed.setdefault(int(p[1]) % 7, set()).add(int(p[1]))
    else:
        maybe_appended.add(int(p[1]))


steps = 0
for line in open(notes):
    words = line.split()
    if words[0] == "try":
        if pending:
            give_up(pending)
        pending = words[1:]
        continue
    steps += 1
    if pending[0] == "w":
        step, which, at, count = map(int, pending[1:])
        for r in range(at, at + count):
            slots[which][r] = step
            maybe[which].pop(r, None)
    elif pending[0] == "n":
        step = int(pending[1])
        renamed[step % 7] = step
        maybe_renamed.pop(step % 7, None)
    else:
        appended.append(int(pending[1]))
    pending = None
if pending:
    give_up(pending)

for which in range(3):
    try:
        data = open(f"{mnt}/file{which}", "rb").read()
    except FileNotFoundError:
        data = b""
    known = slots[which]
    if known and len(data) < (max(known) + 1) * 64:
        wrong(f"file{which} has {len(data)} bytes, {(max(known) + 1) * 64} were acknowledged")
    for r in range(len(data) // 64):
        text = data[r * 64:r * 64 + 64]
        got = 0 if text == bytes(64) else int(text)
        if got != known.get(r, 0) and got not in maybe[which].get(r, ()):
            wrong(f"file{which}, record {r}: step {got}, not {known.get(r, 0)}")
for n, step in renamed.items():
    text = open(f"{mnt}/renamed{n}", "rb").read()
    if text not in [b"%d\n" % s * 1000 for s in {step} | maybe_renamed.get(n, set())]:
        wrong(f"renamed{n} is not that of step {step}: {len(text)} bytes, {text[:20]!r}")
if appended:
    text = open(f"{mnt}/log", "rb").read()
    lines = [int(text[i:i + 16]) for i in range(0, len(text), 16)]
    lost = set(appended) - set(lines)
    strange = set(lines) - set(appended) - maybe_appended
    if lost or strange or lines != sorted(lines):
        wrong(f"log: lost {sorted(lost)[:5]}, never written {sorted(strange)[:5]}")
print(f"   {steps} acknowledged steps are there")
PY

new_vault
: >"$work/notes"
for round in $(seq 1 24); do
	case $((round % 3)) in
	0) options=workers=2,strict ;;
	1) options=workers=0 ;;
	*) options=workers=auto ;;
	esac
	mount_vault "$options"
	python3 "$work/checker.py" "$mnt" "$work/notes"
	step "round $round, $options"
	# Dead after so many bytes of notes: early, late, always in the midst of work.
	enough=$(($(stat -c %s "$work/notes") + round * round * 61 % 9973))
	python3 "$work/writer.py" "$mnt" "$work/notes" "$round" "$acknowledged" &
	writer=$!
	started+=("$writer")
	has_enough() {
		[ "$(stat -c %s "$work/notes")" -gt "$enough" ] || ! kill -0 "$writer" 2>/dev/null
	}
	await 60 has_enough || fail "the writer does not write"
	kill -KILL "$(daemon_process)"
	wait "$writer"
	await 60 no_processes || fail "helpers outlive the daemon"
	is_mounted || fail "the dead mount should still be listed"
done
step "the last mount, and a clean one after it"
mount_vault
python3 "$work/checker.py" "$mnt" "$work/notes"
remount_vault
python3 "$work/checker.py" "$mnt" "$work/notes"
rm "$mnt"/*

step "a mount that dies while the next one asks whether it lives"
daemon=$(daemon_process)
kill -STOP "$daemon"
"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with)" </dev/null &
asking=$!
started+=("$asking")
asleep() {
	[ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$asking/status")" = S ]
}
await 60 asleep || fail "the second mount does not wait for the answer of the first"
kill -KILL "$daemon"
wait "$asking" || fail "the second mount does not clear away the first"
touch "$mnt/alive"
rm "$mnt/alive"
unmount_vault
vault_is_empty
