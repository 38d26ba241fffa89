#!/bin/bash
# random.sh ROUNDS [SEED [WRITERS]] - the mount process dies at random moments:
# see random_deaths.py.  With AS_USER=1 it is that of an ordinary user.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../support/mounted.sh
. "$here/../support/mounted.sh"

if [ -n "${AS_USER-}" ]; then
	. "$here/../support/as_user.sh"
	# The user may not be able to read where this is either.
	mkdir "$work/lib"
	cp -r "$here" "$here/../vectors" "$work/lib/"
	here=$work/lib/crash
	work_of_user=$home
else
	as_user() {
		"$@"
	}
	work_of_user=$work
fi
export WORK=$work_of_user VAULT=$vault MNT=$mnt PASSFILE=$passfile
as_user "$here/random_deaths.py" "${1:-100}" "${@:2}"
vault_is_empty
