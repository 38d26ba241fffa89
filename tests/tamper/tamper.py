#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Change a closed vault in one place at a time, and see what a mount shows.

    tamper.py --view PROGRAM [--dirty] [--flips N] [--pick N] [OPTIONS]
    tamper.py --cryptfs PROGRAM --mount PROGRAM [--cells N] [OPTIONS]
    OPTIONS: [--suite NAME] [--seed N] [--only NAME] [--verbose]

Every change must lead to an error for exactly what it concerns, or to nothing,
or be one of those that docs/format.md says a writer to the vault can make
(judge.KNOWN).  --flips N and --pick N: N of each thing's bytes, and of each
thing's places; 0 for all of them (but of a large file's blocks 64 bytes each).  --dirty: of a vault whose mount was killed.  With
--cryptfs and --mount: as many changes as cells, on a real mount.  Prints a table; exit status 1 if anything
was shown wrongly.
"""

import argparse
import collections
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import backing
import changes
import config
import content
import offline
import mounted
from judge import DAMAGED, Verdict, is_below, judge

# Of vault.h: opened, not found, damaged, wrong key, too new.
REFUSALS = ("0", "1", "2", "3", "6")
# Of the man page: the same, as exit statuses; 2 is "too new".
STATUSES = (2, 3, 4, 5)

RESULTS = ("changes", "detected", "harmless", "known", "wrong")


class Picker:
    """Which of many places are changed: always the same ones for a seed."""

    def __init__(self, n, seed):
        self.n = n
        self.random = random.Random(seed)

    def __call__(self, places):
        return self.some(places, self.n)

    def some(self, places, n):
        """At most n of them; all for 0."""
        places = list(places)
        if not n or len(places) <= n:
            return places
        return [places[i] for i in sorted(self.random.sample(range(len(places)), n))]

    def bit(self, offset):
        return self.random.randrange(8)


class Table:
    def __init__(self, verbose):
        self.rows = collections.OrderedDict()
        self.verbose = verbose
        self.failures = 0

    def add(self, change, verdict):
        row = self.rows.setdefault(change.kind, collections.Counter())
        row["changes"] += 1
        row[verdict.word()] += 1
        if verdict.wrong:
            self.failures += 1
            if self.verbose or row["wrong"] <= 3:
                line = "WRONG: %s: %s: %s" % (change.kind, change.what, verdict.wrong[:4])
                print(re.sub(r"([LDS])\1{20,}", r"\1\1\1", line), flush=True)

    def show(self):
        print("| change | %s |" % " | ".join(RESULTS))
        print("|---|%s" % ("---|" * len(RESULTS)))
        total = collections.Counter()
        for kind, row in self.rows.items():
            print("| %s | %s |" % (kind, " | ".join(str(row[r]) for r in RESULTS)))
            total.update(row)
        print("| all | %s |" % " | ".join(str(total[r]) for r in RESULTS))


def refused(change):
    """The root of the tree cannot be opened."""
    v = Verdict()
    v.detected = True
    if "." not in change.concerned:
        v.wrong.append("the root cannot be opened")
    return v


def died(why):
    v = Verdict()
    v.wrong.append(why)
    return v


class Offline:
    """A vault, and its changes seen through view."""

    def __init__(self, o, base):
        self.o = o
        self.base = base
        self.top = os.path.join(base, "tree")
        os.mkdir(self.top)
        self.view = offline.View(o.view, self.top, o.suite)
        for command in content.first(os.geteuid() == 0):
            self.view(*command)
        old, old_shown = self.close_and_look()
        for command in content.second():
            self.view(*command)
        dirty = None if o.dirty else backing.Snapshot(self.top)
        now, shown = self.die_and_look() if o.dirty else self.close_and_look()
        self.vault = changes.Vault(self.top, now, old, shown, old_shown, dirty=dirty)
        for path, seen in shown.items():
            if seen.is_bad():
                raise SystemExit("%s is bad before any change" % path)
        self.n = 0

    def close_and_look(self):
        self.view.settle()
        return self.die_and_look()

    def die_and_look(self):
        """As a mount that was killed leaves it; nothing is mended before it is looked at."""
        self.view("reopen", "ro")
        shown = self.view.look()
        snapshot = backing.Snapshot(self.top)
        self.view("reopen", "rw")
        return snapshot, shown

    def seen_through(self, change, how, path="."):
        if self.view.reopen(how):
            return refused(change)
        v = self.vault
        base = v.shown if path == "." else {p: s for p, s in v.shown.items() if p == path}
        return judge(change, base, self.view.look(path), v.old_shown, offline.zero, self.o.dirty)

    def quick(self, change):
        """A change inside of one file that nothing else depends on: look at that file."""
        self.n += 1
        files = change.concerned
        alone = change.undo and files and self.n % 64 and all(
            p in self.vault.shown and self.vault.shown[p].kind == "f" for p in files)
        return files[0] if alone else "."

    def one(self, change):
        change.do()
        writes = not change.undo or self.n % 16 == 15
        try:
            verdict = self.seen_through(change, "ro", self.quick(change))
            # As a mount that writes: it repairs, and settles at its end.
            for _ in range(2 if writes else 0):
                again = self.seen_through(change, "rw")
                verdict.wrong += [w + " (after repair)" for w in again.wrong]
                self.view.settle()
        except (offline.Died, offline.Refused) as e:
            verdict = died(str(e))
            self.view.kill()
            self.view.start()
        if change.undo and not writes:
            change.undo()
        else:
            self.vault.now.restore()
        return verdict

    def run(self, table):
        try:
            self.trees(table)
            if not self.o.dirty and (not self.o.only or self.o.only in "configurations"):
                self.configurations(table)
            self.view.stop()
        finally:
            self.view.kill()

    def trees(self, table):
        for number, generate in enumerate(changes.ALL):
            if self.o.only and self.o.only not in generate.__name__:
                continue
            n = self.o.flips if generate.__name__.startswith("flips") else self.o.pick
            for change in generate(self.vault, Picker(n, self.o.seed + number)):
                table.add(change, self.one(change))
        self.vault.now.restore()
        self.view.reopen("ro")
        end = changes.Change("end", "", [], None)
        last = judge(end, self.vault.shown, self.view.look(), {}, offline.zero, False)
        if last.word() != "harmless":
            raise SystemExit("the vault was not put back: %s" % last.wrong)

    def configurations(self, table):
        """Opened and unlocked without a mount; the key tells whether it is the right one."""
        raw = config.fresh(self.o.suite)
        foreign = config.fresh(self.o.suite, b"other vault here", b"another master key of 32 bytes..")
        whole = config.to(config.NAMES, raw)
        whole(self.base)
        right = self.opened()
        pick = Picker(self.o.flips * 8, self.o.seed)
        for change in list(config.flips(raw, pick)) + list(config.others(raw, foreign)):
            if change.kind == "configuration of another vault, both copies":
                continue  # it is the root that tells: see Mounted
            change.do(self.base)
            verdict = Verdict()
            try:
                answer = self.opened()
                if answer[0] != "0":
                    verdict.detected = True
                elif answer != right:
                    verdict.wrong.append("opens with another key")
                if answer[0] not in REFUSALS:
                    verdict.wrong.append("answer %s" % answer)
            except offline.Died as e:
                verdict = died(str(e))
                self.view.kill()
                self.view.start()
            table.add(change, verdict)
            whole(self.base)

    def opened(self):
        line, = self.view("config", self.base, config.PASSPHRASE.decode(), "rw")
        return line.decode().split()[1:]


class Mounted:
    """Copies of a content in one vault, each with a change of its own, on a real mount."""

    def __init__(self, o, base):
        self.o = o
        self.base = base
        self.vault = os.path.join(base, "vault")
        self.tree = os.path.join(self.vault, "tree")
        self.point = os.path.join(base, "mnt")
        passfile = os.path.join(base, "passphrase")
        backing.write(passfile, config.PASSPHRASE + b"\n")
        os.chmod(passfile, 0o600)
        os.mkdir(self.point)
        subprocess.run([o.cryptfs, "init", "--passfile", passfile, "--cipher", o.suite,
                        "--kdf-memory", "64", "--kdf-operations", "3", self.vault], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.make_cheap()
        self.log = open(os.path.join(base, "log"), "wb")
        self.mount = mounted.Mount(o.mount, self.vault, self.point, passfile, self.log)

    def make_cheap(self):
        """The same keys, by a derivation that takes no time."""
        raw = backing.read(os.path.join(self.vault, config.NAMES[0]))
        vault_id = bytes.fromhex(json.loads(raw)["id"])
        self.config = config.fresh(self.o.suite, vault_id, config.opened(raw, config.PASSPHRASE))
        config.to(config.NAMES, self.config)(self.vault)

    def must_start(self):
        status = self.mount.start()
        if status:
            raise SystemExit("the mount ended with %d" % status)

    def fill(self, commands):
        self.must_start()
        for cell in self.cells():
            if not os.path.isdir(os.path.join(self.point, cell)):
                os.mkdir(os.path.join(self.point, cell))
            carry_out = content.OnMount(os.path.join(self.point, cell))
            for command in commands():
                carry_out(*command)
        self.mount.stop()
        self.must_start()
        shown = mounted.look(self.point)
        self.mount.stop()
        return backing.Snapshot(self.tree), shown

    def cells(self):
        return ["c%03d" % i for i in range(self.o.cells)]

    def generators(self):
        return [(number, generate) for number, generate in enumerate(changes.ALL)
                if not self.o.only or self.o.only in generate.__name__]

    def changes_of(self, vault, number, generate):
        return generate(vault, Picker(2, self.o.seed + number))

    def choose(self, vault):
        """Which changes of which generators are made: of all kinds in turn."""
        kinds = collections.OrderedDict()
        for number, generate in self.generators():
            for place, change in enumerate(self.changes_of(vault, number, generate)):
                kinds.setdefault(change.kind, []).append((number, generate, place))
        chance = random.Random(self.o.seed)
        for places in kinds.values():
            chance.shuffle(places)
        chosen = []
        while len(chosen) < self.o.cells and any(kinds.values()):
            chosen += [places.pop() for places in kinds.values() if places]
        return chosen[:self.o.cells]

    def run(self, table):
        try:
            self.trees(table)
            if not self.o.only or self.o.only in "configurations":
                self.configurations(table)
        finally:
            self.mount.abandon()
            self.log.close()

    def trees(self, table):
        privileged = os.geteuid() == 0
        old, old_shown = self.fill(lambda: content.first(privileged))
        now, shown = self.fill(content.second)
        made = []
        for cell in self.cells():
            vault = changes.Vault(self.tree, now, old, shown, old_shown, cell + "/")
            if not made:
                chosen = self.choose(vault)
            if len(made) < len(chosen):
                number, generate, place = chosen[len(made)]
                change = next(itertools.islice(self.changes_of(vault, number, generate), place,
                                               None))
                change.do()
                made.append((cell, change))
        self.must_start()
        seen = mounted.look(self.point)
        for cell, change in made:
            verdict = judge(change, part(shown, cell), part(seen, cell), part(old_shown, cell),
                            mounted.zero, False)
            self.remove_damaged(cell, change, seen, verdict)
            table.add(change, verdict)
        left = mounted.look(self.point)
        for path in sorted(set(shown) - set(left)):
            cell = path.split("/")[0]
            change = dict(made).get(cell)
            if not change or not is_below(path, change.concerned):
                raise SystemExit("%s went with something else" % path)
        self.mount.stop()

    def remove_damaged(self, cell, change, seen, verdict):
        """What is damaged can be removed; directories that cannot be entered once empty."""
        for path, thing in part(seen, cell).items():
            if thing.is_bad() and thing.kind != "d" or \
                    os.path.basename(path).startswith(DAMAGED) and thing.kind != "d":
                error = mounted.remove(os.path.join(self.point, path))
                if error:
                    verdict.wrong.append("%s: cannot be removed: %s" % (path, os.strerror(error)))

    def configurations(self, table):
        raw = self.config
        foreign = config.fresh(self.o.suite, b"other vault here", b"another master key of 32 bytes..")
        whole = config.to(config.NAMES, raw)
        all_of_them = list(config.flips(raw, Picker(4, self.o.seed)))
        all_of_them += list(config.others(raw, foreign))
        chance = random.Random(self.o.seed)
        sure = [c for c in all_of_them if "another vault" in c.kind]
        kept = sure + chance.sample(all_of_them, min(self.o.cells // 3, len(all_of_them)))
        whole(self.vault)
        self.must_start()
        names = sorted(os.listdir(self.point))
        self.mount.stop()
        for change in kept:
            change.do(self.vault)
            verdict = Verdict()
            status = self.mount.start()
            if status:
                verdict.detected = True
                if status not in STATUSES:
                    verdict.wrong.append("exit status %d" % status)
            else:
                if sorted(os.listdir(self.point)) != names:
                    verdict.wrong.append("another tree")
                self.mount.stop()
            table.add(change, verdict)
            whole(self.vault)


def part(shown, cell):
    return {p: s for p, s in shown.items() if p.startswith(cell + "/")}


def quick_directory():
    """Memory, where that has attributes; else the usual place."""
    try:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as probe:
            os.setxattr(probe.name, "user.probe", b"")
        return "/dev/shm"
    except OSError:
        return None


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--view")
    p.add_argument("--cryptfs")
    p.add_argument("--mount")
    p.add_argument("--cells", type=int, default=60)
    p.add_argument("--suite", default="aes-256-gcm")
    p.add_argument("--flips", type=int, default=2)
    p.add_argument("--pick", type=int, default=6)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--dirty", action="store_true")
    p.add_argument("--only")
    p.add_argument("--verbose", action="store_true")
    return p.parse_args()


def main():
    o = arguments()
    if not o.view and not os.path.exists("/dev/fuse"):
        print("skipped: there is no /dev/fuse")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # and clean up
    base = tempfile.mkdtemp(prefix="cryptfs-tamper.", dir=quick_directory())
    table = Table(o.verbose)
    try:
        (Offline if o.view else Mounted)(o, base).run(table)
    finally:
        shutil.rmtree(base)
        table.show()
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
