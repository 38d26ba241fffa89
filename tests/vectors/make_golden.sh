#!/usr/bin/env bash
# Make the golden vaults: an archive per cipher, and what a mount must show of
# them.  They are made once for each format version and then stay as they are;
# golden.sh among the mount tests reads them.
#
#   CRYPTFS=... CRYPTFS_MOUNT=... tests/vectors/make_golden.sh
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"

# Bytes that are the same every time.
bytes() {
	python3 -c 'import hashlib, sys
seed, size = sys.argv[1], int(sys.argv[2])
out = b"".join(hashlib.sha256(b"%s %d" % (seed.encode(), i)).digest() for i in range(size // 32 + 1))
sys.stdout.buffer.write(out[:size])' "$@"
}

fill() {
	local size long
	for size in 0 1 3071 3072 4095 4096 4097 $((48 * 4096 + 5)); do
		bytes "size $size" "$size" >"$mnt/size-$size"
	done
	mkdir -p "$mnt/dir/below"
	long=$(printf 'n%.0s' $(seq 255))
	echo 'a long name' >"$mnt/dir/$long"
	mkdir "$mnt/dir/d$(printf 'o%.0s' $(seq 250))"
	echo moved >"$mnt/moved" && mv "$mnt/moved" "$mnt/dir/below/moved"
	echo linked >"$mnt/linked" && ln "$mnt/linked" "$mnt/dir/linked"
	ln -s dir/below "$mnt/symlink"
	ln -s "$(printf 't%.0s' $(seq 4000))" "$mnt/far-symlink"
	ln -s before "$mnt/before" && mv "$mnt/before" "$mnt/dir/after"
	bytes rewritten 20000 >"$mnt/rewritten"
	bytes again 5000 | dd of="$mnt/rewritten" bs=1000 seek=7 conv=notrunc status=none
	bytes cut 9000 >"$mnt/cut" && truncate -s 5001 "$mnt/cut"
	if [ "$1" != xor ]; then
		bytes head 100 >"$mnt/sparse"
		bytes tail 100 | dd of="$mnt/sparse" bs=100 seek=9000 conv=notrunc status=none
	fi
	chmod 0640 "$mnt/cut"
	chmod 0711 "$mnt/dir"
	setfattr -n user.colour -v blue "$mnt/cut"
	setfattr -n user.empty "$mnt/dir"
}

for cipher in aes-256-gcm chacha20-poly1305 xor; do
	new_vault --cipher "$cipher"
	mount_vault
	fill "$cipher"
	"$here/list_tree.py" "$mnt" >"$here/golden-$cipher.txt"
	unmount_vault
	tar -C "$work" --sparse --xattrs --xattrs-include='user.*' --sort=name --numeric-owner \
		--owner=0 --group=0 -cJf "$here/golden-$cipher.tar.xz" vault
	rm -rf "$vault"
done
