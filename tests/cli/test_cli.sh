#!/bin/bash
# The cryptfs command, as a table: what is typed, the exit status, the message.
set -u
: "${CRYPTFS:?the path of the cryptfs command}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_cli.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
kdf='--kdf-memory 64 --kdf-operations 3'

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# says STATUS WORDS COMMAND LINE: WORDS on the only line of standard error, or
# with "-" nothing there.  The command line is split into words by the shell.
says() {
	local status=0 expected=$1 words=$2
	shift 2
	# shellcheck disable=SC2086 # is meant to be split
	"$CRYPTFS" $* </dev/null >out 2>err || status=$?
	[ "$status" = "$expected" ] || fail "'$*': exit $status, not $expected: $(cat err)"
	if [ "$words" = - ]; then
		[ ! -s err ] || fail "'$*' said: $(cat err)"
		return
	fi
	[ "$(wc -l <err)" = 1 ] || fail "'$*': not one line: $(cat err)"
	grep -q '^cryptfs: ' err || fail "'$*': no name before it: $(cat err)"
	grep -qF -- "$words" err || fail "'$*': no '$words' in: $(cat err)"
}

# prints WORDS: what the last command's standard output must hold.
prints() {
	grep -qF -- "$1" out || fail "no '$1' in: $(cat out)"
}

echo 'wolf brick 7 sonata' >secret
echo 'wolf brick 8 sonata' >sekret
printf 'raw\0bytes' >key
: >empty
chmod 600 secret sekret key empty
mkdir full && echo 'dear diary' >full/letter
touch file

# ---- usage
says 1 'no command given' ''
says 1 'unknown command frob (see cryptfs --help)' frob
says 1 'unknown command inti (did you mean init?)' inti
says 1 'unknown command paswd (did you mean passwd?)' paswd v
says 1 'unknown option --frob' --frob
says 0 - --help
prints 'usage: cryptfs COMMAND'
says 0 - --version
prints 'cryptfs '
for command in $("$CRYPTFS" --help | sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p'); do
	says 0 - "$command" --help
	[ "$(wc -L <out)" -le 80 ] || fail "the help of $command is too wide: $(grep -E '.{81}' out)"
done
for command in init passwd info; do
	says 0 - $command --help
	prints "usage: cryptfs $command"
	[ "$(wc -l <out)" -le 24 ] || fail "the help of $command does not fit on a screen"
	says 0 - $command -h
	says 1 'no VAULT given' $command
	says 1 'what is b?' $command a b
	says 1 '--frobnicate' $command --frobnicate a
	says 1 '-x' $command -x a
done
says 1 '--ciper (did you mean --cipher?)' init --ciper xor v
says 1 '--cipher needs a value' init --cipher
says 1 '--json=1 takes no value' info --json=1 v
says 1 'unknown cipher rot13' init --cipher rot13 v
says 1 'not 1 to 63 bytes' init --label= v
for value in 2 65 -3 3x x 18446744073709551619; do
	says 1 "--kdf-operations $value: not a number from 3 to 64" init --kdf-operations $value v
done
for value in 0 63 4097 ''; do
	says 1 "--kdf-memory $value: not a number from 64 to 4096" init "--kdf-memory=$value" v
done
[ ! -e v ] || fail "a refused command made something"

# ---- init
says 1 'cannot create full: not an empty directory' init --passfile secret full
[ "$(ls -A full)" = letter ] || fail "init changed a directory that it refused"
says 1 'cannot create file: not an empty directory' init --passfile secret file
says 2 'cannot create missing/v: No such file or directory' init --passfile secret $kdf missing/v
says 2 'no passphrase from nowhere: No such file or directory' init --passfile nowhere v
says 2 'no passphrase from extpass: the program' init --extpass false v
says 4 'no passphrase from empty: it is empty' init --passfile empty v
[ ! -e v ] || fail "a failed init left something behind"
says 0 - init --passfile secret $kdf v
prints 'created v ('
says 1 'cannot create v: not an empty directory' init --passfile secret v
mkdir bare
says 0 - init --keyfile key --label 'door' --cipher chacha20-poly1305 $kdf bare
says 0 'xor is not encryption' init --cipher xor --passfile secret $kdf x
says 1 'not an empty directory' init --cipher xor --passfile secret x
chmod 644 secret
says 0 'secret can be read by other users' init --passfile secret $kdf w
chmod 600 secret

# ---- a hint at a weak passphrase, where there is cracklib and its dictionary
echo password >weak
chmod 600 weak
if ldd "$CRYPTFS" | grep -q libcrack && [ -e /var/cache/cracklib/cracklib_dict.pwd ]; then
	hint='hint: this passphrase is easy to guess: it is based on a dictionary word'
else
	hint=-
fi
says 0 "$hint" init --passfile weak $kdf easy
! grep -q password err || fail "the hint shows the passphrase"
says 0 "$hint" key add --passfile weak --new-passfile weak $kdf easy
says 0 - key add --passfile weak --new-keyfile weak $kdf easy
says 0 "$hint" passwd --passfile weak --new-passfile weak $kdf easy
says 0 - passwd --passfile weak --new-passfile secret $kdf easy

# ---- info
says 0 - info v
prints 'slot 1   passphrase "passphrase", argon2id, 64 MiB, 3 operations'
says 0 - info bare
prints 'cipher   chacha20-poly1305'
prints '"door"'
says 0 - info x
prints 'xor is not encryption'
says 0 - info --json v
grep -q '"encrypted": true' out || fail "info --json: $(cat out)"
says 0 - info --json x
grep -q '"encrypted": false' out || fail "info --json of xor: $(cat out)"
says 3 'cannot open missing: no vault there' info missing
says 3 'cannot open full: no vault there' info full
says 3 'cannot open file: no vault there' info file
if [ -c /dev/full ]; then
	status=0
	"$CRYPTFS" info v >/dev/full 2>err || status=$?
	[ "$status" = 2 ] && grep -q 'cannot write the output' err || fail "a full device: $status"
fi

# ---- bench: that it measures everything, not how fast that is
for command in "bench --help" "bench -h"; do
	says 0 - $command
	prints 'usage: cryptfs bench'
done
says 1 'bench: takes no argument: what is v?' bench v
for value in 0 -1 x 601 ''; do
	says 1 "--seconds $value: not a number of seconds" bench "--seconds=$value"
done
says 0 - bench --seconds 0.01
prints 'chacha20-poly1305, OpenSSL'
prints 'to a worker that sleeps'
prints 'wakes one for'
says 0 - bench --seconds 0.01 --json
python3 - out <<'PY' || fail "bench --json: $(cat out)"
import json, os, sys
report = json.load(open(sys.argv[1]))
assert {c["suite"] for c in report["ciphers"]} == {"aes-256-gcm", "chacha20-poly1305", "xor"}
for cipher in report["ciphers"]:
    assert [size["size"] for size in cipher["sizes"]] == [4096, 65536, 1048576]
    for size in cipher["sizes"]:
        assert size["raw"]["seal"] > 0 and size["queue"]["open"] > 0 and size["memcpy"] > 0
    assert cipher["auto"]["inline_max_size"] > 0
assert report["hand_off"]["inline_ns"] > 0 and report["hand_off"]["asleep_us"] > 0
workers = {row["workers"] for row in report["scaling"]}
assert 0 in workers and os.cpu_count() >= max(workers) >= 1
for row in report["scaling"]:
    assert row["helping"] > 0 and ("strict" in row) == (row["workers"] > 0)
PY

# ---- status, of what is not mounted; tests/mount/status.sh has the rest
says 0 - status --help
prints 'usage: cryptfs status'
says 1 'no MOUNTPOINT given' status
says 1 'what is b?' status a b
says 7 'v: not a mount of cryptfs' status v
says 7 '/: not a mount of cryptfs' status /
says 7 '/proc//: not a mount of cryptfs' status --json /proc//
says 7 'missing/x: No such file or directory' status missing/x
ln -s loop loop
says 7 'loop: not a mount of cryptfs' status loop

# ---- passwd
says 4 'cannot unlock v: wrong passphrase' passwd --passfile sekret --new-passfile secret $kdf v
says 3 'cannot open missing: no vault there' passwd --passfile sekret missing
says 4 'no passphrase from empty: it is empty' passwd --passfile secret --new-passfile empty $kdf v
says 0 - passwd --passfile secret --new-passfile sekret $kdf v
says 4 'wrong passphrase' passwd --passfile secret --new-passfile secret $kdf v
says 0 - passwd --extpass 'cat${IFS}sekret' --new-keyfile key $kdf v
says 0 - passwd --keyfile key --new-passfile secret $kdf v
printf 'wolf brick 7 sonata\nthird tram uncle\n' | "$CRYPTFS" passwd --passfile - --new-passfile - $kdf v >out 2>err ||
	fail "two passphrases from standard input: $(cat err)"
echo 'third tram uncle' >sekret
says 0 - passwd --passfile sekret --new-passfile secret $kdf v

# ---- key
for verb in '' add remove list change; do
	says 0 - key $verb --help
	prints 'usage: cryptfs '
	[ "$(wc -l <out)" -le 24 ] || fail "the help of key $verb does not fit on a screen"
done
says 1 'say what to do: add, remove, list or change' key
says 1 'what is frob? (add, remove, list or change)' key frob
says 1 'did you mean remove?' key remov
says 1 'did you mean --new-keyfile?' key add --new-kyfile x v
says 1 'makes its own key' key add --recovery --new-passfile sekret v
says 1 'not 1 to 63 bytes of text' key add --label= v
says 4 'wrong passphrase' key add --passfile sekret --new-keyfile key $kdf v
says 1 '--new-fido2 makes its own key' key add --new-fido2 auto --new-passfile sekret v
says 1 'makes its own key' key add --new-fido2 auto --recovery v
says 4 'it has no slot for a security key' fsck --fido2 /dev/null v
says 0 - key add --passfile secret --new-keyfile key --label car $kdf v
prints 'added slot 2 to v'
says 0 - key add --keyfile key --recovery v
prints 'Write them down'
grep -E '^    ([a-z]+ ){11}[a-z]+$' out | tr '[:lower:]' '[:upper:]' >words || fail "no words: $(cat out)"
says 0 - key list v
prints 'slot 1   passphrase "passphrase", argon2id, 64 MiB, 3 operations'
prints 'slot 2   keyfile "car"'
prints 'slot 3   recovery "recovery"'
says 0 - key list --json v
python3 -c 'import json; print([s["type"] for s in json.load(open("out"))["slots"]])' >types
[ "$(cat types)" = "['passphrase', 'keyfile', 'recovery']" ] || fail "key list --json: $(cat types)"
chmod 600 words
says 0 - key remove --passfile words v 1
says 4 'wrong passphrase' key add --passfile secret --new-passfile secret $kdf v
sed 's/ [A-Z]*$/ ABANDOM/' words >typo
chmod 600 typo
says 4 'word 12 is none' key remove --passfile typo v 2
says 1 'no such slot' key remove --keyfile key v 7
says 1 'is not the number of a slot' key remove --keyfile key v car
says 1 'VAULT and the number of a slot' key remove --keyfile key v
says 0 - key add --passfile words --new-passfile secret $kdf v
prints 'added slot 4'
says 0 - key remove --passfile secret v 3
says 0 - key remove --passfile secret v 2
says 1 'it is the only one (add another key first)' key remove --passfile secret v 4
says 0 - key change --passfile secret --new-passfile sekret $kdf v
says 0 - key change --passfile sekret --new-passfile secret $kdf v
says 0 - init --passfile secret --recovery $kdf two
prints 'slot 2'
grep -E '^    ([a-z]+ ){11}[a-z]+$' out >words || fail "init --recovery: no words: $(cat out)"
says 0 - key remove --passfile words two 1

# ---- header
says 0 - header --help
prints 'usage: cryptfs header'
says 1 'say backup or restore' header
says 1 'say backup or restore' header backup v
says 1 'say backup or restore' header frob v kept
says 3 'cannot open missing' header backup missing kept
says 0 - header backup v kept
[ "$(stat -c %a kept)" = 600 ] || fail "header backup: mode $(stat -c %a kept)"
says 2 'cannot write kept: File exists' header backup v kept
cp -a v broken
rm broken/cryptfs.conf broken/cryptfs.conf.bak
says 4 'wrong passphrase' header restore --passfile sekret broken kept
says 0 - header restore --passfile secret broken kept
cmp v/cryptfs.conf broken/cryptfs.conf || fail "header restore: not what it was"
says 0 - passwd --passfile secret --new-passfile sekret $kdf broken
says 5 'cannot restore the header of v: secret: not JSON' header restore --passfile secret v secret
rm kept

# ---- rotate: tests/crash/rotating.py has its deaths
says 0 - rotate --help
prints 'usage: cryptfs rotate'
[ "$(wc -l <out)" -le 25 ] && [ "$(wc -L <out)" -le 80 ] || fail "the help of rotate does not fit on a screen"
says 1 'no VAULT given' rotate
says 1 'did you mean --drop-others?' rotate --drop-othres v
says 3 'cannot open missing' rotate missing
says 0 - init --passfile secret $kdf turning
says 0 - key add --passfile secret --new-keyfile key --label car $kdf turning
says 0 - key add --passfile secret --recovery turning
grep -E '^    ([a-z]+ ){11}[a-z]+$' out >words
says 0 - key add --passfile secret --new-passfile sekret --label left $kdf turning
cp -a turning before
says 4 'wrong passphrase' rotate --passfile weak turning
says 1 'there is none' rotate --abort --passfile secret turning
says 1 'what of slot 2, "car"? (give its key with --other-passfile or --other-keyfile' rotate --passfile secret turning
says 4 'cannot keep a key of turning: wrong passphrase' rotate --passfile secret --other-passfile weak turning
cmp turning/cryptfs.conf before/cryptfs.conf || fail "a refused rotation changed something"
says 0 'slot 4, "left", will be gone' rotate --passfile secret --other-keyfile key --other-passfile words --drop-others turning
prints 'keys that open it: 3'
says 0 - key list turning
prints 'slot 2   keyfile "car"'
prints 'slot 3   recovery "recovery"'
says 4 'wrong passphrase' passwd --passfile sekret --new-passfile sekret $kdf turning
says 0 - fsck --keyfile key turning
says 0 - fsck --passfile words turning
says 5 'its files belong to another key' header restore --passfile secret turning before/cryptfs.conf
mkdir -p turning/rotate/tree turning/rotate/cryptfs.conf.tmp # as one that died at once
says 0 - fsck --passfile secret turning
prints 'leftover  rotate: '
[ -d turning/rotate ] || fail "fsck removed something"
says 0 - fsck --repair --passfile secret turning
prints 'repaired  rotate: '
[ ! -e turning/rotate ] || fail "fsck --repair left it"
mkdir turning/rotate && touch turning/rotate/thing
says 2 - fsck --repair --passfile secret turning
prints 'could not be repaired'
says 1 'there is something in turning/rotate (move it away)' rotate --passfile secret --other-keyfile key --other-passfile words turning
[ -e turning/rotate/thing ] || fail "rotate removed what is not its own"
rm -r turning before

# ---- a vault in use: both directories locked as a mount does it
exec 8<v 9<v/tree
flock -n 8 && flock -n 9 || fail "the test could not lock"
says 6 'cannot open v: in use' passwd --passfile secret --new-passfile secret $kdf v
says 0 - info v
exec 8<&- 9<&-

# ---- damage
cp v/cryptfs.conf good
echo rubbish >v/cryptfs.conf
says 0 'cryptfs.conf: not JSON from line 1 on; using cryptfs.conf.bak' info v
echo rubbish >v/cryptfs.conf.bak
says 5 'cannot open v: damaged: cryptfs.conf: not JSON' info v
says 5 'cannot open v: damaged: cryptfs.conf: not JSON' passwd --passfile secret v
sed 's/"created": ./"created": 9/' good | tee v/cryptfs.conf >v/cryptfs.conf.bak
says 5 'cannot unlock v: tampered with' passwd --passfile secret --new-passfile secret $kdf v
sed 's/"min_reader": 1/"min_reader": 7/' good | tee v/cryptfs.conf >v/cryptfs.conf.bak
says 2 'cannot open v: made for a newer cryptfs' info v
cp good v/cryptfs.conf
cp good v/cryptfs.conf.bak
says 0 - passwd --passfile secret --new-passfile secret $kdf v
touch v/tree/something
rm v/cryptfs.conf v/cryptfs.conf.bak
says 5 'cannot open v: damaged: cryptfs.conf: missing' info v
says 1 'not an empty directory' init --passfile secret v

[ "$failures" = 0 ] || exit 1
echo "cli: all as the table says"
