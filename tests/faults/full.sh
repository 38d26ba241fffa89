#!/bin/bash
# Filesystems that are full: a small tmpfs, one with few inodes, a small ext4.
# The writer is told, what failed changed nothing, and with some space again
# everything goes on.  With writeback the writer is told at close or fsync.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "only root mounts filesystems"
here=$(cd "$(dirname "$0")" && pwd)

backing=$work/backing
mkdir "$backing"
vault=$backing/vault

# 4 MiB of each are the journal's, from the first change on that needs it.
ext4() { # OPTIONS...
	local image=$work/image
	truncate -s 52M "$image"
	/sbin/mkfs.ext4 -q -F -m 0 -b 4096 -O ^has_journal "$image"
	mount -o loop "$image" "$backing"
}

# on KIND COMMAND...: mount it, run the command with a vault on it, unmount it.
on() {
	local kind=$1
	shift
	step "$kind"
	case $kind in
	ext4) ext4 ;;
	inodes) mount -t tmpfs -o nr_inodes=900,mode=755 cryptfs-test "$backing" ;;
	*) mount -t tmpfs -o size=36m,mode=755 cryptfs-test "$backing" ;;
	esac
	undo+=("umount '$backing' 2>/dev/null")
	new_vault
	"$@"
	umount "$backing"
}

matrix() {
	mount_in_foreground
	python3 "$here/faults.py" full "$mnt" "$backing/filler" "$work/expected"
	unmount_vault
	python3 "$here/faults.py" tidy "$vault"
	mount_in_foreground
	python3 "$here/faults.py" check "$mnt" "$work/expected"
	python3 "$here/faults.py" empty "$mnt"
	unmount_vault
	vault_is_empty
	if grep -q damaged "$log"; then
		fail "something was taken for damaged: $(cat "$log")"
	fi
}

# A writer fills the disk, is told so, and what it had written before is there.
writer() {
	mount_in_foreground
	head -c 3000000 /dev/urandom >"$work/data"
	cp "$work/data" "$mnt/before"
	python3 - "$mnt" <<'PY'
import errno, os, sys
told = False
fd = os.open(sys.argv[1] + "/filler", os.O_WRONLY | os.O_CREAT)
try:
    for i in range(4000):
        os.write(fd, os.urandom(65536))
    os.fsync(fd)
except OSError as e:
    told = e.errno == errno.ENOSPC
try:
    os.close(fd)
except OSError as e:
    told = told or e.errno == errno.ENOSPC
sys.exit(0 if told else "FAILED: the writer was not told that there is no space")
PY
	cmp "$work/data" "$mnt/before"
	# A short one is told at close, too, and takes nothing from what is there.
	if cp "$work/data" "$mnt/after" 2>/dev/null; then
		fail "there should be no space for this"
	fi
	if (echo 'more than nothing' >"$mnt/before") 2>/dev/null; then
		same "what was written when it was full" "$(cat "$mnt/before")" 'more than nothing'
		rm "$mnt/before"
		cp_again=1
	fi
	rm "$mnt/filler"
	rm -f "$mnt/after"
	if [ -n "${cp_again-}" ]; then
		cp "$work/data" "$mnt/before"
	fi
	cp "$work/data" "$mnt/after"
	cmp "$work/data" "$mnt/after"
	unmount_vault
	mount_in_foreground
	cmp "$work/data" "$mnt/before"
	cmp "$work/data" "$mnt/after"
	rm "$mnt/before" "$mnt/after"
	unmount_vault
	vault_is_empty
}

# Settling, unmounting and another passphrase without a byte left.
the_end() {
	mount_in_foreground
	for i in $(seq 50); do
		echo "file $i" >"$mnt/$i"
	done
	mkdir "$mnt/dir"
	mv "$mnt"/1* "$mnt/dir"
	ln -s target "$mnt/link" && mv "$mnt/link" "$mnt/dir/link"
	echo again >>"$mnt/dir/1"
	cat /dev/zero >"$backing/filler" 2>/dev/null || true
	unmount_vault
	# What the journal gave back.
	cat /dev/zero >>"$backing/filler" 2>/dev/null || true
	echo 'another passphrase' >"$work/another"
	chmod 600 "$work/another"
	status=0
	"$CRYPTFS" passwd --passfile "$passfile" --new-passfile "$work/another" --kdf-memory 64 \
		--kdf-operations 3 "$vault" </dev/null 2>"$work/said" || status=$?
	if [ "$status" = 0 ]; then
		cp "$work/another" "$passfile"
	else
		grep -qi 'no space' "$work/said" || fail "passwd said: $(cat "$work/said")"
	fi
	[ ! -e "$vault/cryptfs.conf.tmp" ] || fail "half a configuration was left"
	mount_in_foreground
	same "files" "$(cat "$mnt"/[2-9]* "$mnt/dir"/1* | sort -k 2 -n | sed -n '$=')" 51
	same "link" "$(readlink "$mnt/dir/link")" target
	if (head -c 200000 /dev/zero >"$mnt/new") 2>/dev/null; then
		fail "there should be no space for this"
	fi
	rm "$backing/filler"
	head -c 200000 /dev/zero >"$mnt/new"
	unmount_vault
	"$CRYPTFS" passwd --passfile "$passfile" --new-passfile "$work/another" --kdf-memory 64 \
		--kdf-operations 3 "$vault" </dev/null
	cp "$work/another" "$passfile"
	mount_vault
	same "size" "$(stat -c %s "$mnt/new")" 200000
	unmount_vault
	if grep -q damaged "$log"; then
		fail "something was taken for damaged: $(cat "$log")"
	fi
}

if in_mode writeback; then
	on tmpfs writer
	on ext4 the_end
else
	on tmpfs matrix
	on inodes matrix
	on ext4 matrix
	on ext4 writer
	on tmpfs the_end
fi
