#!/bin/bash
# What is written is read back: every interesting size, overwritten, appended,
# cut and grown, before and after a remount.
. "$(dirname "$0")/../support/mounted.sh"

# Around the small file (3071), the block (4096), the first group (48 blocks),
# the next (64 blocks more) and the request (1 MiB).
sizes="0 1 15 16 17 100 3070 3071 3072 3073 4095 4096 4097 8191 8192 8193
	196607 196608 196609 458751 458752 458753 1048575 1048576 1048577 3000000"

compare_all() {
	local size
	for size in $sizes; do
		same "size of $size" "$(stat -c %s "$mnt/$size")" "$(stat -c %s "$plain/$size")"
		cmp "$plain/$size" "$mnt/$size"
	done
}

# on_both COMMAND...: run it in the mount and in the plain directory beside it.
on_both() {
	(cd "$mnt" && "$@")
	(cd "$plain" && "$@")
}

plain=$work/plain
mkdir "$plain"
new_vault
mount_vault

step "write and read back"
head -c 4000000 /dev/urandom >"$work/random"
for size in $sizes; do
	on_both sh -c "head -c $size '$work/random' >$size"
done
compare_all
remount_vault
compare_all

step "overwrite in the middle"
for size in $sizes; do
	[ "$size" -gt 0 ] || continue
	for at in 0 $((size / 2)) $((size - 1)); do
		on_both dd if="$work/random" of="$size" bs=1 skip=77 seek="$at" count=50 conv=notrunc status=none
	done
done
compare_all
remount_vault
compare_all

step "append"
for size in $sizes; do
	for round in 1 2 3; do
		on_both sh -c "head -c $((size % 5000 + round)) '$work/random' >>$size"
	done
done
compare_all
remount_vault
compare_all

step "cut and grow"
for change in -1 -4096 +1 +4095 +4096 +300000 -299999 3072 3071 5000; do
	for size in $sizes; do
		on_both truncate -s "$change" "$size"
	done
	compare_all
done
remount_vault
compare_all
for size in $sizes; do
	on_both truncate -s 0 "$size"
done
compare_all

step "overwrite whole files"
for size in $sizes; do
	on_both sh -c "tail -c $((size / 2 + 1)) '$work/random' >$size"
done
compare_all

check_holes() {
	step "a large hole costs nothing and reads as zeros"
	truncate -s 10G "$mnt/sparse"
	printf end >>"$mnt/sparse"
	same "size" "$(stat -c %s "$mnt/sparse")" $((10 * 1024 * 1024 * 1024 + 3))
	same "zeros in the middle" \
		"$(dd if="$mnt/sparse" bs=1M skip=5000 count=1 status=none | tr -d '\0' | wc -c)" 0
	same "end" "$(tail -c 3 "$mnt/sparse")" end
	remount_vault
	same "end" "$(tail -c 3 "$mnt/sparse")" end
	used=$(du -sk "$vault" | cut -f1)
	[ "$used" -lt 102400 ] || fail "the vault holds $used KiB for a hole"
}

# A xor vault has no holes: its zeros are written.
if [ "${VAULT_CIPHER-}" != xor ]; then
	check_holes
fi

step "an unlinked file that is open lives on"
python3 - "$mnt/gone" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"still here" * 1000)
os.unlink(sys.argv[1])
os.pwrite(fd, b"STILL", 5000)
os.ftruncate(fd, 9000)
if os.fstat(fd).st_nlink != 0 or os.fstat(fd).st_size != 9000:
    sys.exit("FAILED: fstat of the unlinked file")
if os.pread(fd, 10000, 0) != b"still here" * 500 + b"STILL here" + b"still here" * 399:
    sys.exit("FAILED: content of the unlinked file")
PY
[ ! -e "$mnt/gone" ] || fail "the file is still listed"

unmount_vault
