#!/bin/bash
# The ways to give a passphrase: a terminal, standard input, a file, a program;
# it is not echoed, and can be changed.
. "$(dirname "$0")/../support/mounted.sh"

on_terminal() {
	"$(dirname "$0")/../support/on_terminal.py" "$@"
}

mounts_with() { # OPTIONS: it does, and shows the file
	"$CRYPTFS_MOUNT" "$vault" "$mnt" ${1:+-o "$1"}
	same "content" "$(cat "$mnt/file")" text
	unmount_vault
}

step "create and mount on a terminal"
on_terminal first-phrase,first-phrase "$CRYPTFS" init --cipher aes-256-gcm --kdf-memory 64 --kdf-operations 3 "$vault"
on_terminal first-phrase "$CRYPTFS_MOUNT" "$vault" "$mnt"
is_mounted || fail "nothing is mounted"
echo text >"$mnt/file"
unmount_vault

step "two different passphrases make no vault"
status=0
on_terminal first-phrase,other-phrase "$CRYPTFS" init --kdf-memory 64 --kdf-operations 3 "$work/none" || status=$?
[ "$status" != 0 ] || fail "a vault was made"
[ ! -e "$work/none/cryptfs.conf" ] || fail "there is a configuration"

step "wrong once on a terminal, then right"
on_terminal wrong-phrase,first-phrase "$CRYPTFS_MOUNT" "$vault" "$mnt"
unmount_vault

step "wrong three times"
status=0
on_terminal wrong-one,wrong-two,wrong-three "$CRYPTFS_MOUNT" "$vault" "$mnt" || status=$?
same "exit code" "$status" 4

step "from a file, with and without a newline; from standard input; from a program"
echo first-phrase >"$passfile"
mounts_with "passfile=$passfile"
printf first-phrase >"$passfile"
mounts_with "passfile=$passfile"
mounts_with "passfile=-" <"$passfile"
printf '#!/bin/sh\necho first-phrase\n' >"$work/ask"
chmod +x "$work/ask"
mounts_with "extpass=$work/ask" </dev/null

step "a credential of systemd"
mkdir "$work/credentials"
cp "$passfile" "$work/credentials/vault"
CREDENTIALS_DIRECTORY=$work/credentials mounts_with credential=vault </dev/null
refused 'systemd passed none of that name' "$CRYPTFS_MOUNT" "$vault" "$mnt" -o credential=vault

# agent ANSWER...: change the passphrase where there is no terminal, with a stand-in for systemd-ask-password
# that gives these answers in turn, in a mount namespace of its own; $runs is in /run there.
agent() {
	printf '%s\n' "$@" >"$work/answers"
	: >"$work/asked"
	# shellcheck disable=SC2016
	setsid -w unshare --mount --propagation slave sh -c '
		mount --bind "$0/agent" /usr/bin/systemd-ask-password && mount -t tmpfs tmpfs /run &&
			mkdir -p "/run/$1" && shift && exec "$@"
	' "$work" "${runs-systemd/system}" "$CRYPTFS" passwd --kdf-memory 64 --kdf-operations 3 --new-passfile "$passfile" "$vault" </dev/null
}

if as_root && [ -x /usr/bin/systemd-ask-password ] && unshare --mount true; then
	step "the agent of the system, where there is no terminal"
	cat >"$work/agent" <<-END
		#!/bin/sh
		echo "\$*" >>"$work/asked"
		sed -n 1p "$work/answers"
		sed -i 1d "$work/answers"
	END
	chmod 755 "$work/agent"
	agent wrong-phrase first-phrase
	same "how often it was asked" "$(grep -cF -- "--id=cryptfs:$vault --icon=drive-harddisk -- Current passphrase for $vault:" "$work/asked")" 2
	status=0
	agent wrong-one wrong-two wrong-three first-phrase || status=$?
	same "exit code after three wrong answers" "$status" 4
	same "how often it was asked" "$(wc -l <"$work/asked")" 3
	runs=nothing refused 'no terminal to ask on' agent first-phrase
	same "how often it was asked where nobody answers" "$(wc -l <"$work/asked")" 0
	! grep -q -e first-phrase -e wrong "$work/asked" || fail "a passphrase is among its arguments"
fi

step "an empty passphrase is refused"
: >"$work/empty"
chmod 600 "$work/empty"
status=0
"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$work/empty" </dev/null 2>"$work/err" || status=$?
[ "$status" != 0 ] || fail "mounted with nothing"

step "change it"
on_terminal first-phrase,second-phrase,second-phrase "$CRYPTFS" passwd --kdf-memory 64 --kdf-operations 3 "$vault"
status=0
"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile" </dev/null || status=$?
same "exit code with the old one" "$status" 4
echo second-phrase >"$passfile"
mounts_with "passfile=$passfile"

step "info needs none, and tells none"
"$CRYPTFS" info "$vault" </dev/null >"$work/info"
grep -q aes-256-gcm "$work/info" || fail "no cipher in: $(cat "$work/info")"
"$CRYPTFS" info --json "$vault" </dev/null | python3 -m json.tool >/dev/null || fail "--json is not JSON"
