# shellcheck shell=sh
# packages.sh - what to install, and how: for quickstart and tests/run.

# To build and to mount.
packages_build="cmake ninja-build gcc libc6-dev pkg-config fuse3 libfuse3-dev libssl-dev libsodium-dev
	libjansson-dev libseccomp-dev"

# An accelerator that exists for this architecture only; the build does without.
if [ "$(uname -m)" = x86_64 ]; then
	packages_build="$packages_build libipsec-mb-dev"
fi

# To test: the unit tests, the fuzz harnesses, and the tools used on a mount.
packages_test="libcmocka-dev clang git python3 python3-cryptography python3-nacl vim rsync acl attr mandoc
	sqlite3 procps xz-utils dpkg-dev zsh fish fio stress-ng libcrack2-dev cracklib-runtime
	pamtester libfido2-dev systemd libtss2-dev swtpm tpm2-tools"

missing_packages() { # PACKAGE...
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
			printf '%s ' "$package"
	done
}

# Run a command as root: by itself, or through sudo.
with_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "this needs root, and there is no sudo: $*" >&2
		return 1
	fi
}

# Install what of these packages is missing; nothing if nothing is.
need_packages() { # PACKAGE...
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		echo "No apt-get here. These packages of Debian are needed, under whatever name: $*"
		return 0
	fi
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	echo "Installing: $missing"
	with_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null
	# shellcheck disable=SC2086
	with_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends $missing </dev/null
}
