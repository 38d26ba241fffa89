#!/bin/bash
# Everything that can be wrong with a mount has its exit code and its one line,
# and leaves nothing mounted.
. "$(dirname "$0")/../support/mounted.sh"

# answers CODE WORDS ARGUMENT...: what cryptfs-mount says to these arguments.
answers() {
	local code=$1 words=$2 status=0
	shift 2
	step "exit $code: $words"
	timeout 60 "$CRYPTFS_MOUNT" "$@" </dev/null >"$work/out" 2>"$work/err" || status=$?
	[ "$status" = "$code" ] || fail "exit code $status, not $code; it said: $(cat "$work/err")"
	same "lines on standard error of '$*'" "$(wc -l <"$work/err")" 1
	same "standard output" "$(cat "$work/out")" ""
	grep -q '^cryptfs[a-z-]*: ' "$work/err" || fail "no name before the message: $(cat "$work/err")"
	grep -Eqi -- "$words" "$work/err" || fail "'$words' is not in: $(cat "$work/err")"
	if is_mounted; then
		fail "something is mounted"
	fi
	await 10 no_processes || fail "a process is left"
}

# with_broken_conf CODE WORDS SED-SCRIPT: both copies changed, then put back.
with_broken_conf() {
	mkdir "$work/saved"
	cp -p "$vault"/cryptfs.conf* "$work/saved/"
	sed -i "$3" "$vault/cryptfs.conf" "$vault/cryptfs.conf.bak"
	if cmp -s "$vault/cryptfs.conf" "$work/saved/cryptfs.conf"; then
		fail "'$3' changed nothing"
	fi
	answers "$1" "$2" "$vault" "$mnt" -o "passfile=$passfile"
	cp -p "$work"/saved/* "$vault/"
	rm -r "$work/saved"
}

new_vault
wrong=$work/wrong
echo 'wrong horse' >"$wrong"
chmod 600 "$wrong"
mkdir "$work/not-a-vault"
echo 'not a vault' >"$work/not-a-vault/file"

answers 4 'passphrase' "$vault" "$mnt" -o "passfile=$wrong"
answers 4 'passphrase' "$vault" "$mnt" -f -o "passfile=$wrong"
answers 2 "$work/none" "$vault" "$mnt" -o "passfile=$work/none"
answers 3 'vault' "$work/not-a-vault" "$mnt" -o "passfile=$passfile"
answers 3 'vault' "$work/missing" "$mnt" -o "passfile=$passfile"
answers 7 'mountpoint|not a directory|no such' "$vault" "$work/missing" -o "passfile=$passfile"
answers 7 'mountpoint|not a directory' "$vault" "$passfile" -o "passfile=$passfile"
answers 1 'frobnicate' "$vault" "$mnt" -o "passfile=$passfile,frobnicate"
answers 1 'colour' "$vault" "$mnt" -o "passfile=$passfile,colour=blue,strict"
answers 1 'workers' "$vault" "$mnt" -o "passfile=$passfile,workers=many"
answers 1 '.' "$vault"
with_broken_conf 5 'damaged|tampered' 's/aes-256-gcm/chacha20-poly1305/'
with_broken_conf 5 'damaged|tampered' '1s/^./x/'

step "one damaged copy of the configuration is no harm"
cp "$vault/cryptfs.conf" "$work/conf"
echo rubbish >"$vault/cryptfs.conf"
mount_vault
echo text >"$mnt/file"
unmount_vault
mount_vault
same "content" "$(cat "$mnt/file")" text
unmount_vault

step "a vault in use"
mount_vault
mkdir "$work/second"
status=0
"$CRYPTFS_MOUNT" "$vault" "$work/second" -o "passfile=$passfile" </dev/null 2>"$work/err" || status=$?
same "exit code" "$status" 6
same "lines" "$(wc -l <"$work/err")" 1
grep -Eqi 'in use|already' "$work/err" || fail "it said: $(cat "$work/err")"
if grep -qF " $work/second " /proc/self/mountinfo; then
	fail "the second mount was made"
fi
same "the first mount" "$(cat "$mnt/file")" text
unmount_vault

step "--help and --version of both programs"
for program in "$CRYPTFS" "$CRYPTFS_MOUNT"; do
	"$program" --help >"$work/out" || fail "$program --help"
	[ "$(wc -l <"$work/out")" -le 50 ] || fail "the help of $program does not fit on a screen"
	"$program" --version | grep -Eq '[0-9]+\.[0-9]+' || fail "$program --version"
done

step "init does not overwrite"
status=0
"$CRYPTFS" init --passfile "$passfile" "$vault" </dev/null 2>"$work/err" || status=$?
[ "$status" != 0 ] || fail "a second init of the same vault was allowed"
same "lines" "$(wc -l <"$work/err")" 1

step "read-only"
mount_vault ro
same "content" "$(cat "$mnt/file")" text
refused "Read-only file system" touch "$mnt/new"
refused "Read-only file system" rm "$mnt/file"
unmount_vault
