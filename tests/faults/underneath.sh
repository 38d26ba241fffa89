#!/bin/bash
# What somebody does to the vault while it is mounted: an error for who reads
# it, never wrong data, a hang or the end of the daemon.
. "$(dirname "$0")/../support/mounted.sh"

# asked COMMAND...: answers in time, one way or the other, and the daemon lives.
asked() {
	local status=0
	timeout 10 "$@" >"$work/out" 2>"$work/err" || status=$?
	[ "$status" != 124 ] || fail "no answer: $*"
	[ "$(daemon_process)" = "$daemon" ] || fail "the daemon has ended: $*"
	return "$status"
}

# is_an_error COMMAND...
is_an_error() {
	if asked "$@"; then
		fail "this should have failed: $*"
	fi
	grep -Eq 'Input/output error|Stale file handle|No such file|Not a directory|Is a directory|not permitted' "$work/err" ||
		fail "$* said: $(cat "$work/err")"
}

# read_anew FILE: what is on disk, not what the kernel keeps of it.
cat >"$work/anew.py" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
while True:
    b = os.read(fd, 65536)
    if not b:
        break
    os.write(1, b)
PY
read_anew() {
	asked python3 "$work/anew.py" "$1"
}

make() { # NAME
	stored_by cp "$work/data" "$mnt/$1"
	declare -g "at_$1=$stored"
}

head -c 600000 /dev/urandom >"$work/data"
new_vault
mount_in_foreground attr_timeout=0
daemon=$(daemon_process)

step "files that are open: cut, extended, overwritten, removed, replaced"
for name in cut grown zeroed header removed fifo directory link other same whole; do
	make $name
done
make victim
exec 5<"$mnt/cut" 6<"$mnt/removed" 7<"$mnt/whole" 8<"$mnt/header"
truncate -s 100000 "$at_cut"
truncate -s +8192 "$at_grown"
dd if=/dev/zero of="$at_zeroed" bs=4096 seek=20 count=3 conv=notrunc status=none
dd if=/dev/zero of="$at_header" bs=4096 count=1 conv=notrunc status=none
rm "$at_removed" "$at_fifo" "$at_directory" "$at_link" "$at_other"
mkfifo "$at_fifo"
mkdir "$at_directory"
ln -s "$at_whole" "$at_link"
cp "$at_same" "$at_other"
for name in cut zeroed; do
	if read_anew "$mnt/$name"; then
		fail "$name: it can be read"
	fi
	cmp -n "$(stat -c %s "$work/out")" "$work/out" "$work/data" || fail "$name: other bytes than were written"
done
for name in removed fifo directory link other; do
	is_an_error cat "$mnt/$name"
done
# Each of these is an error or what was written, and nothing else.
for name in grown header; do
	read_anew "$mnt/$name" || true
	cmp -n "$(stat -c %s "$work/out")" "$work/out" "$work/data" || fail "$name: other bytes than were written"
done
asked cat <&6 || true
cmp -n "$(stat -c %s "$work/out")" "$work/out" "$work/data" || fail "the removed file: other bytes"
for fd in 5 6 8; do
	asked cat <&"$fd" || true
done
exec 5<&- 6<&- 8<&-
asked cmp "$work/data" "$mnt/whole"
asked cmp "$work/data" "$mnt/same"

step "a file that changes under a writer"
exec 5<>"$mnt/victim"
truncate -s 0 "$at_victim"
asked dd if="$work/data" of=/dev/fd/5 bs=100000 count=3 conv=notrunc,fsync || true
rm "$at_victim"
asked dd if="$work/data" of=/dev/fd/5 bs=100000 count=3 conv=notrunc,fsync || true
exec 5<&-
is_an_error cat "$mnt/victim"

step "directories that are removed, replaced, or lose their record"
stored_by mkdir "$mnt/gone"
at_gone=$stored
stored_by mkdir "$mnt/instead"
at_instead=$stored
stored_by mkdir "$mnt/record"
at_record=$stored
for d in gone instead record; do
	cp "$work/data" "$mnt/$d/file"
done
rm -r "$at_gone"
rm -r "$at_instead"
cp "$work/data" "$at_instead"
rm "$at_record/.cryptfs-dir"
setfattr -x user.cryptfs.dir "$at_record" 2>/dev/null || true
for d in gone instead; do
	is_an_error cat "$mnt/$d/file"
	is_an_error touch "$mnt/$d/new"
	asked ls "$mnt/$d" || true
done
asked cat "$mnt/record/file" && cmp "$work/out" "$work/data"
asked ls "$mnt"
exec 7<&-
unmount_vault
mount_in_foreground attr_timeout=0
daemon=$(daemon_process)
is_an_error cat "$mnt/record/file"
asked cmp "$work/data" "$mnt/whole"

step "rubbish that comes while somebody lists"
for i in $(seq 200); do
	echo rubbish >"$vault/tree/rubbish-$i"
done &
for i in $(seq 20); do
	asked ls "$mnt" || fail "the listing failed: $(cat "$work/err")"
done
wait $!
rm "$vault"/tree/rubbish-*

step "the vault gets another name"
mv "$vault" "$vault.moved"
echo text >"$mnt/after"
same "content" "$(cat "$mnt/after")" text
asked cmp "$work/data" "$mnt/whole"
mv "$vault.moved" "$vault"

step "the vault goes altogether"
exec 5<"$mnt/whole" 6>"$mnt/written"
cp -a "$vault" "$work/copy"
rm -r "$vault"
asked cat "$mnt/whole" || true
is_an_error touch "$mnt/new"
is_an_error mkdir "$mnt/newdir"
asked ls "$mnt" || true
echo more >&6 2>/dev/null || true
exec 5<&- 6>&-
unmount_vault
mv "$work/copy" "$vault"
mount_vault
cmp "$work/data" "$mnt/whole"
same "content" "$(cat "$mnt/after")" text
unmount_vault

if as_root; then
	step "the backing filesystem is detached under the mount"
	mkdir "$work/backing"
	mount -t tmpfs -o size=32m,mode=755 cryptfs-test "$work/backing"
	cp -a "$vault" "$work/backing/"
	vault=$work/backing/vault
	mount_in_foreground
	daemon=$(daemon_process)
	umount -l "$work/backing"
	asked cmp "$work/data" "$mnt/whole"
	echo text >"$mnt/detached"
	same "content" "$(cat "$mnt/detached")" text
	unmount_vault
fi
