#!/bin/bash
# cryptfs import, export, ls, cat and verify: vaults without a mount.  What comes out of a vault
# is what went in, nothing is left half, and several imports fill one vault.
set -u
: "${CRYPTFS:?the path of the cryptfs command}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_import.XXXXXX") || exit 1
started=()
# shellcheck disable=SC2317 # is reached, by the trap
clean() {
	exec 7>&- 8>&-
	[ ${#started[@]} = 0 ] || kill -9 "${started[@]}" 2>/dev/null
	wait
	gone "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
failures=0
umask 022

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# run STATUS COMMAND...: what it shows is in shown, what it says in said
run() {
	local status=0 expected=$1
	shift
	timeout 100 "$CRYPTFS" "$@" </dev/null >shown 2>said || status=$?
	[ "$status" = "$expected" ] || fail "'$*': exit $status, not $expected: $(cat said)"
}

says() { # WORDS: they are on a line of said
	grep -qF -- "$1" said || fail "no '$1' in: $(cat said)"
}

shows() { # WORDS: they are on a line of shown
	grep -qF -- "$1" shown || fail "no '$1' in: $(cat shown)"
}

quiet() {
	[ ! -s said ] || fail "said: $(cat said)"
}

gone() { # DIR...: also with modes that keep their owner out
	chmod -R u+rwX "$@" 2>/dev/null
	rm -rf "$@"
}

new_vault() { # NAME [OPTIONS]
	local name=$1
	shift
	gone "$name"
	run 0 init --passfile pass --kdf-memory 64 --kdf-operations 3 "$@" "$name"
}

sound() { # VAULT: a check finds nothing, and nothing is left over
	run 0 fsck --passfile pass "$1"
	shows '0 damaged, 0 repaired, 0 left over'
}

# tidy VAULT: nothing but names that a killed one had not given yet
tidy() {
	run 0 fsck --passfile pass "$1"
	! grep -v '^leftover .*was left by an interrupted operation$\|^[0-9]* files,' shown ||
		fail "left behind: $(head -3 shown)"
}

# All that a tree is: names, types, modes, owners, times, link counts, targets, devices, attributes,
# ACLs, how much of it is no hole, and content.
listing() { # DIR
	python3 - "$1" <<'END'
import hashlib, os, stat, sys
top, groups = sys.argv[1], {}
paths = []
for at, dirs, files in os.walk(top):
    paths += [at] + [os.path.join(at, n) for n in files]
    paths += [os.path.join(at, n) for n in dirs if os.path.islink(os.path.join(at, n))]
for path in sorted(paths):
    st = os.lstat(path)
    name = os.path.relpath(path, top)
    line = [ascii(name), oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns]
    if not stat.S_ISDIR(st.st_mode):
        line += [st.st_nlink, st.st_size, st.st_rdev]
        # names of one file are a group, called after the first of them
        line.append(ascii(groups.setdefault(st.st_ino, name)))
    if stat.S_ISLNK(st.st_mode):
        line.append(ascii(os.readlink(path)))
    else:
        line += [(a, os.getxattr(path, a)) for a in sorted(os.listxattr(path))]
    if stat.S_ISREG(st.st_mode):
        line.append(hashlib.sha256(open(path, 'rb').read()).hexdigest())
        line.append('sparse' if st.st_blocks * 512 < st.st_size * 3 / 4 else 'dense')
    print(*line)
END
}

same_trees() { # DIR DIR
	listing "$1" >a.txt && listing "$2" >b.txt && [ -s a.txt ] || fail "cannot list $1 and $2"
	cmp -s a.txt b.txt || fail "$1 and $2 differ: $(diff a.txt b.txt | cut -c 1-300 | head -6)"
}

echo secret >pass
chmod 600 pass

# ---- a tree with everything in it
long=$(printf 'n%.0s' {1..250})
mkdir -p tree/sub/deep tree/empty "tree/sub/$long" 'tree/ odd
name'
head -c 3000001 /dev/urandom >tree/big
: >tree/nothing
echo one >tree/small
chmod 4711 tree/small
ln tree/small tree/sub/hard
ln tree/small tree/zz
ln -s ../small tree/sub/link
ln -s "/no/$(printf 'x%.0s' {1..900})" tree/longlink
mkfifo -m 640 tree/fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("tree/sock")'
truncate -s 40M tree/sparse
head -c 1000000 /dev/urandom | dd of=tree/sparse bs=4096 seek=3000 conv=notrunc status=none
truncate -s 10M tree/hole
echo long >"tree/$long"
echo longer >"tree/sub/$long/$long"
echo odd >"$(printf 'tree/ odd\nname/\\\33[1m\377')"
for i in {1..150}; do
	head -c $((i * 97)) /dev/urandom >"tree/sub/deep/file $i"
done
setfattr -n user.color -v blue tree/big
setfattr -n user.empty tree/big
setfattr -n user.large -v "$(printf 'v%.0s' {1..3000})" tree/sub
setfattr -n user.of_a_file_one_cannot_write -v yes tree/nothing
setfacl -m u:1:rw,g:2:r tree/big
setfacl -d -m u:1:rwx tree/sub
chmod 0400 tree/nothing
chmod 0444 tree/hole
chmod 1777 tree/empty
if [ "$(id -u)" = 0 ]; then
	mknod tree/device c 1 3
	chown 12:34 tree/small tree/sub/deep
	chown -h 12:34 tree/longlink
	chmod 6711 tree/small
	setfattr -n trusted.of_root -v yes tree/big
fi
chmod 2750 tree/sub/deep
touch -hd '2001-02-03 04:05:06.123456789' tree/big tree/sub/link tree/fifo
touch -d '2011-02-03 04:05:06.000000001' tree/sub/deep tree/sub tree/empty tree
chmod 0555 tree/sub
listing tree >tree.txt

# ---- there and back
new_vault vault
run 0 import --passfile pass tree/ vault
quiet
sound vault
run 0 export --passfile pass vault out
quiet
same_trees tree out
run 0 verify --passfile pass --against tree vault
shows ', 0 damaged, 0 different (content compared)'
run 0 verify --passfile pass --metadata --against tree vault
shows ', 0 damaged, 0 different (content, owners, modes, times and attributes compared)'
listing tree | cmp -s - tree.txt || fail 'importing changed the source'

# ---- other ciphers, without workers, and a directory under its name in a new one
for cipher in chacha20-poly1305 xor; do
	new_vault other --cipher "$cipher"
	run 0 import --passfile pass --workers 0 tree other:in/a/place
	run 0 export --passfile pass --workers 0 other:in/a/place/tree out2
	[ "$cipher" = xor ] || same_trees tree out2
	diff -r --no-dereference tree out2 2>&1 | grep -v '^File .* is a ' && fail "$cipher: differs"
	gone out2
done

# ---- ls and cat
run 0 ls --passfile pass vault:sub
printf '%s\n' deep hard link "$long" | sort | cmp -s - shown || fail "ls shows: $(cat shown)"
run 0 ls --passfile pass -lR vault
shows 'longlink -> /no/xxx'
shows 'sub/deep:'
grep -q "^-r--------   1 $(id -un) *$(id -gn) " shown || fail "ls -l has no names of owners: $(cat shown)"
grep -Eq '^-r--------   1 .* 0 [0-9-]{10} [0-9:]{5} nothing$' shown || fail "ls -l shows: $(cat shown)"
run 0 ls --passfile pass --json -aR vault
python3 - <<'END' || fail 'ls --json is wrong'
import json, os
entries = {e['path']: e for e in json.load(open('shown'))}
assert sum(len(d) + len(f) for _, d, f in os.walk(b'tree')) == len(entries)
for path in 'big', 'sub/link', 'sub/deep/file 7', 'small', 'empty':
    st, e = os.lstat('tree/' + path), entries[path]
    assert e['mode'] == '%04o' % (st.st_mode & 0o7777) and e['links'] == st.st_nlink, path
    assert e['mtime'] * 10**9 + e['mtime_ns'] == st.st_mtime_ns and e['uid'] == st.st_uid, path
    assert os.path.isdir('tree/' + path) or e['size'] == st.st_size, path
assert entries['sub/link']['target'] == '../small' and entries['sub/link']['type'] == 'symlink'
END
run 0 cat --passfile pass vault:big vault:/sub//./hard
cat tree/big tree/small | cmp -s - shown || fail 'cat shows something else'
run 2 cat --passfile pass vault:no/such vault:small
says 'cannot read no/such: No such file or directory'
[ "$(cat shown)" = one ] || fail 'cat stopped at what is not there'
run 2 cat --passfile pass vault:sub
run 1 cat --passfile pass vault:sub/../small
says 'cannot have ..'
run 2 ls --passfile pass vault:no
run 2 export --passfile pass vault:no out3
[ ! -e out3 ] || fail 'made a destination for nothing'

# ---- one file, into a directory and as another name
mkdir files
run 0 export --passfile pass vault:sub/hard files
run 0 export --passfile pass vault:sub/hard files/named
cmp -s tree/small files/hard && cmp -s tree/small files/named || fail 'single files differ'

# ---- what is there is left alone
run 1 import --passfile pass tree/big vault
says 'tree/big: it is there already'
run 1 export --passfile pass vault out
says 'big: it is there already'
run 0 import --passfile pass --resume tree/ vault
quiet
run 0 export --passfile pass --resume vault out
quiet
same_trees tree out
sound vault

# ---- unless it is to be replaced
chmod u+w tree/sub
echo changed >tree/sub/link2
rm tree/sub/hard tree/longlink
ln tree/sub/link2 tree/sub/hard
ln -s elsewhere tree/longlink
echo 'something else' >tree/small
run 1 import --passfile pass --resume tree/ vault
says 'small: it is there already'
run 0 import --passfile pass --force tree/ vault
quiet
gone out
run 0 export --passfile pass vault out
same_trees tree out
run 0 verify --passfile pass --quiet --against tree vault
[ ! -s shown ] || fail "verify --quiet: $(cat shown)"
sound vault
run 2 import --passfile pass --force tree/big vault:sub/link
says 'Not a directory'
rm -rf dir && mkdir -p dir/big
echo x >dir/big/x
run 2 import --passfile pass --force dir/ vault
says 'dir/big: Not a directory'
rm -rf dir && mkdir dir && echo x >dir/sub
run 2 import --passfile pass --force dir/ vault
says 'dir/sub: a directory is in its place'

# ---- which ones
new_vault some
run 0 import --passfile pass --include 'file ?' --exclude 'file 3' tree some:
run 0 ls --passfile pass some:tree/sub/deep
printf 'file %s\n' 1 2 4 5 6 7 8 9 | cmp -s - shown || fail "patterns let in: $(cat shown)"
find tree/sub/deep -name 'file 1?' -print0 >list
run 0 import --passfile pass --files-from list -0 some:listed
run 0 ls --passfile pass some:listed/tree/sub/deep
[ "$(wc -l <shown)" = 10 ] || fail "the list gave: $(cat shown)"
echo ../tree/small >list
run 2 import --passfile pass --files-from list some
says 'it leads out of the destination by ..'
run 0 export --passfile pass --exclude deep some:tree out3
[ -e out3/sub ] && [ ! -e out3/sub/deep ] || fail 'export does not know --exclude'
sound some

# ---- what fails does not stop the others
new_vault failing
mkdir failing/unreadable && run 3 import --passfile pass tree/small failing/unreadable
rmdir failing/unreadable
run 2 import --passfile pass no/such tree/small failing
says 'cannot import no/such: No such file or directory'
run 0 cat --passfile pass failing:small
run 4 import --passfile /dev/null tree/small failing
run 1 import --passfile pass tree/small
run 1 import --passfile pass --shard 3/2 tree failing
run 1 import --passfile pass --shard 1/2 --force tree failing
run 1 export --passfile pass failing failing/tree/x
says 'it is in the vault'

# ---- a vault in a source is not imported into itself
mkdir home && echo x >home/x
new_vault home/vault
run 0 import --passfile pass home/ home/vault
run 0 ls --passfile pass -R home/vault
[ "$(cat shown)" = x ] || fail "imported into itself: $(cat shown)"

# ---- damage: told, nothing half, and the others are there
damaged=$(find vault/tree -type f -size +2000k -printf '%s %p\n' | sort -n | sed -n '1s/^[0-9]* //p')
printf 'damage' | dd of="$damaged" bs=1 seek=2000000 conv=notrunc status=none
run 8 verify --passfile pass vault
shows 'damaged   big: from byte 1048576 on'
gone out3
run 5 export --passfile pass vault out3
says 'cannot export big: it is damaged'
[ ! -e out3/big ] && cmp -s out3/small tree/small || fail 'export of a damaged vault'
run 5 cat --passfile pass vault:big
cmp -s -n "$(wc -c <shown)" shown tree/big || fail 'cat wrote what is not there'
run 8 verify --passfile pass --against tree vault:big
run 0 import --passfile pass --force tree/big vault # over what is damaged
sound vault
chmod 600 out3/nothing
echo y >>out3/nothing
printf 'Z' | dd of=out3/sub/deep/'file 9' bs=1 seek=11 conv=notrunc status=none
rm out3/sub/link && mkdir out3/more
run 8 verify --passfile pass --against out3 vault
shows 'differs   nothing: another size'
shows 'differs   sub/deep/file 9: from byte 11 on'
shows 'missing   sub/link: not in out3'
shows 'missing   big: not in out3'
shows 'extra     more: only in out3'
run 8 verify --passfile pass --metadata --against out3 vault
shows 'differs   nothing: another mode'
shows 'differs   sub/deep/file 9: another modification time'
shows 'extra     more: only in out3'
if [ "$(id -u)" = 0 ]; then
	chown -h 77:78 out3/longlink
	setfattr -x trusted.of_root out3/big 2>/dev/null
fi
setfattr -n user.more -v x out3/zz
setfattr -n user.large -v other out3/sub
setfattr -x user.of_a_file_one_cannot_write out3/nothing
setfacl -m u:9:r out3/hole
run 8 verify --passfile pass --metadata --against out3 vault
shows 'differs   zz: attribute user.more: another value, or only one has it'
shows 'differs   sub: attribute user.large: another value'
shows 'differs   nothing: attribute user.of_a_file_one_cannot_write: another value'
shows 'differs   hole: attribute system.posix_acl_access: another value'
[ "$(id -u)" != 0 ] || shows 'differs   longlink: another owner or group'
run 8 verify --passfile pass --against out3 vault
! grep -q attribute shown || fail 'attributes are compared without --metadata'

# ---- progress
run 0 export --passfile pass --progress json vault out4
python3 -c 'import json, sys
last = [json.loads(l) for l in open("said")][-1]
assert last["bytes"] > 3000000 and last["files"] > 150, last' || fail "progress: $(cat said)"
gone out4
run 0 export --passfile pass --quiet vault out4
quiet

# ---- killed in the middle: what is there is whole, and another run completes it
mkdir many
for d in {1..30}; do
	mkdir "many/$d"
	for i in {1..30}; do
		head -c 3000 /dev/urandom >"many/$d/$i"
	done
done
ln many/1/1 many/30/other
ln many/1/1 many/15/other
head -c 30000000 /dev/urandom >many/7/big
touch -d '2012-03-04 05:06:07.890' many/*/*

n_stored() {
	find "$1"/tree -type f 2>/dev/null | wc -l
}

# kill_import NAME AT [OPTION...]: into the new vault NAME, once AT files are there
kill_import() {
	local name=$1 at=$2
	shift 2
	"$CRYPTFS" import --passfile pass --quiet "$@" many/ "$name" 2>>killed.err &
	local pid=$!
	started+=("$pid")
	until [ "$(n_stored "$name")" -ge "$at" ]; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.01
	done
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	[ $? = 137 ]
}

killed=0
for at in 40 600; do
	new_vault killed
	kill_import killed "$at" && killed=$((killed + 1))
	run 0 fsck --passfile pass killed
	shows ' 0 damaged'
	run 0 verify --passfile pass killed
	gone out5
	run 0 export --passfile pass killed out5
	# whatever has its name is complete
	(cd out5 && find . -type f -exec cmp -s {} ../many/{} \; -o -type f -print) >half
	[ ! -s half ] || fail "half: $(head -3 half)"
	run 0 import --passfile pass --resume many/ killed
	gone out5
	run 0 export --passfile pass killed out5
	same_trees many out5
	tidy killed
done
[ "$killed" -gt 0 ] || fail 'no import lived long enough to be killed'

# ---- interrupted: ends by the signal, with the vault in order
new_vault killed
"$CRYPTFS" import --passfile pass --quiet many/ killed 2>said &
importer=$!
started+=("$importer")
until [ "$(n_stored killed)" -ge 100 ] || ! kill -0 "$importer" 2>/dev/null; do :; done
kill -TERM "$importer" 2>/dev/null
wait "$importer"
status=$?
[ "$status" = 143 ] || [ "$(n_stored killed)" -gt 900 ] || fail "interrupted: $status, $(cat said)"
sound killed
run 0 import --passfile pass --resume many/ killed
run 0 verify --passfile pass --against many killed
shows ', 0 different'

# ---- several at once fill one vault; one of them is killed, and its part run again
new_vault shared
pids=()
for i in 1 2 3 4; do
	"$CRYPTFS" import --passfile pass --shard "$i/5" many/ shared 2>"err.$i" &
	pids+=($!)
	started+=($!)
done
kill_import shared 250 --shard 5/5
for i in 1 2 3 4; do
	wait "${pids[i - 1]}" || fail "shard $i: exit $?: $(cat "err.$i")"
	[ ! -s "err.$i" ] || fail "shard $i said: $(cat "err.$i")"
done
run 0 import --passfile pass --resume --shard 5/5 many/ shared
gone out5
run 0 export --passfile pass shared out5
same_trees many out5
tidy shared

# ---- and so do shards of a tree with everything in it, each of which has done something
chmod 0555 tree/sub # only for whoever comes first it is not in the way
# On a filesystem like those of networks (not under a sanitizer, which has to be loaded first).
disk=()
if [ -n "${NETWORK_DISK-}" ] && LD_PRELOAD=$NETWORK_DISK "$CRYPTFS" --version >/dev/null 2>&1; then
	disk=(env "LD_PRELOAD=$NETWORK_DISK")
fi
new_vault shared
pids=()
for i in 1 2 3; do
	${disk[@]+"${disk[@]}"} "$CRYPTFS" import --passfile pass --shard "$i/3" --progress json tree/ shared 2>"err.$i" &
	pids+=($!)
	started+=($!)
done
for i in 1 2 3; do
	wait "${pids[i - 1]}" || fail "shard $i: exit $?: $(cat "err.$i")"
	grep -q '"files":[1-9][0-9]' "err.$i" || fail "shard $i had little to do: $(cat "err.$i")"
done
gone out
${disk[@]+"${disk[@]}"} "$CRYPTFS" export --passfile pass shared out 2>said || fail "$(cat said)"
same_trees tree out
sound shared
run 0 ls --passfile pass -aR shared
! grep -F .cryptfs-tmp shown || fail 'a temporary name was left'
[ -z "$(find out -name '.cryptfs-tmp*')" ] || fail 'a temporary name was left outside'

# ---- who keeps whom out: one that imports everybody; shards not readers, nor each other
mkfifo gate gate2
"$CRYPTFS" import --passfile pass --files-from - vault <gate >/dev/null 2>&1 &
alone=$!
"$CRYPTFS" import --passfile pass --shard 1/2 --files-from - shared <gate2 >/dev/null 2>&1 &
shard=$!
started+=("$alone" "$shard")
exec 7>gate 8>gate2
for pid in "$alone" "$shard"; do # with threads: it has the lock
	until [ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -ge 4 ]; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	[ ${#disk[@]} = 0 ] || # a sanitizer needs too much
		grep -q '^Seccomp:[[:space:]]*2' "/proc/$pid/status" || fail 'an import is not confined'
done
"$CRYPTFS" ls --passfile pass vault >/dev/null 2>ls.err 7>&- 8>&- &
ls=$!
"$CRYPTFS" import --passfile pass --shard 1/2 tree/big vault:elsewhere 2>shard.err 7>&- 8>&- &
second=$!
started+=("$ls" "$second")
run 0 ls --passfile pass shared
run 0 import --passfile pass --resume --shard 2/2 tree/ shared
run 6 import --passfile pass tree/big shared:elsewhere
says 'in use'
wait "$ls"
[ $? = 6 ] && grep -q 'in use' ls.err || fail "ls beside an import: $(cat ls.err)"
wait "$second"
[ $? = 6 ] && grep -q 'in use' shard.err || fail "a shard beside an import: $(cat shard.err)"
exec 7>&- 8>&-
wait "$alone" || fail 'an import of an empty list'
wait "$shard" || fail 'a shard of an empty list'

exit $((failures != 0))
