#!/bin/bash
# cryptfs umount: it waits for the end, says who is in the way, and clears away what is dead.
. "$(dirname "$0")/../support/mounted.sh"
. "$(dirname "$0")/../support/as_user.sh"

# ends STATUS WORDS COMMAND...: WORDS on the one line that it says.
ends() {
	local expected=$1 words=$2 status=0
	shift 2
	LC_ALL=C "$@" >"$work/out" 2>"$work/err" || status=$?
	same "exit status of $*" "$status" "$expected"
	grep -qF -- "$words" "$work/err" || fail "'$*' said: $(cat "$work/err")"
	same "lines" "$(wc -l <"$work/err")" 1
}

# listed WORDS: in what the last command printed.
listed() {
	grep -qF -- "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"
}

# hold COMMAND LINE: the user's shell runs it and tells its process id in $holder.
hold() {
	rm -f "$home/holder"
	as_user sh -c "echo \$\$ >'$home/holder.new'; mv '$home/holder.new' '$home/holder'; $1" &
	started+=("$!")
	await 20 test -s "$home/holder" || fail "the holder does not start"
	holder=$(cat "$home/holder")
}

# Where control.h says.
sockets() {
	as_user sh -c 'find "/run/user/$(id -u)/cryptfs" "/tmp/cryptfs-$(id -u)" -name "*.sock" 2>/dev/null' | wc -l
}

held_as() {
	[ "$(cat "/proc/$holder/comm")" = "$1" ]
}

as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null

step "as a user: gone, settled, the process too"
mount_as_user
as_user sh -c "echo words >'$mnt/letter'; mkdir '$mnt/directory'"
as_user "$CRYPTFS" umount "$mnt"
no_processes || fail "umount returned and the process is still there"
if is_mounted; then
	fail "still mounted"
fi
as_user "$CRYPTFS" fsck --passfile "$passfile" "$vault" >"$work/fsck" || fail "$(cat "$work/fsck")"
if grep -q '^leftover' "$work/fsck"; then
	fail "not settled: $(cat "$work/fsck")"
fi
ends 7 'not a mount of cryptfs' as_user "$CRYPTFS" umount "$mnt"
ends 7 'not a mount of cryptfs' as_user "$CRYPTFS" umount /

step "busy: an open file, a working directory, a program and a mapping"
mount_as_user
hold "cd '$mnt/directory' && exec sleep 300 <'$mnt/letter'"
await 20 held_as sleep || fail "sleep does not start"
ends 6 'busy: see who holds it (end them, or use --lazy)' as_user "$CRYPTFS" umount "$mnt"
listed "$holder sleep: working directory $mnt/directory"
listed "$holder sleep: open $mnt/letter"
same "lines" "$(wc -l <"$work/out")" 2
is_mounted || fail "unmounted all the same"
kill "$holder"
as_user cp "$(command -v sleep)" "$mnt/snore"
hold "exec '$mnt/snore' 300"
await 20 held_as snore || fail "snore does not start"
ends 6 'busy' as_user "$CRYPTFS" umount "$mnt"
listed "$holder snore: program $mnt/snore"
listed "$holder snore: mapped $mnt/snore"
kill "$holder"
is_over() {
	! [ -e "/proc/$holder/exe" ]
}
await 20 is_over || fail "snore lives on"
as_user "$CRYPTFS" umount "$mnt"
no_processes || fail "the process is still there"

step "lazily: gone at once, served to the end"
mount_as_user
hold "exec 7<'$mnt/letter'; touch '$home/has'; while [ ! -e '$home/go' ]; do sleep 0.05; done; cat <&7 >'$home/read'"
await 20 test -e "$home/has" || fail "the holder opens nothing"
as_user "$CRYPTFS" umount --lazy "$mnt" >"$work/out"
listed 'is detached; process'
listed "$holder sh: open $mnt/letter"
if is_mounted; then
	fail "still mounted"
fi
touch "$home/go"
await 60 no_processes || fail "the process stays without its mount"
same "read from a mount that was detached" "$(cat "$home/read")" words
mount_as_user
as_user "$CRYPTFS" umount -l "$mnt"
no_processes || fail "nobody held it, and the process is still there"

step "dead"
mount_as_user
kill -KILL "$(daemon_process)"
await 20 no_processes
is_mounted || fail "this test wants a dead mount"
[ "$(sockets)" -gt 0 ] || fail "this test wants its socket"
as_user "$CRYPTFS" umount "$mnt"
if is_mounted; then
	fail "the dead mount is still there"
fi
as_root || exit 0 # else other tests have some of the same user
same "sockets" "$(sockets)" 0

step "as root: a user's, its own, a mount below"
mount_as_user
"$CRYPTFS" umount "$mnt"
no_processes || fail "the process is still there"
mount_vault
mkdir "$mnt/below"
mount -t tmpfs tmpfs "$mnt/below"
undo+=("umount '$mnt/below' 2>/dev/null")
ends 6 'busy' "$CRYPTFS" umount "$mnt"
listed "mount: mounted $mnt/below"
umount "$mnt/below"
"$CRYPTFS" umount "$mnt/"
no_processes || fail "the process is still there"
mount_vault
kill -KILL "$(daemon_process)"
await 20 no_processes
mount_vault # clears it away, and the other one's socket
(cd "$mnt" && "$CRYPTFS" umount .)
no_processes || fail "the process is still there"
mount_vault
kill -KILL "$(daemon_process)"
await 20 no_processes
(cd "$work" && "$CRYPTFS" umount home/mnt)
if is_mounted; then
	fail "the dead mount is still there"
fi

step "all of a user's mounts, and nobody else's"
mount_as_user
as_user mkdir "$home/mnt2"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$home/vault2" </dev/null
as_user "$CRYPTFS_MOUNT" "$home/vault2" "$home/mnt2" -o "passfile=$passfile" </dev/null
mkdir "$work/other"
new_other() {
	vault=$work/vault mnt=$work/other
	new_vault
	mount_vault
}
(trap - EXIT; new_other)
undo+=("umount '$work/other' 2>/dev/null")
as_user "$CRYPTFS" umount --all
no_processes || fail "the process is still there"
if grep -qF " $home/" /proc/self/mountinfo; then
	fail "still mounted: $(grep -F " $home/" /proc/self/mountinfo)"
fi
grep -qF " $work/other " /proc/self/mountinfo || fail "root's mount was taken by a user's --all"
"$CRYPTFS" umount "$work/other"
