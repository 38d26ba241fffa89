#!/bin/bash
# The Debian package: what is in it, and, as root, its whole life in a copy of
# this system that nobody else sees: installed, a vault mounted from fstab,
# removed without a trace.
# SPDX-License-Identifier: MIT
set -eu
: "${BUILD:?the build directory}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_package.XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# ---- what is in it
(cd "$BUILD" && cpack -G DEB -B "$work" >"$work/cpack.log" 2>&1) || fail "cpack: $(cat "$work/cpack.log")"
set -- "$work"/cryptfs_*.deb
[ $# = 1 ] && [ -f "$1" ] || fail "cpack made: $*"
package=$1

dpkg-deb -c "$package" | awk '$1 !~ /^d/ { print $6 }' | sort >"$work/files"
cat >"$work/expected" <<'END'
./sbin/mount.cryptfs
./sbin/mount.fuse.cryptfs
./sbin/umount.fuse.cryptfs
./usr/bin/cryptfs
./usr/bin/cryptfs-mount
./usr/lib/systemd/user/cryptfs@.service
./usr/share/bash-completion/completions/cryptfs
./usr/share/bash-completion/completions/cryptfs-mount
./usr/share/doc/cryptfs/CHANGELOG.md
./usr/share/doc/cryptfs/LICENSE
./usr/share/doc/cryptfs/README.md
./usr/share/doc/cryptfs/examples/cryptfs-login
./usr/share/doc/cryptfs/examples/home-a-plain.automount
./usr/share/doc/cryptfs/examples/home-a-plain.mount
./usr/share/doc/cryptfs/examples/sleep-hook
./usr/share/doc/cryptfs/format.md
./usr/share/doc/cryptfs/threat-model.md
./usr/share/fish/vendor_completions.d/cryptfs.fish
./usr/share/man/man1/cryptfs-mount.1
./usr/share/man/man1/cryptfs.1
./usr/share/man/man8/mount.cryptfs.8
./usr/share/zsh/vendor-completions/_cryptfs
END
diff "$work/expected" "$work/files" || fail "not the files it should have (< expected)"
[ -z "$(dpkg-deb -c "$package" | awk '$2 != "root/root" || $1 ~ /^-......?w/')" ] ||
	fail "owners or modes: $(dpkg-deb -c "$package")"
for needed in fuse3 libfuse3-3 libssl3 libsodium23 libjansson4 libseccomp2; do
	dpkg-deb -f "$package" Depends | grep -qw "$needed" || fail "does not depend on $needed"
done

# Built for another prefix, it is told the one where the package puts it.
for user in ./usr/lib/systemd/user/cryptfs@.service ./sbin/mount.cryptfs ./sbin/umount.fuse.cryptfs; do
	dpkg-deb --fsys-tarfile "$package" | tar -xO "$user" >"$work/user"
	grep -q '[="]/usr/bin/cryptfs' "$work/user" || fail "$user looks for the programs elsewhere"
	! grep -q "$work\|/usr/local/bin/cryptfs" "$work/user" || fail "$user has the path of the build"
done

# ---- its life
if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
	echo "package: the file list is right; installing it needs root and /dev/fuse"
	exit 77
fi

# life DIRECTORY PACKAGE: in namespaces of its own, which end with it.
cat >"$work/life" <<'END'
set -eu
fail() {
	echo "FAILED: $*" >&2
	exit 1
}
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
cp "$2" tmp/cryptfs.deb
exec chroot . /bin/sh -eu -c '
	export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
	rm -f /sbin/mount.cryptfs /sbin/mount.fuse.cryptfs /sbin/umount.fuse.cryptfs
	dpkg -i /tmp/cryptfs.deb >/dev/null
	cryptfs --version
	mkdir /tmp/plain
	umask 077
	echo a passphrase >/tmp/pass
	cryptfs init --passfile /tmp/pass --kdf-memory 64 --kdf-operations 3 /tmp/vault
	echo "/tmp/vault /tmp/plain cryptfs passfile=/tmp/pass,nofail 0 0" >/etc/fstab
	mount -a
	[ "$(findmnt -n -o FSTYPE,SOURCE /tmp/plain | tr -s " ")" = "fuse.cryptfs /tmp/vault" ]
	echo words >/tmp/plain/file
	umount /tmp/plain
	mount /tmp/plain
	[ "$(cat /tmp/plain/file)" = words ]
	umount /tmp/plain
	dpkg -L cryptfs >/tmp/list
	dpkg -P cryptfs >/dev/null
	while read -r path; do
		[ -d "$path" ] || ! [ -e "$path" ] || { echo "left behind: $path"; exit 1; }
	done </tmp/list
	! [ -e /usr/share/doc/cryptfs ] || { echo "left behind: its documents"; exit 1; }
	[ "$(ls -A /tmp/vault/tree | wc -l)" -gt 0 ] # but the vault is
'
END
mkdir "$work/system"
unshare --mount --pid --fork --kill-child --propagation private \
	sh "$work/life" "$work/system" "$package" || fail "installing, mounting or removing it"
echo "package: installed, mounted from fstab, removed"
