# SPDX-License-Identifier: MIT
"""Every change that is made to a closed vault, one at a time.

Each yields a Change: what it does to the stored side, which things of the
mount it concerns, and which outcomes of docs/format.md ("What a writer to the
vault can still do") it may have without an error.  Anything else that shows is
a failure: see judge.py.
"""

import base64
import hashlib
import os
import stat

import backing
from backing import RECORD, RECORD_ATTRIBUTE
from content import LONG_DIR, LONG_FILE, LONG_LINK

BLOCK = 4096
HEADER = 512
START = 1024
ENTRY = 64
HALF = 32


class Change:
    def __init__(self, kind, what, concerned, do, known=(), chunks=None, undo=None):
        self.kind = kind
        self.what = what
        self.concerned = concerned  # paths of the mount, with what is below them
        self.do = do
        self.known = known          # reasons in judge.KNOWN
        self.chunks = chunks        # blocks of a file that it concerns, or None for all
        self.undo = undo            # a quick way back, if nothing else was written


def group_of(index):
    return 0 if index < 48 else 1 + (index - 48) // 64


def block_offset(index):
    return BLOCK * (1 + index + group_of(index))


def entry_offset(index):
    group = group_of(index)
    if group == 0:
        return START + ENTRY * index
    first = 48 + 64 * (group - 1)
    return BLOCK * (first + group) + ENTRY * (index - first)


def n_blocks(content):
    """Of a stored file in blocks; 0 for a small one."""
    if len(content) < BLOCK:
        return 0
    n = 0
    while block_offset(n) < len(content):
        n += 1
    return n


class Vault:
    """A closed vault: where things lie now, how they lay before, what is shown."""

    def __init__(self, top, now, old, shown, old_shown, prefix="", dirty=None):
        self.top = top
        self.now = now            # backing.Snapshot
        self.old = old
        self.dirty = dirty        # as now, but before it was closed; or None
        self.shown = shown        # path: judge.Seen
        self.old_shown = old_shown
        self.prefix = prefix      # of the copy that changes are made in
        self.stored = self.match(now, shown)
        self.old_stored = self.match(old, old_shown)

    @staticmethod
    def match(snapshot, shown):
        """Stored paths by shown ones: a mount shows the stored inodes."""
        by_inode = {}
        for path, entry in snapshot.entries.items():
            by_inode.setdefault(entry.inode, []).append(path)
        where = {}
        for path in sorted(shown, key=len):
            found = by_inode[shown[path].inode]
            if len(found) > 1:  # hard links: the one in the same directory
                parent = where[os.path.dirname(path) or "."]
                found = [p for p in found if (os.path.dirname(p) or ".") == parent]
            where[path] = found[0]
        return where

    def files(self):
        """Regular files, by their path in the copy."""
        return self.of_kind("f")

    def of_kind(self, letter):
        return [path for path in self.paths() if self.shown[self.full(path)].kind[0] == letter]

    def directories(self):
        """With the root, as "", unless changes are made in a copy below it."""
        return self.of_kind("d") + ([] if self.prefix else [""])

    def paths(self):
        start = self.prefix
        return sorted(path[len(start):] for path in self.shown
                      if path.startswith(start) and path not in (".", start.rstrip("/")))

    def full(self, path):
        return (self.prefix + path).rstrip("/") or "."

    def at(self, path):
        """Where it lies on disk."""
        return os.path.join(self.top, self.stored[self.full(path)])

    def entry(self, path):
        return self.now[self.stored[self.full(path)]]

    def before(self, path):
        """How it lay in the first generation, or None."""
        stored = self.old_stored.get(self.full(path))
        return self.old[stored] if stored else None

    def names_of(self, path):
        """All names of a file: what a change of it concerns."""
        inode = self.shown[self.full(path)].inode
        return [p for p, seen in self.shown.items() if seen.inode == inode]

    def beside(self, path, prefix):
        """The path of a sidecar of path."""
        directory, stored = os.path.split(self.at(path))
        if prefix == "long.":
            return os.path.join(directory, stored + ".name")
        digest = hashlib.blake2b(stored.encode(), digest_size=32).digest()
        return os.path.join(directory, prefix + base64.urlsafe_b64encode(digest).decode()
                            .rstrip("="))


# ---- bytes ---------------------------------------------------------------------


def flip(path, content, offset, bit):
    changed = bytes([content[offset] ^ (1 << bit)])

    def do():
        backing.patch(path, offset, changed)

    def undo():
        backing.patch(path, offset, content[offset:offset + 1])
    return do, undo


def regions(content):
    """Parts of a stored file: name, start, end, block."""
    yield "header", 0, 2 * HEADER, None
    n = n_blocks(content)
    if n == 0:
        yield "small content", START, len(content), None
        return
    for i in range(n):
        yield "tag entry", entry_offset(i), entry_offset(i) + ENTRY, i
        yield "block", block_offset(i), min(block_offset(i) + BLOCK, len(content)), i
    last = group_of(n - 1)
    for group in range(last + 1):
        first = 48 + 64 * (group - 1) if group else 0
        end = first + (64 if group else 48)
        if group == last:
            yield "unused tag entries", entry_offset(n - 1) + ENTRY, \
                entry_offset(end - 1) + ENTRY, None


def flips_of_files(v, pick):
    for path in v.files():
        content = v.entry(path).content
        for name, start, end, block in regions(content):
            places = range(start, end)
            if name == "block" and len(content) > 16384:
                places = pick.some(places, 64)
            for offset in pick(places):
                do, undo = flip(v.at(path), content, offset, pick.bit(offset))
                yield Change("bit flip: " + name, "%s byte %d" % (path, offset),
                             v.names_of(path), do, undo=undo,
                             chunks=None if block is None else {block})
        for offset in pick(range(HEADER)):
            both = [flip(v.at(path), content, offset + slot, pick.bit(offset))
                    for slot in (0, HEADER)]
            yield Change("bit flip: both headers", "%s byte %d" % (path, offset),
                         v.names_of(path), lambda b=both: [do() for do, _ in b],
                         undo=lambda b=both: [undo() for _, undo in b])


def small_things(v):
    """Sidecars, markers and records: what, path on disk, whom they concern."""
    for path in (LONG_FILE, LONG_DIR, LONG_DIR + "/" + LONG_FILE, LONG_LINK):
        yield "name sidecar", v.beside(path, "long."), [v.full(path)]
    for path in ("far", "d1/far", "farthest"):
        yield "target sidecar", v.beside(path, "link."), [v.full(path)]
    for path in v.paths():
        if v.shown[v.full(path)].kind[0] in "pscb":
            yield "marker", v.beside(path, "node."), [v.full(path)]
    for path in v.directories():
        yield "directory record", os.path.join(v.at(path), RECORD), [v.full(path)]


def flips_of_small_things(v, pick):
    for what, at, concerned in small_things(v):
        content = backing.read(at)
        for offset in pick(range(len(content))):
            do, undo = flip(at, content, offset, pick.bit(offset))
            yield Change("bit flip: " + what, "%s byte %d" % (at, offset), concerned, do,
                         undo=undo)


def flipped(raw, offset, bit):
    return raw[:offset] + bytes([raw[offset] ^ 1 << bit]) + raw[offset + 1:]


def set_attribute(path, name, value, back):
    """Changing one attribute, and how it is put back; back is None where there was none."""
    def undo():
        if back is None:
            os.removexattr(path, name)
        else:
            os.setxattr(path, name, back)
    return (lambda: os.setxattr(path, name, value)), undo


def flips_of_records(v, pick):
    """The copy in the attribute, and both copies."""
    for path in v.directories():
        raw = v.entry(path).attributes.get(RECORD_ATTRIBUTE)
        record = os.path.join(v.at(path), RECORD)
        if raw is None:
            continue
        for offset in pick(range(len(raw))):
            bad = flipped(raw, offset, pick.bit(offset))
            do, undo = set_attribute(v.at(path), RECORD_ATTRIBUTE, bad, raw)
            yield Change("bit flip: directory record", "%s attribute byte %d" % (path, offset),
                         [v.full(path)], do, undo=undo)
            yield Change("bit flip: both directory records", "%s byte %d" % (path, offset),
                         [v.full(path)],
                         lambda d=do, r=record, b=bad: (d(), backing.patch(r, 0, b)),
                         undo=lambda u=undo, r=record, b=raw: (u(), backing.patch(r, 0, b)))


def owners(v):
    """Files and directories with attributes of a user: path and stored names."""
    for path in v.files() + v.of_kind("d"):
        names = sorted(n for n in v.entry(path).attributes if n != RECORD_ATTRIBUTE)
        if names:
            yield path, names


def flips_of_attributes(v, pick):
    for path, names in owners(v):
        for name in names:
            value = v.entry(path).attributes[name]
            for offset in pick(range(len(value))):
                do, undo = set_attribute(v.at(path), name,
                                         flipped(value, offset, pick.bit(offset)), value)
                yield Change("bit flip: attribute value", "%s byte %d" % (path, offset),
                             v.names_of(path), do, undo=undo)
            for offset in pick(range(len("user.cryptfs."), len(name))):
                other = name[:offset] + ("A" if name[offset] != "A" else "B") + name[offset + 1:]

                def do(p=v.at(path), n=name, o=other, x=value):
                    os.removexattr(p, n)
                    os.setxattr(p, o, x)

                def undo(p=v.at(path), n=name, o=other, x=value):
                    os.removexattr(p, o)
                    os.setxattr(p, n, x)
                yield Change("change of an attribute's name", "%s char %d" % (path, offset),
                             v.names_of(path), do, known=("attribute deleted",), undo=undo)


def rename_undo(one, two):
    return (lambda: os.rename(one, two)), (lambda: os.rename(two, one))


def flips_of_names(v, pick):
    for path in v.paths():
        at = v.at(path)
        directory, name = os.path.split(at)
        for offset in pick(range(len(name))):
            other = name[:offset] + ("A" if name[offset] != "A" else "B") + name[offset + 1:]
            do, undo = rename_undo(at, os.path.join(directory, other))
            yield Change("change of a stored name", "%s char %d" % (path, offset),
                         [v.full(path)], do, undo=undo)


def retarget(path, text):
    os.unlink(path)
    os.symlink(text, path)


def flips_of_targets(v, pick):
    for path in v.of_kind("l"):
        text = v.entry(path).content
        for offset in pick(range(len(text))):
            other = text[:offset] + ("A" if text[offset] != "A" else "B") + text[offset + 1:]
            yield Change("change of a symlink's text", "%s char %d" % (path, offset),
                         [v.full(path)], lambda p=v.at(path), t=other: retarget(p, t),
                         undo=lambda p=v.at(path), t=text: retarget(p, t))


# ---- lengths -------------------------------------------------------------------


def boundaries(size):
    edges = {0, HEADER, START, BLOCK, size}
    edges.update(range(0, size, BLOCK))
    return sorted({e + d for e in edges for d in (-1, 0, 1) if 0 <= e + d < size})


def resized(path, size, content):
    def undo():
        os.truncate(path, min(size, len(content)))
        backing.patch(path, min(size, len(content)), content[size:])
    return (lambda: os.truncate(path, size)), undo


def lengths(v, pick):
    for path in v.files():
        content = v.entry(path).content
        for size in pick(boundaries(len(content))):
            do, undo = resized(v.at(path), size, content)
            yield Change("cut", "%s to %d" % (path, size), v.names_of(path), do,
                         known=("dirty: cut", "dirty: size"), undo=undo)
        for more in (1, 2, HEADER, BLOCK - 1, BLOCK, BLOCK + 1, 64 * BLOCK, 65 * BLOCK, 1 << 30):
            do, undo = resized(v.at(path), len(content) + more, content)
            yield Change("extended", "%s by %d" % (path, more), v.names_of(path), do,
                         known=("dirty: holes at the end", "dirty: size"), undo=undo)
        for junk in (1, BLOCK):
            yield Change("extended", "%s by %d bytes of junk" % (path, junk), v.names_of(path),
                         lambda p=v.at(path), c=content, j=junk:
                         backing.patch(p, len(c), b"j" * j),
                         known=("dirty: size", "dirty: holes at the end"),
                         undo=lambda p=v.at(path), c=content: os.truncate(p, len(c)))
    for what, at, concerned in small_things(v):
        content = backing.read(at)
        for size in pick([0, 1, 16, 32, len(content) - 1]):
            if size < len(content):
                do, undo = resized(at, size, content)
                yield Change("cut: " + what, "%s to %d" % (at, size), concerned, do, undo=undo)
        for more in (1, 16, BLOCK):
            do, undo = resized(at, len(content) + more, content)
            yield Change("extended: " + what, "%s by %d" % (at, more), concerned, do, undo=undo)


# ---- blocks, entries, headers --------------------------------------------------


def overwrite(path, offset, content, old):
    """A part of a file: changing it and putting it back."""
    def undo():
        backing.patch(path, offset, old[offset:offset + len(content)])
    return (lambda: backing.patch(path, offset, content)), undo


def several(*pieces):
    """Several of what overwrite gives as one."""
    return (lambda: [do() for do, _ in pieces]), (lambda: [undo() for _, undo in pieces])


def zeros(v, pick):
    for path in v.files():
        content = v.entry(path).content
        at, names = v.at(path), v.names_of(path)
        n = n_blocks(content)
        holes = ("hole",) if path == "holes" else ()

        def zero(kind, what, offset, size, chunks=None, known=()):
            do, undo = overwrite(at, offset, bytes(size), content)
            return Change(kind, "%s of %s" % (what, path), names, do, undo=undo, chunks=chunks,
                          known=known + ("dirty: emptied",))
        yield zero("zeroed", "header A", 0, HEADER)
        yield zero("zeroed", "header B", HEADER, HEADER)
        yield zero("zeroed", "both headers", 0, 2 * HEADER)
        yield zero("zeroed", "header page", 0, min(BLOCK, len(content)))
        if n:
            yield zero("zeroed", "first tag entries", START, BLOCK - START, known=holes)
        elif len(content) > START:
            yield zero("zeroed", "small content", START, len(content) - START)
        for i in pick(range(n)):
            here = {i}
            size = min(BLOCK, len(content) - block_offset(i))
            yield zero("zeroed", "entry %d" % i, entry_offset(i), ENTRY, here, holes)
            yield zero("zeroed", "first half of entry %d" % i, entry_offset(i), HALF, here, holes)
            yield zero("zeroed", "second half of entry %d" % i, entry_offset(i) + HALF, HALF,
                       here, holes)
            yield zero("zeroed", "sequences of entry %d" % i, entry_offset(i) + 28, 4, here)
            yield zero("zeroed", "block %d" % i, block_offset(i), size, here,
                       ("dirty: zeroed block of a file with holes",) if holes else ())
        for group in range(1, group_of(n - 1) + 1 if n else 0):
            page = entry_offset(48 + 64 * (group - 1))
            yield zero("zeroed", "tag page %d" % group, page, BLOCK,
                       set(range(48 + 64 * (group - 1), n)), holes)


def piece(content, i, part):
    """Offset and bytes of a block's ciphertext, entry, or both."""
    data = (block_offset(i), content[block_offset(i):block_offset(i) + BLOCK])
    entry = (entry_offset(i), content[entry_offset(i):entry_offset(i) + ENTRY])
    return {"data": [data], "entry": [entry], "both": [data, entry]}[part]


def blocks_moved(v, pick):
    big = [p for p in v.files() if n_blocks(v.entry(p).content) > 2]
    pairs = [(a, i, b, j) for a in big for b in big
             for i in (0, 1, 47, 48, 49, 111, 112) for j in (0, 1, 48, 112)
             if (a, i) != (b, j) and i < n_blocks(v.entry(a).content)
             and j < n_blocks(v.entry(b).content)]
    for a, i, b, j in pick(pairs):
        for part in ("data", "entry", "both"):
            one, two = v.entry(a).content, v.entry(b).content
            there = list(zip(piece(two, j, part), piece(one, i, part)))
            copied = several(*[overwrite(v.at(b), to[0], what[1][:len(to[1])], two)
                               for to, what in there])
            yield Change("block copied", "%s of %s %d to %s %d" % (part, a, i, b, j),
                         v.names_of(b), copied[0], undo=copied[1], chunks={j})
            back = several(*[overwrite(v.at(a), what[0], to[1][:len(what[1])], one)
                             for to, what in there], *[
                                 overwrite(v.at(b), to[0], what[1][:len(to[1])], two)
                                 for to, what in there])
            yield Change("blocks swapped", "%s of %s %d and %s %d" % (part, a, i, b, j),
                         v.names_of(a) + v.names_of(b), back[0], undo=back[1], chunks={i, j})


def rolled_back(v, pick):
    for path in v.files():
        before, now = v.before(path), v.entry(path)
        if not before or before.content == now.content:
            continue
        at, names = v.at(path), v.names_of(path)
        old, new = before.content, now.content

        def part(what, pieces, known=(), chunks=None):
            do, undo = several(*[overwrite(at, offset, bits, new) for offset, bits in pieces])
            return Change("rolled back: " + what, path, names, do, undo=undo, known=known,
                          chunks=chunks)
        yield part("header A", [(0, old[:HEADER])])
        yield part("header B", [(HEADER, old[HEADER:2 * HEADER])])
        yield part("headers", [(0, old[:2 * HEADER])])
        if n_blocks(new) == 0:
            yield part("small content", [(START, old[START:len(new)])],
                       ("dirty: small content rolled back",))
        for i in pick(range(min(n_blocks(old), n_blocks(new)))):
            for kind in ("data", "entry", "both"):
                pieces = [(o, b[:len(new) - o]) for o, b in piece(old, i, kind)]
                yield part("block" if kind == "both" else "block: %s alone" % kind, pieces,
                           ("block rolled back",), {i})
        yield Change("rolled back: file", path, names,
                     lambda p=at, c=old: backing.write(p, c), known=("file rolled back",))


def headers_moved(v, pick):
    files = v.files()
    for path in files:
        content, at, names = v.entry(path).content, v.at(path), v.names_of(path)
        a, b = content[:HEADER], content[HEADER:2 * HEADER]
        for what, raw in (("swapped", b + a), ("A over B", a + a), ("B over A", b + b)):
            do, undo = overwrite(at, 0, raw, content)
            yield Change("header slots", "%s: %s" % (path, what), names, do, undo=undo,
                         known=("dirty: emptied",))
    for one, two in pick([(a, b) for a in files for b in files if a != b]):
        first, second = v.entry(one).content, v.entry(two).content
        for what, start, end in (("A", 0, HEADER), ("B", HEADER, 2 * HEADER),
                                 ("both", 0, 2 * HEADER), ("page", 0, BLOCK)):
            raw = first[start:end]
            do, undo = overwrite(v.at(two), start, raw[:len(second) - start], second)
            yield Change("header of another file", "%s of %s to %s" % (what, one, two),
                         v.names_of(two), do, undo=undo)


def headers_and_lengths(v, pick):
    """An older header made current by destroying the other, and the length changed."""
    for path in v.files():
        content = v.entry(path).content
        for slot in (0, HEADER):
            lost = overwrite(v.at(path), slot, bytes(HEADER), content)
            sizes = set(range(BLOCK, len(content), BLOCK)) | {START, len(content) + BLOCK}
            for size in pick(sorted(sizes - {len(content)})):
                do, undo = several(lost, resized(v.at(path), size, content))
                yield Change("one header destroyed, and cut or extended",
                             "%s to %d" % (path, size), v.names_of(path), do, undo=undo,
                             known=("dirty: cut", "dirty: holes at the end", "dirty: size"))


def kept_headers(v, pick):
    """Headers from when the file was DIRTY, which somebody kept, and the length changed."""
    for path in v.files() if v.dirty else []:
        content, at, names = v.entry(path).content, v.at(path), v.names_of(path)
        kept = v.dirty[v.stored[v.full(path)]].content[:2 * HEADER]
        headers = overwrite(at, 0, kept, content)
        do, undo = headers
        yield Change("header of a DIRTY time", path, names, do, undo=undo)
        sizes = set(range(BLOCK, len(content), BLOCK)) | {START, len(content) + BLOCK}
        for size in pick(sorted(sizes - {len(content)})):
            do, undo = several(headers, resized(at, size, content))
            yield Change("header of a DIRTY time, and cut or extended", "%s to %d" % (path, size),
                         names, do, undo=undo, known=("kept header: cut", "kept header: longer",
                                                      "kept header: size"))


# ---- whole things --------------------------------------------------------------


def stand_ins(v, pick):
    """Something else in the place of each thing."""
    root_record = os.path.join(v.top, RECORD)
    for path in v.paths():
        at = v.at(path)
        concerned = [v.full(path)]
        for what, make in pick([
                ("nothing", lambda p: None),
                ("an empty file", lambda p: backing.write(p, b"")),
                ("junk", lambda p: backing.write(p, b"junk" * 2000)),
                ("a FIFO", os.mkfifo),
                ("a socket", lambda p: os.mknod(p, stat.S_IFSOCK | 0o644)),
                ("a symlink", lambda p: os.symlink("/etc/passwd", p)),
                ("a symlink to a sibling", lambda p: os.symlink(os.path.basename(p), p)),
                ("an empty directory", os.mkdir),
                ("a directory with the root's record",
                 lambda p: (os.mkdir(p), backing.copy(root_record, os.path.join(p, RECORD)))),
                ("a device", lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 5)))]):
            if what == "a device" and os.geteuid() != 0:
                continue

            def do(p=at, make=make):
                backing.remove(p)
                make(p)
            known = {"nothing": ("deleted",)}.get(what, ())
            kind = v.shown[v.full(path)].kind
            same = (what == "a FIFO" and kind == "p") or (what == "a socket" and kind == "s") or \
                (what == "a device" and kind == "c1:5")
            yield Change("replaced by something" if not same else "replaced by its like",
                         "%s by %s" % (path, what), concerned, do, known=known)


def pairs_of(v, kinds, pick):
    things = [p for p in v.paths() if v.shown[v.full(p)].kind[0] in kinds]
    return pick([(a, b) for a in things for b in things
                 if a != b and not (a + "/").startswith(b + "/")
                 and not (b + "/").startswith(a + "/")])


def hard_linked(v, path):
    return len(v.names_of(path)) > 1


def whole_moved(v, pick):
    """Stored entries swapped, moved, renamed, duplicated: all kinds onto all kinds."""
    for one, two in pairs_of(v, "fdlpscb", pick):
        a, b = v.at(one), v.at(two)
        both = [v.full(one), v.full(two)]
        known = ()
        if hard_linked(v, one):
            known = ("hard-linked file moved",)
        swap_known = known or (("hard-linked file moved",) if hard_linked(v, two) else ())
        what = "%s and %s" % (one, two)
        yield Change("entries swapped", what, both, lambda a=a, b=b: backing.swap(a, b),
                     known=swap_known)
        yield Change("entry copied over another", what, [v.full(two)],
                     lambda a=a, b=b: backing.copy(a, b), known=known)

        def move(a=a, b=b):
            backing.remove(b)
            os.rename(a, b)
        yield Change("entry moved over another", what, both, move, known=known + ("deleted",))
        if os.path.isdir(a):
            continue

        def link(a=a, b=b):
            backing.remove(b)
            os.link(a, b, follow_symlinks=False)
        yield Change("entry hard-linked over another", what, [v.full(two)], link, known=known)


def names_moved(v, pick):
    """Entries under their own stored names, in other directories; new names."""
    directories = v.of_kind("d")
    for path in v.paths():
        at = v.at(path)
        for to in pick(directories):
            if (to + "/").startswith(path + "/") or os.path.dirname(path) == to:
                continue
            there = os.path.join(v.at(to), os.path.basename(at))
            yield Change("entry copied to another directory", "%s to %s" % (path, to), [],
                         lambda a=at, t=there: backing.copy(a, t))
            do, undo = rename_undo(at, there)
            yield Change("entry moved to another directory", "%s to %s" % (path, to),
                         [v.full(path)], do, undo=undo, known=("deleted",))
        for name in pick(["notes (conflicted copy).txt", "A" * 43, "x" * 255, "a.b",
                          "long." + "A" * 43, "cryptfs-damaged-x", os.path.basename(at) + "=",
                          "\udcff"]):
            there = os.path.join(os.path.dirname(at), name)
            do, undo = rename_undo(at, there)
            yield Change("entry renamed", "%s to %r" % (path, name), [v.full(path)], do,
                         undo=undo)
            yield Change("entry copied under a new name", "%s to %r" % (path, name), [],
                         lambda a=at, t=there: backing.copy(a, t))
        for name in pick([".cryptfs-tmp.x", "link." + "A" * 43, "node." + "A" * 43,
                          "long." + "A" * 43 + ".name"]):
            do, undo = rename_undo(at, os.path.join(os.path.dirname(at), name))
            yield Change("entry hidden", "%s as %s" % (path, name), [v.full(path)], do,
                         undo=undo, known=("deleted",))


def old_entries(v, pick):
    """What lay in the first generation, put back where it lay."""
    for path, stored in sorted(v.old_stored.items()):
        if not path.startswith(v.prefix) or path in (".", v.prefix.rstrip("/")):
            continue
        entry = v.old[stored]
        at = os.path.join(v.top, stored)
        below = [p for p in v.old.entries if p == stored or p.startswith(stored + "/")]
        now = v.now.entries.get(stored)
        if not os.path.isdir(os.path.dirname(at)):
            continue

        def do(below=below, at=at):
            backing.remove(at)
            for p in sorted(below):
                old = v.old[p]
                full = os.path.join(v.top, p)
                v.now.make(full, old, {}, {})
                backing.correct(full, old)
        reason = "file rolled back" if now else "deleted entry put back"
        if entry.kind == stat.S_IFDIR and now:
            reason = "directory rolled back"
        concerned = [path]
        yield Change("old entry put back", path, concerned, do, known=(
            reason, "moved entry is there under its old name"))
    for old_name, new_name in (("was-here", "is-here"), ("was-sl", "is-sl"),
                               ("was-dir", "d3/is-dir"), ("d2", "d3")):
        at = os.path.join(v.top, v.old_stored[v.full(old_name)])
        do, undo = rename_undo(v.at(new_name), at)
        yield Change("entry back under its old name", new_name, [v.full(new_name), v.full(old_name)],
                     do, undo=undo, known=("deleted", "dirty: old name"))


def text_changes(v, pick):
    links = v.of_kind("l")
    for path in links:
        text = v.entry(path).content
        for what, other in (("cut", text[:-1]), ("halved", text[:len(text) // 2]),
                            ("longer", text + "A"), ("dot", text + "."),
                            ("twice", (text + "." + text)[:4095]), ("@", "@"), ("plain", "/etc/passwd"),
                            ("padded", text + "="), ("second seal", ("AAAA." + text)[:4095]),
                            ("three seals", (text + "." + text + "." + text)[:4095])):
            if other and other != text:
                yield Change("change of a symlink's text", "%s %s" % (path, what), [v.full(path)],
                             lambda p=v.at(path), t=other: retarget(p, t))
        old = v.before(path)
        if old and old.content != text:
            yield Change("rolled back: symlink", path, [v.full(path)],
                         lambda p=v.at(path), t=old.content: retarget(p, t),
                         known=("symlink rolled back",))
    for one, two in pick([(a, b) for a in links for b in links if a != b]):
        yield Change("symlink's text copied", "%s to %s" % (one, two), [v.full(two)],
                     lambda p=v.at(two), t=v.entry(one).content: retarget(p, t))


def small_things_moved(v, pick):
    things = list(small_things(v))
    for what, at, concerned in things:
        known = ()
        for name, make in (("nothing", lambda p: None), ("a FIFO", os.mkfifo),
                           ("a directory", os.mkdir), ("nothing in it", lambda p: backing.write(p, b"")),
                           ("zeros", lambda p, n=os.path.getsize(at): backing.write(p, bytes(n))),
                           ("a symlink", lambda p: os.symlink("/etc/passwd", p)),
                           ("a socket", lambda p: os.mknod(p, stat.S_IFSOCK | 0o600))):
            def do(p=at, make=make):
                backing.remove(p)
                make(p)
            yield Change("replaced: " + what, "%s by %s" % (at, name), concerned, do, known=known)
    for one, two in pick([(a, b) for a in things for b in things if a[1] != b[1]]):
        yield Change("copied: " + two[0], "%s over %s" % (one[1], two[1]), two[2],
                     lambda a=one[1], b=two[1]: backing.copy(a, b))


def records_changed(v, pick):
    directories = v.directories()
    for path in directories:
        at = v.at(path)
        record = os.path.join(at, RECORD)
        now, old = v.entry(path), v.before(path)
        has = RECORD_ATTRIBUTE in now.attributes

        def drop_attribute(p=at):
            os.removexattr(p, RECORD_ATTRIBUTE)
        if has:
            yield Change("directory record: one copy", "no attribute: " + path, [v.full(path)],
                         drop_attribute)
        yield Change("directory record: both copies", "neither: " + path, [v.full(path)],
                     lambda r=record, d=drop_attribute, h=has: (os.unlink(r), h and d()))
        if path:
            yield Change("directory record: both copies", "neither, and no entries: " + path,
                         [v.full(path)], lambda a=at: (backing.remove(a), os.mkdir(a)))
        if old:
            raw = v.old[os.path.normpath(v.old_stored[v.full(path)] + "/" + RECORD)].content
            yield Change("rolled back: directory record", "file: " + path, [v.full(path)],
                         lambda r=record, c=raw: backing.write(r, c))
            yield Change("rolled back: directory record", "both: " + path, [v.full(path)],
                         lambda r=record, c=raw, a=at, h=has:
                         (backing.write(r, c), h and os.setxattr(a, RECORD_ATTRIBUTE, c)))
    for one, two in pick([(a, b) for a in directories for b in directories if a != b]):
        raw = backing.read(os.path.join(v.at(one), RECORD))
        record = os.path.join(v.at(two), RECORD)
        yield Change("directory record of another", "file: %s to %s" % (one, two), [v.full(two)],
                     lambda r=record, c=raw: backing.write(r, c))
        yield Change("directory record of another", "attribute: %s to %s" % (one, two),
                     [v.full(two)],
                     lambda a=v.at(two), c=raw: os.setxattr(a, RECORD_ATTRIBUTE, c))
        yield Change("directory record of another", "both: %s to %s" % (one, two), [v.full(two)],
                     lambda r=record, a=v.at(two), c=raw:
                     (backing.write(r, c), os.setxattr(a, RECORD_ATTRIBUTE, c)))


def attributes_moved(v, pick):
    all_of_them = [(p, n) for p, names in owners(v) for n in names]
    for path, name in all_of_them:
        at, value = v.at(path), v.entry(path).attributes[name]
        yield Change("attribute removed", path, v.names_of(path),
                     lambda a=at, n=name: os.removexattr(a, n), known=("attribute deleted",))
        for what, other in (("empty", b""), ("cut", value[:-1]), ("longer", value + b"x"),
                            ("nonce only", value[:12]), ("tag only", value[:28])):
            do, undo = set_attribute(at, name, other, value)
            yield Change("attribute value changed", "%s %s" % (path, what), v.names_of(path), do,
                         undo=undo)
        old = v.before(path)
        if old and name in old.attributes and old.attributes[name] != value:
            do, undo = set_attribute(at, name, old.attributes[name], value)
            yield Change("rolled back: attribute", path, v.names_of(path), do, undo=undo,
                         known=("attribute rolled back",))
    for (a, name), (b, other) in [(x, y) for x in all_of_them for y in all_of_them if x != y]:
        value = v.entry(a).attributes[name]
        do, undo = set_attribute(v.at(b), other, value, v.entry(b).attributes[other])
        yield Change("attribute value of another", "%s to %s" % (a, b), v.names_of(b), do,
                     undo=undo)
        if a == b:
            continue
        # A place attribute has the same name everywhere, so b may have one, too.
        do, undo = set_attribute(v.at(b), name, value, v.entry(b).attributes.get(name))
        yield Change("attribute of another", "%s to %s" % (a, b), v.names_of(b), do, undo=undo)
    for path in v.files()[:3]:
        for name in ("user.cryptfs.AAAA", "user.foreign", "user.cryptfs."):
            yield Change("attribute of nobody", path, v.names_of(path),
                         lambda p=v.at(path), n=name: os.setxattr(p, n, b"x"),
                         undo=lambda p=v.at(path), n=name: os.removexattr(p, n))


ALL = (flips_of_files, flips_of_small_things, flips_of_records, flips_of_attributes,
       flips_of_names, flips_of_targets, lengths, zeros, blocks_moved, rolled_back,
       headers_moved, headers_and_lengths, kept_headers, stand_ins, whole_moved, names_moved, old_entries, text_changes,
       small_things_moved, records_changed, attributes_moved)
