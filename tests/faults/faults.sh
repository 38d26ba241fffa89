#!/bin/bash
# A disk that fails at every call of every operation: with no space, no quota,
# an error, half of the work, an interruption.  faults.py says what is demanded.
#
# FAULTS names the faults (default: all; see faults.py).
. "$(dirname "$0")/../support/mounted.sh"

here=$(cd "$(dirname "$0")" && pwd)
fault=$(dirname "$CRYPTFS_MOUNT")/../tests/faults/libfault.so
[ -e "$fault" ] || fail "the failing disk was not built: $fault"
control=$work/control
truncate -s 4096 "$control"

faults() { # MODE ARGUMENT...
	python3 "$here/faults.py" "$@"
}

new_vault
FAULT_CONTROL=$control LD_PRELOAD=$fault mount_in_foreground attr_timeout=0
# shellcheck disable=SC2086
faults inject "$mnt" "$vault" "$control" "$work/expected" ${FAULTS-}
unmount_vault
faults tidy "$vault"
mount_in_foreground
faults check "$mnt" "$work/expected"
faults empty "$mnt"
unmount_vault
vault_is_empty
if grep -q damaged "$log"; then
	fail "something was taken for damaged: $(cat "$log")"
fi
