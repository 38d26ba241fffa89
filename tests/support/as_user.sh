# shellcheck shell=bash
# as_user.sh - a mount of an ordinary user: source it after mounted.sh.
#
# Run by root it makes a user, $user, and where /dev/fuse is not open to all as
# distributions ship it, opens it for the run.  $vault, $mnt and $passfile are
# that user's from here on, in $home.

if as_root; then
	user=cryptfs-test-$$
	useradd --no-create-home --shell /bin/sh "$user"
	undo+=("userdel '$user'")
	mode=$(stat -c %a /dev/fuse)
	if [ "$mode" != 666 ]; then
		undo+=("chmod '$mode' /dev/fuse")
		chmod 666 /dev/fuse
	fi
	as_user() {
		runuser -u "$user" -- "$@"
	}
	chmod 711 "$work"
else
	user=$(id -un)
	as_user() {
		"$@"
	}
fi

# The programs, copied: the user may not be able to reach where they were built.
mkdir -m 755 "$work/bin"
cp "$CRYPTFS" "$CRYPTFS_MOUNT" "$work/bin/"
export CRYPTFS=$work/bin/${CRYPTFS##*/} CRYPTFS_MOUNT=$work/bin/${CRYPTFS_MOUNT##*/}
home=$work/home
mkdir "$home"
vault=$home/vault
mnt=$home/mnt
mkdir "$mnt"
cp "$passfile" "$home/passphrase"
passfile=$home/passphrase
chmod 600 "$passfile"
chown -R "$user" "$home"

mount_as_user() {
	as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with "${1-}")" </dev/null
	is_mounted || fail "nothing is mounted"
}

unmount_as_user() {
	as_user fusermount3 -u "$mnt"
	await 60 no_processes || fail "the daemon is still there"
}
