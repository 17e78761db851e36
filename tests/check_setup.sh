#!/bin/sh
# tests/setup.sh waits while another package manager holds a lock, and gives up at once for any other reason. A false
# apt-get stands in for the real one.
# usage: check_setup.sh SOURCE_DIR
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
echo "$*" >>"$MOCO_FALSE_APT/calls"
[ "$(wc -l <"$MOCO_FALSE_APT/calls")" -gt "$(cat "$MOCO_FALSE_APT/refusals")" ] && exit 0
cat "$MOCO_FALSE_APT/message" >&2
exit 100
END
printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/sudo"
chmod +x "$work/bin/apt-get" "$work/bin/sudo"

# attempt REFUSALS MESSAGE: installs a package that does not exist with an apt-get that refuses so many times.
attempt() {
    : >"$work/calls"
    echo "$1" >"$work/refusals"
    echo "$2" >"$work/message"
    code=0
    env PATH="$work/bin:$PATH" MOCO_FALSE_APT="$work" MOCO_APT_PAUSE=0 sh -c '. "$1" && moco_install moco-absent' \
        setup "$source/tests/setup.sh" >"$work/log" 2>&1 || code=$?
    calls=$(wc -l <"$work/calls")
}

expect() { # expect CODE CALLS WHAT
    [ "$code" -eq "$1" ] && [ "$calls" -eq "$2" ] && return
    echo "$3: exit code $code after $calls calls, wanted $1 after $2"
    cat "$work/log"
    exit 1
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "skipped: not a Debian system"
    exit 77
fi
attempt 3 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)'
expect 0 5 "a lock that is held three times"
attempt 1 'E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?'
expect 0 3 "the other lock"
attempt 9 'E: The repository has no Release file.'
expect 100 1 "another failure"
echo "waits for locks alone"
