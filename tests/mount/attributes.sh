#!/bin/bash
# Modes, owners, times and extended attributes are kept; the vault shows
# neither the names nor the values of user attributes.
. "$(dirname "$0")/../support/mounted.sh"

attribute() { # FILE NAME
	getfattr --only-values --absolute-names -h -n "$2" "$1"
}

attributes() { # FILE: their names, one a line
	getfattr --absolute-names -h "$1" | sed -n '/^user/p' | LC_ALL=C sort | tr '\n' ' '
}

check_modes() {
	same "mode" "$(stat -c %a "$mnt/file")" 4751
	same "mode of a directory" "$(stat -c %a "$mnt/dir")" 2770
	same "times" "$(stat -c '%.9X %.9Y' "$mnt/timed")" "1234567890.123456789 987654321.987654321"
	same "time of a link" "$(stat -c %.9Y "$mnt/link")" 1000000000.000000001
	same "time before 1970" "$(stat -c %Y "$mnt/old")" -1000
	same "modes under umask 027" "$(stat -c %a "$mnt/masked" "$mnt/masked.d" | tr '\n' ' ')" "640 750 "
	if as_root; then
		same "owner" "$(stat -c %u:%g "$mnt/owned")" 12:34
		same "owner of a link" "$(stat -c %u:%g "$mnt/ownedlink")" 56:78
	fi
}

new_vault
mount_vault

step "modes, owners, times"
echo text >"$mnt/file"
ln -s file "$mnt/link"
mkdir "$mnt/dir"
chmod 2770 "$mnt/dir"
(umask 027 && : >"$mnt/masked" && mkdir "$mnt/masked.d")
: >"$mnt/old"
touch -d @-1000 "$mnt/old"
if as_root; then
	: >"$mnt/owned"
	chmod 6755 "$mnt/owned"
	chown 12:34 "$mnt/owned"
	same "set-id bits after chown" "$(stat -c %a "$mnt/owned")" 755
	ln -s nowhere "$mnt/ownedlink"
	chown -h 56:78 "$mnt/ownedlink"
fi
chmod 4751 "$mnt/file"
: >"$mnt/timed"
touch -m -d '@987654321.987654321' "$mnt/timed"
touch -a -d '@1234567890.123456789' "$mnt/timed"
touch -h -d '@1000000000.000000001' "$mnt/link"
check_modes
remount_vault
check_modes

step "times move when they should"
: >"$mnt/clock"
touch -d @1000 "$mnt/clock"
echo more >>"$mnt/clock"
[ "$(stat -c %Y "$mnt/clock")" -gt 1000 ] || fail "a write does not move the time of change"
touch -d @1000 "$mnt/clock"
truncate -s 1 "$mnt/clock"
[ "$(stat -c %Y "$mnt/clock")" -gt 1000 ] || fail "a truncation does not move the time of change"
touch -d @1000 "$mnt/dir"
: >"$mnt/dir/new"
[ "$(stat -c %Y "$mnt/dir")" -gt 1000 ] || fail "a new entry does not move its directory's time"

step "the filesystem's own figures"
[ "$(stat -f -c %a "$mnt")" -gt 0 ] || fail "no free blocks"
same "longest name" "$(stat -f -c %l "$mnt")" 255

: >"$work/probe"
if ! setfattr -n user.probe -v x "$work/probe" 2>/dev/null; then
	step "no extended attributes below $work: that part is left out"
	unmount_vault
	exit 0
fi

check_attributes() {
	same "names" "$(attributes "$mnt/file")" "user.binary user.colour user.empty user.large "
	same "text" "$(attribute "$mnt/file" user.colour)" ultramarine
	same "empty" "$(attribute "$mnt/file" user.empty)" ""
	same "binary" "$(attribute "$mnt/file" user.binary | od -An -tx1 | tr -d ' \n')" 00ff000a2f
	same "large" "$(attribute "$mnt/file" user.large | wc -c)" 2000
	same "of a directory" "$(attributes "$mnt/dir") $(attribute "$mnt/dir" user.purpose)" "user.purpose  heliotrope"
	same "of a fresh file" "$(attributes "$mnt/masked")" ""
	same "of the root" "$(attributes "$mnt")" ""
}

step "extended attributes"
setfattr -n user.colour -v viridian "$mnt/file"
setfattr -n user.colour -v ultramarine "$mnt/file"
setfattr -n user.empty "$mnt/file"
setfattr -n user.binary -v 0x00ff000a2f "$mnt/file"
setfattr -n user.large -v "$(head -c 2000 /dev/zero | tr '\0' L)" "$mnt/file"
setfattr -n user.gone -v soon "$mnt/file"
setfattr -x user.gone "$mnt/file"
setfattr -n user.purpose -v heliotrope "$mnt/dir"
check_attributes
refused "No such attribute" getfattr -n user.gone "$mnt/file"
refused "No such attribute" setfattr -x user.gone "$mnt/file"
refused "No such attribute" getfattr -n user.cryptfs.dir "$mnt/dir"
python3 - "$mnt/file" <<'PY'
import errno, os, sys
for flag, name, code in ((os.XATTR_CREATE, "user.colour", errno.EEXIST),
                         (os.XATTR_REPLACE, "user.none", errno.ENODATA)):
    try:
        os.setxattr(sys.argv[1], name, b"x", flag)
    except OSError as e:
        if e.errno != code:
            sys.exit(f"FAILED: {name}: {e}")
    else:
        sys.exit(f"FAILED: {name}: was set")
PY
cp -a "$mnt/file" "$mnt/copy"
same "of a copy" "$(attribute "$mnt/copy" user.colour)" ultramarine
mv "$mnt/copy" "$mnt/dir/elsewhere"
same "of a moved file" "$(attribute "$mnt/dir/elsewhere" user.colour)" ultramarine
ln "$mnt/file" "$mnt/dir/hard"
same "through another name" "$(attribute "$mnt/dir/hard" user.colour)" ultramarine
remount_vault
check_attributes
same "of a moved file" "$(attribute "$mnt/dir/elsewhere" user.colour)" ultramarine
check_modes
unmount_vault

# Those of ping on Debian: cap_net_raw, effective.
capability=0x0100000200200000000000000000000000000000
can() { getfattr --absolute-names -h -e hex -n security.capability "$1" 2>/dev/null | grep -q "$capability"; }
if as_root; then
	step "capabilities stay until the content changes, which settling and checkpoints do not"
	mount_vault
	for name in fresh tail settled; do
		head -c 5000 /dev/urandom >"$mnt/$name"
	done
	sync "$mnt/tail" # what is durable is changed by way of the journal
	echo more >>"$mnt/tail"
	for name in fresh tail settled; do
		setfattr -n security.capability -v "$capability" "$mnt/$name"
	done
	remount_vault
	for name in fresh tail settled; do
		can "$mnt/$name" || fail "$name lost its capabilities"
	done
	echo more >>"$mnt/settled"
	can "$mnt/settled" && fail "content changed, capabilities stayed"
	sync "$mnt/settled"
	setfattr -n security.capability -v "$capability" "$mnt/settled"
	echo more >>"$mnt/settled"
	can "$mnt/settled" && fail "content changed in the journal, capabilities stayed"
	remount_vault
	can "$mnt/settled" && fail "capabilities came back"
	unmount_vault
fi

step "the vault shows neither names nor values"
getfattr -R -d -h -m - --absolute-names "$vault" >"$work/stored"
getfattr -R -d -h -m - --absolute-names -e hex "$vault" >>"$work/stored"
grep -q 'user\.cryptfs\.' "$work/stored" || fail "no stored attributes found"
for word in colour purpose binary ultramarine viridian heliotrope LLLLLLLLLLLL; do
	if grep -qi -e "$word" -e "$(printf %s "$word" | od -An -tx1 | tr -d ' \n')" "$work/stored"; then
		fail "'$word' can be read in the vault"
	fi
done

step "where they are not offered"
mount_vault noxattr
refused 'not supported' getfattr -n user.colour "$mnt/file"
refused 'not supported' setfattr -n user.colour -v red "$mnt/file"
refused "not supported" getfattr "$mnt/file"
echo more >>"$mnt/file"
cp -a "$mnt/file" "$mnt/plain"
remount_vault
check_attributes
refused 'not supported' getfattr -n security.selinux "$mnt/file"
unmount_vault
