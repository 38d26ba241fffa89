#!/bin/bash
# Damage in the vault is an error for whoever reads that piece and for nobody
# else: never wrong bytes, never a hang, and what is damaged can be removed.
. "$(dirname "$0")/../support/mounted.sh"

# flip FILE OFFSET: change one bit of a stored byte.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

gives_eio() { # COMMAND...: within the time, and with the error
	case $(type -t "$1") in
	function) refused 'Input/output error' "$@" ;;
	*) refused 'Input/output error' timeout 10 "$@" ;;
	esac
}

# make NAME [BLOCKS]: a file of random blocks, a mirror, and its place in $at_NAME.
make() {
	dd if=/dev/urandom of="$work/mirror.$1" bs=4096 count="${2:-10}" status=none
	stored_by cp "$work/mirror.$1" "$mnt/$1"
	declare -g "at_$1=$stored"
}

block() { # FILE NUMBER
	timeout 10 dd if="$1" bs=4096 skip="$2" count=1 status=none
}

intact() { # NAME
	cmp "$work/mirror.$1" "$mnt/$1"
}

new_vault
mount_vault
for name in block tag header1 header2 both_headers swap1 swap2 fifo link fifo_now link_now cut empty copied name good renamed grown; do
	make $name
done
make far 60
make moved
printf 'small content' >"$work/mirror.small"
stored_by cp "$work/mirror.small" "$mnt/small"
at_small=$stored
stored_by mkdir "$mnt/dir"
at_dir=$stored
cp "$work/mirror.good" "$mnt/dir/inside"
stored_by mkdir "$mnt/dir1"
at_dir1=$stored
stored_by mkdir "$mnt/dir2"
at_dir2=$stored
echo one >"$mnt/dir1/file"
echo two >"$mnt/dir2/file"
stored_by ln -s target1 "$mnt/soft1"
at_soft1=$stored
stored_by ln -s target2 "$mnt/soft2"
at_soft2=$stored
unmount_vault

step "break things"
flip "$at_block" $((4096 + 2 * 4096 + 100))
flip "$at_far" $((4096 + 48 * 4096 + 4096 + 5 * 4096 + 7)) # block 53, in the second group
flip "$at_small" 1030
flip "$at_header1" 80
flip "$at_header2" 592
for slot in 0 512; do
	flip "$at_both_headers" $((slot + 80))
done
dd if=/dev/zero of="$at_tag" bs=64 seek=$((1024 / 64 + 3)) count=1 conv=notrunc status=none
mv "$at_swap1" "$work/swapped"
mv "$at_swap2" "$at_swap1"
mv "$work/swapped" "$at_swap2"
rm "$at_fifo" "$at_link"
mkfifo "$at_fifo"
ln -s "$at_good" "$at_link"
truncate -s -4096 "$at_cut"
truncate -s +4096 "$at_grown"
truncate -s 0 "$at_empty"
cp -p "$at_good" "$work/copy"
cat "$work/copy" >"$at_copied"
flipped=${at_name%/*}/X$(basename "$at_name" | cut -c2- | tr 'A-Za-z' 'B-ZAb-za')
mv "$at_name" "$flipped"
cp "$at_good" "$vault/tree/notes (conflicted copy).txt"
mv "$at_moved" "$at_dir/"
mv "$at_dir1" "$work/swapped"
mv "$at_dir2" "$at_dir1"
mv "$work/swapped" "$at_dir2"
mv "$at_soft1" "$work/swapped"
mv "$at_soft2" "$at_soft1"
mv "$work/swapped" "$at_soft2"
mount_in_foreground

step "one bad block"
gives_eio block "$mnt/block" 2
line=$(grep -F -- "$(basename "$at_block")" "$log") || fail "nothing in the log about $(basename "$at_block")"
grep -Eq 'block 2([^0-9]|$)' <<<"$line" || fail "no block number in: $line"
for i in 0 1 3 4 5 6 7 8 9; do
	block "$mnt/block" $i | cmp - <(block "$work/mirror.block" $i) || fail "block $i"
done
gives_eio cat "$mnt/block"
same "good bytes before the bad block" "$( (cat "$mnt/block" 2>/dev/null || true) | cmp -n 8192 - "$work/mirror.block" && echo same)" same
gives_eio block "$mnt/far" 53
block "$mnt/far" 52 | cmp - <(block "$work/mirror.far" 52)
block "$mnt/far" 54 | cmp - <(block "$work/mirror.far" 54)

step "a zeroed tag is not a hole"
gives_eio block "$mnt/tag" 3
block "$mnt/tag" 2 | cmp - <(block "$work/mirror.tag" 2)

step "a bad block can be overwritten"
block "$work/mirror.block" 2 | dd of="$mnt/block" bs=4096 seek=2 conv=notrunc status=none
intact block

step "small files and headers"
gives_eio cat "$mnt/small"
gives_eio cat "$mnt/both_headers"

step "swapped, copied, cut, grown"
for name in swap1 swap2 copied cut grown empty; do
	gives_eio cat "$mnt/$name"
done
gives_eio cat "$mnt/dir1/file"
gives_eio cat "$mnt/dir2/file"
gives_eio readlink -v "$mnt/soft1"
gives_eio readlink -v "$mnt/soft2"

step "a FIFO or a link in place of a file, before the mount and during it"
for name in fifo_now link_now; do
	stored=at_$name
	stat "$mnt/$name" >/dev/null
	rm "${!stored}"
done
mkfifo "$at_fifo_now"
ln -s "$at_good" "$at_link_now"
gives_eio cat "$mnt/fifo_now"
gives_eio cat "$mnt/link_now"
gives_eio cat "$mnt/link"
gives_eio cat "$mnt/fifo"
gives_eio sh -c "echo x >'$mnt/fifo'"
# One that a user made is what it is, until somebody moves it.
mkfifo "$mnt/own" && mv "$mnt/own" "$mnt/own_fifo"
same "type of a FIFO" "$(stat -c %F "$mnt/own_fifo")" fifo

step "names that do not authenticate are shown as damaged"
ls "$mnt" >"$work/listing"
same "damaged names" "$(grep -c '^cryptfs-damaged-' "$work/listing")" 2
if grep -qx name "$work/listing"; then
	fail "the entry is also shown under its old name"
fi
grep '^cryptfs-damaged-' "$work/listing" | while IFS= read -r name; do
	gives_eio cat "$mnt/$name"
	rm "$mnt/$name"
done
same "damaged names left" "$(find "$mnt" -maxdepth 1 -name 'cryptfs-damaged-*' | wc -l)" 0

step "everything else is whole"
for name in good renamed header1 header2; do
	intact $name
done
cmp "$work/mirror.good" "$mnt/dir/inside"

step "damaged files can be overwritten and removed"
for name in both_headers empty; do
	echo over >"$mnt/$name"
	same "what was written over a damaged file" "$(cat "$mnt/$name")" over
done
rm "$mnt"/{block,far,tag,small,both_headers,swap1,swap2,copied,cut,grown,empty,soft1,soft2}
rm -f "$mnt/fifo" "$mnt/link" "$mnt/fifo_now" "$mnt/link_now" "$mnt/own_fifo"
echo again >"$mnt/cut"
same "a new file under the name of a damaged one" "$(cat "$mnt/cut")" again
same "what is left" "$(cd "$mnt" && LC_ALL=C ls | tr '\n' ' ')" "cut dir dir1 dir2 good header1 header2 renamed "
unmount_vault

step "the two copies of a directory's record repair each other"
if getfattr -h -n user.cryptfs.dir "$at_dir" >/dev/null 2>&1; then
	echo 'seventy-two bytes or so of rubbish' >"$at_dir/.cryptfs-dir"
	mount_vault
	cmp "$work/mirror.good" "$mnt/dir/inside"
	unmount_vault
	rm "$at_dir/.cryptfs-dir"
	mount_vault
	cmp "$work/mirror.good" "$mnt/dir/inside"
	unmount_vault
	[ -s "$at_dir/.cryptfs-dir" ] || fail "the record was not written again"
	setfattr -x user.cryptfs.dir "$at_dir"
	mount_vault
	cmp "$work/mirror.good" "$mnt/dir/inside"
	unmount_vault
	getfattr -n user.cryptfs.dir "$at_dir" >/dev/null 2>&1 || fail "the attribute was not written again"
fi

step "with both gone, the directory is an error and the rest is not"
echo rubbish >"$at_dir/.cryptfs-dir"
setfattr -x user.cryptfs.dir "$at_dir" 2>/dev/null || true
mount_vault
gives_eio cat "$mnt/dir/inside"
intact good
unmount_vault

step "an empty directory in the place of the tree is no empty vault"
mv "$vault/tree" "$work/tree"
mkdir "$vault/tree"
for options in "" ro; do
	status=0
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with "$options")" </dev/null 2>"$work/said" || status=$?
	same "status of mounting it" "$status" 5
	grep -q 'all that was in tree/ is gone' "$work/said" || fail "it said: $(cat "$work/said")"
done
rmdir "$vault/tree"
mv "$work/tree" "$vault/tree"
mount_vault ro
intact good
unmount_vault

step "what is moved below a mount is not taken for what was there"
rm -rf "$vault"
new_vault
mount_vault attr_timeout=0
for name in good victim; do
	make $name
done
stored_by mkdir "$mnt/dir1"
at_dir1=$stored
stored_by mkdir "$mnt/dir2"
at_dir2=$stored
echo one >"$mnt/dir1/file"
echo two >"$mnt/dir2/file"
mv "$at_dir1" "$work/swapped"
mv "$at_dir2" "$at_dir1"
mv "$work/swapped" "$at_dir2"
exec 5<"$mnt/good"
ln -f "$at_good" "$at_victim"
gives_eio cat "$mnt/victim"
gives_eio cat "$mnt/dir1/file"
gives_eio ls "$mnt/dir2"
refused 'Input/output error' truncate -s 0 "$mnt/victim"
cmp - "$work/mirror.good" <&5
exec 5<&-
rm "$mnt/victim"
intact good

step "a vault whose place another directory took is still the one that is mounted"
mv "$vault" "$work/aside"
mkdir "$vault"
echo later >"$mnt/later"
unmount_vault
same "what is in the other directory" "$(ls -A "$vault")" ""
rmdir "$vault"
mv "$work/aside" "$vault"
mount_vault
same "what was written meanwhile" "$(cat "$mnt/later")" later
intact good
unmount_vault
