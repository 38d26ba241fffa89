#!/bin/bash
# This repository is cloned into the mount, configured, built and its unit
# tests are run there, but for the longer ones that start processes.
. "$(dirname "$0")/../support/mounted.sh"

source=$(cd "$(dirname "$0")/../.." && pwd)

new_vault
mount_vault

export HOME=$work
git config --global safe.directory '*'
if git -C "$source" rev-parse HEAD >/dev/null 2>&1; then
	step "clone"
	git clone -q --no-hardlinks "$source" "$mnt/cryptfs"
	git -C "$mnt/cryptfs" fsck --no-progress
else
	step "copy"
	mkdir "$mnt/cryptfs"
	tar -C "$source" --exclude=./build -cf - . | tar -C "$mnt/cryptfs" -xf -
fi

cd "$mnt/cryptfs"
step "configure"
cmake --preset release -DBUILD_TESTING=ON >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
step "build"
cmake --build --preset release >"$work/build.log" || { tail -n 50 "$work/build.log"; exit 1; }
step "unit tests"
ctest --test-dir build/release --label-exclude 'mount|fork' --no-tests=error --output-on-failure -j 2
cd /

unmount_vault
