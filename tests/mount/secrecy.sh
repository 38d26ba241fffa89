#!/bin/bash
# Nothing that was written can be read in the vault, and the passphrase is
# nowhere to be seen while the vault is mounted.
. "$(dirname "$0")/../support/mounted.sh"

secret=xylophone-quagmire # in names, contents, targets and attributes alike

holds_secret() { # FILE...: what of it shows any trace
	grep -rlaiF -e xylophone -e quagmire -- "$@"
}

new_vault
mount_vault

step "write the word everywhere"
mkdir -p "$mnt/dir-$secret/$secret"
echo "$secret" >"$mnt/$secret"
head -c 300000 < <(yes "$secret") >"$mnt/dir-$secret/large"
head -c 10000000 < <(yes "$secret") >"$mnt/huge"
: >"$mnt/$(printf '%s-%0200d' "$secret" 0)"
mkdir "$mnt/$(printf '%s-%0220d' "$secret" 0)"
ln -s "$secret" "$mnt/dir-$secret/link"
ln -s "$(printf '%s/%03500d' "$secret" 0)" "$mnt/far-$secret"
mv "$mnt/huge" "$mnt/moved-$secret"
truncate -s 5000000 "$mnt/moved-$secret"
echo "$secret" >>"$mnt/moved-$secret"
setfattr -n "user.$secret" -v "$secret" "$mnt/$secret" 2>/dev/null || true
sync -f "$mnt"

step "the passphrase is in no process's arguments, nor in the daemon's environment"
for arguments in /proc/[0-9]*/cmdline; do
	if tr '\0' ' ' 2>/dev/null <"$arguments" | grep -qF "$(cat "$passfile")"; then
		fail "the passphrase is in $arguments"
	fi
done 2>/dev/null
for pid in $(mount_processes); do
	if tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qF "$(cat "$passfile")"; then
		fail "the passphrase is in the environment of $pid"
	fi
done

step "the shared memory has no name"
same "in /dev/shm" "$(find /dev/shm -maxdepth 1 -type f -name '*cryptfs*' -newer "$passfile")" ""

step "the daemon can leave no core"
for pid in $(mount_processes); do
	same "core limit of $pid" "$(awk '/^Max core file size/ {print $5}' "/proc/$pid/limits")" 0
done

step "nothing in the vault, mounted or not"
if holds_secret "$vault"; then
	fail "content can be read"
fi
unmount_vault
if holds_secret "$vault"; then
	fail "content can be read"
fi
find "$vault" -printf '%p\n%l\n' >"$work/names"
getfattr -R -d -h -m - --absolute-names "$vault" >>"$work/names"
if holds_secret "$work/names"; then
	fail "a name, a target or an attribute can be read"
fi
grep -rlaF "$(cat "$passfile")" "$vault" && fail "the passphrase is in the vault"

step "the search itself finds what is there"
holds_secret "$work" >/dev/null && fail "the word is where it should not be"
cp "$0" "$work/probe"
holds_secret "$work" >/dev/null || fail "the search is blind"
