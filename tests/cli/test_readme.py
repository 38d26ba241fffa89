#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Every message that the README explains is one that some program prints."""

import glob
import os
import re
import sys

ROOT = sys.argv[1]
SECTION = "## When something goes wrong"


def strings():
    """The string literals of the sources, adjacent ones joined."""
    found = []
    for path in glob.glob(ROOT + "/src/**/*.c", recursive=True) + glob.glob(ROOT + "/mount-helpers/*.*"):
        with open(path, encoding="utf8") as f:
            text = re.sub(r'"\s*\n\s*"', "", f.read())
        found += re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)
    return found


def main():
    with open(os.path.join(ROOT, "README.md"), encoding="utf8") as f:
        readme = f.read()
    section = readme.split(SECTION + "\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    printed = strings()
    missing = [quoted for row in rows for quoted in re.findall("`([^`]+)`", row)
               if not any(quoted in text for text in printed)]
    if missing or len(rows) < 10:
        sys.exit(f"FAILED: {len(rows)} messages are explained, not printed: {missing}")
    print(f"readme: {len(rows)} messages are explained, all of them printed")


main()
