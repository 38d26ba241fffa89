#!/bin/bash
# The recipe for pam_exec: a login with the right password mounts the user's
# vault, the end of the session unmounts it; a wrong password does neither.
# With users, passwords and services of its own, in namespaces that end with it.
# SPDX-License-Identifier: MIT
set -eu
: "${CRYPTFS:?the path of the cryptfs command}" "${CRYPTFS_MOUNT:?the path of cryptfs-mount}"

skip() {
	echo "skipped: $*"
	exit 77
}

here=$(cd "$(dirname "$0")" && pwd)
if [ "${1-}" != inside ]; then
	[ "$(id -u)" = 0 ] || skip "other users' logins need root"
	[ -e /dev/fuse ] || skip "there is no /dev/fuse"
	for needed in pamtester setpriv fusermount3 openssl; do
		command -v $needed >/dev/null || skip "there is no $needed"
	done
	ls /lib/*/security/pam_exec.so >/dev/null 2>&1 || skip "there is no pam_exec"
	unshare --mount true || skip "no mount namespaces"
	work=$(mktemp -d "${TMPDIR:-/tmp}/test_pam.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	status=0
	WORK=$work unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
		bash "$0" inside || status=$?
	exit $status
fi

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# ---- a system with one more user and one more service
work=$WORK
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/bin" "$work/home" "$work/dev"
cp "$CRYPTFS" "$CRYPTFS_MOUNT" "$work/bin/"
install -m 4755 "$(command -v pamtester)" "$work/bin/as-su"
cp -a /etc "$work/etc"
echo "paula:x:54321:54321::$work/home:/bin/sh" >>"$work/etc/passwd"
echo "paula:$(openssl passwd -6 'login pass word'):19000:0:99999:7:::" >>"$work/etc/shadow"
chown 54321:54321 "$work/home"
# As it is with PATH at a login: the recipe finds what is installed.
sed "s|^set -eu|set -eu; PATH=$work/bin:\$PATH|; s|--reset-env -- |--reset-env -- env PATH=$work/bin:\$PATH |" \
	"$here/../../docs/examples/cryptfs-login" >"$work/bin/cryptfs-login"
chmod 755 "$work/bin/cryptfs-login"
cat >"$work/etc/pam.d/cryptfs-test" <<END
auth     requisite pam_unix.so
auth     optional  pam_exec.so expose_authtok seteuid log=$work/log $work/bin/cryptfs-login
account  required  pam_unix.so
session  required  pam_unix.so
session  optional  pam_exec.so type=close_session seteuid log=$work/log $work/bin/cryptfs-login
END
# All of it: who makes a user meanwhile, outside, puts another file in the place of passwd.
mount --bind "$work/etc" /etc
# Distributions let everybody open it.
mknod -m 666 "$work/dev/fuse" c 10 229
mount --bind "$work/dev/fuse" /dev/fuse

as_paula() {
	setpriv --reuid=54321 --regid=54321 --clear-groups "$@"
}
private=$work/home/Private
mounted() { # looking at it is for paula only
	grep -qF " $private " /proc/self/mountinfo
}

# login PASSWORD WHAT...
login() {
	local password=$1
	shift
	echo "$password" | pamtester cryptfs-test paula "$@" >"$work/said" 2>&1
}

# ---- without a vault a login is a login
login 'login pass word' authenticate open_session close_session || fail "no login: $(cat "$work/said" "$work/log")"

# ---- with one
echo 'login pass word' >"$work/pass"
chown 54321 "$work/pass"
chmod 600 "$work/pass"
as_paula mkdir "$private"
as_paula "$work/bin/cryptfs" init --passfile "$work/pass" --kdf-memory 64 --kdf-operations 3 "$work/home/.private.vault" >/dev/null
! login 'another pass word' authenticate || fail "a login with a wrong password"
! mounted || fail "a wrong password mounts"
login 'login pass word' authenticate open_session || fail "no login: $(cat "$work/said" "$work/log")"
mounted || fail "nothing is mounted: $(cat "$work/log")"
as_paula sh -c "echo diary >'$private/file'"
login 'login pass word' authenticate open_session || fail "no second login: $(cat "$work/said" "$work/log")"
[ "$(as_paula cat "$private/file")" = diary ] || fail "the file is not there"

# ---- the first of two sessions ends while the second one is in the directory
setpriv --reuid=54321 --regid=54321 --clear-groups sh -c "cd '$private' && echo in >'$work/home/ready' && exec sleep 600" &
until [ -e "$work/home/ready" ]; do sleep 0.05; done
login 'login pass word' close_session || fail "no logout: $(cat "$work/said" "$work/log")"
mounted || fail "unmounted under a session that uses it"
kill $!
wait $! || true
login 'login pass word' close_session || fail "no logout: $(cat "$work/said" "$work/log")"
! mounted || fail "still mounted: $(cat "$work/log")"
[ -z "$(ls -A "$private")" ] || fail "the file is there without a mount"

# ---- as with su, which somebody else calls
su_as() {
	echo 'login pass word' | setpriv --reuid=54322 --regid=54322 --clear-groups "$work/bin/as-su" \
		cryptfs-test paula "$@" >"$work/said" 2>&1
}
su_as authenticate open_session || fail "no su: $(cat "$work/said" "$work/log")"
mounted || fail "su mounts nothing: $(cat "$work/log")"
su_as close_session || fail "no end of su: $(cat "$work/said" "$work/log")"
! mounted || fail "still mounted after su: $(cat "$work/log")"
! grep -r 'pass word' "$work/log" "$work/said" || fail "a password was logged"
echo "pam: mounted at login, unmounted at logout"
