#!/bin/bash
# The picture in the README is what a first minute looks like now, but for the
# stored names, which are others each time.
. "$(dirname "$0")/../support/mounted.sh"

docs=$(cd "$(dirname "$0")/../../docs" && pwd)
build=$(cd "$(dirname "$CRYPTFS")/../.." && pwd)

masked() {
	sed -E 's/[A-Za-z0-9_-]{43}/NAME/; s/chacha20-poly1305/aes-256-gcm/' "$1"
}

TMPDIR=$work "$docs/first-minute" "$build" "$work/now.svg"
diff <(masked "$docs/first-minute.svg") <(masked "$work/now.svg") ||
	fail "it is another one now: run docs/first-minute BUILD"
