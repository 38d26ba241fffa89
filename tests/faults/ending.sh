#!/bin/bash
# A disk that fails while a mount settles, and while a passphrase is changed, at
# every call in turn: nothing is lost, and one passphrase works.
#
# EVERY=1: at every call indeed, else at some of them.
. "$(dirname "$0")/../support/mounted.sh"

fault=$(dirname "$CRYPTFS_MOUNT")/../tests/faults/libfault.so
[ -e "$fault" ] || fail "the failing disk was not built: $fault"
control=$work/control
total=0

# arm KINDS HOW ERRNO N: as struct plan in fault.c.
arm() {
	python3 -c 'import struct, sys
open(sys.argv[1], "r+b").write(struct.pack("7i", 1, *map(int, sys.argv[2:6]), 0, 0))' "$control" "$@"
}

struck() { # how often it did
	python3 -c 'import struct, sys
print(struct.unpack("7i", open(sys.argv[1], "rb").read(28))[5])' "$control"
}

failing() {
	FAULT_CONTROL=$control LD_PRELOAD=$fault "$@"
}

truncate -s 4096 "$control"
new_vault

step "settling"
for how in "7 0 5" "1 1 28"; do
	n=0
	while :; do
		n=$((n ? n + ${EVERY:-4} : 2))
		failing mount_in_foreground
		echo "small $n" >"$mnt/small"
		head -c 100000 /dev/urandom >"$work/data"
		cp "$work/data" "$mnt/data"
		head -c 5000 "$work/data" >>"$mnt/data"
		mkdir -p "$mnt/dir"
		ln -sf target "$mnt/link"
		echo x >"$mnt/file"
		mv "$mnt/file" "$mnt/dir/file"
		mv "$mnt/link" "$mnt/dir/link"
		rm -rf "$mnt/other"
		mv "$mnt/dir" "$mnt/other"
		# shellcheck disable=SC2086
		arm $how $n
		unmount_vault
		times=$(struck)
		truncate -s 0 "$control" && truncate -s 4096 "$control"
		mount_in_foreground
		same "small content" "$(cat "$mnt/small")" "small $n"
		cat "$work/data" <(head -c 5000 "$work/data") | cmp - "$mnt/data"
		same "what was moved" "$(cat "$mnt/other/file") $(readlink "$mnt/other/link")" "x target"
		echo more >>"$mnt/small"
		unmount_vault
		[ "$times" != 0 ] || break
		total=$((total + times))
		[ "$n" -lt 100 ] || fail "no end of calls"
	done
done
if grep -q damaged "$log"; then
	fail "something was taken for damaged: $(cat "$log")"
fi
rm_all() {
	mount_vault
	rm -rf "$mnt/small" "$mnt/data" "$mnt/other"
	unmount_vault
}
rm_all
vault_is_empty

step "passwd"
other=$work/other
echo 'another passphrase' >"$other"
chmod 600 "$other"
works() { # FILE: this passphrase does
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$1,ro" </dev/null 2>/dev/null || return
	unmount_vault
}
for how in "5 0 5" "5 3 28" "1 1 122"; do
	n=0
	while :; do
		n=$((n ? n + ${EVERY:-4} : 1))
		# shellcheck disable=SC2086
		arm $how $n
		status=0
		failing "$CRYPTFS" passwd --passfile "$passfile" --new-passfile "$other" --kdf-memory 64 \
			--kdf-operations 3 "$vault" </dev/null >"$work/said" 2>&1 || status=$?
		times=$(struck)
		[ ! -e "$vault/cryptfs.conf.tmp" ] || fail "half a configuration stays: $how at $n"
		if [ "$status" = 0 ]; then
			mv "$passfile" "$work/x"
			mv "$other" "$passfile"
			mv "$work/x" "$other"
		fi
		works "$passfile" || {
			# The directory could not be synced: which one it is, only the next open can tell.
			works "$other" || fail "no passphrase works: $how at $n: $(cat "$work/said")"
			[ "$status" != 0 ] || fail "it succeeded, and the old one works: $how at $n"
			mv "$passfile" "$work/x"
			mv "$other" "$passfile"
			mv "$work/x" "$other"
		}
		if works "$other"; then
			fail "both passphrases work: $how at $n"
		fi
		[ "$times" != 0 ] || break
		total=$((total + times))
		[ "$n" -lt 50 ] || fail "no end of calls"
	done
done
[ "$total" -gt 10 ] || fail "the disk failed only $total times"
