#!/bin/bash
# Little of everything else: descriptors, memory, processes, /dev/shm, /run; and
# much of it: open files, processes in one directory.  Either it works, or one
# line says what is missing, and nothing is left.
. "$(dirname "$0")/../support/mounted.sh"

# mounts_or_says COMMAND...: 0 if it mounted; else it ended with one line, in $work/said.
mounts_or_says() {
	local status=0
	timeout 60 "$@" </dev/null >"$work/said" 2>&1 || status=$?
	if [ "$status" = 0 ]; then
		is_mounted || fail "it said it mounted: $*"
		return 0
	fi
	[ "$status" -le 7 ] || fail "exit status $status of $*: $(cat "$work/said")"
	[ "$(grep -c '^cryptfs: ' "$work/said")" -ge 1 ] || fail "no message: $(cat "$work/said")"
	same "mounts" "$(mounts_there)" 0
	await 10 no_processes || fail "a process is left"
	return 1
}

# must_say WORDS COMMAND...
must_say() {
	local words=$1
	shift
	if mounts_or_says "$@"; then
		fail "it mounted without $words"
	fi
	grep -qi -- "$words" "$work/said" || fail "it said: $(cat "$work/said")"
}

mounting=("$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile")

works() {
	head -c 200000 /dev/urandom >"$work/data"
	cp "$work/data" "$mnt/data"
	cmp "$work/data" "$mnt/data"
	mkdir -p "$mnt/a/b/c"
	echo text >"$mnt/a/b/c/file"
	same "content" "$(cat "$mnt/a/b/c/file")" text
}

new_vault

step "64 descriptors"
mounts_or_says prlimit --nofile=64:64 "${mounting[@]}" || fail "it did not mount: $(cat "$work/said")"
works
cat >"$work/open.py" <<'PY'
"""Open n files at once: how many can be, and all of these can be read and written."""
import errno, os, resource, sys
top, n, least = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (min(n + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
os.makedirs(top + "/open", exist_ok=True)
fds = []
try:
    for i in range(n):
        fds.append(os.open("%s/open/%d" % (top, i), os.O_RDWR | os.O_CREAT, 0o600))
except OSError as e:
    if e.errno not in (errno.EMFILE, errno.ENFILE):
        raise
if len(fds) < least:
    sys.exit("FAILED: %d files could be opened at once" % len(fds))
for i, fd in enumerate(fds):
    os.pwrite(fd, b"file %d" % i, 0)
for i, fd in enumerate(fds):
    if os.pread(fd, 100, 0) != b"file %d" % i:
        sys.exit("FAILED: content of %d" % i)
    os.close(fd)
for i in range(len(fds)):
    os.unlink("%s/open/%d" % (top, i))
PY
python3 "$work/open.py" "$mnt" 200 10
for i in $(seq 100); do # what is replaced does not stay open
	echo "$i" >"$mnt/new"
	mv "$mnt/new" "$mnt/old"
done
python3 "$work/open.py" "$mnt" 200 10
works
unmount_vault

step "thousands of open files"
mount_vault
python3 "$work/open.py" "$mnt" 4000 4000
unmount_vault

step "little memory"
for mib in 60 200 500; do
	if mounts_or_says prlimit --as=$((mib << 20)) "${mounting[@]}"; then
		works
		unmount_vault
	fi
done
mounts_or_says prlimit --memlock=0:0 "${mounting[@]}" || fail "it did not mount: $(cat "$work/said")"
works
unmount_vault

step "32 processes in one directory"
mount_vault
cat >"$work/crowd.py" <<'PY'
import os, sys
top, me = sys.argv[1], int(sys.argv[2])
for i in range(40):
    mine, shared = "%s/%d-%d" % (top, me, i), "%s/shared-%d" % (top, i % 5)
    with open(mine, "w") as f:
        f.write("%d %d" % (me, i))
    os.listdir(top)
    os.rename(mine, mine + "-moved")
    if open(mine + "-moved").read() != "%d %d" % (me, i):
        sys.exit("FAILED: content of " + mine)
    if i % 2:
        os.unlink(mine + "-moved")
    else:
        os.rename(mine + "-moved", shared)  # over those of others
    try:
        words = open(shared).read().split()
        if len(words) != 2 or not 0 <= int(words[0]) < 32:
            sys.exit("FAILED: %s has %r" % (shared, words))
    except FileNotFoundError:
        pass
    try:  # others make and remove the same ones
        os.mkdir("%s/dir-%d" % (top, i % 3))
    except FileExistsError:
        pass
    try:
        os.rmdir("%s/dir-%d" % (top, i % 3))
    except OSError:
        pass
PY
mkdir "$mnt/crowd"
pids=()
for i in $(seq 0 31); do
	python3 "$work/crowd.py" "$mnt/crowd" "$i" &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	wait "$pid" || fail "one of 32 processes failed"
done
rm -rf "$mnt"/crowd/dir-*
same "files left" "$(LC_ALL=C ls "$mnt/crowd" | tr '\n' ' ')" "shared-0 shared-1 shared-2 shared-3 shared-4 "
unmount_vault

step "a daemon that is stopped goes on where it was"
mount_vault
daemon=$(daemon_process)
kill -STOP "$daemon"
cp "$work/data" "$mnt/stopped" &
copying=$!
sleep 0.5
kill -0 "$copying" || fail "it was served by a daemon that is stopped"
kill -CONT "$daemon"
wait "$copying"
cmp "$work/data" "$mnt/stopped"

step "a second mount of the same vault is refused, wherever it comes from"
mkdir "$work/second"
second() { # COMMAND...: with exit status 6
	local status=0
	timeout 60 "$@" </dev/null >"$work/said" 2>&1 || status=$?
	same "exit status ($(cat "$work/said"))" "$status" 6
}
second "$CRYPTFS_MOUNT" "$vault" "$work/second" -o "passfile=$passfile"
ln -s "$vault" "$work/link"
second "$CRYPTFS_MOUNT" "$work/link" "$work/second" -o "passfile=$passfile"
if as_root; then
	second unshare -m "$CRYPTFS_MOUNT" "$vault" "$work/second" -o "passfile=$passfile"
	mkdir "$work/bind"
	mount --bind "$vault" "$work/bind"
	undo+=("umount '$work/bind' 2>/dev/null")
	second "$CRYPTFS_MOUNT" "$work/bind" "$work/second" -o "passfile=$passfile"
	umount "$work/bind"
fi
cmp "$work/data" "$mnt/stopped"
unmount_vault

if as_root; then
	step "/dev/shm that is tiny, not to be written, or missing"
	private() { # COMMAND: that, then a mount and a look at it, where nobody else sees either
		timeout 60 unshare -m sh -c "$1 && shift && \"\$@\" && ls '$mnt' >/dev/null && umount '$mnt'" sh \
			"$1" "${mounting[@]}" </dev/null >"$work/said" 2>&1
	}
	status=0
	private 'mount -t tmpfs -o size=64k none /dev/shm' || status=$?
	same "exit status with a tiny one ($(cat "$work/said"))" "$status" 2
	grep -q "shared memory: No space" "$work/said" || fail "it said: $(cat "$work/said")"
	await 10 no_processes || fail "a process is left"
	private 'mount -t tmpfs -o ro none /dev/shm' || fail "a read-only one: $(cat "$work/said")"
	await 60 no_processes || fail "a process is left"
	private 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/fuse c 10 229 && mknod /dev/urandom c 1 9' ||
		fail "none at all: $(cat "$work/said")"
	await 60 no_processes || fail "a process is left"

	step "/run that cannot be written"
	unshare -m sh -c 'mount -t tmpfs -o ro none /run && exec "$@"' sh "$CRYPTFS_MOUNT" "$vault" "$mnt" -f \
		-o "passfile=$passfile" </dev/null >"$work/said" 2>&1 &
	started+=($!)
	served=$!
	said_so() {
		grep -q "cryptfs status will not work" "$work/said"
	}
	await 30 said_so || fail "nothing about it: $(cat "$work/said")"
	[ "$(wc -l <"$work/said")" = 1 ] || fail "more than one line: $(cat "$work/said")"
	kill -TERM "$served"
	await 60 no_processes || fail "it did not end"
fi

step "an ordinary user who may not fork or lock memory"
. "$(dirname "$0")/../support/as_user.sh"
mounting=("$CRYPTFS_MOUNT" "$vault" "$mnt" -o "passfile=$passfile")
become=(env)
if as_root; then
	become=(runuser -u "$user" --)
fi
as_user "$CRYPTFS" init --passfile "$passfile" --kdf-memory 64 --kdf-operations 3 "$vault" </dev/null
mounts_or_says "${become[@]}" prlimit --memlock=0:0 "${mounting[@]}" || fail "it did not mount: $(cat "$work/said")"
as_user sh -c "echo text >'$mnt/file'"
unmount_as_user
if as_root; then # others have processes already
	must_say 'fork' "${become[@]}" prlimit --nproc=1:1 "${mounting[@]}"
	for n in 9 12 16 24 40; do
		if mounts_or_says "${become[@]}" prlimit --nproc=$n:$n "${mounting[@]}"; then
			same "content" "$(as_user cat "$mnt/file")" text
			unmount_as_user
			enough=$n
		fi
	done
	[ -n "${enough-}" ] || fail "it never mounted: $(cat "$work/said")"
fi
