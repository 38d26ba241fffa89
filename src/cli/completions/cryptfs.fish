# fish completion for cryptfs: what it can do, it says itself.
# SPDX-License-Identifier: MIT

function __cryptfs_commands
	cryptfs --help 2>/dev/null | string replace -rf '^  ([a-z][a-z-]*) +(.*)' '$1\t$2'
end

function __cryptfs_verbs
	set -l command (commandline -opc)[2]
	cryptfs $command --help 2>/dev/null |
		string replace -rf "^(?:usage:)? *cryptfs $command ([a-z]+) .*" '$1'
end

function __cryptfs_options
	set -l command (commandline -opc)[2]
	cryptfs $command --help 2>/dev/null | string match -ra -- '--[a-z][a-z0-9-]*' | sort -u
end

function __cryptfs_words
	count (commandline -opc)
end

complete -c cryptfs -n 'test (__cryptfs_words) = 1' -f -a '(__cryptfs_commands)'
complete -c cryptfs -n 'test (__cryptfs_words) = 2' -a '(__cryptfs_verbs)'
complete -c cryptfs -n 'test (__cryptfs_words) -ge 2; and string match -q -- "-*" (commandline -ct)' \
	-f -a '(__cryptfs_options)'
