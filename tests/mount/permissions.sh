#!/bin/bash
# What a user may do with things of one's own that have odd modes: on a mount
# without allow_other the kernel does not check, so every answer is compared
# with that of a plain directory.
. "$(dirname "$0")/../support/mounted.sh"
. "$(dirname "$0")/../support/as_user.sh"

plain=$home/plain
as_user mkdir "$plain"
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
mount_as_user

# both COMMAND: the same status and the same words in the mount and beside it.
both() {
	local here there
	here=$(cd / && as_user sh -c "cd '$mnt' && $1" 2>&1; echo "status $?")
	there=$(cd / && as_user sh -c "cd '$plain' && $1" 2>&1; echo "status $?")
	same "$1" "$here" "$there"
}

step "files of every mode"
both 'cp /bin/true program; printf "#!/bin/sh\necho ran\n" >script; umask 0; mkdir files
for mode in 0000 0100 0111 0200 0300 0400 0444 0500 0600 0644 0700 0066 0077; do
	cp script files/$mode; cp program files/program-$mode; chmod $mode files/*$mode; done'
both 'LC_ALL=C ls -l files | cut -d" " -f1'
both 'cd files; for f in [0-9]*; do cat $f; done'
both 'cd files; for f in [0-9]*; do echo more >>$f; done'
both 'cd files; for f in [0-9]*; do ./$f; done'
both 'cd files; for f in program-*; do ./$f; done'
both 'cd files; for f in *; do for t in -r -w -x; do test $t $f; echo $f $t $?; done; done'
both 'cd files; for f in [0-9]*; do truncate -s 5 $f; done'
both 'cd files; for f in [0-9]*; do : >$f; done'
both 'cd files; for f in [0-9]*; do dd if=/dev/zero of=$f bs=1 count=1 conv=notrunc status=none; done'
both 'cd files; for f in [0-9]*; do touch $f && touch -d 2001-01-01 $f; done'
both 'cd files; for f in [0-9]*; do setfattr -n user.a -v b $f; getfattr --only-values -n user.a $f; done'
both 'cd files; for f in [0-9]*; do mv $f moved; mv moved $f; ln $f second; rm -f second; done'
both 'cd files; umask 777; echo new >made; cat made; rm -f made; rm -f *; ls -A'

step "directories of every mode"
both 'umask 0; mkdir dirs; for mode in 0000 0100 0200 0300 0400 0500 0600 0700; do
	mkdir -p dirs/$mode/below; echo text >dirs/$mode/file; done'
# A new mount, which enters the directories, but knows nothing of what is in them:
# what the kernel knows stays in reach when they are closed (see Limits).
unmount_as_user
mount_as_user
both 'cd dirs; for mode in 0*; do test -e $mode/none; chmod $mode $mode; done'
for command in 'ls' 'ls -l' 'cd' 'cat file:' 'stat -c %s file:' 'ls below:' 'test -e file:' 'touch new:' \
	'mkdir newdir:' 'rm -f new:' 'rmdir newdir:' 'echo more >>file:' 'chmod 600 file:'; do
	case $command in
	*:)
		word=${command%:}
		both "cd dirs; for mode in 0*; do ${word% *} \$mode/${word##* }; done 2>&1 |
			sed 's/total .*//' | sort"
		;;
	*) both "cd dirs; for mode in 0*; do ( $command \$mode ); done 2>&1 | sed 's/ [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* / /; s/total .*//' | sort" ;;
	esac
done

# And one that never entered them.
unmount_as_user
mount_as_user
both 'cd dirs; for mode in 0*; do ls $mode; done 2>&1 | sort'

step "below a directory that is closed"
both 'mkdir -p open/inner; echo text >open/inner/file; chmod 600 open; chmod 700 open; cat open/inner/file'
both 'chmod 000 open; ls open; cat open/file; mkdir open/new; rmdir open/inner; touch open/x'
both 'chmod 700 open; mkdir -p keep/empty; chmod 500 keep; rmdir keep/empty; stat -c %a keep/empty; chmod 700 keep; rmdir keep/empty'

step "other people's"
if as_root; then
	both 'umask 0; mkdir shared; echo text >shared/theirs; chmod 1777 shared; ls shared'
	unmount_as_user
	chown 12345 "$plain/shared/theirs" "$plain/shared"
	find "$vault/tree" -mindepth 1 -perm 1777 -exec chown -R 12345 {} +
	mount_as_user
	both 'stat -c %u shared/theirs; cat shared/theirs; chmod 600 shared/theirs; rm -f shared/theirs; mv shared/theirs x'
	both 'echo mine >shared/mine; mv shared/mine shared/theirs; rm shared/mine'
fi

unmount_as_user
