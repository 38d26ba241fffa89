#!/bin/bash
# A packed tree of several thousand files is unpacked in the mount, is the same
# tree before and after a remount, and leaves nothing when it is removed.
. "$(dirname "$0")/../support/mounted.sh"

tree=/usr/include

compare() {
	step "compare, $1"
	diff -r --no-dereference "$tree" "$mnt/tree"
	manifest "$mnt/tree" | diff "$work/manifest" - || fail "modes, times, sizes or links differ"
}

manifest "$tree" >"$work/manifest"
same "only plain links in the tree" "$(awk '$2 == "f" && $6 > 1' "$work/manifest" | wc -l)" 0
step "pack $(wc -l <"$work/manifest") entries"
tar --format=posix -C "$tree" -cf "$work/tree.tar" .

new_vault
mount_vault
mkdir "$mnt/tree"
step "unpack"
tar -C "$mnt/tree" -xpf "$work/tree.tar"
compare "freshly written"
remount_vault
compare "after a remount"

step "remove"
rm -r "$mnt/tree"
same "left in the mount" "$(ls -A "$mnt")" ""
unmount_vault
vault_is_empty
