#!/bin/bash
# What mount.cryptfs makes of the arguments that mount(8) gives it.
set -u
: "${HELPER:?the path of mount.cryptfs}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_mount_helper.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

# A cryptfs-mount that shows what it was called with, one argument a line.
mkdir bin sbin vault mnt 'a vault'
cp "$HELPER" bin/mount.cryptfs
ln -s "$work/bin/mount.cryptfs" sbin/mount.fuse.cryptfs
printf '#!/bin/sh\nprintf "<%%s>" "$@"\nexit 5\n' >bin/cryptfs-mount
chmod +x bin/cryptfs-mount

# gives STATUS OUTPUT ARGUMENT...
gives() {
	local status=0 expected=$1 output=$2 helper=bin/mount.cryptfs
	shift 2
	for helper in bin/mount.cryptfs sbin/mount.fuse.cryptfs; do
		status=0
		env -i PATH=/nowhere /bin/sh "$helper" "$@" >out 2>err || status=$?
		if [ "$status" != "$expected" ] ||
			{ [ -n "$output" ] && ! grep -qF -- "$output" out err; }; then
			echo "FAILED: $helper $*: exit $status: $(cat out err)" >&2
			failures=$((failures + 1))
		fi
	done
}

gives 5 '<vault><mnt>' vault mnt
gives 5 '<a vault><mnt><-o><ro,passfile=/a b>' 'a vault' mnt -o 'ro,passfile=/a b'
gives 5 '<vault><mnt><-o><rw,noauto>' vault mnt -s -n -v -t cryptfs -o rw,noauto
gives 5 '<vault><mnt><-o><rw,noauto>' vault mnt -snv -t fuse.cryptfs -orw,noauto
gives 5 '<vault><mnt><-o><rw,ro>' vault mnt -o rw -o ro
gives 5 '<vault><mnt>' vault mnt -o ''
gives 5 '<$(touch evil)><mnt><-o><`touch evil`;*>' '$(touch evil)' mnt -o '`touch evil`;*'
[ ! -e evil ] || failures=$((failures + 1))
gives 0 '' vault mnt -f
gives 3 'nothing: not a directory' nothing mnt -f
gives 7 'nothing: not a directory' vault nothing -f
gives 1 'usage:'
gives 1 'usage:' vault
gives 1 'usage:' -o ro vault mnt
gives 1 'usage:' vault mnt -x
gives 1 'usage:' vault mnt -o
gives 1 'usage:' vault mnt more
gives 1 'nsenter' vault mnt -N 1
mv bin/cryptfs-mount bin/elsewhere
if ! command -v cryptfs-mount >out && [ ! -e "$(sed -n 's|.*"\(/.*/cryptfs-mount\)".*|\1|p' "$HELPER")" ]; then
	gives 2 'cryptfs-mount not found' vault mnt
fi

[ "$failures" = 0 ] || exit 1
echo "mount.cryptfs: hands over as it should"
