#!/usr/bin/env python3
"""on_terminal.py ANSWERS COMMAND...: run it on a terminal of its own and type the next answer, of a
list with commas, whenever it has switched the echo off and waits."""

import os
import pty
import select
import sys
import termios
import time

answers = sys.argv[1].split(",")
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
said = b""
typed = 0
ended = 0
end = time.monotonic() + 120
quiet = 0
while time.monotonic() < end:
    ready, _, _ = select.select([master], [], [], 0.05)
    if ready:
        try:
            some = os.read(master, 4096)
        except OSError:
            break  # the other side is closed
        if not some:
            break
        said += some
        quiet = 0
        continue
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        break  # with a sanitizer the daemon's helpers keep the terminal open
    quiet += 1
    hidden = not termios.tcgetattr(master)[3] & termios.ECHO
    if hidden and quiet >= 2 and typed < len(answers):
        os.write(master, answers[typed].encode() + b"\n")
        typed += 1
        quiet = 0
else:
    sys.exit("FAILED: it never ended; it said: " + said.decode())
if not ended:
    status = os.waitpid(pid, 0)[1]
status = os.waitstatus_to_exitcode(status)
sys.stdout.write(said.decode())
for answer in answers:
    if answer and answer.encode() in said:
        sys.exit("FAILED: the passphrase is echoed")
if typed != len(answers):
    sys.exit(f"FAILED: asked {typed} times, not {len(answers)}")
sys.exit(status)
