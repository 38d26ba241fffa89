#!/bin/bash
# mount(8) and lines of fstab, with the types cryptfs and fuse.cryptfs and the
# options that mount(8) passes on.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "mount(8) looks for its helpers in /sbin, where only root may put them"

for type in cryptfs fuse.cryptfs; do
	if [ ! -e "/sbin/mount.$type" ]; then
		undo+=("rm -f '/sbin/mount.$type'")
		ln -s "$(dirname "$CRYPTFS_MOUNT")/mount.cryptfs" "/sbin/mount.$type"
	fi
done

generic=defaults,noauto,nofail,user,_netdev,noatime,x-systemd.automount,x-cryptfs.note=1

new_vault
for type in cryptfs fuse.cryptfs; do
	step "mount -t $type"
	mount -t "$type" -o "passfile=$passfile" "$vault" "$mnt"
	is_mounted || fail "nothing is mounted"
	echo "$type" >"$mnt/$type"
	same "type" "$(findmnt -n -o FSTYPE "$mnt")" fuse.cryptfs
	unmount_vault

	step "a line of fstab"
	echo "$vault $mnt $type passfile=$passfile,$generic 0 0" >"$work/fstab"
	mount -T "$work/fstab" "$mnt"
	same "content" "$(cat "$mnt/$type")" "$type"
	options=$(findmnt -n -o OPTIONS "$mnt")
	for option in nosuid nodev noexec; do # user means these
		case ,$options, in
		*,"$option",*) ;;
		*) fail "$option is not in $options" ;;
		esac
	done
	unmount_vault

	step "read-only, and once more all lines"
	echo "$vault $mnt $type passfile=$passfile,ro 0 0" >"$work/fstab"
	mount -a -T "$work/fstab"
	refused "Read-only file system" touch "$mnt/new"
	unmount_vault
done

step "what is wrong is said, with the code of cryptfs-mount"
status=0
mount -t cryptfs -o "passfile=$passfile,frobnicate" "$vault" "$mnt" 2>"$work/err" || status=$?
same "exit code" "$status" 1
grep -q frobnicate "$work/err" || fail "it said: $(cat "$work/err")"
echo wrong >"$work/wrong"
chmod 600 "$work/wrong"
refused "passphrase" mount -t cryptfs -o "passfile=$work/wrong" "$vault" "$mnt"
if is_mounted; then
	fail "something is mounted"
fi
