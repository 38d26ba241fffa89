#!/bin/bash
# cryptfs encrypt and decrypt, one file at a time: what comes out, what is
# refused and why, and that nothing half is ever left.
set -u
: "${CRYPTFS:?the path of the cryptfs command}" "${READER:?the path of container.py}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_encrypt.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
failures=0
kdf='--kdf-memory 64 --kdf-operations 3'
encrypt="encrypt $kdf --passfile secret"
decrypt='decrypt --passfile secret'

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# says STATUS WORDS COMMAND LINE: as in test_cli.sh
says() {
	local status=0 expected=$1 words=$2
	shift 2
	# shellcheck disable=SC2048,SC2086 # is meant to be split
	"$CRYPTFS" $* </dev/null >out 2>err || status=$?
	[ "$status" = "$expected" ] || fail "'$*': exit $status, not $expected: $(cat err)"
	if [ "$words" = - ]; then
		[ ! -s err ] || fail "'$*' said: $(cat err)"
		return
	fi
	[ "$(wc -l <err)" = 1 ] || fail "'$*': not one line: $(cat err)"
	grep -qF -- "$words" err || fail "'$*': no '$words' in: $(cat err)"
}

same() {
	cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

# nothing NAME...: none of these is there, nor any temporary file
nothing() {
	for name in "$@"; do
		[ ! -e "$name" ] || fail "$name was left"
	done
	[ -z "$(find . -name '.cryptfs-tmp*')" ] || fail "a temporary file was left"
}

# patch FILE OFFSET BYTE
patch() {
	printf %b "\\x$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

echo secret >secret
echo sekret >sekret
chmod 600 secret sekret
head -c 3000001 /dev/urandom >plain

# ---- there and back, and by the second opinion
for cipher in aes-256-gcm chacha20-poly1305; do
	says 0 - "$encrypt --cipher $cipher plain $cipher"
	says 0 - "$decrypt $cipher back.$cipher"
	same plain back.$cipher
	/usr/bin/python3 -B "$READER" $cipher secret read.$cipher
	case $? in
	0) same plain read.$cipher ;;
	77) echo "the second opinion was not heard" ;;
	*) fail "container.py cannot read $cipher" ;;
	esac
done
says 0 - "$encrypt --processes 2 --jobs 4 plain four"
says 0 - "$decrypt --processes 0 --jobs 1 four back.four"
same plain back.four
printf 'raw\0bytes' >key && chmod 600 key
says 0 - "encrypt $kdf --keyfile key plain bykey"
says 0 - "decrypt --keyfile key bykey back.bykey"
same plain back.bykey
: >empty
chmod 600 empty
says 0 - "$encrypt empty empty.enc"
says 0 - "$decrypt empty.enc empty.back"
same empty empty.back

# ---- streams
# shellcheck disable=SC2002,SC2086,SC2094
{
	"$CRYPTFS" $encrypt - - <plain | "$CRYPTFS" $decrypt - - | cmp - plain || fail "two pipes"
	cat plain | "$CRYPTFS" $encrypt - streamed || fail "a pipe into a file"
	"$CRYPTFS" $decrypt streamed - | cmp - plain || fail "a file into a pipe"
	"$CRYPTFS" $decrypt - redirected <streamed || fail "a redirected file"
}
same plain redirected
says 0 - "$decrypt streamed /dev/null"
says 0 - "$encrypt /proc/version version" # is empty, as fstat has it
says 0 - "$decrypt version version.back"
cat /proc/version >version.txt
same version.txt version.back
mkfifo fifo
# shellcheck disable=SC2086
"$CRYPTFS" $decrypt streamed fifo &
cat fifo >from.fifo
wait $! || fail "a named pipe"
same plain from.fifo

# ---- mode and times
touch -d '2001-02-03 04:05:06.789' plain
chmod 640 plain
says 0 - "$encrypt plain dressed"
says 0 - "$decrypt dressed dressed.back"
for file in dressed dressed.back; do
	[ "$(stat -c '%a %y' $file)" = "$(stat -c '%a %y' plain)" ] || fail "mode or time of $file"
done

# ---- attributes and ACLs; one that is not there does not come from the directory, either
attributes() { # FILE
	getfattr -d -m - --absolute-names "$1" | grep -v '^#' | grep -v selinux
	getfacl -cp "$1"
}
cp plain fancy
setfattr -n user.comment -v 'of a file' fancy
setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" fancy
setfacl -m u:77:rw,g::-,m::rw fancy
attributes fancy >fancy.has
grep -q comment fancy.has && grep -q 'user:77:rw' fancy.has || fail 'no attributes here'
says 0 - "$encrypt fancy fancy.enc"
says 0 - "$decrypt fancy.enc fancy.back"
for file in fancy.enc fancy.back; do
	attributes $file | cmp -s - fancy.has || fail "attributes of $file: $(attributes $file)"
done
mkdir -p inherits
setfacl -d -m u:78:rwx inherits
says 0 - "$encrypt plain inherits/plain"
[ "$(attributes inherits/plain)" = "$(attributes plain)" ] || fail "an ACL was inherited"
mkdir mounted
# shellcheck disable=SC2016 # is for the other shell
if unshare -m mount -t ramfs none mounted 2>err; then # one without ACLs and attributes
	unshare -m sh -c 'mount -t ramfs none mounted && "$@" && stat -c %a mounted/fancy' sh \
		"$CRYPTFS" $encrypt fancy mounted/fancy >out 2>err || fail "without ACLs: $(cat err)"
	grep -q 'does not have the ACL of its input, and its group no rights' err ||
		fail "not said that there is no ACL: $(cat err)"
	[ "$(cat out)" = 600 ] || fail "a mode that counts without its ACL: $(cat out)"
fi

# ---- what is there stays, unless
echo precious >there
says 1 'cannot write there: it is there already (--force replaces it)' "$encrypt plain there"
[ "$(cat there)" = precious ] || fail "it was overwritten"
ln there other
says 0 - "$encrypt --force plain there"
says 0 - "$decrypt --force there there.back"
same plain there.back
[ "$(cat other)" = precious ] || fail "it was overwritten in place"
says 1 'input and output are the same file' "$encrypt --force plain ./plain"
says 2 'cannot write no/such: No such file' "$encrypt plain no/such"
says 2 'cannot encrypt missing: No such file' "$encrypt missing out.enc"
nothing out.enc

# ---- wrong passphrases, other files
says 4 'cannot decrypt dressed: wrong passphrase or key' "decrypt --passfile sekret dressed no"
says 4 'wrong passphrase or key' "decrypt --keyfile secret dressed no"
says 3 'cannot decrypt plain: not encrypted by cryptfs encrypt' "$decrypt plain no"
says 3 'not encrypted by' "$decrypt empty no"
says 3 'not encrypted by' "$decrypt /dev/null no"
nothing no

# ---- damage: each is refused, and leaves nothing
size=$(stat -c %s dressed)
damaged() { # WORDS: the file x is refused with them
	says 5 "cannot decrypt x: $1" "$decrypt x no"
	nothing no
}
for cut in 127 128 143 144 65935 65936 65937 131743 131744 131745 $((size - 41)) $((size - 40)) \
	$((size - 39)) $((size - 1)); do
	head -c $cut dressed >x
	if [ $cut -lt 128 ]; then
		damaged 'its header is damaged'
	else
		damaged 'damaged: its end is missing'
	fi
done
{ cat dressed && printf x; } >x
damaged 'damaged at byte 3000001'
{ cat dressed dressed; } >x
damaged 'damaged at byte 3000001'
for at in 12 16 40 60 90 120; do
	cp dressed x && patch x $at ee
	damaged 'its header is damaged'
done
for at in 130 137 140 150 500 70000 2000000 $((size - 1)) $((size - 30)); do
	cp dressed x
	patch x $at "$(printf %02x $((0x$(od -An -tx1 -j$at -N1 x | tr -d ' ') ^ 1)))"
	damaged 'damaged'
done
{ # the second and the third chunk, swapped
	head -c 65936 dressed
	tail -c +$((65936 + 65808 + 1)) dressed | head -c 65808
	tail -c +$((65936 + 1)) dressed | head -c 65808
	tail -c +$((65936 + 2 * 65808 + 1)) dressed
} >x
damaged 'damaged at byte'
cp dressed x && patch x 8 02
says 2 'made by a newer cryptfs' "$decrypt x no"
nothing no

# ---- a pipe gets no byte of a file that is damaged in its first piece
cp dressed x && patch x 500000 ee && patch x 500001 ee
says 5 damaged "$decrypt x -"
[ ! -s out ] || fail "bytes of a damaged piece were passed on"

# ---- holes
truncate -s 100G sparse
printf middle | dd of=sparse bs=1 seek=50000000001 conv=notrunc status=none
says 0 - "$encrypt sparse sparse.enc"
[ "$(stat -c %s sparse.enc)" -lt 10000 ] || fail "holes were stored: $(stat -c %s sparse.enc)"
says 0 - "$decrypt sparse.enc sparse.back"
[ "$(stat -c %s sparse.back)" = "$(stat -c %s sparse)" ] || fail "the size of a sparse file"
[ "$(stat -c %b sparse.back)" -le 64 ] || fail "holes were filled: $(stat -c %b sparse.back)"
[ "$(dd if=sparse.back bs=1 skip=50000000001 count=6 status=none)" = middle ] || fail "sparse bytes"
rm sparse sparse.back
truncate -s 5M sparse
says 0 - "$encrypt sparse hole.enc"
# shellcheck disable=SC2086
"$CRYPTFS" $decrypt hole.enc - | cmp - sparse || fail "a hole into a pipe"

# ---- xor: CryptStream's bytes
xor='encrypt --cipher xor --key'
says 0 'xor is not encryption: it protects nothing' "$xor Key plain plain.xor"
says 0 'xor is not encryption' "decrypt --cipher xor --key Key plain.xor plain.unxor"
same plain plain.unxor
head -c 70000 plain >short
says 0 xor "$xor Key short short.xor"
/usr/bin/python3 -B "$READER" --xor Key short short.py
[ $? = 77 ] || same short.xor short.py
printf 'AAAAAAA' >as
says 0 xor "$xor ab as as.xor"
[ "$(od -An -tx1 as.xor)" = " 20 23 20 23 20 23 20" ] || fail "xor's bytes: $(od -An -tx1 as.xor)"
printf ab >key
says 0 xor "encrypt --cipher xor --keyfile key as as.xor2"
same as.xor as.xor2
[ "$(stat -c '%a %y' plain.xor)" = "$(stat -c '%a %y' plain)" ] || fail "xor loses mode or time"
# shellcheck disable=SC2086
"$CRYPTFS" $xor Key - - <plain 2>err | cmp - plain.xor || fail "xor by way of pipes"

# ---- the command line
says 1 'too few operands' "$encrypt plain"
says 1 '--key is for --cipher xor only' 'encrypt --key K plain no'
says 1 '--cipher xor takes --key or --keyfile' 'encrypt --cipher xor plain no'
says 1 '--cipher xor takes --key or --keyfile' 'encrypt --cipher xor --passfile secret plain no'
says 1 '--key: it is empty' 'encrypt --cipher xor --key= plain no'
says 1 'unknown cipher rot13' 'encrypt --cipher rot13 plain no'
says 1 '--cipher: what was encrypted says so itself' "$decrypt --cipher aes-256-gcm dressed no"
says 1 'both the passphrase and the input' 'encrypt --passfile - - no'
says 1 '--processes 65: not a number from 0 to 64' "$encrypt --processes 65 plain no"
says 1 '--jobs 0: not a number from 1 to 64' "$encrypt --jobs 0 plain no"
says 2 'no passphrase from nowhere' 'encrypt --passfile nowhere plain no'
says 4 'no passphrase from empty: it is empty' 'encrypt --passfile empty plain no'
nothing no

exit $((failures != 0))
