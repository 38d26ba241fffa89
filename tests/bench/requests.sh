#!/bin/bash
# requests.sh - which requests the kernel makes of a mount for one operation,
# as a markdown table.  The mount itself counts them (cryptfs status) and is
# asked over its socket, which makes no requests.
#
#   CRYPTFS=.../cryptfs CRYPTFS_MOUNT=.../cryptfs-mount tests/bench/requests.sh [MOUNT-OPTIONS]
. "$(dirname "$0")/../support/mounted.sh"

new_vault >/dev/null
mount_vault "${1-}"

# One process does it all and asks: no shell looks for anything in between.
python3 - "$CRYPTFS" "$mnt" "$work" <<'PY'
import collections, json, os, subprocess, sys, time

cryptfs, mnt, work = sys.argv[1:]
rows = [("operation", "requests", "of which")]


def counters():
    out = subprocess.run([cryptfs, "status", "--json", mnt], stdout=subprocess.PIPE, check=True)
    return collections.Counter(json.loads(out.stdout)["requests"])


def settled():
    """RELEASE and FORGET may come after the call that caused them has returned."""
    last = counters()
    for _ in range(50):
        time.sleep(0.05)
        now = counters()
        if now == last:
            break
        last = now
    return last


def drop_caches():
    os.sync()
    if os.geteuid() == 0:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")


def measure(name, operation, cold=False):
    if cold:
        drop_caches()
    before = settled()
    operation()
    used = settled() - before
    each = ", ".join("%s %d" % (n, used[n]) for n in sorted(used))
    rows.append((name, str(sum(used.values())), each or "none"))


def path(name):
    return os.path.join(mnt, name)


def plain(name):
    return os.path.join(work, name)


def write_new(name, data):
    fd = os.open(path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, data)
    os.close(fd)


def read_all(name):
    fd = os.open(path(name), os.O_RDONLY)
    while os.read(fd, 131072):
        pass
    os.close(fd)


def link_and_read():
    os.symlink("old", path("link"))
    os.readlink(path("link"))


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_files():
    write_new("old", b"x" * 4096)
    os.mkdir(path("many"))
    for i in range(1000):
        write_new("many/%04d" % i, b"x")
    os.makedirs(plain("plain/t"))
    for i in range(100):
        with open(plain("plain/t/%03d" % i), "wb") as f:
            f.write(b"x" * 2000)
    run("tar", "-C", plain("plain"), "-cf", plain("tar"), "t")
    with open(plain("mib"), "wb") as f:
        f.write(os.urandom(1 << 20))


def print_table():
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    rows.insert(1, ("-" * widths[0], "-" * (widths[1] - 1) + ":", "-" * widths[2]))
    for row in rows:
        print("| %-*s | %*s | %-*s |" % (widths[0], row[0], widths[1], row[1], widths[2], row[2]))
    if os.geteuid():
        print("\nNot root, so the kernel's caches could not be dropped: cold is not cold.")


os.chdir("/")
make_files()
measure("stat, cold", lambda: os.stat(path("old")), cold=True)
measure("stat, warm", lambda: os.stat(path("old")))
measure("create, write 4 KiB, close", lambda: write_new("new", b"y" * 4096))
measure("open, read 4 KiB, close, cold", lambda: read_all("old"), cold=True)
measure("open, read 4 KiB, close, warm", lambda: read_all("old"))
fd = os.open(path("old"), os.O_WRONLY | os.O_APPEND)
measure("append 100 bytes to an open file", lambda: os.write(fd, b"z" * 100))
measure("append 100 bytes, again", lambda: os.write(fd, b"z" * 100))
os.close(fd)
fd = os.open(path("old"), os.O_RDWR)
measure("write 4 KiB at 0 in an open file", lambda: os.pwrite(fd, b"z" * 4096, 0))
measure("write 4 KiB at 0, again", lambda: os.pwrite(fd, b"z" * 4096, 0))
os.close(fd)
measure("mkdir", lambda: os.mkdir(path("dir")))
measure("rename", lambda: os.rename(path("new"), path("dir/renamed")))
measure("unlink", lambda: os.unlink(path("dir/renamed")))
measure("chmod", lambda: os.chmod(path("old"), 0o600))
measure("symlink, readlink", link_and_read)
measure("ls -l of 1000 files, cold", lambda: run("ls", "-l", path("many")), cold=True)
measure("ls -l of 1000 files, warm", lambda: run("ls", "-l", path("many")))
measure("cp of 1 MiB", lambda: run("cp", plain("mib"), path("copy")))
measure("tar -x of 100 files", lambda: run("tar", "-C", mnt, "-xf", plain("tar")))
print_table()
PY
