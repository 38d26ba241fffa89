#!/bin/bash
# The completions of bash, zsh and fish offer what the help says.
set -u
: "${CRYPTFS:?the path of the cryptfs command}" "${CRYPTFS_MOUNT:?the path of cryptfs-mount}"
: "${COMPLETIONS:?the directory of the completions}"

failures=0
work=$(mktemp -d "${TMPDIR:-/tmp}/test_completion.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
ln -s "$CRYPTFS" "$work/cryptfs"
ln -s "$CRYPTFS_MOUNT" "$work/cryptfs-mount"
PATH=$work:$PATH
cd "$work" || exit 1
mkdir some-vault

# offers SHELL "WORDS SO FAR" WORD...: each of these, in what the shell offers for the last word.
offers() {
	local shell=$1 line=$2 word found
	shift 2
	found=$("in_$shell" "$line" 2>&1)
	for word in "$@"; do
		grep -qxF -- "$word" <<<"$found" || {
			echo "FAILED: $shell: '$line': no '$word' in: $(tr '\n' ' ' <<<"$found")" >&2
			failures=$((failures + 1))
		}
	done
}

in_bash() {
	# shellcheck disable=SC2016
	bash --norc -c '
		. "$1/cryptfs.bash"
		compopt() { :; } # works inside of a completion only
		read -ra COMP_WORDS <<<"$2"
		[[ $2 == *" " ]] && COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		case ${COMP_WORDS[0]} in
		cryptfs) _cryptfs ;;
		*) _cryptfs_mount ;;
		esac
		printf "%s\n" "${COMPREPLY[@]}"
	' bash "$COMPLETIONS" "$1"
}

# With stand-ins for the functions that zsh has only where a person types.
in_zsh() {
	# shellcheck disable=SC2016
	zsh -f -c '
		line=$2
		words=(${(z)line})
		[[ $line == *" " ]] && words+=("")
		CURRENT=$#words PREFIX=$words[-1] service=$words[1]
		compadd() {
			while [[ $1 == -[aS] ]]; do
				[[ $1 == -S ]] && { shift 2; continue }
				print -rl -- ${(P)2}
				return
			done
			[[ $1 == -- ]] && shift
			print -rl -- "$@"
		}
		compset() { : }
		_describe() { print -rl -- ${${(P)2}%%:*} }
		_files() { print -rl -- *(N) }
		. "$1/_cryptfs"
	' zsh "$COMPLETIONS" "$1"
}

in_fish() {
	# shellcheck disable=SC2016
	fish --no-config -c 'source $argv[1]/cryptfs.fish; complete -C $argv[2]' "$COMPLETIONS" "$1" | cut -f 1
}

for shell in bash zsh fish; do
	if ! command -v "$shell" >/dev/null; then
		echo "completion: no $shell here"
		continue
	fi
	offers $shell 'cryptfs ' init passwd key header rotate info bench status umount
	offers $shell 'cryptfs key ' add remove list change
	offers $shell 'cryptfs init --' --cipher --passfile --recovery
	offers $shell 'cryptfs key add --' --new-keyfile --label
done
for shell in bash zsh; do
	command -v "$shell" >/dev/null || continue
	offers $shell 'cryptfs init --cipher ' aes-256-gcm chacha20-poly1305 xor
	offers $shell 'cryptfs info ' some-vault
	offers $shell 'cryptfs-mount --' --foreground
	offers $shell 'cryptfs-mount v m -o ' ro passfile= writeback writethrough
done
offers bash 'cryptfs pass' passwd
offers bash 'cryptfs-mount v m -o ro,writeb' ro,writeback

[ "$failures" = 0 ] || exit 1
echo "completion: as the help says"
