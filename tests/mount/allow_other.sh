#!/bin/bash
# Root mounts for everybody: files belong to who makes them, and the kernel's
# rules about permissions hold.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "only root may mount for others here"

# as UID:GROUPS COMMAND...: the first group is the primary one.
as() {
	local uid=${1%%:*} groups=${1#*:}
	shift
	setpriv --reuid "$uid" --regid "${groups%%,*}" --groups "$groups" -- "$@"
}

alice=4001:4001,4100
bob=4002:4002,4100
carol=4003:4003

denied() {
	refused 'Permission denied|Operation not permitted' "$@"
}

chmod 711 "$work"
new_vault
mount_vault allow_other
chmod 755 "$mnt"

check() {
	same "owner" "$(stat -c %u:%g "$mnt/shared/alice")" 4001:4001
	same "group below a setgid directory" "$(stat -c %u:%g "$mnt/team/notes")" 4001:4100
	same "the bit is inherited" "$(stat -c '%a %g' "$mnt/team/sub")" "2775 4100"
	same "owner of a link, a FIFO, a directory" "$(stat -c %u "$mnt/shared/"{soft,fifo,dir} | tr '\n' ' ')" "4001 4001 4001 "
}

step "files belong to the caller"
mkdir -m 1777 "$mnt/shared"
as $alice sh -c "umask 022; echo secret >$mnt/shared/alice; mkdir $mnt/shared/dir; mkfifo $mnt/shared/fifo; ln -s x $mnt/shared/soft"

step "setgid directory"
mkdir "$mnt/team"
chgrp 4100 "$mnt/team"
chmod 2775 "$mnt/team"
as $alice sh -c "umask 002; echo a >$mnt/team/notes; mkdir $mnt/team/sub"
as $bob sh -c "echo b >>$mnt/team/notes"
same "both have written" "$(cat "$mnt/team/notes" | tr '\n' ' ')" "a b "
denied as $carol sh -c "echo c >>$mnt/team/notes"
denied as $carol touch "$mnt/team/new"
check

step "sticky directory"
denied as $bob rm -f "$mnt/shared/alice"
denied as $bob mv "$mnt/shared/alice" "$mnt/shared/stolen"
as $bob touch "$mnt/shared/bob"
denied as $alice mv "$mnt/shared/alice" "$mnt/shared/bob"
as $bob rm "$mnt/shared/bob"

step "permissions"
chmod 600 "$mnt/shared/alice"
as $alice cat "$mnt/shared/alice" >/dev/null
denied as $bob cat "$mnt/shared/alice"
denied as $bob sh -c "echo x >>$mnt/shared/alice"
denied as $bob chmod 666 "$mnt/shared/alice"
denied as $alice chown 4002 "$mnt/shared/alice"
denied as $bob touch "$mnt/new"
denied as $bob touch -d @0 "$mnt/shared/alice"
mkdir -m 700 "$mnt/private"
: >"$mnt/private/file"
denied as $alice ls "$mnt/private"
denied as $alice cat "$mnt/private/file"
mkdir -m 711 "$mnt/passage"
echo through >"$mnt/passage/file"
denied as $alice ls "$mnt/passage"
same "through a directory that cannot be listed" "$(as $alice cat "$mnt/passage/file")" through
: >"$mnt/shared/append"
chmod 222 "$mnt/shared/append"
as $bob sh -c "echo x >>$mnt/shared/append"
denied as $bob cat "$mnt/shared/append"

step "a whiteout belongs to who renames"
as $alice touch "$mnt/shared/below"
python3 - "$mnt/shared/below" "$mnt/shared/above" <<'PY' # it may not be alice's to run
import ctypes
import os
import sys

whiteout = 4
old, new = (os.fsencode(p) for p in sys.argv[1:])
os.setgid(4001)
os.setuid(4001)
if ctypes.CDLL(None, use_errno=True).renameat2(-100, old, -100, new, whiteout):
    sys.exit(os.strerror(ctypes.get_errno()))
PY
same "the whiteout" "$(stat -c '%F %t %T %u:%g' "$mnt/shared/below")" "character special file 0 0 4001:4001"
as $alice rm "$mnt/shared/below" "$mnt/shared/above"

step "a write by another takes set-id bits away"
: >"$mnt/shared/suid"
chmod 6777 "$mnt/shared/suid"
as $bob sh -c "echo x >>$mnt/shared/suid"
same "mode after appending" "$(stat -c %a "$mnt/shared/suid")" 777
chmod 6777 "$mnt/shared/suid"
as $bob truncate -s 1 "$mnt/shared/suid"
same "mode after cutting" "$(stat -c %a "$mnt/shared/suid")" 777
chmod 6777 "$mnt/shared/suid"
as $bob sh -c "echo x >$mnt/shared/suid"
same "mode after overwriting" "$(stat -c %a "$mnt/shared/suid")" 777
chmod 6777 "$mnt/shared/suid"
echo x >>"$mnt/shared/suid"
same "mode after root wrote" "$(stat -c %a "$mnt/shared/suid")" 6777
# Where nobody may run it with that group, the bit is no right, and stays.
chgrp "${bob%%:*}" "$mnt/shared/suid"
chmod 6767 "$mnt/shared/suid"
as $bob sh -c "echo x >>$mnt/shared/suid"
same "mode of what the group may not run" "$(stat -c %a "$mnt/shared/suid")" 2767
chmod 777 "$mnt/shared/suid"

remount_vault allow_other
step "after a remount"
check
same "mode" "$(stat -c %a "$mnt/shared/suid")" 777
denied as $bob cat "$mnt/shared/alice"

step "without allow_other others see nothing"
remount_vault
denied as $alice ls "$mnt"
denied as $alice cat "$mnt/shared/alice"
unmount_vault
