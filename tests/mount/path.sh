#!/bin/bash
# cryptfs path: from a file to where it is stored, and back; mounted and not.
. "$(dirname "$0")/../support/mounted.sh"

path_of() {
	"$CRYPTFS" path --passfile "$passfile" "$@" </dev/null
}

# there_and_back WHERE PATH: by a mountpoint or a vault.
there_and_back() {
	local where=$1 path=$2 stored
	stored=$(path_of "$where" "$path")
	[ -e "$stored" ] || [ -L "$stored" ] || fail "$path: $stored is not there"
	same "shown again" "$(path_of --reverse "$where" "$stored")" "$path"
	same "shown again" "$(path_of --reverse "$where" "${stored#"$vault"/tree/}")" "$path"
}

new_vault
mount_vault
long=$(printf '%0250d' 7)
odd=$'new\nline \xff'
mkdir -p "$mnt/a/b" "$mnt/$long"
echo one >"$mnt/a/b/file"
echo two >"$mnt/$long/$long"
echo three >"$mnt/$odd"
ln -s nowhere "$mnt/a/link"

check() {
	local path
	for path in a a/b a/b/file a/link "$long" "$long/$long" "$odd"; do
		there_and_back "$1" "$path"
	done
	same "the top" "$(path_of "$1" .)" "$vault/tree"
	same "the top" "$(path_of --reverse "$1" "$vault/tree")" .
	refused 'a/none: No such file' path_of "$1" a/none
	refused 'a/b/file/x: Not a directory' path_of "$1" a/b/file/x
	refused 'Invalid argument' path_of "$1" a/../a
	refused 'none: No such file' path_of --reverse "$1" none
	refused 'none: No such file' path_of --reverse "$1" "$vault/tree/none"
}

step "of a mount"
check "$mnt"
same "with the mountpoint" "$(path_of "$mnt" "$mnt/a/b/file")" "$(path_of "$mnt" a/b/file)"
same "with a slash" "$(path_of "$mnt/" "$mnt/a/b/")" "$(path_of "$mnt" a/b)"
stored=$(path_of "$mnt" a/b/file)
same "the file" "$(stat -c %i "$stored")" "$(stat -c %i "$mnt/a/b/file")"
refused 'in use' path_of "$vault" a
# What was looked up for it is not kept.
for _ in {1..50}; do
	path_of "$mnt" a/b/file >/dev/null
done

step "of a vault that is not mounted"
unmount_vault
check "$vault"
same "the same" "$(path_of "$vault" a/b/file)" "$stored"
refused 'wrong passphrase' "$CRYPTFS" path --extpass 'echo wrong' "$vault" a
refused 'MOUNTPOINT or VAULT, and a PATH' "$CRYPTFS" path "$vault"
refused 'no vault' path_of "$work" a
