#!/bin/bash
# What `cmake --install` puts in place, `cmake --build --target uninstall` takes
# away, and nothing else.
# SPDX-License-Identifier: MIT
set -eu
: "${BUILD:?the build directory}"

work=$(mktemp -d "${TMPDIR:-/tmp}/test_uninstall.XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

export DESTDIR=$work
mkdir -p "$work/usr/local/bin"
echo mine >"$work/usr/local/bin/other"
cmake --install "$BUILD" >"$work/install.log" || fail "install: $(cat "$work/install.log")"
[ -x "$work/usr/local/bin/cryptfs" ] && [ -L "$work/sbin/mount.fuse.cryptfs" ] || fail "nothing was installed"
"$work/usr/local/bin/cryptfs" --version >/dev/null || fail "what was installed does not run"
rm "$work/usr/local/bin/cryptfs-mount" # what is gone already is no failure
cmake --build "$BUILD" --target uninstall >"$work/uninstall.log" || fail "uninstall: $(cat "$work/uninstall.log")"
left=$(find "$work" -mindepth 1 ! -type d ! -name '*.log')
[ "$left" = "$work/usr/local/bin/other" ] || fail "left behind: $left"
[ ! -e "$work/usr/local/share/doc/cryptfs" ] || fail "left behind: its documents' directory"
echo "uninstall: nothing left"
