# SPDX-License-Identifier: MIT
"""Compares what a mount shows with what it showed before a change."""

import os

DAMAGED = "cryptfs-damaged-"


class Seen:
    """One thing as a mount shows it."""

    def __init__(self, kind, mode, size, error, chunks, attributes, inode):
        self.kind = kind              # a letter of "fdlpscb", with the number of a device
        self.mode = mode
        self.size = size
        self.error = error            # of looking it up, listing or opening it; 0 for none
        self.chunks = chunks          # by block: a fingerprint, or "!ERRNO"
        self.attributes = attributes  # value's fingerprint by name; "": "!ERRNO" of listing
        self.inode = inode

    def is_bad(self):
        return bool(self.error) or any(c.startswith("!") for c in self.chunks)


# What a writer to the vault can do unnoticed: reason, and whether what is seen
# is that and nothing more.  A new one belongs into docs/format.md first.


def is_gone(base, seen, old, zero):
    return seen is None


def attribute_gone(base, seen, old, zero):
    return seen and base and seen.chunks == base.chunks and seen.kind == base.kind and \
        all(base.attributes.get(n) == x for n, x in seen.attributes.items())


def of_old_blocks(base, seen, old, zero):
    return seen and old and len(seen.chunks) == len(base.chunks) and \
        all(s in (b, o) for s, b, o in zip(seen.chunks, base.chunks, old.chunks))


def is_old(base, seen, old, zero):
    return seen and old and (seen.kind, seen.size, seen.chunks) == (old.kind, old.size, old.chunks)


def old_attribute(base, seen, old, zero):
    return seen and old and seen.chunks == base.chunks and all(
        x in (base.attributes[n], old.attributes.get(n)) for n, x in seen.attributes.items())


def with_zeros(base, seen, old, zero):
    return seen and len(seen.chunks) == len(base.chunks) and seen.size == base.size and \
        all(s in (b, zero(b)) for s, b in zip(seen.chunks, base.chunks))


def is_as_another(base, seen, old, zero):
    """Content of a file with several hard links, in the place of something."""
    return seen is None or (seen.kind == "f" and not seen.is_bad())


def is_empty_directory(base, seen, old, zero):
    return seen is None or (seen.kind == "d" and not seen.error)


def is_prefix(base, seen, old, zero):
    """Whole blocks; what ends in a hole may end anywhere."""
    n = len(seen.chunks) if seen else 0
    return seen and n <= len(base.chunks) and all(
        s == b or (i == n - 1 and s == zero(s) and b == zero(b))
        for i, (s, b) in enumerate(zip(seen.chunks, base.chunks)))


def is_none(base, seen, old, zero):
    return seen and not old and seen.kind == base.kind and not seen.chunks


def has_zeros_behind(base, seen, old, zero):
    n = len(base.chunks)
    return seen and all(s == b or (i == n - 1 and s == zero(s) and b == zero(b)) for i, (s, b) in
                        enumerate(zip(seen.chunks, base.chunks))) and \
        all(c == zero(c) for c in seen.chunks[n:])


def has_another_size(base, seen, old, zero):
    return seen and seen.chunks == base.chunks and len(seen.chunks) <= 1


def is_back(base, seen, old, zero):
    """Under the name of the first generation, or no longer under that of the second."""
    return seen is None or (base is None and not seen.is_bad())


def anything_old(base, seen, old, zero):
    return seen is None or is_old(base, seen, old, zero)


KNOWN = {
    "deleted": ("entries can be deleted", is_gone),
    "attribute deleted": ("attributes can be deleted", attribute_gone),
    "block rolled back": ("a block has an older version of its own", of_old_blocks),
    "file rolled back": ("an entry has an older version of its own", is_old),
    "symlink rolled back": ("an entry has an older version of its own", is_old),
    "attribute rolled back": ("an attribute has an older version of its own", old_attribute),
    "directory rolled back": ("a directory has an older version of its own", anything_old),
    "deleted entry put back": ("a deleted entry is put back", is_old),
    "hole": ("a block of a file with holes becomes zeros", with_zeros),
    "kept header: cut": ("a header from a DIRTY time makes the file DIRTY again", is_prefix),
    "kept header: longer": ("a header from a DIRTY time makes the file DIRTY again",
                            has_zeros_behind),
    "kept header: size": ("a header from a DIRTY time makes the file DIRTY again",
                          has_another_size),
    "dirty: cut": ("a DIRTY file loses whole blocks at its end", is_prefix),
    "dirty: emptied": ("a small DIRTY file that is new can be emptied", is_none),
    "dirty: holes at the end": ("a DIRTY file with holes gets more of them", has_zeros_behind),
    "dirty: size": ("the size of a small DIRTY file is a guess until it is opened",
                    has_another_size),
    "dirty: small content rolled back": ("a small DIRTY file has the version before",
                                         of_old_blocks),
    "dirty: zeroed block of a file with holes": ("a block of a file with holes becomes zeros",
                                                 with_zeros),
    "dirty: old name": ("what was renamed is back under its old name", is_back),
    "hard-linked file moved": ("files with several hard links are not bound to a name",
                               is_as_another),
}


class Verdict:
    """detected, harmless, known or wrong; with what is wrong."""

    def __init__(self):
        self.detected = False
        self.known = False
        self.wrong = []

    def word(self):
        if self.wrong:
            return "wrong"
        if self.detected:
            return "detected"
        return "known" if self.known else "harmless"


def is_below(path, tops):
    return any(path == top or path.startswith(top + "/") or top == "." for top in tops)


def differences(base, seen):
    """Words for each way in which seen is not base, without an error that says so."""
    if seen.error:
        return
    if seen.kind != base.kind:
        if not seen.is_bad():
            yield "kind %s, not %s" % (seen.kind, base.kind)
        return
    told = any(c.startswith("!") for c in seen.chunks)
    if seen.size != base.size and not told:
        yield "size %d, not %d" % (seen.size, base.size)
    if len(seen.chunks) != len(base.chunks) and not told:
        yield "%d blocks, not %d" % (len(seen.chunks), len(base.chunks))
    for i, (s, b) in enumerate(zip(seen.chunks, base.chunks)):
        if s != b and not s.startswith("!"):
            yield "block %d differs" % i
            break
    if "" in seen.attributes:
        return
    for name in base.attributes:
        if name not in seen.attributes:
            yield "attribute %s is missing" % name
        elif seen.attributes[name] != base.attributes[name] and \
                not seen.attributes[name].startswith("!"):
            yield "attribute %s differs" % name
    for name in seen.attributes:
        if name not in base.attributes:
            yield "attribute %s appears" % name


def errors(seen):
    if seen.error:
        yield None
    for i, c in enumerate(seen.chunks):
        if c.startswith("!"):
            yield i
    for value in seen.attributes.values():
        if value.startswith("!"):
            yield None


def judge(change, base, seen, old, zero, dirty):
    """What a change led to; base, seen and old are Seen by path."""
    v = Verdict()
    failing = {p for p, s in seen.items() if s.error and s.kind == "d"}
    for path in sorted(set(base) | set(seen)):
        b, s = base.get(path), seen.get(path)
        if not b and os.path.basename(path).startswith(DAMAGED):
            v.detected = True
            continue
        if not b and DAMAGED in path:
            # The name is damaged, the place is not: below it all is as it was.
            top, rest = path.split("/", 1) if path.startswith(DAMAGED) else (None, None)
            b = rest and base.get(change.concerned[0] + "/" + rest)
            if not b or s.error or list(differences(b, s)):
                v.wrong.append("%s: shown inside of what is damaged" % path)
            continue
        if s:
            for chunk in errors(s):
                v.detected = True
                if not is_below(path, change.concerned):
                    v.wrong.append("%s: an error that is none of its own" % path)
                elif chunk is not None and change.chunks is not None and \
                        chunk not in change.chunks and s.kind == "f":
                    v.wrong.append("%s: block %d is not concerned" % (path, chunk))
        if b and s:
            words = list(differences(b, s))
        elif b:
            damaged = any(os.path.dirname(p) == os.path.dirname(path) and
                          os.path.basename(p).startswith(DAMAGED) for p in seen)
            hidden = is_below(os.path.dirname(path), failing) or damaged_above(path, seen)
            words = [] if hidden or (damaged and is_below(path, change.concerned)) else ["vanished"]
            if words and not is_below(path, change.concerned):
                v.wrong.append("%s: vanished" % path)
                continue
        else:
            words = [] if s.is_bad() else ["appears"]
        if not words:
            continue
        reasons = [KNOWN[k][1] for k in change.known
                   if k in KNOWN and (dirty or not k.startswith("dirty"))]
        if is_below(path, change.concerned) and any(
                fits(b, s, old.get(path), zero) for fits in reasons):
            v.known = True
        else:
            v.wrong.append("%s: %s" % (path, "; ".join(words)))
    return v


def damaged_above(path, seen):
    """True if a directory that path was in is one of the damaged or failing ones."""
    while os.path.dirname(path):
        path = os.path.dirname(path)
        if path in seen:
            return bool(seen[path].error) or seen[path].kind != "d"
        if any(os.path.dirname(p) == os.path.dirname(path) and
               os.path.basename(p).startswith(DAMAGED) for p in seen):
            return True
    return False
