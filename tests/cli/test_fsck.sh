#!/bin/bash
# cryptfs fsck without a mount: a golden vault, broken in one way after the
# other.  Each time the finding is there, and no other; what can be repaired
# is, and what cannot is not touched.
set -u
: "${CRYPTFS:?the path of the cryptfs command}" "${VECTORS:?the folder of the golden vaults}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_fsck.XXXXXX") || exit 1
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
echo 'correct horse battery staple' >secret
chmod 600 secret

fail() {
	echo "FAILED: ${case-}: $*" >&2
	failures=$((failures + 1))
}

# fsck STATUS [OPTIONS...]: of $vault, with what it found in ./out.
fsck() {
	local expected=$1 status=0
	shift
	"$CRYPTFS" fsck --json --passfile secret "$@" </dev/null >out 2>err || status=$?
	[ "$status" = "$expected" ] || fail "fsck $*: exit $status, not $expected: $(cat err out)"
}

# found N: so many findings.
found() {
	local n
	n=$(grep -c '"kind":' out)
	[ "$n" = "$1" ] || fail "$n findings, not $1: $(cat out)"
}

# has KIND STORED [START END] [OUTCOME]: one of the findings.
has() {
	local line
	line=$(grep -F "\"kind\":\"$1\"" out | grep -F "\"stored\":\"$2\"") || {
		fail "no $1 of $2 in: $(cat out)"
		return
	}
	[ -z "${3-}" ] || grep -q "\"start\":$3,\"end\":$4[,}]" <<<"$line" || fail "not bytes $3 to $4: $line"
	[ -z "${5-}" ] || grep -qF "\"outcome\":\"$5\"" <<<"$line" || fail "not $5: $line"
}

state() { # everything of the vault that can be seen but times
	(cd vault && find . -type f -exec sha256sum {} + -o -printf '%y %p %l\n' | LC_ALL=C sort)
}

# A vault as it was made, to be broken.
begin() {
	case=$1
	rm -rf vault
	cp -a "${2-golden}" vault
}

# Not repairable: says so, with nothing changed, with --repair too.
stays() { # N-FINDINGS
	local before
	before=$(state)
	fsck 8 --repair vault
	found "$1"
	[ "$before" = "$(state)" ] || fail "something was changed: $(diff <(echo "$before") <(state))"
}

# Repairable: status without --repair, then repaired, then nothing.
repaired() { # STATUS N-FINDINGS
	fsck "$1" vault
	found "$2"
	cp out told
	fsck 0 --repair vault
	found "$2"
	! grep -qv '"outcome":"repaired"' <(grep '"kind":' out) || fail "not all repaired: $(cat out)"
	fsck 0 vault
	found 0
	cp told out
}

by_size() { # BYTES: the stored file of this size, as tree/...
	(cd vault && find tree -type f -size "${1}c" ! -name '.*')
}

flip() { # FILE OFFSET: change one bit
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "vault/$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="vault/$1" bs=1 seek="$2" conv=notrunc status=none
}

unpack() { # CIPHER
	rm -rf vault golden
	tar --xattrs --xattrs-include='user.*' -xJf "$VECTORS/golden-$1.tar.xz"
	mv vault golden
}

# ---- whole vaults

looks='%n %F %s %y %z'
[ "$(id -u)" != 0 ] || looks="$looks %x" # others cannot keep that of a symlink from moving
for cipher in chacha20-poly1305 xor aes-256-gcm; do
	unpack $cipher
	begin "whole $cipher"
	find vault -print0 >names
	xargs -0 touch -h -a -d 2001-01-01 <names # what is looked at now would move
	xargs -0 stat -c "$looks" <names >before
	fsck 0 vault
	found 0
	xargs -0 stat -c "$looks" <names | diff before - || fail "not the same as before"
	python3 -m json.tool <out >/dev/null || fail "no JSON: $(cat out)"
	grep -q '"directories":4,"symlinks":3' out || fail "wrong counts: $(cat out)"
	xargs -0 stat -c '%n %F %s %y %z' <names >before
	fsck 0 --repair vault
	found 0
	xargs -0 stat -c '%n %F %s %y %z' <names | diff before - || fail "repair changed it"
done
attributes=true
setfattr -n user.probe -v 1 golden 2>/dev/null && setfattr -x user.probe golden || attributes=false

case=usage
fsck 1
fsck 1 vault a b
fsck 1 --repair --salvage copy vault
fsck 1 --progress=xml vault
fsck 1 --workers 1000 vault
fsck 3 nowhere
echo wrong >wrong && chmod 600 wrong
fsck 4 --passfile wrong vault
fsck 2 vault no/such/file
flock vault/tree "$CRYPTFS" fsck --passfile secret vault >out 2>err
[ $? = 6 ] || fail "a vault in use: $(cat err)"
flock -s vault/tree "$CRYPTFS" fsck --passfile secret vault >out 2>err || fail "beside a reader: $(cat err)"
flock -s vault/tree "$CRYPTFS" fsck --repair --passfile secret vault >out 2>err
[ $? = 6 ] || fail "repair beside a reader: $(cat err)"
"$CRYPTFS" fsck --passfile secret --workers 0 --progress vault >out 2>err || fail "fsck: $(cat err)"
grep -qx '14 files, 4 directories, 3 symlinks, 0 special files, [0-9]* bytes, 0 damaged, 0 repaired, 0 left over' out ||
	fail "the summary is: $(cat out)"
grep -q '^14 files, .*100%' err || fail "no progress: $(cat err)"
"$CRYPTFS" fsck --passfile secret --progress=json vault >out 2>err || fail "fsck: $(cat err)"
tail -n 1 err | python3 -m json.tool >/dev/null || fail "progress is no JSON: $(cat err)"
"$CRYPTFS" fsck --passfile secret vault >out 2>err || fail "fsck: $(cat err)"
[ ! -s err ] || fail "progress in a pipe: $(cat err)"
"$CRYPTFS" fsck --extpass 'kill -USR1 $PPID && head -n 1 secret' vault >out 2>err || fail "fsck: $(cat err)"
grep -q '^[0-9]* files, ' err || fail "SIGUSR1: $(cat err)"
"$CRYPTFS" fsck --extpass 'kill -INT $PPID && head -n 1 secret' vault >out 2>err
[ $? = 130 ] || fail "SIGINT: $(cat err)"

# ---- configuration

begin 'no second configuration'
rm vault/cryptfs.conf.bak
repaired 0 1
has config-missing cryptfs.conf.bak
begin 'no first configuration'
rm vault/cryptfs.conf
repaired 0 1
has config-missing cryptfs.conf
begin 'a changed configuration'
sed -i 's/"created":[ ]*1/&1/' vault/cryptfs.conf
repaired 8 1
has config-damaged cryptfs.conf
begin 'configuration of another time'
"$CRYPTFS" passwd --passfile secret --new-passfile wrong --kdf-memory 64 --kdf-operations 3 vault >/dev/null
cp golden/cryptfs.conf vault/cryptfs.conf.bak
mv secret right && mv wrong secret
repaired 0 1
has config-other cryptfs.conf.bak
mv secret wrong && mv right secret
begin 'half a configuration'
touch vault/cryptfs.conf.tmp
repaired 0 1
has temporary cryptfs.conf.tmp
begin 'no configuration'
echo '{}' | tee vault/cryptfs.conf >vault/cryptfs.conf.bak
fsck 5 vault

# ---- content; 196613 bytes are 48 blocks, a tag page and 5 bytes

begin 'one block'
big=$(by_size 204805)
flip "$big" $((4096 * 3 + 100))
stays 1
has forged "$big" 8192 12288
grep -q '"path":"size-196613"' out || fail "wrong path: $(cat out)"
begin 'some blocks'
flip "$big" $((4096 * 3))
flip "$big" $((4096 * 4 + 4095))
flip "$big" $((4096 * 50))
stays 2
has forged "$big" 8192 16384
has forged "$big" 196608 196613
"$CRYPTFS" fsck --passfile secret vault >out 2>err
grep -qx 'damaged   size-196613: bytes 8192-16383: does not authenticate' out || fail "it says: $(cat out)"
begin 'a tag'
dd if=/dev/zero of="vault/$big" bs=64 seek=$((1024 / 64 + 3)) count=1 conv=notrunc status=none
stays 1
has forged "$big" 12288 16384
begin 'a page of tags'
dd if=/dev/zero of="vault/$big" bs=1 seek=1024 count=3072 conv=notrunc status=none
stays 1
has forged "$big" 0 196608
begin 'small content'
small=$(by_size 4095)
flip "$small" 2000
stays 1
has forged "$small" 0 3071
begin 'a block of a sparse file'
sparse=$(cd vault && find tree -type f -size +880k)
flip "$sparse" $(($(stat -c %s "vault/$sparse") - 1))
stays 1

# ---- headers and sizes

for slot in 0 512; do
	begin "header slot at $slot"
	flip "$big" $((slot + 80))
	fsck 8 vault
	has header-slot "$big"
	fsck 0 --repair vault
	fsck 0 vault
	found 0
done
begin 'both headers'
flip "$big" 80
flip "$big" 592
stays 1
has header "$big"
begin 'headers of two files'
dd if="vault/$(by_size 4095)" of="vault/$big" bs=512 count=1 conv=notrunc status=none
stays 1
has header "$big"
begin 'cut'
truncate -s 100000 "vault/$big"
stays 2
has cut "$big" 95904 196613
has forged "$big" 94208 95904
begin 'cut into the header page'
truncate -s 2000 "vault/$big"
stays 1
has cut "$big" 0 196613
begin 'longer by a block'
truncate -s +4096 "vault/$big"
stays 1
has extended "$big"
begin 'small and longer'
truncate -s +1000 "vault/$(by_size 1025)"
stays 1
has extended "$(by_size 2025)"
begin 'small and much longer'
truncate -s 10000 "vault/$(by_size 1025)"
stays 1
has extended "$(by_size 10000)"
begin 'small and cut'
truncate -s -1 "vault/$small"
stays 1
has forged "$small" 0 3071
begin 'cut to nothing'
truncate -s 0 "vault/$big"
repaired 8 1
has empty-file "$big"
[ ! -e "vault/$big" ] || fail "it is still there"
begin 'cut to a part of a header'
truncate -s 700 "vault/$big"
stays 1
has header "$big"

# ---- names and places

begin 'another name'
name=tree/$(basename "$big" | tr 'A-Za-z' 'B-ZAb-za')
mv "vault/$big" "vault/$name"
stays 1
has name "$name"
begin 'not ours'
echo hello >vault/tree/hello.txt
stays 2
has name tree/hello.txt
begin 'swapped'
mv "vault/$big" x
mv "vault/$small" "vault/$big"
mv x "vault/$small"
stays 2
has misplaced "$big"
has misplaced "$small"
long=$(cd vault && find tree -type f -name 'long.*' ! -name '*.name')
long_dir=$(cd vault && find tree -type d -name 'long.*')
begin 'the rest of a long name'
rm "vault/$long"
repaired 0 1
has name-left "$long.name"
begin 'no rest of a long name'
rm "vault/$long.name"
stays 1
has name "$long"
begin 'the rest of a long name that may be wanted'
mv "vault/$long" "vault/$long.x"
fsck 8 --repair vault
found 2
has name "$long.x"
has name-left "$long.name" '' '' stays
[ -e "vault/$long.name" ] || fail "it was removed"
begin 'one of two'
linked=$(by_size 1031 | head -n 1)
cp -a "vault/$linked" x
mv x "vault/$linked"
stays 1
grep -q '"kind":"duplicate"' out || fail "it was: $(cat out)"
begin 'links out of the vault'
cp -al vault vault2
fsck 0 vault
found 0
rm -rf vault2
begin 'something else'
rm "vault/$big"
mkfifo "vault/$big"
stays 1
has special "$big"

# ---- directories

begin 'no record file'
dir=$(cd vault && find tree -mindepth 1 -maxdepth 1 -type d)
rm "vault/$dir/.cryptfs-dir"
if $attributes; then
	repaired 0 1
	has record-missing "$dir"
	begin 'no record attribute'
	setfattr -x user.cryptfs.dir "vault/$dir"
	repaired 0 1
	has record-missing "$dir"
	begin 'a changed record'
	flip "$dir/.cryptfs-dir" 30
	repaired 8 1
	has record-damaged "$dir"
	begin 'a changed record attribute'
	setfattr -n user.cryptfs.dir -v 0123 "vault/$dir"
	repaired 8 1
	has record-damaged "$dir"
	begin 'records of two directories'
	cp "vault/$dir/.cryptfs-dir" vault/tree/.cryptfs-dir
	fsck 8 vault
	has record-conflict tree
	begin 'an attribute'
	coloured=$(by_size 9097)
	owner=$(cd vault && getfattr -R -m 'user.cryptfs' tree 2>/dev/null | grep -v 'cryptfs.dir' |
		awk '/^# file/ { f = $3 } /^user/ { print f, $1 }' | grep "$coloured")
	read -r file attr <<<"$owner"
	value=$(getfattr --only-values -n "$attr" "vault/$file" | od -An -v -tx1 | tr -d ' \n')
	setfattr -n "$attr" -v "0x${value%??}00" "vault/$file"
	stays 1
	has xattr-value "$file"
	grep -q '"detail":"user.colour"' out || fail "it was: $(cat out)"
	begin 'the name of an attribute'
	setfattr -n "${attr%?}A" -v 1 "vault/$file"
	stays 1
	has xattr-name "$file"
	begin 'attributes that are not ours'
	setfattr -n user.backup -v 1 "vault/$file"
	fsck 0 vault
	found 0
fi
begin 'no record at all'
rm "vault/$dir/.cryptfs-dir"
! $attributes || setfattr -x user.cryptfs.dir "vault/$dir"
stays 1
has record-lost "$dir"
begin 'directories swapped'
mv "vault/$long_dir" x
mv "vault/$dir/$(basename "$(find "vault/$dir" -mindepth 1 -maxdepth 1 -type d ! -name 'long.*')")" "vault/$long_dir"
fsck 8 vault
has misplaced "$long_dir"
rm -rf x
begin 'an empty directory without its record'
rm "vault/$long_dir/.cryptfs-dir"
if $attributes; then
	setfattr -x user.cryptfs.dir "vault/$long_dir"
	stays 1
	has record-lost "$long_dir"
else
	repaired 0 1
	has unfinished-directory "$long_dir"
fi

# ---- links, and what lies around

begin 'a symlink'
link=$(cd vault && find tree -maxdepth 1 -type l ! -lname @)
target=$(readlink "vault/$link")
ln -sfn "A${target:1:-1}A" "vault/$link"
stays 1
has symlink "$link"
far=$(cd vault && find tree -maxdepth 1 -type l -lname @)
side=$(cd vault && find tree -maxdepth 1 -name 'link.*')
begin 'no target'
rm "vault/$side"
stays 1
has symlink "$far"
begin 'a target that is left'
rm "vault/$far"
repaired 0 1
has target-left "$side"
begin 'a marker that is left'
cp "vault/$side" "vault/tree/node.${side#*link.}"
repaired 0 1
has marker-left "tree/node.${side#*link.}"
begin 'temporary files'
touch "vault/$dir/.cryptfs-tmp.1234"
ln -s x vault/tree/.cryptfs-tmp.5678
cp -a "vault/$long_dir" vault/tree/.cryptfs-tmp.9abc
repaired 0 3
has temporary tree/.cryptfs-tmp.9abc
has temporary "$dir/.cryptfs-tmp.1234"
has temporary tree/.cryptfs-tmp.5678

begin 'a temporary directory with something in it'
cp -a "vault/$dir" vault/tree/.cryptfs-tmp.9abc
fsck 2 --repair vault
found 1
has temporary tree/.cryptfs-tmp.9abc '' '' failed
[ "$(find vault/tree/.cryptfs-tmp.9abc | wc -l)" = "$(find "vault/$dir" | wc -l)" ] || fail "what was in it is gone"

# ---- a part of it

begin 'a part'
flip "$big" 9000
touch "vault/$dir/.cryptfs-tmp.1234"
fsck 0 vault dir
found 1
fsck 0 vault /dir/linked
grep -q '"files":1,' out || fail "wrong counts: $(cat out)"
fsck 0 vault size-1
fsck 8 vault ./size-196613
found 1

# ---- copying out

copy_is() { # DIR CIPHER: what was put into the golden vault, but for one block
	"$VECTORS/list_tree.py" "$1" >shown
	if $attributes; then cat "$VECTORS/golden-$2.txt"; else awk '{ $5 = "-"; print }' "$VECTORS/golden-$2.txt"; fi |
		diff - shown >differences
}

if python3 -c 'import os; os.listxattr' 2>/dev/null; then
	for cipher in chacha20-poly1305 xor aes-256-gcm; do
		unpack $cipher
		begin "copy of $cipher"
		before=$(state)
		fsck 0 --salvage copy vault
		copy_is copy $cipher || fail "the copy is different: $(cat differences)"
		[ "$before" = "$(state)" ] || fail "the vault was changed"
		[ "$(stat -c %i copy/linked)" = "$(stat -c %i copy/dir/linked)" ] || fail "two files of one"
		[ "$cipher" = xor ] || [ $(($(stat -c %b copy/sparse) * 512)) -lt 200000 ] || fail "sparse is not"
		fsck 2 --salvage copy vault
		grep -q 'not empty' err || fail "into a full one: $(cat err)"
		mv copy "whole-$cipher"
	done
	begin 'copy into the vault'
	fsck 2 --salvage vault/tree/copy vault
	fsck 2 --salvage vault vault
	[ ! -e vault/tree/copy ] || fail "it was made"
	begin 'copy of a damaged vault'
	flip "$big" $((4096 * 3))
	truncate -s 3000 "vault/$(by_size 4095)"
	mv "vault/$(by_size 8192)" vault/tree/QUJD
	fsck 8 --salvage copy vault
	cp whole-aes-256-gcm/size-196613 x
	dd if=/dev/zero of=x bs=4096 seek=2 count=1 conv=notrunc status=none
	cmp x copy/size-196613 || fail "not a block of zeros"
	cmp <(head -c 3071 /dev/zero) copy/size-3071 || fail "not only zeros"
	[ ! -e copy/size-4096 ] || fail "the name that it had"
	cmp whole-aes-256-gcm/size-4096 copy/cryptfs-damaged-QUJD || fail "without a name"
	rm -r copy
	begin 'copy of a directory without its record'
	rm "vault/$dir/.cryptfs-dir"
	! $attributes || setfattr -x user.cryptfs.dir "vault/$dir"
	fsck 8 --salvage copy vault
	[ "$(find copy/dir -type f | wc -l)" = 3 ] || fail "not all its files: $(find copy/dir)"
	[ "$(find copy/dir -mindepth 2 -name moved)" ] || fail "nothing below it: $(find copy/dir)"
	rm -r copy
	begin 'copy of a part'
	fsck 0 --salvage copy vault dir/below
	[ "$(cd copy && find . | sort | tr '\n' ' ')" = '. ./dir ./dir/below ./dir/below/moved ' ] ||
		fail "it is: $(find copy)"
fi

exit $((failures != 0))
