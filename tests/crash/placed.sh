#!/bin/bash
# placed.sh [STRIDE [OFFSET]] - the mount process dies at each system call of
# each operation: see placed.py.  What it leaves is whole, and can be removed.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"

as_root || skip "tracing the mount process needs root"
export WORK=$work VAULT=$vault MNT=$mnt PASSFILE=$passfile
"$here/placed.py" "${STEPPER:?the path of the stepper}" "$@"
vault_is_empty
