#!/bin/bash
# Several processes make, rename and remove files at once, each in a directory
# of its own.  The inode number of a file that one removes is used anew at once
# for a file that another one makes; each must find its own under every name.
. "$(dirname "$0")/../support/mounted.sh"

new_vault
mount_vault "${MOUNT_OPTIONS-workers=0}"

step "four processes at once"
python3 - "$mnt" <<'EOF' || fail "one process saw another one's file, or none"
import os
import sys


def busy(n):
    there = os.path.join(sys.argv[1], str(n))
    os.mkdir(there)
    for i in range(4000):
        old, new, wanted = there + "/old", there + "/new", "process %d, file %d" % (n, i)
        with open(old, "w") as f:
            f.write(wanted)
        os.rename(old, new)
        with open(new) as f:
            found = f.read()
        if found != wanted:
            sys.exit("'%s' is not '%s'" % (found, wanted))
        os.unlink(new)
    os.rmdir(there)


children = []
for n in range(4):
    child = os.fork()
    if child == 0:
        busy(n)
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
EOF

step "nothing is left"
unmount_vault
vault_is_empty
