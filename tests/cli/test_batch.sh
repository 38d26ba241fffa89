#!/bin/bash
# cryptfs encrypt and decrypt of many files: trees, lists, patterns, going on
# after failures, interruption, dying workers, and full disks.
set -u
: "${CRYPTFS:?the path of the cryptfs command}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_batch.XXXXXX") || exit 1
full=
# shellcheck disable=SC2317 # is reached, by the trap
clean() {
	[ -z "$full" ] || umount "$full"
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
failures=0
encrypt='encrypt --kdf-memory 64 --kdf-operations 3 --passfile secret'
decrypt='decrypt --passfile secret'

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# run STATUS COMMAND LINE: what it says is in err
run() {
	local status=0 expected=$1
	shift
	# shellcheck disable=SC2048,SC2086 # is meant to be split
	timeout 60 "$CRYPTFS" $* </dev/null >out 2>err || status=$?
	[ "$status" = "$expected" ] || fail "'$*': exit $status, not $expected: $(cat err)"
}

says() { # WORDS: they are on a line of err
	grep -qF -- "$1" err || fail "no '$1' in: $(cat err)"
}

quiet() {
	[ ! -s err ] || fail "said: $(cat err)"
}

same_trees() {
	diff -r "$1" "$2" >diff.out || fail "$1 and $2: $(head -3 diff.out)"
}

# listing DIR: names, modes, times of all that is in it
listing() {
	(cd "$1" && find . ! -path . -printf '%p %y %m %T@\n' | sort)
}

echo secret >secret
echo sekret >sekret
chmod 600 secret sekret
set -f # patterns are for cryptfs, not for this shell

# ---- a tree there and back
mkdir -p tree/deep/er tree/empty tree/' odd  name'
for i in 1 2 3 4 5 6 7 8 9; do
	head -c $((i * 20011)) /dev/urandom >tree/file$i
	head -c $i /dev/urandom >tree/deep/er/$i.txt
done
head -c 5000000 /dev/urandom >tree/deep/large
printf x >tree/' odd  name/with
newline'
: >tree/deep/nothing
chmod 600 tree/file1
chmod 750 tree/deep
setfattr -n user.of -v 'a directory' tree/deep
setfacl -m u:7:rx -d -m u:8:r tree/deep
setfattr -n user.of -v 'a file' tree/deep/large
touch -d '2002-02-02 02:02:02.25' tree/file2 tree/deep/er tree/empty tree
run 0 "$encrypt -r tree enc"
quiet
[ "$(find enc -type f | wc -l)" = "$(find tree -type f | wc -l)" ] || fail "the number of outputs"
[ -z "$(find enc -type f ! -name '*.cryptfs')" ] || fail "an output without suffix"
run 0 "$decrypt -r enc/tree/ dec"
quiet
same_trees tree dec
for file in deep deep/er deep/large; do
	[ "$(cd tree && getfattr -d $file && getfacl $file)" = "$(cd dec && getfattr -d $file && getfacl $file)" ] ||
		fail "attributes of $file: $(getfattr -d dec/$file) $(getfacl dec/$file)"
done
[ "$(listing tree)" = "$(listing dec)" ] || fail "modes and times: $(diff <(listing tree) <(listing dec))"
run 0 "encrypt --cipher xor --key K -r tree/ xored"
cmp -s <(cd tree && find . | sort) <(cd xored && find . | sort) || fail "names of xor"

# ---- several inputs into a directory
run 0 "$encrypt tree/file1 tree/file2 several"
run 0 "$decrypt several/file1.cryptfs several/file2.cryptfs back"
cmp -s tree/file1 back/file1 || fail "one of several"
run 0 "$encrypt tree/file3 several"
[ -e several/file3.cryptfs ] || fail "into a directory that is there"
run 1 "$encrypt tree/file1 tree/file2 tree/file3"
says 'tree/file3 is not a directory'

# ---- lists
printf 'tree/file4\n\n./tree/deep/er/1.txt\n' >list
run 0 "$encrypt --files-from list listed"
quiet
cmp -s <(cd listed && find . -type f | sort) - <<'END' || fail "list: $(find listed)"
./tree/deep/er/1.txt.cryptfs
./tree/file4.cryptfs
END
# shellcheck disable=SC2086
(cd tree && find . -type f -print0) | (cd tree && "$CRYPTFS" ${encrypt/secret/..\/secret} \
	--files-from - -0 ../zeros) || fail "a list from standard input"
run 0 "$decrypt -r zeros/ zeros.dec"
[ "$(cd tree && find . -type f | sort)" = "$(cd zeros.dec && find . -type f | sort)" ] ||
	fail "a list with zero bytes"
printf 'tree/../secret\n' >list
run 2 "$encrypt --files-from list listed"
says 'it leads out of the destination'
printf 'tree/deep\n' >list
run 2 "$encrypt --files-from list listed"
says 'a directory (-r goes into it)'
run 0 "$encrypt --files-from list -r listed2"
[ -e listed2/tree/deep/large.cryptfs ] || fail "a directory in a list"
run 1 "encrypt --passfile - --files-from - dest"
run 2 "$encrypt --files-from missing dest"
says 'cannot read missing'

# ---- patterns
run 0 "$encrypt -r --include *.txt --exclude 3.* tree/ patterns"
cmp -s <(cd patterns && find . -type f | sort) - <<'END' || fail "patterns: $(find patterns)"
./deep/er/1.txt.cryptfs
./deep/er/2.txt.cryptfs
./deep/er/4.txt.cryptfs
./deep/er/5.txt.cryptfs
./deep/er/6.txt.cryptfs
./deep/er/7.txt.cryptfs
./deep/er/8.txt.cryptfs
./deep/er/9.txt.cryptfs
END
run 0 "$encrypt -r --exclude deep/er --include deep/* tree/ patterns2"
[ "$(cd patterns2 && find . -type f | sort | tr '\n' ' ')" = './deep/large.cryptfs ./deep/nothing.cryptfs ' ] ||
	fail "patterns with a slash: $(find patterns2)"

# ---- links and special files are left out, and told of
mkdir special
echo yes >special/file
ln -s file special/link
mkfifo special/fifo
run 0 "$encrypt -r special left"
says 'left out 2 links and special files'
[ "$(find left -type f)" = left/special/file.cryptfs ] || fail "special files: $(find left)"

# ---- never into itself
run 2 "$encrypt -r tree/ tree"
says 'outputs would go into it'
run 0 "$encrypt -r --exclude * tree/ tree/sub" # makes tree/sub, and does not enter it
rmdir tree/sub
mkdir self && echo a >self/a
run 0 "$encrypt -r self/ self/out"
[ "$(find self -type f | sort | tr '\n' ' ')" = 'self/a self/out/a.cryptfs ' ] || fail "self: $(find self)"

# ---- a failed file does not stop the others
cp -r enc some
printf '\x55' | dd of=some/tree/file5.cryptfs bs=1 seek=1000 conv=notrunc status=none
head -c 1000 enc/tree/file6.cryptfs >some/tree/file6.cryptfs
run 5 "$decrypt -r some/tree/ partly"
says 'cannot decrypt some/tree/file5.cryptfs: damaged'
says 'cannot decrypt some/tree/file6.cryptfs: damaged: its end is missing'
[ "$(wc -l <err)" = 2 ] || fail "more than the failures: $(cat err)"
[ "$(diff -r tree partly)" = "$(printf 'Only in tree: file5\nOnly in tree: file6')" ] ||
	fail "the others: $(diff -r tree partly)"
echo junk >some/tree/junk
run 2 "$decrypt -r --force some/tree/ partly"
says 'cannot decrypt some/tree/junk: not encrypted'
run 4 "decrypt --passfile sekret -r enc none"
[ -z "$(find none -type f)" ] || fail "something came out of a wrong passphrase"

# ---- what is there stays; --resume leaves alone what is done
run 1 "$encrypt -r tree enc"
[ "$(grep -c 'is there already' err)" = "$(find tree -type f -printf x | wc -c)" ] || fail "there: $(cat err)"
before=$(find enc -type f -printf '%i %p\n' | sort)
rm -f enc/tree/file7.cryptfs
run 0 "$encrypt -r --resume tree enc"
quiet
[ -e enc/tree/file7.cryptfs ] || fail "resume did not do what was missing"
[ "$(find enc -type f ! -name 'file7*' -printf '%i %p\n' | sort)" = "$(grep -v file7 <<<"$before")" ] ||
	fail "resume did again what was done"
touch tree/file8
run 1 "$encrypt -r --resume tree enc"
says 'cannot write enc/tree/file8.cryptfs: it is there already'
run 0 "$encrypt -r --resume --force tree enc"

# ---- in place
cp -a tree place
run 0 "$encrypt --in-place -r place"
for file in $(cd tree && find . -name 'file*'); do
	[ "$(head -c 8 "place/$file")" = cryptfsC ] || fail "$file is not encrypted in its place"
done
[ "$(getfattr --only-values -n user.of place/deep/large)" = 'a file' ] || fail 'in place: attributes'
[ "$(stat -c '%a %y' place/file2)" = "$(stat -c '%a %y' tree/file2)" ] || fail "in place: mode or time"
run 0 "$encrypt --in-place --resume -r place"
run 0 "$decrypt --in-place -r place"
run 0 "$decrypt --in-place --resume -r place"
same_trees tree place
[ "$(listing tree | grep ' f ')" = "$(listing place | grep ' f ')" ] || fail "in place: modes and times"
ln place/file1 place/other
run 1 "$encrypt --in-place place/file1"
says 'it has other names'

# ---- how far it is
run 0 "$encrypt -r --progress=json tree told"
python3 - err "$(find tree -type f -printf x | wc -c)" "$(find tree -type f -printf '%s\n' | awk '{n += $1} END {print n}')" <<'END' ||
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert lines[-1]["files"] == int(sys.argv[2]) and lines[-1]["bytes"] == int(sys.argv[3])
assert lines[-1]["share"] == 1 and {"bytes_per_second", "seconds_left"} <= lines[-1].keys()
END
	fail "--progress=json: $(cat err)"
run 0 "$encrypt -r --resume --progress=json tree told"
grep -q '"files":0.*"share":1.0' err || fail "skipped files are not progress: $(cat err)"
run 0 "$encrypt -r --progress=lines tree told2"
says 'files, '
run 1 "$encrypt -r --progress=some tree told3"
says 'not one of bar, lines, json and none'
mkfifo slow.in
# shellcheck disable=SC2086
{
	"$CRYPTFS" $encrypt - asked <slow.in 2>err &
	pid=$!
	exec 7>slow.in
	head -c 3000000 /dev/zero >&7
	kill -USR1 $pid
	for _ in {1..300}; do
		[ ! -s err ] || break
		sleep 0.1
	done
	exec 7>&-
}
wait $pid || fail "it did not survive the question"
[ "$(grep -c '^0 files, .* MiB, ' err)" = 1 ] || fail "SIGUSR1: $(cat err)"
if command -v script >/dev/null; then
	script -qefc "$CRYPTFS $encrypt - onterminal <slow.in" terminal >/dev/null </dev/null &
	pid=$!
	exec 7>slow.in
	head -c 3000000 /dev/zero >&7
	for _ in {1..300}; do
		! grep -q '\[[#.]*\] 0 files' terminal || break
		sleep 0.1
	done
	exec 7>&-
	wait $pid || fail "on a terminal"
	grep -q '\[[#.]*\] 0 files' terminal || fail "no bar on a terminal: $(cat terminal)"
fi

# ---- interruption leaves nothing, and what was complete stays
mkdir slow
for i in 1 2 3; do head -c 100000 /dev/urandom >slow/$i; done
for signal in INT TERM HUP; do
	# shellcheck disable=SC2086
	env --default-signal=$signal "$CRYPTFS" $encrypt - stopped <slow.in 2>err &
	pid=$!
	exec 7>slow.in
	head -c 3000000 /dev/zero >&7 # it is at work when all of this has gone
	kill -$signal $pid
	wait $pid 2>/dev/null # bash tells of it
	status=$?
	exec 7>&-
	[ $status = $((128 + $(kill -l $signal))) ] || fail "SIG$signal: exit $status: $(cat err)"
	[ ! -s err ] || fail "SIG$signal said: $(cat err)"
	[ ! -e stopped ] || fail "SIG$signal left a half file"
done
[ -z "$(find . -name '.cryptfs-tmp*')" ] || fail "temporary files were left"

# ---- workers that die in the middle of it
workers() { # PID: of the engine of this process
	pgrep -P "$(pgrep -P "$1" -d ,)"
}
head -c 60000000 /dev/urandom >many
mkfifo many.in
# shellcheck disable=SC2086
"$CRYPTFS" $encrypt --processes 2 --min-processes 2 - many.enc <many.in 2>err &
pid=$!
killed=0
{
	for i in 0 1 2 3 4 5; do
		dd if=many bs=1M skip=$((i * 10)) count=10 status=none
		for _ in {1..600}; do # they come again
			found=$(workers $pid)
			[ -z "$found" ] || break
			sleep 0.1
		done
		for worker in $found; do
			kill -KILL "$worker" 2>/dev/null && killed=$((killed + 1))
		done
	done
	echo $killed >killed
} >many.in
wait $pid || fail "with dying workers: $(cat err)"
[ "$(cat killed)" -ge 2 ] || fail "only $(cat killed) workers were killed"
grep -q 'worker died of signal 9' err || fail "no word of dead workers: $(cat err)"
run 0 "$decrypt many.enc many.dec"
cmp -s many many.dec || fail "workers that died left a mark"

# ---- xor where a file lies, window by window
has_undo() {
	ls -A | grep -q '^\.cryptfs-undo\.'
}
xor='encrypt --cipher xor --key Key'
run 0 "$xor many many.xor"
cp many inside && touch -d '2003-03-03 03:03:03.5' inside
inode=$(stat -c '%i %y' inside)
run 0 "$xor --in-place inside"
cmp -s inside many.xor || fail "xor in place"
[ "$(stat -c '%i %y' inside)" = "$inode" ] || fail "xor in place: another file or time"
run 1 "$xor --in-place --resume inside"
says 'nothing to resume'
for _ in {1..50}; do
	cp many inside
	# shellcheck disable=SC2086
	"$CRYPTFS" $xor --in-place inside 2>err &
	pid=$!
	while kill -0 $pid 2>/dev/null && ! has_undo; do
		sleep 0.01
	done
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	! has_undo || break # else it was quicker
done
run 1 "$xor --in-place inside"
says 'an earlier run did a part of it'
run 4 "encrypt --cipher xor --key Other --in-place --resume inside"
says 'another key was used'
run 0 "$xor --in-place --resume inside"
cmp -s inside many.xor || fail "xor in place after a death"
[ -z "$(find . -name '.cryptfs-*')" ] || fail "it left: $(find . -name '.cryptfs-*')"
cp -a tree xplace
run 0 "$xor --in-place -r xplace"
run 0 "$xor --in-place -r xplace"
same_trees tree xplace

# ---- how many workers
run 0 "$encrypt --processes 3 --min-processes 3 many many.3"
run 0 "$decrypt --processes 64 many.3 many.dec2"
cmp -s many many.dec2 || fail "with many workers"
run 1 "$encrypt --processes 1 --min-processes 2 many many.4"
says 'more than --processes'
rm -f many.3 many.dec2
# No shared memory: one line, and nothing is left.
# shellcheck disable=SC2086
(trap '' XFSZ && ulimit -f 100 && exec "$CRYPTFS" $encrypt --jobs 4 many many.5 2>err)
[ $? = 2 ] || fail "without shared memory: exit $?"
says 'bytes of shared memory: File too large'
[ "$(wc -l <err)" = 1 ] || fail "without shared memory: $(cat err)"
[ ! -e many.5 ] || fail "an output without shared memory"

# ---- a full disk
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=1M,nr_inodes=64 none disk; then
	full=$work/disk
	run 2 "$encrypt many disk/out"
	says 'No space left on device'
	[ "$(wc -l <err)" = 1 ] || fail "more than one line: $(cat err)"
	[ -z "$(ls -A disk)" ] || fail "a full disk: $(ls -A disk)"
	run 2 "$encrypt --jobs 1 many tree/file1 tree/file2 disk"
	[ "$(ls disk)" = "$(printf 'file1.cryptfs\nfile2.cryptfs')" ] || fail "full: $(ls disk)"
	umount disk && full=
fi

exit $((failures != 0))
