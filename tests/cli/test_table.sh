#!/bin/bash
# What every command answers to wrong usage and to what is not there, as a table, and what
# holds for all of them: help, one line on standard error, no colours, any locale.
set -u
: "${CRYPTFS:?the path of the cryptfs command}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_table.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
mkdir empty full
touch full/file
echo secret >secret
chmod 600 secret

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# run COMMAND LINE: split by the shell; out, err and $status.
run() {
	status=0
	# shellcheck disable=SC2048,SC2086 # is meant to be split
	"$CRYPTFS" $* </dev/null >out 2>err || status=$?
}

# One row: status | words of the one line of standard error | command line
table() {
	local expected words line
	while IFS='|' read -r expected words line; do
		case $expected in
		'' | '#'*) continue ;;
		esac
		expected=${expected// /}
		words=${words#"${words%%[! ]*}"}
		words=${words%"${words##*[! ]}"}
		run $line
		[ "$status" = "$expected" ] || fail "'$line': exit $status, not $expected: $(cat err)"
		[ "$(wc -l <err)" = 1 ] || fail "'$line': not one line: $(cat err)"
		[ "$(head -c 9 err)" = 'cryptfs: ' ] || fail "'$line': $(cat err)"
		grep -qF -- "$words" err || fail "'$line': no '$words' in: $(cat err)"
		[ ! -s out ] || fail "'$line' printed: $(cat out)"
	done
}

rows() {
	cat <<'END'
# nothing, or nothing known
1 | no command given                             |
1 | unknown command frobnicate (see cryptfs --h | frobnicate
1 | unknown command umont (did you mean umount?) | umont /
1 | unknown command resum (did you mean resume?) | resum /
1 | unknown command suspnd (did you mean suspe   | suspnd /
1 | unknown command pat (did you mean path?)     | pat /
1 | unknown command statsu (did you mean status  | statsu /
1 | unknown command decrpt (did you mean decryp  | decrpt a b
1 | unknown option --verbose                     | --verbose
# options
1 | init: unknown option --lable (did you mean   | init --lable x v
1 | passwd: unknown option --pasfile             | passwd --pasfile x v
1 | info: unknown option --jason (did you mean   | info --jason v
1 | fsck: unknown option --repare (did you mean  | fsck --repare v
1 | status: unknown option --metrisc (did you    | status --metrisc /
1 | umount: unknown option --lasy (did you mean  | umount --lasy /
1 | suspend: unknown option --alll (did you mean | suspend --alll
1 | resume: unknown option --kyfile (did you me  | resume --kyfile x /
1 | path: unknown option --revert (did you mean  | path --revert / x
1 | umount: --all=yes takes no value             | umount --all=yes
1 | resume: --passfile needs a value             | resume --passfile
1 | path: unknown option -x (see cryptfs path -  | path -x / y
# operands
1 | info: no VAULT given                         | info
1 | passwd: no VAULT given                       | passwd
1 | status: no MOUNTPOINT given                  | status
1 | umount: no MOUNTPOINT given                  | umount
1 | umount: one MOUNTPOINT is enough: what is b  | umount a b
1 | umount: --all takes no MOUNTPOINT: what is   | umount --all a
1 | suspend: no MOUNTPOINT given                 | suspend
1 | suspend: --all takes no MOUNTPOINT: what is  | suspend --all a
1 | resume: no MOUNTPOINT given                  | resume
1 | resume: one MOUNTPOINT is enough: what is b  | resume a b
1 | path: MOUNTPOINT or VAULT, and a PATH        | path
1 | path: MOUNTPOINT or VAULT, and a PATH        | path a
1 | path: MOUNTPOINT or VAULT, and a PATH        | path a b c
# vaults without a mount, keys
1 | import: too few operands                     | import a
1 | import: unknown option --recusrive           | import --recusrive a v
1 | --shard 3: not a number from 1 to 2          | import --shard 3/2 a v
1 | --shard x: not I/N, such as 1/4              | import --shard x a v
1 | import: --shard and --force exclude each oth | import --shard 1/2 --force a v
3 | cannot open missing: no vault there          | import empty missing
1 | export: too few operands                     | export v
3 | cannot open full: no vault there             | export full d
1 | ls: no VAULT[:PATH] given                    | ls
1 | ls: unknown option --lonng (did you mean --l | ls --lonng v
1 | ls: one VAULT[:PATH] is enough: what is b?   | ls a b
3 | cannot open full: no vault there             | ls full:x
1 | cat: no VAULT:PATH given                     | cat
3 | cannot open missing: no vault there          | cat missing:x
1 | verify: no VAULT[:PATH] given                | verify
1 | verify: unknown option --agianst (did you me | verify --agianst x v
1 | --metadata: compared with what? (--against s | verify --metadata v
3 | cannot open full: no vault there             | verify --against missing full
1 | rotate: no VAULT given                       | rotate
1 | rotate: unknown option --drop-othres (did yo | rotate --drop-othres v
3 | cannot open missing: no vault there          | rotate missing
1 | key: say what to do: add, remove, list or ch | key
1 | key: what is ad? (did you mean add?)         | key ad v
1 | key remove: x is not the number of a slot    | key remove full x
1 | header: say backup or restore, then VAULT an | header bakup a b
1 | encrypt: too few operands                    | encrypt a
1 | bench: takes no argument: what is a?         | bench a
# what is not there, or something else
3 | cannot open missing: no vault there          | info missing
3 | cannot open full: no vault there             | passwd --passfile secret full
3 | cannot open full: no vault there             | key list full
3 | cannot open missing: no vault there          | header backup missing kept
3 | cannot open missing: no vault there          | fsck --passfile secret missing
3 | cannot open full: no vault there             | path --passfile secret full x
7 | full: not a mount of cryptfs                 | status full
7 | full: not a mount of cryptfs                 | umount full
7 | /: not a mount of cryptfs                    | umount --lazy /
7 | /proc: not a mount of cryptfs                | suspend /proc
7 | missing/x: No such file                      | resume missing/x
1 | cannot create full: not an empty directory   | init --passfile secret full
2 | no passphrase from nowhere: No such file     | init --passfile nowhere new
END
}

table < <(rows)

# A message is for people, and for programs that look for words: nothing else is in it.
for environment in LC_ALL=C LC_ALL=C.UTF-8 LC_ALL=tr_TR.UTF-8 NO_COLOR=1 TERM=xterm-256color LC_NUMERIC=de_DE.UTF-8; do
	env "$environment" "$CRYPTFS" --help >out 2>err </dev/null || fail "$environment: --help"
	! grep -q $'\033' out err || fail "$environment: colours in the help"
	env "$environment" "$CRYPTFS" info missing >out 2>err </dev/null
	[ $? = 3 ] || fail "$environment: exit status"
	[ "$(cat err)" = 'cryptfs: cannot open missing: no vault there (create one with: cryptfs init VAULT)' ] ||
		fail "$environment: $(cat err)"
	env "$environment" "$CRYPTFS" bench --seconds 0.01 --json >out 2>err </dev/null || fail "$environment: bench: $(cat err)"
	python3 -c 'import json; json.load(open("out"))' || fail "$environment: bench --json"
done
if command -v python3 >/dev/null; then
	python3 - "$CRYPTFS" <<'PY' || fail "colours on a terminal"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ["NO_COLOR"] = "1"
    os.execv(sys.argv[1], ["cryptfs", "info", "missing"])
said = b""
try:
    while piece := os.read(fd, 4096):
        said += piece
except OSError:
    pass
os.waitpid(pid, 0)
assert said.startswith(b"cryptfs: ") and b"\033" not in said, said
PY
fi

# Every command there is has help, which fits on a screen, and is in the list.
run --help
commands=$(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' out)
[ "$(wc -w <<<"$commands")" -ge 13 ] || fail "the list of commands: $commands"
for command in $commands; do
	run "$command" --help
	[ "$status" = 0 ] && [ ! -s err ] || fail "$command --help: $status, $(cat err)"
	grep -q "^usage: cryptfs $command" out || fail "$command --help: $(head -n 1 out)"
	[ "$(wc -L <out)" -le 100 ] || fail "the help of $command is too wide"
	run "$command" --frobnicate
	[ "$status" = 1 ] && grep -q 'frobnicate' err && [ "$(wc -l <err)" = 1 ] || fail "$command --frobnicate: $status, $(cat err)"
	status=0
	[ ! -c /dev/full ] || "$CRYPTFS" "$command" --help >/dev/full 2>err || status=$?
	[ ! -c /dev/full ] || { [ "$status" = 2 ] && grep -q 'cannot write the output' err; } || fail "$command: a full device: $status"
done
[ "$(ls -A empty full | tr '\n' ' ')" = 'empty:  full: file ' ] || fail "something was made: $(ls -A empty full)"

[ "$failures" = 0 ] || exit 1
echo "table: all as it says"
