#!/bin/bash
# The same is done in the mount and in a plain directory, thousands of random
# operations, and both are compared: tests/model says how.  In between the vault
# is mounted anew, and, where every acknowledged write must survive it, the mount
# process is killed.
#
#   MODEL_SECONDS   how long, in all (10)
#   MODEL_SEED      the first seed (1)
#   MODEL_OPTIONS   more for the program, such as "--shrink --steps 500"
. "$(dirname "$0")/../support/mounted.sh"
: "${MODEL:?the path of the model program}"

seconds=${MODEL_SECONDS:-10}
seed=${MODEL_SEED:-1}
options=()
asking=(--remount 300)
# shellcheck disable=SC2206
more=(${MODEL_OPTIONS-})
if in_mode writeback; then
	options+=(--writeback)
else
	asking+=(--crash 400)
fi
# Holes are written out there.
if [ "${VAULT_CIPHER-}" = xor ]; then
	options+=(--no-huge)
fi

# run_model SECONDS OPTIONS...: and do what the program asks for, until it ends.
run_model() {
	local what from to program
	coproc { exec "$MODEL" --seed "$seed" --seconds "$1" "${@:2}" ${more[@]+"${more[@]}"} "$mnt" "$plain" \
		3>&1 >&2 4<&0 </dev/null; }
	program=$COPROC_PID
	exec {from}<&"${COPROC[0]}" {to}>&"${COPROC[1]}"
	while read -r what <&"$from"; do
		case $what in
		remount)
			# Somebody may look at all mounts just now.
			unmount_at_once || fail "the mount stays busy"
			await 60 no_processes || fail "the daemon is still there after the unmount"
			mount_vault "$mount_options"
			;;
		crash)
			kill -KILL "$(daemon_process)"
			await 60 no_processes || fail "a process outlived the killed daemon"
			;;
		mount) mount_vault "$mount_options" ;;
		esac
		echo "done" >&"$to"
	done
	exec {from}<&- {to}>&-
	wait "$program" || fail "see above; MODEL_SEED and MODEL_OPTIONS repeat it"
}

plain=$work/plain
mkdir "$plain"
new_vault
mount_options=
mount_vault

step "one after the other, with remounts"
run_model $((seconds / 2)) ${options[@]+"${options[@]}"} "${asking[@]}"

step "four at once"
"$MODEL" --seed $((seed + 100)) --seconds $((seconds / 4)) --jobs 4 \
	${options[@]+"${options[@]}"} ${more[@]+"${more[@]}"} "$mnt" "$plain"
unmount_vault

if as_root; then
	step "three users, whose rights the kernel checks"
	mount_options=allow_other
	mount_vault "$mount_options"
	chmod 755 "$work" "$mnt"
	seed=$((seed + 200))
	run_model $((seconds / 4)) --users ${options[@]+"${options[@]}"} "${asking[@]}"
	unmount_vault
fi
