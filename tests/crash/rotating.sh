#!/bin/bash
# rotating.sh [DEATHS] - a rotation dies in so many places, evenly spread: see rotating.py.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"

as_root || skip "tracing a process needs root"
export WORK=$work VAULT=$vault MNT=$mnt PASSFILE=$passfile
"$here/rotating.py" "${STEPPER:?the path of the stepper}" "$@"
