#!/bin/bash
# An ordinary user mounts, works and unmounts through fusermount3; without
# allow_other not even root sees into the mount.  Run by root, the test makes
# a user and, where /dev/fuse is not open to all as distributions ship it,
# opens it for the run.
. "$(dirname "$0")/../support/mounted.sh"

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

step "init and mount as $user"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
same "owner of the vault" "$(stat -c %U "$vault")" "$user"
same "readable by others" "$(find "$vault" -perm /077 ! -type l)" ""

mount_as_user() {
	as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with "${1-}")" </dev/null
	is_mounted || fail "nothing is mounted"
}

unmount_as_user() {
	as_user fusermount3 -u "$mnt"
	await 60 no_processes || fail "the daemon is still there"
}

mount_as_user
as_user sh -euc '
	cd "$1"
	mkdir dir
	echo text >dir/file
	head -c 3000000 /dev/urandom >random
	cp random copy
	cmp random copy
	ln -s dir/file link
	chmod 400 dir/file
	mv dir moved
	test "$(cat moved/file)" = text
	ls -lR . >/dev/null
	tar --exclude ./tar -cf tar .
' work "$mnt"
same "owner of a file" "$(as_user stat -c %U "$mnt/copy")" "$user"

if as_root; then
	step "root is refused"
	refused "Permission denied" ls "$mnt"
	refused "Permission denied" cat "$mnt/copy"
	for pid in $(mount_processes); do
		same "real user of process $pid" "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" "$(id -u "$user")"
	done
fi

step "things whose mode keeps their owner out can be renamed"
as_user sh -euc '
	cd "$0"
	mkdir closed && echo inside >closed/file && chmod 0 closed
	echo x >barred && chmod 0 barred
	echo x >fixed && chmod 444 fixed
	mv closed closed-too && mv barred barred-too && mv fixed fixed-too
' "$mnt"
same "modes" "$(as_user stat -c %a "$mnt/closed-too" "$mnt/barred-too" "$mnt/fixed-too" | tr '\n' ' ')" "0 0 444 "

if as_root; then
	step "another owner's file that the user may write"
	stored_by as_user touch "$mnt/foreign"
	unmount_as_user
	chmod 666 "$stored"
	chown root "$stored"
	mount_as_user
	same "owner" "$(as_user stat -c %U "$mnt/foreign")" root
	as_user sh -c 'echo more | dd of="$0" oflag=append conv=notrunc,fsync status=none' "$mnt/foreign"
	same "content" "$(as_user cat "$mnt/foreign")" more
fi

step "unmount, mount again"
unmount_as_user
mount_as_user
as_user cmp "$mnt/random" "$mnt/copy"
as_user chmod 700 "$mnt/closed-too"
same "what is in the closed directory" "$(as_user cat "$mnt/closed-too/file")" inside
same "target" "$(as_user readlink "$mnt/link")" dir/file
unmount_as_user

step "a wrong passphrase and a foreign mountpoint"
echo wrong | as_user tee "$home/wrong" >/dev/null
chmod 600 "$home/wrong"
status=0
as_user "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$home/wrong" </dev/null || status=$?
same "exit code" "$status" 4
if is_mounted; then
	fail "mounted with a wrong passphrase"
fi
if as_root; then
	mkdir -m 755 "$work/foreign"
	status=0
	as_user "$CRYPTFS_MOUNT" "$vault" "$work/foreign" -o "passfile=$passfile" </dev/null || status=$?
	same "exit code" "$status" 7
fi
