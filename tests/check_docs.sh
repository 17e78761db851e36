#!/bin/sh
# Links in documents lead somewhere, lines of prose have at most 100 columns, the C of the README
# compiles, and docs/options.md names every trainer option.
# usage: check_docs.sh [SOURCE_DIR]
set -eu
cd "${1:-$(dirname "$0")/..}"
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for page in *.md docs/*.md; do
    grep -o '](\([^)#:]*\))' "$page" | sed 's/^](//; s/)$//' >"$work/links" || continue
    while read -r link; do
        if [ ! -e "$(dirname "$page")/$link" ]; then
            echo "$page links to $link, which does not exist"
            failed=1
        fi
    done <"$work/links"
done

# Tables, code and the comments behind a field or statement may be wider: they are read in columns.
for page in *.md docs/*.md tests/*/*.md; do
    sed '/^```/,/^```/s/.*//' "$page" | LC_ALL=C.UTF-8 grep -nE '^[^|].{100,}$' | sed "s|^|$page:|"
done >"$work/wide"
find include lib examples tests -name '*.[ch]' -o -name '*.cpp' | LC_ALL=C.UTF-8 xargs grep -nE '^.{101,}$' |
    grep -E '^[^:]*:[0-9]*: *(/\*|\* )' | grep -v clang-format >>"$work/wide" || true
awk '{ opens = /^ *"""/ && !inside; marks = gsub(/"""/, "&") }
     (inside || opens) && length > 100 || length > 120 { print FILENAME ":" FNR ": " $0 }
     opens || inside { inside = opens ? marks == 1 : marks == 0 }' examples/python/*.py >>"$work/wide"
if [ -s "$work/wide" ]; then
    echo "lines of prose with more than 100 columns:"
    head -n 20 "$work/wide"
    failed=1
fi

sed -n '/^```c$/,/^```$/{/^```/d; p}' README.md >"$work/readme.c"
if ! cc -std=c99 -Wall -Wextra -pedantic -Werror -Iinclude -c "$work/readme.c" -o "$work/readme.o"; then
    echo "the C program in README.md does not compile"
    failed=1
fi

# Fields of the trainer's options, as the compiler sees them.
echo '#include <moco/trainer.h>' | cc -E -P -Iinclude -x c - | tr '\n' ' ' |
    sed 's/.*typedef struct moco_trainer_options *{\([^}]*\)}.*/\1/' | tr ';' '\n' | tr ',' '\n' |
    sed 's/.* //; /^$/d; /^struct_size$/d' >"$work/fields"
[ "$(wc -l <"$work/fields")" -gt 40 ] || { echo "fields of moco_trainer_options_t were not found"; failed=1; }
while read -r field; do
    if ! grep -qw "$field" docs/options.md; then
        echo "docs/options.md does not name $field"
        failed=1
    fi
done <"$work/fields"
[ $failed -eq 0 ] && echo "$(wc -l <"$work/fields") options, all links"
exit $failed
