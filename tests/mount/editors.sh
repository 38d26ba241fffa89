#!/bin/bash
# The tools people use on files work in the mount as they do elsewhere: vim,
# sed -i, cp -a, mv, rsync, git.
. "$(dirname "$0")/../support/mounted.sh"

export HOME=$work
new_vault
mount_vault
cd "$mnt"

step "vim with swap file, backup and undo file"
seq 1 2000 | sed 's/^/alpha /' >text
vim -es -u NONE -N -c 'set swapfile backup writebackup backupskip= undofile' -c '%s/alpha/beta/' -c wq text
same "last line" "$(tail -n 1 text)" "beta 2000"
same "lines" "$(grep -c '^beta ' text)" 2000
same "backup" "$(head -n 1 text~)" "alpha 1"
vim -es -u NONE -N -c 'set nobackup backupcopy=yes' -c '$d' -c wq text
same "lines" "$(wc -l <text)" 1999

step "sed -i"
sed -i 's/beta/gamma/' text
same "lines" "$(grep -c '^gamma ' text)" 1999
sed -i.orig 1d text
same "lines" "$(wc -l <text) $(wc -l <text.orig)" "1998 1999"

step "cp -a, cp --sparse, mv"
mkdir -p tree/one/two "$work/in"
cp text tree/one/
ln -s ../text tree/link
ln tree/one/text tree/one/two/hard
chmod 640 tree/one/text
touch -d '2003-04-05 06:07:08.123456789' tree/one/text
touch -h -d '2004-01-01' tree/link
cp -a tree copy
diff -r --no-dereference tree copy
diff <(manifest tree) <(manifest copy)
mv copy/one/two/hard copy/
mv copy/one tree/moved
same "moved" "$(cat tree/moved/text)" "$(cat text)"
[ ! -e copy/one ] || fail "the source of mv is still there"
mv copy "$work/out-of-the-mount"
mv "$work/out-of-the-mount" back
cmp back/hard text

step "rsync in, out, and nothing to do the second time"
for i in $(seq 1 200); do
	head -c $((i * 97)) /dev/zero | tr '\0' "$((i % 10))" >"$work/in/file $i"
done
ln -s nowhere "$work/in/dangling"
touch -h -d '2005-01-01' "$work/in/dangling" # rsync leaves times within a second as they are
rsync -a --checksum "$work/in/" in/
same "changes left" "$(rsync -a --checksum --itemize-changes "$work/in/" in/)" ""
echo more >>"$work/in/file 7"
rsync -a --inplace "$work/in/" in/
rsync -a --checksum in/ "$work/out/"
diff -r --no-dereference "$work/in" "$work/out"
diff <(manifest "$work/in") <(manifest "$work/out")

step "git"
git config --global user.name test
git config --global user.email test@example.com
git config --global init.defaultBranch main
git config --global gc.auto 0
git init -q repo
cp -a in/. repo/
git -C repo add .
git -C repo commit -qm 'first'
git -C repo checkout -qb side
echo side >repo/side
git -C repo add side
git -C repo commit -qm 'second'
git -C repo gc -q
git -C repo fsck --no-progress --strict
git -C repo checkout -q main
[ ! -e repo/side ] || fail "checkout left a file"
same "status" "$(git -C repo status --porcelain)" ""

cd /
remount_vault
step "after a remount"
same "lines" "$(wc -l <"$mnt/text")" 1998
git -C "$mnt/repo" fsck --no-progress --strict
same "status" "$(git -C "$mnt/repo" status --porcelain)" ""
diff -r --no-dereference "$work/in" "$mnt/in"
unmount_vault
