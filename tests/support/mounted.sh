# shellcheck shell=bash
# mounted.sh - what every mount test starts from; source it first.
#
# It gives a test
#   $work      an empty directory of its own, removed at the end
#   $vault     where its vault is, $mnt where it is mounted
#   $passfile  the file with its passphrase
#   $log       what a daemon in the foreground says
# and the functions below.  However the script ends, nothing of it is left:
# no mount, no process, no file.
#
# CRYPTFS and CRYPTFS_MOUNT name the programs under test; ctest sets them.  So
# that a script can be run in every mode, VAULT_CIPHER is the cipher of the
# vaults it makes, and MOUNT_OPTIONS are added to each of its mounts, before
# the script's own; tests/mount/CMakeLists.txt says what is run in which mode.

set -euo pipefail
: "${CRYPTFS:?the path of the cryptfs command}"
: "${CRYPTFS_MOUNT:?the path of the cryptfs-mount command}"

skip() {
	echo "skipped: $*"
	exit 77
}

[ -e /dev/fuse ] || skip "there is no /dev/fuse"

work=$(mktemp -d "${TMPDIR:-/tmp}/cryptfs-test.XXXXXX")
vault=$work/vault
mnt=$work/mnt
passfile=$work/passphrase
log=$work/log
started=() # processes of this test, to be ended with it
undo=()	   # commands for the end, the last one first

umask 022
mkdir "$mnt"
echo 'correct horse battery staple' >"$passfile"
chmod 600 "$passfile"
: >"$log"

# A sanitizer's report would vanish with the daemon; let it leave a file.
report=$work/sanitizer
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$report"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$report"

# ---- saying what happens ----------------------------------------------------

step() {
	echo "-- $*"
}

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# same WHAT A B: two strings are equal.
same() {
	[ "$2" = "$3" ] || fail "$1: '$2' is not '$3'"
}

# refused WHY COMMAND...: it fails, and says WHY (an extended expression).
refused() {
	local why=$1 said
	shift
	if said=$(LC_ALL=C "$@" 2>&1 >/dev/null); then
		fail "this should have failed: $*"
	fi
	grep -Eq -- "$why" <<<"$said" || fail "'$*' said '$said', not '$why'"
}

# await SECONDS COMMAND...: until it succeeds, looking often.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

as_root() {
	[ "$(id -u)" = 0 ]
}

# ---- the mount --------------------------------------------------------------

# new_vault [INIT-OPTIONS...]: an empty vault with the cheapest key derivation.
new_vault() {
	"$CRYPTFS" init --passfile "$passfile" --cipher "${VAULT_CIPHER:-aes-256-gcm}" --kdf-memory 64 \
		--kdf-operations 3 "$@" "$vault" </dev/null
}

# Not through stat: a dead mount is mounted too.
is_mounted() {
	[ "$(mounts_there)" -gt 0 ]
}

mounts_there() {
	grep -cF -- " $mnt " /proc/self/mountinfo || true
}

# The processes that serve $vault, daemon first, one id a line.
mount_processes() {
	local pid words all=() first=() rest=()
	for pid in /proc/[0-9]*; do
		words=()
		mapfile -d '' -t words 2>/dev/null <"$pid/cmdline" || continue
		case ${words[0]-} in
		*cryptfs*) ;;
		*) continue ;;
		esac
		case " ${words[*]} " in
		*" $vault "*) all+=("${pid#/proc/}") ;;
		esac
	done 2>/dev/null
	for pid in ${all[@]+"${all[@]}"}; do
		case " ${all[*]} " in
		*" $(parent_of "$pid") "*) rest+=("$pid") ;;
		*) first+=("$pid") ;;
		esac
	done
	printf '%s\n' ${first[@]+"${first[@]}"} ${rest[@]+"${rest[@]}"} | sed '/^$/d'
}

parent_of() {
	sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null || true
}

daemon_process() {
	mount_processes | head -n 1
}

# Those that encrypt and decrypt, and the one that starts them.
helper_processes() {
	local pid
	for pid in $(mount_processes | tail -n +2); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = cryptfs-unmount ] || echo "$pid"
	done
}

no_processes() {
	[ -z "$(mount_processes)" ]
}

# options_with OPTIONS: all that a mount is given with -o.
options_with() {
	echo "passfile=$passfile${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}${1:+,$1}"
}

# in_mode WORD: MOUNT_OPTIONS has this option.
in_mode() {
	case ",${MOUNT_OPTIONS-}," in
	*",$1,"*) ;;
	*) return 1 ;;
	esac
}

# mount_vault [OPTIONS]: as a user would, returning when the mount answers.
mount_vault() {
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -o "$(options_with "${1-}")" </dev/null
	same "mounts after cryptfs-mount returned" "$(mounts_there)" 1
	stat -f "$mnt" >/dev/null || fail "cryptfs-mount returned, but the mount does not answer"
}

# mount_in_foreground [OPTIONS]: with what the daemon says in $log.
mount_in_foreground() {
	local daemon
	"$CRYPTFS_MOUNT" "$vault" "$mnt" -f -o "$(options_with "${1-}")" </dev/null >>"$log" 2>&1 &
	daemon=$!
	started+=("$daemon")
	mounted_or_ended() {
		is_mounted || ! kill -0 "$daemon" 2>/dev/null
	}
	await 60 mounted_or_ended || fail "the mount does not come"
	is_mounted || fail "the daemon ended at once: $(cat "$log")"
}

# Tools that look at every mount there is (df, stress-ng) keep one busy for an instant.
unmount_at_once() {
	local said try
	for try in {1..50}; do
		if as_root; then
			said=$(umount "$mnt" 2>&1) && return
		else
			said=$(fusermount3 -u "$mnt" 2>&1) && return
		fi
		[[ $said == *busy* ]] || break
		sleep 0.1
	done
	echo "$said" >&2
	return 1
}

# unmount_vault: and wait until the vault is settled and the daemon gone.
unmount_vault() {
	unmount_at_once
	await 60 no_processes || fail "the daemon is still there after the unmount"
}

# remount_vault [OPTIONS]: at once; the new mount waits for the old one itself.
remount_vault() {
	unmount_at_once
	mount_vault "$@"
}

# stored_by COMMAND...: run it and set $stored to the entry it made in the vault.
stored_by() {
	find "$vault/tree" | sort >"$work/before"
	"$@"
	stored=$(find "$vault/tree" | sort | comm -13 "$work/before" - | grep -v '/\.cryptfs-dir$' | head -n 1)
	[ -n "$stored" ] || fail "nothing new in the vault after: $*"
}

# vault_is_empty: nothing in the tree but the record of its root.
vault_is_empty() {
	same "left in the empty vault" "$(cd "$vault/tree" && find . -mindepth 1)" ./.cryptfs-dir
}

# manifest DIRECTORY: all that ls could tell about what is in it, but owners.
manifest() {
	(cd "$1" && find . -mindepth 1 \( -type d -printf '%p %y %m %T@\n' -o \
		-printf '%p %y %m %T@ %s %n %l\n' \) | LC_ALL=C sort)
}

# ---- the end ----------------------------------------------------------------

end_of_test() {
	local status=$? pid i
	trap - EXIT
	set +e
	cd /
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		{
			echo "at the end: status $status; processes: $(mount_processes | tr '\n' ' ')"
			grep -F -- " $mnt " /proc/self/mountinfo
			ls -l /run/cryptfs
		} >&2
	fi
	for ((i = $(mounts_there); i > 0; i--)); do
		unmount_at_once 2>/dev/null || umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt"
	done
	if ! await 60 no_processes; then
		echo "FAILED: left behind: $(mount_processes | tr '\n' ' ')" >&2
		mount_processes | xargs -r kill -KILL
		status=1
	fi
	for pid in ${started[@]+"${started[@]}"}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
		eval "${undo[i]}"
	done
	if compgen -G "$report.*" >/dev/null; then
		cat "$report".* >&2
		status=1
	fi
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		tail -n 20 "$log" >&2
	fi
	chmod -R u+rwX "$work" 2>/dev/null
	rm -rf "$work"
	exit "$status"
}

trap end_of_test EXIT
trap 'exit 130' INT TERM
