#!/bin/bash
# What the mount process has given up: files outside of the vault, programs,
# sockets, mounting, tracing, capabilities, core dumps.  Each is tried by code
# that runs in it; and what it still has to do, unmounting, somebody else does.
. "$(dirname "$0")/../support/mounted.sh"

programs=$(dirname "$CRYPTFS_MOUNT")/..
intruder=$programs/tests/mount/libintruder.so
[ -e "$intruder" ] || fail "the intruder was not built: $intruder"

# value MEMBER...: of the status of the mount.
value() {
	"$CRYPTFS" status --json "$mnt" | python3 -c '
import json, sys
v = json.load(sys.stdin)
for name in sys.argv[1:]:
    v = v[name]
print(v)' "$@"
}

field() { # NAME: of every thread of the daemon, each answer once
	cat "/proc/$(daemon_process)"/task/*/status | sed -n "s/^$1:[[:space:]]*//p" | sort -u
}

unmounter() {
	local pid
	for pid in $(mount_processes); do
		[ "$(cat "/proc/$pid/comm")" != cryptfs-unmount ] || echo "$pid"
	done
}

# intrude [OPTIONS]: the mount with the intruder in it; what it found is in $work/found.
intrude() {
	rm -f "$work/found"
	LD_PRELOAD=$intruder INTRUDER_REPORT=$work/found INTRUDER_VAULT=$vault \
		INTRUDER_FILE=$work/outside mount_vault "$@"
	ln -s target "$mnt/link"
	same "the symlink" "$(readlink "$mnt/link")" target
	rm "$mnt/link"
	[ -s "$work/found" ] || fail "the intruder did not get in"
}

# found ERRNO NAME...: what came of these.
found() {
	local expected=$1 name
	shift
	for name in "$@"; do
		same "$name" "$(sed -n "s/^$name //p" "$work/found")" "$expected"
	done
}

EACCES=13
ENOSYS=38

new_vault
echo text >"$work/outside"
chmod 666 "$work/outside"

step "what the system says of it"
mount_vault
landlock=$(value sandbox landlock)
[ "$(value sandbox seccomp)" = True ] || skip "built or running without seccomp: $(value sandbox)"
same "no new privileges" "$(field NoNewPrivs)" 1
same "filters" "$(field Seccomp)" 2
same "umask" "$(field Umask)" 0000
same "core limit" "$(awk '/^Max core file size/ {print $5, $6}' "/proc/$(daemon_process)/limits")" "0 0"
# What root keeps: chown, dac_override, dac_read_search, fowner, fsetid, ipc_lock,
# sys_admin (for trusted.* attributes), mknod, setfcap.
kept=$(field CapPrm)
same "capabilities beyond those needed" $((0x$kept & ~0x8820401f)) 0
same "capabilities that can come back" $((0x$(field CapBnd) & ~0x8820401f & $(as_root && echo -1 || echo 0))) 0
"$CRYPTFS" status "$mnt" >"$work/text"
grep -q "^sandbox   .*seccomp, no new privileges" "$work/text" || fail "status says: $(cat "$work/text")"
unmount_vault
if as_root; then
	mount_vault noxattr
	same "capabilities without attributes" $((0x$(field CapPrm) & 1 << 21)) 0
	unmount_vault
fi

step "what code in it can do"
intrude
found 0 open-tree open-record map-memory
found $ENOSYS execve execute-record fork clone3 ptrace process-vm-readv kill pidfd-open setns unshare \
	mount umount fsopen open-tree-call move-mount chroot init-module bpf io-uring perf keyctl \
	open-by-handle setuid userfaultfd reboot make-executable map-executable dumpable core-limit \
	socket-inet socket-unix-stream socket-netlink truncate-file
if [ "$landlock" != 0 ]; then
	found $EACCES open-passwd open-root open-memory open-fuse write-file create-file \
		rename-file remove-file open-configuration
	same "the file outside" "$(cat "$work/outside")" text
fi
unmount_vault

step "without a filter Landlock still holds, without Landlock the filter does"
if [ "$landlock" != 0 ]; then # without both the intruder is free
	NO_SECCOMP=1 intrude
	same "seccomp" "$(value sandbox seccomp)" False
	found 0 fork socket-inet
	found $EACCES open-passwd write-file create-file open-configuration execve connect
	found 1 mount # EPERM
	unmount_vault
fi
NO_LANDLOCK=1 intrude
same "Landlock" "$(value sandbox landlock)" 0
found 0 open-passwd open-configuration
found $ENOSYS execve fork ptrace mount socket-inet
"$CRYPTFS" status "$mnt" | grep -q "^sandbox   no Landlock, seccomp" || fail "status does not say it"
unmount_vault

step "read-only: nothing can be changed in the vault either"
mount_vault
ln -s target "$mnt/link"
unmount_vault
rm "$work/found"
LD_PRELOAD=$intruder INTRUDER_REPORT=$work/found INTRUDER_VAULT=$vault \
	INTRUDER_FILE=$work/outside INTRUDER_READS=1 mount_vault ro
same "the symlink" "$(readlink "$mnt/link")" target
found 0 open-record
if [ "$landlock" != 0 ]; then
	found $EACCES write-record create-in-tree make-directory
fi
unmount_vault

step "a crash leaves no core"
ulimit -c unlimited 2>/dev/null || ulimit -S -c "$(ulimit -H -c)"
cat >"$work/crash.py" <<'PY'
import os, signal, subprocess, sys, time
ready = sys.argv[1]
p = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
end = time.monotonic() + 60
while ready != "-" and not os.path.ismount(ready) and time.monotonic() < end:
    time.sleep(0.02)
p.send_signal(signal.SIGSEGV)
_, status = os.waitpid(p.pid, 0)
print(os.WIFSIGNALED(status) and os.WTERMSIG(status), os.WCOREDUMP(status))
PY
crash() { # READY COMMAND...
	(cd "$work" && python3 "$work/crash.py" "$@")
}
if [ "$(crash - sleep 60)" = "11 True" ]; then
	same "death of the daemon" "$(crash "$mnt" "$CRYPTFS_MOUNT" "$vault" "$mnt" -f -o "passfile=$passfile")" \
		"11 False"
	await 60 no_processes || fail "processes are left"
else
	echo "no process leaves a core here; the limit was looked at above"
fi

step "after the crash its mount is dead, not gone; the next one clears it away"
if is_mounted; then
	refused 'not connected' ls "$mnt"
fi
mount_vault
same "mounts" "$(mounts_there)" 1

step "SIGTERM unmounts, by the hand of another"
[ "$(unmounter | wc -l)" = 1 ] || fail "not one process that unmounts: $(mount_processes)"
echo text >"$mnt/file"
kill -TERM "$(daemon_process)"
await 60 no_processes || fail "processes are left"
same "mounts" "$(mounts_there)" 0

step "it unmounts its own mount only"
mount_in_foreground
same "content" "$(cat "$mnt/file")" text
unmount_at_once
if as_root; then
	mount -t tmpfs cryptfs-test "$mnt"
	await 60 no_processes || fail "processes are left"
	same "mounts of another kind" "$(mounts_there)" 1
	umount "$mnt"
fi
await 60 no_processes || fail "processes are left"

step "if that one was killed, the mount stays and says so"
mount_in_foreground
kill -KILL "$(unmounter)"
kill -TERM "$(daemon_process)"
await 60 no_processes || fail "processes are left"
grep -q "cannot unmount $mnt" "$log" || fail "nothing about it in the log: $(cat "$log")"
refused 'not connected' ls "$mnt"
mount_vault
same "content" "$(cat "$mnt/file")" text
unmount_vault

step "an ordinary user's mount"
. "$(dirname "$0")/../support/as_user.sh"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
mount_as_user
daemon=$(daemon_process)
same "whose it is" "$(awk '/^Uid:/ {print $2}' "/proc/$daemon/status")" "$(id -u "$user")"
# The kernel gives what may not be dumped or traced to root.
same "whose /proc/PID is" "$(stat -c %u "/proc/$daemon/mem")" 0
if as_user cat "/proc/$daemon/maps" >/dev/null 2>&1; then
	fail "its own user may look into it"
fi
same "filters" "$(field Seccomp) $(field NoNewPrivs)" "2 1"
same "capabilities" "$(field CapPrm)" 0000000000000000
as_user sh -c "echo text >'$mnt/file' && ln -s file '$mnt/link' && mkdir '$mnt/dir' && mv '$mnt/file' '$mnt/dir/'"
kill -TERM "$daemon"
await 60 no_processes || fail "processes are left"
same "mounts after SIGTERM" "$(mounts_there)" 0
mount_as_user
same "content" "$(as_user cat "$mnt/dir/file")" text
kill -KILL "$(daemon_process)"
await 60 no_processes || fail "processes are left"
mount_as_user
same "content after a crash" "$(as_user cat "$mnt/dir/file")" text
unmount_as_user
