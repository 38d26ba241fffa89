#!/bin/bash
# Several users at once: what each makes is its maker's, set-id bits go when
# others write, locks; and the mount as the upper layer of an overlay.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "only root may mount for others here"
programs=$(dirname "$CRYPTFS_MOUNT")/../tests/mount

chmod 711 "$work"
new_vault
mount_vault allow_other
chmod 755 "$mnt"
mkdir -m 777 "$mnt/users" "$mnt/locks"

step "users"
# Run by users who may not come near the programs, perhaps.
cp "$programs/posix_users" "$work/posix_users"
"$work/posix_users" "$mnt/users"

step "what they made, after a remount"
(cd "$mnt/users" && find . -printf '%p %y %m %U:%G %n %l\n' | sort) >"$work/made"
remount_vault allow_other
(cd "$mnt/users" && find . -printf '%p %y %m %U:%G %n %l\n' | sort) | diff "$work/made" -
find "$mnt/users" -type f -size +0 | while read -r file; do
	same "content" "$(cat "$file")" "${file#"$mnt/users/"}"
done

step "locks"
"$programs/posix_locks" "$mnt/locks"

step "upper layer of an overlay"
mkdir -p "$work/lower/dir" "$mnt/upper" "$mnt/scratch" "$work/merged"
echo below >"$work/lower/file"
echo below >"$work/lower/dir/deep"
echo gone >"$work/lower/gone"
if mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$mnt/upper,workdir=$mnt/scratch" "$work/merged" 2>"$work/why"; then
	undo+=("umount '$work/merged' 2>/dev/null")
	echo above >>"$work/merged/file"
	rm "$work/merged/gone"
	mv "$work/merged/file" "$work/merged/moved"
	rm -r "$work/merged/dir"
	mkdir "$work/merged/dir"
	echo new >"$work/merged/dir/new"
	check_merged() {
		same "names" "$(cd "$work/merged" && find . | LC_ALL=C sort | tr '\n' ' ')" ". ./dir ./dir/new ./moved "
		same "content" "$(tr '\n' ' ' <"$work/merged/moved")" "below above "
	}
	check_merged
	umount "$work/merged"
	same "whiteouts" "$(cd "$mnt/upper" && find . -type c | LC_ALL=C sort | tr '\n' ' ')" "./file ./gone "
	remount_vault allow_other
	mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$mnt/upper,workdir=$mnt/scratch" "$work/merged"
	check_merged
	umount "$work/merged"
else
	echo "no overlay here: $(cat "$work/why")"
fi
unmount_vault
