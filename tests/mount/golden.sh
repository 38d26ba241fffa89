#!/usr/bin/env bash
# Vaults of this format version stay readable: archives made once are mounted,
# and decrypted by the second implementation, and must show what they held.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"
vectors=$here/../vectors

# without_attributes: where the backing filesystem cannot hold them.
without_attributes() {
	awk '{ $5 = "-"; print }'
}

plain_listing=cat
touch "$work/probe"
setfattr -n user.probe -v 1 "$work/probe" 2>/dev/null || plain_listing=without_attributes

compare() { # compare WHAT DIR CIPHER
	"$vectors/list_tree.py" "$2" | $plain_listing >"$work/shown"
	$plain_listing <"$vectors/golden-$3.txt" >"$work/expected"
	diff -u "$work/expected" "$work/shown" || fail "$1 of $3 shows something else"
}

for cipher in aes-256-gcm chacha20-poly1305 xor; do
	step "$cipher"
	tar -C "$work" --xattrs --xattrs-include='user.*' -xJf "$vectors/golden-$cipher.tar.xz"
	mount_vault ro
	compare "the read-only mount" "$mnt" "$cipher"
	unmount_vault
	mount_vault
	compare "the mount" "$mnt" "$cipher"
	unmount_vault
	if "$vectors/decode.py" "$vault" "$passfile" "$work/decoded"; then
		compare "the second implementation" "$work/decoded" "$cipher"
	elif [ $? != 77 ]; then
		fail "the second implementation does not read $cipher"
	fi
	rm -rf "$vault" "$work/decoded"
done
