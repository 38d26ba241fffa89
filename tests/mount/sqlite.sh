#!/bin/bash
# Two processes write the same SQLite database in WAL mode, a third reads; all
# is there and sound, before and after a remount.  Then the same with a
# rollback journal.
. "$(dirname "$0")/../support/mounted.sh"

cat >"$work/db.py" <<'PY'
import sqlite3
import sys

role, path, who, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
db = sqlite3.connect(path, timeout=120, isolation_level=None)
if role == "make":
    mode = db.execute(f"PRAGMA journal_mode={who}").fetchone()[0]
    if mode != who:
        sys.exit(f"journal mode is {mode}, not {who}")
    db.execute("CREATE TABLE entry(who TEXT, n INTEGER, body BLOB, PRIMARY KEY(who, n))")
    db.execute("CREATE TABLE total(who TEXT PRIMARY KEY, n INTEGER)")
elif role == "write":
    db.execute("PRAGMA synchronous=NORMAL")
    for n in range(count):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO entry VALUES(?, ?, randomblob(?))", (who, n, n * 37 % 6000))
        db.execute("INSERT INTO total VALUES(?, 1) ON CONFLICT(who) DO UPDATE SET n = n + 1", (who,))
        if n % 5 == 4:
            db.execute("DELETE FROM entry WHERE who = ? AND n = ?", (who, n - 2))
        db.execute("COMMIT")
elif role == "read":
    for _ in range(count):
        db.execute("BEGIN")
        rows = db.execute("SELECT count(*) FROM entry").fetchone()[0]
        made = db.execute("SELECT coalesce(sum(n - n / 5), 0) FROM total").fetchone()[0]
        db.execute("COMMIT")
        if rows != made:
            sys.exit(f"a reader saw half a transaction: {rows} rows, {made} made")
else:
    sound = db.execute("PRAGMA integrity_check").fetchone()[0]
    rows = db.execute("SELECT count(*) FROM entry").fetchone()[0]
    want = 2 * (count - count // 5)
    if sound != "ok" or rows != want:
        sys.exit(f"integrity_check says {sound}; {rows} rows, not {want}")
PY

# use_database JOURNAL-MODE TRANSACTIONS-EACH
use_database() {
	local db=$mnt/$1.db first second reader
	step "$1: two writers of $2 transactions each, and a reader"
	python3 "$work/db.py" make "$db" "$1" 0
	python3 "$work/db.py" write "$db" a "$2" &
	first=$!
	python3 "$work/db.py" write "$db" b "$2" &
	second=$!
	python3 "$work/db.py" read "$db" - 100 &
	reader=$!
	started+=("$first" "$second" "$reader")
	wait "$first"
	wait "$second"
	wait "$reader"
	python3 "$work/db.py" check "$db" - "$2"
}

new_vault
mount_vault
use_database wal 1500
use_database delete 100
remount_vault
step "after a remount"
python3 "$work/db.py" check "$mnt/wal.db" - 1500
python3 "$work/db.py" check "$mnt/delete.db" - 100
unmount_vault
