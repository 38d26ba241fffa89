#!/bin/bash
# What systemd makes of us: the units are sound, a line of fstab gives the right ones, a
# service says when it is ready, and the hook suspends.
. "$(dirname "$0")/../support/mounted.sh"

systemd=$(dirname "$0")/../../mount-helpers/systemd
built=$(dirname "$CRYPTFS_MOUNT")
generator=/usr/lib/systemd/system-generators/systemd-fstab-generator

step "a service is ready when the mount is"
new_vault
cat >"$work/service.py" <<'PY'
import os, signal, socket, subprocess, sys
mount, vault, mnt, options, name = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(60)
s.bind("\0" + name[1:] if name[0] == "@" else name)
p = subprocess.Popen([mount, vault, mnt, "-f", "-o", options], stdin=subprocess.DEVNULL,
                     env=dict(os.environ, NOTIFY_SOCKET=name))
assert s.recv(100) == b"READY=1"
assert os.path.ismount(mnt)
open(mnt + "/file", "w").write("words")
p.send_signal(signal.SIGTERM)
assert s.recv(100) == b"STOPPING=1"
assert p.wait(60) == 0, p.returncode
assert not os.path.ismount(mnt)
PY
for name in "$work/notify" "@cryptfs-test-$$"; do
	python3 "$work/service.py" "$CRYPTFS_MOUNT" "$vault" "$mnt" "passfile=$passfile" "$name" 2>>"$log" ||
		fail "a service at $name"
done

step "the sleep hook"
mkdir "$work/bin"
ln -s "$CRYPTFS" "$work/bin/cryptfs"
cat >"$work/bin/timeout" <<'SH'
#!/bin/sh
# Only this mount: others run tests, too.
shift
[ "$*" = "cryptfs suspend --all" ] && exec cryptfs suspend "$TEST_MOUNT"
exit 1
SH
chmod +x "$work/bin/timeout"
mount_vault
hook() {
	TEST_MOUNT=$mnt PATH=$work/bin:$PATH "$systemd/sleep-hook" "$@"
}
suspended() {
	"$CRYPTFS" status --json "$mnt" | python3 -c "import json, sys; print(json.load(sys.stdin)['suspended']['now'])"
}
hook pre suspend
same "suspended" "$(suspended)" True
hook post suspend
same "suspended" "$(suspended)" True
"$CRYPTFS" resume --passfile "$passfile" "$mnt"
same "content" "$(cat "$mnt/file")" words
unmount_vault

if ! command -v systemd-analyze >/dev/null || [ ! -x "$generator" ]; then
	echo "units: no systemd here to look at them"
	exit 0
fi

step "the units"
mkdir "$work/units" "$work/user"
cp "$systemd"/*.mount "$systemd"/*.automount "$work/units/"
sed "s|^ExecStart=[^ ]*|ExecStart=$CRYPTFS_MOUNT|" "$built/cryptfs@.service" >"$work/user/cryptfs@photos.service"
# verify RESULT FILE...: what it says of anything else's units is not ours.
verify() {
	local said
	said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze --man=no "$@" 2>&1) || true
	if grep -F -- "$work" <<<"$said" | grep -v 'sysinit.target\|Unit .* not found'; then
		fail "systemd-analyze $*: $said"
	fi
}
verify verify "$work/units/home-a-plain.mount" "$work/units/home-a-plain.automount"
verify --user verify "$work/user/cryptfs@photos.service"
echo 'Frobnicate=yes' >>"$work/units/home-a-plain.mount"
(verify verify "$work/units/home-a-plain.mount") >/dev/null 2>&1 && fail "this test would not see what is wrong"

step "what the generator makes of a line of fstab"
cat >"$work/fstab" <<END
/srv/vault /mnt/plain cryptfs passfile=/etc/vault.pass,allow_other,nofail,x-systemd.automount,idle=30 0 0
/srv/other /mnt/other fuse.cryptfs passfile=/etc/other.pass 0 0
/srv/third /mnt/third cryptfs noauto,user 0 0
END
mkdir "$work/normal" "$work/early" "$work/late"
SYSTEMD_FSTAB=$work/fstab SYSTEMD_LOG_TARGET=console "$generator" "$work/normal" "$work/early" "$work/late" 2>>"$log" ||
	fail "the generator failed"
# has FILE LINE...: each of them in what was generated.
has() {
	local file=$work/normal/$1 line
	shift
	[ -e "$file" ] || fail "no $file: $(cd "$work/normal" && find . -type f -o -type l)"
	for line in "$@"; do
		grep -qxF -- "$line" "$file" || fail "no '$line' in: $(cat "$file")"
	done
}
has mnt-plain.mount What=/srv/vault Where=/mnt/plain Type=cryptfs
grep -Eqx 'Options=passfile=/etc/vault.pass,allow_other,nofail,x-systemd.automount,idle=30' "$work/normal/mnt-plain.mount" ||
	fail "options: $(cat "$work/normal/mnt-plain.mount")"
has mnt-plain.automount Where=/mnt/plain
[ -L "$work/normal/local-fs.target.wants/mnt-plain.automount" ] || fail "nothing wants the automount"
has mnt-other.mount What=/srv/other Where=/mnt/other Type=fuse.cryptfs Options=passfile=/etc/other.pass
[ -L "$work/normal/local-fs.target.requires/mnt-other.mount" ] || fail "nothing requires the mount"
has mnt-third.mount Type=cryptfs
if find "$work/normal" -type l -name 'mnt-third*' | grep -q .; then
	fail "noauto is started"
fi

step "such options are taken by what mount(8) calls"
as_root || exit 0
options=$(sed -n 's/^Options=//p' "$work/normal/mnt-plain.mount")
"$built/mount.cryptfs" "$vault" "$mnt" -o "${options/passfile=\/etc\/vault.pass/passfile=$passfile}" </dev/null
is_mounted || fail "nothing is mounted"

step "what umount(8) calls when systemd unmounts: the vault is settled then"
PATH=$work/bin:$PATH "$built/umount.fuse.cryptfs" "$mnt"
no_processes || fail "it returned and the process is still there"
