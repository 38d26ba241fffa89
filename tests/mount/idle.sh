#!/bin/bash
# A mount that unmounts itself when nobody uses it, and not before.
. "$(dirname "$0")/../support/mounted.sh"
. "$(dirname "$0")/../support/as_user.sh"

ended() {
	! is_mounted && no_processes
}

# tried N: it wanted to unmount so often and was not let.
tried() {
	[ "$("$CRYPTFS" status --json "$mnt" | python3 -c '
import json, sys
print(json.load(sys.stdin)["idle"]["refused"])')" -ge "$1" ]
}

step "what is no time"
for value in '' x -1 5w 1m2 s 99999999999999999999 527041; do
	refused 'option idle: not a number of minutes' as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "idle=$value"
done

# holds_and_ends: while something is held it stays, then it goes by itself.
holds_and_ends() {
	local holder
	step "an open file"
	echo words >"$mnt/file"
	mkdir "$mnt/directory"
	exec 7<"$mnt/file"
	await 30 tried 2 || fail "it did not try"
	is_mounted || fail "it unmounted with a file open"
	same "content" "$(cat <&7)" words
	exec 7<&-

	step "a process in a directory"
	(cd "$mnt/directory" && exec sleep 300) &
	holder=$!
	started+=("$holder")
	await 30 tried 4 || fail "it did not try again"
	is_mounted || fail "it unmounted with a process in it"
	kill "$holder"
	wait "$holder" || true

	step "nothing, and a monitor that looks at every mount"
	watched() {
		stat -f "$mnt" >/dev/null 2>&1
		ended
	}
	await 30 watched || fail "it stays"
}

as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
if as_root; then
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile,idle=1s" </dev/null
	holds_and_ends
fi

step "an ordinary user's, seen by that user"
mount_as_user
as_user sh -c "echo words >'$mnt/theirs'"
unmount_as_user
mount_as_user idle=3s # so long may it take on a busy machine
as_user sh -c "echo \$\$ >'$home/holder'; exec sleep 300 <'$mnt/theirs'" &
started+=("$!")
has_opened() {
	as_user "$CRYPTFS" status --json "$mnt" | grep -q '"OPEN"'
}
await 30 has_opened || fail "nobody opened the file"
await 30 tried 2 || fail "it did not try"
is_mounted || fail "it unmounted with a file open"
kill "$(cat "$home/holder")"
await 30 ended || fail "it stays"

step "who opens just then gets the file or the directory below, never a dead mount"
for _ in 1 2; do
	mount_as_user idle=1s
	as_user python3 - "$mnt/theirs" <<'PY' || fail "a file that was opened went away"
import errno, sys, time
end = time.monotonic() + 30
while time.monotonic() < end:
    # Longer and longer pauses, until it is gone within one.
    try:
        f = open(sys.argv[1])
    except FileNotFoundError:
        break
    assert f.read() == "words\n"
    f.seek(0)
    time.sleep(0.9)
    assert f.read() == "words\n"
    f.close()
    time.sleep(1.0 + (end - time.monotonic()) % 0.13)
else:
    sys.exit("it never went")
PY
	await 30 ended || fail "it stays"
done

step "settled, and whole"
as_user "$CRYPTFS" fsck --passfile "$passfile" "$vault" >"$work/fsck" || fail "$(cat "$work/fsck")"
if grep -q '^leftover' "$work/fsck"; then
	fail "not settled: $(cat "$work/fsck")"
fi
