#!/bin/bash
# Every way of sharing the work and every cipher gives the same bytes; all ways
# of ending leave nothing behind.  (Deaths of workers: tests/crash/workers.sh.)
. "$(dirname "$0")/../support/mounted.sh"

head -c 33554432 /dev/urandom >"$work/data"

copy_in_and_out() {
	dd if="$work/data" of="$mnt/data" bs=1M conv=fsync status=none
	dd if="$work/data" of="$mnt/small" bs=4k count=500 status=none
	cmp "$work/data" "$mnt/data"
	cmp -n $((4096 * 500)) "$work/data" "$mnt/small"
}

check_after_remount() {
	remount_vault "$@"
	cmp "$work/data" "$mnt/data"
	cmp -n $((4096 * 500)) "$work/data" "$mnt/small"
}

# nothing_left: no mount, no process, no name in /dev/shm.
nothing_left() {
	await 60 no_processes || fail "left: $(mount_processes | tr '\n' ' ')"
	if is_mounted; then
		fail "still mounted"
	fi
	same "in /dev/shm" "$(find /dev/shm -maxdepth 1 -type f -name '*cryptfs*' -newer "$passfile")" ""
}

for cipher in aes-256-gcm chacha20-poly1305 xor; do
	new_vault --cipher "$cipher"
	for options in workers=0 workers=2 workers=2,strict workers=auto; do
		step "$cipher, $options"
		mount_vault "$options"
		copy_in_and_out
		check_after_remount "$options"
		unmount_vault
	done
	rm -r "$vault"
done

new_vault

step "workers hold no file"
mount_vault workers=2,strict
copy_in_and_out
[ "$(helper_processes | wc -l)" -ge 2 ] || fail "strict mode without workers"
for pid in $(helper_processes); do
	if find "/proc/$pid/fd" -lname '/dev/fuse*' 2>/dev/null | grep -q .; then
		fail "process $pid holds /dev/fuse"
	fi
done
unmount_vault

step "SIGTERM of the daemon unmounts"
for options in workers=0 workers=2,strict; do
	for signal in TERM INT; do
		mount_vault "$options"
		dd if="$work/data" of="$mnt/data" bs=1M status=none
		kill "-$signal" "$(daemon_process)"
		nothing_left
		mount_vault "$options"
		cmp "$work/data" "$mnt/data"
		unmount_vault
		nothing_left
	done
done

step "SIGKILL of the daemon takes the helpers with it"
mount_vault workers=2,strict
dd if="$work/data" of="$mnt/data" bs=1M status=none
kill -KILL "$(daemon_process)"
await 60 no_processes || fail "left: $(mount_processes | tr '\n' ' ')"
refused "not connected" timeout 10 stat -f "$mnt"
unmount_at_once
nothing_left

step "a mount that dies while the next one asks whether it lives"
mount_vault
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
unmount_vault

step "so many processes are forbidden: the mount works without helpers"
if as_root; then
	# A limit on processes does not bind root.
	echo "   left out as root"
else
	mount_in_foreground workers=2
	prlimit --pid "$(helper_processes | head -n 1)" --nproc=1:1
	copy_in_and_out
	same "lines about it in the log" "$(grep -c 'cannot start a worker' "$log")" 1
	unmount_vault
fi
