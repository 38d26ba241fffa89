#!/bin/bash
# What can only be read is mounted read-only by itself, and says so in one line;
# nothing in the vault changes by it.  A vault that was never mounted is empty.
. "$(dirname "$0")/../support/mounted.sh"

# mounts_read_only WHY [OPTIONS]: without being told to, with one line that says why.
mounts_read_only() {
	local why=$1
	shift
	as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with "${1-}")" </dev/null 2>"$work/said" ||
		fail "it did not mount: $(cat "$work/said")"
	same "mounts" "$(mounts_there)" 1
	grep -q "read-only: $why" "$work/said" || fail "it said: $(cat "$work/said")"
	same "lines of $(cat "$work/said")" "$(grep -c . "$work/said")" 1
}

as_user() {
	"$@"
}

# shape: names, sizes, times of all in the vault.
shape() {
	find "$vault" -printf '%p %s %T@ %C@ %m\n' | sort
}

step "a vault that was never mounted"
new_vault
shape >"$work/before"
mount_vault ro
same "entries" "$(ls -A "$mnt")" ""
stat "$mnt" >/dev/null
refused 'Read-only file system' touch "$mnt/file"
refused 'No such file' cat "$mnt/file"
unmount_vault
shape | cmp - "$work/before" || fail "the vault has changed"
mount_vault
echo text >"$mnt/file"
mkdir "$mnt/dir"
echo deep >"$mnt/dir/file"
unmount_vault
shape >"$work/before"

root_only() {
	step "a read-only bind mount"
	mkdir "$work/bind"
	mount --bind "$vault" "$work/bind"
	undo+=("umount '$work/bind'")
	mount -o remount,bind,ro "$work/bind"
	original=$vault
	vault=$work/bind
	mounts_read_only 'it is on a read-only filesystem'
	same "content" "$(cat "$mnt/file" "$mnt/dir/file")" "text
deep"
	refused 'Read-only file system' touch "$mnt/new"
	unmount_vault
	vault=$original
	shape | cmp - "$work/before" || fail "the vault has changed"

	step "a filesystem that becomes read-only under a mount"
	mkdir "$work/backing"
	mount -t tmpfs -o size=16m cryptfs-test "$work/backing"
	undo+=("umount '$work/backing'")
	vault=$work/backing/vault
	new_vault
	mount_in_foreground
	head -c 100000 /dev/urandom >"$work/data"
	cp "$work/data" "$mnt/data"
	echo small >"$mnt/small"
	sync -f "$mnt"
	# Files that are open for writing keep it from being remounted.
	becomes_read_only() {
		mount -o remount,ro "$work/backing" 2>/dev/null
	}
	await 10 becomes_read_only || fail "something keeps the backing filesystem writable"
	refused 'Read-only file system' touch "$mnt/new"
	refused 'Read-only file system' mkdir "$mnt/new"
	refused 'Read-only file system' rm "$mnt/small"
	refused 'Read-only file system' mv "$mnt/small" "$mnt/other"
	refused 'Read-only file system' truncate -s 10 "$mnt/data"
	refused 'Read-only file system' ln -s target "$mnt/new"
	refused 'Read-only file system|Input/output error' sh -c "echo more >>'$mnt/data'"
	cmp "$work/data" "$mnt/data"
	same "content" "$(cat "$mnt/small")" small
	same "names" "$(LC_ALL=C ls -A "$mnt" | tr '\n' ' ')" "data small "
	unmount_vault
	mounts_read_only 'it is on a read-only filesystem'
	cmp "$work/data" "$mnt/data"
	unmount_vault
	mount -o remount,rw "$work/backing"
	mount_vault
	cmp "$work/data" "$mnt/data"
	same "content" "$(cat "$mnt/small")" small
	echo more >>"$mnt/small"
	unmount_vault
}

if as_root; then
	root_only
fi

step "an ordinary user who may not write there"
. "$(dirname "$0")/../support/as_user.sh"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
mount_as_user
as_user sh -c "echo text >'$mnt/file'"
unmount_as_user
chmod -R a-w "$vault"
mounts_read_only 'no permission to write there'
same "content" "$(as_user cat "$mnt/file")" text
refused 'Read-only file system' as_user touch "$mnt/new"
unmount_as_user
chmod 000 "$vault"
refused 'permission denied' as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile"
same "mounts" "$(mounts_there)" 0
