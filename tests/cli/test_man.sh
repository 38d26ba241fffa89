#!/bin/bash
# The man pages are clean, and know every option that --help knows and no other.
set -u
: "${CRYPTFS:?the path of the cryptfs command}" "${MAN:?the folder of the man pages}"

if ! command -v mandoc >/dev/null; then
	echo "skipped: mandoc is not installed"
	exit 77
fi
failures=0

for page in "$MAN"/*; do
	mandoc -Tlint -Wwarning "$page" || failures=$((failures + 1))
done

commands=$("$CRYPTFS" --help | sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p')
in_help=$(for command in '' $commands; do "$CRYPTFS" $command --help; done |
	grep -o -- '--[a-z][a-z0-9-]*' | sort -u)
in_page=$(grep -o 'Fl -[a-z][a-z0-9-]*[a-z0-9]' "$MAN/cryptfs.1" | sed 's/Fl /-/' | sort -u)
if [ "$in_help" != "$in_page" ]; then
	echo "options of --help (<) and cryptfs.1 (>):"
	diff <(echo "$in_help") <(echo "$in_page")
	failures=$((failures + 1))
fi
for command in $commands; do
	if ! grep -q "^\.It Cm $command\b" "$MAN/cryptfs.1"; then
		echo "cryptfs.1 does not describe $command"
		failures=$((failures + 1))
	fi
done
exit $((failures != 0))
