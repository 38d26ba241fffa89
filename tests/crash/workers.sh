#!/bin/bash
# workers.sh [SECONDS] - workers are killed every 50 ms, for so long in each
# mode, while fio verifies, trees are unpacked and compared, and checksums are
# taken: no error, no wrong byte, no hang, and all workers are back afterwards.
# Then workers, their zygote and the whole mount process are stopped.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"
seconds=${1:-1}
patience=120 # seconds, for what takes one or two; a hang is longer

# ---- the processes -----------------------------------------------------------

zygote() {
	helper_processes | while read -r pid; do
		[ "$(parent_of "$pid")" != "$(daemon_process)" ] || echo "$pid"
	done
}

workers() {
	cat "/proc/$zygote/task/$zygote/children"
}

counter() { # NAME [PART]: of the workers, or of another part
	"$CRYPTFS" status --json "$mnt" | python3 -c 'import json, sys
print(json.load(sys.stdin)[sys.argv[2]][sys.argv[1]])' "$1" "${2:-workers}"
}

back_at_size() {
	local end=$((SECONDS + 60))
	until [ "$(counter alive) $(counter target)" = "2 2" ]; do # started when there is work
		[ $SECONDS -lt $end ] || fail "$(counter alive) workers of $(counter target) are left"
		write_and_read
	done
}

write_and_read() {
	timeout "$patience" dd if="$work/noise" of="$mnt/noise" bs=1M conv=fsync status=none
	dd if="$mnt/noise" iflag=nocache count=0 status=none
	timeout "$patience" cmp "$work/noise" "$mnt/noise"
}

kill_workers() {
	local alive
	while [ ! -e "$work/enough" ]; do
		mapfile -t -d ' ' alive < <(workers)
		if [ ${#alive[@]} -gt 0 ] &&
			kill -KILL "${alive[RANDOM % ${#alive[@]}]}" 2>/dev/null; then
			echo >>"$work/killed"
		fi
		sleep 0.05
	done
}

# ---- the load: each until $work/enough is there, and once more ---------------------

# again COMMAND...: it must neither fail nor hang.
again() {
	local n=0
	until [ -e "$work/enough" ] && [ $n -gt 0 ]; do
		"$@" || fail "$*: status $?"
		n=$((n + 1))
	done
	echo "   $1: $n times"
}

verify() {
	local job="--rw=randrw --bsrange=1k-256k --size=4m --verify=crc32c --verify_fatal=1"
	# shellcheck disable=SC2086
	(cd "$work" && timeout "$patience" fio --minimal --directory="$mnt" --ioengine=psync $job --name=cached \
		--name=direct $job --bsrange=4k-256k --blockalign=4k --direct=1) >"$work/fio" 2>&1 ||
		fail "fio: $(tail -n 5 "$work/fio")"
}

unpack() {
	rm -rf "$mnt/tree"
	mkdir "$mnt/tree"
	timeout "$patience" tar -C "$mnt/tree" -xf "$work/tree.tar"
	timeout "$patience" tar -C "$mnt/tree" -df "$work/tree.tar"
}

# From the mount process, not from what the kernel holds.
check_one() {
	dd if="$1" iflag=nocache count=0 status=none
	md5sum <"$1" | cmp -s - "$1.md5" || echo "$1 is another"
}
export -f check_one

checksums() {
	local wrong
	wrong=$(find "$work/sums" -name '*.md5' -printf '%f\n' | (cd "$mnt/sums" &&
		timeout "$patience" xargs -P 4 -I{} bash -c 'f={}; check_one "${f%.md5}"'))
	[ -z "$wrong" ] || fail "$wrong"
}

# begin OPTIONS: a mount with both its workers, and an empty log.
begin() {
	: >"$log"
	mount_in_foreground "$1"
	write_and_read
	zygote=$(zygote)
	back_at_size
}

# end [WORDS]: nothing else than deaths of workers and this is in the log.
end() {
	unmount_vault
	same "unexpected in the log" \
		"$(grep -vE "a worker died of signal 9|${1:-died while starting}" "$log" || true)" ""
}

mkdir "$work/sums"
head -c 8M /dev/urandom >"$work/noise"
tar -C "$here/.." -cf "$work/tree.tar" .
for i in $(seq 24); do
	head -c $((i * 40000)) /dev/urandom >"$work/sums/$i"
	md5sum <"$work/sums/$i" >"$work/sums/$i.md5"
done

# The slowest cipher, so that many die at a task.
new_vault --cipher chacha20-poly1305

for options in workers=2 workers=2,strict; do
	step "$options: a worker is killed every 50 ms"
	begin "$options"
	rm -rf "$mnt/sums"
	cp -r "$work/sums" "$mnt/"
	rm -f "$work/enough"
	: >"$work/killed"
	kill_workers &
	loads=($!)
	for load in verify unpack checksums write_and_read; do
		again "$load" &
		loads+=($!)
	done
	started+=("${loads[@]}")
	sleep "$seconds" # so long they are to bear it
	: >"$work/enough"
	for pid in "${loads[@]}"; do
		wait "$pid" || fail "see above"
	done
	[ -s "$work/killed" ] || fail "nobody was there to be killed"
	echo "   killed: $(wc -l <"$work/killed"), of them at a task: $(counter repaired tasks)"
	back_at_size
	end
done

for options in workers=2 workers=2,strict; do
	step "$options: workers that are stopped, idle and at work"
	begin "$options"
	workers | xargs kill -STOP
	write_and_read
	for _ in $(seq "$seconds"); do
		write_and_read &
		load=$!
		workers | xargs -r kill -STOP 2>/dev/null || true # one may be dead by now
		wait "$load" || fail "see above"
	done
	workers | xargs -r kill -CONT 2>/dev/null || true
	back_at_size
	end
done

step "the zygote is stopped: no new workers"
begin workers=2
kill -STOP "$zygote"
workers | xargs kill -KILL
write_and_read
kill -CONT "$zygote"
back_at_size
end

step "the zygote is killed: nobody else is left to do the work"
begin workers=2,strict
write_and_read &
kill -KILL "$zygote"
wait "$!" || fail "see above"
write_and_read
same "workers" "$(counter alive)" 0
end "the process that starts workers has died"

step "the whole mount is stopped, and goes on"
for first in daemon_process helper_processes; do
	begin workers=2,strict
	mount_processes | xargs kill -STOP
	write_and_read &
	load=$!
	$first | xargs kill -CONT
	mount_processes | xargs kill -CONT
	wait "$load" || fail "see above"
	back_at_size
	end
done
