#!/bin/sh
# C and C++ sources are laid out as .clang-format says. Layout differs between releases of clang-format, so the one of
# Debian 12 (14) decides; without it the check is skipped (exit code 77).
# usage: check_format.sh [--fix] [SOURCE_DIR]
set -eu
fix=0
if [ "${1:-}" = --fix ]; then
    fix=1
    shift
fi
cd "${1:-$(dirname "$0")/..}"
wanted=14

format=
for name in clang-format-$wanted clang-format; do
    if command -v $name >/dev/null 2>&1 && $name --version | grep -q "version $wanted\."; then
        format=$name
        break
    fi
done
if [ -z "$format" ]; then
    echo "skipped: clang-format $wanted is not installed"
    exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Not the public headers: the comments of their fields stand in one column by hand, which the tool would break up.
find examples lib tests -name '*.[ch]' -o -name '*.cpp' | LC_ALL=C sort >"$work/files"
if [ $fix -eq 1 ]; then
    xargs $format -i <"$work/files"
    echo "$(wc -l <"$work/files") files formatted"
    exit 0
fi
failed=0
while read -r file; do
    $format "$file" >"$work/formatted"
    if ! cmp -s "$file" "$work/formatted"; then
        failed=$((failed + 1))
        diff -u --label "$file" --label "$file as formatted" "$file" "$work/formatted" | head -n 20
    fi
done <"$work/files"
if [ $failed -ne 0 ]; then
    echo "$failed of $(wc -l <"$work/files") files are laid out otherwise: sh tests/check_format.sh --fix"
    exit 1
fi
echo "$(wc -l <"$work/files") files laid out by $format"
