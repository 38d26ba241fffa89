# bash completion for cryptfs and cryptfs-mount: what they can do, they say themselves.
# SPDX-License-Identifier: MIT

_cryptfs_list() { # WHAT [WORD...]: commands, verbs or options by the help of these words
	local what=$1
	shift
	case $what in
	commands) "${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' ;;
	verbs) "${COMP_WORDS[0]}" "$1" --help 2>/dev/null |
		sed -n "s/^\(usage:\)\{0,1\} *cryptfs $1 \([a-z][a-z]*\) .*/\2/p" ;;
	options) "${COMP_WORDS[0]}" "$@" --help 2>/dev/null | grep -o -e '--[a-z][a-z0-9-]*' | sort -u ;;
	esac
}

_cryptfs() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_cryptfs_list commands) --help --version" -- "$word")
		return
	fi
	case $before in
	--cipher) mapfile -t COMPREPLY < <(compgen -W "aes-256-gcm chacha20-poly1305 xor" -- "$word") ;;
	--label | --keyring | --credential | --fido2 | --new-fido2 | --tpm2 | --new-tpm2 | --tpm2-pcrs | --other-fido2 | --other-tpm2 | --kdf-* | --seconds | --key) ;;
	*)
		if [[ $word == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_cryptfs_list options "$command")" -- "$word")
		elif [ "$COMP_CWORD" = 2 ] && [ -n "$(_cryptfs_list verbs "$command")" ]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_cryptfs_list verbs "$command")" -- "$word")
		else
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		fi
		;;
	esac
}

_cryptfs_mount() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} last
	COMPREPLY=()
	if [ "$before" = -o ]; then
		last=${word##*,}
		mapfile -t COMPREPLY < <(compgen -P "${word%"$last"}" -W "$("${COMP_WORDS[0]}" --help |
			sed -n '/^Options:/,$s/^  \([a-z_]*=\{0,1\}\).*/\1/p')" -- "$last")
		compopt -o nospace 2>/dev/null
	elif [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "-o -f --foreground --help --version" -- "$word")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
	fi
}

complete -F _cryptfs cryptfs
complete -F _cryptfs_mount cryptfs-mount
