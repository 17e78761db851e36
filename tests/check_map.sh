#!/bin/sh
# tests/map.txt is true: every lib/**/*.c has a test, every pattern fits a file, every test exists. For a file without a
# line it suggests the tests that name what the file's own header declares.
# usage: check_map.sh [SOURCE_DIR]
set -eu
cd "${1:-$(dirname "$0")/..}"
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

complain() {
    echo "$*"
    failed=1
}

find lib -name '*.c' | sed 's,^lib/,,' | LC_ALL=C sort >"$work/files"
find tests -name 'test_*.c' -o -name 'test_*.py' | LC_ALL=C sort >"$work/tests"
for name in $(sed 's,.*/,,' "$work/tests" | sort | uniq -d); do
    complain "two tests are called $name, so that tests/map.txt cannot tell them apart"
done

# fits PATTERN: the files it names, one a line.
fits() {
    while read -r file; do
        # shellcheck disable=SC2254 # a pattern
        case /$file in
        */$1) echo "$file" ;;
        esac
    done <"$work/files"
}

: >"$work/covered"
number=0
while IFS= read -r line; do
    number=$((number + 1))
    case $line in
    '' | '#'*) continue ;;
    *': '*) ;;
    *) complain "tests/map.txt:$number: wanted PATTERN: TEST ..., found '$line'" && continue ;;
    esac
    fits "${line%%:*}" >"$work/fitting"
    [ -s "$work/fitting" ] || complain "tests/map.txt:$number: no file of lib/ is named '${line%%:*}'"
    cat "$work/fitting" >>"$work/covered"
    for test in ${line#*: }; do
        grep -q "/$test\$" "$work/tests" || complain "tests/map.txt:$number: there is no test '$test'"
    done
done <tests/map.txt

# What the head of a file suggests: tests that include its header or use one of its functions.
suggest() {
    grep -oE '^[a-z].*\bmoc?o?_[a-z0-9_]+\(' "lib/$1" | grep -v '^static' | grep -oE 'moc?o?_[a-z0-9_]+\($' | sort -u |
        tr -d '(' >"$work/functions"
    [ ! -s "$work/functions" ] || xargs grep -lwFf "$work/functions" <"$work/tests" | sed 's,.*/,,' | head -n 4 |
        tr '\n' ' '
}

LC_ALL=C sort -u "$work/covered" | LC_ALL=C comm -23 "$work/files" - >"$work/missing"
while read -r file; do
    near=$(suggest "$file")
    complain "tests/map.txt names no test of lib/$file; a line could be: ${file##*/}: ${near:-(no test names its functions)}"
done <"$work/missing"
[ $failed -eq 0 ] && echo "$(wc -l <"$work/files") files, $(wc -l <"$work/tests") tests"
exit $failed
