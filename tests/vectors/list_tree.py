#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Print a tree as text, one line a thing: what golden vaults are compared by.

    list_tree.py DIR

Kind, mode, size or target, content digest, user attributes, path.
"""

import hashlib
import os
import stat
import sys


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:32]


def attributes(path):
    names = sorted(n for n in os.listxattr(path) if n.startswith("user."))
    return ",".join("%s=%s" % (n, os.getxattr(path, n).hex()) for n in names) or "-"


def line(path):
    st = os.lstat(path)
    if stat.S_ISLNK(st.st_mode):
        target = os.readlink(path)
        return "link - %d %s -" % (st.st_size, hashlib.sha256(target.encode()).hexdigest()[:32])
    mode = "%04o" % stat.S_IMODE(st.st_mode)
    if stat.S_ISDIR(st.st_mode):
        return "dir %s - - %s" % (mode, attributes(path))
    return "file %s %d %s %s" % (mode, st.st_size, digest(path), attributes(path))


def main(top):
    found = []
    for parent, dirs, files in os.walk(top):
        found += [os.path.join(parent, name) for name in dirs + files]
    for path in sorted(found):
        print(line(path), os.path.relpath(path, top))


if __name__ == "__main__":
    main(sys.argv[1])
