#!/bin/bash
# stress-ng's stressors of filesystems, each verifying what it does, and fio,
# which reads back everything that it wrote, also after a remount.
#
# A stressor that fails in the mount is run again on the filesystem of the
# vault: one that fails there too tells nothing about us.
#
#   STRESS_SECONDS   how long each may run (1); without it they are cut short
#   STRESS_SIZE      of each of fio's files (4m)
#   STRESS_ONLY      these stressors only
. "$(dirname "$0")/../support/mounted.sh"
for program in stress-ng fio; do
	command -v "$program" >/dev/null || fail "there is no $program: see tests/support/packages.sh"
done

seconds=${STRESS_SECONDS:-1}
size=${STRESS_SIZE:-4m}
stressors=(access acl aio aiol chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup
	fallocate fcntl fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags
	inotify io io-uring iomix lease link locka lockf lockofd metamix mknod mmap msync open readahead
	rename revio seek sendfile splice symlink sync-file touch unlink utime verity xattr)
# Not asked for again and again, these take much longer than the others.
declare -A operations=([chdir]=4 [fpunch]=2 [inode-flags]=10 [link]=1 [symlink]=1 [mmap]=4 [fallocate]=10
	[iomix]=4 [inotify]=4 [sync-file]=10 [chattr]=10 [filename]=10 [copy-file]=10 [dentry]=20)
# Grows files as far as they go, which in a xor vault have no holes.
if [ "${VAULT_CIPHER-}" = xor ]; then
	stressors=("${stressors[@]/#fsize/none}")
fi
if [ -n "${STRESS_ONLY-}" ]; then
	read -ra stressors <<<"$STRESS_ONLY"
fi

# run_stressor NAME DIRECTORY: two of it; its exit status, what it says in $work/said.
run_stressor() {
	local limit=(--timeout "${seconds}s")
	if [ -z "${STRESS_SECONDS-}" ]; then
		limit+=("--$1-ops" "${operations[$1]:-40}")
	fi
	timeout -k 10 $((seconds + 120)) stress-ng "--$1" 2 "${limit[@]}" --verify --temp-path "$2" \
		>"$work/said" 2>&1 </dev/null
}

# Exit codes of stress-ng: 3 and 4 say that it cannot run here.
verdict() { # NAME
	local here=0 there=0
	run_stressor "$1" "$mnt/stress" || here=$?
	case $here in
	0) echo passed ;;
	3 | 4) echo "not possible here" ;;
	*)
		cp "$work/said" "$work/said.here"
		run_stressor "$1" "$plain" || there=$?
		if [ "$there" = 0 ]; then
			echo FAILED
		else
			echo "fails without us too"
		fi
		;;
	esac
}

plain=$work/plain
mkdir "$plain"
new_vault
mount_vault
mkdir "$mnt/stress"
failed=()
known=$(stress-ng --help)

step "stress-ng"
for stressor in "${stressors[@]}"; do
	case $known in
	*"--$stressor N "*) ;;
	*) continue ;; # not in this version
	esac
	result=$(verdict "$stressor")
	printf '%-12s %s\n' "$stressor" "$result"
	if [ "$result" = FAILED ]; then
		cat "$work/said.here"
		failed+=("$stressor")
	fi
done
[ -z "${failed[*]}" ] || fail "stressors: ${failed[*]}"
same "left behind by the stressors" "$(ls -A "$mnt/stress")" ""

step "fio"
mkdir "$mnt/fio"
common=(--directory="$mnt/fio" --size="$size" --verify=crc32c --verify_fatal=1 --verify_state_save=0 --group_reporting
	--output-format=terse --randseed=7)

# check_by_fio NAME OPTIONS...: write and verify; once more after the remount below.
check_by_fio() {
	local name=$1
	shift
	timeout -k 10 300 fio --name="$name" "${common[@]}" "$@" >"$work/said" 2>&1 </dev/null || {
		cat "$work/said"
		fail "fio: $name"
	}
	echo "$name"
}

all_of_fio() { # OPTIONS...
	check_by_fio sequential --rw=write --bs=1m --numjobs=2 "$@"
	check_by_fio random --rw=randwrite --bs=4k --numjobs=4 --fsync=64 "$@"
	check_by_fio unaligned --rw=randwrite --bsrange=512-64k --blocksize_unaligned=1 --norandommap --serialize_overlap=1 \
		--numjobs=2 "$@"
	check_by_fio direct --rw=randwrite --bs=16k --direct=1 --ioengine=libaio --iodepth=16 --numjobs=2 "$@"
	check_by_fio uring --rw=randwrite --bs=8k --ioengine=io_uring --iodepth=16 "$@"
	check_by_fio mapped --rw=randwrite --bs=4k --ioengine=mmap --fsync=32 --numjobs=2 "$@"
	check_by_fio small --rw=write --bs=1k --size=128k --filesize=2k --nrfiles=64 "$@"
}

all_of_fio
unmount_vault
mount_vault
step "fio, reading after a remount what it wrote before"
all_of_fio --verify_only
rm -r "$mnt/stress" "$mnt/fio"
unmount_vault
vault_is_empty
