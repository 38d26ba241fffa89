#!/bin/bash
# POSIX ACLs with -o acl: every command does and says what it does and says in
# a plain directory, by users whom they concern; and without it they are refused.
. "$(dirname "$0")/../support/mounted.sh"

as_root || skip "only root may mount for others here"
command -v setfacl >/dev/null || fail "setfacl is not installed (package acl)"

plain=$work/plain
mkdir -m 755 "$plain"
setfacl -m u:4001:r "$plain" 2>/dev/null || skip "the filesystem below has no ACLs"
setfacl -b "$plain"
chmod 711 "$work"

# as UID:GROUPS COMMAND...
as() {
	local uid=${1%%:*} groups=${1#*:}
	shift
	setpriv --reuid "$uid" --regid "${groups%%,*}" --groups "$groups" -- "$@"
}

root=0:0
alice=4001:4001,4100
bob=4002:4002,4100
carol=4003:4003

# both WHO COMMAND: the same status and words in the mount and in the plain directory.
both() {
	local here there
	here=$(cd "$mnt" && as "$1" sh -c "$2" 2>&1; echo "status $?")
	there=$(cd "$plain" && as "$1" sh -c "$2" 2>&1; echo "status $?")
	[ "$here" = "$there" ] || diff <(echo "$there") <(echo "$here") || fail "$1: $2: told apart, above"
}

# everybody COMMAND: alice, bob and carol one after the other.
everybody() {
	both $alice "$1"
	both $bob "$1"
	both $carol "$1"
}

# acls DIRECTORY: of all that is in it.
cat >"$work/acls" <<'SH'
#!/bin/sh
find "$1" ! -type l | LC_ALL=C sort | xargs -d '\n' getfacl -p
SH
chmod 755 "$work/acls"
export PATH=$work:$PATH

new_vault
mount_vault allow_other,acl
chmod 755 "$mnt"

step "who may what"
both $root 'echo text >file; chmod 600 file; setfacl -m u:4001:rw,g:4100:r file; getfacl file; ls -l file | cut -c1-11'
everybody 'cat file; echo more >>file; test -r file; echo $?; test -w file; echo $?'
both $root 'chmod 640 file; getfacl file' # the mask
everybody 'cat file; echo more >>file'
both $root 'setfacl -m m::rwx file; chmod g-w file; getfacl -e file'
everybody 'echo more >>file'
both $root 'setfacl -x u:4001 file; getfacl file; setfacl -b file; getfacl file'
everybody 'cat file'
both $root 'mkdir -m 700 closed; echo x >closed/x; setfacl -m u:4002:rx closed; getfacl closed'
everybody 'ls closed; cat closed/x; touch closed/new'
both $alice 'setfacl -m u:4001:rwx file closed'
both $root 'chmod 660 file; chown 4001:4100 file; setfacl -m u:4002:- file'
everybody 'cat file >/dev/null; id -u'
both $alice 'setfacl -m u:4003:r file; getfacl file'
everybody 'cat file >/dev/null; id -u'

step "what a directory hands down"
both $root 'mkdir shared; chmod 777 shared; setfacl -d -m u:4003:rwx,g::r,o::-,m::rwx shared; getfacl shared'
everybody 'umask 022; cd shared; me=$(id -u); echo text >$me; mkdir $me.d; mkfifo $me.p; ln -s x $me.l
	mkdir -m 700 $me.e; mkdir -m 311 $me.f; (umask 077; : >$me.masked; mkdir $me.masked.d); : >$me.d/below; mkdir $me.d/dir'
both $root 'cd shared; acls .; find . -printf "%p %M\n" | sort'
everybody 'for f in shared/4*; do test -r $f; echo $f $?; test -w $f; echo $f $?; done'
both $root 'setfacl -k shared; getfacl shared'
everybody 'umask 027; : >shared/plain-$(id -u); mkdir shared/plain-$(id -u).d; mkfifo shared/plain-$(id -u).p'
both $root 'find shared -name "plain*" -printf "%p %M\n" | sort'
both $root 'mkdir -m 2777 team; chgrp 4100 team; setfacl -d -m u:4003:rwx team'
everybody ': >team/$(id -u); mkdir team/$(id -u).d; mkdir -m 500 team/$(id -u).e'
both $root 'acls team'
python3 - "$mnt/shared" "$plain/shared" <<'PY'
import os
import sys

# Without a name at first, and with the set-id bits that root may give.
for directory in sys.argv[1:]:
    os.system(f"setfacl -d -m u:4001:rw {directory}")
    os.umask(0o027)
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o666)
    at = os.open(directory, os.O_RDONLY)
    os.link(f"/proc/self/fd/{fd}", "named", dst_dir_fd=at, follow_symlinks=True)
    os.close(os.open(directory + "/setid", os.O_CREAT | os.O_RDWR, 0o6777))
PY
both $root 'cd shared; getfacl named setid; ls -l named setid | cut -c1-11'

step "the set-gid bit goes when one sets an ACL who is not in the group"
both $root ': >bit; chmod 2770 bit; chown 4003:4100 bit; chmod 2770 bit; ls -l bit | cut -c1-11'
both $carol 'setfacl -m u:4001:r bit; ls -l bit | cut -c1-11'
both $root 'chown 4001:4100 bit; chmod 2770 bit'
both $alice 'setfacl -m u:4002:r bit; ls -l bit | cut -c1-11'

step "tools carry them over"
both $root 'cp -a shared copied; tar --acls -cf - shared | (mkdir untarred && tar --acls -xf - -C untarred)
	rsync -aAX shared/ synced/; for d in copied untarred/shared synced; do (cd $d && acls .) | md5sum; done'
both $root 'rsync -aAXni shared/ synced/; getfattr -d -m - file | head -5; acls .'

step "after a remount"
remount_vault allow_other,acl
both $root 'acls .'
everybody 'cat file >/dev/null; for f in shared/4*; do test -r $f; echo $f $?; done'

step "without the option"
remount_vault allow_other
refused 'not supported' setfacl -m u:4001:r "$mnt/file"
same "names of attributes" "$(getfattr -m - "$mnt/file")" ""
unmount_vault
refused 'acl needs extended attributes' "$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with acl,noxattr)"
