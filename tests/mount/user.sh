#!/bin/bash
# An ordinary user mounts, works and unmounts through fusermount3; without
# allow_other not even root sees into the mount.
. "$(dirname "$0")/../support/mounted.sh"
. "$(dirname "$0")/../support/as_user.sh"

step "init and mount as $user"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
same "owner of the vault" "$(stat -c %U "$vault")" "$user"
same "readable by others" "$(find "$vault" -perm /077 ! -type l)" ""

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

step "reading what may only be read leaves its mode alone"
stored_by as_user sh -c 'echo fixed >"$0" && chmod 444 "$0"' "$mnt/read-only"
unmount_as_user
changed=$(stat -c %z "$stored")
mount_as_user
same "content" "$(as_user cat "$mnt/read-only")" fixed
same "time of its last change" "$(stat -c %z "$stored")" "$changed"

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
