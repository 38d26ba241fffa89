#!/bin/bash
# Files, names and attributes as on a local filesystem: see posix/files.c and
# posix/names.c; and what is left of them after a remount.
. "$(dirname "$0")/../support/mounted.sh"

programs=$(dirname "$CRYPTFS_MOUNT")/../tests/mount

new_vault

step "a vault that nobody has mounted yet, read-only"
before=$(find "$vault" | sort)
mount_vault ro
same "in it" "$(ls -A "$mnt")" ""
refused 'Read-only' touch "$mnt/file"
unmount_vault
same "what is in the vault" "$(find "$vault" | sort)" "$before"

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

step "tools"
mkdir -p "$work/from/dir/sub"
seq 20000 >"$work/from/dir/data"
printf '#!/bin/sh\necho ran\n' >"$work/from/script"
chmod 4751 "$work/from/script"
chmod 2750 "$work/from/dir"
ln "$work/from/dir/data" "$work/from/second"
ln -s dir/data "$work/from/link"
mkfifo "$work/from/fifo"
truncate -s 1M "$work/from/dir/sub/sparse"
setfattr -n user.note -v text "$work/from/dir/data"
touch -h -d @987654321.123456789 "$work/from/link" "$work/from/dir/data"
touch -d @1000000000.5 "$work/from/fifo" "$work/from/dir/sub" "$work/from/dir" "$work/from"
all_of() { # DIRECTORY: what is in it, and the attributes
	manifest "$1"
	(cd "$1" && find . -type f -o -type d | LC_ALL=C sort | xargs getfattr -hd)
	(cd "$1" && find . -type f -exec sha256sum {} + | sort)
}
all_of "$work/from" >"$work/wanted"
cp -a "$work/from" "$mnt/cp"
(cd "$work" && tar --xattrs -cf - from) | (cd "$mnt" && tar --xattrs -xpf -)
rsync -aHX --specials "$work/from/" "$mnt/rsync/"
cp -a "$mnt/cp" "$work/moving"
mv "$work/moving" "$mnt/mv"
for name in cp from rsync mv; do
	all_of "$mnt/$name" | diff "$work/wanted" - || fail "$name: told apart, above"
done
same "nothing to do for rsync" "$(rsync -aHXni --specials "$work/from/" "$mnt/rsync/")" ""
install -m 640 -D "$work/from/script" "$mnt/deep/er/script"
same "installed" "$(stat -c %a "$mnt/deep/er/script")" 640
same "run" "$("$mnt/cp/script")" ran
refused 'Inappropriate ioctl|not supported' lsattr -d "$mnt/cp"
refused 'Inappropriate ioctl|not supported' chattr +i "$mnt/cp/script"
git -c init.defaultBranch=main init -q "$mnt/repo"
cp "$work/from/dir/data" "$mnt/repo"
git -C "$mnt/repo" add -A
git -C "$mnt/repo" -c user.name=x -c user.email=x@x commit -qm one
git -C "$mnt/repo" gc -q
git -C "$mnt/repo" fsck --strict 2>&1 | grep -v '^notice' && fail "git fsck complains"
rm -rf "$mnt/"{cp,from,rsync,mv,deep,repo}
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
