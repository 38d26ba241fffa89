# SPDX-License-Identifier: MIT
"""The program view, as a way to make vaults and to see what is in them."""

import select
import subprocess

from judge import Seen

TIMEOUT = 30  # seconds after which a look counts as a hang
MASK = (1 << 64) - 1


class Refused(Exception):
    def __init__(self, error):
        super().__init__("error %d" % error)
        self.error = error


class Died(Exception):
    """view crashed, or did not answer."""


class View:
    def __init__(self, program, top, suite):
        self.command = [program, top, suite]
        self.start("new")

    def start(self, *how):
        self.process = subprocess.Popen([*self.command, *how], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.rest = b""
        self.noise = b""

    def __call__(self, *words):
        """Lines of the answer."""
        try:
            self.process.stdin.write(" ".join(str(w) for w in words).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Died(self.last_words()) from None
        lines = []
        while True:
            for line in self.read_lines():
                if line == b".":
                    return lines
                if line.startswith(b"! "):
                    raise Refused(int(line[2:]))
                lines.append(line)

    def read_lines(self):
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout, self.process.stderr], [], [], TIMEOUT)
            if not ready:
                raise Died("no answer for %d s" % TIMEOUT)
            if self.process.stderr in ready:
                self.noise = (self.noise + self.process.stderr.read1(65536))[-65536:]
            if self.process.stdout in ready:
                more = self.process.stdout.read1(1 << 20)
                if not more:
                    raise Died(self.last_words())
                self.rest += more
        *lines, self.rest = self.rest.split(b"\n")
        return lines

    def last_words(self):
        self.process.kill()
        self.noise += self.process.stderr.read()
        return "view ended: " + self.noise.decode(errors="replace")[-2000:]

    def stop(self):
        self.process.stdin.close()
        if self.process.wait(TIMEOUT) != 0:
            raise Died(self.last_words())
        self.process.stdout.close()
        self.process.stderr.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def reopen(self, how):
        """As a new mount: 0, or the error of one that cannot be."""
        try:
            self("reopen", how)
        except Refused as refused:
            return refused.error
        return 0

    def settle(self):
        """As at the end of a mount, if there was one."""
        try:
            self("settle")
        except Refused:
            pass

    def look(self, path="."):
        return dict(parse(line) for line in self("look", path))


def parse(line):
    path, kind, mode, size, error, chunks, attributes, inode = \
        line.decode("utf-8", "surrogateescape").split("\t")
    pairs = {}
    for item in attributes.split(";"):
        if item:
            name, equals, value = item.partition("=")
            pairs[name if equals else ""] = value if equals else item
    return path, Seen(kind, mode, int(size), int(error), [c for c in chunks.split(",") if c],
                      pairs, int(inode))


def zero(chunk):
    """What view calls as many zero bytes."""
    size = int(chunk.split(":")[0]) if ":" in chunk else 0
    total = size + 1
    for _ in range(size // 8):
        total = total * 0x9e3779b97f4a7c15 & MASK
        total ^= total >> 32
    for _ in range(size % 8):
        total = total * 0xbf58476d1ce4e5b9 & MASK
    return "%d:%x" % (size, total ^ total >> 29)
