#!/bin/sh
# The manual pages are well formed, there is one for each command, and each names the options that --help names. The
# formatter is groff, or mandoc where that is installed; without either the pages are only compared with --help.
# usage: check_man.sh PROGRAM MAN_DIR
set -eu
program=$1
pages=$2
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

complain() {
    echo "$*"
    failed=1
}

# Everything groff and mandoc have to say about a page.
lint() {
    if command -v groff >/dev/null 2>&1; then groff -man -ww -z -Tutf8 "$1" 2>&1; fi
    # The pages carry the library's version and no date, which would change with every build.
    if command -v mandoc >/dev/null 2>&1; then mandoc -Tlint -W warning "$1" 2>&1 | grep -v 'missing date' || true; fi
}

"$program" --help | sed -n '/^  [a-z]/s/^  \([a-z]*\) .*/\1/p' >"$work/commands"
[ -s "$work/commands" ] || complain "'moco --help' names no command"
count=1
[ -s "$pages/moco.1" ] || complain "$pages/moco.1 is missing or empty"
lint "$pages/moco.1" >"$work/lint"
[ ! -s "$work/lint" ] || complain "moco.1: $(cat "$work/lint")"
while read -r command; do
    page=$pages/moco-$command.1
    if [ ! -s "$page" ]; then
        complain "moco $command has no page: $page is missing or empty"
        continue
    fi
    count=$((count + 1))
    lint "$page" >"$work/lint"
    [ ! -s "$work/lint" ] || complain "moco-$command.1: $(cat "$work/lint")"
    grep -q "moco.*$command" "$pages/moco.1" || complain "moco.1 does not name $command"
    "$program" "$command" --help | sed -n 's/^  [ -][^-]*\(--[a-z0-9-]*\).*/\1/p' | sort >"$work/help"
    # Between the macros: `.TP`, then the option's line.
    sed -n '/^\.TP/{n; s/\\f[BRI]//g; s/\\-/-/g; s/^\(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p}' "$page" |
        grep '^--' | sort >"$work/page" || true
    diff -u --label "moco $command --help" "$work/help" --label "$page" "$work/page" || failed=1
    [ "$(wc -l <"$work/help")" -gt 1 ] || complain "moco $command --help names no option"
done <"$work/commands"
for page in "$pages"/moco-*.1; do
    name=$(basename "$page" .1)
    grep -qx "${name#moco-}" "$work/commands" || complain "$page is the page of no command"
done

if [ $failed -eq 0 ]; then
    if ! command -v groff >/dev/null 2>&1 && ! command -v mandoc >/dev/null 2>&1; then
        echo "skipped: neither groff nor mandoc to format the pages with"
    fi
    echo "$count pages"
fi
exit $failed
