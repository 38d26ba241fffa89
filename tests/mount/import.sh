#!/bin/bash
# What cryptfs import puts into a vault a mount shows, and what a mount wrote cryptfs export gets
# out; on a mounted vault they say that it is in use.
# shellcheck source=tests/support/mounted.sh
source "$(dirname "$0")/../support/mounted.sh"

# differences DIR DIR: what rsync would change in the second, with all that it knows
differences() {
	rsync -aHAX -n --delete --itemize-changes "$1/" "$2/"
}

step 'a tree with links, holes, attributes, ACLs and long names'
tree=$work/tree
long=$(printf 'n%.0s' {1..240})
mkdir -p "$tree/a/$long" "$tree/empty"
head -c 2500000 /dev/urandom >"$tree/big"
truncate -s 20M "$tree/a/sparse"
printf data | dd of="$tree/a/sparse" bs=1 seek=9000000 conv=notrunc status=none
for i in {1..50}; do
	head -c $((i * 321)) /dev/urandom >"$tree/a/$i"
done
ln "$tree/big" "$tree/a/$long/again"
ln -s ../big "$tree/a/link"
mkfifo "$tree/fifo"
setfattr -n user.name -v value "$tree/big"
setfacl -m u:1:r "$tree/a/1"
setfacl -d -m u:1:rwx "$tree/empty"
chmod 4755 "$tree/a/2"
touch -hd '2003-04-05 06:07:08.987654321' "$tree/a/link" "$tree/a/3" "$tree/empty"

step 'imported, and seen through a mount'
new_vault
"$CRYPTFS" import --passfile "$passfile" "$tree/" "$vault"
mount_vault acl
same 'what rsync would change' "$(differences "$tree" "$mnt")" ''
diff -r --no-dereference --exclude=fifo "$tree" "$mnt" || fail 'the content differs'
if ! in_mode writeback && [ "${VAULT_CIPHER-}" != xor ]; then
	[ "$(du -k "$mnt/a/sparse" | cut -f 1)" -lt 1000 ] || fail 'the hole was filled'
fi

step 'in use'
for command in "ls $vault" "cat $vault:big" "export $vault $work/no" "verify $vault" \
	"import $tree/big $vault:x" "import --shard 1/2 $tree/big $vault:x"; do
	(
		status=0
		# shellcheck disable=SC2086 # are words
		set -- $command
		said=$("$CRYPTFS" "$1" --passfile "$passfile" "${@:2}" 2>&1) || status=$?
		[[ $status = 6 && $said == *'in use'* ]] || fail "$command: exit $status, $said"
	) &
	started+=($!)
done
for pid in "${started[@]}"; do
	wait "$pid" || exit 1
done
started=()

step 'changed through the mount, and exported'
cp -a "$tree/a" "$mnt/copy"
rm "$mnt/a/5"
mv "$mnt/a/6" "$mnt/a/$long/moved"
printf more >>"$mnt/a/7"
mv "$mnt/a/link" "$mnt/link"
ln "$mnt/a/8" "$mnt/a/eight"
unmount_vault
"$CRYPTFS" export --passfile "$passfile" "$vault" "$work/out"
mount_vault acl
same 'what rsync would change' "$(differences "$mnt" "$work/out")" ''
unmount_vault

step 'imported beside what a mount made, and sound'
"$CRYPTFS" import --passfile "$passfile" --resume "$work/out/" "$vault"
"$CRYPTFS" import --passfile "$passfile" "$work/out" "$vault:a/$long"
"$CRYPTFS" verify --passfile "$passfile" --against "$work/out" "$vault:a/$long/out"
checked=$("$CRYPTFS" fsck --passfile "$passfile" "$vault")
[[ $checked == *' 0 damaged, 0 repaired, 0 left over' ]] || fail "a check found: $checked"

step 'several at once into a vault whose mount died'
mount_vault
head -c 100000 /dev/urandom >"$work/changed"
cp "$work/changed" "$mnt/changed"
unmount_vault
mount_vault
for file in "$work/changed" "$mnt/changed"; do
	printf XX | dd of="$file" bs=1 seek=50000 conv=notrunc,fsync status=none
done
kill -KILL "$(daemon_process)"
await 20 no_processes || fail 'a process is left'
"$CRYPTFS" umount "$mnt"
if [ "${VAULT_CIPHER-}" != xor ]; then
	[ -s "$vault/cryptfs.journal" ] || fail 'nothing is in the journal: this tests nothing'
fi
for i in 1 2 3; do
	"$CRYPTFS" import --passfile "$passfile" --shard "$i/3" "$tree/a/" "$vault:shards" &
	started+=($!)
done
for pid in "${started[@]}"; do
	wait "$pid" || exit 1
done
started=()
"$CRYPTFS" cat --passfile "$passfile" "$vault:changed" | cmp - "$work/changed"
"$CRYPTFS" verify --passfile "$passfile" --against "$tree/a" "$vault:shards"
checked=$("$CRYPTFS" fsck --passfile "$passfile" "$vault")
[[ $checked == *' 0 damaged, 0 repaired, '* ]] || fail "a check found: $checked"
