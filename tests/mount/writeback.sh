#!/bin/bash
# With -o writeback the kernel collects writes: what programs see is as ever,
# what they set stays set, errors come at fsync and close, and only what the
# kernel still holds can be lost.
. "$(dirname "$0")/../support/mounted.sh"

# Each step of it is a function; the arguments are the mount and the vault.
cat >"$work/steps.py" <<'PY'
import errno
import fcntl
import mmap
import os
import signal
import sys

step, mnt, vault = sys.argv[1:4]
path = mnt + "/" + step


def want(ok, what):
    if not ok:
        sys.exit(f"FAILED: {step}: {what}")


def stored():
    """Bytes of all stored files."""
    return sum(os.lstat(f"{d}/{f}").st_size for d, _, fs in os.walk(vault + "/tree") for f in fs)


def content(name):
    with open(name, "rb") as f:
        return f.read()


def collected():
    before = stored()
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(20):  # somebody may call sync(2) just now, but not always
        os.ftruncate(fd, 0)
        empty = stored()
        os.pwrite(fd, b"x" * 300_000, 0)
        want(os.fstat(fd).st_size == 300_000, "the size is known at once")
        if stored() == empty:
            break
    else:
        want(False, "writes go to the vault at once: nothing is collected")
    os.fsync(fd)
    want(stored() >= before + 300_000, "fsync writes out")
    os.pwrite(fd, b"more" * 1000, 300_000)
    want(os.stat(path).st_size == 304_000, "the size by name is the new one")
    os.close(fd)
    want(stored() >= before + 304_000, "close writes out")


def appended():
    """Two that append, and one that does not: the kernel knows where the end is."""
    a, b = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for _ in "ab")
    c = os.open(path, os.O_RDWR)
    expected = bytearray()
    for i in range(3000):
        text = b"%d\n" % i
        os.write((a, b)[i % 2], text)
        expected += text
        if i % 100 == 50:
            os.pwrite(c, b"*", i)
            expected[i:i + 1] = b"*"
        if i % 500 == 499:
            os.fsync(a)
        if i == 1700:
            os.ftruncate(c, 5000)
            del expected[5000:]
    want(os.pread(c, 1 << 20, 0) == expected, "what another handle reads")
    for fd in (a, b, c):
        os.close(fd)
    return expected


def appended_past_the_cache():
    """O_APPEND and O_DIRECT, while what is before the end is still collected."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    expected = b""
    for i in range(20):
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.pwrite(fd, b"%-8192d" % i, len(expected))
        expected += b"%-8192d" % i
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND | os.O_DIRECT)
        os.write(fd, b"D" * 4096)
        expected += b"D" * 4096
    os.close(fd)
    return expected


def written_only():
    """A handle that may not read, in the middle of pages, in a file that nobody may read."""
    with open(path, "wb") as f:
        f.write(b"0123456789" * 2000)
    os.chmod(path, 0o200)
    if os.path.exists("/proc/sys/vm/drop_caches") and os.geteuid() == 0:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("1")
    fd = os.open(path, os.O_WRONLY)
    for at in (0, 3, 4095, 4097, 12_345, 19_999):
        os.pwrite(fd, b"#", at)
    os.close(fd)
    os.chmod(path, 0o600)
    expected = bytearray(b"0123456789" * 2000)
    for at in (0, 3, 4095, 4097, 12_345, 19_999):
        expected[at:at + 1] = b"#"
    return expected


def cut():
    """Cut and grown while pages are dirty; then with O_TRUNC."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"a" * 100_000)
    os.ftruncate(fd, 50_001)
    os.ftruncate(fd, 60_000)
    os.pwrite(fd, b"b" * 10, 59_995)
    expected = b"a" * 50_001 + bytes(9_994) + b"b" * 10
    want(os.pread(fd, 1 << 20, 0) == expected, "cut and grown")
    os.fsync(fd)
    want(content(path) == expected, "cut and grown, written out")
    os.pwrite(fd, b"c" * 30_000, 0)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    want(os.fstat(fd).st_size == 0, "emptied by another")
    os.pwrite(fd, b"d" * 5, 5000)
    os.close(fd)
    return bytes(5000) + b"d" * 5


def mapped():
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 500_000)
    m = mmap.mmap(fd, 500_000)
    os.pwrite(fd, b"written" * 1000, 3000)
    m[4000:4007] = b"mapped!"
    m[499_990:] = b"x" * 10
    want(os.pread(fd, 7, 4000) == b"mapped!", "read sees it")
    os.close(fd)
    m[100_000:100_005] = b"after"  # when no handle is open any more
    expected = bytes(m)
    m.close()
    return expected


def unlinked():
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"u" * 200_000)
    os.unlink(path)
    os.pwrite(fd, b"v" * 10, 250_000)
    os.fsync(fd)
    want(os.pread(fd, 10, 250_000) == b"v" * 10, "read after unlink")
    os.pwrite(fd, b"w" * 10, 250_000)
    want(os.fstat(fd).st_size == 250_010 and os.fstat(fd).st_nlink == 0, "stat after unlink")
    os.close(fd)
    want(not os.path.exists(path), "it is gone")


def renamed_over():
    """Both files are open and dirty when one takes the other's name."""
    old = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(old, b"old" * 10_000)
    new = os.open(path + ".new", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(new, b"new" * 20_000)
    os.rename(path + ".new", path)
    os.pwrite(old, b"OLD", 0)
    os.pwrite(new, b"NEW", 0)
    want(os.pread(old, 6, 0) == b"OLDold", "the replaced one")
    os.close(old)
    os.close(new)
    return b"NEW" + b"new" * 19_999


def timed():
    """Times that were set while pages were dirty stay, whenever those are written."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"t" * 100_000)
    os.utime(fd, ns=(1_111_111_111_111_111_111, 1_222_222_222_222_222_222))
    os.close(fd)
    fd = os.open(path + ".read", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"t" * 100_000)
    os.utime(path + ".read", ns=(1_111_111_111_111_111_111, 1_222_222_222_222_222_222))
    os.fchmod(fd, 0o640)
    os.fsync(fd)
    os.close(fd)
    for name in (path, path + ".read"):
        want(os.stat(name).st_mtime_ns == 1_222_222_222_222_222_222, "the time that was set")
    # A write moves it, to when it was written.
    fd = os.open(path + ".moved", os.O_RDWR | os.O_CREAT, 0o600)
    os.utime(fd, ns=(5, 5))
    os.write(fd, b"m")
    moved = os.fstat(fd).st_mtime_ns
    want(moved > 1_500_000_000 * 10**9, "a write moves the time")
    os.close(fd)
    want(os.stat(path + ".moved").st_mtime_ns == moved, "writing out does not")
    print(moved, end="")
    sys.stdout.flush()


def full():
    """The backing filesystem is full: whoever writes out is told, and what was there stays."""
    kept, big = mnt + "/kept", mnt + "/big"
    room = os.statvfs(vault).f_bavail * os.statvfs(vault).f_frsize
    want(room < 64 << 20, "this is to be a small filesystem")
    with open(kept, "wb") as f:
        f.write(b"k" * 500_000)
        f.flush()
        os.fsync(f.fileno())

    def says_full(function, fd, what):
        try:
            function(fd)
        except OSError as e:
            want(e.errno == errno.ENOSPC, f"{what} says {e}")
        else:
            want(False, f"{what} says nothing")

    fd = os.open(big, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(room // 100_000 + 20):
        os.write(fd, b"b" * 100_000)
    says_full(os.fsync, fd, "fsync")
    os.pwrite(fd, b"b" * 1_000_000, 2 * room)
    says_full(os.close, fd, "close")
    # One that grows, and changes what it had.
    fd = os.open(kept, os.O_RDWR)
    os.pwrite(fd, b"K" * 100_000, 200_000)
    os.pwrite(fd, b"K" * 1_000_000, 500_000)
    says_full(os.fsync, fd, "fsync of a file that was there")
    os.close(fd)


def read_full():
    kept = content(mnt + "/kept")
    want(len(kept) >= 500_000, "the file is shorter than before")
    want(kept[:200_000] == b"k" * 200_000, "what was before the change")
    want(set(kept[200_000:300_000]) <= set(b"kK"), "what was to be changed")
    want(kept[300_000:500_000] == b"k" * 200_000, "what was behind the change")
    want(set(kept[500_000:]) <= set(b"K\0"), "what was to be added")
    want(set(content(mnt + "/big")) <= set(b"b\0"), "the one that was too large")


def ended():
    """SIGTERM for the daemon, with dirty pages in open, mapped and unlinked files."""
    first = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for i in range(1000):
        os.write(first, b"%-65535d\n" % i)
    second = os.open(path + ".mapped", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(second, 1_000_000)
    m = mmap.mmap(second, 1_000_000)
    m[:] = b"m" * 1_000_000
    gone = os.open(path + ".gone", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(gone, b"g" * 1_000_000)
    os.unlink(path + ".gone")
    os.kill(int(sys.argv[4]), signal.SIGTERM)
    # Open until the daemon is gone: only it can write them out now.
    while os.path.exists(f"/proc/{sys.argv[4]}"):
        os.sched_yield()
    os._exit(0)


def read_ended():
    want(content(mnt + "/ended") == b"".join(b"%-65535d\n" % i for i in range(1000)), "written")
    want(content(mnt + "/ended.mapped") == b"m" * 1_000_000, "mapped")


def killed():
    """What was synced stays, of the rest no block is unreadable."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"s" * 1_000_000)
    os.fsync(fd)
    os.pwrite(fd, b"S" * 500_000, 100_000)
    os.pwrite(fd, b"S" * 3_000_000, 1_000_000)
    os.kill(int(sys.argv[4]), signal.SIGKILL)
    os._exit(0)


def read_killed():
    data = content(mnt + "/killed")
    want(len(data) >= 1_000_000, "shorter than what was synced")
    want(set(data[:100_000]) == set(b"s"), "before the change")
    want(set(data[100_000:600_000]) <= set(b"sS"), "changed")
    want(set(data[600_000:1_000_000]) == set(b"s"), "behind the change")
    want(set(data[1_000_000:]) <= set(b"S\0"), "added")


expected = globals()[step]()
if expected is not None:
    want(content(path) == expected, "the content")
    with open(sys.argv[4], "wb") as f:
        f.write(expected)
PY

do_step() { # NAME [ARGUMENT]
	step "$1"
	python3 "$work/steps.py" "$1" "$mnt" "$vault" "${2-}"
}

new_vault
mount_vault writeback

do_step collected
for name in appended appended_past_the_cache written_only cut mapped renamed_over; do
	do_step "$name" "$work/$name"
done
do_step unlinked
moved=$(do_step timed | tail -n 1)

step "holes"
truncate -s 3M "$work/sparse"
echo middle | dd of="$work/sparse" bs=1 seek=1500000 conv=notrunc status=none
cp --sparse=always "$work/sparse" "$mnt/sparse"
cp --sparse=always "$mnt/sparse" "$mnt/sparse2"
cmp "$work/sparse" "$mnt/sparse2"

step "sync, after what was written is gone"
echo text >"$mnt/gone"
rm "$mnt/gone"
sync -f "$mnt"

step "cp -p, touch, tar and rsync keep times to the nanosecond"
mkdir "$work/dated" "$mnt/dated"
for i in 1 2 3 4 5; do
	head -c $((i * 30000)) /dev/urandom >"$work/dated/$i"
	touch -d "@$((i * 100000007)).12345678$i" "$work/dated/$i"
done
touch -d @99.000000001 "$work/dated"
cp -pR "$work/dated" "$mnt/dated/cp"
tar --format=posix -C "$work" -cf - dated | tar -C "$mnt/dated" -xpf -
rsync -a "$work/dated/" "$mnt/dated/rsync/"
touch -r "$work/dated/3" "$mnt/dated/touched"
check_dates() {
	manifest "$work/dated" >"$work/dates"
	for name in cp dated rsync; do
		manifest "$mnt/dated/$name" | diff "$work/dates" - || fail "what $name left differs"
		diff -r "$work/dated" "$mnt/dated/$name"
	done
	same "touched" "$(stat -c %.9Y "$mnt/dated/touched")" "$(stat -c %.9Y "$work/dated/3")"
	same "nothing to do for rsync" "$(rsync -ani "$work/dated/" "$mnt/dated/rsync/")" ""
	same "set, then written out" "$(stat -c '%.9Y ' "$mnt/timed" "$mnt/timed.read" | tr -d '\n')" \
		"1222222222.222222222 1222222222.222222222 "
	same "moved by a write" "$(date -r "$mnt/timed.moved" +%s%N)" "$moved"
}
check_dates

check_all() {
	local name
	for name in appended appended_past_the_cache written_only cut mapped renamed_over sparse; do
		cmp "$work/$name" "$mnt/$name"
	done
	check_dates
}

step "after a remount"
remount_vault writeback
check_all

step "and seen without it"
remount_vault
check_all
[ ! -e "$mnt/unlinked" ] || fail "an unlinked file is back"

step "read-only comes first"
remount_vault ro,writeback
check_all
refused "Read-only file system" touch "$mnt/new"
unmount_vault

step "SIGTERM"
for options in writeback writeback,workers=2,strict; do
	mount_vault "$options"
	python3 "$work/steps.py" ended "$mnt" "$vault" "$(daemon_process)"
	await 60 no_processes || fail "the daemon is still there"
	if is_mounted; then
		fail "still mounted"
	fi
	mount_vault "$options"
	python3 "$work/steps.py" read_ended "$mnt" "$vault"
	rm "$mnt/ended" "$mnt/ended.mapped"
	unmount_vault
done

step "SIGTERM, stored through a mapping without writeback"
mount_vault
python3 "$work/steps.py" ended "$mnt" "$vault" "$(daemon_process)"
await 60 no_processes || fail "the daemon is still there"
mount_vault
python3 "$work/steps.py" read_ended "$mnt" "$vault"
unmount_vault

step "SIGKILL"
mount_vault writeback
python3 "$work/steps.py" killed "$mnt" "$vault" "$(daemon_process)"
await 60 no_processes || fail "left: $(mount_processes | tr '\n' ' ')"
mount_vault writeback
python3 "$work/steps.py" read_killed "$mnt" "$vault"
unmount_vault

step "what was removed is no error for those who sync"
mount_vault writeback
for name in here there; do
	echo "$name" >"$mnt/$name"
done
ln "$mnt/here" "$mnt/again"
mv -f "$mnt/here" "$mnt/there"
rm "$mnt/again" "$mnt/there"
sync -f "$mnt"
unmount_vault

if ! as_root; then
	step "a full filesystem, limits of the kernel: left out, not root"
	exit 0
fi

limit() { # NAME: of the mount
	local dev
	dev=$(stat -c %d "$mnt")
	cat "/sys/class/bdi/$((dev >> 8 & 0xfff)):$((dev & 0xff | dev >> 12 & 0xfff00))/$1"
}

step "limits of the kernel"
mount_vault
same "read ahead" "$(limit read_ahead_kb)" 1024
same "dirty pages without writeback" "$(limit max_ratio)" 1
remount_vault writeback
same "read ahead" "$(limit read_ahead_kb)" 1024
same "dirty pages" "$(limit max_ratio)" 40
unmount_vault

step "a full backing filesystem"
vault=$work/small
mkdir "$vault"
mount -t tmpfs -o size=24m small "$vault"
undo+=("umount '$vault'")
new_vault
mount_vault writeback
do_step full
do_step read_full
remount_vault writeback
do_step read_full
rm "$mnt/big"
echo "there is room again" >"$mnt/kept.too"
remount_vault
same "content" "$(cat "$mnt/kept.too")" "there is room again"
unmount_vault
