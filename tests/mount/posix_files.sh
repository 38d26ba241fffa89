#!/bin/bash
# Files, names and attributes as on a local filesystem: see posix/files.c and
# posix/names.c; and what is left of them after a remount.
. "$(dirname "$0")/../support/mounted.sh"

programs=$(dirname "$CRYPTFS_MOUNT")/../tests/mount

new_vault

step "a vault that nobody has mounted yet, read-only"
mount_vault ro
same "in it" "$(ls -A "$mnt")" ""
refused 'Read-only' touch "$mnt/file"
unmount_vault
vault_is_bare() {
	[ -z "$(ls -A "$vault/tree")" ]
}
vault_is_bare || fail "a read-only mount left something in the vault"

mount_vault
mkdir "$mnt/files" "$mnt/names"

step "files"
# All zeros of a sparse file of terabytes are stored in a xor vault.
if [ "${VAULT_CIPHER-}" = xor ]; then
	"$programs/posix_files" "$mnt/files" -big
else
	"$programs/posix_files" "$mnt/files"
fi
same "left of it" "$(ls -A "$mnt/files")" ""
rmdir "$mnt/files"

if [ -z "${MOUNT_OPTIONS-}${VAULT_CIPHER-}" ]; then # they are the same in every mode
	step "names"
	"$programs/posix_names" "$mnt/names"
fi
rm -r "$mnt/names"
vault_is_empty

step "what was made without a name is there after a remount"
python3 - "$mnt" <<'PY'
import os
import sys

directory = os.open(sys.argv[1], os.O_RDONLY)
for name in (b"short", b"l" * 200):
    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"content " * 2000)
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)
    os.close(fd)
PY
remount_vault
for name in short "$(printf 'l%.0s' {1..200})"; do
	same "$name" "$(sha256sum <"$mnt/$name")" "$(printf 'content %.0s' {1..2000} | sha256sum)"
	same "mode" "$(stat -c '%a %h' "$mnt/$name")" "640 1"
done
unmount_vault
