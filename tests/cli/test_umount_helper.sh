#!/bin/bash
# What umount.fuse.cryptfs makes of the arguments that umount(8) gives it.
set -u
: "${HELPER:?the path of umount.fuse.cryptfs}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_umount_helper.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

# A cryptfs and an umount that show what they were called with.
mkdir bin
cp "$HELPER" bin/umount.fuse.cryptfs
for program in cryptfs umount; do
	printf '#!/bin/sh\nprintf "<%%s>" %s "$@"\nexit 6\n' $program >bin/$program
	chmod +x bin/$program
done

# gives STATUS OUTPUT ARGUMENT...
gives() {
	local status=0 expected=$1 output=$2
	shift 2
	env -i PATH="$work/bin" /bin/sh bin/umount.fuse.cryptfs "$@" >out 2>err || status=$?
	if [ "$status" != "$expected" ] || ! grep -qF -- "$output" out err; then
		echo "FAILED: $*: exit $status: $(cat out err)" >&2
		failures=$((failures + 1))
	fi
}

gives 6 '<cryptfs><umount><--></mnt/a b>' '/mnt/a b'
gives 6 '<cryptfs><umount><--></mnt>' /mnt -n -v -t fuse.cryptfs
gives 6 '<cryptfs><umount><--lazy><--></mnt>' /mnt -l
gives 6 '<umount><-i><-f><--></mnt>' /mnt -f
gives 6 '<umount><-i><-rl><--></mnt>' /mnt -n -l -r
gives 6 '<cryptfs><umount><--><$(touch evil)>' '$(touch evil)'
[ ! -e evil ] || failures=$((failures + 1))
gives 1 'usage:'
gives 1 'usage:' -l /mnt
gives 1 'usage:' /mnt -x
gives 1 'usage:' /mnt more
gives 1 'nsenter' /mnt -N 1

[ "$failures" = 0 ] || exit 1
echo "umount.fuse.cryptfs: hands over as it should"
