#!/bin/bash
# Slots that a TPM opens, with the emulator: mounted by, refused in another state, by
# another TPM and with a wrong PIN, and all that is said of it.
. "$(dirname "$0")/../support/mounted.sh"

tpm=$work/tpm
device=swtpm:path=$tpm/socket
export TPM2TOOLS_TCTI=$device
pin=$work/pin
echo 1234 >"$pin"
echo 4321 >"$work/wrong"
chmod 600 "$pin" "$work/wrong"

# ends STATUS WORDS COMMAND...: WORDS on the one line that it says; "-" is nothing at all.
ends() {
	local expected=$1 words=$2 status=0
	shift 2
	LC_ALL=C "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
	same "exit status of $*, which said: $(cat "$work/err")" "$status" "$expected"
	if [ "$words" = - ]; then
		[ ! -s "$work/err" ] || fail "'$*' said: $(cat "$work/err")"
		return
	fi
	grep -qF -- "$words" "$work/err" || fail "'$*' said: $(cat "$work/err")"
	same "lines" "$(wc -l <"$work/err")" 1
}

prints() {
	grep -qF -- "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"
}

start_tpm() {
	swtpm socket --tpm2 --tpmstate "dir=$tpm" --server "type=unixio,path=$tpm/socket" \
		--ctrl "type=unixio,path=$tpm/socket.ctrl" --flags not-need-init,startup-clear >>"$log" 2>&1 &
	emulator=$!
	started+=("$emulator")
	await 20 test -S "$tpm/socket.ctrl" || fail "no emulator"
}

stop_tpm() {
	kill "$emulator"
	wait "$emulator" || true
	rm -f "$tpm/socket" "$tpm/socket.ctrl"
}

opens() { # OPTIONS...
	ends 0 - "$CRYPTFS" ls "$@" "$vault"
	prints letter
}

new_vault
add() {
	"$CRYPTFS" key add --passfile "$passfile" --new-tpm2 "$device" "$@" "$vault" </dev/null
}

step "what does not go together"
ends 1 "--tpm2-pin is for --new-tpm2" "$CRYPTFS" key add --tpm2-pin --passfile "$passfile" "$vault"
ends 1 "--tpm2-pcrs is for --new-tpm2" "$CRYPTFS" key add --tpm2-pcrs 7 --new-fido2 auto "$vault"
ends 1 "--new-tpm2 makes its own key" "$CRYPTFS" key add --new-tpm2 auto --new-passfile "$pin" "$vault"
ends 1 "makes its own key" "$CRYPTFS" key add --new-tpm2 auto --new-fido2 auto "$vault"
for list in '' 24 -1 7+ +7 1+x 'none,7' 99999999999999999999; do
	ends 1 "is not none or numbers from 0 to 23" "$CRYPTFS" key add --new-tpm2 auto --tpm2-pcrs "$list" "$vault"
done
ends 4 "it has no slot for a TPM" "$CRYPTFS" ls --tpm2 "$device" "$vault"

said=$(add 2>&1) && fail "a slot without a TPM"
if [[ $said == *'built without tpm2-tss'* ]]; then
	skip "built without tpm2-tss, as it says"
fi
command -v swtpm >/dev/null && command -v tpm2_pcrextend >/dev/null || skip "swtpm and tpm2-tools are not installed"

step "no TPM"
ends 2 "no TPM there" add
same "slots" "$("$CRYPTFS" key list "$vault" | wc -l)" 1

step "a slot for a TPM opens, also from the mount, and after a restart"
mkdir "$tpm"
start_tpm
tpm2_pcrextend 7:sha256="$(printf '%064d' 1)"
ends 0 - add --label machine
prints 'added slot 2'
prints 'while these PCRs stay the same: 7'
mount_vault
echo dear >"$mnt/letter"
unmount_vault
opens --tpm2 "$device"
ends 0 - "$CRYPTFS" key list "$vault"
prints 'slot 2   tpm2 "machine", PCRs 7 (sha256), argon2id'
"$CRYPTFS" key list --json "$vault" | python3 -c '
import json, sys
assert json.load(sys.stdin)["slots"][1]["tpm2"] == {"pcrs": [7], "bank": "sha256", "pin": False}'
mount_by() { # OPTIONS
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "tpm2=$device${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}${1:+,$1}" </dev/null
}
mount_by
same "content" "$(cat "$mnt/letter")" dear
unmount_vault

step "suspended and resumed by it"
mount_by
await 20 "$CRYPTFS" suspend "$mnt" || fail "it cannot be suspended" # not in its first moments
ends 2 "no TPM there" "$CRYPTFS" resume --tpm2 "swtpm:path=$work/none" "$mnt"
ends 0 - "$CRYPTFS" resume --tpm2 "$device" "$mnt"
same "content" "$(cat "$mnt/letter")" dear
unmount_vault

step "another state of the machine"
tpm2_pcrextend 7:sha256="$(printf '%064d' 2)"
ends 4 "other PCRs" "$CRYPTFS" ls --tpm2 "$device" "$vault"
ends 4 "other PCRs" mount_by
is_mounted && fail "mounted"
stop_tpm
start_tpm
ends 4 "other PCRs" "$CRYPTFS" ls --tpm2 "$device" "$vault"
tpm2_pcrextend 7:sha256="$(printf '%064d' 1)"
opens --tpm2 "$device"

step "with a PIN, from a file and on a terminal; a wrong one, and too many"
ends 0 "nothing has been measured into PCR 0+11" add --tpm2-pcrs 0,7+11 --tpm2-pin --new-passfile "$pin"
"$CRYPTFS" key remove --tpm2 "$device" "$vault" 2
ends 0 - "$CRYPTFS" key list "$vault"
prints 'slot 3   tpm2 "tpm2", PCRs 0+7+11 (sha256), PIN'
opens --tpm2 "$device" --passfile "$pin"
mount_by "passfile=$pin"
unmount_vault
"$(dirname "$0")/../support/on_terminal.py" 4321,1234 "$CRYPTFS" ls --tpm2 "$device" "$vault" >"$work/said"
grep -qF 'PIN of the TPM, for slot 3 "tpm2":' "$work/said" || fail "asked: $(cat "$work/said")"
grep -qF letter "$work/said" || fail "it did not open: $(cat "$work/said")"
tpm2_dictionarylockout --clear-lockout
for _ in 1 2 3; do
	ends 4 "the PIN is wrong" "$CRYPTFS" ls --tpm2 "$device" --passfile "$work/wrong" "$vault"
done
ends 2 "the TPM is locked" "$CRYPTFS" ls --tpm2 "$device" --passfile "$pin" "$vault"
tpm2_dictionarylockout --clear-lockout
opens --tpm2 "$device" --passfile "$pin"

step "a rotation keeps the slot that opened the vault, and those of a TPM that is named"
ends 1 'what of slot 3, "tpm2"? (give its key with --other-tpm2,' \
	setsid -w "$CRYPTFS" rotate --workers 0 --passfile "$passfile" "$vault"
ends 0 - "$CRYPTFS" rotate --workers 0 --tpm2 "$device" --passfile "$pin" --other-passfile "$passfile" "$vault"
prints "keys that open it: 2"
opens --tpm2 "$device" --passfile "$pin"
ends 0 - add --label second
"$(dirname "$0")/../support/on_terminal.py" 1234 "$CRYPTFS" rotate --workers 0 --passfile "$passfile" \
	--other-tpm2 "$device" "$vault" >"$work/out"
prints "keys that open it: 3"
"$CRYPTFS" key remove --passfile "$passfile" "$vault" 4
opens --tpm2 "$device" --passfile "$pin"
ends 4 "cannot keep a key of" "$CRYPTFS" rotate --workers 0 --tpm2 "$device" --passfile "$pin" --other-tpm2 "$device" "$vault"
tpm2_pcrextend 7:sha256="$(printf '%064d' 4)"
ends 4 "other PCRs" "$CRYPTFS" rotate --workers 0 --passfile "$passfile" --other-tpm2 "$device" "$vault"
"$CRYPTFS" key remove --passfile "$passfile" "$vault" 3
ends 0 - add --tpm2-pcrs 7 --tpm2-pin --new-passfile "$pin"

step "without PCRs; then an owner's password, and a TPM that was cleared"
ends 0 - add --tpm2-pcrs none --label anywhere
opens --tpm2 "$device" --passfile "$pin"
"$CRYPTFS" key remove --passfile "$passfile" "$vault" 2
tpm2_pcrextend 7:sha256="$(printf '%064d' 3)"
opens --tpm2 "$device"
tpm2_changeauth -c owner secret
ends 2 "its owner's password" "$CRYPTFS" key add --passfile "$passfile" --new-tpm2 "$device" "$vault"
tpm2_clear
ends 4 "was cleared since" "$CRYPTFS" ls --tpm2 "$device" "$vault"
stop_tpm
ends 2 "no TPM there" "$CRYPTFS" ls --tpm2 "$device" "$vault"
opens --passfile "$passfile"
