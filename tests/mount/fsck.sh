#!/bin/bash
# cryptfs fsck of vaults that mounts made: one in use is refused, one that was
# unmounted is clean, one whose mount was killed holds leftovers but no damage,
# and after --repair nothing; what it copies out is what the mount shows.
# FSCK_KILLS says how often a mount is killed.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"

# fsck STATUS [OPTIONS...]: what it says is in $work/out.
fsck() {
	local expected=$1 status=0
	shift
	"$CRYPTFS" fsck --json --passfile "$passfile" "$@" "$vault" </dev/null >"$work/out" 2>"$work/err" ||
		status=$?
	[ "$status" = "$expected" ] || fail "fsck $*: $status: $(cat "$work/err" "$work/out")"
}

findings() {
	grep -c '"kind":' "$work/out" || true
}

clean() {
	fsck 0
	same "findings" "$(findings)" 0
}

# repaired: what can be found now, is, and goes.
repaired() {
	fsck 0
	! grep -F '"level":"damage"' "$work/out" || fail "damage"
	fsck 0 --repair
	! grep -F '"kind":' "$work/out" | grep -v '"outcome":"repaired"' || fail "not repaired"
	clean
}

step "what there may be"
new_vault
clean
mount_vault
fsck 6
fsck 6 --repair
mkdir -p "$mnt/dir/sub" "$mnt/closed" "$mnt/$(printf 'd%.0s' {1..255})"
for size in 0 1 3071 3072 4096 200000; do
	head -c $size /dev/urandom >"$mnt/size $size"
done
echo inside >"$mnt/dir/sub/file"
echo long >"$mnt/dir/$(printf 'n%.0s' {1..200})"
truncate -s 10M "$mnt/holes"
printf end | dd of="$mnt/holes" bs=1 seek=9999999 conv=notrunc status=none
ln "$mnt/size 1" "$mnt/dir/other name"
ln -s target "$mnt/soft"
ln -s "$(printf 't%.0s' {1..4000})" "$mnt/dir/far"
mkfifo "$mnt/fifo"
ln "$mnt/fifo" "$mnt/dir/fifo too"
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$mnt/socket"
if as_root; then
	mknod "$mnt/null" c 1 3
	chown 12:34 "$mnt/size 3071"
fi
touch "$mnt/"$'odd\e[31m\xff name'
# Not where the vault's filesystem has no attributes.
setfattr -n user.colour -v blue "$mnt/size 1" 2>/dev/null || true
setfattr -n user.shape -v round "$mnt/dir" 2>/dev/null || true
chmod 4755 "$mnt/size 4096"
chmod 0500 "$mnt/closed"
touch -d '2001-02-03 04:05:06.789' "$mnt/dir/sub/file" "$mnt/dir"
touch -h -d '2002-02-03 04:05:06.789' "$mnt/soft"
unmount_vault
clean

step "a copy of it"
fsck 0 --salvage "$work/copy"
same "findings" "$(findings)" 0
mount_vault
all() { # DIRECTORY: all about what is in it, links to directories and owners, too
	manifest "$1"
	(cd "$1" && find . -mindepth 1 -printf '%p %U %G\n' | LC_ALL=C sort
		find . -type f ! -size +1M -exec sha256sum {} + | LC_ALL=C sort
		find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m user 2>/dev/null || true)
}
diff <(all "$mnt") <(all "$work/copy") || fail "the copy is different"
cmp "$mnt/holes" "$work/copy/holes"
if [ "${VAULT_CIPHER-}" != xor ]; then
	[ "$(stat -c %b "$work/copy/holes")" -lt 200 ] || fail "the copy of holes is full"
fi
unmount_vault

step "two names of a content file"
mount_vault
stored_by cp "$work/copy/size 200000" "$mnt/alone"
unmount_vault
cp -al "$vault" "$work/other"
clean
rm -r "$work/other"

step "what it says about a name"
: >"${stored%/*}/.cryptfs-tmp.$(printf '\e')x"
"$CRYPTFS" fsck --repair --passfile "$passfile" "$vault" >"$work/out" 2>&1
grep -qxF 'repaired  .cryptfs-tmp.\x1bx: was left by an interrupted operation' "$work/out" ||
	fail "it says: $(cat "$work/out")"

step "one that is told to stop"
# Long enough to be met at work, in whatever it does at that moment.
mount_vault
head -c 60M /dev/urandom >"$mnt/large"
unmount_vault
"$CRYPTFS" fsck --progress=json --workers 0 --passfile "$passfile" "$vault" >"$work/out" 2>"$work/err" &
fsck_pid=$!
started+=("$fsck_pid")
kill -INT "$fsck_pid"
status=0
wait "$fsck_pid" || status=$?
[ "$status" = 130 ] || [ "$status" = 0 ] || fail "status $status: $(cat "$work/out" "$work/err")"
clean

step "mounts that are killed"
for ((round = 0; round < ${FSCK_KILLS:-6}; round++)); do
	seed=${FSCK_SEED:-$RANDOM}$round
	mount_vault
	mkdir -p "$mnt/churn"
	exec 3< <("$here/churn.py" "$mnt/churn" "$seed")
	churn=$!
	started+=("$churn")
	for ((n = 0; n < 20 + RANDOM % 300; n++)); do
		read -r -t 60 line <&3 || fail "seed $seed: the end of changes"
		[ "$line" = 'done' ] || fail "seed $seed: $line"
	done
	kill -KILL "$(daemon_process)"
	await 60 no_processes || fail "it lives"
	cat <&3 >/dev/null
	exec 3<&-
	unmount_at_once
	repaired || fail "seed $seed"
	mount_vault
	find "$mnt" -type f -exec cat {} + >/dev/null || fail "seed $seed: not readable"
	find "$mnt" -type l -printf '%l' >/dev/null
	[ -z "$(find "$mnt" -name 'cryptfs-damaged-*')" ] || fail "seed $seed: damaged names"
	unmount_vault
	clean || fail "seed $seed"
done

step "a filesystem that is read-only"
if as_root; then
	mount --bind "$vault" "$vault"
	undo+=("umount '$vault' 2>/dev/null")
	mount -o remount,bind,ro "$vault"
	clean
	"$CRYPTFS" fsck --repair --passfile "$passfile" "$vault" >"$work/out" 2>&1 && fail "repaired it"
	umount "$vault"
fi
