#!/bin/bash
# Space, holes and copies of ranges: fallocate(2), SEEK_HOLE and SEEK_DATA,
# copy_file_range(2), and the tools that use them.
. "$(dirname "$0")/../support/mounted.sh"

programs=$(dirname "$CRYPTFS_MOUNT")/../tests/mount

# Where there are none to be found: with writeback the kernel says that all is
# data, and a xor vault stores zeros as well.
how=
if in_mode writeback || [ "${VAULT_CIPHER-}" = xor ]; then
	how=no-holes
fi

blocks() { # FILE: what it takes, in KiB
	du -k "$1" | cut -f 1
}

new_vault
mount_vault

step "the calls"
mkdir "$mnt/calls"
"$programs/posix_holes" "$mnt/calls" $how
"$programs/posix_copies" "$mnt/calls" $how
rmdir "$mnt/calls"

step "the tools"
fallocate -l 1M "$mnt/space"
[ "$(blocks "$mnt/space")" -ge 1024 ] || fail "there is less space than was asked for"
seq 1 200000 >"$mnt/data"
cp "$mnt/data" "$mnt/punched"
fallocate -p -o 10000 -l 500000 "$mnt/punched"
cp "$mnt/data" "$work/punched"
fallocate -p -o 10000 -l 500000 "$work/punched"
cmp "$work/punched" "$mnt/punched"
cp --sparse=auto "$mnt/punched" "$mnt/copy"
cmp "$mnt/punched" "$mnt/copy"
cp --reflink=auto "$mnt/data" "$mnt/again"
cmp "$mnt/data" "$mnt/again"
truncate -s 64M "$mnt/sparse"
printf x | dd of="$mnt/sparse" bs=1 seek=33333333 conv=notrunc status=none
cp "$mnt/sparse" "$mnt/sparse2"
cmp "$mnt/sparse" "$mnt/sparse2"
tar -C "$mnt" -Scf "$work/sparse.tar" sparse
if [ -z "$how" ]; then
	[ "$(blocks "$mnt/punched")" -lt $(($(blocks "$mnt/data") - 450)) ] || fail "no space came back"
	[ "$(blocks "$mnt/copy")" -lt $(($(blocks "$mnt/data") - 450)) ] || fail "the copy has no hole"
	[ "$(blocks "$mnt/sparse2")" -lt 1000 ] || fail "the copy of a sparse file is not"
	[ "$(stat -c %s "$work/sparse.tar")" -lt 1000000 ] || fail "tar found no holes"
fi

remount_vault
step "after a remount"
cmp "$work/punched" "$mnt/punched"
cmp "$work/punched" "$mnt/copy"
cmp "$mnt/sparse" "$mnt/sparse2"
cmp "$mnt/data" "$mnt/again"
unmount_vault

as_root || exit 0 # only root has a small filesystem

step "space that was reserved is there when the disk is full"
vault=$work/small
mkdir "$vault"
mount -t tmpfs -o size=24m small "$vault"
undo+=("umount '$vault'")
new_vault
mount_vault
fallocate -l 8M "$mnt/reserved"
refused 'No space' fallocate -l 100M "$mnt/too much"
same "of what did not fit" "$(stat -c '%s %b' "$mnt/too much")" "0 $(stat -c %b "$mnt/too much")"
[ "$(blocks "$mnt/too much")" -lt 100 ] || fail "what did not fit took space"
refused 'No space' dd if=/dev/zero of="$mnt/fill" bs=64k count=400 conv=fsync
# With writeback what did not fit at the end of that is gone, and its room is not taken.
for ((n = 0; n < 100; n++)); do
	dd if=/dev/zero of="$mnt/fill" bs=4k count=100 oflag=append conv=notrunc,fsync 2>"$work/full" || break
done
grep -q 'No space' "$work/full" || fail "the disk is not full: $(cat "$work/full")"
head -c 8M /dev/urandom >"$work/content"
dd if="$work/content" of="$mnt/reserved" bs=64k conv=notrunc,fsync status=none
cmp "$work/content" "$mnt/reserved"
fallocate -p -o 0 -l 4M "$mnt/reserved"
[ "${VAULT_CIPHER-}" = xor ] || head -c 3M "$work/content" >"$mnt/given back"
remount_vault
tail -c 4M "$work/content" | cmp - <(tail -c 4M "$mnt/reserved")
[ "${VAULT_CIPHER-}" = xor ] || head -c 3M "$work/content" | cmp - "$mnt/given back"
unmount_vault
